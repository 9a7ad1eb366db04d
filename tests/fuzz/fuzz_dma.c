// SPDX-License-Identifier: BSD-2-Clause
// LINK: remote-fw/dma_slots.c remote-fw/dma_round.c remote-fw/dma_diff.c net/wire.c
//
// The DMA engine of a remote, fed with the records of a hostile host while a function writes and the link is
// full now and then. The fixture aborts when a page is mapped twice or given back while mapped, when a record
// is not what the protocol allows, when memory is left; here it is checked besides that tables and lists
// agree, that the function sees nothing but what was cleared, and that a round with a quiet function ends
// with both ends knowing the same.
//
// Input: a byte: slots granted; then operations: a byte (what), and what it needs.
#define FX_SLOTS 40u
#define FX_HELD  160u
#include "remote-fw/dma_internal.h"
#include "tests/unit/dma_fixture.h"

struct input {
    const uint8_t *at, *end;
};

static uint8_t next(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static uint64_t address(struct input *in)
{
    static const uint64_t bases[] = {0, 0xfedfe000, WIRE_DMA_IOVA_END - 8 * WIRE_DMA_PAGE, 1ull << 32};
    uint8_t b = next(in);
    return bases[b >> 6] + (uint64_t)(b & 7) * WIRE_DMA_PAGE;
}

static void record(struct fx *x, uint8_t type, const void *body, size_t size)
{
    struct wire_record *rec = malloc(sizeof *rec + size);
    *rec = (struct wire_record){.type = type, .function = 1, .length = (uint16_t)(sizeof *rec + size)};
    memcpy(rec + 1, body, size);
    if (wire_check_record(rec, WIRE_TO_REMOTE) == WIRE_FINE) // as the link does
        dma_input(&x->dma, type, rec + 1, size);
    free(rec);
}

static void data(struct fx *x, struct input *in)
{
    uint8_t body[sizeof(struct wire_dma_data) + 600], *at = body + sizeof(struct wire_dma_data);
    struct wire_dma_data head = {.slot = next(in), .flags = next(in)};
    memcpy(body, &head, sizeof head);
    for (unsigned runs = next(in) % 4; runs > 0; runs--) {
        struct wire_dma_run run = {.offset = (uint16_t)(next(in) << 4), .size = next(in) & 127};
        run.offset = (uint16_t)(run.offset + (run.size & 15));
        memcpy(at, &run, sizeof run);
        memset(at + sizeof run, next(in), run.size);
        at += sizeof run + run.size;
    }
    record(x, REC_DMA_DATA, body, (size_t)(at - body));
}

static void device(struct fx *x, struct input *in)
{
    uint8_t bytes[256];
    uint64_t at = address(in) + next(in) * 15u;
    unsigned size = 1u + next(in) % 250;
    memset(bytes, next(in), sizeof bytes);
    if (at % WIRE_DMA_PAGE + size <= WIRE_DMA_PAGE)
        fx_device_write(x, at, bytes, size);
}

static void check(const struct fx *x)
{
    const struct dma *d = &x->dma;
    uint32_t mapped = 0, untold = 0, taken = 0, live = 0;
    for (uint32_t i = 0; i < d->slots; i++) {
        const struct dma_slot *s = &d->slot[i];
        mapped += s->mapped;
        untold += s->untold;
        taken += s->page != NULL;
        fx_require(!s->mapped || (s->known && s->page && !s->spoiled));
        fx_require(!s->mapped || d->list[s->list][s->index] == i);
        fx_require(!s->mapped || s->list == DMA_READS || s->twin);
        fx_require(!s->ring_end || (s->mapped && s->ring_end <= d->ring_used));
    }
    for (unsigned i = 0; i < FX_SLOTS; i++)
        if (x->iommu[i].page) {
            bool ours = false;
            for (uint32_t k = 0; k < d->slots; k++)
                ours |= d->slot[k].mapped && (uint8_t *)d->slot[k].page == x->iommu[i].page &&
                        d->slot[k].iova == x->iommu[i].iova;
            fx_require(ours);
        }
    for (uint32_t at = d->ring_told; at < d->ring_used;) {
        const struct dma_ring_entry *e = (const struct dma_ring_entry *)(d->ring + at);
        live += e->slot != DMA_VOID;
        at += dma_entry_space(e->size);
    }
    fx_require(mapped == d->mapped && mapped == x->mapped && untold == d->untold && taken == d->taken);
    fx_require(mapped == d->count[0] + d->count[1] + d->count[2] && live == d->ring_live);
    fx_require(d->cursor[1] <= d->count[1] || d->phase != DMA_TELL_WRITES);
    fx_require(d->done <= d->begun && d->begun - d->done <= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct input in = {bytes, bytes + size};
    struct fx *x = fx_new(1u + next(&in) % 32);
    bool more;
    while (in.at < in.end) {
        switch (next(&in) % 12) {
        case 0:
        case 1: {
            struct wire_dma_map m = {.iova = address(&in),
                                     .slot = next(&in) % 40u,
                                     .generation = next(&in),
                                     .access = next(&in) % 5};
            record(x, REC_DMA_MAP, &m, sizeof m);
            break;
        }
        case 2: {
            struct wire_dma_unmap u = {
                .iova = address(&in), .pages = next(&in) & 3, .seen = x->seen - next(&in) % 3u};
            u.pages = u.pages == 3 ? (uint32_t)((WIRE_DMA_IOVA_END - u.iova) / WIRE_DMA_PAGE) : u.pages;
            record(x, REC_DMA_UNMAP, &u, sizeof u);
            break;
        }
        case 3:
        case 4:
            data(x, &in);
            break;
        case 5:
        case 6:
            device(x, &in);
            break;
        case 7:
            x->room = next(&in) % 8u;
            if (!dma_round_active(&x->dma))
                dma_round_begin(&x->dma);
            dma_round_go(&x->dma, &more);
            break;
        case 8:
            x->room = next(&in) % 4u;
            dma_round_go(&x->dma, &more);
            break;
        case 9:
            dma_poll(&x->dma);
            break;
        case 10:
            x->no_pages = next(&in) & 1;
            x->no_map = next(&in) & 1;
            break;
        case 11:
            if (next(&in) % 8)
                break;
            dma_stop(&x->dma);
            fx_require(x->pages == 0 && x->tables == 0 && x->mapped == 0);
            x->seen = 0;
            fx_require(dma_start(&x->dma, &fx_ops, x, 1u + next(&in) % 32, 64 + next(&in)) == OK);
            break;
        }
        check(x);
    }
    x->room = ~0u;
    fx_round(x);
    fx_round(x);
    for (uint32_t i = 0; i < x->dma.slots; i++)
        if (x->dma.slot[i].mapped && x->dma.slot[i].twin)
            fx_require(!memcmp(x->dma.slot[i].page, x->dma.slot[i].twin, WIRE_DMA_PAGE));
    fx_require(x->held_count == 0);
    check(x);
    fx_free(x);
    return 0;
}
