// SPDX-License-Identifier: BSD-2-Clause
// LINK: boot/memmap.c boot/tables.c boot/refusal.c
//
// The loader's memory map against a page-by-page model, the transitional page tables by walking them, and "is
// it enough?".
#include "boot/tables.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PAGE 4096ull
#define MIB  (1ull << 20)
#define GIB  (1ull << 30)

enum { PAGES = 64 };

struct descriptor { // as the firmware gives it, with eight bytes more than the structure has: OVMF does so
    uint32_t type, pad;
    uint64_t start, virtual_start, pages, attribute, more;
};

static struct boot_mem mem[BOOT_MEM_MAX];
static struct memmap map = {.mem = mem};

/// Sorted, whole, merged; and as the model says.
static void check_against(const uint8_t *model)
{
    uint64_t end = 0;
    uint32_t last = 0;
    uint8_t seen[PAGES] = {0};
    for (uint32_t i = 0; i < map.count; i++) {
        const struct boot_mem *m = &mem[i];
        assert_true(m->size != 0 && m->base % PAGE == 0 && m->size % PAGE == 0);
        assert_true(m->base >= end);
        assert_true(i == 0 || m->base > end || m->type != last);
        end = m->base + m->size;
        last = m->type;
        for (uint64_t p = m->base / PAGE; p < end / PAGE; p++)
            seen[p] = (uint8_t)m->type;
    }
    assert_memory_equal(seen, model, PAGES);
}

static uint32_t next_random(void)
{
    static uint32_t x = 1;
    x = x * 1664525u + 1013904223u;
    return x >> 8;
}

static void test_set_is_the_model(void **state)
{
    (void)state;
    for (int round = 0; round < 300; round++) {
        uint8_t model[PAGES] = {0};
        map.count = 0;
        for (int step = 0; step < 40; step++) {
            uint32_t from = next_random() % PAGES, count = next_random() % 12, type = 1 + next_random() % 3;
            if (from + count > PAGES)
                count = PAGES - from;
            assert_int_equal(memmap_set(&map, from * PAGE, count * PAGE, type), OK);
            memset(model + from, (int)type, count);
            check_against(model);
        }
    }
}

static void test_set_limits(void **state)
{
    (void)state;
    map.count = 0;
    for (uint64_t i = 0; i < BOOT_MEM_MAX; i++)
        assert_int_equal(memmap_set(&map, 2 * i * PAGE, PAGE, BOOT_MEM_USABLE), OK);
    assert_int_equal(map.count, BOOT_MEM_MAX);
    assert_int_equal(memmap_set(&map, 1 << 30, PAGE, BOOT_MEM_USABLE), ERR_NOMEM);
    assert_int_equal(map.count, BOOT_MEM_MAX);
    assert_int_equal(memmap_set(&map, PAGE, PAGE, BOOT_MEM_USABLE), OK); // joins two
    assert_int_equal(map.count, BOOT_MEM_MAX - 1);
    assert_int_equal(memmap_set(&map, PAGE, 0, BOOT_MEM_ACPI), OK);
    assert_int_equal(memmap_set(&map, UINT64_MAX & ~(PAGE - 1), 2 * PAGE, BOOT_MEM_ACPI), OK); // wraps
    assert_int_equal(map.count, BOOT_MEM_MAX - 1);
}

static void test_from_efi(void **state)
{
    (void)state;
    // Not sorted, with an overlap, an empty one, and types nobody knows.
    static const struct descriptor d[] = {
        {.type = 7, .start = 16 * PAGE, .pages = 16}, // conventional
        {.type = 4, .start = 8 * PAGE, .pages = 8},   // boot services data
        {.type = 2, .start = 0, .pages = 4},          // loader data
        {.type = 1, .start = 4 * PAGE, .pages = 4},   // loader code
        {.type = 9, .start = 32 * PAGE, .pages = 1},  // ACPI reclaim
        {.type = 10, .start = 33 * PAGE, .pages = 1}, // ACPI NVS
        {.type = 6, .start = 20 * PAGE, .pages = 2},  // runtime data, inside the conventional one
        {.type = 11, .start = 40 * PAGE, .pages = 4}, // MMIO
        {.type = 14, .start = 50 * PAGE, .pages = 1}, // persistent
        {.type = 0x70000001, .start = 51 * PAGE, .pages = 1},
        {.type = 7, .start = 60 * PAGE, .pages = 0},
    };
    uint8_t model[PAGES] = {0};
    memset(model, BOOT_MEM_LOADER, 8);
    memset(model + 8, BOOT_MEM_USABLE, 24);
    memset(model + 20, BOOT_MEM_RESERVED, 2);
    memset(model + 32, BOOT_MEM_ACPI, 2);
    memset(model + 40, BOOT_MEM_MMIO, 4);
    memset(model + 50, BOOT_MEM_RESERVED, 2);
    assert_int_equal(memmap_from_efi(&map, d, sizeof d, sizeof d[0]), OK);
    check_against(model);
    assert_int_equal(memmap_available(&map), 30 * PAGE);
    assert_int_equal(memmap_from_efi(&map, d, sizeof d, 32), ERR_INVAL);
    assert_int_equal(memmap_from_efi(&map, d, sizeof d[0] - 1, sizeof d[0]), OK);
    assert_int_equal(map.count, 0);
    // Nothing beyond 52 bits, and no wrap.
    static const struct descriptor wild[] = {
        {.type = 7, .start = 1 * MIB, .pages = UINT64_MAX},
        {.type = 7, .start = 1ull << 52, .pages = 1},
    };
    assert_int_equal(memmap_from_efi(&map, wild, sizeof wild, sizeof wild[0]), OK);
    assert_int_equal(map.count, 1);
    assert_int_equal(mem[0].base + mem[0].size, 1ull << 52);
}

