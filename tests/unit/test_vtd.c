// SPDX-License-Identifier: BSD-2-Clause
// LINK: drivers/vtd.c
//
// Remapping units made of arrays: what the driver's tables say of each requester, and which units it refuses.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four above
#include "drivers/hw.h"
#include "drivers/vtd.h"
#include "rt/paging.h"
#include <cmocka.h>
#include <string.h>

#define UNIT 0xfed90000ull

static uint8_t regs[4096];
static unsigned context_flushes, iotlb_flushes;
static bool deaf;

volatile void *mmio_map(phys_t phys, size_t size)
{
    assert_int_equal(phys, UNIT);
    assert_int_equal(size, sizeof regs);
    return regs;
}

void *phys_to_virt(phys_t phys)
{
    return (void *)(uintptr_t)phys;
}
phys_t virt_to_phys(const void *virt)
{
    return (phys_t)(uintptr_t)virt;
}

static uint32_t get(unsigned reg)
{
    uint32_t value;
    memcpy(&value, regs + reg, 4);
    return value;
}
static void put(unsigned reg, uint32_t value)
{
    memcpy(regs + reg, &value, 4);
}

uint32_t hw_read32(const volatile void *at)
{
    return get((unsigned)((const volatile uint8_t *)at - regs));
}

void hw_write32(volatile void *at, uint32_t value)
{
    unsigned reg = (unsigned)((volatile uint8_t *)at - regs);
    put(reg, value);
    if (deaf)
        return;
    if (reg == 0x18) { // GCMD -> GSTS; write buffer flush is done at once, the root pointer stays set
        uint32_t status = (value & ~(1u << 27 | 1u << 30)) | (get(0x1c) & 1u << 30);
        put(0x1c, status | (value & 1u << 30));
    } else if (reg == 0x2c && value >> 31) {
        assert_int_equal(value >> 29, 5); // global
        context_flushes++;
        put(reg, value & 0x7fffffff);
    } else if (reg == 0xfc && value >> 31) {
        assert_int_equal(value >> 28, 9);
        iotlb_flushes++;
        put(reg, value & 0x7fffffff);
    }
}

static uint8_t dmar[48 + 16 + 16];

static void put_table(uint16_t segment)
{
    memset(dmar, 0, sizeof dmar);
    memcpy(dmar, "DMAR", 4);
    dmar[48] = 1; // RMRR: of no interest
    dmar[50] = 16;
    dmar[64 + 2] = 16;
    dmar[64 + 4] = 1;
    memcpy(dmar + 64 + 6, &segment, 2);
    uint64_t base = UNIT;
    memcpy(dmar + 64 + 8, &base, 8);
}

static int setup(void **state)
{
    (void)state;
    memset(regs, 0, sizeof regs);
    put(0x08, 1u << 10 | 1u << 4);  // 48 bits, write buffer flush wanted
    put(0x10, 1u << 6 | 0xfu << 8); // pass-through, IOTLB registers at 0xf0
    deaf = false;
    put_table(0);
    return 0;
}

static const uint64_t *context(unsigned bus, unsigned devfn)
{
    uint64_t root_at = get(0x20) | (uint64_t)get(0x24) << 32;
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
    assert_int_equal(vtd_start(dmar, 40), ERR_NOTFOUND);
    assert_int_equal(vtd_start(dmar, 48), ERR_NOTFOUND); // no unit
    put_table(1);
    assert_int_equal(vtd_start(dmar, sizeof dmar), ERR_NOTFOUND); // another segment's
    put_table(0);
    dmar[50] = 3; // shorter than a header
    assert_int_equal(vtd_start(dmar, sizeof dmar), ERR_UNSUPPORTED);
    dmar[50] = 200; // longer than the table
    assert_int_equal(vtd_start(dmar, sizeof dmar), ERR_UNSUPPORTED);
    put_table(0);
    put(0x10, 0xfu << 8); // no pass-through
    assert_int_equal(vtd_start(dmar, sizeof dmar), ERR_UNSUPPORTED);
    put(0x10, 1u << 6 | 0x3ffu << 8); // its registers are elsewhere
    assert_int_equal(vtd_start(dmar, sizeof dmar), ERR_UNSUPPORTED);
    put(0x10, 1u << 6 | 0xfu << 8);
    put(0x08, 1u << 8); // 30 bits only
    assert_int_equal(vtd_start(dmar, sizeof dmar), ERR_UNSUPPORTED);
    assert_int_equal(vtd_block(&dev), ERR_UNSUPPORTED);
    assert_int_equal(get(0x18), 0); // nothing was commanded
}

static void test_block(void **state)
{
    (void)state;
    put(0x1c, 1u << 31 | 1u << 26); // the firmware left translation and queued invalidation on
    assert_int_equal(vtd_start(dmar, sizeof dmar), OK);
    assert_int_equal(get(0x1c) >> 26 & 0x21, 0x20); // translation on, no queue
    for (unsigned bus = 0; bus < 256; bus += 5) {
        const uint64_t *c = context(bus, bus ^ 0x5a);
        assert_int_equal(c[0], 1 | 2 << 2); // present, pass-through
        assert_int_equal(c[1] & 7, 2);
    }
    unsigned contexts = context_flushes, iotlbs = iotlb_flushes;
    assert_true(contexts > 0 && iotlbs > 0);
    struct pci_device dev = {.at = {0, 0, 0x28}}, express = {.at = {0, 3, 0x01}, .cap_pcie = 0x40};
    assert_int_equal(vtd_block(&dev), OK);
    assert_int_equal(vtd_block(&express), OK);
    assert_int_equal(context_flushes, contexts + 2);
    assert_int_equal(iotlb_flushes, iotlbs + 2);
    assert_int_equal(context(0, 0x28)[0], 0);
    assert_int_equal(context(3, 0x01)[0], 0);
    assert_int_equal(context(0, 0x29)[0], 1 | 2 << 2);
    assert_int_equal(context(3, 0x00)[0], 1 | 2 << 2);
    assert_int_equal(context(4, 0x01)[0], 1 | 2 << 2);
    struct pci_device conventional = {.at = {0, 4, 0}}, elsewhere = {.at = {1, 0, 0x28}, .cap_pcie = 0x40};
    assert_int_equal(vtd_block(&conventional), ERR_UNSUPPORTED); // its bridge requests for it
    assert_int_equal(vtd_block(&elsewhere), ERR_UNSUPPORTED);
    deaf = true;
    put(0x2c, 0);
    assert_int_equal(vtd_block(&dev), ERR_TIMEOUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_refused, setup),
        cmocka_unit_test_setup(test_block, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
