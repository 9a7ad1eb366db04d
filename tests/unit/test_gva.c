// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/vm/gva.c
#include "hv/vm/gva.h"
#include "rt/x86.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static _Alignas(8) uint8_t ram[16][4096]; // page tables at guest-physical 0, 0x1000, ...

static void *table(void *ctx, uint64_t gpa)
{
    (void)ctx;
    return gpa / 4096 < 16 ? ram[gpa / 4096] : NULL;
}

static unsigned writes; // to table pages
static uint64_t last_written;

static void written(void *ctx, uint64_t gpa)
{
    (void)ctx;
    writes++;
    last_written = gpa & ~0xfffull;
}

static void entry64(unsigned page, unsigned index, uint64_t value)
{
    memcpy(&ram[page][index * 8], &value, 8);
}
static void entry32(unsigned page, unsigned index, uint32_t value)
{
    memcpy(&ram[page][index * 4], &value, 4);
}

static struct gva_mmu long_mode(void)
{
    memset(ram, 0, sizeof ram);
    entry64(0, 1, 0x1000 | 7); // linear 0x8000000000
    entry64(1, 2, 0x2000 | 7); // + 0x80000000
    entry64(2, 3, 0x3000 | 7); // + 0x600000
    entry64(2, 4, 0x40000000 | 0x80 | 7);
    entry64(3, 5, 0xabcde000 | 3);              // supervisor, writable
    entry64(3, 6, 0xabcdf000 | 5 | 1ull << 63); // user, read-only, no execute
    return (struct gva_mmu){.cr0 = CR0_PE | CR0_PG | CR0_WP,
                            .cr4 = CR4_PAE,
                            .efer = EFER_LMA | EFER_LME | EFER_NXE,
                            .table = table,
                            .written = written};
}

#define BASE 0x8080600000ull

static void four_levels(void **state)
{
    (void)state;
    struct gva_mmu m = long_mode();
    struct emulate_fault f;
    uint64_t gpa;
    assert_true(gva_translate(&m, BASE + 0x5123, GVA_WRITE, &gpa, &f));
    assert_int_equal(gpa, 0xabcde123);
    assert_int_equal(ram[3][5 * 8] & 0x60, 0x60); // A and D
    assert_int_equal(ram[0][8] & 0x60, 0x20);
    assert_true(gva_translate(&m, 0x8080800000ull + 0x12345, GVA_READ, &gpa, &f)); // 2 MiB page
    assert_int_equal(gpa, 0x40012345);
}

/// Whoever mirrors the tables hears of bits that we set, and of nothing else.
static void table_writes_are_told(void **state)
{
    (void)state;
    struct gva_mmu m = long_mode();
    struct emulate_fault f;
    uint64_t gpa;
    writes = 0;
    assert_true(gva_translate(&m, BASE + 0x5123, GVA_READ, &gpa, &f));
    assert_int_equal(writes, 4); // A at each level
    assert_true(gva_translate(&m, BASE + 0x5123, GVA_READ, &gpa, &f));
    assert_int_equal(writes, 4);
    assert_true(gva_translate(&m, BASE + 0x5123, GVA_WRITE, &gpa, &f));
    assert_int_equal(writes, 5); // D
    assert_int_equal(last_written, 0x3000);
}

/// PS is reserved in a PML4 entry.
static void no_page_of_512_gib(void **state)
{
    (void)state;
    struct gva_mmu m = long_mode();
    struct emulate_fault f;
    uint64_t gpa;
    entry64(0, 1, 0x1000 | 0x80 | 7);
    assert_false(gva_translate(&m, BASE + 0x5123, GVA_READ, &gpa, &f));
    assert_int_equal(f.vector, EXC_PF);
    assert_int_equal(f.error, 0x9); // present, reserved bit
}

static void faults(void **state)
{
    (void)state;
    struct gva_mmu m = long_mode();
    struct emulate_fault f;
    uint64_t gpa;
    assert_false(gva_translate(&m, BASE + 0x7000, GVA_READ, &gpa, &f)); // not present
    assert_int_equal(f.vector, 14);
    assert_int_equal(f.error, 0);
    assert_int_equal(f.cr2, BASE + 0x7000);
    assert_false(gva_translate(&m, BASE + 0x6000, GVA_WRITE, &gpa, &f)); // read-only, WP
    assert_int_equal(f.error, 3);
    assert_false(gva_translate(&m, BASE + 0x6000, GVA_FETCH, &gpa, &f)); // NX
    assert_int_equal(f.error, 0x11);
    m.user = true;
    assert_false(gva_translate(&m, BASE + 0x5000, GVA_WRITE, &gpa, &f)); // supervisor page
    assert_int_equal(f.error, 7);
    assert_true(gva_translate(&m, BASE + 0x6000, GVA_READ, &gpa, &f));
    m.user = false;
    m.cr4 |= CR4_SMAP;
    assert_false(gva_translate(&m, BASE + 0x6000, GVA_READ, &gpa, &f));
    m.rflags = RFLAGS_AC;
    assert_true(gva_translate(&m, BASE + 0x6000, GVA_READ, &gpa, &f));
    assert_false(gva_translate(&m, 0x800000000000ull, GVA_READ, &gpa, &f)); // not canonical
    assert_int_equal(f.vector, 13);
    m.efer &= ~EFER_NXE;
    assert_false(gva_translate(&m, BASE + 0x6000, GVA_READ, &gpa, &f)); // bit 63 is reserved without NXE
    assert_int_equal(f.error, 9);
    m.cr3 = 0x100000; // tables outside RAM
    assert_false(gva_translate(&m, BASE, GVA_READ, &gpa, &f));
    assert_int_equal(f.error & 8, 8);
}

static void legacy_and_pae(void **state)
{
    (void)state;
    struct emulate_fault f;
    uint64_t gpa;
    memset(ram, 0, sizeof ram);
    struct gva_mmu m = {.cr0 = CR0_PE, .table = table};
    assert_true(gva_translate(&m, 0x123456789ull, GVA_WRITE, &gpa, &f));
    assert_int_equal(gpa, 0x23456789); // no paging: 32 bits
    m.cr0 |= CR0_PG;
    m.cr4 = CR4_PSE;
    entry32(0, 1, 0x1000 | 3);
    entry32(1, 2, 0x5000 | 3);
    entry32(0, 2, 0x00c00000 | 1 << 13 | 0x80 | 3); // 4 MiB, PSE-36: bit 32
    assert_true(gva_translate(&m, 0x402abc, GVA_READ, &gpa, &f));
    assert_int_equal(gpa, 0x5abc);
    assert_true(gva_translate(&m, 0x812345, GVA_READ, &gpa, &f));
    assert_int_equal(gpa, 0x100c12345ull);
    m.cr4 = CR4_PAE;
    m.pdpte[1] = 0x2000 | 1;
    entry64(2, 0, 0x3000 | 3);
    entry64(3, 1, 0x7000 | 3);
    assert_true(gva_translate(&m, 0x40001010, GVA_WRITE, &gpa, &f));
    assert_int_equal(gpa, 0x7010);
    assert_false(gva_translate(&m, 0x80001010, GVA_WRITE, &gpa, &f));
    assert_int_equal(f.error, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_levels),        cmocka_unit_test(table_writes_are_told),
        cmocka_unit_test(no_page_of_512_gib), cmocka_unit_test(faults),
        cmocka_unit_test(legacy_and_pae),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
