// SPDX-License-Identifier: BSD-2-Clause
// Which pages a function sees (hv/bus/mirror.h): what the guest's IOMMU tables say (or `dma = mirror`: all of
// its memory) against what the remote was told. Pages that are gone or different are unmapped first, then new
// ones get their content and are mapped. On the guest's CPU only. Invariant: a slot whose mapping is over
// takes no more data at once, and is used again only behind its UNMAP.
#include "hv/bus/remote.h"
#include "hv/platform/iommu.h"
#include "rt/log.h"

_Static_assert(IOMMU_READ == WIRE_DMA_READ && IOMMU_WRITE == WIRE_DMA_WRITE, "used as they are");
_Static_assert(IOMMU_PAGE == WIRE_DMA_PAGE && IOMMU_PAGES == WIRE_DMA_IOVA_END / WIRE_DMA_PAGE, "likewise");

#define RW (WIRE_DMA_READ | WIRE_DMA_WRITE)

static struct guest_dma *dma_of(const struct mirror *m)
{
    return &m->fn->guest->dma;
}

// --- refusing ---

static void refuse(struct mirror *m, uint64_t iova, bool *told, const char *why)
{
    bus_counts.dma_refused++;
    if (*told)
        return;
    *told = true;
    log_warn("bus",
             REMOTE_FN_FORMAT
             ": guest \"%s\" maps more than there is room for, or what is not its memory: %s; "
             "the function does not see its address 0x%llx",
             REMOTE_FN_ARGS(m->fn), m->fn->guest->name, why, (unsigned long long)iova);
}

static void no_slot(struct mirror *m, uint64_t iova)
{
    m->starved++;
    refuse(m, iova, &m->told_no_slots, "the remote has no more pages to lend");
}

static void no_twin(struct mirror *m, uint64_t iova)
{
    m->starved++;
    refuse(m, iova, &m->told_no_twins, "no memory is left to mirror it");
}

// --- unmapping ---

/// UNMAP records that have grown together so far.
struct unmaps {
    struct mirror *m;
    uint64_t until;
    uint64_t first, end; // iova; equal: none
    bool over;
};

static void flush_unmaps(struct unmaps *u)
{
    if (u->first == u->end || u->over)
        return;
    const struct wire_dma_unmap record = {.iova = u->first,
                                          .pages = (uint32_t)((u->end - u->first) / WIRE_DMA_PAGE),
                                          .seen = mirror_seen(u->m)};
    u->first = u->end = 0;
    u->over = !mirror_send(u->m, REC_DMA_UNMAP, &record, sizeof(record), NULL, 0, u->until);
}

static void unmap(struct unmaps *u, struct slot *s)
{
    uint64_t iova = s->iova;
    mirror_detach(s);
    bus_counts.dma_unmaps++;
    if (u->first != u->end && iova == u->end) {
        u->end += WIRE_DMA_PAGE;
    } else if (u->first != u->end && iova + WIRE_DMA_PAGE == u->first) {
        u->first = iova;
    } else {
        flush_unmaps(u);
        u->first = iova;
        u->end = iova + WIRE_DMA_PAGE;
    }
}

void mirror_revoke(struct slot *s, uint64_t until)
{
    struct mirror *m = s->owner;
    struct unmaps u = {.m = m, .until = until};
    uint64_t iova = s->iova;
    unmap(&u, s);
    flush_unmaps(&u);
    if (!u.over)
        no_twin(m, iova);
}

// --- mapping ---

static bool send_map(struct slot *s, uint64_t until)
{
    struct mirror *m = s->owner;
    s->generation = ++m->generation;
    const struct wire_dma_map record = {
        .iova = s->iova, .slot = s->index, .generation = s->generation, .access = s->access};
    return mirror_send(m, REC_DMA_MAP, &record, sizeof(record), NULL, 0, until);
}

/// Is the slot's twin still what is in the page? Then there is nothing to compare.
static bool clean(struct slot *s)
{
    struct guest_dma *dma = dma_of(s->owner);
    const struct bus_memory *memory = &dma->memory;
    if (s->watched) {
        if (!memory->dirty(memory->ctx, s->gpa))
            return s->twin && !s->dirty;
        memory->settle(memory->ctx);
        mirror_touched(dma, s->gpa, NULL);
    }
    return false;
}

