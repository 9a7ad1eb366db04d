// SPDX-License-Identifier: BSD-2-Clause
// drivers/vtd.h: which function passes, and which does not. Chapter and table numbers, in all files of this
// driver: Intel Virtualization Technology for Directed I/O, 3.3. Legacy mode: root table -> context table of
// the bus -> context entry of the function. Invariant: an entry that was blocked never passes again.
#include "drivers/vtd_internal.h"
#include "rt/paging.h"
#include <string.h>

#define ENTRIES 256u

// DMAR (8.1, 8.3)
#define DMAR_HEADER 48u
#define DMAR_FLAGS  37u
#define INTR_REMAP  1u
#define DRHD        0u
#define DRHD_SCOPES 16u
#define SCOPE_PIN   3u

static struct vtd_entry *root, *pass_all;
static bool running;

void *vtd_new_table(void)
{
    phys_t p = frames_alloc(1, FRAME_SIZE, 0);
    return p == FRAME_NONE ? NULL : phys_to_virt(p);
}

/// In whose name I/O APICs send. One behind a bridge is left out, and cannot be used with remapping.
static void read_scopes(const uint8_t *drhd, size_t length)
{
    struct vtd_units *all = &vtd_units;
    for (size_t at = DRHD_SCOPES; at + 8 <= length && drhd[at + 1] >= 8 && drhd[at + 1] <= length - at;
         at += drhd[at + 1]) {
        const uint8_t *scope =
            drhd + at; // type, length, two reserved, identifier, bus, then device, function
        if (scope[0] != SCOPE_PIN || scope[1] != 8 || all->pin_count == VTD_PINS_MAX)
            continue;
        all->pins[all->pin_count].ioapic = scope[4];
        all->pins[all->pin_count++].source =
            (uint16_t)(scope[5] << 8 | (scope[6] & 31) << 3 | (scope[7] & 7));
    }
}

static enum status read_dmar(const uint8_t *table, size_t size)
{
    for (size_t at = DMAR_HEADER; at + 4 <= size;) {
        uint16_t type, length, segment;
        uint64_t base;
        memcpy(&type, table + at, sizeof type);
        memcpy(&length, table + at + 2, sizeof length);
        if (length < 4 || length > size - at)
            return ERR_UNSUPPORTED;
        if (type == DRHD && length >= 16) {
            memcpy(&segment, table + at + 6, sizeof segment);
            memcpy(&base, table + at + 8, sizeof base);
            if (segment == 0) {
                enum status s = vtd_unit_add(base);
                if (s != OK)
                    return s;
                read_scopes(table + at, length);
            }
        }
        at += length;
    }
    return vtd_units.count ? OK : ERR_NOTFOUND;
}

enum status vtd_start(const void *dmar, size_t size)
{
    if (!dmar || size < DMAR_HEADER)
        return ERR_NOTFOUND;
    running = false;
    vtd_units.count = 0;
    enum status s = read_dmar(dmar, size);
    if (s != OK)
        return s;
    vtd_units.remapping &= ((const uint8_t *)dmar)[DMAR_FLAGS] & INTR_REMAP;
    root = vtd_new_table();
    pass_all = vtd_new_table();
    if (!root || !pass_all)
        return ERR_NOMEM;
    uint64_t width = vtd_units.sagaw & 4 ? 2 : 1; // the widest (9.3, AW)
    for (unsigned i = 0; i < ENTRIES; i++) {
        pass_all[i] =
            (struct vtd_entry){VTD_PRESENT | VTD_CONTEXT_PASS, width | VTD_DOMAIN_PASS << VTD_CONTEXT_DOMAIN};
        root[i] = (struct vtd_entry){VTD_PRESENT | virt_to_phys(pass_all), 0};
    }
    vtd_flush(pass_all, FRAME_SIZE);
    vtd_flush(root, FRAME_SIZE);
    for (unsigned i = 0; i < vtd_units.count && s == OK; i++)
        s = vtd_unit_start(&vtd_units.all[i], virt_to_phys(root));
    running = s == OK;
    return s;
}

bool vtd_running(void)
{
    return running;
}

static struct vtd_entry *table_of(uint8_t bus)
{
    return phys_to_virt(root[bus].low & ~(FRAME_SIZE - 1));
}

bool vtd_own_name(const struct pci_device *dev)
{
    // Behind a bridge to conventional PCI the bridge is the requester (3.4.1). What has a PCI Express
    // capability, or is on the root bus, requests in its own name.
    return dev->at.segment == 0 && (dev->at.bus == 0 || dev->cap_pcie);
}

enum status vtd_block(const struct pci_device *dev)
{
    if (!running || !vtd_own_name(dev))
        return ERR_UNSUPPORTED;
    struct vtd_entry *table = table_of(dev->at.bus);
    if (table == pass_all) {
        table = vtd_new_table();
        if (!table)
            return ERR_NOMEM;
        memcpy(table, pass_all, FRAME_SIZE);
    }
    *(volatile uint64_t *)&table[dev->at.devfn].low = 0;
    table[dev->at.devfn].high = 0;
    vtd_flush(table, FRAME_SIZE);
    *(volatile uint64_t *)&root[dev->at.bus].low = VTD_PRESENT | virt_to_phys(table);
    vtd_flush(&root[dev->at.bus], sizeof *root);
    return vtd_forget_all();
}

volatile struct vtd_entry *vtd_context(const struct pci_device *dev)
{
    if (!running || dev->at.segment != 0)
        return NULL;
    struct vtd_entry *table = table_of(dev->at.bus);
    struct vtd_entry *e = &table[dev->at.devfn];
    bool passes = (e->low & VTD_PRESENT) && e->high >> VTD_CONTEXT_DOMAIN == VTD_DOMAIN_PASS;
    return table == pass_all || passes ? NULL : e;
}
