// SPDX-License-Identifier: BSD-2-Clause
// LINK:
// Shares of a CPU (hv/vm/fair.h): guests whose turns last as long as they like, against one that is honest.
#include "hv/vm/fair.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define SLICE  1000u
#define GUESTS 4

/// Runs `rounds` rounds; each guest's turn takes turn[i] ticks (0: it is halted). Adds what each used to
/// used[].
static void run(struct fair fair[GUESTS], const uint64_t turn[GUESTS], uint64_t used[GUESTS], unsigned rounds)
{
    bool contended = false;
    for (unsigned r = 0; r < rounds; r++) {
        unsigned wanted = 0;
        for (unsigned i = 0; i < GUESTS; i++) {
            if (!fair_turn(&fair[i], SLICE, contended)) {
                wanted++;
                continue;
            }
            fair_ran(&fair[i], SLICE, turn[i], turn[i] ? SLICE : 0);
            used[i] += turn[i];
            wanted += turn[i] != 0;
        }
        contended = wanted > 1;
    }
}

static void who_takes_more_waits_longer(void **state)
{
    (void)state;
    struct fair fair[GUESTS] = {0};
    uint64_t used[GUESTS] = {0}, all = 0;
    run(fair, (const uint64_t[]){SLICE + 20, 3 * SLICE, SLICE, 9 * SLICE + 7}, used, 10000);
    for (unsigned i = 0; i < GUESTS; i++)
        all += used[i];
    for (unsigned i = 0; i < GUESTS; i++) {
        assert_true(used[i] > all / GUESTS * 95 / 100);
        assert_true(used[i] < all / GUESTS * 105 / 100);
    }
}

static void alone_nobody_waits(void **state)
{
    (void)state;
    struct fair fair[GUESTS] = {0};
    uint64_t used[GUESTS] = {0};
    run(fair, (const uint64_t[]){0, 5 * SLICE, 0, 0}, used, 1000);
    assert_int_equal(used[1], 5 * SLICE * 1000);
}

static void a_debt_has_an_end(void **state)
{
    (void)state;
    struct fair fair[GUESTS] = {0};
    uint64_t used[GUESTS] = {0};
    run(fair, (const uint64_t[]){1000000 * (uint64_t)SLICE, SLICE, 0, 0}, used, 1);
    uint64_t once = used[0];
    run(fair, (const uint64_t[]){SLICE, SLICE, 0, 0}, used, FAIR_SLICES + 2);
    assert_true(used[0] > once);
}

static void a_short_turn_pays(void **state)
{
    (void)state;
    struct fair f = {0};
    fair_ran(&f, SLICE, 2 * SLICE - 1, SLICE);
    assert_int_equal(f.debt, SLICE - 1);
    fair_ran(&f, SLICE, SLICE / 2, SLICE);
    assert_int_equal(f.debt, SLICE / 2 - 1);
    fair_ran(&f, SLICE, 0, SLICE);
    assert_int_equal(f.debt, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_takes_more_waits_longer),
        cmocka_unit_test(alone_nobody_waits),
        cmocka_unit_test(a_debt_has_an_end),
        cmocka_unit_test(a_short_turn_pays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
