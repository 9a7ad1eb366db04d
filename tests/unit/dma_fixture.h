// SPDX-License-Identifier: BSD-2-Clause
// A machine for the DMA engine (remote-fw/dma.h): memory, an IOMMU, a function that reads and writes through
// it, and a host that keeps what it was told. For unit tests and the fuzzer; whatever the engine must never
// do ends the test.
#pragma once
#include "remote-fw/dma.h"
#include <stdlib.h>
#include <string.h>

#ifndef FX_SLOTS // who includes this may say how many it needs
#define FX_SLOTS 2048u
#define FX_HELD  8192u
#endif
#define FX_RECORD 1440u // bytes behind a record's header in a frame of 1,472

struct fx_mapping {
    uint64_t iova; // ~0: none
    uint8_t *page;
    unsigned access;
};

struct fx {
    struct dma dma;
    struct fx_mapping iommu[FX_SLOTS];
    unsigned mapped;
    unsigned pages, tables;
    bool no_pages, no_tables, no_map;
    unsigned room; // records that the link takes
    bool down;     // link
    bool in_send;
    void (*on_send)(struct fx *); // the function writes while the engine is in the middle of something
    // what the host has
    uint8_t *memory[FX_SLOTS];     // as its guest sees it
    uint32_t generation[FX_SLOTS]; // of the mapping, 0: none
    bool ring[FX_SLOTS];
    bool spoiled[FX_SLOTS];
    uint32_t seen; // DMA_DATA records
    struct {
        uint32_t slot, generation;
        size_t size;
        uint8_t runs[FX_RECORD];
    } held[FX_HELD];
    unsigned held_count, data_records, empty_records, told_spoiled;
    uint64_t bytes;
    void (*on_shown)(struct fx *); // something became visible to the guest
};

static inline void fx_require(bool holds)
{
    if (!holds)
        abort();
}

static void *fx_table_take(void *ctx, size_t bytes)
{
    struct fx *x = ctx;
    if (x->no_tables)
        return NULL;
    x->tables++;
    return calloc(1, bytes);
}

static void fx_table_give(void *ctx, void *table, size_t bytes)
{
    ((struct fx *)ctx)->tables--;
    memset(table, 0xee, bytes); // all of it, no more
    free(table);
}

static void *fx_page_take(void *ctx)
{
    struct fx *x = ctx;
    void *page = x->no_pages ? NULL : aligned_alloc(WIRE_DMA_PAGE, WIRE_DMA_PAGE);
    if (page) {
        memset(page, 0xdb, WIRE_DMA_PAGE); // somebody else's secret
        x->pages++;
    }
    return page;
}

static void fx_page_give(void *ctx, void *page)
{
    struct fx *x = ctx;
    for (unsigned i = 0; i < FX_SLOTS; i++)
        fx_require(x->iommu[i].page != page); // the function would still see it
    x->pages--;
    free(page);
}

static struct fx_mapping *fx_find(struct fx *x, uint64_t iova)
{
    for (unsigned i = 0; i < FX_SLOTS; i++)
        if (x->iommu[i].page && x->iommu[i].iova == iova)
            return &x->iommu[i];
    return NULL;
}

static enum status fx_map(void *ctx, uint64_t iova, void *page, unsigned access)
{
    struct fx *x = ctx;
    fx_require(iova % WIRE_DMA_PAGE == 0 && access >= 1 && access <= 3 && !fx_find(x, iova));
    if (x->no_map)
        return ERR_NOMEM;
    for (unsigned i = 0; i < FX_SLOTS; i++)
        fx_require(x->iommu[i].page != page);
    for (unsigned i = 0; i < FX_SLOTS; i++)
        if (!x->iommu[i].page) {
            x->iommu[i] = (struct fx_mapping){iova, page, access};
            x->mapped++;
            return OK;
        }
    return ERR_NOMEM;
}

static void fx_unmap(void *ctx, uint64_t iova, uint64_t pages)
{
    struct fx *x = ctx;
    for (unsigned i = 0; i < FX_SLOTS; i++)
        if (x->iommu[i].page && x->iommu[i].iova >= iova &&
            (x->iommu[i].iova - iova) / WIRE_DMA_PAGE < pages) {
            x->iommu[i].page = NULL;
            x->mapped--;
        }
}

