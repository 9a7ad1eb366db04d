// SPDX-License-Identifier: BSD-2-Clause
// LINK: drivers/pci_msix.c
// The real code against a function with a table of 5 entries in BAR 1, at an offset.
#include "drivers/hw.h"
#include "drivers/pci.h"
#include "drivers/pci_regs.h"
#include "rt/paging.h"
#include "tests/unit/host/host.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define CAP     0x70
#define TABLE   0xfe000000u
#define ENTRIES 5u

static struct {
    uint32_t table[ENTRIES * 4];
    uint32_t control, where, command;
    bool msi, enabled_unmasked; // somebody could have sent a message that is not set up
} fn;

void hw_write32(volatile void *at, uint32_t value)
{
    size_t i = (size_t)((volatile uint32_t *)at - fn.table);
    assert_true(i < ENTRIES * 4);
    fn.table[i] = value;
}

volatile void *mmio_map(phys_t phys, size_t size)
{
    assert_int_equal(phys, TABLE + 0x800);
    assert_int_equal(size, sizeof fn.table);
    return fn.table;
}

uint32_t pci_config_read(struct pci_address at, uint16_t offset, unsigned size)
{
    (void)at;
    assert_int_equal(size, offset == CAP + PCI_MSIX_TABLE ? 4 : 2);
    return offset == CAP + PCI_MSIX_TABLE ? fn.where : offset == PCI_COMMAND ? fn.command : fn.control;
}

void pci_config_write(struct pci_address at, uint16_t offset, unsigned size, uint32_t value)
{
    (void)at;
    assert_int_equal(size, 2);
    if (offset == PCI_COMMAND) {
        fn.command = value;
        return;
    }
    assert_int_equal(offset, CAP + PCI_MSIX_CONTROL);
    fn.control = value;
    for (unsigned i = 0; i < ENTRIES; i++) {
        bool armed = !(fn.table[4 * i + 3] & 1) && fn.table[4 * i] != 0xfee05000;
        fn.enabled_unmasked |= value & PCI_MSIX_ENABLE && !(value & PCI_MSIX_MASK_ALL) && armed;
    }
}

void pci_msi_disable(const struct pci_device *dev)
{
    (void)dev;
    fn.msi = false;
}

static struct pci_device device(void)
{
    struct pci_device dev = {.cap_msix = CAP};
    memset(&fn, 0, sizeof fn);
    dev.bars[1] = (struct pci_bar){.kind = PCI_BAR_MEM32, .base = TABLE, .size = 0x1000};
    fn.control = ENTRIES - 1;
    fn.where = 0x800 | 1;
    fn.msi = true;
    return dev;
}

static void one_message_and_no_other(void **state)
{
    (void)state;
    struct pci_device dev = device();
    assert_int_equal(pci_msix_prepare(&dev), OK);
    assert_int_equal(fn.control, (ENTRIES - 1) | PCI_MSIX_ENABLE | PCI_MSIX_MASK_ALL);
    assert_true(fn.command & PCI_COMMAND_INTX_OFF);
    assert_false(fn.msi);
    assert_int_equal(pci_msix_enable(&dev, (struct pci_message){0xfee05000, 0x31}), OK);
    assert_int_equal(fn.control, (ENTRIES - 1) | PCI_MSIX_ENABLE);
    assert_int_equal(fn.table[0], 0xfee05000);
    assert_int_equal(fn.table[1] | fn.table[3], 0);
    assert_int_equal(fn.table[2], 0x31);
    for (unsigned i = 1; i < ENTRIES; i++)
        assert_int_equal(fn.table[4 * i + 3], 1);
    assert_false(fn.enabled_unmasked);
    pci_msix_disable(&dev);
    assert_int_equal(fn.control, ENTRIES - 1);
}

static void a_table_that_is_nowhere_is_refused(void **state)
{
    (void)state;
    struct pci_device dev = device();
    const struct pci_message m = {0xfee05000, 0x31};
    fn.where = 0x800 | 7; // no such BAR
    assert_int_equal(pci_msix_enable(&dev, m), ERR_UNSUPPORTED);
    fn.where = 0xfc0 | 1; // half of it behind the BAR's end
    assert_int_equal(pci_msix_enable(&dev, m), ERR_UNSUPPORTED);
    fn.where = 0x800;
    assert_int_equal(pci_msix_prepare(&dev), ERR_UNSUPPORTED);
    fn.where = 0x801;
    dev.bars[1].base = 0;
    assert_int_equal(pci_msix_enable(&dev, m), ERR_UNSUPPORTED);
    dev.cap_msix = 0;
    assert_int_equal(pci_msix_enable(&dev, m), ERR_UNSUPPORTED);
    pci_msix_disable(&dev);
    assert_int_equal(fn.control, ENTRIES - 1);
    assert_true(fn.msi);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_message_and_no_other),
        cmocka_unit_test(a_table_that_is_nowhere_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
