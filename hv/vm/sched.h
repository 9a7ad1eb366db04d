// SPDX-License-Identifier: BSD-2-Clause
// Which vCPU runs where. A guest's vCPUs are dealt out to the CPUs, beginning at another one for each guest;
// a CPU runs its vCPUs in turn, a slice each. Where one waits for a remote, the others of its CPU go on.
#pragma once
#include "rt/status.h"
#include <stdbool.h>
#include <stdint.h>

struct guest;
struct turn;

#define SCHED_SLICE_US     1000u
#define SCHED_SLICE_MIN_US 10u

/// The CPU a vCPU runs on. CPU 0, which keeps the house too, is the last to get one.
uint32_t sched_cpu_of(uint32_t guest_index, uint32_t vcpu_index);
/// Once, before guests run.
void sched_start(void);
/// Makes another CPU leave the guest it is in, and look at its vCPU's attention now, not at the end of the
/// slice. From any CPU.
void sched_kick(uint32_t cpu);
/// Is that all that an interrupt with this vector wants?
bool sched_is_kick(uint8_t vector);
/// Stacks for the guest's turns, one for each CPU that it has vCPUs on. ERR_NOMEM. They stay for ever.
MUST_CHECK enum status sched_add(struct guest *g);
/// Who is about to wait: the turn of this CPU. NULL: nobody else wants to run here (or may: sched_alone), so
/// it looks for itself.
struct turn *sched_waiter(void);
/// After that, for the turn that waits, in the middle of an exit or not, with its guest's lock but no other:
/// other guests of this CPU run. May come back before it was called.
void sched_wait(void);
/// That turn may have what it waits for: it is looked at before anything else runs on its CPU. NULL: all that
/// wait. From any CPU.
void sched_wake(struct turn *t);
/// Calls it; should it wait, no other guest runs on this CPU meanwhile.
void sched_alone(void (*what)(void));
/// For a CPU that waits for a guest's lock; `before`: how often it has been called already. CPU 0 keeps the
/// house meanwhile; when it takes long, other guests run.
void sched_pause(unsigned before);
/// This guest's lock was given back, and somebody waits for it.
void sched_unlocked(struct guest *g);
/// Where the time goes, in TSC ticks of all CPUs together, summed up while accounting was on. The rest was
/// idle.
struct sched_load {
    bool on;
    uint64_t guests;     // in guests
    uint64_t for_guests; // turns without that: VM exits, DMA, NICs; waiting for remotes included
    uint64_t house;      // network, as sched_house() was told
};
/// Accounting costs each VM exit two RDTSC. From any CPU; holds from the next slices on.
void sched_account(bool on);
struct sched_load sched_load(void);
/// `tend` did something for so many ticks.
void sched_house(uint64_t ticks);
/// Runs this CPU's vCPUs for ever. `tend` is called between slices (CPU 0: network, console; others: NULL).
_Noreturn void sched_run(void (*tend)(void));
