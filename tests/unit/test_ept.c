// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/vmx/ept.c
// Extended page tables as the CPU would walk them: what is mapped where, splitting, dirty bits, and that
// every table comes back.
#include "hv/vmx/vmx.h"
#include "rt/paging.h"
#include "tests/unit/host/host.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MIB 0x100000ull
#define A   0x100ull
#define D   0x200ull
#define HPA 0x7000000000ull // the pages are never looked into

struct vmx_controls vmx_controls;

static struct nested_map *make(bool dirty_bits)
{
    struct nested_map *map;
    vmx_controls = (struct vmx_controls){.ept_2m = true, .ept_dirty = dirty_bits};
    assert_int_equal(ept_create(&map), OK);
    return map;
}

static void destroy(struct nested_map *map)
{
    ept_destroy(map);
    assert_int_equal(host_frames_in_use(), 0);
}

/// SDM vol. 3, 29.3.2: the leaf entry for gpa, NULL where the walk ends.
static uint64_t *walk(const struct nested_map *map, uint64_t gpa, unsigned *shift)
{
    uint64_t *table = phys_to_virt(map->root);
    for (*shift = 39;; *shift -= 9) {
        uint64_t *e = &table[gpa >> *shift & 511];
        if ((*e & 7) == 0)
            return NULL;
        if (*shift == 12 || (*e & 0x80))
            return e;
        assert_int_equal(*e & 0xff8, 0); // reserved or ignored in a non-leaf entry (table 29-2, 29-4)
        table = phys_to_virt(*e & ~0xfffull);
    }
}

/// A write of the guest's.
static void guest_writes(const struct nested_map *map, uint64_t gpa)
{
    unsigned shift;
    uint64_t *e = walk(map, gpa, &shift);
    assert_non_null(e);
    *e |= A | D;
}

static void pages_of_both_sizes(void **state)
{
    (void)state;
    struct nested_map *map = make(true);
    unsigned shift;
    assert_int_equal(map->eptp & 0xfff, 0x5e); // write-back, 4 levels, dirty bits
    assert_int_equal(ept_map(map, 0x5000, HPA, 0x1000), OK);
    assert_int_equal(ept_map(map, 4 * MIB, HPA + 2 * MIB, 2 * MIB), OK);
    assert_int_equal(*walk(map, 0x5000, &shift), HPA | 0x7 | 6 << 3 | 1 << 6 | A | D);
    assert_int_equal(shift, 12);
    assert_int_equal(*walk(map, 4 * MIB + 12345, &shift),
                     (HPA + 2 * MIB) | 0x7 | 6 << 3 | 1 << 6 | 0x80 | A | D);
    assert_int_equal(shift, 21);
    assert_null(walk(map, 0x6000, &shift));
    assert_null(walk(map, 6 * MIB, &shift));
    assert_int_equal(ept_map(map, 4 * MIB + 0x1000, HPA, 0x1000), ERR_BUSY);
    assert_int_equal(ept_map(map, 0x800, HPA, 0x1000), ERR_INVAL);
    assert_int_equal(ept_map(map, MIB, HPA, 2 * MIB), ERR_INVAL);
    assert_int_equal(ept_map(map, 1ull << 48, HPA, 0x1000), ERR_INVAL);
    destroy(map);
}

static void split_keeps_every_address(void **state)
{
    (void)state;
    struct nested_map *map = make(true);
    unsigned shift;
    assert_int_equal(ept_map(map, 2 * MIB, HPA, 2 * MIB), OK);
    assert_false(map->stale);
    assert_true(ept_watch(map, 3 * MIB + 0x123));
    assert_true(map->stale);
    for (uint64_t at = 0; at < 2 * MIB; at += 0x1000) {
        assert_int_equal(*walk(map, 2 * MIB + at, &shift), (HPA + at) | 0x7 | 6 << 3 | 1 << 6 | A | D);
        assert_int_equal(shift, 12);
    }
    uint64_t frames = host_frames_in_use();
    assert_true(ept_watch(map, 2 * MIB)); // again: nothing to do
    assert_int_equal(host_frames_in_use(), frames);
    destroy(map);
}

static void each_page_is_told_alone(void **state)
{
    (void)state;
    struct nested_map *map = make(true);
    assert_int_equal(ept_map(map, 2 * MIB, HPA, 2 * MIB), OK);
    assert_true(ept_dirty(map, 2 * MIB)); // not watched: always
    assert_true(ept_dirty(map, 2 * MIB));
    assert_true(ept_watch(map, 2 * MIB + 0x3000));
    map->stale = false;
    assert_true(ept_dirty(map, 2 * MIB + 0x3000)); // since it was mapped
    assert_true(map->stale);
    map->stale = false;
    assert_false(ept_dirty(map, 2 * MIB + 0x3000));
    assert_false(map->stale); // nothing was cleared
    assert_true(ept_dirty(map, 2 * MIB + 0x4000));
    guest_writes(map, 2 * MIB + 0x3ff8);
    assert_false(ept_dirty(map, 2 * MIB + 0x4000));
    assert_true(ept_dirty(map, 2 * MIB + 0x3000));
    assert_false(ept_dirty(map, 2 * MIB + 0x3000));
    ept_mark(map, 2 * MIB + 0x3abc); // we wrote it
    assert_true(ept_dirty(map, 2 * MIB + 0x3000));
    assert_false(ept_dirty(map, 2 * MIB + 0x4000));
    destroy(map);
}

