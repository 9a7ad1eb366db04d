// SPDX-License-Identifier: BSD-2-Clause
// The frame allocator on a made-up memory map. Physical memory is an array here; nobody may look elsewhere.
// LINK: rt/frames.c
#include "rt/boot_info.h"
#include "rt/frames.h"
#include "rt/frames_internal.h"
#include "rt/paging.h"
#include "tests/unit/host/host.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MIB      (1ull << 20)
#define RAM_SIZE (48 * MIB)

static uint8_t *ram; // physical 0 .. RAM_SIZE

void *phys_to_virt(phys_t phys)
{
    assert_true(phys < RAM_SIZE);
    return ram + phys;
}

#define ENTRY(b, s, t)                                                                                       \
    {                                                                                                        \
        .base = (b), .size = (s), .type = (t)                                                                \
    }

// Low memory, a hole, 16 MiB with the image and the loader inside, ACPI, 24 MiB.
static const struct boot_mem map[] = {
    ENTRY(0, 0x9f000, BOOT_MEM_USABLE),       ENTRY(0x9f000, 0x61000, BOOT_MEM_RESERVED),
    ENTRY(1 * MIB, 1 * MIB, BOOT_MEM_USABLE), ENTRY(2 * MIB, 1 * MIB, BOOT_MEM_IMAGE),
    ENTRY(3 * MIB, 1 * MIB, BOOT_MEM_LOADER), ENTRY(4 * MIB, 13 * MIB, BOOT_MEM_USABLE),
    ENTRY(17 * MIB, 7 * MIB, BOOT_MEM_ACPI),  ENTRY(24 * MIB, 24 * MIB, BOOT_MEM_USABLE),
};
#define MAP_COUNT (sizeof map / sizeof map[0])

static int setup(void **state)
{
    (void)state;
    ram = malloc(RAM_SIZE);
    if (!ram)
        return -1;
    memset(ram, 0xcc, RAM_SIZE);
    return frames_init(map, MAP_COUNT) == OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    free(ram);
    return 0;
}

static bool usable(phys_t base, uint64_t size)
{
    for (unsigned i = 0; i < MAP_COUNT; i++)
        if (map[i].type == BOOT_MEM_USABLE && base >= map[i].base && base + size <= map[i].base + map[i].size)
            return true;
    return false;
}

static void test_counts(void **state)
{
    (void)state;
    struct frames_stats s = frames_stats();
    uint64_t loader = MIB / FRAME_SIZE, all = 0x9f + (1 + 1 + 13 + 24) * MIB / FRAME_SIZE;
    assert_int_equal(s.total, all);
    assert_int_equal(s.free, all - loader - 2); // one frame of bitmaps, and frame 0
}

static void test_zeroed_and_dirty(void **state)
{
    (void)state;
    phys_t a = frames_alloc(3, FRAME_SIZE, 0);
    assert_true(usable(a, 3 * FRAME_SIZE));
    for (unsigned i = 0; i < 3 * FRAME_SIZE; i++)
        assert_int_equal(ram[a + i], 0);
    phys_t b = frames_alloc_dirty(1, FRAME_SIZE, 0);
    assert_int_equal(ram[b], 0xcc);
    assert_true(b >= a + 3 * FRAME_SIZE || b + FRAME_SIZE <= a);
}

static void test_alignment_and_limit(void **state)
{
    (void)state;
    for (uint64_t align = FRAME_SIZE; align <= 8 * MIB; align *= 2) {
        phys_t p = frames_alloc_dirty(1, align, 0);
        assert_true(p != FRAME_NONE && p % align == 0 && usable(p, FRAME_SIZE));
    }
    phys_t low = frames_alloc_dirty(2, FRAME_SIZE, MIB);
    assert_true(low != FRAME_NONE && low != 0 && low + 2 * FRAME_SIZE <= 0x9f000);
    phys_t below = frames_alloc_dirty(1024, 2 * MIB, 16 * MIB);
    assert_true(below != FRAME_NONE && below + 4 * MIB <= 16 * MIB && usable(below, 4 * MIB));
    assert_true(frames_alloc_dirty(1, 3 * FRAME_SIZE, 0) == FRAME_NONE); // no power of two
    assert_true(frames_alloc_dirty(0, FRAME_SIZE, 0) == FRAME_NONE);
    assert_true(frames_alloc_dirty(1, FRAME_SIZE, 100) == FRAME_NONE);
    assert_true(frames_alloc_dirty(1, FRAME_SIZE, FRAME_SIZE) ==
                FRAME_NONE); // only frame 0 is below, and it is nobody's
}

static void test_big_from_the_top(void **state)
{
    (void)state;
    phys_t small = frames_alloc_dirty(1, FRAME_SIZE, 0), big = frames_alloc_dirty(512, 2 * MIB, 0);
    assert_int_equal(big, 46 * MIB);
    assert_true(small < 2 * MIB && small >= MIB);
    assert_int_equal(frames_alloc_dirty(20 * 256, MIB, 0), 26 * MIB);
    assert_true(frames_alloc_dirty(14 * 256, FRAME_SIZE, 0) == FRAME_NONE); // more than any region has left
    assert_int_equal(frames_alloc_dirty(13 * 256, FRAME_SIZE, 0), 4 * MIB);
}

