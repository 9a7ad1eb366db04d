// SPDX-License-Identifier: BSD-2-Clause
// A remapping unit for tests of drivers/vtd*.c, in one file each. It walks the driver's tables as hardware
// does, from memory as the driver flushed it (a line that was not flushed is not seen), caches what it finds,
// and forgets only what an invalidation names. Not present entries are cached in caching mode only.
#pragma once
#include "drivers/hw.h"
#include "drivers/vtd.h"
#include "rt/paging.h"
#include <stdlib.h>
#include <string.h>

#define UNIT       0xfed90000ull
#define FAKE_FAULT ((phys_t)-1)

#define CAP_39         (1ull << 9)
#define CAP_48         (1ull << 10)
#define CAP_RWBF       (1ull << 4)
#define CAP_CM         (1ull << 7)
#define CAP_PSI        (1ull << 39)
#define CAP_DRAIN      (3ull << 54)
#define CAP_ND(n)      ((uint64_t)(n))
#define CAP_MAMV(n)    ((uint64_t)(n) << 48)
#define CAP_MGAW(bits) ((uint64_t)((bits)-1) << 16)
#define FAULT_REGS     4u
#define CAP_FAULTS     (0x22ull << 24 | (uint64_t)(FAULT_REGS - 1) << 40)
#define ECAP_C         (1ull << 0)
#define ECAP_PT        (1ull << 6)
#define ECAP_SC        (1ull << 7)
#define ECAP_IRO       (0xfull << 8)

#define LINES_MAX (1u << 19)
#define CACHE_MAX 8192u

struct fake_line {
    uintptr_t at;
    uint8_t bytes[64];
};
struct fake_context {
    bool valid;
    uint16_t source;
    uint64_t low, high;
};
struct fake_tlb {
    bool valid, leaf; // leaf: a page; else a table of level 1 that was found for 2 MiB
    uint16_t domain;
    uint64_t page, entry;
};

static struct {
    uint8_t regs[4096];
    struct fake_line *memory, buffer[256]; // what the unit sees; the buffer of CAP.RWBF, in front of it
    unsigned buffered;
    struct fake_context contexts[64];
    struct fake_tlb tlb[CACHE_MAX];
    unsigned next_fault;
    bool deaf, mute; // does not answer; answers without having done anything
    unsigned context_global, context_device, tlb_global, tlb_domain, tlb_pages, write_buffer;
    uint64_t last_iva;
    uint32_t last_tlb; // upper half of the last command
} fake;

volatile void *mmio_map(phys_t phys, size_t size)
{
    assert_int_equal(phys, UNIT);
    assert_int_equal(size, sizeof fake.regs);
    return fake.regs;
}

static inline uint32_t fake_get(unsigned reg)
{
    uint32_t value;
    memcpy(&value, fake.regs + reg, 4);
    return value;
}
static inline uint64_t fake_get64(unsigned reg)
{
    return fake_get(reg) | (uint64_t)fake_get(reg + 4) << 32;
}
static inline void fake_put(unsigned reg, uint32_t value)
{
    memcpy(fake.regs + reg, &value, 4);
}
static inline void fake_put64(unsigned reg, uint64_t value)
{
    memcpy(fake.regs + reg, &value, 8);
}

static inline void fake_reset(uint64_t cap, uint64_t ecap)
{
    free(fake.memory);
    memset(&fake, 0, sizeof fake);
    fake.memory = calloc(LINES_MAX, sizeof *fake.memory);
    assert_non_null(fake.memory);
    fake_put64(0x08, cap | CAP_FAULTS);
    fake_put64(0x10, ecap | ECAP_IRO);
}

// Memory

static inline struct fake_line *fake_line(uintptr_t at, bool make)
{
    at &= ~63ul;
    unsigned i = (unsigned)(at / 64 * 0x9e3779b1u) % LINES_MAX;
    for (; fake.memory[i].at != at; i = (i + 1) % LINES_MAX)
        if (fake.memory[i].at == 0) {
            if (!make)
                return NULL;
            fake.memory[i].at = at;
            break;
        }
    return &fake.memory[i];
}

static inline void fake_empty_buffer(void)
{
    for (unsigned i = 0; i < fake.buffered; i++)
        memcpy(fake_line(fake.buffer[i].at, true)->bytes, fake.buffer[i].bytes, 64);
    fake.buffered = 0;
}

void hw_flush(const volatile void *at, size_t bytes)
{
    for (uintptr_t line = (uintptr_t)at & ~63ul; line < (uintptr_t)at + bytes; line += 64) {
        if (!(fake_get64(0x08) & CAP_RWBF)) {
            memcpy(fake_line(line, true)->bytes, (const void *)line, 64);
            continue;
        }
        if (fake.buffered == 256)
            fake_empty_buffer();
        fake.buffer[fake.buffered].at = line;
        memcpy(fake.buffer[fake.buffered++].bytes, (const void *)line, 64);
    }
}

