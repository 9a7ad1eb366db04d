// SPDX-License-Identifier: BSD-2-Clause
// Invalidation: by the queue (VT-d 6.5.2) and by registers (6.5.1). What a batch of descriptors invalidates
// is told once, at its end, and only then are its wait descriptors carried out: another vCPU may be looking
// for their status. Invariant: one write of the tail takes at most as many descriptors as the queue holds and
// tells at most SCOPES_MAX scopes.
#include "hv/platform/iommu_unit.h"

// Descriptors, first quadword
#define DESC_TYPE(d) ((d)&0xf)
enum { DESC_CONTEXT = 1, DESC_IOTLB = 2, DESC_DEVICE_TLB = 3, DESC_INTERRUPT_ENTRY = 4, DESC_WAIT = 5 };
#define CONTEXT_RESERVED ~0x0003ffffffff003full // FM, SID, DID, G, type
#define IOTLB_RESERVED   ~0x00000000ffff00ffull // DID, DR, DW, G, type
#define IOTLB_RESERVED_2 0x0000000000000f80ull  // second quadword: all but address, IH, AM
#define WAIT_RESERVED    ~0xffffffff0000007full // data, FN, SW, IF, type
#define WAIT_RESERVED_2  0x3ull
#define WAIT_IF          (1ull << 4)
#define WAIT_SW          (1ull << 5)
#define IOTLB_AM(addr)   ((unsigned)((addr)&0x3f))

enum granularity { GRANULARITY_GLOBAL = 1, GRANULARITY_DOMAIN = 2, GRANULARITY_SELECTIVE = 3 };

// --- scopes ---

/// PAGES behind, before or inside the last one told become one with it.
static bool joined(struct iommu_scope *last, const struct iommu_scope *s)
{
    if (last->kind == IOMMU_SCOPE_ALL)
        return true;
    if (last->kind != s->kind || s->kind == IOMMU_SCOPE_SOURCE)
        return false;
    if (last->domain != s->domain)
        return false;
    if (s->kind == IOMMU_SCOPE_DOMAIN)
        return true;
    uint64_t last_end = last->first_page + last->pages, end = s->first_page + s->pages;
    if (s->first_page > last_end || end < last->first_page)
        return false;
    last->first_page = s->first_page < last->first_page ? s->first_page : last->first_page;
    last->pages = (end > last_end ? end : last_end) - last->first_page;
    return true;
}

void iommu_scope_add(struct guest_iommu *u, const struct iommu_scope *scope)
{
    if (!translating(u))
        return;
    u->scope_pages += scope->kind == IOMMU_SCOPE_PAGES ? scope->pages : 0;
    bool many = u->scope_pages > SCOPE_PAGES_MAX;
    if (!many && u->scope_count && joined(&u->scopes[u->scope_count - 1], scope))
        return;
    if (scope->kind == IOMMU_SCOPE_ALL || many || u->scope_count == SCOPES_MAX) {
        u->scopes[0] = (struct iommu_scope){.kind = IOMMU_SCOPE_ALL};
        u->scope_count = 1;
        return;
    }
    u->scopes[u->scope_count++] = *scope;
}

void iommu_scopes_tell(struct guest_iommu *u)
{
    for (unsigned i = 0; i < u->scope_count && u->ops.changed; i++)
        u->ops.changed(u->ops.ctx, &u->scopes[i]);
    u->scope_count = 0;
    u->scope_pages = 0;
}

// --- what is invalidated; false: no such granularity ---

static bool invalidate_context(struct guest_iommu *u, unsigned granularity, uint16_t domain, uint16_t source,
                               unsigned function_mask)
{
    static const uint16_t masks[4] = {0, 4, 6, 7}; // FM: function bits that are not compared
    struct iommu_scope s = {.kind = IOMMU_SCOPE_ALL};
    if (granularity == GRANULARITY_DOMAIN) {
        s.kind = IOMMU_SCOPE_DOMAIN;
        s.domain = domain;
    } else if (granularity == GRANULARITY_SELECTIVE) {
        s.kind = IOMMU_SCOPE_SOURCE;
        s.source = source;
        s.source_mask = masks[function_mask & 3];
    } else if (granularity != GRANULARITY_GLOBAL) {
        return false;
    }
    iommu_contexts_forget(u);
    iommu_scope_add(u, &s);
    return true;
}

static bool invalidate_iotlb(struct guest_iommu *u, unsigned granularity, uint16_t domain, uint64_t address)
{
    struct iommu_scope s = {.kind = IOMMU_SCOPE_ALL};
    if (granularity == GRANULARITY_DOMAIN) {
        s.kind = IOMMU_SCOPE_DOMAIN;
        s.domain = domain;
    } else if (granularity == GRANULARITY_SELECTIVE) {
        unsigned am = IOTLB_AM(address);
        if (am > IOMMU_MAMV)
            return false;
        s.kind = IOMMU_SCOPE_PAGES;
        s.domain = domain;
        s.pages = 1ull << am;
        s.first_page = address >> 12 & ~(s.pages - 1);
        if (s.first_page >= IOMMU_PAGES)
            return true; // nothing can be mapped there
    } else if (granularity != GRANULARITY_GLOBAL) {
        return false;
    }
    iommu_scope_add(u, &s);
    return true;
}

