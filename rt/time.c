// SPDX-License-Identifier: BSD-2-Clause
// Time from the TSC: nanoseconds = ticks * mult / 2^32. Knows no timer chip; drivers/tsc.c finds the
// frequency. Invariant: time_ns() never goes back, not even when the frequency becomes known.
#include "rt/time.h"
#include "rt/time_internal.h"
#include "rt/x86.h"

#define NS_PER_S 1000000000ull

static uint64_t hz = NS_PER_S;
static uint64_t mult = 1ull << 32; // ns * 2^32 per tick
static uint64_t base_tsc, base_ns;

void time_start(uint64_t tsc)
{
    base_tsc = tsc;
}

void time_set_tsc_hz(uint64_t new_hz)
{
    if (new_hz == 0)
        return;
    uint64_t now = rdtsc();
    base_ns += (uint64_t)((unsigned __int128)(now - base_tsc) * mult >> 32);
    base_tsc = now;
    hz = new_hz;
    mult = (NS_PER_S << 32) / new_hz; // below 2^62
}

uint64_t time_tsc_hz(void)
{
    return hz;
}

uint64_t time_ns(void)
{
    uint64_t now = rdtsc();
    // Another CPU's TSC may be a few ticks behind the one that set the base.
    uint64_t ticks = now > base_tsc ? now - base_tsc : 0;
    return base_ns + (uint64_t)((unsigned __int128)ticks * mult >> 32);
}

uint64_t time_ns_to_tsc(uint64_t ns)
{
    return ns / NS_PER_S * hz + (ns % NS_PER_S * hz + NS_PER_S - 1) / NS_PER_S; // no overflow below 18 GHz
}

void time_delay_us(uint32_t us)
{
    uint64_t start = rdtsc(), ticks = time_ns_to_tsc((uint64_t)us * 1000);
    while (rdtsc() - start < ticks)
        cpu_pause();
}