static inline uint64_t fake_read(phys_t at)
{
    uint64_t value;
    if (fake_get64(0x10) & ECAP_C)
        return *(const uint64_t *)phys_to_virt(at);
    const struct fake_line *line = fake_line((uintptr_t)phys_to_virt(at), false);
    if (!line)
        return 0xdeadull << 12 | 3; // what never was flushed is anything
    memcpy(&value, line->bytes + at % 64, 8);
    return value;
}

// Invalidation

static inline void fake_invalidate_contexts(uint32_t high)
{
    unsigned kind = high >> 29 & 3;
    uint32_t low = fake_get(0x28);
    if (kind == 1)
        fake.context_global++;
    else
        fake.context_device++;
    for (unsigned i = 0; i < 64; i++) {
        struct fake_context *c = &fake.contexts[i];
        uint16_t domain = c->low & 1 ? (uint16_t)(c->high >> 8) : 0;
        if (kind == 1 || (kind == 3 && c->source == low >> 16 && domain == (low & 0xffff)))
            c->valid = false;
    }
    assert_true(kind == 1 || kind == 3);
    fake_put(0x2c, (high & 0x7fffffffu & ~(3u << 27)) | kind << 27);
}

static inline void fake_invalidate_tlb(uint32_t high)
{
    unsigned kind = high >> 28 & 3, order = fake_get(0xf0) & 0x3f;
    uint64_t first = fake_get64(0xf0) >> 12;
    fake.last_iva = fake_get64(0xf0);
    fake.last_tlb = high;
    if (kind == 1)
        fake.tlb_global++;
    else if (kind == 2)
        fake.tlb_domain++;
    else {
        fake.tlb_pages++;
        assert_true(fake_get64(0x08) & CAP_PSI);
        assert_true(order <= (fake_get64(0x08) >> 48 & 0x3f));
        assert_int_equal(first & ((1ull << order) - 1), 0);
        assert_int_equal(fake.last_iva & 0xfc0, 0); // the hint stays away
    }
    for (unsigned i = 0; i < CACHE_MAX; i++) {
        struct fake_tlb *t = &fake.tlb[i];
        bool reached = t->leaf ? t->page >> order == first >> order
                               : t->page << 9 <= first + (1ull << order) - 1 && first <= (t->page << 9 | 511);
        if (kind == 1 || (t->domain == (high & 0xffff) && (kind == 2 || reached)))
            t->valid = false;
    }
    fake_put(0xfc, (high & 0x7fffffffu & ~(3u << 25)) | kind << 25);
}

uint32_t hw_read32(const volatile void *at)
{
    return fake_get((unsigned)((const volatile uint8_t *)at - fake.regs));
}

void hw_write32(volatile void *at, uint32_t value)
{
    unsigned reg = (unsigned)((volatile uint8_t *)at - fake.regs);
    if (reg >= 0x220 && reg < 0x220 + 16 * FAULT_REGS) {
        assert_int_equal(reg & 15, 12);
        fake_put(reg, fake_get(reg) & ~(value & 1u << 31));
        uint32_t pending = 0;
        for (unsigned i = 0; i < FAULT_REGS; i++)
            pending |= fake_get(0x22c + 16 * i) >> 31;
        fake_put(0x34, (fake_get(0x34) & ~2u) | pending << 1);
        return;
    }
    if (reg == 0x34) {
        fake_put(0x34, fake_get(0x34) & ~(value & 1));
        return;
    }
    fake_put(reg, value);
    if (fake.deaf)
        return;
    if (reg == 0x18) { // GCMD -> GSTS; write buffer flush is done at once, the root pointer stays set
        if (value & 1u << 27) {
            fake.write_buffer++;
            fake_empty_buffer();
        }
        fake_put(0x1c, (value & ~(1u << 27 | 1u << 30)) | ((fake_get(0x1c) | value) & 1u << 30));
    } else if ((reg == 0x2c || reg == 0xfc) && value >> 31) {
        fake_empty_buffer();
        if (fake.mute)
            fake_put(reg, 0);
        else if (reg == 0x2c)
            fake_invalidate_contexts(value);
        else
            fake_invalidate_tlb(value);
    }
}

// Requests of functions