static void fx_apply(struct fx *x, uint32_t slot, uint32_t generation, const uint8_t *runs, size_t size)
{
    if (!generation || x->generation[slot] != generation)
        return; // of an earlier mapping
    for (const uint8_t *at = runs, *end = runs + size; at < end;) {
        struct wire_dma_run run;
        memcpy(&run, at, sizeof run);
        for (unsigned i = 0; i < run.size; i++) { // never more than what changed
            x->memory[slot][run.offset + i] = at[sizeof run + i];
        }
        x->bytes += run.size;
        at += sizeof run + run.size;
    }
}

static void fx_show(struct fx *x)
{
    for (unsigned i = 0; i < x->held_count; i++)
        fx_apply(x, x->held[i].slot, x->held[i].generation, x->held[i].runs, x->held[i].size);
    x->held_count = 0;
    if (x->on_shown)
        x->on_shown(x);
}

/// The host: data of write-only pages at once, rings when their round is whole.
static void fx_host_data(struct fx *x, const struct wire_dma_data *d, size_t size)
{
    size -= sizeof *d;
    x->seen++;
    x->data_records++;
    x->empty_records += size == 0;
    if (size && x->ring[d->slot]) {
        fx_require(x->held_count < FX_HELD);
        x->held[x->held_count].slot = d->slot;
        x->held[x->held_count].generation = d->generation;
        x->held[x->held_count].size = size;
        memcpy(x->held[x->held_count++].runs, d + 1, size);
    } else if (size) {
        fx_apply(x, d->slot, d->generation, (const uint8_t *)(d + 1), size);
    }
    if (!(d->flags & WIRE_DMA_MORE))
        fx_show(x);
}

static enum status fx_send(void *ctx, uint8_t type, const void *body, size_t size, const void *data,
                           size_t data_size)
{
    struct fx *x = ctx;
    fx_require(!x->in_send);
    if (x->down)
        return ERR_LINK_DOWN;
    if (!x->room)
        return ERR_BUSY;
    x->room--;
    fx_require(size + data_size <= FX_RECORD);
    struct wire_record *rec = malloc(sizeof *rec + size + data_size); // exactly: ASan sees a byte too far
    *rec = (struct wire_record){
        .type = type, .function = 1, .length = (uint16_t)(sizeof *rec + size + data_size)};
    memcpy(rec + 1, body, size);
    if (data_size)
        memcpy((uint8_t *)(rec + 1) + size, data, data_size);
    fx_require(wire_check_record(rec, WIRE_TO_HOST) == WIRE_FINE);
    if (type == REC_DMA_DATA)
        fx_host_data(x, (const struct wire_dma_data *)(rec + 1), size + data_size);
    if (type == REC_DMA_SPOILED) {
        x->told_spoiled++;
        x->spoiled[((const struct wire_dma_spoiled *)(rec + 1))->slot] = true;
    }
    free(rec);
    x->in_send = true;
    if (x->on_send)
        x->on_send(x);
    x->in_send = false;
    return OK;
}

static const struct dma_ops fx_ops = {
    .table_take = fx_table_take,
    .table_give = fx_table_give,
    .page_take = fx_page_take,
    .page_give = fx_page_give,
    .map = fx_map,
    .unmap = fx_unmap,
    .send = fx_send,
};

static inline struct fx *fx_new(uint32_t slots)
{
    struct fx *x = calloc(1, sizeof *x);
    x->room = ~0u;
    fx_require(dma_start(&x->dma, &fx_ops, x, slots, FX_RECORD) == OK);
    for (uint32_t i = 0; i < slots && i < FX_SLOTS; i++)
        x->memory[i] = calloc(1, WIRE_DMA_PAGE);
    return x;
}

static inline void fx_free(struct fx *x)
{
    dma_stop(&x->dma);
    fx_require(x->pages == 0 && x->tables == 0 && x->mapped == 0);
    for (unsigned i = 0; i < FX_SLOTS; i++)
        free(x->memory[i]);
    free(x);
}