/// The word that is looked at instead of asking says the same.
static void where_it_is_noted(void **state)
{
    (void)state;
    struct nested_map *map = make(true);
    uint64_t mask = 0;
    assert_int_equal(ept_map(map, 2 * MIB, HPA, 2 * MIB), OK);
    assert_null(ept_note(map, 2 * MIB, &mask)); // not watched
    assert_true(ept_watch(map, 2 * MIB + 0x3000));
    const volatile uint64_t *word = ept_note(map, 2 * MIB + 0x3000, &mask);
    assert_non_null(word);
    assert_true(*word & mask);
    assert_true(ept_dirty(map, 2 * MIB + 0x3000));
    assert_false(*word & mask);
    guest_writes(map, 2 * MIB + 0x2ff8);
    assert_false(*word & mask);
    guest_writes(map, 2 * MIB + 0x3ff8);
    assert_true(*word & mask);
    destroy(map);
    map = make(false);
    assert_int_equal(ept_map(map, 0x1000, HPA, 0x1000), OK);
    assert_null(ept_note(map, 0x1000, &mask));
    destroy(map);
}

/// Pages that are absent, beyond the tables, or within a large page: no harm, and always written.
static void what_is_not_watched(void **state)
{
    (void)state;
    struct nested_map *map = make(true);
    static const uint64_t nowhere[] = {0, 0x1000, 6 * MIB, 1ull << 30, 1ull << 39, 1ull << 48, ~0xfffull};
    assert_int_equal(ept_map(map, 2 * MIB, HPA, 2 * MIB), OK);
    for (unsigned i = 0; i < sizeof nowhere / sizeof *nowhere; i++) {
        assert_false(ept_watch(map, nowhere[i]));
        assert_true(ept_dirty(map, nowhere[i]));
        ept_mark(map, nowhere[i]);
    }
    ept_mark(map, 2 * MIB);
    assert_int_equal(ept_map(map, 0x1000, HPA, 0x1000), OK);
    assert_true(ept_watch(map, 0x1000));
    assert_false(ept_watch(map, 0xa0000)); // the hole, in a table that is there
    assert_true(ept_dirty(map, 0xa0000));
    destroy(map);
}

static void no_memory_to_split(void **state)
{
    (void)state;
    struct nested_map *map = make(true);
    assert_int_equal(ept_map(map, 2 * MIB, HPA, 2 * MIB), OK);
    host_frames_fail_after(0);
    assert_false(ept_watch(map, 2 * MIB));
    assert_true(ept_dirty(map, 2 * MIB));
    assert_true(ept_dirty(map, 2 * MIB));
    assert_true(ept_watch(map, 2 * MIB)); // later there is
    destroy(map);
}

static void machine_without_dirty_bits(void **state)
{
    (void)state;
    struct nested_map *map = make(false);
    assert_int_equal(map->eptp & 0xfff, 0x1e);
    assert_int_equal(ept_map(map, 2 * MIB, HPA, 2 * MIB), OK);
    assert_int_equal(ept_map(map, 0x1000, HPA, 0x1000), OK);
    assert_false(ept_watch(map, 2 * MIB));
    assert_false(ept_watch(map, 0x1000));
    assert_true(ept_dirty(map, 0x1000));
    assert_true(ept_dirty(map, 0x1000));
    destroy(map);
}

static void clear_gives_all_tables_back(void **state)
{
    (void)state;
    struct nested_map *map = make(true);
    unsigned shift;
    for (uint64_t gpa = 2 * MIB; gpa < 64 * MIB; gpa += 2 * MIB) {
        assert_int_equal(ept_map(map, gpa, HPA + gpa, 2 * MIB), OK);
        assert_true(ept_watch(map, gpa));
    }
    assert_int_equal(ept_map(map, 5ull << 39, HPA, 0x1000), OK);
    map->stale = false;
    assert_false(ept_dirty(map, 62 * MIB) && ept_dirty(map, 62 * MIB));
    ept_clear(map);
    assert_true(map->stale);
    assert_true(ept_dirty(map, 62 * MIB)); // gone with its table
    ept_mark(map, 62 * MIB);
    assert_int_equal(host_frames_in_use(), 1); // the root
    assert_null(walk(map, 2 * MIB, &shift));
    assert_int_equal(ept_map(map, 2 * MIB, HPA, 2 * MIB), OK);
    assert_int_equal(*walk(map, 2 * MIB, &shift) & ~0xfffull, HPA);
    destroy(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_of_both_sizes),        cmocka_unit_test(split_keeps_every_address),
        cmocka_unit_test(each_page_is_told_alone),    cmocka_unit_test(where_it_is_noted),
        cmocka_unit_test(what_is_not_watched),        cmocka_unit_test(no_memory_to_split),
        cmocka_unit_test(machine_without_dirty_bits), cmocka_unit_test(clear_gives_all_tables_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
