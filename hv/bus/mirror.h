// SPDX-License-Identifier: BSD-2-Clause
// DMA of remote functions, the host's half of the mirror (docs/dma.md): which slot of a remote mirrors which
// page of the guest, what both ends know of its content, and when it is brought up to date. Inside hv/bus
// (and its tests) only; everything with the net lock held unless it says otherwise.
//
//   mirror_slots.c    frames, slots, twins: who mirrors what
//   mirror_content.c  what differs from the twin, as DMA_DATA records; bytes that came, into page and twin
//   mirror_map.c      the guest's tables (or all its memory) against what the remote was told
//   mirror_sync.c     begin and end; before an access; DATA, SPOILED, FAULT from the remote
//
// Invariant: `twin` is what the remote's slot holds once it has executed all records queued so far, and minus
// what its function wrote since. So a twin changes only together with a record that was queued or taken.
#pragma once
#include "hv/bus/bus.h"
#include "net/wire.h"
#include "rt/frames.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct remote_fn;
struct bus_guest;
struct mirror;

#define MIRROR_BUCKETS      4096u   // of each hash; power of two
#define MIRROR_CHUNKS       704u    // frames full of slots, of one function
#define MIRROR_PENDING      131072u // bytes of one round, of pages that a function reads and writes
#define MIRROR_FAULTS       16u
#define MIRROR_MEMORY_LIMIT (64ull << 20)               // `dma = mirror`: the guest's memory at most
#define MIRROR_POOL_BASE    ((8ull << 20) / FRAME_SIZE) // frames for one guest, and
#define MIRROR_POOL_PART    100u                        // a hundredth of its memory
#define MIRROR_RECORD_MAX   WIRE_FRAME_MAX
// A guest may map, or write, thousands of pages at once: a remote that takes them in turn is given this much
// longer for each.
#define MIRROR_PAGE_NS      10000000ull
#define MIRROR_OFFENCES_MAX 256u // violations by a remote in one session: then its link is cut off

/// One page of a remote's memory. In exactly one of its owner's lists.
struct slot {
    struct mirror *owner;
    uint64_t gpa;                  // the page it mirrors; SLOT_BLANK: none
    uint8_t *page;                 // that page
    uint8_t *twin;                 // NULL: what the slot holds is not known here
    uint64_t iova;                 // while mapped
    const volatile uint64_t *note; // if watched: where nested paging says so; NULL: ask
    struct slot *next_gpa, *next_iova;
    struct slot *prev, *next;
    uint32_t index;
    uint32_t generation; // of the mapping
    uint32_t cleared;    // mappings up to this generation ended before all of the content was sent last
    uint32_t round;      // of reconciling that found it as the guest says
    uint8_t access;      // WIRE_DMA_*; 0: not mapped
    bool dirty;          // the page may differ from the twin, whatever nested paging says
    bool watched;        // nested paging says whether the guest wrote it
    bool spoiled;        // the remote said so, nothing was done about it yet
};
#define SLOT_BLANK       (~0ull)
#define SLOTS_PER_FRAME  (FRAME_SIZE / sizeof(struct slot))
#define MIRROR_SLOTS_MAX (MIRROR_CHUNKS * (uint32_t)SLOTS_PER_FRAME)

struct slot_list { // circular, `head` is no slot's
    struct slot head;
};

enum mirror_state {
    MIRROR_OFF,      // no DMA: not asked for yet, refused, or the remote's side is gone
    MIRROR_STARTING, // DMA_START is on its way
    MIRROR_ON,
};

/// DMA of one function. In frames of its own, from the first START to the end of the guest.
struct mirror {
    struct remote_fn *fn;
    enum mirror_state state;
    uint32_t session;    // changes whenever everything is forgotten: whoever waited looks again
    uint32_t limit;      // slots granted (at most MIRROR_SLOTS_MAX)
    uint32_t used;       // slots [0, used) have been in use
    uint32_t mapped;     // of these
    uint32_t generation; // of the last mapping
    uint32_t round;
    uint16_t domain;   // of the guest's, when it was looked at last
    uint32_t received; // DATA records of this session
    uint32_t frames;   // full of slots
    uint32_t offences; // in this session
    bool due;          // all of the guest's tables are to be looked at
    bool spoiled;      // some slot is
    uint32_t starved;  // pages refused because there was no room, ever
    bool told_no_slots, told_no_twins, told_fault, told_outside;
    struct slot_list readable, writeonly, idle; // idle: not mapped, the one used last first
    // DATA for pages the function may read and write, until the guest's CPU takes it
    uint8_t *pending;
    uint32_t pending_room;
    uint32_t pending_size, complete_size; // bytes; those of complete rounds
    bool round_open;                      // the last DATA said MORE
    bool overran;                         // this round did not fit: its beginning is in the guest's memory
    uint8_t record[MIRROR_RECORD_MAX];    // being made; only on the guest's CPU
    struct slot *chunks[MIRROR_CHUNKS];
};
#define MIRROR_FRAMES ((sizeof(struct mirror) + FRAME_SIZE - 1) / FRAME_SIZE)

