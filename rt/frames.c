// SPDX-License-Identifier: BSD-2-Clause
// The frame allocator: one bit per frame, one bitmap per contiguous region of RAM. Small requests come from
// the bottom, those of 2 MiB and more from the top, so that a guest's memory stays in large pieces. Memory
// below 1 MiB is only for who asks for it. Pure: compiles on the build machine. Invariant: a set bit is a
// free frame; region.free counts them; nothing below region.hint is free.
#include "rt/frames.h"
#include "rt/frames_internal.h"
#include "rt/paging.h"
#include "rt/panic.h"
#include "rt/spinlock.h"
#include <stdbool.h>

#define LOW_MEMORY  0x100000ull
#define BIG_FRAMES  512u // 2 MiB
#define REGIONS_MAX BOOT_MEM_MAX
#define NONE        UINT64_MAX

struct region {
    uint64_t first;  // frame number
    uint64_t frames; // bits in the bitmap
    uint64_t free, hint;
    phys_t bitmap;
};

static struct region regions[REGIONS_MAX]; // ascending
static unsigned region_count;
static struct spinlock lock;

static uint64_t *bits_of(const struct region *r)
{
    return phys_to_virt(r->bitmap);
}

/// One instruction a word on an emulated CPU, and what a real one does fastest.
static void fill(void *at, size_t quads, uint64_t value)
{
    __asm__ volatile("rep stosq" : "+D"(at), "+c"(quads) : "a"(value) : "memory");
}

/// Bits [from, to) of the word that holds `from`, as a mask; *next is where the following word starts (or
/// `to`).
static uint64_t word_mask(uint64_t from, uint64_t to, uint64_t *next)
{
    uint64_t word_end = (from | 63) + 1;
    *next = word_end < to ? word_end : to;
    uint64_t mask = ~0ull << (from & 63);
    if (*next & 63)
        mask &= ~0ull >> (64 - (*next & 63));
    return mask;
}

static void set_range(uint64_t *bits, uint64_t from, uint64_t count, bool free)
{
    for (uint64_t next, to = from + count; from < to; from = next) {
        if (from % 64 == 0 && to - from >= 64) {
            next = to & ~63ull;
            fill(bits + from / 64, (next - from) / 64, free ? ~0ull : 0);
            continue;
        }
        uint64_t mask = word_mask(from, to, &next);
        if (free)
            bits[from / 64] |= mask;
        else
            bits[from / 64] &= ~mask;
    }
}

/// First bit in [from, to) whose state is `free`, or NONE.
static uint64_t first_in(const uint64_t *bits, uint64_t from, uint64_t to, bool free)
{
    for (uint64_t next; from < to; from = next) {
        uint64_t hit = (free ? bits[from / 64] : ~bits[from / 64]) & word_mask(from, to, &next);
        if (hit)
            return (from & ~63ull) + (unsigned)__builtin_ctzll(hit);
    }
    return NONE;
}

/// Last bit in [from, to) whose state is `free`, or NONE.
static uint64_t last_in(const uint64_t *bits, uint64_t from, uint64_t to, bool free)
{
    while (from < to) {
        uint64_t start = (to - 1) & ~63ull, next;
        if (start < from)
            start = from;
        uint64_t hit = (free ? bits[start / 64] : ~bits[start / 64]) & word_mask(start, to, &next);
        if (hit)
            return (start & ~63ull) + 63 - (unsigned)__builtin_clzll(hit);
        to = start;
    }
    return NONE;
}

/// Lowest aligned run of free frames in [from, to) of the region. `align` in frames. Region-relative, or
/// NONE.
static uint64_t find_up(const struct region *r, uint64_t from, uint64_t to, uint64_t count, uint64_t align)
{
    const uint64_t *bits = bits_of(r);
    for (;;) {
        from = first_in(bits, from, to, true);
        if (from == NONE)
            return NONE;
        from = ((r->first + from + align - 1) & ~(align - 1)) - r->first;
        if (from >= to || to - from < count)
            return NONE;
        uint64_t used = last_in(bits, from, from + count, false);
        if (used == NONE)
            return from;
        from = used + 1;
    }
}

/// Highest aligned run of free frames in [from, to) of the region.
static uint64_t find_down(const struct region *r, uint64_t from, uint64_t to, uint64_t count, uint64_t align)
{
    const uint64_t *bits = bits_of(r);
    for (;;) {
        uint64_t last = last_in(bits, from, to, true);
        if (last == NONE || last + 1 < count)
            return NONE;
        uint64_t start = (r->first + last + 1 - count) & ~(align - 1);
        if (start < r->first + from)
            return NONE;
        start -= r->first;
        uint64_t used = first_in(bits, start, start + count, false);
        if (used == NONE)
            return start;
        to = used;
    }
}

static phys_t take(struct region *r, uint64_t at, uint64_t count)
{
    set_range(bits_of(r), at, count, false);
    r->free -= count;
    if (at == r->hint)
        r->hint = at + count;
    return (r->first + at) * FRAME_SIZE;
}

static phys_t alloc_locked(uint64_t count, uint64_t align, uint64_t limit)
{
    bool big = count >= BIG_FRAMES;
    uint64_t floor = limit != 0 && limit <= LOW_MEMORY / FRAME_SIZE ? 0 : LOW_MEMORY / FRAME_SIZE;
    for (unsigned n = 0; n < region_count; n++) {
        struct region *r = &regions[big ? region_count - 1 - n : n];
        uint64_t end = r->first + r->frames;
        if (limit != 0 && limit < end)
            end = limit;
        uint64_t start = r->first < floor ? floor : r->first;
        if (r->free < count || start >= end || end - start < count)
            continue;
        uint64_t from = start - r->first;
        if (from < r->hint)
            from = r->hint;
        uint64_t at = big ? find_down(r, from, end - r->first, count, align)
                          : find_up(r, from, end - r->first, count, align);
        if (at != NONE)
            return take(r, at, count);
    }
    return FRAME_NONE;
}

