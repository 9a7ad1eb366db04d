// SPDX-License-Identifier: BSD-2-Clause
// Inside of the DMA engine: what dma_slots.c and dma_round.c share.
#pragma once
#include "remote-fw/dma.h"

#define DMA_PAGE_WORDS (WIRE_DMA_PAGE / 8)
#define DMA_NO_LIST    2u

struct dma_slot {
    uint64_t *page, *twin; // NULL until it was given content
    uint64_t iova;         // while mapped
    uint64_t sent;         // dma.sent after the newest record about it
    uint32_t generation;
    uint32_t next;     // slot + 1 of the chain
    uint32_t index;    // in list
    uint32_t ring_end; // while captured: its bytes stand before this offset of the ring buffer
    uint8_t list;      // 0, 1, DMA_NO_LIST: nothing that the function writes is looked for
    bool mapped;
    bool known; // cleared since it has memory, and not spoiled
    bool spoiled;
    bool untold; // spoiled, and the host does not know
};

/// In front of each entry of the ring buffer: one record, its runs follow.
struct dma_ring_entry {
    uint32_t slot, generation;
    uint32_t size;  // of the runs
    uint32_t space; // that the entry takes, header included
};

// dma_diff.c
/// First word from `from` on in which the pages differ; DMA_PAGE_WORDS: none.
uint32_t dma_differs(const uint64_t *page, const uint64_t *twin, uint32_t from);
/// Runs of what differs from word *word on, as many as fit `room`; twin becomes page where they are. Returns
/// their bytes; *word is where to go on, DMA_PAGE_WORDS: the page is done.
size_t dma_take(const uint64_t *page, uint64_t *twin, uint32_t *word, uint8_t *out, size_t room);
/// Runs into the page and its twin. A function that reads meanwhile sees each aligned word whole, lower ones
/// first; one that writes other bytes of it loses none. Returns the bytes written.
size_t dma_put(uint64_t *page, uint64_t *twin, const uint8_t *runs, size_t size);
