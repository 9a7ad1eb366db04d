// SPDX-License-Identifier: BSD-2-Clause
// LINK: drivers/vtd.c drivers/vtd_unit.c drivers/vtd_queue.c drivers/vtd_domain.c drivers/vtd_fault.c
//
// Remapping units made of arrays: what the driver's tables say of each requester, and which units it refuses.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four above
#include <cmocka.h>
// and this one needs cmocka
#include "tests/unit/fake_vtd.h"

static int setup(void **state)
{
    (void)state;
    fake_reset(CAP_48 | CAP_RWBF, ECAP_PT);
    fake_make_dmar(0);
    return 0;
}

static const uint64_t *context(unsigned bus, unsigned devfn)
{
    uint64_t root_at = fake_get(0x20) | (uint64_t)fake_get(0x24) << 32;
    const uint64_t *root = phys_to_virt(root_at);
    assert_true(root[2 * bus] & 1);
    return (const uint64_t *)phys_to_virt(root[2 * bus] & ~0xfffull) + (size_t)2 * devfn;
}

static void test_refused(void **state)
{
    (void)state;
    struct pci_device dev = {.at = {0, 0, 0x28}};
    assert_int_equal(vtd_block(&dev), ERR_UNSUPPORTED); // not started
    assert_int_equal(vtd_start(NULL, 0), ERR_NOTFOUND);
    assert_int_equal(vtd_start(fake_dmar, 40), ERR_NOTFOUND);
    assert_int_equal(vtd_start(fake_dmar, 48), ERR_NOTFOUND); // no unit
    fake_make_dmar(1);
    assert_int_equal(vtd_start(fake_dmar, sizeof fake_dmar), ERR_NOTFOUND); // another segment's
    fake_make_dmar(0);
    fake_dmar[50] = 3; // shorter than a header
    assert_int_equal(vtd_start(fake_dmar, sizeof fake_dmar), ERR_UNSUPPORTED);
    fake_dmar[50] = 200; // longer than the table
    assert_int_equal(vtd_start(fake_dmar, sizeof fake_dmar), ERR_UNSUPPORTED);
    fake_make_dmar(0);
    fake_put(0x10, 0xfu << 8); // no pass-through
    assert_int_equal(vtd_start(fake_dmar, sizeof fake_dmar), ERR_UNSUPPORTED);
    fake_put(0x10, 1u << 6 | 0x3ffu << 8); // its registers are elsewhere
    assert_int_equal(vtd_start(fake_dmar, sizeof fake_dmar), ERR_UNSUPPORTED);
    fake_put(0x10, 1u << 6 | 0xfu << 8);
    fake_put(0x08, 1u << 8); // 30 bits only
    assert_int_equal(vtd_start(fake_dmar, sizeof fake_dmar), ERR_UNSUPPORTED);
    fake_put64(0x08, CAP_48 | 0x3ffull << 24); // its fault registers are elsewhere
    assert_int_equal(vtd_start(fake_dmar, sizeof fake_dmar), ERR_UNSUPPORTED);
    assert_int_equal(vtd_block(&dev), ERR_UNSUPPORTED);
    assert_int_equal(fake_get(0x18), 0); // nothing was commanded
}

static void test_block(void **state)
{
    (void)state;
    fake_put(0x1c, 1u << 31 | 1u << 26); // the firmware left translation and queued invalidation on
    assert_int_equal(vtd_start(fake_dmar, sizeof fake_dmar), OK);
    assert_int_equal(fake_get(0x1c) >> 26 & 0x21, 0x20); // translation on, no queue
    for (unsigned bus = 0; bus < 256; bus += 5) {
        const uint64_t *c = context(bus, bus ^ 0x5a);
        assert_int_equal(c[0], 1 | 2 << 2); // present, pass-through
        assert_int_equal(c[1] & 7, 2);
    }
    unsigned contexts = fake.context_global, iotlbs = fake.tlb_global;
    assert_true(contexts > 0 && iotlbs > 0);
    struct pci_device dev = {.at = {0, 0, 0x28}}, express = {.at = {0, 3, 0x01}, .cap_pcie = 0x40};
    assert_int_equal(vtd_block(&dev), OK);
    assert_int_equal(vtd_block(&express), OK);
    assert_int_equal(fake.context_global, contexts + 2);
    assert_int_equal(fake.tlb_global, iotlbs + 2);
    assert_int_equal(context(0, 0x28)[0], 0);
    assert_int_equal(context(3, 0x01)[0], 0);
    assert_int_equal(context(0, 0x29)[0], 1 | 2 << 2);
    assert_int_equal(context(3, 0x00)[0], 1 | 2 << 2);
    assert_int_equal(context(4, 0x01)[0], 1 | 2 << 2);
    struct pci_device conventional = {.at = {0, 4, 0}}, elsewhere = {.at = {1, 0, 0x28}, .cap_pcie = 0x40};
    assert_int_equal(vtd_block(&conventional), ERR_UNSUPPORTED); // its bridge requests for it
    assert_int_equal(vtd_block(&elsewhere), ERR_UNSUPPORTED);
    fake.deaf = true;
    fake_put(0x2c, 0);
    assert_int_equal(vtd_block(&dev), ERR_TIMEOUT);
}

static void test_neither_registers_nor_queue(void **state)
{
    (void)state;
    fake.mute = true; // the registers of invalidation are reserved: they read as zero
    assert_int_equal(vtd_start(fake_dmar, sizeof fake_dmar), ERR_IO);
    struct pci_device dev = {.at = {0, 0, 0x28}};
    assert_int_equal(vtd_block(&dev), ERR_UNSUPPORTED);
}

static void test_queue(void **state)
{
    (void)state;
    struct pci_device dev = {.at = {0, 0, 0x28}};
    for (unsigned left = 0; left < 2; left++) {
        fake_reset(CAP_48 | CAP_RWBF, ECAP_PT | ECAP_QI | ECAP_IR);
        fake_put(0x1c, left ? GSTS_TE | GSTS_QIE | GSTS_IRE : 0); // the firmware's, with its own queue
        fake_put(0x80, left ? 0x120 : 0);
        fake_put(0x88, left ? 0x120 : 0);
        assert_int_equal(vtd_start(fake_dmar, sizeof fake_dmar), OK);
        assert_int_equal(fake_get(0x1c) & (GSTS_TE | GSTS_QIE | GSTS_IRE), GSTS_TE | GSTS_QIE);
        for (unsigned i = 0; i < 300; i++) { // round its end
            unsigned contexts = fake.context_global, iotlbs = fake.tlb_global;
            assert_int_equal(vtd_block(&dev), OK);
            assert_int_equal(fake.context_global, contexts + 1);
            assert_int_equal(fake.tlb_global, iotlbs + 1);
            assert_int_equal(fake_get(0x80), fake_get(0x88));
        }
        assert_int_equal(context(0, 0x28)[0], 0);
    }
    fake.mute = true; // refuses a descriptor
    assert_int_equal(vtd_block(&dev), ERR_IO);
    fake_put(0x34, 0);
    fake.mute = false;
    fake.deaf = true;
    assert_int_equal(vtd_block(&dev), ERR_TIMEOUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_refused, setup),
        cmocka_unit_test_setup(test_block, setup),
        cmocka_unit_test_setup(test_neither_registers_nor_queue, setup),
        cmocka_unit_test_setup(test_queue, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
