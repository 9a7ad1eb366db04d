// SPDX-License-Identifier: BSD-2-Clause
// LINK:
// rt/memory.h against the plainest code that does the same: every size up to a few blocks, every alignment,
// every overlap. Operands end where their heap block ends, so that ASan sees a byte too far.
#include "rt/memory.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SIZES 200

static uint8_t *block(size_t n, unsigned seed)
{
    uint8_t *p = malloc(n + 1); // the byte before the operand is the guard of the other side
    for (size_t i = 0; i <= n; i++)
        p[i] = (uint8_t)(seed + i * 13);
    return p;
}

static void copies(void **state)
{
    (void)state;
    for (size_t n = 0; n < SIZES; n++) {
        for (size_t skew = 0; skew < 8; skew++) {
            uint8_t *from = block(n + skew, 1), *to = block(n + 7 - skew, 99),
                    *expected = block(n + 7 - skew, 99);
            for (size_t i = 0; i < n; i++)
                expected[8 - skew + i] = from[1 + skew + i];
            memory_copy(to + 8 - skew, from + 1 + skew, n);
            assert_memory_equal(to, expected, n + 8 - skew);
            free(from);
            free(to);
            free(expected);
        }
    }
}

static void moves(void **state)
{
    (void)state;
    uint8_t bytes[3 * SIZES], expected[3 * SIZES];
    for (size_t n = 0; n < SIZES; n++) {
        for (size_t from = 0; from < 2 * SIZES; from += from % 2 ? 1 : 3) {
            size_t to = SIZES / 2 + n % 9;
            for (size_t i = 0; i < sizeof bytes; i++)
                bytes[i] = expected[i] = (uint8_t)(i * 7 + i / 256);
            for (size_t i = 0; i < n; i++)
                expected[to + i] = (uint8_t)((from + i) * 7 + (from + i) / 256);
            memory_move(bytes + to, bytes + from, n);
            assert_memory_equal(bytes, expected, sizeof bytes);
        }
    }
}

static void fills(void **state)
{
    (void)state;
    for (size_t n = 0; n < SIZES; n++) {
        for (size_t skew = 1; skew < 9; skew++) {
            uint8_t *p = block(n + skew, 5), *expected = block(n + skew, 5);
            for (size_t i = 0; i < n; i++)
                expected[1 + skew + i] = (uint8_t)(n + 0x80);
            memory_fill(p + 1 + skew, (uint8_t)(n + 0x80), n);
            assert_memory_equal(p, expected, n + skew + 1);
            free(p);
            free(expected);
        }
    }
}

static void compares(void **state)
{
    (void)state;
    for (size_t n = 0; n < 64; n++) {
        uint8_t *a = block(n, 3), *b = block(n, 3);
        assert_int_equal(memory_compare(a + 1, b + 1, n), 0);
        for (size_t i = 0; i < n; i++) {
            uint8_t saved = b[1 + i];
            for (size_t j = i + 1; j < n; j++)
                b[1 + j] = (uint8_t)~a[1 + j]; // what follows the first difference does not count
            b[1 + i] = (uint8_t)(saved ^ 0x80);
            int sign = saved < b[1 + i] ? -1 : 1;
            assert_true(sign * memory_compare(a + 1, b + 1, n) > 0);
            assert_true(sign * memory_compare(b + 1, a + 1, n) < 0);
            memcpy(b, a, n + 1);
        }
        free(a);
        free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies),
        cmocka_unit_test(moves),
        cmocka_unit_test(fills),
        cmocka_unit_test(compares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
