// SPDX-License-Identifier: BSD-2-Clause
// The slots of a function, and what its host does with them (remote-fw/dma.h). Every record is checked
// against the state it meets; what breaks a rule is counted and changes nothing.
#include "remote-fw/dma_internal.h"
#include "rt/log.h"
#include <string.h>

const char *dma_refusal_name(enum dma_refusal r)
{
    static const char *const names[DMA_REFUSALS] = {
        [DMA_NOT_STARTED] = "not started",
        [DMA_BAD_SLOT] = "no such slot",
        [DMA_SLOT_UNKNOWN] = "slot without content",
        [DMA_SLOT_SPOILED] = "slot is spoiled",
        [DMA_SLOT_MAPPED] = "slot is mapped",
        [DMA_IOVA_MAPPED] = "address is mapped",
        [DMA_BAD_SEEN] = "records taken that were never sent",
        [DMA_NO_MEMORY] = "no memory",
    };
    return (unsigned)r < DMA_REFUSALS ? names[r] : "?";
}

static void refuse(struct dma *d, enum dma_refusal why)
{
    d->stats.refused[why]++;
}

// --- where a slot is mapped ---

static uint32_t *bucket_of(const struct dma *d, uint64_t iova)
{
    return &d->buckets[(iova / WIRE_DMA_PAGE * 0x9e3779b97f4a7c15u) >> d->bucket_shift];
}

static struct dma_slot *slot_at(const struct dma *d, uint64_t iova)
{
    for (uint32_t i = *bucket_of(d, iova); i; i = d->slot[i - 1].next)
        if (d->slot[i - 1].iova == iova)
            return &d->slot[i - 1];
    return NULL;
}

void dma_list_add(struct dma *d, struct dma_slot *s, enum dma_list list)
{
    s->list = (uint8_t)list;
    s->index = d->count[list]++;
    d->list[list][s->index] = (uint32_t)(s - d->slot);
    if (list == DMA_RINGS) {
        d->clean = 0;
        d->sorted = false;
    }
}

/// A round that is looking through the list neither skips a page for it nor goes on in the wrong one. The
/// last entry takes the place of the one that leaves: of data pages what was not looked at stays below the
/// cursor; the circle of rings begins anew.
void dma_list_remove(struct dma *d, struct dma_slot *s)
{
    uint32_t last = --d->count[s->list], moved = d->list[s->list][last];
    d->list[s->list][s->index] = moved;
    d->slot[moved].index = s->index;
    if (s->list == DMA_RINGS) {
        d->clean = d->word[DMA_RINGS] = 0;
        d->sorted = false;
    } else if (s->list == DMA_WRITES) {
        uint32_t *cursor = &d->cursor[DMA_WRITES];
        if (s->index + 1 == *cursor || *cursor > last)
            d->word[DMA_WRITES] = 0;
        if (*cursor > last)
            *cursor = last;
    }
}

static void enter(struct dma *d, struct dma_slot *s)
{
    uint32_t *bucket = bucket_of(d, s->iova);
    s->next = *bucket;
    *bucket = (uint32_t)(s - d->slot) + 1;
    s->mapped = true;
    d->mapped++;
}

static void leave(struct dma *d, struct dma_slot *s)
{
    uint32_t number = (uint32_t)(s - d->slot), *at = bucket_of(d, s->iova);
    while (*at != number + 1)
        at = &d->slot[*at - 1].next;
    *at = s->next;
    s->mapped = false;
    d->mapped--;
}

// --- start and stop ---

static size_t rounded(size_t bytes)
{
    return (bytes + 7) & ~(size_t)7;
}