static void test_exhaustion_and_return(void **state)
{
    (void)state;
    uint64_t before = frames_stats().free, got = 0;
    phys_t *all = calloc(before, sizeof *all);
    assert_non_null(all);
    uint8_t *seen = calloc(RAM_SIZE / FRAME_SIZE, 1);
    assert_non_null(seen);
    for (phys_t p; (p = frames_alloc_dirty(1, FRAME_SIZE, 0)) != FRAME_NONE; got++) {
        assert_true(usable(p, FRAME_SIZE) && p >= MIB && !seen[p / FRAME_SIZE]);
        seen[p / FRAME_SIZE] = 1;
        all[got] = p;
    }
    assert_int_equal(got, before - 0x9e); // memory below 1 MiB is kept for who asks
    for (uint64_t i = 0; i < got; i++)
        frames_free(all[i], 1);
    assert_int_equal(frames_stats().free, before);
    assert_true(frames_alloc_dirty(24 * 256, FRAME_SIZE, 0) == 24 * MIB); // all in one piece again
    free(seen);
    free(all);
}

static void test_part_of_a_block(void **state)
{
    (void)state;
    phys_t p = frames_alloc_dirty(8, FRAME_SIZE, 0);
    frames_free(p + 2 * FRAME_SIZE, 3);
    assert_int_equal(frames_alloc_dirty(3, FRAME_SIZE, 0), p + 2 * FRAME_SIZE);
}

static void test_loader_memory_comes_back(void **state)
{
    (void)state;
    uint64_t before = frames_stats().free;
    frames_free(3 * MIB, MIB / FRAME_SIZE);
    assert_int_equal(frames_stats().free, before + MIB / FRAME_SIZE);
    assert_int_equal(frames_alloc_dirty(14 * 256, FRAME_SIZE, 0), 33 * MIB + MIB);
    assert_int_equal(frames_alloc_dirty(14 * 256, FRAME_SIZE, 0), 3 * MIB); // joined with its neighbour
}

static void test_reserve(void **state)
{
    (void)state;
    frames_reserve(MIB, 256);
    frames_reserve(MIB, 256); // again: nothing happens
    phys_t p = frames_alloc_dirty(1, FRAME_SIZE, 0);
    assert_true(p >= 4 * MIB);
}

static void test_double_free_panics(void **state)
{
    (void)state;
    phys_t p = frames_alloc_dirty(2, FRAME_SIZE, 0);
    frames_free(p, 2);
    if (host_panic_expect()) {
        frames_free(p + FRAME_SIZE, 1);
        fail();
    }
    assert_non_null(strstr(host_panic_text(), "not allocated"));
    if (host_panic_expect()) {
        frames_free(17 * MIB, 1); // never ours
        fail();
    }
    if (host_panic_expect()) {
        frames_free(16 * MIB, 512); // runs out of its region
        fail();
    }
}

static void test_bad_maps(void **state)
{
    (void)state;
    static const struct boot_mem unsorted[] = {ENTRY(4 * MIB, MIB, BOOT_MEM_USABLE),
                                               ENTRY(1 * MIB, MIB, BOOT_MEM_USABLE)};
    static const struct boot_mem overlap[] = {ENTRY(1 * MIB, 2 * MIB, BOOT_MEM_USABLE),
                                              ENTRY(2 * MIB, MIB, BOOT_MEM_RESERVED)};
    static const struct boot_mem odd[] = {ENTRY(1 * MIB + 1, MIB, BOOT_MEM_USABLE)};
    static const struct boot_mem wraps[] = {ENTRY(1 * MIB, 0xfffffffffffff000ull, BOOT_MEM_USABLE)};
    static const struct boot_mem low_only[] = {ENTRY(0, 0x80000, BOOT_MEM_USABLE)};
    assert_int_equal(frames_init(unsorted, 2), ERR_INVAL);
    assert_int_equal(frames_init(overlap, 2), ERR_INVAL);
    assert_int_equal(frames_init(odd, 1), ERR_INVAL);
    assert_int_equal(frames_init(wraps, 1), ERR_INVAL);
    assert_int_equal(frames_init(low_only, 1), ERR_NOMEM);
    assert_int_equal(frames_init(map, 0), ERR_NOMEM);
}

/// Random requests against a plain array of owners.
static void test_random(void **state)
{
    (void)state;
    enum { SLOTS = 64, ROUNDS = 20000 };
    struct {
        phys_t base;
        size_t count;
    } held[SLOTS] = {0};
    uint8_t *owner = calloc(RAM_SIZE / FRAME_SIZE, 1);
    assert_non_null(owner);
    uint64_t before = frames_stats().free, in_use = 0;
    uint32_t seed = 1;
    for (unsigned round = 0; round < ROUNDS; round++) {
        seed = seed * 1664525u + 1013904223u;
        unsigned slot = seed >> 26;
        if (held[slot].count) {
            for (size_t i = 0; i < held[slot].count; i++)
                owner[held[slot].base / FRAME_SIZE + i] = 0;
            frames_free(held[slot].base, held[slot].count);
            in_use -= held[slot].count;
            held[slot].count = 0;
            continue;
        }
        size_t count = 1 + (seed >> 8 & 1 ? seed >> 10 & 15 : seed >> 10 & 1023);
        uint64_t align = FRAME_SIZE << (seed >> 4 & 7);
        phys_t p = frames_alloc_dirty(count, align, 0);
        if (p == FRAME_NONE)
            continue;
        assert_true(p % align == 0 && usable(p, count * FRAME_SIZE));
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(owner[p / FRAME_SIZE + i], 0);
            owner[p / FRAME_SIZE + i] = 1;
        }
        held[slot].base = p;
        held[slot].count = count;
        in_use += count;
        assert_int_equal(frames_stats().free, before - in_use);
    }
    free(owner);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_counts),
        T(test_zeroed_and_dirty),
        T(test_alignment_and_limit),
        T(test_big_from_the_top),
        T(test_exhaustion_and_return),
        T(test_part_of_a_block),
        T(test_loader_memory_comes_back),
        T(test_reserve),
        T(test_double_free_panics),
        T(test_bad_maps),
        T(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
