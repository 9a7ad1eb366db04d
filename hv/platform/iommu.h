// SPDX-License-Identifier: BSD-2-Clause
// The guest's IOMMU: an Intel VT-d remapping unit (architecture specification 3.3) with second-level
// translation in legacy mode only, queued invalidation and caching mode (CAP.CM): the guest says which
// mappings it changed, map and unmap. Must not know what is done with them, VMX, or links. Everything the
// guest writes (registers, queue, tables in its memory) is bytes from a stranger: nothing it says loops,
// reads outside its memory, or takes longer than a bound. By whoever runs the guest, one CPU at a time.
#pragma once
#include "hv/platform/io_space.h"
#include "rt/status.h"
#include <stdbool.h>
#include <stdint.h>

#define GUEST_IOMMU_BASE 0xfed90000ull
#define GUEST_IOMMU_SIZE 0x1000ull

#define IOMMU_PAGE  4096u
#define IOMMU_PAGES (1ull << 27) // of an address space: 39 bits

/// What the guest said has changed.
enum iommu_scope_kind {
    IOMMU_SCOPE_ALL,    // everything, also whether translation is on
    IOMMU_SCOPE_SOURCE, // everything of one requester
    IOMMU_SCOPE_DOMAIN, // everything of one domain
    IOMMU_SCOPE_PAGES,  // pages of one domain
};
struct iommu_scope {
    enum iommu_scope_kind kind;
    uint16_t source; // SOURCE: bus << 8 | devfn; `source_mask`: function bits to be ignored (FM field)
    uint16_t source_mask;
    uint16_t domain;
    uint64_t first_page, pages; // PAGES: IOVA >> 12
};

#define IOMMU_READ  0x1u
#define IOMMU_WRITE 0x2u

struct guest_iommu_ops {
    /// The guest's memory, to write: NULL when it is not RAM; else `*contiguous` bytes may be used from
    /// there.
    void *(*memory)(void *ctx, uint64_t gpa, uint64_t *contiguous);
    /// The same, to read: NULL also for RAM that nobody has touched yet, which is zero. A guest can have
    /// thousands of its pages looked at, and should not get memory cleared for that.
    const void *(*peek)(void *ctx, uint64_t gpa, uint64_t *contiguous);
    /// A word of it, at gpa, was written. May be NULL.
    void (*written)(void *ctx, uint64_t gpa);
    /// Before the guest's next instruction whatever it described must be in force. Called in its write of the
    /// queue's tail, once for each invalidation that matters. May be NULL.
    void (*changed)(void *ctx, const struct iommu_scope *scope);
    /// A fault event or an invalidation completion event: a write of `data` to an interrupt address.
    void (*message)(void *ctx, uint64_t address, uint32_t data);
    void *ctx;
};

struct guest_iommu;

/// What the guest's tables allow a requester.
enum iommu_state {
    IOMMU_OFF,        // translation is off: addresses are guest-physical, and nothing is confined
    IOMMU_BLOCKED,    // no valid context entry
    IOMMU_TRANSLATED, // by second-level tables
};
enum iommu_state iommu_state(struct guest_iommu *u, uint16_t source, uint16_t *domain);
/// Calls `page` for every page the tables map for `source` in [first_page, first_page + pages), ascending;
/// larger pages come as their 4 KiB pieces. Stops when `page` returns false, and after a bounded number of
/// table entries; false then.
bool iommu_walk(struct guest_iommu *u, uint16_t source, uint64_t first_page, uint64_t pages,
                bool (*page)(void *ctx, uint64_t iova_page, uint64_t gpa, unsigned access), void *ctx);
/// A requester was stopped (VT-d 7.1.3: reason): recorded for the guest, which is told as it asked to be.
void iommu_fault(struct guest_iommu *u, uint16_t source, uint64_t iova, bool write, uint8_t reason);

/// Registers at GUEST_IOMMU_BASE in `io`. *ops is copied.
MUST_CHECK enum status guest_iommu_create(struct guest_iommu **u, struct io_space *io,
                                          const struct guest_iommu_ops *ops);
void guest_iommu_destroy(struct guest_iommu *u);
/// Power-on state: translation off. Tells nobody.
void guest_iommu_reset(struct guest_iommu *u);
