// SPDX-License-Identifier: BSD-2-Clause
// Registers of the remapping units (11.4): commands, one after the other, and each waited for. Must not know
// tables. Invariants: an invalidation returns OK only when every unit says that it has been done; a unit that
// has a queue (vtd_queue.c) is told by nothing else.
#include "drivers/hw.h"
#include "drivers/vtd_internal.h"
#include "rt/paging.h"
#include "rt/time.h"

#define REG_CAP    0x08u
#define REG_ECAP   0x10u
#define REG_GCMD   0x18u
#define REG_GSTS   0x1cu
#define REG_RTADDR 0x20u
#define REG_CCMD   0x28u
#define REG_FECTL  0x38u

#define CAP_RWBF          (1ull << 4)
#define CAP_CM            (1ull << 7)
#define CAP_PSI           (1ull << 39)
#define CAP_DWD           (1ull << 54)
#define CAP_DRD           (1ull << 55)
#define CAP_ND(c)         ((unsigned)(c)&7)
#define CAP_SAGAW(c)      ((unsigned)((c) >> 8) & 0x1f)
#define CAP_MGAW(c)       ((unsigned)((c) >> 16) & 0x3f)
#define CAP_FRO(c)        ((unsigned)((c) >> 24) & 0x3ff)
#define CAP_NFR(c)        ((unsigned)((c) >> 40) & 0xff)
#define CAP_MAMV(c)       ((unsigned)((c) >> 48) & 0x3f)
#define ECAP_C            (1ull << 0)
#define ECAP_QI           (1ull << 1)
#define ECAP_IR           (1ull << 3)
#define ECAP_EIM          (1ull << 4)
#define ECAP_PT           (1ull << 6)
#define ECAP_SC           (1ull << 7)
#define ECAP_IRO(c)       ((unsigned)((c) >> 8) & 0x3ff)
#define SAGAW_KNOWN       6u // 39 and 48 bits
#define DOMAINS_BY_ND(nd) (16u << 2 * (nd))

#define GSTS_KEEP 0x96ffffffu // bits of the status that are commands still in force (11.4.4.2)
#define FECTL_IM  (1u << 31)  // nobody is interrupted by faults: they are asked for

// Upper halves of CCMD_REG and IOTLB_REG (11.4.5, 11.4.6); granularity wanted, and done
#define CCMD_ICC       (1u << 31)
#define CCMD_KIND(k)   ((uint32_t)(k) << 29)
#define CCMD_DONE(v)   ((v) >> 27 & 3)
#define IOTLB_IVT      (1u << 31)
#define IOTLB_KIND(k)  ((uint32_t)(k) << 28)
#define IOTLB_DONE(v)  ((v) >> 25 & 3)
#define IOTLB_DR       (1u << 17)
#define IOTLB_DW       (1u << 16)
#define IVA_FROM_IOTLB 8u

// The same in descriptors (6.5.2.1, 6.5.2.3)
#define QUEUE_KIND(k)   ((uint64_t)(k) << 4)
#define QUEUE_DW        (1u << 6)
#define QUEUE_DR        (1u << 7)
#define QUEUE_DOMAIN(d) ((uint64_t)(d) << 16)
#define QUEUE_SOURCE(s) ((uint64_t)(s) << 32)

enum kind { ALL = 1, DOMAIN = 2, ONE = 3 }; // ONE: function's entry, or range of pages

struct vtd_units vtd_units;

static uint32_t get(const struct vtd_unit *u, uint32_t reg)
{
    return hw_read32(u->regs + reg);
}

static void put(const struct vtd_unit *u, uint32_t reg, uint32_t value)
{
    hw_write32(u->regs + reg, value);
}

static uint64_t get64(const struct vtd_unit *u, uint32_t reg)
{
    return get(u, reg) | (uint64_t)get(u, reg + 4) << 32;
}