/// DMA of a guest.
struct guest_dma {
    bool on;
    struct bus_memory memory;
    struct guest_iommu *iommu; // NULL: `dma = mirror`
    uint64_t memory_bytes;
    uint64_t frames_limit, frames_used;
    uint8_t *spare; // twins that nobody has: each begins with the address of the next
    struct slot **by_gpa, **by_iova;
    uint64_t note_mask;
    bool held; // who runs the guest is inside hv/bus: none of its vCPUs begins to run
    bool refused_told;
    unsigned fault_count;
    struct mirror_fault {
        uint64_t iova;
        uint16_t source;
        bool write;
        uint8_t reason;
    } faults[MIRROR_FAULTS]; // for the guest's unit
};

// --- mirror_slots.c ---

extern const uint8_t mirror_zeroes[WIRE_DMA_PAGE];

/// A mirror for fn, with nothing in it. NULL: no memory.
struct mirror *mirror_create(struct remote_fn *fn);
void mirror_destroy(struct mirror *m);
MUST_CHECK enum status mirror_guest_create(struct guest_dma *dma);
void mirror_guest_destroy(struct guest_dma *dma);
/// All slots are blank again: a new session.
void mirror_blank(struct mirror *m);

static inline struct slot *mirror_slot(const struct mirror *m, uint32_t index)
{
    return &m->chunks[index / SLOTS_PER_FRAME][index % SLOTS_PER_FRAME];
}
static inline struct slot *slot_first(const struct slot_list *list)
{
    return list->head.next == &list->head ? NULL : list->head.next;
}
static inline struct slot *slot_next(const struct slot_list *list, const struct slot *s)
{
    return s->next == &list->head ? NULL : s->next;
}
/// The slot that is mapped at iova; NULL: none.
struct slot *mirror_mapped_at(const struct mirror *m, uint64_t iova);
/// A slot that is not mapped, for this page: one that mirrored it before if there is one. NULL: none left.
struct slot *mirror_take(struct mirror *m, uint64_t gpa, uint8_t *page);
/// Gives it a twin of its own (all 0) if it has none or shares the page of zeroes. False: no room.
bool mirror_twin(struct slot *s);
/// What the slot holds is not known any more.
void mirror_drop_twin(struct slot *s);
/// Into the right list and hash. The wire is the caller's.
void mirror_attach(struct slot *s, uint64_t iova, uint8_t access);
void mirror_detach(struct slot *s);
/// `gpa` was written by somebody else than the owner of `but` (may be NULL): every other slot that mirrors it
/// must look.
void mirror_touched(struct guest_dma *dma, uint64_t gpa, const struct slot *but);

// --- mirror_content.c ---

enum mirror_sent {
    MIRROR_SENT,
    MIRROR_NO_TWIN, // nothing more was sent: it needs a twin, and there is no memory for one
    MIRROR_OVER,    // the session is over
};
/// Sends what differs between page and twin, of a slot that is mapped (all of it if there is no twin).
enum mirror_sent mirror_push(struct slot *s, uint64_t until);
/// Gives a slot that the remote has not mapped the content of its page. clear: whatever it holds.
enum mirror_sent mirror_fill(struct slot *s, bool clear, uint64_t until);
/// Puts runs into page and twin. False: they are malformed; nothing outside the page was touched.
bool mirror_pull(struct slot *s, const uint8_t *runs, size_t size);
/// Queues one record of the function, waiting for room; a link that takes nothing until then is cut off.
/// False: the session is over.
bool mirror_send(struct mirror *m, uint8_t type, const void *body, size_t body_size, const void *data,
                 size_t data_size, uint64_t until);

// --- mirror_map.c ---

/// What the guest says about the pages in scope (NULL: about everything) is brought to the remote.
void mirror_reconcile(struct mirror *m, const struct iommu_scope *scope, uint64_t until);
/// Spoiled slots get their content again.
void mirror_mend(struct mirror *m, uint64_t until);
/// One mapped slot is taken from the function again; the guest is told nothing.
void mirror_revoke(struct slot *s, uint64_t until);

// --- mirror_sync.c ---

/// Just attached, or reset: nothing is mapped there. Asks for DMA, does not wait.
void mirror_start(struct remote_fn *fn);
/// The remote's side is gone, or is being reset.
void mirror_forget(struct remote_fn *fn);
/// Before an access of the guest that goes to the remote: the function sees what the guest wrote. If that
/// cannot be, the function is not attached any more when this returns. On the guest's CPU.
void mirror_before(struct remote_fn *fn, uint64_t until);
/// The guest's CPU is in a function of hv/bus that may wait, and leaves it: what has come is in its memory
/// then.
void mirror_enter(struct bus_guest *guest);
void mirror_leave(struct bus_guest *guest);
/// What waits for the guest's CPU: DATA, mappings of a new session, spoiled slots.
void mirror_collect(struct bus_guest *guest);
/// Faults, for the guest's own unit. Net lock NOT held.
void mirror_report_faults(struct bus_guest *guest);
/// DATA that waits goes into the guest's memory, whole rounds of it.
void mirror_settle(struct mirror *m);
/// DATA records of this session that were taken (applied or dropped), in order.
uint32_t mirror_seen(const struct mirror *m);
/// REC_DMA_* of an attached function.
void mirror_record(struct remote_fn *fn, const struct wire_record *rec, const void *body, size_t size);
/// All of its functions are gone.
void mirror_guest_remove(struct bus_guest *guest);
