// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/platform/iommu.c hv/platform/iommu_queue.c hv/platform/iommu_walk.c
// LINK: hv/platform/iommu_fault.c hv/platform/io_space.c

// Tables of the guest's making, good and absurd, and faults.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "guest_iommu_fixture.h"

#define RW 3ull

struct mapping {
    uint64_t page, gpa;
    unsigned access;
};
static struct mapping found[2048];
static uint64_t found_count, found_limit, last_page;

static bool on_page(void *ctx, uint64_t page, uint64_t gpa, unsigned access)
{
    assert_ptr_equal(ctx, found);
    assert_true(found_count == 0 || page > last_page); // ascending
    assert_true(page < IOMMU_PAGES);
    last_page = page;
    if (found_count < sizeof found / sizeof *found)
        found[found_count] = (struct mapping){page, gpa, access};
    return ++found_count < found_limit;
}

static bool walk(uint64_t first, uint64_t pages)
{
    found_count = 0;
    found_limit = UINT64_MAX;
    return iommu_walk(unit, SOURCE, first, pages, on_page, found);
}

/// Tables for addresses from 0: one page at 0, three more ways to map behind it.
static void give_tables(void)
{
    give_context();
    put64(TABLE_3, TABLE_2 | RW);
    put64(TABLE_2, TABLE_1 | RW);
    turn_on();
}

static void states(void **state)
{
    (void)state;
    uint16_t domain = 0;
    assert_int_equal(iommu_state(unit, SOURCE, &domain), IOMMU_OFF);
    turn_on();
    assert_int_equal(iommu_state(unit, SOURCE, &domain), IOMMU_BLOCKED); // no root entry
    give_context();
    assert_int_equal(iommu_state(unit, SOURCE, &domain), IOMMU_TRANSLATED);
    assert_int_equal(domain, DOMAIN);
    assert_int_equal(iommu_state(unit, SOURCE + 1, &domain), IOMMU_BLOCKED);
    assert_int_equal(iommu_state(unit, SOURCE | 0x100, &domain), IOMMU_BLOCKED);
    set64(RTADDR, HOLE); // in force only when SRTP says so
    assert_int_equal(iommu_state(unit, SOURCE, &domain), IOMMU_TRANSLATED);
    told_count = 0;
    set32(GCMD, TE | QIE | SRTP);
    assert_int_equal(told_count, 1);
    assert_int_equal(iommu_state(unit, SOURCE, &domain), IOMMU_BLOCKED);
    set32(GCMD, QIE);
    assert_int_equal(iommu_state(unit, SOURCE, &domain), IOMMU_OFF);
}

static void bad_entries(void **state)
{
    (void)state;
    static const struct {
        uint64_t at, low, high;
    } bad[] = {
        {ROOT, CONTEXT, 0},                              // not present
        {ROOT, CONTEXT | 3, 0},                          // reserved
        {ROOT, CONTEXT | 1, 1},                          // reserved: scalable mode's
        {ROOT, 1ull << 39 | 1, 0},                       // beyond the address width
        {ROOT, HOLE | 1, 0},                             // not RAM
        {CONTEXT + SOURCE * 16, TABLE_3, 0x701},         // not present
        {CONTEXT + SOURCE * 16, TABLE_3 | 1, 0x700},     // 30 bits
        {CONTEXT + SOURCE * 16, TABLE_3 | 1, 0x702},     // 48 bits
        {CONTEXT + SOURCE * 16, TABLE_3 | 5, 0x701},     // device TLBs
        {CONTEXT + SOURCE * 16, TABLE_3 | 9, 0x701},     // pass-through
        {CONTEXT + SOURCE * 16, TABLE_3 | 0x11, 0x701},  // reserved
        {CONTEXT + SOURCE * 16, TABLE_3 | 1, 0x1000701}, //
        {CONTEXT + SOURCE * 16, 1ull << 63 | 1, 0x701},  //
    };
    uint16_t domain;
    turn_on();
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        give_context();
        assert_int_equal(iommu_state(unit, SOURCE, &domain), IOMMU_TRANSLATED);
        put64(bad[i].at, bad[i].low);
        put64(bad[i].at + 8, bad[i].high);
        assert_int_equal(iommu_state(unit, SOURCE, &domain), IOMMU_TRANSLATED); // cached
        descriptor(i & 1 ? CONTEXT_GLOBAL : CONTEXT_DEVICE(SOURCE, 0), 0);
        submit();
        assert_int_equal(iommu_state(unit, SOURCE, &domain), IOMMU_BLOCKED);
        assert_true(walk(0, IOMMU_PAGES));
        assert_int_equal(found_count, 0);
        put64(ROOT + 8, 0);
    }
}

