// SPDX-License-Identifier: BSD-2-Clause
// Inside of the guest's IOMMU: what iommu.c (registers), iommu_queue.c (invalidation), iommu_walk.c (tables)
// and iommu_fault.c (faults, events) share. Register and field names: VT-d specification 3.3, chapters 6, 7,
// 9, 11. Nobody else includes this.
#pragma once
#include "hv/platform/iommu.h"
#include <stddef.h>

// Registers (11.4); 64-bit ones are their low half, the high half follows.
enum {
    REG_VER = 0x00,
    REG_CAP = 0x08,
    REG_ECAP = 0x10,
    REG_GCMD = 0x18,
    REG_GSTS = 0x1c,
    REG_RTADDR = 0x20,
    REG_CCMD = 0x28,
    REG_FSTS = 0x34,
    REG_FECTL = 0x38,
    REG_FEDATA = 0x3c,
    REG_FEADDR = 0x40,
    REG_FEUADDR = 0x44,
    REG_IQH = 0x80,
    REG_IQT = 0x88,
    REG_IQA = 0x90,
    REG_ICS = 0x9c,
    REG_IECTL = 0xa0,
    REG_IEDATA = 0xa4,
    REG_IEADDR = 0xa8,
    REG_IEUADDR = 0xac,
    REG_FRCD = 0x200, // CAP.FRO; 16 bytes each
    REG_IVA = 0x280,  // ECAP.IRO
    REG_IOTLB = 0x288,
    REG_END = 0x290,
};

#define FAULT_RECORDS 8u
_Static_assert(REG_FRCD + FAULT_RECORDS * 16 == REG_IVA, "fault records end where IVA begins");

// GCMD, GSTS
#define GCMD_TE   (1u << 31)
#define GCMD_SRTP (1u << 30)
#define GCMD_QIE  (1u << 26)
// FSTS
#define FSTS_PFO       (1u << 0)
#define FSTS_PPF       (1u << 1)
#define FSTS_IQE       (1u << 4)
#define FSTS_ICE       (1u << 5)
#define FSTS_ITE       (1u << 6)
#define FSTS_FRI_SHIFT 8
// FECTL, IECTL
#define EVENT_IM (1u << 31)
#define EVENT_IP (1u << 30)
// ICS
#define ICS_IWC (1u << 0)
// FRCD, bits 127:96
#define FRCD_F (1u << 31)
#define FRCD_T (1u << 30) // a read

// Fault reasons (7.1.3, legacy mode)
enum fault_reason {
    FAULT_NONE = 0,
    FAULT_ROOT_NOT_PRESENT = 0x1,
    FAULT_CONTEXT_NOT_PRESENT = 0x2,
    FAULT_CONTEXT_INVALID = 0x3,
    FAULT_BEYOND_MGAW = 0x4,
    FAULT_WRITE = 0x5,
    FAULT_READ = 0x6,
    FAULT_TABLE_ADDRESS = 0x7,
    FAULT_ROOT_ADDRESS = 0x8,
    FAULT_CONTEXT_ADDRESS = 0x9,
    FAULT_ROOT_RESERVED = 0xa,
    FAULT_CONTEXT_RESERVED = 0xb,
    FAULT_ENTRY_RESERVED = 0xc,
};

#define IOMMU_MAMV 18u // CAP.MAMV: 1 GiB

/// More ranges than this, or ranges of more pages, in one write of the queue's tail are told as "all".
#define SCOPES_MAX      32u
#define SCOPE_PAGES_MAX (1ull << (IOMMU_MAMV + 1))

/// What root and context entry of a requester say.
struct iommu_context {
    uint64_t tables;
    uint16_t source, domain;
    bool good;      // present and well-formed
    bool no_faults; // FPD
};
#define CONTEXTS_CACHED 16u

struct guest_iommu {
    uint32_t reg[REG_END / 4]; // as the guest reads them
    uint64_t root;             // in force: RTADDR at the last SRTP
    struct guest_iommu_ops ops;
    struct io_space *io;
    struct iommu_scope scopes[SCOPES_MAX]; // invalidated, not told yet
    unsigned scope_count;
    uint64_t scope_pages;                           // of those that are PAGES, about
    unsigned next_record;                           // of the fault records
    struct iommu_context contexts[CONTEXTS_CACHED]; // the context cache (6.2.2): good ones
};

static inline uint32_t *reg32(struct guest_iommu *u, unsigned offset)
{
    return &u->reg[offset / 4];
}

static inline uint64_t reg64(const struct guest_iommu *u, unsigned offset)
{
    return u->reg[offset / 4] | (uint64_t)u->reg[offset / 4 + 1] << 32;
}

static inline bool translating(const struct guest_iommu *u)
{
    return (u->reg[REG_GSTS / 4] & GCMD_TE) != 0;
}

/// `size` bytes of the guest's RAM at gpa, to read, which must not cross its end or a hole; else NULL, also
/// when they are zero because nobody has touched them yet.
static inline const void *guest_bytes(const struct guest_iommu *u, uint64_t gpa, uint64_t size)
{
    uint64_t contiguous = 0;
    const void *at = u->ops.peek(u->ops.ctx, gpa, &contiguous);
    return at && contiguous >= size ? at : NULL;
}

/// One read of eight bytes that the guest's devices may be writing meanwhile: what was checked is what is
/// used. `at` is aligned.
static inline uint64_t guest_load(const void *at)
{
    return __atomic_load_n((const uint64_t *)at, __ATOMIC_RELAXED);
}

// iommu_queue.c
/// After writes to IQT, to GCMD.QIE, and when FSTS.IQE is cleared: takes descriptors until the queue is empty
/// or one is wrong.
void iommu_queue_run(struct guest_iommu *u);
void iommu_ccmd_written(struct guest_iommu *u);
void iommu_iotlb_written(struct guest_iommu *u);
/// Adds to what is to be told / tells it.
void iommu_scope_add(struct guest_iommu *u, const struct iommu_scope *scope);
void iommu_scopes_tell(struct guest_iommu *u);

// iommu_fault.c
/// FSTS |= bit, with a fault event if there was no reason for one before.
void iommu_fault_status(struct guest_iommu *u, uint32_t bit);
/// ICS.IWC, with its event.
void iommu_completed(struct guest_iommu *u);
/// After the guest's writes: to FECTL, FSTS, the last word of a fault record; IECTL; ICS.
void iommu_fault_written(struct guest_iommu *u);
void iommu_records_written(struct guest_iommu *u);
void iommu_completion_written(struct guest_iommu *u);

// iommu_walk.c
/// The context cache holds nothing any more.
void iommu_contexts_forget(struct guest_iommu *u);
/// Are faults of this requester not to be recorded (context-entry, FPD)?
bool iommu_fault_disabled(struct guest_iommu *u, uint16_t source);