/// *value: the register as last read.
static enum status wait(const struct vtd_unit *u, uint32_t reg, uint32_t bit, bool set, uint32_t *value)
{
    for (unsigned us = 0; us < VTD_WAIT_US; us++) {
        *value = get(u, reg);
        if (((*value & bit) != 0) == set)
            return OK;
        time_delay_us(1);
    }
    return ERR_TIMEOUT;
}

enum status vtd_command(const struct vtd_unit *u, uint32_t bit, bool on, bool status)
{
    uint32_t value = get(u, REG_GSTS) & GSTS_KEEP;
    put(u, REG_GCMD, on ? value | bit : value & ~bit);
    return wait(u, REG_GSTS, bit, status, &value);
}

static enum status forget_context(struct vtd_unit *u, enum kind kind, uint16_t source, uint16_t domain)
{
    uint32_t value;
    if (u->queue)
        return vtd_queue_do(
            u, VTD_QUEUE_CONTEXT | QUEUE_KIND(kind) | QUEUE_DOMAIN(domain) | QUEUE_SOURCE(source), 0);
    put(u, REG_CCMD, (uint32_t)source << 16 | domain);
    put(u, REG_CCMD + 4, CCMD_ICC | CCMD_KIND(kind));
    enum status s = wait(u, REG_CCMD + 4, CCMD_ICC, false, &value);
    return s == OK && CCMD_DONE(value) == 0 ? ERR_IO : s;
}

/// `pages`: address and order, for kind ONE. Without the hint IH: entries of upper levels may have gone as
/// well (11.4.6.2).
static enum status forget_iotlb(struct vtd_unit *u, enum kind kind, uint16_t domain, uint64_t pages)
{
    bool reads = u->cap & CAP_DRD, writes = u->cap & CAP_DWD;
    if (u->queue)
        return vtd_queue_do(u,
                            VTD_QUEUE_IOTLB | QUEUE_KIND(kind) | QUEUE_DOMAIN(domain) |
                                (reads ? QUEUE_DR : 0) | (writes ? QUEUE_DW : 0),
                            pages);
    uint32_t value = IOTLB_IVT | IOTLB_KIND(kind) | domain | (reads ? IOTLB_DR : 0) | (writes ? IOTLB_DW : 0);
    if (kind == ONE) {
        put(u, u->iotlb - IVA_FROM_IOTLB, (uint32_t)pages);
        put(u, u->iotlb - IVA_FROM_IOTLB + 4, (uint32_t)(pages >> 32));
    }
    put(u, u->iotlb, 0);
    put(u, u->iotlb + 4, value);
    enum status s = wait(u, u->iotlb + 4, IOTLB_IVT, false, &value);
    return s == OK && IOTLB_DONE(value) == 0 ? ERR_IO : s;
}

enum status vtd_forget_all(void)
{
    enum status s = OK;
    for (unsigned i = 0; i < vtd_units.count && s == OK; i++) {
        s = forget_context(&vtd_units.all[i], ALL, 0, 0);
        if (s == OK)
            s = forget_iotlb(&vtd_units.all[i], ALL, 0, 0);
    }
    return s;
}

enum status vtd_forget_context(uint16_t source, uint16_t domain)
{
    enum status s = OK;
    for (unsigned i = 0; i < vtd_units.count && s == OK; i++)
        s = forget_context(&vtd_units.all[i], ONE, source, domain);
    return s;
}

enum status vtd_forget_pages(uint16_t domain, uint64_t iova, unsigned order)
{
    enum status s = OK;
    for (unsigned i = 0; i < vtd_units.count && s == OK; i++) {
        struct vtd_unit *u = &vtd_units.all[i];
        bool able = u->cap & CAP_PSI && order <= CAP_MAMV(u->cap);
        s = able ? forget_iotlb(u, ONE, domain, iova | order) : forget_iotlb(u, DOMAIN, domain, 0);
    }
    return s;
}

enum status vtd_flush_write_buffer(void)
{
    enum status s = OK;
    for (unsigned i = 0; i < vtd_units.count && s == OK; i++)
        if (vtd_units.all[i].cap & CAP_RWBF)
            s = vtd_command(&vtd_units.all[i], GCMD_WBF, true, false);
    return s;
}

