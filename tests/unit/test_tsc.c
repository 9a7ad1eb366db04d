// SPDX-License-Identifier: BSD-2-Clause
// The frequency CPUID tells. (Measuring is tried on whole machines: tests/system/test_rt.py.)
// LINK: drivers/tsc.c rt/time.c
#include "drivers/tsc.h"
#include "rt/paging.h"
#include "rt/time.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

volatile void *mmio_map(phys_t phys, size_t size)
{
    (void)phys;
    (void)size;
    return NULL;
}

static uint64_t hz(uint32_t denominator, uint32_t numerator, uint32_t crystal, uint32_t base_mhz)
{
    return tsc_hz_from_cpuid((struct cpuid){denominator, numerator, crystal, 0},
                             (struct cpuid){base_mhz, 0, 0, 0});
}

static void test_cpuid(void **state)
{
    (void)state;
    assert_int_equal(hz(2, 292, 24000000, 3500), 3504000000u); // all is told
    assert_int_equal(hz(2, 292, 0, 3500), 3500000000u);        // the crystal is not
    assert_int_equal(hz(1, 0xffffffffu, 0xffffffffu, 0), 0xfffffffe00000001ull);
    assert_int_equal(hz(0, 292, 24000000, 0), 0);
    assert_int_equal(hz(2, 0, 24000000, 3500), 0); // no ratio: the base frequency may be another clock's
    assert_int_equal(hz(2, 292, 0, 0), 0);
    assert_int_equal(hz(2, 292, 0, 0xffff0000u), 0); // only 16 bits count
    assert_int_equal(hz(0, 0, 0, 3500), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cpuid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