// --- the queue ---

/// Where a wait descriptor's status goes; NULL: not memory.
static uint32_t *status_at(struct guest_iommu *u, uint64_t address)
{
    uint64_t contiguous = 0;
    uint32_t *at = u->ops.memory(u->ops.ctx, address, &contiguous);
    return at && contiguous >= sizeof *at ? at : NULL;
}

static bool wait_good(struct guest_iommu *u, uint64_t low, uint64_t high)
{
    return !(low & WAIT_RESERVED) && !(high & WAIT_RESERVED_2) && (!(low & WAIT_SW) || status_at(u, high));
}

static void wait_done(struct guest_iommu *u, uint64_t low, uint64_t high)
{
    if (!wait_good(u, low, high)) // changed since it was taken: whoever did that waits in vain
        return;
    if (low & WAIT_SW) {
        __atomic_store_n(status_at(u, high), (uint32_t)(low >> 32), __ATOMIC_RELEASE);
        if (u->ops.written)
            u->ops.written(u->ops.ctx, high);
    }
    if (low & WAIT_IF)
        iommu_completed(u);
}

/// False: the descriptor is wrong.
static bool take(struct guest_iommu *u, uint64_t low, uint64_t high)
{
    unsigned granularity = low >> 4 & 3;
    switch (DESC_TYPE(low)) {
    case DESC_CONTEXT:
        return !(low & CONTEXT_RESERVED) && !high &&
               invalidate_context(u, granularity, (uint16_t)(low >> 16), (uint16_t)(low >> 32),
                                  (unsigned)(low >> 48));
    case DESC_IOTLB:
        return !(low & IOTLB_RESERVED) && !(high & IOTLB_RESERVED_2) &&
               invalidate_iotlb(u, granularity, (uint16_t)(low >> 16), high);
    case DESC_DEVICE_TLB:      // no device has one
    case DESC_INTERRUPT_ENTRY: // no interrupt is remapped
        return true;
    case DESC_WAIT:
        return wait_good(u, low, high);
    default:
        return false;
    }
}

/// Where the queue is being read.
struct reader {
    uint64_t base;
    uint32_t size, head;
    const uint8_t *from;
    uint64_t left; // bytes at `from`
};

/// The descriptor at the head. False: it is not in memory.
static bool next(struct guest_iommu *u, struct reader *r, uint64_t *low, uint64_t *high)
{
    if (r->left < 16) {
        r->left = 0;
        r->from = u->ops.peek(u->ops.ctx, r->base + r->head, &r->left);
        if (!r->from || r->left < 16)
            return false;
    }
    *low = guest_load(r->from);
    *high = guest_load(r->from + 8);
    r->from += 16;
    r->left -= 16;
    r->head += 16;
    if (r->head == r->size)
        r->head = 0, r->left = 0;
    return true;
}

void iommu_queue_run(struct guest_iommu *u)
{
    if (!(*reg32(u, REG_GSTS) & GCMD_QIE) || *reg32(u, REG_FSTS) & FSTS_IQE)
        return;
    uint32_t size = 4096u << (reg64(u, REG_IQA) & 7), tail = *reg32(u, REG_IQT);
    uint32_t *head = reg32(u, REG_IQH);
    struct reader r = {.base = reg64(u, REG_IQA) & ~0xfffull, .size = size, .head = *head}, taken = r;
    bool good = tail < size && *head < size; // the head: of a larger queue that was here before
    bool waits = false;
    uint64_t low, high;
    while (good && *head != tail) {
        good = next(u, &r, &low, &high) && take(u, low, high);
        if (!good)
            break; // the head stays at the wrong one
        waits |= DESC_TYPE(low) == DESC_WAIT;
        *head = r.head;
    }
    iommu_scopes_tell(u);
    while (waits && taken.head != *head && next(u, &taken, &low, &high)) {
        if (DESC_TYPE(low) == DESC_WAIT)
            wait_done(u, low, high);
    }
    if (!good)
        iommu_fault_status(u, FSTS_IQE);
}

// --- by registers ---

void iommu_ccmd_written(struct guest_iommu *u) // 11.4.7.1
{
    uint32_t *high = reg32(u, REG_CCMD + 4), low = *reg32(u, REG_CCMD);
    if (!(*high >> 31))
        return;
    unsigned granularity = *high >> 29 & 3;
    bool done = invalidate_context(u, granularity, (uint16_t)low, (uint16_t)(low >> 16), *high);
    iommu_scopes_tell(u);
    *high = (*high & 0x60000003u) | (done ? granularity << 27 : 0); // ICC done, CAIG
}

void iommu_iotlb_written(struct guest_iommu *u) // 11.4.8.1
{
    uint32_t *high = reg32(u, REG_IOTLB + 4);
    if (!(*high >> 31))
        return;
    unsigned granularity = *high >> 28 & 3;
    bool done = invalidate_iotlb(u, granularity, (uint16_t)*high, reg64(u, REG_IVA));
    iommu_scopes_tell(u);
    *high = (*high & 0x3003ffffu) | (done ? granularity << 25 : 0); // IVT done, IAIG
}
