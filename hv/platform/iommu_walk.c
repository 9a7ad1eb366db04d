// SPDX-License-Identifier: BSD-2-Clause
// The guest's tables (VT-d 9.1, 9.3, 9.8): root, context, and second-level tables of three levels. Every
// entry is read once and then judged; what is not right maps nothing. Invariant: a walk looks at no more than
// WALK_ENTRIES_MAX entries and pages, whatever the tables look like.
#include "hv/platform/iommu_unit.h"

#define WALK_ENTRIES_MAX (1u << 20)
#define ADDRESS_BITS     39u // as the DMAR table says (Host Address Width)
#define ADDRESS_TOO_HIGH (~0ull << ADDRESS_BITS)

#define PRESENT          1ull
#define ROOT_RESERVED    0xffeull
#define CONTEXT_FPD      (1ull << 1)
#define CONTEXT_TT       0xcull // 0: second-level
#define CONTEXT_RESERVED 0xff0ull
#define CONTEXT_AW       7ull // second quadword
#define AW_39            1ull
#define CONTEXT_HIGH_RSV 0xffffffffff000080ull
// Second-level entries
#define SL_READ     1ull
#define SL_WRITE    2ull
#define SL_LARGE    (1ull << 7)
#define SL_ADDRESS  0x000ffffffffff000ull
#define SL_RESERVED (0x4000000000000800ull | (ADDRESS_TOO_HIGH & SL_ADDRESS)) // TM and SNP: no DT, no SC

static enum fault_reason read_context(const struct guest_iommu *u, uint16_t source, struct iommu_context *c)
{
    const uint8_t *at = guest_bytes(u, u->root + (source >> 8) * 16u, 16);
    if (!at)
        return FAULT_ROOT_ADDRESS;
    uint64_t low = guest_load(at), high = guest_load(at + 8);
    if (!(low & PRESENT))
        return FAULT_ROOT_NOT_PRESENT;
    if (low & (ROOT_RESERVED | ADDRESS_TOO_HIGH) || high)
        return FAULT_ROOT_RESERVED;
    at = guest_bytes(u, (low & ~0xfffull) + (source & 0xff) * 16u, 16);
    if (!at)
        return FAULT_CONTEXT_ADDRESS;
    low = guest_load(at);
    high = guest_load(at + 8);
    c->no_faults = low & CONTEXT_FPD;
    if (!(low & PRESENT))
        return FAULT_CONTEXT_NOT_PRESENT;
    if (low & (CONTEXT_RESERVED | ADDRESS_TOO_HIGH) || high & CONTEXT_HIGH_RSV)
        return FAULT_CONTEXT_RESERVED;
    if (low & CONTEXT_TT || (high & CONTEXT_AW) != AW_39)
        return FAULT_CONTEXT_INVALID;
    c->tables = low & ~0xfffull;
    c->domain = (uint16_t)(high >> 8);
    return FAULT_NONE;
}

/// Good entries are cached until the guest says that it changed them; others are looked at anew.
static const struct iommu_context *find_context(struct guest_iommu *u, uint16_t source)
{
    struct iommu_context *c = &u->contexts[(source ^ source >> 3 ^ source >> 8) % CONTEXTS_CACHED];
    if (c->good && c->source == source)
        return c;
    *c = (struct iommu_context){.source = source};
    c->good = read_context(u, source, c) == FAULT_NONE;
    return c;
}

void iommu_contexts_forget(struct guest_iommu *u)
{
    for (unsigned i = 0; i < CONTEXTS_CACHED; i++)
        u->contexts[i].good = false;
}

enum iommu_state iommu_state(struct guest_iommu *u, uint16_t source, uint16_t *domain)
{
    if (!translating(u))
        return IOMMU_OFF;
    const struct iommu_context *c = find_context(u, source);
    if (!c->good)
        return IOMMU_BLOCKED;
    *domain = c->domain;
    return IOMMU_TRANSLATED;
}

bool iommu_fault_disabled(struct guest_iommu *u, uint16_t source)
{
    return find_context(u, source)->no_faults;
}

/// Pages that one entry of a level maps, as a shift: 0, 9, 18 for levels 1, 2, 3.
static unsigned span(unsigned level)
{
    return (level - 1) * 9;
}

static bool is_leaf(uint64_t entry, unsigned level)
{
    return level == 1 || entry & SL_LARGE;
}

/// Reserved bits of a present entry: address bits below a large page's size are.
static bool entry_good(uint64_t entry, unsigned level)
{
    uint64_t low = is_leaf(entry, level) ? ((1ull << span(level)) - 1) << 12 : 0;
    return !(entry & (SL_RESERVED | low));
}

struct walk {
    const struct guest_iommu *u;
    uint64_t page, end; // of the address space
    uint32_t budget;
    bool (*found)(void *ctx, uint64_t iova_page, uint64_t gpa, unsigned access);
    void *ctx;
};

/// All that a leaf maps of [w->page, w->end).
static bool give(struct walk *w, uint64_t entry, unsigned level, unsigned access)
{
    uint64_t inside = w->page & ((1ull << span(level)) - 1);
    uint64_t stop = w->page - inside + (1ull << span(level));
    uint64_t gpa = (entry & SL_ADDRESS) + (inside << 12);
    if (stop > w->end)
        stop = w->end;
    for (; w->page < stop; w->page++, gpa += IOMMU_PAGE) {
        if (w->budget-- == 0 || !w->found(w->ctx, w->page, gpa, access))
            return false;
    }
    return true;
}

/// The tables below one of them. Levels are three at most, so this ends; the budget bounds how long it takes.
static bool walk_table(struct walk *w, uint64_t table, unsigned level, unsigned access)
{
    const uint8_t *entries = guest_bytes(w->u, table, 4096);
    uint64_t table_end = (w->page | ((512ull << span(level)) - 1)) + 1;
    if (table_end > w->end)
        table_end = w->end;
    if (!entries) { // not RAM: nothing is mapped
        w->page = table_end;
        return true;
    }
    while (w->page < table_end) {
        uint64_t entry = guest_load(entries + (w->page >> span(level) & 511) * 8);
        unsigned here = access & (unsigned)(entry & (SL_READ | SL_WRITE));
        if (w->budget-- == 0)
            return false;
        if (!here || !entry_good(entry, level)) {
            w->page = (w->page | ((1ull << span(level)) - 1)) + 1;
        } else if (is_leaf(entry, level)) {
            if (!give(w, entry, level, here))
                return false;
        } else if (!walk_table(w, entry & SL_ADDRESS, level - 1, here)) {
            return false;
        }
    }
    return true;
}

bool iommu_walk(struct guest_iommu *u, uint16_t source, uint64_t first_page, uint64_t pages,
                bool (*page)(void *ctx, uint64_t iova_page, uint64_t gpa, unsigned access), void *ctx)
{
    if (!translating(u) || first_page >= IOMMU_PAGES)
        return true;
    const struct iommu_context *c = find_context(u, source);
    if (!c->good)
        return true;
    struct walk w = {.u = u, .page = first_page, .budget = WALK_ENTRIES_MAX, .found = page, .ctx = ctx};
    w.end = pages < IOMMU_PAGES - first_page ? first_page + pages : IOMMU_PAGES;
    return walk_table(&w, c->tables, 3, IOMMU_READ | IOMMU_WRITE);
}
