// SPDX-License-Identifier: BSD-2-Clause
// Conversions of time, and the frequency that CPUID tells. The TSC is the build machine's own.
// LINK: rt/time.c
#include "rt/time.h"
#include "rt/time_internal.h"
#include "rt/x86.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_conversions(void **state)
{
    (void)state;
    static const struct {
        uint64_t hz, ns, ticks;
    } cases[] = {
        {1000000000u, 0, 0},
        {1000000000u, 1, 1},
        {2000000000u, 1, 2},
        {200000000u, 1, 1}, // rounded up
        {200000000u, 5, 1},
        {200000000u, 6, 2},
        {3417600000u, 1000000000u, 3417600000u},
        {3417600000u, 86400ull * 365 * 1000000000u, 3417600000ull * 86400 * 365},
        {5999999999u, 999999999u, 5999999994u},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        time_set_tsc_hz(cases[i].hz);
        assert_int_equal(time_tsc_hz(), cases[i].hz);
        assert_int_equal(time_ns_to_tsc(cases[i].ns), cases[i].ticks);
    }
    time_set_tsc_hz(0); // nobody knows: what was known stays
    assert_int_equal(time_tsc_hz(), 5999999999u);
}

static void test_never_goes_back(void **state)
{
    (void)state;
    static const uint64_t hz[] = {1000000000u, 4000000000u, 200000000u, 3000000000u};
    time_start(rdtsc());
    uint64_t last = 0;
    for (unsigned i = 0; i < 4000; i++) {
        if (i % 100 == 0)
            time_set_tsc_hz(hz[i / 100 % 4]);
        uint64_t now = time_ns();
        assert_true(now >= last);
        last = now;
    }
}

static void test_rate(void **state)
{
    (void)state;
    time_set_tsc_hz(1000000000u);
    uint64_t tsc = rdtsc(), ns = time_ns();
    time_delay_us(200);
    uint64_t passed_ns = time_ns() - ns, passed_tsc = rdtsc() - tsc;
    assert_true(passed_ns >= 200000 && passed_ns <= passed_tsc);
    // The base of another CPU may lie a little in our future: no underflow.
    time_start(rdtsc() + 1000000000ull);
    assert_true(time_ns() < 1ull << 62);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conversions),
        cmocka_unit_test(test_never_goes_back),
        cmocka_unit_test(test_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
