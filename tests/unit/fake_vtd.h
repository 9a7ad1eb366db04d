// SPDX-License-Identifier: BSD-2-Clause
// A remapping unit for tests of drivers/vtd*.c, in one file each. It walks the driver's tables as hardware
// does, from memory as the driver flushed it (a line that was not flushed is not seen), caches what it finds,
// and forgets only what an invalidation names, by register or, where it has a queue that is on, by that
// alone. Not present entries are cached in caching mode only.
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
#define ECAP_QI        (1ull << 1)
#define ECAP_IR        (1ull << 3)
#define ECAP_EIM       (1ull << 4)
#define ECAP_PT        (1ull << 6)
#define ECAP_SC        (1ull << 7)
#define ECAP_IRO       (0xfull << 8)

#define GSTS_TE  (1u << 31)
#define GSTS_QIE (1u << 26)
#define GSTS_IRE (1u << 25)
#define GSTS_CFI (1u << 23)

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
struct fake_entry {
    bool valid;
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
    uint32_t last_tlb;     // drains of the last command, as in IOTLB_REG's upper half
    uint32_t last_context; // source and domain
    uint64_t irta;         // in force
    struct fake_entry entries[256];
    unsigned interrupts_global, interrupts_one;
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

static inline void fake_invalidate_contexts(unsigned kind, uint16_t source, uint16_t of)
{
    if (kind == 1)
        fake.context_global++;
    else
        fake.context_device++;
    fake.last_context = (uint32_t)source << 16 | of;
    for (unsigned i = 0; i < 64; i++) {
        struct fake_context *c = &fake.contexts[i];
        uint16_t domain = c->low & 1 ? (uint16_t)(c->high >> 8) : 0;
        if (kind == 1 || (kind == 3 && c->source == source && domain == of))
            c->valid = false;
    }
    assert_true(kind == 1 || kind == 3);
}

static inline void fake_invalidate_tlb(unsigned kind, uint16_t domain, unsigned drains, uint64_t pages)
{
    unsigned order = pages & 0x3f;
    uint64_t first = pages >> 12;
    fake.last_iva = pages;
    fake.last_tlb = drains << 16;
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
        if (kind == 1 || (t->domain == domain && (kind == 2 || reached)))
            t->valid = false;
    }
}

static inline void fake_invalidate_interrupts(bool one, unsigned order, unsigned first)
{
    if (one)
        fake.interrupts_one++;
    else
        fake.interrupts_global++;
    for (unsigned i = 0; i < 256; i++)
        if (!one || i >> order == first >> order)
            fake.entries[i].valid = false;
}

/// False: something is set in a descriptor that is reserved, or unknown.
static inline bool fake_descriptor(uint64_t low, uint64_t high)
{
    switch (low & 15) {
    case 1:
        if (low >> 50 || low & 0xffc0 || high)
            return false;
        fake_invalidate_contexts(low >> 4 & 3, (uint16_t)(low >> 32), (uint16_t)(low >> 16));
        return true;
    case 2:
        if (low >> 32 || low & 0xff00 || high & 0xf80)
            return false;
        fake_invalidate_tlb(low >> 4 & 3, (uint16_t)(low >> 16), low >> 6 & 3, high);
        return true;
    case 4:
        if (low >> 48 || low & 0x07ffffe0 || high)
            return false;
        fake_invalidate_interrupts(low >> 4 & 1, low >> 27 & 31, low >> 32 & 0xffff);
        return true;
    case 5: {
        uint32_t done = (uint32_t)(low >> 32);
        if (low & 0xffffff80 || !(low & 0x20) || high & 3)
            return false;
        memcpy(phys_to_virt(high), &done, 4);
        return true;
    }
    default:
        return false;
    }
}

static inline void fake_run_queue(void)
{
    const uint64_t *queue = phys_to_virt(fake_get64(0x90) & ~0xfffull);
    uint32_t tail = fake_get(0x88);
    assert_int_equal(fake_get64(0x90) & 0xfff, 0); // 256 descriptors of 16 bytes
    assert_true(tail < 4096 && tail % 16 == 0);
    fake_empty_buffer();
    while (fake_get(0x80) != tail) {
        uint32_t at = fake_get(0x80);
        if (fake.mute || !fake_descriptor(queue[at / 8], queue[at / 8 + 1])) {
            fake_put(0x34, fake_get(0x34) | 1u << 4); // and stops there
            return;
        }
        fake_put(0x80, (at + 16) % 4096);
    }
}