/// False: the session is over.
static bool map_page(struct mirror *m, uint64_t iova, uint64_t gpa, uint8_t access, uint64_t until)
{
    struct guest_dma *dma = dma_of(m);
    const struct bus_memory *memory = &dma->memory;
    uint8_t *page = memory->page(memory->ctx, gpa);
    if (!page || (iova >= WIRE_DMA_MSI_BEGIN && iova < WIRE_DMA_MSI_END)) {
        refuse(m, iova, &m->told_outside,
               page ? "interrupts are there" : "it points outside the guest's memory");
        return true;
    }
    struct slot *s = mirror_take(m, gpa, page);
    if (!s) {
        no_slot(m, iova);
        return true;
    }
    bool known = s->twin != NULL;
    bool same = known && clean(s);
    if ((access & WIRE_DMA_READ) && !s->watched) {
        s->watched = memory->watch(memory->ctx, gpa);
        s->note = s->watched && memory->note ? memory->note(memory->ctx, gpa, &dma->note_mask) : NULL;
        if (s->watched)
            (void)clean(s);
    }
    mirror_attach(s, iova, access);
    // `dma = mirror`: most pages are zeroes, and there is room for the others.
    if (access == RW && dma->iommu && !mirror_twin(s)) {
        mirror_detach(s);
        no_twin(m, iova);
        return true;
    }
    s->generation = 0;
    bus_counts.dma_maps++;
    switch (same ? MIRROR_SENT : mirror_fill(s, !known, until)) {
    case MIRROR_SENT:
        return send_map(s, until);
    case MIRROR_NO_TWIN:
        s->twin = NULL; // part of its content was sent, perhaps
        mirror_detach(s);
        no_twin(m, iova);
        return true;
    default:
        return false;
    }
}

// --- the guest's tables ---

#define FEW         64u // pages that are walked once and kept
#define STARVED_MAX 64u // refused for want of room in one walk: where there is none, there will be none

struct walk {
    struct mirror *m;
    uint64_t until;
    uint32_t session;
    bool missing, over;
    unsigned refused; // a guest that maps nonsense is not followed for ever
    uint32_t starved; // m->starved when the walk began
    unsigned count;
    struct found *found; // FEW
};
struct found {
    uint64_t page, gpa;
    unsigned access;
};

/// Marks what is mapped as it should be.
static bool mark(void *ctx, uint64_t page, uint64_t gpa, unsigned access)
{
    struct walk *w = ctx;
    struct slot *s = mirror_mapped_at(w->m, page * WIRE_DMA_PAGE);
    if (s && s->gpa == gpa && s->access == access)
        s->round = w->m->round;
    else
        w->missing = true;
    return true;
}

/// Maps what is not.
static bool add(void *ctx, uint64_t page, uint64_t gpa, unsigned access)
{
    struct walk *w = ctx;
    uint64_t refused = bus_counts.dma_refused;
    if (mirror_mapped_at(w->m, page * WIRE_DMA_PAGE))
        return true;
    w->until += MIRROR_PAGE_NS;
    w->over =
        !map_page(w->m, page * WIRE_DMA_PAGE, gpa, (uint8_t)access, w->until) || w->m->session != w->session;
    w->refused += bus_counts.dma_refused != refused;
    bool hopeless = dma_of(w->m)->iommu && w->m->starved - w->starved >= STARVED_MAX;
    return !w->over && w->refused < MIRROR_SLOTS_MAX && !hopeless;
}

static bool keep(void *ctx, uint64_t page, uint64_t gpa, unsigned access)
{
    struct walk *w = ctx;
    if (w->count == FEW)
        return false;
    w->found[w->count++] = (struct found){page, gpa, access};
    return mark(ctx, page, gpa, access);
}

/// Slots in [first, first + pages) that the walk did not mark.
static bool unmap_rest(struct walk *w, uint64_t first, uint64_t pages)
{
    struct mirror *m = w->m;
    struct unmaps u = {.m = m, .until = w->until};
    if (pages <= m->mapped) {
        for (uint64_t page = first; page < first + pages && !u.over; page++) {
            struct slot *s = mirror_mapped_at(m, page * WIRE_DMA_PAGE);
            if (s && s->round != m->round)
                unmap(&u, s);
        }
    } else {
        struct slot_list *const lists[] = {&m->readable, &m->writeonly};
        for (unsigned i = 0; i < 2; i++) {
            struct slot *next, *s = slot_first(lists[i]);
            for (; s && !u.over; s = next) {
                next = slot_next(lists[i], s);
                if (s->round != m->round && s->iova / WIRE_DMA_PAGE - first < pages)
                    unmap(&u, s);
            }
        }
    }
    flush_unmaps(&u);
    return !u.over;
}

