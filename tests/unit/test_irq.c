// SPDX-License-Identifier: BSD-2-Clause
// Interrupt vectors: who gets which, who is called, when EOI is sent.
// LINK: rt/irq.c
#include "rt/irq.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static unsigned calls[256], eois, order;

static void handler(void *ctx, uint8_t vector)
{
    assert_ptr_equal(ctx, &calls[vector]);
    calls[vector]++;
    assert_int_equal(order++ % 2, 0); // before its EOI
}

static void eoi(void)
{
    eois++;
    order++;
}

static void test_all_vectors(void **state)
{
    (void)state;
    uint8_t v = 0;
    irq_dispatch(0x40); // before anybody told how: nothing to send, nobody to call
    irq_set_eoi(eoi);
    assert_int_equal(irq_alloc(NULL, NULL, &v), ERR_INVAL);
    for (unsigned want = 0x30; want <= 0xef; want++) {
        assert_int_equal(irq_alloc(handler, &calls[want], &v), OK);
        assert_int_equal(v, want);
    }
    assert_int_equal(irq_alloc(handler, NULL, &v), ERR_NOMEM);
    for (unsigned i = 0x30; i <= 0xef; i++) {
        irq_dispatch((uint8_t)i);
        assert_int_equal(calls[i], 1);
        assert_int_equal(eois, i - 0x30 + 1);
    }
}

static void test_nobody_and_spurious(void **state)
{
    (void)state;
    unsigned before = eois;
    irq_dispatch(0x21);
    assert_int_equal(eois, before + 1); // taken, so acknowledged
    irq_dispatch(0xff);
    assert_int_equal(eois, before + 1); // a spurious one must not be
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_vectors),
        cmocka_unit_test(test_nobody_and_spurious),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
