// SPDX-License-Identifier: BSD-2-Clause
// Which vCPU runs where. A guest's vCPUs are dealt out to the CPUs, beginning at another one for each guest;
// a CPU runs its vCPUs in turn, a slice each.
#pragma once
#include <stdbool.h>
#include <stdint.h>

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
/// For a CPU that waits for another one: CPU 0 keeps the house meanwhile.
void sched_pause(void);
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
