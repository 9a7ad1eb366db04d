// SPDX-License-Identifier: BSD-2-Clause
// Registers of the guest's IOMMU (VT-d 11.4): a file of 32-bit words, and for each word what the guest may
// change and what happens then. What is not built is absent from CAP and ECAP, its registers read 0 and its
// GCMD bits do nothing. Invariant: every command is complete when the write that gave it ends.
#include "hv/platform/iommu.h"
#include "hv/platform/iommu_unit.h"
#include <stdlib.h>
#include <string.h>

#define VERSION 0x10u // 1.0: register-based invalidation is there

#define CAP_ND    6ull        // 64 Ki domains
#define CAP_CM    (1ull << 7) // not-present entries count as cached: the guest tells of each map
#define CAP_SAGAW (1ull << 9) // 39 bits, three levels
#define CAP_MGAW  (38ull << 16)
#define CAP_ZLR   (1ull << 22) // write-only pages need no read permission for reads of no bytes
#define CAP_FRO   ((uint64_t)REG_FRCD / 16 << 24)
#define CAP_SLLPS (3ull << 34) // 2 MiB, 1 GiB
#define CAP_PSI   (1ull << 39)
#define CAP_NFR   ((FAULT_RECORDS - 1ull) << 40)
#define CAP_MAMV  ((uint64_t)IOMMU_MAMV << 48)
#define CAP_DWD   (1ull << 54)
#define CAP_DRD   (1ull << 55)
#define CAP                                                                                                  \
    (CAP_ND | CAP_CM | CAP_SAGAW | CAP_MGAW | CAP_ZLR | CAP_FRO | CAP_SLLPS | CAP_PSI | CAP_NFR | CAP_MAMV | \
     CAP_DWD | CAP_DRD)

#define ECAP_C   (1ull << 0) // tables are read coherently
#define ECAP_QI  (1ull << 1)
#define ECAP_IRO ((uint64_t)REG_IVA / 16 << 8)
#define ECAP     (ECAP_C | ECAP_QI | ECAP_IRO)

static void tell_all(struct guest_iommu *u)
{
    u->scopes[0] = (struct iommu_scope){.kind = IOMMU_SCOPE_ALL};
    u->scope_count = 1;
    iommu_scopes_tell(u);
}

/// Bits that stay (TE, QIE) are compared with GSTS, others are commands (11.4.4).
static void gcmd_written(struct guest_iommu *u, uint32_t value)
{
    uint32_t *gsts = reg32(u, REG_GSTS);
    uint32_t moved = value ^ *gsts;
    if (value & GCMD_SRTP) {
        u->root = reg64(u, REG_RTADDR);
        iommu_contexts_forget(u);
        *gsts |= GCMD_SRTP;
        if (translating(u))
            tell_all(u);
    }
    if (moved & GCMD_QIE) {
        *gsts ^= GCMD_QIE;
        *reg32(u, REG_IQH) = 0;
        iommu_queue_run(u);
    }
    if (moved & GCMD_TE) {
        *gsts ^= GCMD_TE;
        iommu_contexts_forget(u);
        tell_all(u);
    }
}

static void iqt_written(struct guest_iommu *u, uint32_t value)
{
    (void)value;
    iommu_queue_run(u);
}

static void ccmd_written(struct guest_iommu *u, uint32_t value)
{
    (void)value;
    iommu_ccmd_written(u);
}

static void iotlb_written(struct guest_iommu *u, uint32_t value)
{
    (void)value;
    iommu_iotlb_written(u);
}

static void fsts_written(struct guest_iommu *u, uint32_t value)
{
    iommu_fault_written(u);
    if (value & FSTS_IQE)
        iommu_queue_run(u);
}

static void fectl_written(struct guest_iommu *u, uint32_t value)
{
    (void)value;
    iommu_fault_written(u);
}

static void record_written(struct guest_iommu *u, uint32_t value)
{
    (void)value;
    iommu_records_written(u);
}

static void completion_written(struct guest_iommu *u, uint32_t value)
{
    (void)value;
    iommu_completion_written(u);
}

/// What a write does to a word: bits that are kept, bits that are cleared by a 1, and what follows.
struct rule {
    uint32_t keeps, clears;
    void (*written)(struct guest_iommu *u, uint32_t value);
};

#define RECORD(n) [(REG_FRCD + (n)*16 + 12) / 4] = {.clears = FRCD_F, .written = record_written}

