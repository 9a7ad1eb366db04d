// SPDX-License-Identifier: BSD-2-Clause
// LINK: drivers/vtd.c drivers/vtd_unit.c drivers/vtd_queue.c drivers/vtd_domain.c drivers/vtd_fault.c
//
// Address spaces of functions, as a unit sees them that caches all it may and sees only what was flushed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four above
#include <cmocka.h>
// and this one needs cmocka
#include "rt/panic.h"
#include "tests/unit/fake_vtd.h"
#include "tests/unit/host/host.h"

#define QEMU_CAP (CAP_39 | CAP_48 | CAP_PSI | CAP_MAMV(18) | CAP_ND(6) | CAP_MGAW(39) | CAP_DRAIN)
#define GIB      (1ull << 30)

static const struct pci_device nvme = {.at = {0, 3, 0x08}, .cap_pcie = 0x40}, disk = {.at = {0, 0, 0x28}};
static struct vtd_domain *domain;

static void start(uint64_t cap, uint64_t ecap)
{
    fake_reset(cap, ecap);
    fake_make_dmar(0);
    assert_int_equal(vtd_start(fake_dmar, sizeof fake_dmar), OK);
    assert_int_equal(vtd_block(&nvme), OK);
    assert_int_equal(vtd_block(&disk), OK);
}

static phys_t nvme_access(uint64_t iova, bool write)
{
    return fake_access(3, 0x08, iova, write);
}

static unsigned commands(void)
{
    return fake.context_global + fake.context_device + fake.tlb_global + fake.tlb_domain + fake.tlb_pages +
           fake.write_buffer;
}

static void test_kinds_of_units(void **state)
{
    (void)state;
    static const struct {
        uint64_t cap, ecap;
    } kinds[] = {
        {QEMU_CAP, ECAP_PT | ECAP_C},
        {QEMU_CAP, ECAP_PT},
        {QEMU_CAP, ECAP_PT | ECAP_C | ECAP_QI},
        {QEMU_CAP | CAP_CM | CAP_RWBF, ECAP_PT | ECAP_QI | ECAP_SC},
        {CAP_39 | CAP_MGAW(39), ECAP_PT | ECAP_QI},
        {QEMU_CAP | CAP_CM, ECAP_PT | ECAP_C | ECAP_SC},
        {QEMU_CAP | CAP_CM | CAP_RWBF, ECAP_PT},
        {CAP_39 | CAP_MGAW(39), ECAP_PT},                        // 16 domains, no page-selective invalidation
        {CAP_48 | CAP_MGAW(48) | CAP_RWBF | CAP_ND(2), ECAP_PT}, // four levels
        {CAP_48 | CAP_MGAW(39) | CAP_PSI | CAP_DRAIN, ECAP_PT | ECAP_SC},
    };
    for (unsigned k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        start(kinds[k].cap, kinds[k].ecap);
        uint64_t in_use = host_frames_in_use();
        assert_true(nvme_access(0x1000, false) == FAKE_FAULT); // blocked; cached so in caching mode
        assert_int_equal(vtd_domain_create(&nvme, &domain), OK);
        assert_true(nvme_access(0x1000, false) == FAKE_FAULT); // nothing is mapped
        assert_int_equal(vtd_map(domain, 0x1000, 0xabc000, VTD_READ), OK);
        assert_int_equal(nvme_access(0x1234, false), 0xabc234);
        assert_true(nvme_access(0x1234, true) == FAKE_FAULT);
        assert_int_equal(vtd_map(domain, 0x7fffffffffull & ~0xfffull, 0x123456789000, VTD_READ | VTD_WRITE),
                         OK);
        assert_int_equal(nvme_access(0x7fffffff01, true), 0x123456789f01);
        assert_int_equal(vtd_map(domain, 0x2000, 0xdef000, VTD_WRITE), OK);
        assert_int_equal(nvme_access(0x2000, true), 0xdef000);
        assert_true(nvme_access(0x2000, false) == FAKE_FAULT);
        assert_true(fake_access(0, 0x28, 0x1000, false) == FAKE_FAULT); // somebody else, who is blocked
        assert_int_equal(fake_access(0, 0x30, 0x1000, false), 0x1000);  // and one that passes
        vtd_unmap(domain, 0x1000, 1);
        assert_true(nvme_access(0x1000, false) == FAKE_FAULT);
        assert_int_equal(nvme_access(0x2000, true), 0xdef000);
        assert_int_equal(vtd_map(domain, 0x1000, 0x111000, VTD_READ), OK); // another page at that place
        assert_int_equal(nvme_access(0x1000, false), 0x111000);
        vtd_unmap(domain, 0, 1ull << 27);
        assert_true(nvme_access(0x7ffffff000, true) == FAKE_FAULT);
        assert_true(nvme_access(0x1000, false) == FAKE_FAULT);
        assert_int_equal(vtd_map(domain, 5 * GIB, 0x222000, VTD_READ), OK);
        assert_int_equal(nvme_access(5 * GIB, false), 0x222000);
        vtd_domain_destroy(domain);
        assert_true(nvme_access(5 * GIB, false) == FAKE_FAULT); // blocked again
        assert_int_equal(host_frames_in_use(), in_use);
        assert_int_equal(vtd_domain_create(&nvme, &domain), OK); // the same id: nothing of the past is in it
        assert_true(nvme_access(5 * GIB, false) == FAKE_FAULT);
        vtd_domain_destroy(domain);
        assert_int_equal(host_frames_in_use(), in_use);
    }
}

