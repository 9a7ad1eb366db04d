// SPDX-License-Identifier: BSD-2-Clause
// Rounds: what the function wrote goes to its host (remote-fw/dma.h, docs/dma.md "Order").
//
//   DMA_TAKE_RINGS   changes of rings go into the ring buffer, round and round until nothing is new; buffer
//                    full: out with it, then on from there
//   DMA_TELL_WRITES  changes of data pages are sent as they are found: whatever a ring speaks of was written
//                    before the ring was taken. A page that turns out to be a ring: back to the rings
//   DMA_TELL_RINGS   the buffer is sent
//
// May stop after every record and every page, and goes on where it stopped, whatever the host did meanwhile.
#include "remote-fw/dma_internal.h"
#include <string.h>

#define RUNS_MAX   1472u // bytes of runs in one record here
#define ROOM_LEAST 96u   // a frame with less room is left to smaller records

uint64_t dma_round_begin(struct dma *d)
{
    d->phase = DMA_TAKE_RINGS;
    d->cursor[DMA_RINGS] = d->word[DMA_RINGS] = 0;
    d->clean = 0;
    d->looked = 0;
    d->last = d->held = d->promoted = d->sorted = false;
    return ++d->begun;
}

static size_t runs_room(size_t record)
{
    size_t room = record - sizeof(struct wire_dma_data);
    return room < RUNS_MAX ? room : RUNS_MAX;
}

/// True: sent, or nobody listens. Counts it.
static bool send(struct dma *d, uint32_t slot, uint32_t generation, bool more, const void *runs, size_t size)
{
    struct wire_dma_data head = {.slot = slot, .generation = generation, .flags = more ? WIRE_DMA_MORE : 0};
    if (d->ops->send(d->ctx, REC_DMA_DATA, &head, sizeof head, runs, size) == ERR_BUSY)
        return false;
    d->held = more;
    d->sent++;
    d->stats.records_out++;
    return true;
}

/// The page at the cursor into the ring buffer. False: the buffer is full.
static bool capture(struct dma *d, struct dma_slot *s)
{
    uint32_t *word = &d->word[DMA_RINGS];
    while (*word < DMA_PAGE_WORDS) {
        struct dma_ring_entry *e = (struct dma_ring_entry *)(d->ring + d->ring_used);
        size_t left = DMA_RING_BYTES - d->ring_used, room = runs_room(d->record_max);
        if (left < dma_entry_space((uint32_t)room))
            return false;
        uint8_t *runs = (uint8_t *)(e + 1);
        size_t size = dma_take(s->page, s->twin, word, runs, room);
        if (size == 0) // it changed back meanwhile
            break;
        *e = (struct dma_ring_entry){.slot = (uint32_t)(s - d->slot),
                                     .generation = s->generation,
                                     .size = (uint32_t)size,
                                     .bytes = (uint32_t)dma_settle(s->twin, runs, size)};
        d->ring_used += dma_entry_space(e->size);
        d->ring_live++;
        s->ring_end = d->ring_used;
    }
    return true;
}

/// A page that changed comes nearer to the front: what often changes is looked at first, and the circle that
/// must be clean begins early. It begins anew now, so that the order changes hides no page from it.
static void forward(struct dma *d, uint32_t at)
{
    uint32_t *list = d->list[DMA_RINGS], to = at / 2, other = list[to];
    list[to] = list[at];
    list[at] = other;
    d->slot[list[to]].index = to;
    d->slot[other].index = at;
}

/// In the order of their mappings (Shell's sort): rings are older than what they speak of.
static void sort(struct dma *d)
{
    uint32_t *list = d->list[DMA_RINGS], count = d->count[DMA_RINGS];
    for (uint32_t gap = count / 2; gap > 0; gap = gap == 2 ? 1 : gap * 5 / 11)
        for (uint32_t i = gap; i < count; i++) {
            uint32_t moving = list[i], k = i;
            for (; k >= gap && d->slot[list[k - gap]].age > d->slot[moving].age; k -= gap)
                list[k] = list[k - gap];
            list[k] = moving;
        }
    for (uint32_t i = 0; i < count; i++)
        d->slot[list[i]].index = i;
}

/// They do not come to rest. One more pass, oldest first: what an old ring says was written before it was
/// taken, and is taken after it.
static void begin_last_pass(struct dma *d)
{
    d->stats.restless++;
    sort(d);
    d->sorted = true;
    d->cursor[DMA_RINGS] = d->word[DMA_RINGS] = 0;
}

/// True: on to the next phase. The rings are a consistent whole when each of them was found unchanged since
/// the last change was taken: so round and round, until as many pages in a row as there are had nothing new.
static bool take_rings(struct dma *d, unsigned *slice)
{
    uint32_t *at = &d->cursor[DMA_RINGS], *word = &d->word[DMA_RINGS];
    while (d->clean < d->count[DMA_RINGS]) {
        if (!d->sorted && d->looked >= (uint64_t)DMA_PASSES * d->count[DMA_RINGS])
            begin_last_pass(d);
        if (*at >= d->count[DMA_RINGS]) {
            if (d->sorted)
                break;
            *at = *word = 0;
        }
        if (*slice == 0)
            return false;
        --*slice;
        struct dma_slot *s = &d->slot[d->list[DMA_RINGS][*at]];
        bool begun = *word;
        *word = dma_differs(s->page, s->twin, *word);
        if (*word < DMA_PAGE_WORDS) {
            d->clean = 0;
            if (!capture(d, s))
                return true;
            if (!d->sorted)
                forward(d, *at);
        } else if (!begun) {
            d->clean++;
        }
        ++*at;
        *word = 0;
        d->looked++;
        d->stats.pages++;
    }
    d->last = true;
    return true;
}

