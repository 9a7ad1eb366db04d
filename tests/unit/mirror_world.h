// SPDX-License-Identifier: BSD-2-Clause
// A guest, its memory, and a device at the other end of a link: random work against a model of one shared
// memory, for tests of both halves of the DMA mirror (docs/dma.md). The guest's driver makes commands:
// buffers anywhere in pages, mapped at any address, a descriptor in a ring page that both sides write, a
// doorbell. The device reads what it is to read, writes what it is to write, then its completion, then
// perhaps an interrupt. Between all that the guest writes bytes beside the buffers, aborts commands under the
// device's hands, maps the same pages again at once. The device is mirror_device.h, the driver
// mirror_driver.h, which a test includes once; the test is the network between the two.
//
// What must hold: a completion is never seen before its data; no byte beside a buffer ever changes; nothing
// lands after its mapping is over; the device reads what the guest wrote before the doorbell; in the end both
// sides have the same.
#pragma once
#include "hv/bus/remote.h"
#include "hv/platform/iommu.h"
#include "net/stack.h"
#include "rt/time.h"
#include "rt/trace.h"
#include "tests/unit/host/host.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- what the test (the network) gives ---

/// A record from the device's machine to the host. ERR_BUSY: full.
static enum status world_to_host(const struct wire_record *rec, const void *body, size_t size,
                                 const void *data, size_t data_size);
/// Time passes for everybody else: frames move, the device works. Lock held, as in net_poll.
static unsigned world_step(void);

// --- randomness, failure ---

static uint64_t world_seed, world_random_state;
static unsigned world_op;
static const char *world_doing = "";

static inline uint64_t world_random(void)
{
    uint64_t z = world_random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
static inline unsigned below(unsigned n)
{
    return (unsigned)(world_random() % n);
}

static inline void require(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "seed %llu, operation %u (%s): %s\n", (unsigned long long)world_seed, world_op,
            world_doing, what);
    abort();
}

// --- the guest's memory and its model ---

#define PAGE     4096u
#define PAGES    32u
#define TAGS_MAX 16u
#define BUFS     5u
#define ENTRY    256u // of the ring, for one tag: descriptor, completion, a note of the driver's
#define COMPLETE 200u
#define NOTE     208u
#define RING     0u // page
#define VECTORS  64u
#define GPA(p)   ((p) < PAGES / 2 ? (uint64_t)(p)*PAGE : 0x100000000ull + (uint64_t)(p)*PAGE)

struct descriptor {
    uint32_t seq, count;
    struct {
        uint64_t iova;
        uint32_t size, access;
    } buf[BUFS];
};

struct buffer {
    unsigned page, offset, size;
    uint64_t iova; // of the page
    uint8_t access;
    uint8_t expected[PAGE]; // what is in it when the device is done
};

struct command {
    bool used, aborted;
    uint32_t seq;
    unsigned count;
    struct buffer buf[BUFS];
};

/// Where the device finds the ring.
static uint64_t ring_at;

static struct world {
    uint8_t memory[PAGES][PAGE] __attribute__((aligned(4096)));
    uint8_t model[PAGES][PAGE];
    uint8_t owner[PAGES][PAGE]; // 0: the guest; else tag + 1: the device's until it has completed
    bool watched[PAGES];
    uint64_t dirty[PAGES];
    bool unsettled;
    uint64_t overruns; // heeded so far
    bool all_mapped;   // dma = mirror
    bool no_watch;     // nested paging has no dirty bits
    struct {
        uint64_t iova, gpa;
        uint8_t access;
        bool used;
    } tables[128];
    struct io_space io;
    struct guest_pci pci;
    struct bus_guest *guest;
    struct boot_device device;
    struct command commands[TAGS_MAX];
    uint32_t seq;
    unsigned completed, aborts, interrupts, faults, unmapped;
    uint64_t bar;
    uint16_t handle; // of the device when its driver started
    bool locked;
} w;

static inline int page_of(uint64_t gpa)
{
    for (unsigned p = 0; p < PAGES; p++) {
        if (GPA(p) == gpa)
            return (int)p;
    }
    return -1;
}

static inline void *mem_page(void *ctx, uint64_t gpa)
{
    (void)ctx;
    int p = page_of(gpa);
    return p < 0 ? NULL : w.memory[p];
}

static inline bool mem_watch(void *ctx, uint64_t gpa)
{
    (void)ctx;
    int p = page_of(gpa);
    require(p >= 0, "a page is watched that is not memory");
    w.watched[p] = !w.no_watch;
    return !w.no_watch;
}

static inline bool mem_dirty(void *ctx, uint64_t gpa)
{
    (void)ctx;
    int p = page_of(gpa);
    require(p >= 0 && w.watched[p], "dirty() of a page that is not watched");
    bool was = w.dirty[p];
    w.dirty[p] = false;
    w.unsettled |= was;
    return was;
}

static inline void mem_settle(void *ctx)
{
    (void)ctx;
    w.unsettled = false;
}