// --- the host's records ---

static inline void fx_input(struct fx *x, uint8_t type, const void *body, size_t size)
{
    struct wire_record *rec = malloc(sizeof *rec + size);
    *rec = (struct wire_record){.type = type, .function = 1, .length = (uint16_t)(sizeof *rec + size)};
    memcpy(rec + 1, body, size);
    fx_require(wire_check_record(rec, WIRE_TO_REMOTE) == WIRE_FINE);
    dma_input(&x->dma, type, rec + 1, size);
    free(rec);
}

/// The whole page as the guest has it.
static inline void fx_clear(struct fx *x, uint32_t slot)
{
    uint8_t body[sizeof(struct wire_dma_data) + sizeof(struct wire_dma_run) + 2048];
    struct wire_dma_data head = {.slot = slot, .flags = WIRE_DMA_CLEAR};
    for (unsigned half = 0; half < 2; half++, head.flags = 0) {
        struct wire_dma_run run = {.offset = (uint16_t)(2048 * half), .size = 2048};
        memcpy(body, &head, sizeof head);
        memcpy(body + sizeof head, &run, sizeof run);
        memcpy(body + sizeof head + sizeof run, x->memory[slot] + run.offset, 2048);
        fx_input(x, REC_DMA_DATA, body, sizeof body);
    }
    x->spoiled[slot] = false;
}

/// The guest writes, the host tells.
static inline void fx_guest(struct fx *x, uint32_t slot, unsigned offset, const void *bytes, unsigned size)
{
    uint8_t body[sizeof(struct wire_dma_data) + sizeof(struct wire_dma_run) + 256];
    struct wire_dma_data head = {.slot = slot};
    struct wire_dma_run run = {.offset = (uint16_t)offset, .size = (uint16_t)size};
    memcpy(x->memory[slot] + offset, bytes, size);
    memcpy(body, &head, sizeof head);
    memcpy(body + sizeof head, &run, sizeof run);
    memcpy(body + sizeof head + sizeof run, bytes, size);
    fx_input(x, REC_DMA_DATA, body, sizeof head + sizeof run + size);
}

static inline void fx_map_slot(struct fx *x, uint32_t slot, uint64_t iova, uint32_t generation,
                               uint8_t access)
{
    struct wire_dma_map m = {.iova = iova, .slot = slot, .generation = generation, .access = access};
    x->generation[slot] = generation;
    x->ring[slot] = access == 3;
    fx_input(x, REC_DMA_MAP, &m, sizeof m);
}

static inline void fx_unmap_pages(struct fx *x, uint64_t iova, uint32_t pages, uint32_t seen)
{
    struct wire_dma_unmap u = {.iova = iova, .pages = pages, .seen = seen};
    fx_input(x, REC_DMA_UNMAP, &u, sizeof u);
}

// --- the function ---

/// False: the IOMMU stopped it.
static inline bool fx_device_write(struct fx *x, uint64_t iova, const void *bytes, unsigned size)
{
    struct fx_mapping *m = fx_find(x, iova & ~(uint64_t)(WIRE_DMA_PAGE - 1));
    if (!m || !(m->access & WIRE_DMA_WRITE))
        return false;
    memcpy(m->page + iova % WIRE_DMA_PAGE, bytes, size);
    return true;
}

static inline bool fx_device_read(struct fx *x, uint64_t iova, void *bytes, unsigned size)
{
    struct fx_mapping *m = fx_find(x, iova & ~(uint64_t)(WIRE_DMA_PAGE - 1));
    if (!m || !(m->access & WIRE_DMA_READ))
        return false;
    memcpy(bytes, m->page + iova % WIRE_DMA_PAGE, size);
    return true;
}

/// A whole round; the link takes everything.
static inline void fx_round(struct fx *x)
{
    bool more;
    if (!dma_round_active(&x->dma))
        dma_round_begin(&x->dma);
    while (!dma_round_go(&x->dma, &more))
        fx_require(more);
}