/// The pages that a scope means for this function. False: none.
static bool range_of(struct mirror *m, const struct iommu_scope *scope, enum iommu_state state,
                     uint16_t source, uint16_t domain, uint64_t *first, uint64_t *pages)
{
    *first = 0;
    *pages = IOMMU_PAGES;
    uint16_t before = m->domain;
    m->domain = domain;
    if (!scope)
        return true;
    switch (scope->kind) {
    case IOMMU_SCOPE_ALL:
        return true;
    case IOMMU_SCOPE_SOURCE:
        return ((scope->source ^ source) & ~scope->source_mask) == 0;
    case IOMMU_SCOPE_DOMAIN:
        return state != IOMMU_TRANSLATED || scope->domain == domain || scope->domain == before;
    case IOMMU_SCOPE_PAGES:
        if (state == IOMMU_TRANSLATED && scope->domain != domain)
            return false;
        if (scope->first_page >= IOMMU_PAGES)
            return false;
        *first = scope->first_page;
        *pages = scope->pages < IOMMU_PAGES - *first ? scope->pages : IOMMU_PAGES - *first;
        return *pages != 0;
    }
    return false;
}

static void by_tables(struct mirror *m, const struct iommu_scope *scope, uint64_t until)
{
    struct guest_iommu *u = dma_of(m)->iommu;
    uint16_t source = remote_fn_source(m->fn), domain = 0;
    enum iommu_state state = iommu_state(u, source, &domain);
    uint64_t first, pages;
    if (!range_of(m, scope, state, source, domain, &first, &pages))
        return;
    struct found found[FEW];
    struct walk w = {.m = m, .until = until, .session = m->session, .starved = m->starved, .found = found};
    m->round++;
    bool few = pages <= FEW, translated = state == IOMMU_TRANSLATED;
    if (translated)
        (void)iommu_walk(u, source, first, pages, few ? keep : mark, &w);
    if (m->mapped && !unmap_rest(&w, first, pages))
        return;
    if (!w.missing)
        return;
    if (!few)
        (void)iommu_walk(u, source, first, pages, add, &w);
    for (unsigned i = 0; i < w.count; i++) {
        if (!add(&w, w.found[i].page, w.found[i].gpa, w.found[i].access))
            break;
    }
}

/// `dma = mirror`.
static void everything(struct mirror *m, uint64_t until)
{
    const struct bus_memory *memory = &dma_of(m)->memory;
    uint64_t gpa, size;
    struct walk w = {.m = m, .until = until, .session = m->session, .starved = m->starved};
    for (unsigned i = 0; memory->range(memory->ctx, i, &gpa, &size); i++) {
        for (uint64_t at = 0; at + WIRE_DMA_PAGE <= size; at += WIRE_DMA_PAGE) {
            if (!add(&w, (gpa + at) / WIRE_DMA_PAGE, gpa + at, RW))
                return;
        }
    }
}

void mirror_reconcile(struct mirror *m, const struct iommu_scope *scope, uint64_t until)
{
    mirror_settle(m);
    if (dma_of(m)->iommu)
        by_tables(m, scope, until);
    else if (!scope)
        everything(m, until);
}

// --- spoiled slots ---

/// Away from the function, all of its content, and there again.
static bool mend(struct slot *s, uint64_t until)
{
    struct mirror *m = s->owner;
    const struct wire_dma_unmap record = {.iova = s->iova, .pages = 1, .seen = mirror_seen(m)};
    s->spoiled = false;
    s->generation = 0;
    if (!mirror_send(m, REC_DMA_UNMAP, &record, sizeof(record), NULL, 0, until))
        return false;
    switch (mirror_fill(s, true, until)) {
    case MIRROR_SENT:
        return send_map(s, until);
    case MIRROR_NO_TWIN:
        s->twin = NULL;
        mirror_detach(s);
        no_twin(m, record.iova);
        return true;
    default:
        return false;
    }
}

void mirror_mend(struct mirror *m, uint64_t until)
{
    m->spoiled = false;
    mirror_settle(m);
    struct slot_list *const lists[] = {&m->readable, &m->writeonly};
    for (unsigned i = 0; i < 2; i++) {
        struct slot *next, *s = slot_first(lists[i]);
        for (; s; s = next) {
            next = slot_next(lists[i], s);
            if (s->spoiled && !mend(s, until))
                return;
        }
    }
}
