// SPDX-License-Identifier: BSD-2-Clause
// Which vCPU runs where. Guests are dealt out to the CPUs; a CPU runs its vCPUs in turn, a slice each.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define SCHED_SLICE_US     1000u
#define SCHED_SLICE_MIN_US 10u

/// The CPU a guest's vCPUs run on. CPU 0, which keeps the house too, is the last to get one.
uint32_t sched_cpu_of(uint32_t guest_index);
/// Once, before guests run.
void sched_start(void);
/// Makes the CPU that runs a guest look at its vCPUs' attention now, not at the end of the slice. From any
/// CPU.
void sched_kick(uint32_t guest_index);
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