static void test_too_many(void **state)
{
    (void)state;
    static struct descriptor d[BOOT_MEM_MAX + 1];
    for (uint64_t i = 0; i <= BOOT_MEM_MAX; i++)
        d[i] = (struct descriptor){.type = 7, .start = 2 * i * PAGE, .pages = 1};
    assert_int_equal(memmap_from_efi(&map, d, sizeof d, sizeof d[0]), ERR_NOMEM);
    assert_int_equal(memmap_from_efi(&map, d, sizeof d - sizeof d[0], sizeof d[0]), OK);
}

// Enough memory?

static struct boot_info info;

static void test_memory_check(void **state)
{
    (void)state;
    struct refusal why = {.text = ""};
    map.count = 0;
    assert_int_equal(memmap_set(&map, 0, 1000 * MIB, BOOT_MEM_USABLE), OK);
    assert_int_equal(memmap_set(&map, 10 * MIB, MIB, BOOT_MEM_LOADER), OK);
    assert_int_equal(memmap_set(&map, 2000 * MIB, 100 * MIB, BOOT_MEM_RESERVED), OK);
    assert_int_equal(memory_reserve(1000 * MIB), 26 * MIB);
    memset(&info, 0, sizeof info);
    assert_int_equal(memory_check(&map, &info, 984 * MIB, "\\farbus.ini", &why), OK);
    assert_int_equal(memory_check(&map, &info, 984 * MIB + 1, "\\farbus.ini", &why), ERR_NOMEM);
    assert_string_equal(
        why.text, "Too little memory: Farbus needs 1001 MiB with its files, and this machine has 1000 MiB.");
    why.text[0] = '\0';
    info.guest_count = 2;
    info.guests[0] = (struct boot_guest){.name = "small", .memory = 100 * MIB, .ini_line = 4};
    info.guests[1] = (struct boot_guest){.name = "big", .memory = 800 * MIB, .ini_line = 9};
    assert_int_equal(memory_check(&map, &info, 75 * MIB, "\\farbus.ini", &why), OK);
    assert_int_equal(memory_check(&map, &info, 76 * MIB, "\\farbus.ini", &why), ERR_NOMEM);
    assert_string_equal(
        why.text,
        "\\farbus.ini line 9: too little memory: the guests ask for 900 MiB (the largest, 'big', "
        "for 800 MiB) and Farbus needs 101 MiB with its files, together 1001 MiB; this machine has 1000 "
        "MiB. Give the guests less 'memory'.");
    why.text[0] = '\0';
    for (info.guest_count = 0; info.guest_count < BOOT_GUESTS_MAX; info.guest_count++)
        info.guests[info.guest_count].memory = UINT64_MAX / 2; // the sum must not wrap into something small
    assert_int_equal(memory_check(&map, &info, 0, "\\farbus.ini", &why), ERR_NOMEM);
}

// Page tables

static struct boot_mem identity_mem[BOOT_MEM_MAX];
static struct memmap identity = {.mem = identity_mem};
static const uint64_t tables_phys = 0x7654000; // where the tables claim to be

