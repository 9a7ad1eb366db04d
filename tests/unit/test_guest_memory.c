// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/vm/memory.c
// A guest's RAM: where it is and is not, that nothing of another's is ever seen in it, also after a reset.
// The fake frames are full of 0xa5.
#include "hv/vm/guest.h"
#include "rt/paging.h"
#include "tests/unit/host/host.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MIB 0x100000ull

const struct virt_ops *guest_virt;
static unsigned maps_4k, maps_2m, clears;
static uint64_t hole_maps;
static bool map_fails;

static enum status fake_map(struct nested_map *map, uint64_t gpa, phys_t hpa, uint64_t size)
{
    (void)map;
    if (map_fails)
        return ERR_NOMEM;
    for (uint64_t i = 0; i < size; i++) // zeroed before it is mapped
        assert_int_equal(((const uint8_t *)phys_to_virt(hpa))[i], 0);
    maps_4k += size == 0x1000;
    maps_2m += size == GUEST_CHUNK;
    hole_maps += gpa >= GUEST_HOLE_START && gpa < GUEST_HOLE_END;
    return OK;
}

static void fake_clear(struct nested_map *map)
{
    (void)map;
    clears++;
}

static uint64_t marked[8];
static unsigned marks;

static void fake_mark(struct nested_map *map, uint64_t gpa)
{
    (void)map;
    assert_true(marks < 8);
    marked[marks++] = gpa;
}

static const struct virt_ops fake_virt = {
    .map_mark = fake_mark, .map_ram = fake_map, .map_clear = fake_clear};

static struct guest *make(uint64_t bytes)
{
    struct guest *g = calloc(1, sizeof *g);
    guest_virt = &fake_virt;
    maps_4k = maps_2m = clears = 0;
    hole_maps = 0;
    map_fails = false;
    assert_int_equal(guest_memory_create(g, bytes), OK);
    return g;
}

static void destroy(struct guest *g)
{
    guest_memory_destroy(g);
    free(g);
    assert_int_equal(host_frames_in_use(), 0);
}

static void where_ram_is(void **state)
{
    (void)state;
    struct guest *g = make(8 * MIB);
    static const struct {
        uint64_t gpa;
        bool is;
    } rows[] = {{0, true},
                {GUEST_HOLE_START - 1, true},
                {GUEST_HOLE_START, false},
                {GUEST_HOLE_END - 1, false},
                {GUEST_HOLE_END, true},
                {8 * MIB - 1, true},
                {8 * MIB, false},
                {GUEST_LOW_END, false},
                {0xfee00000, false},
                {GUEST_HIGH_START, false},
                {~0ull, false},
                {1ull << 63, false}};
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t room;
        assert_int_equal(guest_memory_contains(g, rows[i].gpa), rows[i].is);
        assert_int_equal(guest_memory_at(g, rows[i].gpa, &room) != NULL, rows[i].is);
    }
    uint64_t room;
    (void)guest_memory_at(g, GUEST_HOLE_START - 4, &room);
    assert_int_equal(room, 4);
    (void)guest_memory_at(g, GUEST_CHUNK - 4, &room);
    assert_int_equal(room, 4);
    destroy(g);
}

static void first_touch(void **state)
{
    (void)state;
    struct guest *g = make(4 * MIB);
    assert_int_equal(guest_memory_touch(g, 0x1234), OK);
    assert_int_equal(maps_4k, 512 - 32);
    assert_int_equal(hole_maps, 0);
    assert_int_equal(guest_memory_touch(g, 3 * MIB), OK);
    assert_int_equal(guest_memory_touch(g, 3 * MIB), OK);
    assert_int_equal(maps_2m, 1);
    assert_int_equal(guest_memory_touch(g, 4 * MIB), ERR_RANGE);
    destroy(g);
}

static void map_without_memory(void **state)
{
    (void)state;
    struct guest *g = make(4 * MIB);
    map_fails = true;
    assert_int_equal(guest_memory_touch(g, 2 * MIB), ERR_NOMEM);
    map_fails = false;
    assert_int_equal(guest_memory_touch(g, 2 * MIB), OK);
    destroy(g);
}

static void copies_over_borders(void **state)
{
    (void)state;
    struct guest *g = make(6 * MIB);
    uint8_t bytes[64];
    uint64_t room;
    memset(bytes, 0x5a, sizeof bytes);
    assert_int_equal(guest_memory_write(g, 4 * MIB - 32, bytes, sizeof bytes), OK);
    assert_memory_equal(guest_memory_at(g, 4 * MIB - 32, &room), bytes, 32);
    assert_memory_equal(guest_memory_at(g, 4 * MIB, &room), bytes, 32);
    assert_int_equal(guest_memory_write(g, GUEST_HOLE_START - 32, bytes, sizeof bytes), ERR_RANGE);
    assert_int_equal(guest_memory_fill(g, 6 * MIB - 32, 1, 64), ERR_RANGE);
    assert_int_equal(guest_memory_write(g, ~0ull - 31, bytes, sizeof bytes), ERR_RANGE);
    destroy(g);
}

/// Whoever asks which pages were written hears of our writes, each page once; nobody asks: nothing is told.
static void our_writes_are_told(void **state)
{
    (void)state;
    struct guest *g = make(6 * MIB);
    uint8_t bytes[0x1800] = {0};
    marks = 0;
    assert_int_equal(guest_memory_write(g, 4 * MIB, bytes, sizeof bytes), OK);
    assert_int_equal(marks, 0);
    g->watched = true;
    assert_int_equal(guest_memory_write(g, 4 * MIB - 0x900, bytes, sizeof bytes), OK);
    assert_int_equal(marks, 2);
    assert_int_equal(marked[0], 4 * MIB - 0x1000);
    assert_int_equal(marked[1], 4 * MIB);
    assert_int_equal(guest_memory_fill(g, 0x5fff, 1, 2), OK);
    assert_int_equal(marks, 4);
    assert_int_equal(marked[2], 0x5000);
    assert_int_equal(marked[3], 0x6000);
    guest_memory_written(g, 0x7123);
    assert_int_equal(marks, 5);
    destroy(g);
}

/// A reset costs no zeroing of what was used, and nothing of it is left.
static void reset(void **state)
{
    (void)state;
    struct guest *g = make(6 * MIB);
    uint64_t room;
    static const uint8_t zero[64];
    while (guest_memory_zero_ahead(g))
        ;
    assert_int_equal(maps_4k + maps_2m, 0);
    memset(guest_memory_at(g, 0x8000, &room), 0xee, 64);
    memset(guest_memory_at(g, 2 * MIB, &room), 0xee, 64);
    const uint8_t *used = guest_memory_at(g, 2 * MIB, &room);
    guest_memory_clear(g);
    assert_int_equal(clears, 1);
    assert_int_equal(used[0], 0xee); // not yet
    assert_int_equal(g->chunk_state[2], CHUNK_ZEROED);
    assert_true(guest_memory_zero_ahead(g)); // begins anew
    assert_int_equal(g->chunk_state[0], CHUNK_ZEROED);
    assert_memory_equal(guest_memory_at(g, 0x8000, &room), zero, 64);
    assert_memory_equal(guest_memory_at(g, 2 * MIB, &room), zero, 64);
    assert_int_equal(maps_2m, 2); // mapped again
    destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_ram_is),        cmocka_unit_test(first_touch),
        cmocka_unit_test(map_without_memory),  cmocka_unit_test(copies_over_borders),
        cmocka_unit_test(our_writes_are_told), cmocka_unit_test(reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