/// Little changed in a page that the function may read, too: from now on it is a ring.
static bool is_ring(const struct dma_slot *s, const uint8_t *runs, size_t size)
{
    size_t bytes = 0;
    if (!s->both || size > 2 * DMA_RING_CHANGE)
        return false;
    for (size_t at = 0; at < size;) {
        struct wire_dma_run run;
        __builtin_memcpy(&run, runs + at, sizeof run);
        bytes += run.size;
        at += sizeof run + run.size;
    }
    return bytes <= DMA_RING_CHANGE;
}

enum told { TOLD, TOLD_RING, TOLD_LATER };

/// What the page at the cursor has, record by record, or that it is a ring. TOLD_LATER: the link is full.
static enum told tell_page(struct dma *d, struct dma_slot *s, bool first)
{
    uint32_t *word = &d->word[DMA_WRITES];
    uint8_t runs[RUNS_MAX];
    for (; *word < DMA_PAGE_WORDS; first = false) {
        size_t record = d->ops->room ? d->ops->room(d->ctx) : d->record_max;
        if (record == 0)
            return TOLD_LATER;
        if (record < ROOM_LEAST || record > d->record_max)
            record = d->record_max;
        uint32_t next = *word;
        size_t size = dma_take(s->page, s->twin, &next, runs, runs_room(record));
        if (size == 0)
            break;
        if (first && next == DMA_PAGE_WORDS && is_ring(s, runs, size))
            return TOLD_RING;
        if (!send(d, (uint32_t)(s - d->slot), s->generation, s->both || d->ring_live || d->held, runs, size))
            return TOLD_LATER;
        s->sent = d->sent;
        d->stats.bytes_out += dma_settle(s->twin, runs, size);
        *word = next;
    }
    return TOLD;
}

/// True: on to the next phase, or back to the rings, of which there is a new one.
static bool tell_writes(struct dma *d, unsigned *slice)
{
    uint32_t *cursor = &d->cursor[DMA_WRITES], *word = &d->word[DMA_WRITES];
    while (*cursor > 0) {
        struct dma_slot *s = &d->slot[d->list[DMA_WRITES][*cursor - 1]];
        if (*slice == 0)
            return false;
        --*slice;
        d->stats.pages++;
        bool begun = *word;
        *word = dma_differs(s->page, s->twin, *word);
        enum told told = *word < DMA_PAGE_WORDS ? tell_page(d, s, !begun) : TOLD;
        if (told == TOLD_LATER)
            return false;
        if (told == TOLD_RING) { // another takes its place, one that was looked at
            dma_list_remove(d, s);
            dma_list_add(d, s, DMA_RINGS);
            d->promoted = true;
        } else {
            --*cursor;
        }
        *word = 0;
    }
    return true;
}

static bool tell_rings(struct dma *d)
{
    while (d->ring_told < d->ring_used) {
        struct dma_ring_entry *e = (struct dma_ring_entry *)(d->ring + d->ring_told);
        const uint8_t *runs = (const uint8_t *)(e + 1);
        if (e->slot != DMA_VOID) {
            if (!send(d, e->slot, e->generation, !d->last || d->ring_live > 1, runs, e->size))
                return false;
            struct dma_slot *s = &d->slot[e->slot];
            d->ring_live--;
            s->sent = d->sent;
            d->stats.bytes_out += e->bytes;
            if (s->ring_end == d->ring_told + dma_entry_space(e->size))
                s->ring_end = 0;
        }
        d->ring_told += dma_entry_space(e->size);
    }
    d->ring_told = d->ring_used = 0;
    return !d->last || !d->held || send(d, 0, 0, false, NULL, 0); // what should have been the end is void
}

bool dma_round_go(struct dma *d, bool *more)
{
    unsigned slice = DMA_SLICE;
    *more = false;
    while (d->phase != DMA_IDLE) {
        switch (d->phase) {
        case DMA_TAKE_RINGS:
            if (!take_rings(d, &slice)) {
                *more = true;
                return false;
            }
            d->phase = DMA_TELL_WRITES;
            d->cursor[DMA_WRITES] = d->count[DMA_WRITES];
            d->word[DMA_WRITES] = 0;
            break;
        case DMA_TELL_WRITES:
            if (!tell_writes(d, &slice)) {
                *more = slice == 0;
                return false;
            }
            d->phase = DMA_TELL_RINGS;
            if (d->promoted && d->last) { // data once more, after what may speak of it was taken
                d->phase = DMA_TAKE_RINGS;
                d->last = d->promoted = d->sorted = false;
                d->looked = 0;
            }
            break;
        case DMA_TELL_RINGS:
            if (!tell_rings(d))
                return false;
            d->phase = d->last ? DMA_IDLE : DMA_TAKE_RINGS;
            break;
        case DMA_IDLE:
            break;
        }
    }
    if (d->done != d->begun) {
        d->done = d->begun;
        d->stats.rounds++;
    }
    return true;
}