static void pages(void **state)
{
    (void)state;
    give_tables();
    put64(TABLE_1, 0x50000 | RW);
    put64(TABLE_1 + 8, 0x60000 | IOMMU_READ);
    put64(TABLE_1 + 16, 0x61000); // neither
    put64(TABLE_1 + 511 * 8, 0x70000 | IOMMU_WRITE);
    assert_true(walk(0, IOMMU_PAGES));
    assert_int_equal(found_count, 3);
    assert_int_equal(found[0].gpa, 0x50000);
    assert_int_equal(found[0].access, IOMMU_READ | IOMMU_WRITE);
    assert_int_equal(found[1].page, 1);
    assert_int_equal(found[1].access, IOMMU_READ);
    assert_int_equal(found[2].page, 511);
    assert_int_equal(found[2].gpa, 0x70000);
    assert_int_equal(found[2].access, IOMMU_WRITE);
    assert_true(walk(1, 1));
    assert_int_equal(found_count, 1);
    assert_int_equal(found[0].page, 1);
    assert_true(walk(2, 509));
    assert_int_equal(found_count, 0);
    assert_true(walk(0, 0));
    assert_int_equal(found_count, 0);
    found_count = 0;
    found_limit = 2;
    assert_false(iommu_walk(unit, SOURCE, 0, IOMMU_PAGES, on_page, found)); // who asks may stop it
    assert_int_equal(found_count, 2);
    put64(TABLE_2, TABLE_1 | IOMMU_READ); // permissions are those of all levels together
    assert_true(walk(0, 512));
    assert_int_equal(found_count, 2);
    assert_int_equal(found[0].access, IOMMU_READ);
    set32(GCMD, QIE); // off: no tables
    assert_true(walk(0, 512));
    assert_int_equal(found_count, 0);
}

static void large_pages(void **state)
{
    (void)state;
    give_tables();
    put64(TABLE_2 + 8, 0x400000 | 0x80 | RW);                 // 2 MiB
    put64(TABLE_3 + 511 * 8, 0x40000000 | 0x80 | IOMMU_READ); // 1 GiB, the last
    assert_true(walk(512, 512));
    assert_int_equal(found_count, 512);
    for (unsigned i = 0; i < 512; i++) {
        assert_int_equal(found[i].page, 512 + i);
        assert_int_equal(found[i].gpa, 0x400000 + i * 0x1000);
    }
    assert_true(walk(600, 3)); // from its middle
    assert_int_equal(found_count, 3);
    assert_int_equal(found[0].gpa, 0x400000 + 88 * 0x1000);
    assert_true(walk(IOMMU_PAGES - 2, 100)); // ends with the address space
    assert_int_equal(found_count, 2);
    assert_int_equal(found[1].gpa, 0x40000000 + 0x3ffff000);
    assert_int_equal(found[1].access, IOMMU_READ);
    assert_true(walk(IOMMU_PAGES - 1, UINT64_MAX));
    assert_int_equal(found_count, 1);
    assert_true(walk(IOMMU_PAGES, 1));
    assert_true(walk(UINT64_MAX, UINT64_MAX));
    assert_int_equal(found_count, 0);
    assert_true(walk(0, IOMMU_PAGES)); // all of it
    assert_int_equal(found_count, 512 + 262144);
    put64(TABLE_2 + 8, 0x401000 | 0x80 | RW); // not aligned: reserved bits
    put64(TABLE_3 + 511 * 8, 0x40200000 | 0x80 | RW);
    assert_true(walk(0, IOMMU_PAGES));
    assert_int_equal(found_count, 0);
}

