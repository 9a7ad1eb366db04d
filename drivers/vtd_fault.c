// SPDX-License-Identifier: BSD-2-Clause
// drivers/vtd.h: what the units recorded of requests that they refused (7.2, primary fault logging; registers
// 11.4.9 to 11.4.14). Nobody is interrupted; the records are taken out one by one, oldest first. Invariant: a
// record is given back to the unit only after it has been read.
#include "drivers/hw.h"
#include "drivers/vtd_internal.h"

#define REG_FSTS    0x34u
#define FSTS_PFO    (1u << 0)         // records were lost; written: forget that
#define FSTS_PPF    (1u << 1)         // there is a record
#define FSTS_FRI(v) ((v) >> 8 & 0xff) // the oldest one

// A fault recording register, in doublewords (11.4.14)
#define FRCD_BYTES 16u
#define FRCD_INFO  0u // address, 31:12
#define FRCD_INFO2 4u // address, 63:32
#define INFO_ENTRY 48 // of a message: its entry is there
#define FRCD_SID   8u
#define FRCD_FLAGS 12u
#define FLAGS_F    (1u << 31) // valid; written: free again
#define FLAGS_T    (1u << 30) // a read

void vtd_forget_faults(const struct vtd_unit *u)
{
    for (unsigned i = 0; i < u->fault_count; i++)
        hw_write32(u->regs + u->faults + i * FRCD_BYTES + FRCD_FLAGS, FLAGS_F);
    hw_write32(u->regs + REG_FSTS, FSTS_PFO);
}

static volatile uint8_t *record(const struct vtd_unit *u, unsigned index)
{
    return u->regs + u->faults + index * FRCD_BYTES;
}

static bool take(struct vtd_unit *u, struct vtd_fault *fault, bool *lost)
{
    uint32_t status = hw_read32(u->regs + REG_FSTS);
    if (status & FSTS_PFO) {
        hw_write32(u->regs + REG_FSTS, FSTS_PFO);
        *lost = true;
    }
    if (!(status & FSTS_PPF))
        return false;
    // FRI stands still until all are taken, while newer ones may come where older ones were.
    unsigned first = FSTS_FRI(status) % u->fault_count;
    if (hw_read32(record(u, u->next_fault) + FRCD_FLAGS) & FLAGS_F)
        first = u->next_fault;
    for (unsigned i = 0; i < u->fault_count; i++) {
        unsigned index = (first + i) % u->fault_count;
        volatile uint8_t *r = record(u, index);
        uint32_t flags = hw_read32(r + FRCD_FLAGS);
        if (!(flags & FLAGS_F))
            continue;
        uint32_t source = hw_read32(r + FRCD_SID);
        *fault = (struct vtd_fault){
            .bus = (uint8_t)(source >> 8),
            .devfn = (uint8_t)source,
            .write = !(flags & FLAGS_T),
            .reason = (uint8_t)flags,
            .iova = (hw_read32(r + FRCD_INFO) & ~0xfffu) | (uint64_t)hw_read32(r + FRCD_INFO2) << 32,
        };
        if (fault->reason >= VTD_FAULT_INTERRUPT) {
            fault->write = true;
            fault->iova >>= INFO_ENTRY;
        }
        hw_write32(r + FRCD_FLAGS, FLAGS_F);
        u->next_fault = (index + 1) % u->fault_count;
        return true;
    }
    return false;
}

bool vtd_take_fault(struct vtd_fault *fault, bool *lost)
{
    bool any_lost = false, found = false;
    for (unsigned i = 0; vtd_running() && i < vtd_units.count && !found; i++)
        found = take(&vtd_units.all[i], fault, &any_lost);
    if (lost)
        *lost = any_lost;
    return found;
}