static inline void fake_command(uint32_t value)
{
    uint32_t was = fake_get(0x1c);
    if (value & 1u << 27) { // done at once
        fake.write_buffer++;
        fake_empty_buffer();
    }
    if (value & ~was & GSTS_QIE) {
        assert_true(fake_get64(0x10) & ECAP_QI);
        assert_int_equal(fake_get(0x88), 0);
        fake_put(0x80, 0);
    }
    if (value & 1u << 24) {
        assert_true(fake_get64(0x10) & ECAP_IR);
        fake.irta = fake_get64(0xb8);
    }
    const uint32_t stay = 1u << 30 | 1u << 24; // pointers were taken
    fake_put(0x1c, (value & ~(1u << 27 | stay)) | ((was | value) & stay));
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
    bool queue = fake_get(0x1c) & GSTS_QIE;
    if (reg == 0x18) {
        fake_command(value);
    } else if (reg == 0x88 && queue) {
        fake_run_queue();
    } else if ((reg == 0x2c || reg == 0xfc) && value >> 31) {
        assert_false(queue);
        fake_empty_buffer();
        if (fake.mute) {
            fake_put(reg, 0);
        } else if (reg == 0x2c) {
            unsigned kind = value >> 29 & 3;
            fake_invalidate_contexts(kind, (uint16_t)(fake_get(0x28) >> 16), (uint16_t)fake_get(0x28));
            fake_put(0x2c, (value & 0x7fffffffu & ~(3u << 27)) | kind << 27);
        } else {
            unsigned kind = value >> 28 & 3;
            fake_invalidate_tlb(kind, (uint16_t)value, value >> 16 & 3, fake_get64(0xf0));
            fake_put(0xfc, (value & 0x7fffffffu & ~(3u << 25)) | kind << 25);
        }
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

// Messages of functions

#define FAKE_STOPPED 0u

/// What the processors get: vector, and the processor in bits 63:32; or FAKE_STOPPED, and then there is a
/// record.
static inline uint64_t fake_message(uint16_t source, uint32_t address, uint32_t data)
{
    uint32_t status = fake_get(0x1c);
    bool wide = fake.irta >> 11 & 1;
    assert_int_equal(address >> 20, 0xfee);
    if (!(status & GSTS_IRE) || !(address & 1u << 4)) {
        if (!(status & GSTS_IRE) || (status & GSTS_CFI && !wide))
            return (uint64_t)(address >> 12 & 0xff) << 32 | (data & 0xff);
        fake_fault(source, 0, true, 0x25);
        return FAKE_STOPPED;
    }
    uint64_t index = (address >> 5 & 0x7fff) | (address & 4u) << 13;
    if (address & 8u)
        index += data & 0xffff;
    uint8_t reason = 0;
    struct fake_entry e = {0};
    if (address & 8u && data >> 16)
        reason = 0x20;
    else if (index >> ((fake.irta & 15) + 1))
        reason = 0x21;
    else if (fake.entries[index].valid)
        e = fake.entries[index];
    else {
        phys_t at = (fake.irta & ~0xfffull) + 16 * index;
        e = (struct fake_entry){true, fake_read(at), fake_read(at + 8)};
        if (e.low & 1 || fake_get64(0x08) & CAP_CM)
            fake.entries[index] = e;
    }
    if (!reason && !(e.low & 1))
        reason = 0x22;
    if (!reason && (e.low & 0xff00f000 || e.high >> 20 || (!wide && e.low & 0xffff00ffull << 32)))
        reason = 0x24;
    if (!reason && ((e.high >> 18 & 3) != 1 || (e.high >> 16 & 3) != 0 || (uint16_t)e.high != source))
        reason = 0x26;
    if (reason) {
        fake_fault(source, index << 48, true, reason);
        return FAKE_STOPPED;
    }
    assert_int_equal(e.low & 0xee, 0); // fixed, to one processor by its identifier
    return (e.low >> (wide ? 32 : 40)) << 32 | (e.low >> 16 & 0xff);
}

// DMAR: an RMRR, of no interest, and one unit with an I/O APIC

#define FAKE_IOAPIC        9u
#define FAKE_IOAPIC_SOURCE 0xf0f8u

static uint8_t fake_dmar[48 + 16 + 16 + 16];

static inline void fake_make_dmar(uint16_t segment)
{
    static const uint8_t scopes[] = {1, 8, 0, 0, 0, 0, 5, 0, 3, 8, 0, 0, FAKE_IOAPIC, 0xf0, 0x1f, 0};
    memset(fake_dmar, 0, sizeof fake_dmar);
    memcpy(fake_dmar, "DMAR", 4);
    fake_dmar[37] = 1;
    fake_dmar[48] = 1;
    fake_dmar[50] = 16;
    fake_dmar[64 + 2] = 32;
    fake_dmar[64 + 4] = 1;
    memcpy(fake_dmar + 64 + 6, &segment, 2);
    uint64_t base = UNIT;
    memcpy(fake_dmar + 64 + 8, &base, 8);
    memcpy(fake_dmar + 64 + 16, scopes, sizeof scopes);
}
