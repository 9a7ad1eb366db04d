// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/platform/iommu.c hv/platform/iommu_queue.c hv/platform/iommu_walk.c
// LINK: hv/platform/iommu_fault.c hv/platform/io_space.c

// Registers and invalidation, as a driver uses them and as a hostile one does.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "guest_iommu_fixture.h"

static void capabilities(void **state)
{
    (void)state;
    uint64_t cap = get64(CAP), ecap = get64(ECAP);
    assert_int_equal(get32(VER), 0x10);
    assert_int_equal(cap & 7, 6);           // ND: 64 Ki domains
    assert_int_equal(cap >> 3 & 0xf, 0);    // no AFL, RWBF, PLMR, PHMR
    assert_int_equal(cap >> 7 & 1, 1);      // CM
    assert_int_equal(cap >> 8 & 0x1f, 2);   // SAGAW: 39 bits alone
    assert_int_equal(cap >> 16 & 0x3f, 38); // MGAW
    assert_int_equal(cap >> 34 & 0xf, 3);   // SLLPS
    assert_int_equal(cap >> 39 & 1, 1);     // PSI
    assert_int_equal(cap >> 48 & 0x3f, 18); // MAMV
    assert_int_equal((cap >> 24 & 0x3ff) * 16, 0x200);
    assert_int_equal((ecap >> 8 & 0x3ff) * 16, 0x280);
    assert_int_equal(ecap & 0xff, 3); // C, QI; no DT, IR, EIM, PT, SC
    assert_int_equal(ecap >> 18, 0);  // nothing newer
    assert_int_equal(get32(CAP + 4), cap >> 32);
    assert_int_equal(get32(FECTL), 0x80000000u);
    assert_int_equal(get32(IECTL), 0x80000000u);
    for (unsigned at = 0x290; at < 0x1000; at += 4)
        assert_int_equal(get32(at), 0);
    set64(CAP, 0);
    set32(VER, 0);
    set32(GSTS, ~0u);
    assert_int_equal(get64(CAP), cap);
    assert_int_equal(get32(VER), 0x10);
    assert_int_equal(get32(GSTS), 0);
}

/// Bits of GCMD that are not built get no answer, and disturb nothing.
static void unknown_commands(void **state)
{
    (void)state;
    set32(GCMD, 0x3b800000);
    assert_int_equal(get32(GSTS), 0);
    set32(GCMD, ~0u & ~TE);
    assert_int_equal(get32(GSTS), SRTP | QIE);
    set32(GCMD, 0);
    assert_int_equal(get32(GSTS), SRTP);
}

static void linux_start(void **state)
{
    (void)state;
    turn_on();
    assert_int_equal(peek32(STATUS), 2); // inside the write: nobody polls
    assert_int_equal(peek32(STATUS + 4), 2);
    assert_int_equal(written_count, 2);
    assert_int_equal(get64(IQH), get64(IQT));
    assert_int_equal(get32(FSTS), 0);
    assert_int_equal(told_count, 1); // nothing matters while translation is off; then everything does
    assert_int_equal(told[0].kind, IOMMU_SCOPE_ALL);
    set32(GCMD, QIE);
    assert_int_equal(told_count, 2);
    assert_int_equal(get32(GSTS), QIE | SRTP);
    guest_iommu_reset(unit);
    assert_int_equal(told_count, 2);
    assert_int_equal(get32(GSTS), 0);
    assert_int_equal(get64(IQA), 0);
}

static void scopes(void **state)
{
    (void)state;
    turn_on();
    told_count = 0;
    descriptor(CONTEXT_DEVICE(SOURCE, 3), 0);
    descriptor(IOTLB_DOMAIN(DOMAIN), 0);
    descriptor(IOTLB_PAGES(0xfffe), 0x7fffff000ull | 2);
    descriptor(CONTEXT_DOMAIN(9), 0);
    descriptor(WAIT_WRITE(5), STATUS);
    submit();
    assert_int_equal(peek32(STATUS), 5);
    assert_int_equal(told_early, 2); // as before: another vCPU may be looking at the status
    assert_int_equal(told_count, 4);
    assert_int_equal(told[0].kind, IOMMU_SCOPE_SOURCE);
    assert_int_equal(told[0].source, SOURCE);
    assert_int_equal(told[0].source_mask, 7);
    assert_int_equal(told[1].kind, IOMMU_SCOPE_DOMAIN);
    assert_int_equal(told[1].domain, DOMAIN);
    assert_int_equal(told[2].kind, IOMMU_SCOPE_PAGES);
    assert_int_equal(told[2].domain, 0xfffe);
    assert_int_equal(told[2].first_page, 0x7ffffc); // the address mask takes the low bits
    assert_int_equal(told[2].pages, 4);
    assert_int_equal(told[3].domain, 9);
    told_count = 0;
    descriptor(IOTLB_PAGES(1), 0x8000000000ull); // beyond 39 bits: nobody can have mapped it
    descriptor(WAIT_WRITE(6), STATUS);
    submit();
    assert_int_equal(told_count, 0);
    assert_int_equal(peek32(STATUS), 6);
}

