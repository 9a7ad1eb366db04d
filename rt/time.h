// SPDX-License-Identifier: BSD-2-Clause
// Time since the ELF was entered, from the TSC. drivers/ find the frequency and tell it here.
#pragma once
#include <stdint.h>

/// Set once at start, in Hz. Until then time_ns() assumes 1 GHz.
void time_set_tsc_hz(uint64_t hz);
uint64_t time_tsc_hz(void);
/// Monotonic, in nanoseconds, same on all CPUs. Cheap (one RDTSC, one multiply).
uint64_t time_ns(void);
/// TSC ticks for a duration, rounded up.
uint64_t time_ns_to_tsc(uint64_t ns);
/// Busy-waits.
void time_delay_us(uint32_t us);
