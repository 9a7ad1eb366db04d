// SPDX-License-Identifier: BSD-2-Clause
// Time on the build machine: a clock that moves only when a test moves it (or code under test delays). TSC =
// 1 GHz.
#include "rt/time.h"
#include "tests/unit/host/host.h"

static uint64_t now_ns;

void host_time_set_ns(uint64_t ns)
{
    now_ns = ns;
}

void host_time_advance_ns(uint64_t ns)
{
    now_ns += ns;
}

__attribute__((weak)) void time_set_tsc_hz(uint64_t hz)
{
    (void)hz;
}

__attribute__((weak)) uint64_t time_tsc_hz(void)
{
    return 1000000000ull;
}

__attribute__((weak)) uint64_t time_ns(void)
{
    return now_ns;
}

__attribute__((weak)) uint64_t time_ns_to_tsc(uint64_t ns)
{
    return ns;
}

__attribute__((weak)) void time_delay_us(uint32_t us)
{
    now_ns += (uint64_t)us * 1000;
}