/// Neighbouring pages are told as one range; too many scopes as everything.
static void scopes_joined(void **state)
{
    (void)state;
    turn_on();
    told_count = 0;
    for (unsigned i = 0; i < 100; i++)
        descriptor(IOTLB_PAGES(3), (0x1000ull + (i ^ 1)) << 12);
    submit();
    assert_true(told_count <= 100 / 2);
    uint64_t pages = 0;
    for (unsigned i = 0; i < told_count; i++)
        pages += told[i].kind == IOMMU_SCOPE_ALL ? 1000 : told[i].pages;
    assert_true(pages >= 100);
    told_count = 0;
    for (unsigned i = 0; i < 8; i++)
        descriptor(IOTLB_PAGES(3), (0x1000ull + i) << 12);
    submit();
    assert_int_equal(told_count, 1);
    assert_int_equal(told[0].first_page, 0x1000);
    assert_int_equal(told[0].pages, 8);
    told_count = 0;
    for (unsigned i = 0; i < 100; i++)
        descriptor(IOTLB_PAGES(i), 0x5000);
    descriptor(WAIT_WRITE(9), STATUS);
    submit();
    assert_int_equal(peek32(STATUS), 9);
    assert_true(told_count <= 32);
    bool all = false;
    for (unsigned i = 0; i < told_count; i++)
        all |= told[i].kind == IOMMU_SCOPE_ALL;
    assert_true(all);
    told_count = 0;
    for (unsigned i = 0; i < 4; i++) // 4 GiB: there are shorter ways to say it
        descriptor(IOTLB_PAGES(3), (uint64_t)i << 32 | 18);
    submit();
    assert_int_equal(told[told_count - 1].kind, IOMMU_SCOPE_ALL);
    assert_true(told_count < 4);
}

static void queue_wraps(void **state)
{
    (void)state;
    turn_on();
    for (unsigned i = 1; i < 1000; i++) {
        descriptor(IOTLB_PAGES(1), 0x1000);
        descriptor(0x3, 0x1234567000); // device TLB: nobody has one
        descriptor(0x4, 0);            // interrupt entry cache: none
        descriptor(WAIT_WRITE(i), STATUS + (i % 64) * 4);
        submit();
        assert_int_equal(peek32(STATUS + (i % 64) * 4), i);
        assert_int_equal(get32(IQH), get32(IQT));
    }
    assert_int_equal(get32(FSTS), 0);
}

/// Tables and descriptors in RAM that nobody has touched are zero; a status word may be written there.
static void untouched_ram(void **state)
{
    (void)state;
    uint16_t domain;
    turn_on();
    give_context();
    assert_int_equal(iommu_state(unit, SOURCE, &domain), IOMMU_TRANSLATED);
    put64(ROOT + (SOURCE >> 8) * 16u, UNTOUCHED | 1);
    descriptor(CONTEXT_GLOBAL, 0);
    submit();
    assert_int_equal(iommu_state(unit, SOURCE, &domain), IOMMU_BLOCKED);
    descriptor(WAIT_WRITE(3), UNTOUCHED + 0x1000);
    submit();
    assert_int_equal(peek32(UNTOUCHED + 0x1000), 3);
    assert_true(touched);
    assert_int_equal(get32(FSTS), 0);
    guest_iommu_reset(unit);
    touched = false;
    set64(IQA, UNTOUCHED);
    set32(IQT, 0x10);
    set32(GCMD, QIE);
    assert_int_equal(get32(FSTS), 0x10);
    assert_false(touched);
}