static void reserved_bits(void **state)
{
    (void)state;
    give_tables();
    static const uint64_t bits[] = {1ull << 11, 1ull << 62, 1ull << 39, 1ull << 51};
    static const uint64_t ignored[] = {1ull << 2, 1ull << 8, 1ull << 10, 1ull << 52, 1ull << 63};
    for (unsigned i = 0; i < sizeof bits / sizeof *bits; i++) {
        put64(TABLE_1, 0x50000 | RW | bits[i]);
        assert_true(walk(0, 1));
        assert_int_equal(found_count, 0);
        put64(TABLE_1, 0x50000 | RW);
        put64(TABLE_2, TABLE_1 | RW | bits[i]);
        assert_true(walk(0, 1));
        assert_int_equal(found_count, 0);
        put64(TABLE_2, TABLE_1 | RW);
        assert_true(walk(0, 1));
        assert_int_equal(found_count, 1);
    }
    for (unsigned i = 0; i < sizeof ignored / sizeof *ignored; i++) {
        put64(TABLE_1, 0x50000 | RW | ignored[i]);
        assert_true(walk(0, 1));
        assert_int_equal(found_count, 1);
        assert_int_equal(found[0].gpa, 0x50000);
    }
}

/// Tables outside RAM, tables that are their own, and a table whose every entry is the same: it ends.
static void absurd(void **state)
{
    (void)state;
    give_tables();
    put64(TABLE_1, 0x50000 | RW);
    put64(TABLE_2 + 8, HOLE | RW);
    put64(TABLE_2 + 16, RAM_SIZE | RW);
    put64(TABLE_2 + 24, 0x7ffffff000ull | RW);
    put64(TABLE_2 + 32, GUEST_IOMMU_BASE | RW);
    put64(TABLE_3 + 8, (RAM_SIZE + 0x1000) | RW);
    assert_true(walk(0, IOMMU_PAGES));
    assert_int_equal(found_count, 1);
    for (unsigned i = 0; i < 512; i++) {
        put64(TABLE_3 + i * 8, TABLE_3 | RW); // itself, at all levels
    }
    assert_false(walk(0, IOMMU_PAGES));
    assert_true(found_count > 0 && found_count < 1u << 20);
    assert_true(walk(12345, 7)); // a little of it is no trouble
    assert_int_equal(found_count, 7);
    assert_int_equal(found[0].gpa, TABLE_3);
    for (unsigned i = 0; i < 512; i++) {
        put64(TABLE_3 + i * 8, TABLE_2 | RW);
        put64(TABLE_2 + i * 8, TABLE_1 | RW);
        put64(TABLE_1 + i * 8, 0); // nothing, 134 million times
    }
    assert_false(walk(0, IOMMU_PAGES));
    assert_int_equal(found_count, 0);
}

/// Tables above 4 GiB.
static void high_tables(void **state)
{
    (void)state;
    give_context();
    put64(CONTEXT + SOURCE * 16u, HIGH_RAM | 1);
    put64(HIGH_RAM, (HIGH_RAM + 0x1000) | RW);
    put64(HIGH_RAM + 0x1000, (HIGH_RAM + 0x2000) | RW);
    put64(HIGH_RAM + 0x2000, 0x7ffffff000ull | RW);
    turn_on();
    assert_true(walk(0, 10));
    assert_int_equal(found_count, 1);
    assert_int_equal(found[0].gpa, 0x7ffffff000ull); // whether that is RAM is for others to say
}

// --- faults ---

#define RECORD(n) (0x200u + (n)*16u)

static void unmask(void)
{
    set32(FEDATA, 0x4321);
    set32(FEADDR, 0xfee04000);
    set32(FECTL, 0);
}

