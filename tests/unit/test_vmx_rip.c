// SPDX-License-Identifier: BSD-2-Clause
// LINK:
// Where RIP goes behind an instruction that was emulated.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four above
#include "hv/vmx/vmx.h"
#include <cmocka.h>

static void end_of_4g(void **state)
{
    (void)state;
    for (uint64_t length = 1; length <= 15; length++) {
        for (uint64_t before = 1; before <= 16; before++)
            assert_int_equal(vmx_passes_4g(0x100000000 - before, 0x100000000 - before + length),
                             length >= before);
        assert_false(vmx_passes_4g(0, length));
        assert_false(vmx_passes_4g(0x7fffffff, 0x7fffffff + length));
        assert_false(vmx_passes_4g(0x1ffffffff, 0x1ffffffff + length)); // 64-bit mode
        assert_false(vmx_passes_4g(0x7fffffffefff, 0x7fffffffefff + length));
        assert_false(vmx_passes_4g(0xffffffffffffff00, 0xffffffffffffff00 + length));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(end_of_4g)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