/// Each stops the queue at itself; the event is sent; after repair and a cleared IQE the queue goes on.
static void queue_errors(void **state)
{
    (void)state;
    static const struct {
        uint64_t low, high;
    } bad[] = {
        {0, 0},                            // no type
        {0x6, 0},                          // scalable mode
        {0xf, 0},                          //
        {CONTEXT_GLOBAL & ~0x30ull, 0},    // no granularity
        {CONTEXT_GLOBAL | 1ull << 63, 0},  // reserved
        {CONTEXT_GLOBAL | 0x40, 0},        //
        {CONTEXT_GLOBAL, 1},               //
        {IOTLB_GLOBAL & ~0x30ull, 0},      // no granularity
        {IOTLB_GLOBAL | 1ull << 32, 0},    // reserved
        {IOTLB_PAGES(1), 0x1000 | 1 << 7}, //
        {IOTLB_PAGES(1), 0x1000 | 19},     // more than MAMV
        {WAIT_WRITE(1) | 1 << 7, STATUS},  // page request drain: there are none
        {WAIT_WRITE(1), STATUS | 1},       //
        {WAIT_WRITE(1), HOLE},             // not RAM
        {WAIT_WRITE(1), RAM_SIZE},         //
        {WAIT_WRITE(1), ~3ull},            //
    };
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        guest_iommu_reset(unit);
        sent_count = 0;
        turn_on();
        set32(FEDATA, 0x55);
        set32(FEADDR, 0xfee01000);
        set32(FEUADDR, 0);
        set32(FECTL, 0);
        unsigned at = queue_at;
        told_count = 0;
        descriptor(IOTLB_DOMAIN(DOMAIN), 0);
        descriptor(bad[i].low, bad[i].high);
        descriptor(WAIT_WRITE(77), STATUS + 8);
        put64(STATUS + 8, 0);
        submit();
        assert_int_equal(get32(FSTS), 0x10);
        assert_int_equal(get32(IQH), at + 16);
        assert_int_equal(told_count, 1); // what came before it is in force
        assert_int_equal(peek32(STATUS + 8), 0);
        assert_int_equal(sent_count, 1);
        assert_int_equal(sent[0].address, 0xfee01000);
        assert_int_equal(sent[0].data, 0x55);
        submit();
        assert_int_equal(get32(IQH), at + 16); // stopped
        put64(QUEUE + at + 16, WAIT_WRITE(78));
        put64(QUEUE + at + 24, STATUS + 12);
        set32(FSTS, 0x10);
        assert_int_equal(get32(FSTS), 0);
        assert_int_equal(peek32(STATUS + 8), 77);
        assert_int_equal(peek32(STATUS + 12), 78);
        assert_int_equal(sent_count, 1);
    }
}

static void queue_absurd(void **state)
{
    (void)state;
    static const uint64_t addresses[] = {HOLE, RAM_SIZE, HIGH_RAM + HIGH_SIZE, ~0xfffull, GUEST_IOMMU_BASE};
    for (unsigned i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        guest_iommu_reset(unit);
        set64(IQA, addresses[i] | 7);
        set32(IQT, 0x10);
        set32(GCMD, QIE);
        assert_int_equal(get32(GSTS), QIE);
        assert_int_equal(get32(FSTS), 0x10);
        assert_int_equal(get32(IQH), 0);
    }
    guest_iommu_reset(unit);
    set64(IQA, QUEUE); // 4 KiB
    set32(GCMD, QIE);
    set32(IQT, 0x1000); // the tail is outside
    assert_int_equal(get32(FSTS), 0x10);
    set32(IQT, 0);
    set32(FSTS, 0x10);
    assert_int_equal(get32(FSTS), 0);
    set64(IQA, (HOLE - 0x2000) | 2); // 16 KiB, of which 8 are RAM
    for (uint64_t at = HOLE - 0x2000; at < HOLE; at += 16)
        put64(at, WAIT_WRITE(at)), put64(at + 8, STATUS);
    set32(IQT, 0x3ff0);
    assert_int_equal(get32(FSTS), 0x10);
    assert_int_equal(get32(IQH), 0x2000);
    assert_int_equal(peek32(STATUS), HOLE - 16);
    set32(GCMD, 0); // off: the head is 0 again
    assert_int_equal(get32(IQH), 0);
    assert_int_equal(get32(GSTS), 0);
}

/// A queue that shrinks below its head: nothing behind its end is taken, and the walk of it ends.
static void queue_shrinks(void **state)
{
    (void)state;
    for (uint64_t at = QUEUE; at < QUEUE + 0x8000; at += 16)
        put64(at, WAIT_WRITE(at)), put64(at + 8, STATUS);
    set64(IQA, QUEUE | 1);
    set32(GCMD, QIE);
    set32(IQT, 0x1800);
    assert_int_equal(get32(IQH), 0x1800);
    set64(IQA, QUEUE); // 4 KiB
    set32(IQT, 0x10);
    assert_int_equal(get32(FSTS), 0x10);
    assert_int_equal(get32(IQH), 0x1800);
    assert_int_equal(peek32(STATUS), QUEUE + 0x1800 - 16);
    set32(GCMD, 0); // the way out
    set32(IQT, 0);
    set32(FSTS, 0x10);
    set32(GCMD, QIE);
    set32(IQT, 0x20);
    assert_int_equal(get32(FSTS), 0);
    assert_int_equal(get32(IQH), 0x20);
}