static void test_refused(void **state)
{
    (void)state;
    start(QEMU_CAP, ECAP_PT);
    const struct pci_device passes = {.at = {0, 0, 0x30}}, elsewhere = {.at = {1, 3, 0x08}};
    struct vtd_domain *other;
    assert_int_equal(vtd_domain_create(&passes, &other), ERR_UNSUPPORTED);
    assert_int_equal(vtd_domain_create(&elsewhere, &other), ERR_UNSUPPORTED);
    assert_int_equal(vtd_domain_create(&nvme, &domain), OK);
    assert_int_equal(vtd_domain_create(&nvme, &other), ERR_BUSY);
    assert_int_equal(vtd_map(domain, 0x1001, 0, VTD_READ), ERR_INVAL);
    assert_int_equal(vtd_map(domain, 0x1000, 1, VTD_READ), ERR_INVAL);
    assert_int_equal(vtd_map(domain, 0x1000, 1ull << 52, VTD_READ), ERR_INVAL);
    assert_int_equal(vtd_map(domain, 0x1000, 0, 0), ERR_INVAL);
    assert_int_equal(vtd_map(domain, 0x1000, 0, 4), ERR_INVAL);
    assert_int_equal(vtd_map(domain, 1ull << 39, 0, VTD_READ), ERR_RANGE);
    assert_int_equal(vtd_map(domain, 0x1000, 0x5000, VTD_READ), OK);
    assert_int_equal(vtd_map(domain, 0x1000, 0x6000, VTD_READ), ERR_BUSY);
    unsigned before = commands();
    vtd_unmap(domain, 0x1000, 0);
    vtd_unmap(domain, 1ull << 39, 5);
    vtd_unmap(domain, 0x2000, ~0ull); // to the end, where nothing is
    assert_int_equal(commands(), before);
    assert_int_equal(nvme_access(0x1000, false), 0x5000);
    vtd_domain_destroy(domain);
    start(CAP_39 | CAP_MGAW(36), ECAP_PT); // a narrower bus
    assert_int_equal(vtd_domain_create(&nvme, &domain), OK);
    assert_int_equal(vtd_map(domain, 1ull << 36, 0, VTD_READ), ERR_RANGE);
    assert_int_equal(vtd_map(domain, (1ull << 36) - 0x1000, 0, VTD_READ), OK);
    vtd_domain_destroy(domain);
}

/// What a unit is asked to forget: no more than it must, no less, and nothing where nothing was.
static void commands_by(uint64_t ecap)
{
    start(QEMU_CAP, ecap);
    unsigned before = commands();
    assert_int_equal(vtd_domain_create(&nvme, &domain), OK);
    for (uint64_t page = 0x0fe; page < 0x102; page++)
        assert_int_equal(vtd_map(domain, page << 12, page << 12, VTD_READ), OK);
    assert_int_equal(commands(), before); // not present entries are not cached
    vtd_unmap(domain, 0x100000, 1);
    assert_int_equal(fake.tlb_pages, 1);
    assert_int_equal(fake.last_iva, 0x100000);
    assert_int_equal(fake.last_tlb >> 16 & 3, 3); // drained
    vtd_unmap(domain, 0x80000, 1024);             // only 0xfe, 0xff and 0x101 are there: 512 pages hold them
    assert_int_equal(fake.tlb_pages, 2);
    assert_int_equal(fake.last_iva, 9);
    assert_int_equal(fake.tlb_domain, 0);
    assert_int_equal(vtd_map(domain, 0, 0, VTD_READ), OK);
    assert_int_equal(vtd_map(domain, 1ull << 38, 0, VTD_READ), OK);
    vtd_unmap(domain, 0, 1ull << 27); // more than MAMV tells
    assert_int_equal(fake.tlb_pages, 2);
    assert_int_equal(fake.tlb_domain, 1);
    vtd_domain_destroy(domain);
    assert_int_equal(fake.tlb_domain, 2);
    assert_int_equal(fake.context_device, 1);

    start(QEMU_CAP | CAP_CM, ecap);
    assert_int_equal(vtd_domain_create(&nvme, &domain), OK);
    assert_int_equal(fake.context_device, 1);
    assert_int_equal(fake.last_context, 0x03080000); // of domain 0
    assert_int_equal(fake.tlb_domain, 1);
    assert_int_equal(vtd_map(domain, 0x5000, 0, VTD_READ), OK);
    assert_int_equal(fake.tlb_pages, 1);
    assert_int_equal(fake.last_iva, 0x5000);
    vtd_domain_destroy(domain);

    start((QEMU_CAP & ~CAP_DRAIN) | CAP_RWBF, ecap);
    assert_int_equal(vtd_domain_create(&nvme, &domain), OK);
    before = fake.write_buffer;
    assert_int_equal(vtd_map(domain, 0x5000, 0, VTD_READ), OK);
    assert_int_equal(fake.write_buffer, before + 1);
    vtd_unmap(domain, 0x5000, 1);
    assert_int_equal(fake.last_tlb >> 16 & 3, 0); // cannot drain
    vtd_domain_destroy(domain);
}