enum status dma_start(struct dma *d, const struct dma_ops *ops, void *ctx, uint32_t slots, size_t record_max)
{
    if (slots == 0 || slots > DMA_SLOTS_MOST || record_max < DMA_RECORD_LEAST || d->slots)
        return ERR_INVAL;
    unsigned bits = 1;
    while (1u << bits < slots)
        bits++;
    size_t slot_bytes = rounded(slots * sizeof *d->slot), bucket_bytes = rounded(sizeof(uint32_t) << bits),
           list_bytes = rounded(slots * sizeof(uint32_t));
    size_t bytes = slot_bytes + bucket_bytes + DMA_LISTS * list_bytes + DMA_RING_BYTES;
    uint8_t *at = ops->table_take(ctx, bytes);
    if (!at)
        return ERR_NOMEM;
    struct dma_stats stats = d->stats;
    uint64_t begun = d->begun;
    *d = (struct dma){.ops = ops,
                      .ctx = ctx,
                      .slots = slots,
                      .stats = stats,
                      .record_max = record_max,
                      .tables = at,
                      .table_bytes = bytes,
                      .slot = (struct dma_slot *)at,
                      .buckets = (uint32_t *)(at + slot_bytes),
                      .bucket_shift = 64 - bits,
                      .begun = begun,
                      .done = begun};
    at += slot_bytes + bucket_bytes;
    for (unsigned i = 0; i < DMA_LISTS; i++, at += list_bytes)
        d->list[i] = (uint32_t *)at;
    d->ring = at;
    return OK;
}

void dma_stop(struct dma *d)
{
    if (!d->slots)
        return;
    if (d->mapped)
        d->ops->unmap(d->ctx, 0, WIRE_DMA_IOVA_END / WIRE_DMA_PAGE);
    for (uint32_t i = 0; i < d->slots; i++) {
        if (d->slot[i].page)
            d->ops->page_give(d->ctx, d->slot[i].page);
        if (d->slot[i].twin)
            d->ops->page_give(d->ctx, d->slot[i].twin);
    }
    d->ops->table_give(d->ctx, d->tables, d->table_bytes);
    d->phase = DMA_IDLE;
    d->done = d->begun;
    d->slots = d->taken = d->mapped = d->untold = 0;
    d->ring_used = d->ring_told = d->ring_live = 0;
    d->held = false;
    memset(d->count, 0, sizeof d->count);
}

// --- MAP ---

static void map(struct dma *d, const struct wire_dma_map *m)
{
    if (m->slot >= d->slots) {
        refuse(d, DMA_BAD_SLOT);
        return;
    }
    struct dma_slot *s = &d->slot[m->slot];
    if (!s->known || s->mapped || slot_at(d, m->iova)) {
        refuse(d, s->spoiled  ? DMA_SLOT_SPOILED
                  : !s->known ? DMA_SLOT_UNKNOWN
                  : s->mapped ? DMA_SLOT_MAPPED
                              : DMA_IOVA_MAPPED);
        return;
    }
    if (m->access & WIRE_DMA_WRITE && !s->twin) {
        s->twin = d->ops->page_take(d->ctx);
        if (s->twin)
            memcpy(s->twin, s->page, WIRE_DMA_PAGE);
    }
    if ((m->access & WIRE_DMA_WRITE && !s->twin) || d->ops->map(d->ctx, m->iova, s->page, m->access) != OK) {
        refuse(d, DMA_NO_MEMORY);
        return;
    }
    s->iova = m->iova;
    s->generation = m->generation;
    s->both = m->access == (WIRE_DMA_READ | WIRE_DMA_WRITE);
    dma_list_add(d, s, m->access == WIRE_DMA_READ ? DMA_READS : DMA_WRITES);
    enter(d, s);
    s->age = d->stats.maps++;
}

// --- UNMAP ---

/// False: the link is full.
static bool tell_spoiled(struct dma *d, struct dma_slot *s)
{
    struct wire_dma_spoiled told = {.slot = (uint32_t)(s - d->slot), .generation = s->generation};
    return d->ops->send(d->ctx, REC_DMA_SPOILED, &told, sizeof told, NULL, 0) != ERR_BUSY;
}

static void spoil(struct dma *d, struct dma_slot *s)
{
    s->known = false;
    s->spoiled = true;
    d->stats.spoiled++;
    if (!tell_spoiled(d, s)) {
        s->untold = true;
        d->untold++;
        d->stats.spoiled_untold++;
    }
}

/// What was found and not sent yet will not be. True: there was something.
static bool drop_found(struct dma *d, struct dma_slot *s)
{
    if (!s->ring_end)
        return false;
    for (uint32_t at = d->ring_told; at < d->ring_used;) {
        struct dma_ring_entry *e = (struct dma_ring_entry *)(d->ring + at);
        if (e->slot == (uint32_t)(s - d->slot)) {
            e->slot = DMA_VOID;
            d->ring_live--;
        }
        at += dma_entry_space(e->size);
    }
    s->ring_end = 0;
    return true;
}

