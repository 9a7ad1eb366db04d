// SPDX-License-Identifier: BSD-2-Clause
// Inside of the DMA engine: what dma_slots.c and dma_round.c share.
#pragma once
#include "remote-fw/dma.h"

#define DMA_PAGE_WORDS (WIRE_DMA_PAGE / 8)
#define DMA_VOID       (~0u)

struct dma_slot {
    uint64_t *page; // NULL until it was given content
    uint64_t *twin; // NULL until it was mapped for writing
    uint64_t iova;  // while mapped
    uint64_t sent;  // dma.sent after the newest record about it
    uint64_t age;   // of the mapping: which one it is since the start
    uint32_t generation;
    uint32_t next;     // slot + 1, of the chain
    uint32_t index;    // in its list, while mapped
    uint32_t ring_end; // its newest entry in the ring buffer ends here; 0: none that is not told
    uint8_t list;      // enum dma_list
    bool both;         // the function may read it and write it
    bool mapped;
    bool known; // cleared since it has memory, and not spoiled
    bool spoiled;
    bool untold;
};

/// In front of each entry of the ring buffer; its runs follow, then the next entry, 4-byte aligned.
struct dma_ring_entry {
    uint32_t slot; // DMA_VOID: void
    uint32_t generation;
    uint32_t size;  // of the runs
    uint32_t bytes; // in them
};

static inline uint32_t dma_entry_space(uint32_t size)
{
    return (uint32_t)sizeof(struct dma_ring_entry) + ((size + 3) & ~3u);
}

// dma_slots.c
/// Into and out of the list that says how it is looked after.
void dma_list_add(struct dma *d, struct dma_slot *s, enum dma_list list);
void dma_list_remove(struct dma *d, struct dma_slot *s);

// dma_diff.c

/// First word from `from` on in which the pages differ; DMA_PAGE_WORDS: none.
uint32_t dma_differs(const uint64_t *page, const uint64_t *twin, uint32_t from);
/// Runs of what differs from word *word on, as many as fit `room`. Returns their bytes; *word is where to go
/// on, DMA_PAGE_WORDS: the page is done. The twin is not changed: dma_settle.
size_t dma_take(const uint64_t *page, const uint64_t *twin, uint32_t *word, uint8_t *out, size_t room);
/// What was taken is known to the other end from now on. Returns how many bytes.
size_t dma_settle(uint64_t *twin, const uint8_t *runs, size_t size);
/// Runs into the page and its twin (may be NULL). A function that reads meanwhile sees each aligned word
/// whole, lower ones first; one that writes other bytes of it loses none. Returns the bytes written.
size_t dma_put(uint64_t *page, uint64_t *twin, const uint8_t *runs, size_t size);