static void completion_event(void **state)
{
    (void)state;
    turn_on();
    set32(IEDATA, 0x41);
    set32(IEADDR, 0xfee00000);
    descriptor(WAIT_INTERRUPT, 0);
    submit();
    assert_int_equal(get32(ICS), 1);
    assert_int_equal(get32(IECTL), 0xc0000000u); // masked: pending
    assert_int_equal(sent_count, 0);
    set32(IECTL, 0);
    assert_int_equal(sent_count, 1);
    assert_int_equal(sent[0].data, 0x41);
    assert_int_equal(get32(IECTL), 0);
    descriptor(WAIT_INTERRUPT, 0);
    submit();
    assert_int_equal(sent_count, 1); // IWC is still there
    set32(ICS, 1);
    assert_int_equal(get32(ICS), 0);
    descriptor(WAIT_INTERRUPT, 0);
    submit();
    assert_int_equal(sent_count, 2);
    set32(IECTL, 0x80000000u);
    set32(ICS, 1);
    descriptor(WAIT_INTERRUPT, 0);
    submit();
    set32(ICS, 1); // seen by polling: the event is gone
    set32(IECTL, 0);
    assert_int_equal(sent_count, 2);
}

static void by_registers(void **state)
{
    (void)state;
    give_context();
    set64(RTADDR, ROOT);
    set32(GCMD, SRTP);
    set32(GCMD, TE);
    told_count = 0;
    set64(CCMD, 1ull << 63 | 1ull << 61); // global
    assert_int_equal(get64(CCMD) >> 59, 0x5);
    set64(CCMD, 1ull << 63 | 3ull << 61 | 2ull << 32 | (uint64_t)SOURCE << 16);
    assert_int_equal(get64(CCMD) >> 63, 0);
    assert_int_equal(get64(CCMD) >> 59 & 3, 3);
    set32(CCMD, DOMAIN); // by halves: the high one starts it
    assert_int_equal(told_count, 2);
    set32(CCMD + 4, 0xc0000000u);
    assert_int_equal(told_count, 3);
    assert_int_equal(told[0].kind, IOMMU_SCOPE_ALL);
    assert_int_equal(told[1].kind, IOMMU_SCOPE_SOURCE);
    assert_int_equal(told[1].source, SOURCE);
    assert_int_equal(told[1].source_mask, 6);
    assert_int_equal(told[2].kind, IOMMU_SCOPE_DOMAIN);
    assert_int_equal(told[2].domain, DOMAIN);
    told_count = 0;
    set64(0x280, 0x12345000 | 1);
    set64(0x288, 1ull << 63 | 3ull << 60 | (uint64_t)DOMAIN << 32);
    assert_int_equal(get64(0x288) >> 57, 0x1b); // IVT 0, IIRG 3, IAIG 3
    assert_int_equal(told_count, 1);
    assert_int_equal(told[0].kind, IOMMU_SCOPE_PAGES);
    assert_int_equal(told[0].domain, DOMAIN);
    assert_int_equal(told[0].first_page, 0x12344);
    assert_int_equal(told[0].pages, 2);
    set64(0x288, 1ull << 63 | 1ull << 60);
    assert_int_equal(told[1].kind, IOMMU_SCOPE_ALL);
    set64(0x280, 63);
    set64(0x288, 1ull << 63 | 3ull << 60); // absurd mask: done, and nothing was
    assert_int_equal(get64(0x288) >> 63, 0);
    assert_int_equal(get64(0x288) >> 57 & 3, 0);
    assert_int_equal(told_count, 2);
}

/// Bytes and words are not accesses to this device; unaligned ones do not reach beyond it.
static void odd_accesses(void **state)
{
    (void)state;
    io_space_mmio_write(&io, GUEST_IOMMU_BASE + GCMD + 3, 1, 0x84);
    io_space_mmio_write(&io, GUEST_IOMMU_BASE + GCMD + 2, 2, 0x8400);
    io_space_mmio_write(&io, GUEST_IOMMU_BASE + GCMD + 1, 4, 0x840000);
    assert_int_equal(get32(GSTS), 0);
    assert_int_equal(io_space_mmio_read(&io, GUEST_IOMMU_BASE + VER, 1), 0x10);
    assert_int_equal(io_space_mmio_read(&io, GUEST_IOMMU_BASE + CAP + 4, 8), get64(CAP) >> 32 | get64(ECAP)
                                                                                                    << 32);
    for (unsigned at = 0x280; at < 0x2a0; at++) {
        (void)io_space_mmio_read(&io, GUEST_IOMMU_BASE + at, 8);
        io_space_mmio_write(&io, GUEST_IOMMU_BASE + at, 8, ~0ull);
    }
    (void)io_space_mmio_read(&io, GUEST_IOMMU_BASE + GUEST_IOMMU_SIZE - 4, 8);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(capabilities),  TEST(unknown_commands), TEST(linux_start),  TEST(scopes),
        TEST(scopes_joined), TEST(queue_wraps),      TEST(queue_errors), TEST(queue_absurd),
        TEST(queue_shrinks), TEST(completion_event), TEST(by_registers), TEST(odd_accesses),
        TEST(untouched_ram),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