/// The function cannot reach it any more. `seen`: records that the host had taken.
static void unmap_slot(struct dma *d, struct dma_slot *s, uint64_t seen)
{
    dma_list_remove(d, s);
    leave(d, s);
    d->stats.unmaps++;
    if (s->list == DMA_READS)
        return;
    bool dropped = drop_found(d, s);
    if (dma_differs(s->page, s->twin, 0) < DMA_PAGE_WORDS) {
        memcpy(s->page, s->twin, WIRE_DMA_PAGE);
        d->stats.undone++;
    }
    if (dropped || s->sent > seen) // the twin has what the host will not take
        spoil(d, s);
}

static void unmap(struct dma *d, const struct wire_dma_unmap *u)
{
    uint64_t seen = 0, lag = (uint32_t)((uint32_t)d->sent - u->seen);
    if (lag > d->sent || lag > UINT32_MAX / 2)
        refuse(d, DMA_BAD_SEEN); // done all the same, believing nothing
    else
        seen = d->sent - lag;
    if (!d->mapped)
        return;
    d->ops->unmap(d->ctx, u->iova, u->pages);
    if (u->pages <= d->mapped) {
        for (uint32_t i = 0; i < u->pages; i++) {
            struct dma_slot *s = slot_at(d, u->iova + (uint64_t)i * WIRE_DMA_PAGE);
            if (s)
                unmap_slot(d, s, seen);
        }
        return;
    }
    for (unsigned list = 0; list < DMA_LISTS; list++)
        for (uint32_t i = d->count[list]; i-- > 0;) {
            struct dma_slot *s = &d->slot[d->list[list][i]];
            if (s->iova >= u->iova && (s->iova - u->iova) / WIRE_DMA_PAGE < u->pages)
                unmap_slot(d, s, seen);
        }
}

// --- DATA ---

static bool clear(struct dma *d, struct dma_slot *s)
{
    if (s->mapped) {
        refuse(d, DMA_SLOT_MAPPED);
        return false;
    }
    if (!s->page) {
        s->page = d->ops->page_take(d->ctx);
        if (!s->page) {
            refuse(d, DMA_NO_MEMORY);
            return false;
        }
        d->taken++;
    }
    memset(s->page, 0, WIRE_DMA_PAGE);
    if (s->twin)
        memset(s->twin, 0, WIRE_DMA_PAGE);
    if (s->untold)
        d->untold--;
    s->untold = s->spoiled = false;
    s->known = true;
    s->sent = 0;
    return true;
}

static void data(struct dma *d, const struct wire_dma_data *head, size_t size)
{
    if (head->slot >= d->slots) {
        refuse(d, DMA_BAD_SLOT);
        return;
    }
    struct dma_slot *s = &d->slot[head->slot];
    if (head->flags & WIRE_DMA_CLEAR) {
        if (!clear(d, s))
            return;
    } else if (!s->known) {
        refuse(d, s->spoiled ? DMA_SLOT_SPOILED : DMA_SLOT_UNKNOWN);
        return;
    }
    d->stats.records_in++;
    d->stats.bytes_in += dma_put(s->page, s->twin, (const uint8_t *)(head + 1), size - sizeof *head);
}

// --- all ---

void dma_input(struct dma *d, uint8_t type, const void *body, size_t size)
{
    if (!d->slots)
        refuse(d, DMA_NOT_STARTED);
    else if (type == REC_DMA_MAP)
        map(d, body);
    else if (type == REC_DMA_UNMAP)
        unmap(d, body);
    else if (type == REC_DMA_DATA)
        data(d, body, size);
}

bool dma_poll(struct dma *d)
{
    bool told = false;
    for (uint32_t n = d->slots; d->untold && n > 0; n--) {
        d->untold_cursor = d->untold_cursor ? d->untold_cursor - 1 : d->slots - 1;
        struct dma_slot *s = &d->slot[d->untold_cursor];
        if (!s->untold)
            continue;
        if (!tell_spoiled(d, s)) {
            d->untold_cursor++;
            break;
        }
        s->untold = false;
        d->untold--;
        told = true;
    }
    return told;
}
