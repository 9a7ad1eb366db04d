// SPDX-License-Identifier: BSD-2-Clause
// MSI-X for our own drivers (PCI 3.0, 6.8.2), which use one message each: entry 0. Lent functions are
// programmed by remote-fw/interrupts.c. Must not know what a function is.
#include "drivers/hw.h"
#include "drivers/pci.h"
#include "drivers/pci_regs.h"
#include "rt/paging.h"
#include <stddef.h>

static uint16_t control_at(const struct pci_device *dev)
{
    return (uint16_t)(dev->cap_msix + PCI_MSIX_CONTROL);
}

/// The table, mapped; NULL: its BAR has no address, or is too small for it.
static volatile uint8_t *map_table(const struct pci_device *dev, uint32_t entries)
{
    uint32_t where = pci_config_read(dev->at, (uint16_t)(dev->cap_msix + PCI_MSIX_TABLE), 4);
    uint32_t index = where & PCI_MSIX_BAR_MASK;
    uint64_t offset = where & ~PCI_MSIX_BAR_MASK, size = (uint64_t)entries * PCI_MSIX_ENTRY_BYTES;
    if (index >= 6)
        return NULL;
    const struct pci_bar *bar = &dev->bars[index];
    if ((bar->kind != PCI_BAR_MEM32 && bar->kind != PCI_BAR_MEM64) || bar->base == 0 || offset > bar->size ||
        size > bar->size - offset)
        return NULL;
    return mmio_map(bar->base + offset, size);
}

/// Leaves MSI-X on with the function masked, and all its entries.
static enum status start(const struct pci_device *dev, volatile uint8_t **table)
{
    if (!dev->cap_msix)
        return ERR_UNSUPPORTED;
    uint32_t control = pci_config_read(dev->at, control_at(dev), 2);
    uint32_t entries = (control & PCI_MSIX_LAST_MASK) + 1;
    *table = map_table(dev, entries);
    if (!*table)
        return ERR_UNSUPPORTED;
    pci_msi_disable(dev);
    uint32_t command = pci_config_read(dev->at, PCI_COMMAND, 2);
    pci_config_write(dev->at, PCI_COMMAND, 2, command | PCI_COMMAND_INTX_OFF);
    pci_config_write(dev->at, control_at(dev), 2, control | PCI_MSIX_ENABLE | PCI_MSIX_MASK_ALL);
    for (uint32_t i = 0; i < entries; i++)
        hw_write32(*table + i * PCI_MSIX_ENTRY_BYTES + 12, PCI_MSIX_ENTRY_MASK);
    return OK;
}

enum status pci_msix_prepare(const struct pci_device *dev)
{
    volatile uint8_t *table;
    return start(dev, &table);
}

enum status pci_msix_enable(const struct pci_device *dev, struct pci_message message)
{
    volatile uint8_t *table;
    enum status s = start(dev, &table);
    if (s != OK)
        return s;
    hw_write32(table, message.address);
    hw_write32(table + 4, 0);
    hw_write32(table + 8, message.data);
    hw_write32(table + 12, 0);
    uint32_t control = pci_config_read(dev->at, control_at(dev), 2);
    pci_config_write(dev->at, control_at(dev), 2, (control | PCI_MSIX_ENABLE) & ~PCI_MSIX_MASK_ALL);
    return OK;
}

void pci_msix_disable(const struct pci_device *dev)
{
    if (!dev->cap_msix)
        return;
    uint32_t control = pci_config_read(dev->at, control_at(dev), 2);
    pci_config_write(dev->at, control_at(dev), 2, control & ~PCI_MSIX_ENABLE);
}