/// Half of the pages say it in a word.
static inline const volatile uint64_t *mem_note(void *ctx, uint64_t gpa, uint64_t *mask)
{
    (void)ctx;
    int p = page_of(gpa);
    require(p >= 0 && w.watched[p], "note() of a page that is not watched");
    *mask = 1;
    return p % 2 ? &w.dirty[p] : NULL;
}

static inline bool mem_range(void *ctx, unsigned index, uint64_t *gpa, uint64_t *size)
{
    (void)ctx;
    *gpa = GPA(index ? PAGES / 2 : 0);
    *size = (uint64_t)PAGES / 2 * PAGE;
    return index < 2;
}

/// An instruction of the guest.
static inline void guest_runs(void)
{
    require(!w.unsettled, "the guest runs with unsettled dirty bits");
    require(!w.locked, "the guest runs with the net lock held");
}

static inline void guest_store(unsigned page, unsigned at, uint8_t value)
{
    w.memory[page][at] = value;
    w.model[page][at] = value;
    w.dirty[page] = true;
}

static inline void check_page(unsigned p)
{
    if (memcmp(w.memory[p], w.model[p], PAGE) == 0)
        return;
    for (unsigned at = 0; at < PAGE; at++) {
        if (w.owner[p][at] == 0 && w.memory[p][at] != w.model[p][at]) {
            fprintf(stderr, "page %u offset %u: %02x, should be %02x\n", p, at, w.memory[p][at],
                    w.model[p][at]);
            require(false, "a byte changed that the device may not write");
        }
    }
}

// --- the guest's IOMMU (hv/platform/iommu.h) ---

#define DOMAIN 5u

enum iommu_state iommu_state(struct guest_iommu *u, uint16_t source, uint16_t *domain)
{
    (void)u;
    require(source == 2u << 3, "requester ID");
    *domain = DOMAIN;
    return IOMMU_TRANSLATED;
}

bool iommu_walk(struct guest_iommu *u, uint16_t source, uint64_t first_page, uint64_t pages,
                bool (*page)(void *ctx, uint64_t iova_page, uint64_t gpa, unsigned access), void *ctx)
{
    (void)u, (void)source;
    for (uint64_t next = first_page;;) {
        int best = -1;
        for (unsigned i = 0; i < 128; i++) {
            if (w.tables[i].used && w.tables[i].iova / PAGE >= next &&
                w.tables[i].iova / PAGE - first_page < pages &&
                (best < 0 || w.tables[i].iova < w.tables[best].iova))
                best = (int)i;
        }
        if (best < 0)
            return true;
        if (!page(ctx, w.tables[best].iova / PAGE, w.tables[best].gpa, w.tables[best].access))
            return false;
        next = w.tables[best].iova / PAGE + 1;
    }
}

void iommu_fault(struct guest_iommu *u, uint16_t source, uint64_t iova, bool write, uint8_t reason)
{
    (void)u, (void)source, (void)iova, (void)write, (void)reason;
    require(!w.locked, "iommu_fault with the net lock held");
    w.faults++;
}

static inline void table_add(uint64_t iova, unsigned page, uint8_t access)
{
    for (unsigned i = 0; i < 128; i++) {
        if (w.tables[i].used)
            continue;
        w.tables[i].used = true;
        w.tables[i].iova = iova;
        w.tables[i].gpa = GPA(page);
        w.tables[i].access = access;
        return;
    }
    require(false, "tables full");
}

static inline void table_remove(uint64_t iova)
{
    for (unsigned i = 0; i < 128; i++) {
        if (w.tables[i].used && w.tables[i].iova == iova)
            w.tables[i].used = false;
    }
}

static inline bool table_has(uint64_t iova)
{
    for (unsigned i = 0; i < 128; i++) {
        if (w.tables[i].used && w.tables[i].iova == iova)
            return true;
    }
    return false;
}

/// A round that does not fit calls the guest's CPU, which waits for its end before the next instruction.
static inline void heed(void)
{
    if (bus_counts.dma_overruns == w.overruns)
        return;
    w.overruns = bus_counts.dma_overruns;
    bus_guest_collect(w.guest);
}

/// The guest says what it changed: exactly, or more than that.
static inline void invalidate(uint64_t iova, uint64_t pages)
{
    struct iommu_scope scope = {
        .kind = IOMMU_SCOPE_PAGES, .domain = DOMAIN, .first_page = iova / PAGE, .pages = pages};
    guest_runs();
    unsigned how = below(12);
    if (how == 0)
        scope = (struct iommu_scope){.kind = IOMMU_SCOPE_DOMAIN, .domain = DOMAIN};
    else if (how == 1)
        scope = (struct iommu_scope){.kind = IOMMU_SCOPE_ALL};
    else if (how == 2)
        scope = (struct iommu_scope){.kind = IOMMU_SCOPE_SOURCE, .source = 2u << 3};
    else if (how == 3 && pages == 1) // rounded to a power of two, as guests do
        scope.first_page &= ~15ull, scope.pages = 16;
    bus_guest_mappings(w.guest, &scope);
    heed();
}