phys_t frames_alloc_dirty(size_t count, uint64_t align, phys_t limit)
{
    if (count == 0 || (align & (align - 1)) != 0 || (limit != 0 && limit < FRAME_SIZE))
        return FRAME_NONE;
    uint64_t align_frames = align > FRAME_SIZE ? align / FRAME_SIZE : 1;
    spin_lock(&lock);
    phys_t base = alloc_locked(count, align_frames, limit / FRAME_SIZE);
    spin_unlock(&lock);
    return base;
}

phys_t frames_alloc(size_t count, uint64_t align, phys_t limit)
{
    phys_t base = frames_alloc_dirty(count, align, limit);
    if (base != FRAME_NONE)
        fill(phys_to_virt(base), count * (FRAME_SIZE / 8), 0);
    return base;
}

static struct region *region_of(uint64_t frame, uint64_t count)
{
    for (unsigned n = 0; n < region_count; n++) {
        struct region *r = &regions[n];
        if (frame >= r->first && frame - r->first < r->frames)
            return count <= r->frames - (frame - r->first) ? r : NULL;
    }
    return NULL;
}

void frames_free(phys_t base, size_t count)
{
    if (count == 0)
        return;
    spin_lock(&lock);
    struct region *r = region_of(base / FRAME_SIZE, count);
    bool ours = r && base % FRAME_SIZE == 0;
    if (ours) {
        uint64_t at = base / FRAME_SIZE - r->first;
        ours = first_in(bits_of(r), at, at + count, true) == NONE;
        if (ours) {
            set_range(bits_of(r), at, count, true);
            r->free += count;
            if (at < r->hint)
                r->hint = at;
        }
    }
    spin_unlock(&lock);
    if (!ours)
        panic("frames_free(0x%llx, %zu): not allocated", (unsigned long long)base, count);
}

void frames_reserve(phys_t base, size_t count)
{
    spin_lock(&lock);
    for (uint64_t f = base / FRAME_SIZE; f < base / FRAME_SIZE + count; f++) {
        struct region *r = region_of(f, 1);
        if (r && first_in(bits_of(r), f - r->first, f - r->first + 1, true) != NONE)
            (void)take(r, f - r->first, 1);
    }
    spin_unlock(&lock);
}

struct frames_stats frames_stats(void)
{
    struct frames_stats s = {0};
    spin_lock(&lock);
    for (unsigned n = 0; n < region_count; n++) {
        s.total += regions[n].frames;
        s.free += regions[n].free;
    }
    spin_unlock(&lock);
    return s;
}

static bool is_ram(const struct boot_mem *m)
{
    return m->type == BOOT_MEM_USABLE || m->type == BOOT_MEM_LOADER;
}

static uint64_t bitmap_bytes(const struct region *r)
{
    return (r->frames + 63) / 64 * 8;
}

/// Merges neighbours of the map to regions. False when the map breaks its contract.
static bool make_regions(const struct boot_mem *mem, uint32_t count)
{
    uint64_t end = 0;
    region_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct boot_mem *m = &mem[i];
        if (m->base < end || m->base % FRAME_SIZE != 0 || m->size % FRAME_SIZE != 0 ||
            m->base + m->size < m->base)
            return false;
        bool joins = region_count > 0 && m->base == end && i > 0 && is_ram(&mem[i - 1]);
        end = m->base + m->size;
        if (!is_ram(m) || m->size == 0)
            continue;
        if (joins)
            regions[region_count - 1].frames += m->size / FRAME_SIZE;
        else if (region_count < REGIONS_MAX)
            regions[region_count++] =
                (struct region){.first = m->base / FRAME_SIZE, .frames = m->size / FRAME_SIZE};
    }
    return true;
}

enum status frames_init(const struct boot_mem *mem, uint32_t count)
{
    if (!make_regions(mem, count))
        return ERR_INVAL;
    uint64_t bytes = 0;
    for (unsigned n = 0; n < region_count; n++)
        bytes += bitmap_bytes(&regions[n]);
    uint64_t need = (bytes + FRAME_SIZE - 1) / FRAME_SIZE * FRAME_SIZE;

    phys_t place = FRAME_NONE;
    for (uint32_t i = 0; i < count && place == FRAME_NONE; i++)
        if (mem[i].type == BOOT_MEM_USABLE && mem[i].base >= LOW_MEMORY && mem[i].size >= need)
            place = mem[i].base;
    if (place == FRAME_NONE)
        return ERR_NOMEM;

    fill(phys_to_virt(place), need / 8, 0);
    phys_t at = place;
    for (unsigned n = 0; n < region_count; n++) {
        regions[n].bitmap = at;
        at += bitmap_bytes(&regions[n]);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct region *r = mem[i].type == BOOT_MEM_USABLE ? region_of(mem[i].base / FRAME_SIZE, 1) : NULL;
        if (!r)
            continue;
        set_range(bits_of(r), mem[i].base / FRAME_SIZE - r->first, mem[i].size / FRAME_SIZE, true);
        r->free += mem[i].size / FRAME_SIZE;
    }
    frames_reserve(place, need / FRAME_SIZE);
    frames_reserve(0, 1); // a null physical address must stay nobody's
    return OK;
}