static void test_commands(void **state)
{
    (void)state;
    commands_by(ECAP_PT);
    commands_by(ECAP_PT | ECAP_QI);
}

static void test_domain_ids(void **state)
{
    (void)state;
    struct vtd_domain *all[70];
    struct pci_device dev = {.at = {0, 0, 0}};
    for (unsigned nd = 0; nd <= 2; nd += 2) {
        unsigned usable = nd ? 64 : 16 - 2;
        start((QEMU_CAP & ~7ull) | CAP_ND(nd), ECAP_PT | ECAP_C);
        for (unsigned i = 0; i < usable; i++) {
            dev.at.devfn = (uint8_t)i;
            assert_int_equal(vtd_block(&dev), OK);
            assert_int_equal(vtd_domain_create(&dev, &all[i]), OK);
            assert_int_equal(vtd_map(all[i], 0x1000, 0x100000ull * (i + 1), VTD_READ), OK);
        }
        for (unsigned i = 0; i < usable; i++)
            assert_int_equal(fake_access(0, (uint8_t)i, 0x1000, false), 0x100000ull * (i + 1));
        dev.at.devfn = (uint8_t)usable;
        assert_int_equal(vtd_block(&dev), OK);
        assert_int_equal(vtd_domain_create(&dev, &all[usable]), ERR_NOMEM);
        for (unsigned i = 0; i < usable; i++)
            vtd_domain_destroy(all[i]);
    }
}

/// A guest that spreads its pages over all of 39 bits.
static void test_memory_is_bounded(void **state)
{
    (void)state;
    start(QEMU_CAP, ECAP_PT | ECAP_C);
    uint64_t in_use = host_frames_in_use(), at = 0;
    assert_int_equal(vtd_domain_create(&nvme, &domain), OK);
    enum status s = OK;
    for (; s == OK && at < 1ull << 39; at += 2ull << 20)
        s = vtd_map(domain, at, 0x5000, VTD_READ);
    assert_int_equal(s, ERR_NOMEM);
    assert_true(host_frames_in_use() - in_use < 1100);
    at -= 2ull << 20;
    assert_true(at > GIB);
    assert_int_equal(nvme_access(at - (2ull << 20), false), 0x5000);
    assert_true(nvme_access(at, false) == FAKE_FAULT);
    vtd_unmap(domain, 0, 1);
    assert_int_equal(vtd_map(domain, at, 0x6000, VTD_READ), OK); // what became empty is there again
    assert_int_equal(nvme_access(at, false), 0x6000);
    vtd_unmap(domain, 0, 1ull << 27);
    assert_true(host_frames_in_use() - in_use <= 1 + 4); // the root, and what is kept
    for (unsigned i = 0; i < 3; i++) {                   // memory ends on the way down
        host_frames_fail_after((int)i);
        s = vtd_map(domain, 17 * GIB, 0x7000, VTD_READ);
        if (s == OK)
            vtd_unmap(domain, 17 * GIB, 1);
        else
            assert_true(nvme_access(17 * GIB, false) == FAKE_FAULT);
    }
    host_frames_fail_after(-1);
    vtd_domain_destroy(domain);
    assert_int_equal(host_frames_in_use(), in_use);
}