static void fault_recorded(void **state)
{
    (void)state;
    iommu_fault(unit, SOURCE, 0x1000, true, 5); // translation is off: nothing faults
    assert_int_equal(get32(FSTS), 0);
    give_tables();
    unmask();
    iommu_fault(unit, SOURCE, 0x7f12345678ull, true, 5);
    assert_int_equal(get32(FSTS), 0x2); // PPF, FRI 0
    assert_int_equal(get64(RECORD(0)), 0x7f12345000ull);
    assert_int_equal(get64(RECORD(0) + 8), 1ull << 63 | 5ull << 32 | SOURCE);
    assert_int_equal(sent_count, 1);
    assert_int_equal(sent[0].address, 0xfee04000);
    assert_int_equal(sent[0].data, 0x4321);
    iommu_fault(unit, SOURCE, 0x2000, true, 5); // the same device again
    assert_int_equal(get64(RECORD(1) + 8), 0);
    iommu_fault(unit, SOURCE + 1, 0x2000, false, 6);
    assert_int_equal(get64(RECORD(1) + 8), 3ull << 62 | 6ull << 32 | (SOURCE + 1));
    assert_int_equal(sent_count, 1); // told already
    set32(RECORD(0) + 12, 0x80000000u);
    assert_int_equal(get32(FSTS), 0x102); // the next one
    set64(RECORD(1) + 8, 1ull << 63);
    assert_int_equal(get32(FSTS), 0);
    iommu_fault(unit, SOURCE, 0x3000, true, 5);
    assert_int_equal(get32(FSTS), 0x202);
    assert_int_equal(sent_count, 2);
}

static void fault_overflow(void **state)
{
    (void)state;
    give_tables();
    unmask();
    for (uint16_t i = 0; i < 8; i++)
        iommu_fault(unit, (uint16_t)(SOURCE + i), 0x1000, false, 6);
    assert_int_equal(get32(FSTS), 0x2);
    iommu_fault(unit, SOURCE + 8, 0x1000, false, 6);
    assert_int_equal(get32(FSTS), 0x3); // PFO
    for (unsigned i = 0; i < 8; i++)
        set32(RECORD(i) + 12, 0x80000000u);
    assert_int_equal(get32(FSTS), 0x1);
    iommu_fault(unit, SOURCE + 9, 0x1000, false, 6); // not recorded before PFO is cleared
    assert_int_equal(get32(FSTS), 0x1);
    assert_int_equal(sent_count, 1);
    set32(FSTS, 1);
    assert_int_equal(get32(FSTS), 0);
    iommu_fault(unit, SOURCE + 9, 0x1000, false, 6);
    assert_int_equal(get32(FSTS), 0x2);
    assert_int_equal(sent_count, 2);
}

static void fault_masked(void **state)
{
    (void)state;
    give_tables();
    iommu_fault(unit, SOURCE, 0x1000, false, 6);
    assert_int_equal(get32(FECTL), 0xc0000000u);
    unmask();
    assert_int_equal(sent_count, 1);
    assert_int_equal(get32(FECTL), 0);
    set32(FECTL, 0x80000000u);
    set32(RECORD(0) + 12, 0x80000000u);
    iommu_fault(unit, SOURCE, 0x1000, false, 6);
    assert_int_equal(get32(FECTL), 0xc0000000u);
    set32(RECORD(1) + 12, 0x80000000u); // seen without the interrupt: it does not come any more
    assert_int_equal(get32(FECTL), 0x80000000u);
    set32(FECTL, 0);
    assert_int_equal(sent_count, 1);
}

static void fault_disabled(void **state)
{
    (void)state;
    give_tables();
    put64(CONTEXT + SOURCE * 16u, TABLE_3 | 3); // FPD
    descriptor(CONTEXT_DOMAIN(DOMAIN), 0);
    submit();
    iommu_fault(unit, SOURCE, 0x1000, false, 6);
    assert_int_equal(get32(FSTS), 0);
    put64(CONTEXT + SOURCE * 16u, 2); // also where the entry is not present
    descriptor(CONTEXT_GLOBAL, 0);
    submit();
    iommu_fault(unit, SOURCE, 0x1000, false, 2);
    assert_int_equal(get32(FSTS), 0);
    put64(ROOT, 0);
    iommu_fault(unit, SOURCE, 0x1000, false, 1);
    assert_int_equal(get32(FSTS), 2);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(states),         TEST(bad_entries),  TEST(pages),          TEST(large_pages),
        TEST(reserved_bits),  TEST(absurd),       TEST(high_tables),    TEST(fault_recorded),
        TEST(fault_overflow), TEST(fault_masked), TEST(fault_disabled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
