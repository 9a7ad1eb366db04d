// SPDX-License-Identifier: BSD-2-Clause
// What a slot holds (hv/bus/mirror.h): finds the bytes of a page that differ from its twin, makes DMA_DATA
// records of them, and puts the bytes that a remote sends into page and twin. Must not know who maps what or
// why. Invariant: while the function may write a page, only bytes that differ are sent; a byte that is the
// same at both ends is never in a record, because the function may be writing it.
#include "hv/bus/remote.h"
#include "rt/memory.h"
#include <string.h>

#define LINE 64u

/// The twin of whoever holds nothing but zeroes; never written.
static uint8_t *mirror_zero_twin(void)
{
    return (uint8_t *)(uintptr_t)mirror_zeroes;
}

// --- comparing ---

static inline uint64_t word(const uint8_t *p)
{
    return *(const memory_u64 *)p;
}

static inline bool line_differs(const uint8_t *a, const uint8_t *b)
{
    return ((word(a) ^ word(b)) | (word(a + 8) ^ word(b + 8)) | (word(a + 16) ^ word(b + 16)) |
            (word(a + 24) ^ word(b + 24)) | (word(a + 32) ^ word(b + 32)) | (word(a + 40) ^ word(b + 40)) |
            (word(a + 48) ^ word(b + 48)) | (word(a + 56) ^ word(b + 56))) != 0;
}

/// The first 64-byte line from `at` (a multiple of 64) on that differs; WIRE_DMA_PAGE: none.
static unsigned next_line(const uint8_t *page, const uint8_t *twin, unsigned at)
{
    while (at < WIRE_DMA_PAGE && !line_differs(page + at, twin + at))
        at += LINE;
    return at;
}

/// [*start, end): the next bytes that differ, all of them and without one that does not. Returns end; start
/// == end == WIRE_DMA_PAGE: no more.
static unsigned next_bytes(const uint8_t *page, const uint8_t *twin, unsigned at, unsigned *start)
{
    for (; at % 8 != 0 && page[at] == twin[at]; at++)
        ;
    while (at % 8 == 0 && at < WIRE_DMA_PAGE) {
        if (at % LINE == 0) {
            at = next_line(page, twin, at);
            if (at == WIRE_DMA_PAGE)
                break;
        }
        uint64_t x = word(page + at) ^ word(twin + at);
        if (x) {
            at += (unsigned)__builtin_ctzll(x) / 8;
            break;
        }
        at += 8;
    }
    *start = at;
    while (at < WIRE_DMA_PAGE) {
        uint64_t x = at % 8 == 0 ? word(page + at) ^ word(twin + at) : 0;
        if (x && !((x - 0x0101010101010101u) & ~x & 0x8080808080808080u)) // all eight of them
            at += 8;
        else if (page[at] != twin[at])
            at++;
        else
            break;
    }
    return at;
}

/// As next_bytes, in whole lines: for pages that the function does not write.
static unsigned next_lines(const uint8_t *page, const uint8_t *twin, unsigned at, unsigned *start)
{
    *start = at; // in the middle of a line: the record before this one was full
    if (at % LINE == 0)
        at = *start = next_line(page, twin, at);
    at = (at + LINE - 1) & ~(LINE - 1);
    while (at < WIRE_DMA_PAGE && line_differs(page + at, twin + at))
        at += LINE;
    return at;
}

// --- to the remote ---

bool mirror_send(struct mirror *m, uint8_t type, const void *body, size_t body_size, const void *data,
                 size_t data_size, uint64_t until)
{
    struct remote_fn *fn = m->fn;
    uint32_t session = m->session;
    if (m->state == MIRROR_ON && transact_post(fn, type, body, body_size, data, data_size, until) &&
        m->session == session)
        return true;
    // Half of what was to be said was said: without a new session the two ends would disagree for ever.
    if (m->session == session && m->state == MIRROR_ON)
        link_cut(fn->remote->link, "the remote takes no more records");
    return false;
}

/// Runs from *at on into the record buffer, `room` bytes at most. against NULL: all bytes. Returns their
/// size.
static size_t collect(struct mirror *m, const uint8_t *page, const uint8_t *against, bool exact, unsigned *at,
                      size_t room)
{
    size_t size = 0;
    while (*at < WIRE_DMA_PAGE && size + sizeof(struct wire_dma_run) < room) {
        unsigned start = *at, end = WIRE_DMA_PAGE;
        if (against)
            end = exact ? next_bytes(page, against, *at, &start) : next_lines(page, against, *at, &start);
        *at = end;
        if (start == WIRE_DMA_PAGE)
            break;
        size_t left = room - size - sizeof(struct wire_dma_run);
        if (end - start > left)
            *at = end = start + (unsigned)left;
        struct wire_dma_run run = {.offset = (uint16_t)start, .size = (uint16_t)(end - start)};
        memcpy(m->record + size, &run, sizeof(run));
        memcpy(m->record + size + sizeof(run), page + start, run.size);
        size += sizeof(run) + run.size;
    }
    return size;
}

