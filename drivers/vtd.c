// SPDX-License-Identifier: BSD-2-Clause
// drivers/vtd.h. Chapter and table numbers: Intel Virtualization Technology for Directed I/O, 3.3. Legacy
// mode: root table -> context table of the bus -> context entry of the function. Invariant: an entry that was
// blocked is never made present again.
#include "drivers/vtd.h"
#include "drivers/hw.h"
#include "rt/log.h"
#include "rt/paging.h"
#include "rt/time.h"
#include "rt/x86.h"
#include <string.h>

// Registers (11.4)
#define REG_CAP    0x08u
#define REG_ECAP   0x10u
#define REG_GCMD   0x18u
#define REG_GSTS   0x1cu
#define REG_RTADDR 0x20u
#define REG_CCMD   0x28u
#define REG_BYTES  0x1000u

#define CAP_SAGAW_39 (1u << 9)
#define CAP_SAGAW_48 (1u << 10)
#define CAP_RWBF     (1u << 4)
#define ECAP_PT      (1u << 6)

#define GCMD_TE   (1u << 31)
#define GCMD_SRTP (1u << 30)
#define GCMD_WBF  (1u << 27)
#define GCMD_QIE  (1u << 26)
#define GSTS_KEEP 0x96ffffffu // bits of the status that are commands still in force (11.4.4.2)

#define CCMD_ICC     (1u << 31) // of the upper half
#define CCMD_GLOBAL  (1u << 29)
#define IOTLB_IVT    (1u << 31) // of the upper half
#define IOTLB_GLOBAL (1u << 28)
#define IOTLB_DRAIN  (3u << 16)

// Tables (9.1, 9.3)
#define PRESENT      1ull
#define CONTEXT_PASS (2ull << 2)
#define DOMAIN_OURS  1ull
#define ENTRIES      256u
#define UNITS_MAX    16u
#define WAIT_US      10000u

// DMAR (8.1, 8.3)
#define DMAR_HEADER 48u
#define DRHD        0u

struct entry {
    uint64_t low, high;
};

static struct unit {
    volatile uint8_t *regs;
    uint32_t iotlb; // offset of IOTLB_REG
    uint32_t cap;
} units[UNITS_MAX];
static unsigned unit_count;
static uint64_t address_width;
static struct entry *root, *pass_all;
static bool running;

static uint32_t get(const struct unit *u, uint32_t reg)
{
    return hw_read32(u->regs + reg);
}

static void put(const struct unit *u, uint32_t reg, uint32_t value)
{
    hw_write32(u->regs + reg, value);
}

static enum status wait(const struct unit *u, uint32_t reg, uint32_t bit, bool set)
{
    for (unsigned us = 0; us < WAIT_US; us++) {
        if (((get(u, reg) & bit) != 0) == set)
            return OK;
        time_delay_us(1);
    }
    return ERR_TIMEOUT;
}

/// One command at a time (11.4.4.1); `status` is its bit of GSTS_REG.
static enum status command(const struct unit *u, uint32_t bit, bool on, bool status)
{
    uint32_t value = get(u, REG_GSTS) & GSTS_KEEP;
    put(u, REG_GCMD, on ? value | bit : value & ~bit);
    return wait(u, REG_GSTS, bit, status);
}

static enum status invalidate(const struct unit *u)
{
    put(u, REG_CCMD, 0);
    put(u, REG_CCMD + 4, CCMD_ICC | CCMD_GLOBAL);
    enum status s = wait(u, REG_CCMD + 4, CCMD_ICC, false);
    if (s != OK)
        return s;
    put(u, u->iotlb, 0);
    put(u, u->iotlb + 4, IOTLB_IVT | IOTLB_GLOBAL | IOTLB_DRAIN);
    return wait(u, u->iotlb + 4, IOTLB_IVT, false);
}