static const struct rule rules[REG_END / 4] = {
    [REG_GCMD / 4] = {.written = gcmd_written},
    [REG_RTADDR / 4] = {.keeps = 0xfffff000}, // no TTM: legacy mode
    [REG_RTADDR / 4 + 1] = {.keeps = ~0u},
    [REG_CCMD / 4] = {.keeps = ~0u},
    [REG_CCMD / 4 + 1] = {.keeps = 0xe0000003, .written = ccmd_written},
    [REG_FSTS / 4] = {.clears = FSTS_PFO | FSTS_IQE | FSTS_ICE | FSTS_ITE, .written = fsts_written},
    [REG_FECTL / 4] = {.keeps = EVENT_IM, .written = fectl_written},
    [REG_FEDATA / 4] = {.keeps = ~0u},
    [REG_FEADDR / 4] = {.keeps = ~3u},
    [REG_FEUADDR / 4] = {.keeps = ~0u},
    [REG_IQT / 4] = {.keeps = 0x7fff0, .written = iqt_written},
    [REG_IQA / 4] = {.keeps = 0xfffff007}, // no DW: descriptors of 128 bits
    [REG_IQA / 4 + 1] = {.keeps = ~0u},
    [REG_ICS / 4] = {.clears = ICS_IWC, .written = completion_written},
    [REG_IECTL / 4] = {.keeps = EVENT_IM, .written = completion_written},
    [REG_IEDATA / 4] = {.keeps = ~0u},
    [REG_IEADDR / 4] = {.keeps = ~3u},
    [REG_IEUADDR / 4] = {.keeps = ~0u},
    RECORD(0),
    RECORD(1),
    RECORD(2),
    RECORD(3),
    RECORD(4),
    RECORD(5),
    RECORD(6),
    RECORD(7),
    [REG_IVA / 4] = {.keeps = 0xfffff07f},
    [REG_IVA / 4 + 1] = {.keeps = ~0u},
    [REG_IOTLB / 4] = {.keeps = ~0u},
    [REG_IOTLB / 4 + 1] = {.keeps = 0xb003ffff, .written = iotlb_written},
};

static void write_word(struct guest_iommu *u, unsigned word, uint32_t value)
{
    const struct rule *r = &rules[word];
    uint32_t *reg = &u->reg[word];
    *reg = ((*reg & ~r->keeps) | (value & r->keeps)) & ~(value & r->clears);
    if (r->written)
        r->written(u, value);
}

static uint64_t iommu_read(void *dev, uint64_t offset, unsigned size)
{
    const struct guest_iommu *u = dev;
    unsigned word = (unsigned)offset / 4, shift = (unsigned)(offset % 4) * 8;
    uint64_t low = word < REG_END / 4 ? u->reg[word] : 0;
    uint64_t high = word + 1 < REG_END / 4 ? u->reg[word + 1] : 0;
    (void)size; // the io_space takes what it asked for
    return (low | high << 32) >> shift;
}

/// Doublewords and quadwords in their places (11.2); anything else does nothing.
static void iommu_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct guest_iommu *u = dev;
    unsigned word = (unsigned)offset / 4;
    if (offset % 4 || size < 4)
        return;
    for (; size >= 4 && word < REG_END / 4; size -= 4, word++, value >>= 32)
        write_word(u, word, (uint32_t)value);
}

void guest_iommu_reset(struct guest_iommu *u)
{
    memset(u->reg, 0, sizeof u->reg);
    u->root = 0;
    u->scope_count = u->next_record = 0;
    u->scope_pages = 0;
    iommu_contexts_forget(u);
    *reg32(u, REG_VER) = VERSION;
    *reg32(u, REG_CAP) = (uint32_t)CAP;
    *reg32(u, REG_CAP + 4) = (uint32_t)(CAP >> 32);
    *reg32(u, REG_ECAP) = (uint32_t)ECAP;
    *reg32(u, REG_ECAP + 4) = (uint32_t)(ECAP >> 32);
    *reg32(u, REG_FECTL) = *reg32(u, REG_IECTL) = EVENT_IM;
}

enum status guest_iommu_create(struct guest_iommu **made, struct io_space *io,
                               const struct guest_iommu_ops *ops)
{
    struct guest_iommu *u = calloc(1, sizeof *u);
    if (!u)
        return ERR_NOMEM;
    u->ops = *ops;
    u->io = io;
    guest_iommu_reset(u);
    const struct mmio_range range = {.name = "IOMMU",
                                     .base = GUEST_IOMMU_BASE,
                                     .size = GUEST_IOMMU_SIZE,
                                     .read = iommu_read,
                                     .write = iommu_write,
                                     .dev = u};
    enum status s = io_space_add_mmio(io, &range);
    if (s != OK) {
        free(u);
        return s;
    }
    *made = u;
    return OK;
}

void guest_iommu_destroy(struct guest_iommu *u)
{
    if (!u)
        return;
    io_space_remove_mmio(u->io, GUEST_IOMMU_BASE);
    free(u);
}
