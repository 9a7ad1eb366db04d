// SPDX-License-Identifier: BSD-2-Clause
// A guest's RAM: pieces of 2 MiB, reserved when the guest is made, zeroed and put into the nested map when
// first touched (by the guest through an EPT violation, or by us when an image is loaded). Invariant: a piece
// is in the nested map only after it was zeroed, so a guest never sees what was there before.
#include "hv/vm/guest.h"
#include "rt/paging.h"
#include <stdlib.h>
#include <string.h>

#define FRAMES_PER_CHUNK (GUEST_CHUNK / FRAME_SIZE)

/// Index of the piece that holds gpa; chunk_count: not RAM.
static uint32_t chunk_of(const struct guest *g, uint64_t gpa)
{
    uint64_t offset = gpa;
    if (gpa >= GUEST_HOLE_START && gpa < GUEST_HOLE_END)
        return g->chunk_count;
    if (gpa >= GUEST_LOW_END) {
        if (gpa < GUEST_HIGH_START)
            return g->chunk_count;
        offset = gpa - GUEST_HIGH_START + GUEST_LOW_END;
    }
    return offset < g->memory ? (uint32_t)(offset / GUEST_CHUNK) : g->chunk_count;
}

enum status guest_memory_create(struct guest *g, uint64_t bytes)
{
    uint64_t count = bytes / GUEST_CHUNK;
    if (count == 0 || bytes % GUEST_CHUNK || count > UINT32_MAX)
        return ERR_INVAL;
    g->chunks = calloc(count, sizeof *g->chunks);
    g->chunk_state = calloc(count, 1);
    g->memory = bytes;
    if (!g->chunks || !g->chunk_state) {
        guest_memory_destroy(g);
        return ERR_NOMEM;
    }
    for (g->chunk_count = 0; g->chunk_count < count; g->chunk_count++) {
        phys_t piece = frames_alloc_dirty(FRAMES_PER_CHUNK, GUEST_CHUNK, 0);
        if (piece == FRAME_NONE) {
            guest_memory_destroy(g);
            return ERR_NOMEM;
        }
        g->chunks[g->chunk_count] = piece;
    }
    return OK;
}

void guest_memory_destroy(struct guest *g)
{
    for (uint32_t i = 0; i < g->chunk_count; i++)
        frames_free(g->chunks[i], FRAMES_PER_CHUNK);
    free(g->chunks);
    free(g->chunk_state);
    g->chunks = NULL;
    g->chunk_state = NULL;
    g->chunk_count = 0;
}

bool guest_memory_contains(const struct guest *g, uint64_t gpa)
{
    return chunk_of(g, gpa) < g->chunk_count;
}

bool guest_memory_present(const struct guest *g, uint64_t gpa)
{
    uint32_t i = chunk_of(g, gpa);
    return i < g->chunk_count && g->chunk_state[i] == CHUNK_MAPPED;
}

/// The first 2 MiB hold the legacy hole, so they are mapped in 4 KiB pages around it.
static enum status map_first(struct guest *g, phys_t piece)
{
    for (uint64_t gpa = 0; gpa < GUEST_CHUNK; gpa += FRAME_SIZE) {
        if (gpa >= GUEST_HOLE_START && gpa < GUEST_HOLE_END)
            continue;
        enum status s = guest_virt->map_ram(g->map, gpa, piece + gpa, FRAME_SIZE);
        if (s != OK)
            return s;
    }
    return OK;
}

enum status guest_memory_touch(struct guest *g, uint64_t gpa)
{
    uint32_t i = chunk_of(g, gpa);
    if (i >= g->chunk_count)
        return ERR_RANGE;
    if (g->chunk_state[i] == CHUNK_MAPPED)
        return OK;
    if (g->chunk_state[i] == CHUNK_DIRTY)
        memset(phys_to_virt(g->chunks[i]), 0, GUEST_CHUNK);
    uint64_t start = gpa & ~(GUEST_CHUNK - 1);
    enum status s =
        i == 0 ? map_first(g, g->chunks[0]) : guest_virt->map_ram(g->map, start, g->chunks[i], GUEST_CHUNK);
    if (s == OK)
        g->chunk_state[i] = CHUNK_MAPPED;
    return s;
}

bool guest_memory_zero_ahead(struct guest *g)
{
    while (g->next_to_zero < g->chunk_count && g->chunk_state[g->next_to_zero] != CHUNK_DIRTY)
        g->next_to_zero++;
    if (g->next_to_zero == g->chunk_count)
        return false;
    memset(phys_to_virt(g->chunks[g->next_to_zero]), 0, GUEST_CHUNK);
    g->chunk_state[g->next_to_zero] = CHUNK_ZEROED;
    return true;
}

/// Piece i is RAM that is in use, and holds gpa.
static void *in_piece(const struct guest *g, uint32_t i, uint64_t gpa, uint64_t *contiguous)
{
    uint64_t offset = gpa & (GUEST_CHUNK - 1);
    *contiguous = GUEST_CHUNK - offset;
    if (i == 0 && offset < GUEST_HOLE_START)
        *contiguous = GUEST_HOLE_START - offset;
    return (uint8_t *)phys_to_virt(g->chunks[i]) + offset;
}

void *guest_memory_at(struct guest *g, uint64_t gpa, uint64_t *contiguous)
{
    uint32_t i = chunk_of(g, gpa);
    if (i >= g->chunk_count || (g->chunk_state[i] != CHUNK_MAPPED && guest_memory_touch(g, gpa) != OK))
        return NULL;
    return in_piece(g, i, gpa, contiguous);
}

const void *guest_memory_peek(const struct guest *g, uint64_t gpa, uint64_t *contiguous)
{
    uint32_t i = chunk_of(g, gpa);
    return i < g->chunk_count && g->chunk_state[i] == CHUNK_MAPPED ? in_piece(g, i, gpa, contiguous) : NULL;
}

static void written(struct guest *g, uint64_t gpa, uint64_t size)
{
    for (uint64_t at = gpa & ~(FRAME_SIZE - 1); g->watched && at < gpa + size; at += FRAME_SIZE)
        guest_memory_written(g, at);
}

enum status guest_memory_write(struct guest *g, uint64_t gpa, const void *from, uint64_t size)
{
    for (uint64_t done = 0; done < size;) {
        uint64_t room;
        void *to = guest_memory_at(g, gpa + done, &room);
        if (!to)
            return ERR_RANGE;
        uint64_t n = size - done < room ? size - done : room;
        memcpy(to, (const uint8_t *)from + done, n);
        written(g, gpa + done, n);
        done += n;
    }
    return OK;
}

enum status guest_memory_fill(struct guest *g, uint64_t gpa, uint8_t byte, uint64_t size)
{
    for (uint64_t done = 0; done < size;) {
        uint64_t room;
        void *to = guest_memory_at(g, gpa + done, &room);
        if (!to)
            return ERR_RANGE;
        uint64_t n = size - done < room ? size - done : room;
        memset(to, byte, n);
        written(g, gpa + done, n);
        done += n;
    }
    return OK;
}

void guest_memory_clear(struct guest *g)
{
    // Pieces are zeroed when they are touched again: to zero all at once would stop this CPU for seconds, as
    // often as a guest likes to reset itself.
    guest_virt->map_clear(g->map);
    for (uint32_t i = 0; i < g->chunk_count; i++) {
        if (g->chunk_state[i] == CHUNK_MAPPED)
            g->chunk_state[i] = CHUNK_DIRTY;
    }
    g->next_to_zero = 0;
}