static enum status start_unit(const struct unit *u)
{
    enum status s = OK;
    uint64_t at = virt_to_phys(root);
    if (get(u, REG_GSTS) & GCMD_TE) // as the firmware left it
        s = command(u, GCMD_TE, false, false);
    if (s == OK && get(u, REG_GSTS) & GCMD_QIE) // invalidation is by registers here
        s = command(u, GCMD_QIE, false, false);
    if (s == OK && u->cap & CAP_RWBF)
        s = command(u, GCMD_WBF, true, false);
    if (s != OK)
        return s;
    put(u, REG_RTADDR, (uint32_t)at);
    put(u, REG_RTADDR + 4, (uint32_t)(at >> 32));
    s = command(u, GCMD_SRTP, true, true);
    if (s == OK)
        s = invalidate(u);
    return s == OK ? command(u, GCMD_TE, true, true) : s;
}

/// Out of the caches: a unit need not snoop (ECAP.C).
static void flush(const struct entry *table)
{
    for (const uint8_t *line = (const uint8_t *)table; line < (const uint8_t *)table + FRAME_SIZE; line += 64)
        clflush(line);
    mfence();
}

static struct entry *new_table(void)
{
    phys_t p = frames_alloc(1, FRAME_SIZE, 0);
    return p == FRAME_NONE ? NULL : phys_to_virt(p);
}

static enum status add_unit(uint64_t base)
{
    if (unit_count == UNITS_MAX)
        return ERR_UNSUPPORTED;
    struct unit *u = &units[unit_count];
    u->regs = mmio_map(base, REG_BYTES);
    if (!u->regs)
        return ERR_NOMEM;
    uint32_t ecap = get(u, REG_ECAP);
    u->cap = get(u, REG_CAP);
    u->iotlb = (ecap >> 8 & 0x3ff) * 16 + 8;
    uint64_t width = u->cap & CAP_SAGAW_48 ? 2 : u->cap & CAP_SAGAW_39 ? 1 : 0;
    if (!(ecap & ECAP_PT) || width == 0 || (unit_count && width != address_width) || u->iotlb + 8 > REG_BYTES)
        return ERR_UNSUPPORTED;
    address_width = width;
    unit_count++;
    return OK;
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
                enum status s = add_unit(base);
                if (s != OK)
                    return s;
            }
        }
        at += length;
    }
    return unit_count ? OK : ERR_NOTFOUND;
}

enum status vtd_start(const void *dmar, size_t size)
{
    if (!dmar || size < DMAR_HEADER)
        return ERR_NOTFOUND;
    enum status s = read_dmar(dmar, size);
    if (s != OK)
        return s;
    root = new_table();
    pass_all = new_table();
    if (!root || !pass_all)
        return ERR_NOMEM;
    for (unsigned i = 0; i < ENTRIES; i++) {
        pass_all[i] = (struct entry){PRESENT | CONTEXT_PASS, address_width | DOMAIN_OURS << 8};
        root[i] = (struct entry){PRESENT | virt_to_phys(pass_all), 0};
    }
    flush(pass_all);
    flush(root);
    for (unsigned i = 0; i < unit_count && s == OK; i++)
        s = start_unit(&units[i]);
    running = s == OK;
    return s;
}

enum status vtd_block(const struct pci_device *dev)
{
    // Behind a bridge to conventional PCI the bridge is the requester (3.4.1). What has a PCI Express
    // capability, or is on the root bus, requests in its own name.
    if (!running || dev->at.segment != 0 || (dev->at.bus != 0 && !dev->cap_pcie))
        return ERR_UNSUPPORTED;
    struct entry *r = &root[dev->at.bus];
    struct entry *table = phys_to_virt(r->low & ~(FRAME_SIZE - 1));
    if (table == pass_all) {
        table = new_table();
        if (!table)
            return ERR_NOMEM;
        memcpy(table, pass_all, FRAME_SIZE);
    }
    table[dev->at.devfn] = (struct entry){0, 0};
    flush(table);
    *(volatile uint64_t *)&r->low = PRESENT | virt_to_phys(table);
    flush(root);
    for (unsigned i = 0; i < unit_count; i++) {
        enum status s = invalidate(&units[i]);
        if (s != OK)
            return s;
    }
    return OK;
}