/// Against an array: what was mapped last is what is reached, whatever was there before, and no table stays
/// behind.
static void test_random(void **state)
{
    (void)state;
    enum { PAGES = 256 };
    static struct {
        uint64_t iova;
        phys_t page;
        unsigned access;
    } model[PAGES];
    for (unsigned round = 0; round < 4; round++) {
        start(QEMU_CAP | (round & 1 ? CAP_CM : 0),
              ECAP_PT | (round & 2 ? ECAP_C : 0) | (round > 1 ? ECAP_QI : 0));
        uint64_t in_use = host_frames_in_use();
        assert_int_equal(vtd_domain_create(&nvme, &domain), OK);
        uint32_t seed = 12345 + round;
        for (unsigned i = 0; i < PAGES;
             i++) // some beside each other, some over the edge of a table, some far
            model[i].iova = (i % 64 + (i / 64 == 1 ? 0x1e0ull : 0) + (i / 64) * (i / 64) * 0x40100ull) << 12,
            model[i].access = 0;
        for (unsigned step = 0; step < 3000; step++) {
            seed = seed * 1664525 + 1013904223;
            unsigned i = seed >> 8 & (PAGES - 1), what = seed >> 20 & 7, access = 1 + (seed >> 24) % 3;
            if (what < 3) {
                phys_t page = (phys_t)(step + 1) << 12;
                assert_int_equal(vtd_map(domain, model[i].iova, page, access),
                                 model[i].access ? ERR_BUSY : OK);
                if (!model[i].access) {
                    model[i].page = page;
                    model[i].access = access;
                }
            } else if (what == 3) {
                uint64_t pages = seed >> 28 ? seed >> 28 : 0x50000;
                vtd_unmap(domain, model[i].iova, pages);
                for (unsigned j = 0; j < PAGES; j++)
                    if (model[j].iova >= model[i].iova && model[j].iova < model[i].iova + (pages << 12))
                        model[j].access = 0;
            } else {
                bool write = what & 1;
                phys_t got = nvme_access(model[i].iova, write);
                if (model[i].access & (write ? VTD_WRITE : VTD_READ))
                    assert_int_equal(got, model[i].page);
                else
                    assert_true(got == FAKE_FAULT);
            }
        }
        vtd_unmap(domain, 0, ~0ull);
        assert_true(host_frames_in_use() - in_use <= 5);
        vtd_domain_destroy(domain);
        assert_int_equal(host_frames_in_use(), in_use);
    }
}

static void test_faults(void **state)
{
    (void)state;
    struct vtd_fault f;
    bool lost = true;
    fake_reset(QEMU_CAP, ECAP_PT);
    fake_fault(0x1234, 0, true, 2); // in the firmware's days
    fake_make_dmar(0);
    assert_int_equal(vtd_start(fake_dmar, sizeof fake_dmar), OK);
    assert_int_equal(fake_get(0x38) >> 31, 1);
    assert_int_equal(vtd_block(&nvme), OK);
    assert_false(vtd_take_fault(&f, &lost));
    assert_false(lost);
    nvme_access(0x123456789a, true); // only blocked
    assert_int_equal(vtd_domain_create(&nvme, &domain), OK);
    nvme_access(0x5abc, false);
    assert_true(vtd_take_fault(&f, &lost));
    assert_false(lost);
    assert_int_equal(f.bus, 3);
    assert_int_equal(f.devfn, 8);
    assert_true(f.write);
    assert_int_equal(f.reason, 2);
    assert_int_equal(f.iova, 0x1234567000);
    for (uint64_t i = 0; i < FAULT_REGS + 2; i++) // round the end of the registers, and more than there are
        nvme_access(i << 12, false);
    assert_true(vtd_take_fault(&f, &lost));
    assert_true(lost);
    assert_false(f.write);
    assert_int_equal(f.iova, 0x5000);
    assert_int_equal(f.reason, 6);
    for (uint64_t i = 0; i < FAULT_REGS - 1; i++) {
        assert_true(vtd_take_fault(&f, &lost));
        assert_false(lost);
        assert_int_equal(f.iova, i << 12);
    }
    assert_false(vtd_take_fault(&f, NULL));
    nvme_access(0x77000, true);
    assert_true(vtd_take_fault(&f, NULL));
    assert_int_equal(f.iova, 0x77000);
    assert_int_equal(f.reason, 5);
    vtd_domain_destroy(domain);
}

/// Memory must not be given away that a function may still reach.
static void test_deaf(void **state)
{
    (void)state;
    for (volatile unsigned kind = 0; kind < 4; kind++) {
        start(QEMU_CAP, ECAP_PT | ECAP_C | (kind & 2 ? ECAP_QI : 0));
        assert_int_equal(vtd_domain_create(&nvme, &domain), OK);
        assert_int_equal(vtd_map(domain, 0x5000, 0, VTD_READ), OK);
        fake.deaf = !(kind & 1);
        fake.mute = kind & 1;
        host_panic_arm();
        if (setjmp(host_panic_jump) == 0) {
            vtd_unmap(domain, 0x5000, 1);
            fail();
        }
        assert_non_null(strstr(host_panic_text(), "invalidate"));
        fake.deaf = fake.mute = false;
        fake_put(0x80, fake_get(0x88)); // as if the queue had been emptied
        vtd_domain_destroy(domain);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds_of_units),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_domain_ids),
        cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_deaf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
