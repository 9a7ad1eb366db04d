// SPDX-License-Identifier: BSD-2-Clause
// What the guest's IOMMU tells the guest: fault records and status (VT-d 7.2), fault events (7.3) and
// invalidation completion events (6.5.2.8). Invariant: FSTS.PPF is the OR of the records' F bits, and an
// event is sent once when its first reason appears, not again until all have been cleared.
#include "hv/platform/iommu_unit.h"

#define FAULT_REASONS (FSTS_PFO | FSTS_PPF | FSTS_IQE | FSTS_ICE | FSTS_ITE)

/// `control` (FECTL, IECTL) is followed by data, address, upper address: sends what is pending and unmasked.
static void event(struct guest_iommu *u, unsigned control)
{
    uint32_t *reg = reg32(u, control);
    if (!(reg[0] & EVENT_IP) || reg[0] & EVENT_IM)
        return;
    reg[0] &= ~EVENT_IP;
    if (u->ops.message)
        u->ops.message(u->ops.ctx, reg[2] | (uint64_t)reg[3] << 32, reg[1]);
}

// --- invalidation completion ---

void iommu_completed(struct guest_iommu *u)
{
    if (*reg32(u, REG_ICS) & ICS_IWC)
        return;
    *reg32(u, REG_ICS) |= ICS_IWC;
    *reg32(u, REG_IECTL) |= EVENT_IP;
    event(u, REG_IECTL);
}

void iommu_completion_written(struct guest_iommu *u)
{
    if (!(*reg32(u, REG_ICS) & ICS_IWC))
        *reg32(u, REG_IECTL) &= ~EVENT_IP;
    event(u, REG_IECTL);
}

// --- faults ---

static uint32_t *record(struct guest_iommu *u, unsigned i)
{
    return reg32(u, REG_FRCD + i * 16);
}

void iommu_fault_status(struct guest_iommu *u, uint32_t bits)
{
    uint32_t *fsts = reg32(u, REG_FSTS);
    bool first = !(*fsts & FAULT_REASONS);
    *fsts |= bits;
    if (first)
        *reg32(u, REG_FECTL) |= EVENT_IP;
    event(u, REG_FECTL);
}

void iommu_fault_written(struct guest_iommu *u)
{
    if (!(*reg32(u, REG_FSTS) & FAULT_REASONS))
        *reg32(u, REG_FECTL) &= ~EVENT_IP;
    event(u, REG_FECTL);
}

/// F bits were cleared: FRI is the oldest that is left.
void iommu_records_written(struct guest_iommu *u)
{
    uint32_t *fsts = reg32(u, REG_FSTS);
    *fsts &= FAULT_REASONS & ~FSTS_PPF;
    for (unsigned i = 0; i < FAULT_RECORDS; i++) {
        unsigned at = (u->next_record + i) % FAULT_RECORDS;
        if (record(u, at)[3] & FRCD_F) {
            *fsts |= FSTS_PPF | at << FSTS_FRI_SHIFT;
            break;
        }
    }
    iommu_fault_written(u);
}

void iommu_fault(struct guest_iommu *u, uint16_t source, uint64_t iova, bool write, uint8_t reason)
{
    if (!translating(u) || *reg32(u, REG_FSTS) & FSTS_PFO || iommu_fault_disabled(u, source))
        return;
    // One pending record per requester: a device that keeps trying says nothing new (7.2.1).
    for (unsigned i = 0; i < FAULT_RECORDS; i++) {
        if (record(u, i)[3] & FRCD_F && (uint16_t)record(u, i)[2] == source)
            return;
    }
    unsigned at = u->next_record;
    uint32_t *r = record(u, at);
    if (r[3] & FRCD_F) {
        iommu_fault_status(u, FSTS_PFO);
        return;
    }
    r[0] = (uint32_t)iova & ~0xfffu;
    r[1] = (uint32_t)(iova >> 32);
    r[2] = source;
    r[3] = FRCD_F | (write ? 0 : FRCD_T) | reason;
    u->next_record = (at + 1) % FAULT_RECORDS;
    bool first = !(*reg32(u, REG_FSTS) & FSTS_PPF);
    iommu_fault_status(u, FSTS_PPF | (first ? at << FSTS_FRI_SHIFT : 0));
}