void vtd_flush(const volatile void *at, size_t bytes)
{
    if (!vtd_units.coherent)
        hw_flush(at, bytes);
}

enum status vtd_unit_start(struct vtd_unit *u, phys_t root)
{
    static const uint32_t left_by_firmware[] = {GCMD_TE, GCMD_IRE, GCMD_QIE};
    enum status s = OK;
    for (unsigned i = 0; i < 3 && s == OK; i++)
        if (get(u, REG_GSTS) & left_by_firmware[i])
            s = vtd_command(u, left_by_firmware[i], false, false);
    if (s == OK && u->cap & CAP_RWBF)
        s = vtd_command(u, GCMD_WBF, true, false);
    if (s == OK && get64(u, REG_ECAP) & ECAP_QI)
        s = vtd_queue_start(u);
    if (s != OK)
        return s;
    put(u, REG_FECTL, FECTL_IM);
    vtd_forget_faults(u);
    put(u, REG_RTADDR, (uint32_t)root);
    put(u, REG_RTADDR + 4, (uint32_t)(root >> 32));
    s = vtd_command(u, GCMD_SRTP, true, true);
    if (s == OK)
        s = forget_context(u, ALL, 0, 0);
    if (s == OK)
        s = forget_iotlb(u, ALL, 0, 0);
    return s == OK ? vtd_command(u, GCMD_TE, true, true) : s;
}

enum status vtd_unit_add(uint64_t base)
{
    struct vtd_units *all = &vtd_units;
    if (all->count == VTD_UNITS_MAX)
        return ERR_UNSUPPORTED;
    struct vtd_unit *u = &all->all[all->count];
    *u = (struct vtd_unit){.regs = mmio_map(base, VTD_REG_BYTES)};
    if (!u->regs)
        return ERR_NOMEM;
    uint64_t ecap = get64(u, REG_ECAP);
    u->cap = get64(u, REG_CAP);
    u->iotlb = ECAP_IRO(ecap) * 16 + IVA_FROM_IOTLB;
    u->faults = CAP_FRO(u->cap) * 16;
    u->fault_count = CAP_NFR(u->cap) + 1;
    uint8_t sagaw = CAP_SAGAW(u->cap) & SAGAW_KNOWN;
    if (!(ecap & ECAP_PT) || sagaw == 0 || u->iotlb + 8 > VTD_REG_BYTES ||
        u->faults + 16 * u->fault_count > VTD_REG_BYTES)
        return ERR_UNSUPPORTED;
    uint32_t domains = DOMAINS_BY_ND(CAP_ND(u->cap));
    uint8_t bits = (uint8_t)(CAP_MGAW(u->cap) + 1);
    if (all->count == 0) {
        *all = (struct vtd_units){.all = {*u},
                                  .sagaw = sagaw,
                                  .address_bits = bits,
                                  .domains = domains,
                                  .coherent = true,
                                  .snoop_control = true,
                                  .remapping = true,
                                  .wide = true};
    } else if ((sagaw & 4) != (all->sagaw & 4)) {
        return ERR_UNSUPPORTED; // who passes is told in each unit's widest format (9.3, AW), and the table is
                                // one
    }
    all->sagaw &= sagaw;
    all->address_bits = bits < all->address_bits ? bits : all->address_bits;
    all->domains = domains < all->domains ? domains : all->domains;
    all->caching_mode |= (u->cap & CAP_CM) != 0;
    all->write_buffer |= (u->cap & CAP_RWBF) != 0;
    all->coherent &= (ecap & ECAP_C) != 0;
    all->snoop_control &= (ecap & ECAP_SC) != 0;
    all->remapping &= (ecap & ECAP_IR) != 0 && (ecap & ECAP_QI) != 0;
    all->wide &= (ecap & ECAP_EIM) != 0;
    all->count++;
    return OK;
}
