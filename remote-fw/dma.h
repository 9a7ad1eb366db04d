// SPDX-License-Identifier: BSD-2-Clause
// The remote's half of the DMA mirror (docs/dma.md): the slots of one function, what it sees where, and the
// rounds that tell its host what it wrote. Several instances live side by side. Must not know links, hosts,
// PCI or how an IOMMU works: memory, IOMMU and the way to the host are struct dma_ops. One caller at a time;
// nothing here blocks or calls itself. Invariants: a page is seen by the function only after it was cleared
// since it was taken; the twin holds what the host is known to have; a host that breaks a rule is counted and
// refused.
//
//   dma_slots.c  START, MAP, UNMAP, DATA from the host; stop
//   dma_round.c  rounds
//   dma_diff.c   pages against their twins, runs of bytes
#pragma once
#include "net/wire.h"
#include "rt/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dma_ops {
    /// `bytes` zeroed bytes for tables, 8-byte aligned; NULL: none left.
    void *(*table_take)(void *ctx, size_t bytes);
    void (*table_give)(void *ctx, void *table, size_t bytes);
    /// One page, 4096-byte aligned, whatever is in it; NULL: none left.
    void *(*page_take)(void *ctx);
    void (*page_give)(void *ctx, void *page);
    /// The function sees `page` at `iova` (WIRE_DMA_READ | WIRE_DMA_WRITE). In force on return.
    MUST_CHECK enum status (*map)(void *ctx, uint64_t iova, void *page, unsigned access);
    /// On return the function can neither read nor write there any more, and its writes have arrived.
    void (*unmap)(void *ctx, uint64_t iova, uint64_t pages);
    /// One record to the host, `body` then `data`. ERR_BUSY: not now, the same comes again; other errors:
    /// nobody listens any more, it is dropped. Must not call back into the engine.
    MUST_CHECK enum status (*send)(void *ctx, uint8_t type, const void *body, size_t size, const void *data,
                                   size_t data_size);
    /// Bytes behind the record header that fit the frame that is being filled: a hint; 0: DMA_DATA would
    /// see ERR_BUSY. May be NULL.
    size_t (*room)(void *ctx);
};

/// Why a record of the host was not done.
enum dma_refusal {
    DMA_NOT_STARTED,  // before DMA_START
    DMA_BAD_SLOT,     // beyond those granted
    DMA_SLOT_UNKNOWN, // mapped before it was cleared
    DMA_SLOT_SPOILED, // likewise; an honest host may not know yet
    DMA_SLOT_MAPPED,  // mapped a second time, or cleared while mapped
    DMA_IOVA_MAPPED,  // something else is mapped there
    DMA_BAD_SEEN,     // UNMAP: more records taken than were sent
    DMA_NO_MEMORY,    // no page, or no IOMMU table
    DMA_REFUSALS
};
const char *dma_refusal_name(enum dma_refusal r);

struct dma_stats {
    uint64_t maps, unmaps, bytes_in, bytes_out, records_in, records_out;
    uint64_t rounds, pages, restless; // pages looked at; restless: rounds ended by DMA_PASSES, not by quiet
    uint64_t undone;                  // pages whose late bytes were undone
    uint64_t spoiled, spoiled_untold; // untold: told later, the link was full
    uint64_t refused[DMA_REFUSALS];
};

#define DMA_SLOTS_MOST   16384u // granted to one function
#define DMA_PASSES       8u     // over the rings, in one round
#define DMA_SLICE        512u   // pages looked at in one call of dma_round_go
#define DMA_RING_CHANGE  512u   // bytes that a ring changes at a time, at most, when it is first seen to
#define DMA_RING_BYTES   65536u // of changed rings kept until the data was sent
#define DMA_SLOT_PAGES   2u     // page and twin
#define DMA_RECORD_LEAST 64u    // least `record_max`

struct dma_slot; // dma_internal.h

/// How a mapped page is looked after. Guests' drivers say "read and write" of much that is only written, so
/// that does not tell a ring from data; what the function does there does: a page that it may read, and of
/// which it changed little at a time, is a ring from then on.
enum dma_list {
    DMA_RINGS,  // taken first, as a consistent whole
    DMA_WRITES, // looked at once, after them
    DMA_READS,  // not at all: the function may only read
    DMA_LISTS
};

enum dma_phase { DMA_IDLE, DMA_TAKE_RINGS, DMA_TELL_WRITES, DMA_TELL_RINGS };

/// One function. Zeroed memory is a stopped one. Fields are for the engine's files; others read `stats`,
/// `slots`, `taken`, `mapped`.
struct dma {
    const struct dma_ops *ops;
    void *ctx;
    uint32_t slots;  // granted; 0: stopped
    uint32_t taken;  // slots that have memory
    uint32_t mapped; // slots that the function sees
    struct dma_stats stats;

    size_t record_max; // bytes behind the record header that one record to the host may have
    void *tables;
    size_t table_bytes;
    struct dma_slot *slot;
    uint32_t *buckets;         // by iova: first slot + 1 of a chain
    unsigned bucket_shift;     // 64 - log2 of how many
    uint32_t *list[DMA_LISTS]; // mapped slots, in no order
    uint32_t count[DMA_LISTS];
    uint64_t sent;          // DMA_DATA records to the host since start
    uint32_t untold;        // slots that are spoiled, and nobody was told
    uint32_t untold_cursor; // where to look for them

    // the round
    enum dma_phase phase;
    uint32_t cursor[2]; // DMA_RINGS: entry to look at next; DMA_WRITES: [0, cursor) are still to be looked at
    uint32_t word[2];   // where in that page (at cursor, cursor - 1) to go on
    uint32_t clean;     // rings in a row that had nothing new
    uint64_t looked;    // at rings, in this round
    bool sorted;        // rings stand in the order of their mappings: this is the last pass
    bool last;          // rings are done: what is in the buffer is the end
    bool held;          // the newest DMA_DATA had WIRE_DMA_MORE
    bool promoted;      // there is a new ring: what was looked at must be looked at again, after it
    uint8_t *ring;      // DMA_RING_BYTES: entries, each one record
    uint32_t ring_used; // bytes of it
    uint32_t ring_told; // of these, sent or void
    uint32_t ring_live; // entries neither sent nor void
    uint64_t begun, done; // rounds
};

/// Grants `slots` (1..DMA_SLOTS_MOST); everything earlier must have been stopped. `record_max`: at least
/// DMA_RECORD_LEAST. ERR_NOMEM: no room for the tables.
MUST_CHECK enum status dma_start(struct dma *d, const struct dma_ops *ops, void *ctx, uint32_t slots,
                                 size_t record_max);
/// Empties the address space, gives all memory back, ends a round. Statistics and the counts of rounds stay.
/// Harmless when stopped.
void dma_stop(struct dma *d);

/// A record from the host: REC_DMA_MAP, REC_DMA_UNMAP or REC_DMA_DATA that wire_check_record found fine.
void dma_input(struct dma *d, uint8_t type, const void *body, size_t size);

/// Begins a round; what was noted before this call may be told when it is done. Returns its number, from 1
/// on. Not while one is active.
uint64_t dma_round_begin(struct dma *d);
/// Goes on with the round. True: it is done (or none was active). False: the link is full, or DMA_SLICE
/// pages were looked at: call again, `*more` says whether at once.
bool dma_round_go(struct dma *d, bool *more);
static inline bool dma_round_active(const struct dma *d)
{
    return d->phase != DMA_IDLE;
}
/// Tells what could not be told when it happened (REC_DMA_SPOILED). True: something was sent.
bool dma_poll(struct dma *d);
