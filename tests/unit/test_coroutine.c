// SPDX-License-Identifier: BSD-2-Clause
// LINK: rt/coroutine.c
// Coroutines: what they keep while they are left, in registers and on their stacks, and that they are aligned
// as the ABI wants.
#include "rt/coroutine.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
// cmocka wants these first
#include <cmocka.h>

#define STACK 65536u

struct work {
    struct coroutine co;
    void *stack;
    unsigned rounds, starts, sum;
    uintptr_t misaligned;
};

static void begin(struct work *w, void (*body)(void *))
{
    memset(w, 0, sizeof *w);
    w->stack = aligned_alloc(16, STACK);
    assert_non_null(w->stack);
    coroutine_init(&w->co, (char *)w->stack + STACK, body, w);
}

static void deep(struct work *w, unsigned depth)
{
    volatile unsigned mark = depth * 3;
    if (depth == 0)
        coroutine_leave(&w->co);
    else
        deep(w, depth - 1);
    w->sum += mark;
}

static void count(void *arg)
{
    struct work *w = arg;
    w->starts++;
    w->misaligned |= (uintptr_t)__builtin_frame_address(0) & 15;
    for (unsigned i = 0; i < w->rounds; i++)
        deep(w, 10);
}

static void it_goes_on_where_it_was_left(void **state)
{
    (void)state;
    struct work a, b;
    begin(&a, count);
    begin(&b, count);
    a.rounds = 3;
    b.rounds = 2;
    for (unsigned i = 0; i < 3; i++) { // each keeps its own stack while the other one runs
        coroutine_enter(&a.co);
        coroutine_enter(&b.co);
        assert_int_equal(a.sum, 165 * i);
    }
    assert_int_equal(a.starts, 1);
    assert_int_equal(b.starts, 1); // has come to its end
    assert_int_equal(b.sum, 2 * 165);
    coroutine_enter(&a.co);
    assert_int_equal(a.sum, 3 * 165);
    assert_int_equal(a.misaligned | b.misaligned, 0);
    free(a.stack);
    free(b.stack);
}

static void its_end_is_a_leave_and_a_beginning(void **state)
{
    (void)state;
    struct work w;
    begin(&w, count);
    for (unsigned i = 1; i <= 5; i++) {
        coroutine_enter(&w.co);
        assert_int_equal(w.starts, i);
    }
    w.rounds = 1;
    coroutine_enter(&w.co);
    assert_int_equal(w.starts, 6);
    coroutine_enter(&w.co); // the rest of that
    assert_int_equal(w.starts, 6);
    assert_int_equal(w.sum, 165);
    free(w.stack);
}

/// Many values that live across the switch: some of them in callee-saved registers.
static void keep(void *arg)
{
    struct work *w = arg;
    unsigned a = w->rounds, b = a * 3 + 1, c = b * 5 + 2, d = c * 7 + 3, e = d * 11 + 4, f = e * 13 + 5;
    coroutine_leave(&w->co);
    w->sum = a ^ b ^ c ^ d ^ e ^ f;
}

static void registers_are_kept(void **state)
{
    (void)state;
    struct work w[4];
    for (unsigned i = 0; i < 4; i++) {
        begin(&w[i], keep);
        w[i].rounds = 1000 + i;
    }
    unsigned p = 1, q = 2, r = 3, s = 4, t = 5;
    for (unsigned i = 0; i < 8; i++) {
        p += i, q ^= p, r += q, s ^= r, t += s;
        coroutine_enter(&w[i % 4].co);
    }
    unsigned p2 = 1, q2 = 2, r2 = 3, s2 = 4, t2 = 5;
    for (unsigned i = 0; i < 8; i++)
        p2 += i, q2 ^= p2, r2 += q2, s2 ^= r2, t2 += s2;
    assert_int_equal(p ^ q ^ r ^ s ^ t, p2 ^ q2 ^ r2 ^ s2 ^ t2);
    for (unsigned i = 0; i < 4; i++) {
        unsigned a = 1000 + i, b = a * 3 + 1, c = b * 5 + 2, d = c * 7 + 3, e = d * 11 + 4, f = e * 13 + 5;
        assert_int_equal(w[i].sum, a ^ b ^ c ^ d ^ e ^ f);
        free(w[i].stack);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_goes_on_where_it_was_left),
        cmocka_unit_test(its_end_is_a_leave_and_a_beginning),
        cmocka_unit_test(registers_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