static inline phys_t fake_fault(uint16_t source, uint64_t iova, bool write, uint8_t reason)
{
    unsigned at = 0x220 + 16 * fake.next_fault;
    if (fake_get(at + 12) >> 31) {
        fake_put(0x34, fake_get(0x34) | 1);
        return FAKE_FAULT;
    }
    fake_put64(at, iova & ~0xfffull);
    fake_put(at + 8, source);
    fake_put(at + 12, 1u << 31 | (write ? 0 : 1u << 30) | reason);
    if (!(fake_get(0x34) & 2))
        fake_put(0x34, (fake_get(0x34) & 1) | 2 | fake.next_fault << 8);
    fake.next_fault = (fake.next_fault + 1) % FAULT_REGS;
    return FAKE_FAULT;
}

static inline struct fake_tlb *fake_cached(uint16_t domain, uint64_t page, bool leaf)
{
    for (unsigned i = 0; i < CACHE_MAX; i++) {
        struct fake_tlb *t = &fake.tlb[i];
        if (t->valid && t->leaf == leaf && t->domain == domain && t->page == page)
            return t;
    }
    return NULL;
}

static inline void fake_cache(uint16_t domain, uint64_t page, bool leaf, uint64_t entry)
{
    static unsigned next;
    if (entry & 3 || fake_get64(0x08) & CAP_CM)
        fake.tlb[next++ % CACHE_MAX] = (struct fake_tlb){true, leaf, domain, page, entry};
}

static inline uint64_t fake_walk(uint16_t domain, uint64_t root, unsigned levels, uint64_t iova)
{
    uint64_t entry = root | 3, page = iova >> 12;
    struct fake_tlb *t = fake_cached(domain, page, true);
    if (t)
        return t->entry;
    unsigned level = levels;
    t = fake_cached(domain, page >> 9, false);
    if (t) {
        entry = t->entry;
        level = 1;
    }
    for (; level > 0 && entry & 3; level--) {
        if (level == 1 && !t)
            fake_cache(domain, page >> 9, false, entry);
        entry = fake_read((entry & 0xffffffffff000ull) + (iova >> (3 + 9 * level) & 511) * 8);
        if (level > 1)
            assert_int_equal(entry & 0x880, 0); // reserved in entries that point to tables
        assert_true(!(entry & 0x800) || fake_get64(0x10) & ECAP_SC);
    }
    fake_cache(domain, page, true, entry);
    return entry;
}

/// What the function reaches: an address, or FAKE_FAULT, and then there is a record.
static inline phys_t fake_access(uint8_t bus, uint8_t devfn, uint64_t iova, bool write)
{
    uint16_t source = (uint16_t)(bus << 8 | devfn);
    struct fake_context c = {true, source, 0, 0}, *free_slot = NULL;
    for (unsigned i = 0; i < 64; i++) {
        if (fake.contexts[i].valid && fake.contexts[i].source == source) {
            c = fake.contexts[i];
            goto found;
        }
        if (!fake.contexts[i].valid)
            free_slot = &fake.contexts[i];
    }
    uint64_t table = fake_read(fake_get64(0x20) + 16u * bus);
    if (!(table & 1))
        return fake_fault(source, iova, write, 1);
    c.low = fake_read((table & ~0xfffull) + 16u * devfn);
    c.high = fake_read((table & ~0xfffull) + 16u * devfn + 8);
    if (free_slot && (c.low & 1 || fake_get64(0x08) & CAP_CM))
        *free_slot = c;
found:
    if (!(c.low & 1))
        return fake_fault(source, iova, write, 2);
    if ((c.low >> 2 & 3) == 2)
        return iova;
    unsigned aw = c.high & 7;
    assert_true(fake_get64(0x08) & 1ull << (8 + aw));
    if (iova >> (30 + 9 * aw))
        return fake_fault(source, iova, write, 4);
    uint64_t entry = fake_walk((uint16_t)(c.high >> 8), c.low & ~0xfffull, aw + 2, iova);
    if (!(entry & (write ? 2 : 1)))
        return fake_fault(source, iova, write, write ? 5 : 6);
    return (entry & 0xffffffffff000ull) | (iova & 0xfff);
}

// DMAR: an RMRR, of no interest, and one unit

static uint8_t fake_dmar[48 + 16 + 16];

static inline void fake_make_dmar(uint16_t segment)
{
    memset(fake_dmar, 0, sizeof fake_dmar);
    memcpy(fake_dmar, "DMAR", 4);
    fake_dmar[48] = 1;
    fake_dmar[50] = 16;
    fake_dmar[64 + 2] = 16;
    fake_dmar[64 + 4] = 1;
    memcpy(fake_dmar + 64 + 6, &segment, 2);
    uint64_t base = UNIT;
    memcpy(fake_dmar + 64 + 8, &base, 8);
}