/// The entry that maps `virt`, 0: none; *size: of the page.
static uint64_t walk(const struct tables *t, uint64_t virt, uint64_t *size)
{
    const uint64_t *table = t->pages;
    for (unsigned shift = 39;; shift -= 9) {
        uint64_t e = table[virt >> shift & 511];
        if ((e & PTE_P) == 0)
            return 0;
        *size = 1ull << shift;
        if (shift == 12 || (e & PTE_PS) != 0)
            return e;
        uint64_t at = (e & 0x000ffffffffff000ull) - t->phys;
        assert_true(at < t->used * PAGE);
        assert_true((e & PTE_W) != 0 && (e & PTE_NX) == 0);
        table = t->pages + at / 8;
    }
}

static void check_identity(const struct tables *t, uint64_t virt, bool mapped)
{
    uint64_t size = 0, e = walk(t, virt, &size);
    assert_int_equal(e != 0, mapped);
    if (mapped) {
        assert_int_equal(size, t->page1gb ? GIB : 2 * MIB);
        assert_int_equal(e, (virt & ~(size - 1)) | PTE_P | PTE_W | PTE_PS);
    }
}

static const struct elf_plan plan = {
    .image_virt = 0xffffffff801ff000, // crosses a 2 MiB boundary
    .image_size = 0x5000,
    .count = 3,
    .segments = {{.image_offset = 0, .mem_size = 0x1000, .executable = true},
                 {.image_offset = 0x1010, .mem_size = 0x10},
                 {.image_offset = 0x3000, .mem_size = 0x1001, .writable = true}},
};

static void build(struct tables *t, bool page1gb)
{
    static const struct boot_framebuffer fb = {.base = 100 * GIB + 256 * MIB, .size = 8 * MIB};
    map.count = 0;
    assert_int_equal(memmap_set(&map, 0, 2 * GIB, BOOT_MEM_USABLE), OK);
    assert_int_equal(memmap_set(&map, 4 * GIB, GIB + 4096, BOOT_MEM_USABLE), OK);
    assert_int_equal(memmap_set(&map, 600 * GIB, 4096, BOOT_MEM_ACPI), OK);
    assert_int_equal(memmap_set(&map, 700 * GIB, GIB, BOOT_MEM_MMIO), OK);
    assert_int_equal(memmap_set(&map, (1ull << 47) - GIB, 4 * GIB, BOOT_MEM_RESERVED), OK);
    assert_int_equal(tables_identity(&map, &fb, &identity), OK);
    t->count = tables_needed(&identity, plan.image_size, page1gb);
    t->pages = calloc(t->count, PAGE);
    t->phys = tables_phys;
    t->page1gb = page1gb;
    assert_int_equal(tables_build(t, &identity, &plan, 0x12345000), OK);
    assert_true(t->used <= t->count);
}

static void test_tables(void **state)
{
    (void)state;
    for (int page1gb = 0; page1gb < 2; page1gb++) {
        struct tables t;
        build(&t, page1gb != 0);
        check_identity(&t, 0, true);
        check_identity(&t, 3 * GIB, true); // in no range, but below 4 GiB
        check_identity(&t, 4 * GIB - 1, true);
        check_identity(&t, 5 * GIB + 4096, true);
        check_identity(&t, 6 * GIB, false);
        check_identity(&t, 100 * GIB, true); // framebuffer
        check_identity(&t, 101 * GIB, false);
        check_identity(&t, 600 * GIB, true);
        check_identity(&t, 700 * GIB, false); // MMIO
        check_identity(&t, (1ull << 47) - 1, true);

        uint64_t size;
        for (uint64_t at = 0; at < plan.image_size; at += PAGE) {
            uint64_t e = walk(&t, plan.image_virt + at, &size);
            uint64_t flags = at == 0 ? PTE_P : at == 0x1000 ? PTE_P | PTE_NX : PTE_P | PTE_W | PTE_NX;
            bool hole = at == 0x2000;
            assert_int_equal(e, hole ? 0 : (0x12345000 + at) | flags);
        }
        assert_int_equal(walk(&t, plan.image_virt - 1, &size), 0);
        assert_int_equal(walk(&t, plan.image_virt + plan.image_size, &size), 0);
        free(t.pages);
    }
}

/// With any number of pages too few it says so, and writes nowhere else.
static void test_tables_exhausted(void **state)
{
    (void)state;
    struct tables t;
    build(&t, true);
    uint32_t used = t.used;
    free(t.pages);
    for (t.count = 0; t.count < used; t.count++) {
        t.pages = calloc(t.count ? t.count : 1, PAGE);
        assert_int_equal(tables_build(&t, &identity, &plan, 0x12345000), ERR_NOMEM);
        free(t.pages);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_is_the_model), cmocka_unit_test(test_set_limits),
        cmocka_unit_test(test_from_efi),         cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_memory_check),     cmocka_unit_test(test_tables),
        cmocka_unit_test(test_tables_exhausted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