/// The bytes that were sent are what the remote has now.
static void update_twin(uint8_t *twin, const uint8_t *runs, size_t size)
{
    for (size_t at = 0; at < size;) {
        struct wire_dma_run run;
        memcpy(&run, runs + at, sizeof(run));
        memcpy(twin + run.offset, runs + at + sizeof(run), run.size);
        at += sizeof(run) + run.size;
    }
}

#define ROOM_LEAST 256u // less room in the open frame than this is left to shorter records

/// Bytes of runs that the next DATA record may carry.
static size_t runs_room(const struct mirror *m)
{
    const struct link *link = m->fn->remote->link;
    size_t open = link_room(link), most = link_room_max(link);
    size_t room = open >= ROOM_LEAST ? open : most;
    if (room > MIRROR_RECORD_MAX)
        room = MIRROR_RECORD_MAX;
    return room > sizeof(struct wire_dma_data) ? room - sizeof(struct wire_dma_data) : 0;
}

/// against: what the remote has (NULL: send everything); the slot's twin follows what is sent, if it has one.
static enum mirror_sent send_runs(struct slot *s, const uint8_t *against, bool exact, bool clear,
                                  uint64_t until)
{
    struct mirror *m = s->owner;
    for (unsigned at = 0; at < WIRE_DMA_PAGE || clear;) {
        size_t size = collect(m, s->page, against, exact, &at, runs_room(m));
        if (size == 0 && !clear)
            return at < WIRE_DMA_PAGE ? MIRROR_OVER : MIRROR_SENT;
        if (size && s->twin == mirror_zeroes && !mirror_twin(s)) {
            if (s->access == (WIRE_DMA_READ | WIRE_DMA_WRITE))
                return MIRROR_NO_TWIN;
            s->twin = NULL; // nobody compares with it
        }
        const struct wire_dma_data d = {.slot = s->index, .flags = clear ? WIRE_DMA_CLEAR : 0};
        if (!mirror_send(m, REC_DMA_DATA, &d, sizeof(d), m->record, size, until))
            return MIRROR_OVER;
        bus_counts.dma_pushed += size;
        if (clear)
            s->cleared = m->generation;
        clear = false;
        if (s->twin && s->twin != mirror_zeroes)
            update_twin(s->twin, m->record, size);
    }
    return MIRROR_SENT;
}

enum mirror_sent mirror_push(struct slot *s, uint64_t until)
{
    s->dirty = false;
    if (s->twin)
        return send_runs(s, s->twin, s->access & WIRE_DMA_WRITE, false, until);
    (void)mirror_twin(s); // perhaps there is room now; all of it is sent
    return send_runs(s, NULL, false, false, until);
}

enum mirror_sent mirror_fill(struct slot *s, bool clear, uint64_t until)
{
    s->dirty = false;
    if (s->twin && !clear)
        return send_runs(s, s->twin, false, false, until);
    if (s->twin && s->twin != mirror_zeroes)
        memset(s->twin, 0, WIRE_DMA_PAGE);
    else
        s->twin = mirror_zero_twin();
    return send_runs(s, mirror_zeroes, false, true, until);
}

// --- from the remote ---

bool mirror_pull(struct slot *s, const uint8_t *runs, size_t size)
{
    if (s->twin == mirror_zeroes && size && !mirror_twin(s))
        s->twin = NULL;
    for (size_t at = 0; at < size;) {
        struct wire_dma_run run;
        if (size - at < sizeof(run))
            return false;
        memcpy(&run, runs + at, sizeof(run));
        at += sizeof(run);
        if (run.size == 0 || run.offset + run.size > (int)WIRE_DMA_PAGE || run.size > size - at)
            return false;
        memcpy(s->page + run.offset, runs + at, run.size);
        if (s->twin)
            memcpy(s->twin + run.offset, runs + at, run.size);
        at += run.size;
        bus_counts.dma_pulled += run.size;
    }
    mirror_touched(&s->owner->fn->guest->dma, s->gpa, s);
    return true;
}
