// SPDX-License-Identifier: BSD-2-Clause
// A guest, its memory, and a device at the other end of a link: random work against a model of one shared
// memory, for tests of both halves of the DMA mirror (docs/dma.md). The guest's driver makes commands:
// buffers anywhere in pages, mapped at any address, a descriptor in a ring page that both sides write, a
// doorbell. The device reads what it is to read, writes what it is to write, then its completion, then
// perhaps an interrupt. Between all that the guest writes bytes beside the buffers, aborts commands under the
// device's hands, maps the same pages again at once. Include once in a test, which is the network between the
// two (WORLD_* below).
//
// What must hold: a completion is never seen before its data; no byte beside a buffer ever changes; nothing
// lands after its mapping is over; the device reads what the guest wrote before the doorbell; in the end both
// sides have the same.
#pragma once
#include "hv/bus/remote.h"
#include "hv/platform/iommu.h"
#include "net/stack.h"
#include "remote-fw/dma.h"
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
    bool all_mapped; // dma = mirror
    bool no_watch;   // nested paging has no dirty bits
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
}

// --- the device and its machine ---

#define DEVICE_SLOTS 26u
#define PATIENCE     200000u // longer than a link without its cable lives

struct job {
    bool active, checked;
    struct descriptor d;
    unsigned wait, steps, faults;
    struct command *command; // whom it works for
    uint32_t seq;            // and if that is still the one
};

static struct device {
    struct dma dma;
    uint64_t rounds_noted;
    struct {
        uint64_t iova;
        uint8_t *page;
        unsigned access;
        bool used;
    } seen[128]; // what the IOMMU lets it see
    struct job jobs[TAGS_MAX];
    uint32_t last[TAGS_MAX];
    uint8_t config[256];
    uint64_t wanted;
    uint16_t handle, credits_back;
    bool mute; // does nothing for now
    // what waits for a round
    struct waiting {
        struct wire_record rec;
        uint8_t data[8];
        uint16_t size;
        uint64_t round; // 0: none was begun for it
    } todo[256];
    unsigned todo_count;
    unsigned pages, done, starts, idle_polls;
} dev;

static inline void *ops_table_take(void *ctx, size_t bytes)
{
    (void)ctx;
    return calloc(1, bytes);
}
static inline void ops_table_give(void *ctx, void *table, size_t bytes)
{
    (void)ctx, (void)bytes;
    free(table);
}
static inline void *ops_page_take(void *ctx)
{
    (void)ctx;
    dev.pages++;
    uint8_t *p = aligned_alloc(PAGE, PAGE);
    memset(p, 0xee, PAGE);
    return p;
}
static inline void ops_page_give(void *ctx, void *page)
{
    (void)ctx;
    dev.pages--;
    free(page);
}
static inline enum status ops_map(void *ctx, uint64_t iova, void *page, unsigned access)
{
    (void)ctx;
    for (unsigned i = 0; i < 128; i++) {
        require(!dev.seen[i].used || dev.seen[i].iova != iova, "mapped twice");
        if (dev.seen[i].used)
            continue;
        dev.seen[i].used = true;
        dev.seen[i].iova = iova;
        dev.seen[i].page = page;
        dev.seen[i].access = access;
        return OK;
    }
    return ERR_NOMEM;
}
static inline void ops_unmap(void *ctx, uint64_t iova, uint64_t pages)
{
    (void)ctx;
    for (unsigned i = 0; i < 128; i++) {
        if (dev.seen[i].used && dev.seen[i].iova >= iova && (dev.seen[i].iova - iova) / PAGE < pages)
            dev.seen[i].used = false;
    }
}
static inline enum status ops_send(void *ctx, uint8_t type, const void *body, size_t size, const void *data,
                                   size_t data_size)
{
    (void)ctx;
    const struct wire_record rec = {.type = type, .function = dev.handle};
    return world_to_host(&rec, body, size, data, data_size);
}
static const struct dma_ops device_ops = {ops_table_take, ops_table_give, ops_page_take, ops_page_give,
                                          ops_map,        ops_unmap,      ops_send,      NULL};

/// What the device finds at an address; NULL: its IOMMU stops it, and says so.
static inline uint8_t *device_at(uint64_t iova, unsigned access)
{
    for (unsigned i = 0; i < 128; i++) {
        if (dev.seen[i].used && dev.seen[i].iova == iova / PAGE * PAGE &&
            (dev.seen[i].access & access) == access)
            return dev.seen[i].page + iova % PAGE;
    }
    const struct wire_dma_fault fault = {.iova = iova / PAGE * PAGE, .write = access == WIRE_DMA_WRITE};
    if (below(8) == 0)
        (void)ops_send(NULL, REC_DMA_FAULT, &fault, sizeof(fault), NULL, 0);
    return NULL;
}

static inline void later(const struct wire_record *rec, const void *data, uint16_t size)
{
    require(dev.todo_count < 256, "the device's machine has too much to say");
    struct waiting *t = &dev.todo[dev.todo_count++];
    *t = (struct waiting){.rec = *rec, .size = size};
    memcpy(t->data, data, size);
}

static inline bool live(const struct job *j)
{
    return j->command->used && !j->command->aborted && j->command->seq == j->seq;
}

/// The first thing it does: is what it is to read what the guest wrote? False: not there yet.
static inline bool device_reads(struct job *j)
{
    for (unsigned i = 0; i < j->d.count; i++) {
        if (!(j->d.buf[i].access & WIRE_DMA_READ))
            continue;
        const uint8_t *at = device_at(j->d.buf[i].iova, WIRE_DMA_READ);
        if (!at)
            return false;
        if (live(j) && memcmp(at, j->command->buf[i].expected, j->d.buf[i].size) != 0)
            require(false, "the device reads something else than the guest wrote before the doorbell");
    }
    return true;
}

/// Some bytes, here and there. False: it cannot.
static inline bool device_writes(struct job *j)
{
    unsigned i = below(j->d.count);
    if (!(j->d.buf[i].access & WIRE_DMA_WRITE))
        return true;
    unsigned from = below(j->d.buf[i].size), n = 1 + below(j->d.buf[i].size - from);
    uint8_t *at = device_at(j->d.buf[i].iova, WIRE_DMA_WRITE);
    if (!at)
        return false;
    for (unsigned b = from; b < from + n; b++) {
        uint8_t value = (uint8_t)world_random();
        if (below(5) == 0)
            value = at[b]; // writes what is there already
        at[b] = value;
        if (live(j))
            j->command->buf[i].expected[b] = value;
    }
    return true;
}

static inline bool device_completes(struct job *j, unsigned tag)
{
    uint8_t *at = device_at(ring_at + tag * ENTRY + COMPLETE, WIRE_DMA_WRITE);
    if (!at)
        return false;
    uint32_t done[2] = {~j->d.seq, j->d.seq};
    memcpy(at, done, sizeof(done));
    dev.last[tag] = j->d.seq;
    unsigned vector = j->seq % VECTORS;
    if (live(j) && dev.wanted >> vector & 1 && below(3) != 0) {
        const struct wire_record rec = {.type = REC_MSI, .function = dev.handle};
        const struct wire_msi msi = {.vector = (uint16_t)vector};
        later(&rec, &msi, sizeof(msi));
    }
    dev.done++;
    return true;
}

static inline void device_work(void)
{
    for (unsigned tag = 0; tag < TAGS_MAX && !dev.mute; tag++) {
        struct job *j = &dev.jobs[tag];
        if (!j->active || (j->wait && j->wait--))
            continue;
        bool can = true;
        if (!j->checked)
            can = j->checked = device_reads(j);
        else if (j->steps)
            can = device_writes(j), j->steps -= can;
        else if ((can = device_completes(j, tag)))
            j->active = false;
        j->faults += !can;
        if (j->faults > PATIENCE || (!live(j) && j->faults > 3)) {
            require(!live(j), "the device never gets at memory that is mapped for it");
            j->active = false;
        }
        j->wait = below(4);
    }
}

static inline void device_doorbell(unsigned tag, uint32_t seq)
{
    struct job *j = &dev.jobs[tag];
    struct command *c = &w.commands[tag];
    const uint8_t *at = device_at(ring_at + tag * ENTRY, WIRE_DMA_READ);
    require(at != NULL, "the ring is not mapped at the doorbell");
    *j = (struct job){.active = true, .wait = below(6), .steps = below(8), .command = c, .seq = c->seq};
    memcpy(&j->d, at, sizeof(j->d));
    if (!live(j) || c->seq != seq) { // the guest thought better of it
        j->active = false;
        return;
    }
    require(j->d.seq == c->seq && j->d.count == c->count, "a doorbell before its descriptor");
    for (unsigned i = 0; i < c->count; i++)
        require(j->d.buf[i].iova == c->buf[i].iova + c->buf[i].offset && j->d.buf[i].size == c->buf[i].size,
                "half a descriptor");
    if (below(3) == 0) { // at once
        j->wait = 0;
        j->steps = 0;
        device_work();
    }
}

static inline void device_forget(void)
{
    dma_stop(&dev.dma);
    memset(dev.jobs, 0, sizeof(dev.jobs));
    dev.todo_count = 0;
    dev.wanted = 0;
}

// --- its machine: what comes from the host, and what goes there in rounds ---

static inline void answer(const struct wire_record *request, uint8_t status, const void *data, uint16_t size)
{
    const struct wire_record rec = {.type = size ? REC_CPLD : REC_CPL,
                                    .status = status,
                                    .function = request->type == REC_ATTACH ? dev.handle : request->function,
                                    .tag = request->tag};
    require(world_to_host(&rec, NULL, 0, data, size) == OK, "no room for a completion");
}

static inline void device_attach(const struct wire_record *rec)
{
    dev.handle++;
    struct wire_attached a = {.handle = dev.handle, .credits = 16};
    a.info = (struct wire_function){.at = {.devfn = 4u << 3},
                                    .vendor = 0x1b36,
                                    .device = 0x0010,
                                    .class_code = 1,
                                    .pin = 1,
                                    .flags = WIRE_FN_FLR | WIRE_FN_MSI | WIRE_FN_DMA,
                                    .bars = {{.size = 8192, .kind = 2}}};
    static const uint8_t head[16] = {0x36, 0x1b, 0x10, 0, 0, 0, 0x10, 0, 0, 0, 8, 1};
    static const uint8_t msix[12] = {0x11, 0, VECTORS - 1, 0, 0, 0x10, 0, 0, 0, 0x18, 0, 0};
    memcpy(dev.config, head, sizeof(head));
    dev.config[0x34] = 0x40;
    memcpy(dev.config + 0x40, msix, sizeof(msix));
    answer(rec, CPL_SC, &a, sizeof(a));
}

static inline void device_access(const struct wire_record *rec, const uint8_t *body)
{
    struct wire_access a;
    memcpy(&a, body, sizeof(a));
    uint64_t value = 0;
    switch (rec->type) {
    case REC_CFG_RD:
        answer(rec, CPL_SC, dev.config + a.offset, a.size);
        return;
    case REC_CFG_WR:
        answer(rec, CPL_SC, NULL, 0);
        return;
    case REC_MRD:
        if (a.offset / 4 < TAGS_MAX)
            value = dev.last[a.offset / 4];
        later(&(struct wire_record){.type = REC_CPLD, .function = rec->function, .tag = rec->tag}, &value,
              a.size);
        return;
    default:
        memcpy(&value, body + sizeof(a), a.size);
        if (a.offset == 0x100)
            device_doorbell(value % TAGS_MAX, (uint32_t)value / TAGS_MAX);
        if (++dev.credits_back == 8) {
            const struct wire_record credit = {.type = REC_CREDIT, .function = dev.handle};
            const struct wire_credit c = {.count = 8};
            require(world_to_host(&credit, &c, sizeof(c), NULL, 0) == OK, "no room for a credit");
            dev.credits_back = 0;
        }
        return;
    }
}

static inline void device_record(const struct wire_record *rec, const void *body, size_t size)
{
    if (rec->type != REC_ATTACH && rec->function != dev.handle) {
        require(false, "a record for another function");
        return;
    }
    switch (rec->type) {
    case REC_ATTACH:
        device_forget();
        dev.credits_back = 0;
        device_attach(rec);
        return;
    case REC_RESET:
        device_forget();
        answer(rec, CPL_SC, NULL, 0);
        return;
    case REC_DMA_START: {
        struct wire_dma_started started = {.slots = w.all_mapped ? PAGES : DEVICE_SLOTS};
        dma_stop(&dev.dma);
        dev.starts++;
        require(dma_start(&dev.dma, &device_ops, NULL, started.slots, below(2) ? 1400 : 500) == OK,
                "dma_start");
        answer(rec, CPL_SC, &started, sizeof(started));
        return;
    }
    case REC_DMA_MAP:
    case REC_DMA_UNMAP:
    case REC_DMA_DATA: {
        uint64_t aligned[WIRE_FRAME_MAX / 8];
        memcpy(aligned, body, size);
        dma_input(&dev.dma, rec->type, aligned, size);
        return;
    }
    case REC_INTERRUPTS:
        dev.wanted = 0;
        memcpy(&dev.wanted, (const uint8_t *)body + sizeof(struct wire_interrupts),
               size - sizeof(struct wire_interrupts));
        answer(rec, CPL_SC, NULL, 0);
        return;
    case REC_DETACH:
        answer(rec, CPL_SC, NULL, 0);
        return;
    default:
        device_access(rec, body);
    }
}

/// Rounds, and what waits for them (docs/dma.md, "Order").
static inline void device_poll(void)
{
    device_work();
    struct dma *d = &dev.dma;
    if (d->slots)
        (void)dma_poll(d);
    if (d->slots && !dma_round_active(d) && (dev.todo_count || dev.idle_polls++ % 16 == 15)) {
        uint64_t round = dma_round_begin(d);
        for (unsigned i = 0; i < dev.todo_count; i++)
            dev.todo[i].round = round;
    }
    bool more = true;
    while (d->slots && dma_round_active(d)) {
        if (dma_round_go(d, &more))
            break;
        if (below(2))
            device_work(); // it goes on while its pages are looked at
        if (!more)
            return;
    }
    unsigned sent = 0;
    while (sent < dev.todo_count && (dev.todo[sent].round || !d->slots)) {
        const struct waiting *t = &dev.todo[sent];
        if (world_to_host(&t->rec, NULL, 0, t->data, t->size) != OK)
            break;
        sent++;
    }
    dev.todo_count -= sent;
    memmove(dev.todo, dev.todo + sent, dev.todo_count * sizeof(dev.todo[0]));
}

// --- the host around hv/bus ---

void net_lock(void)
{
    require(!w.locked, "net lock taken twice");
    w.locked = true;
}

void net_unlock(void)
{
    require(w.locked, "net lock given back twice");
    w.locked = false;
}

unsigned net_poll(void)
{
    require(w.locked, "net_poll without lock");
    return world_step();
}

__attribute__((weak)) void trace(enum trace_event event, uint32_t arg)
{
    (void)event, (void)arg;
}

/// Another CPU of the host polls while the guest runs.
static inline void others(unsigned steps)
{
    uint64_t overruns = bus_counts.dma_overruns;
    net_lock();
    while (steps--)
        (void)world_step();
    net_unlock();
    if (bus_counts.dma_overruns != overruns) // its CPU was called
        bus_guest_collect(w.guest);
}

/// Some guests have little room for what waits for them.
static inline void squeeze(void)
{
    for (unsigned i = 0; i < assoc_count(); i++) {
        struct mirror *m = assoc_get(i)->mirror;
        if (m && world_seed % 4 == 3)
            m->pending_room = 1500;
    }
}

static inline bool is_complete(unsigned tag);

static inline void on_message(void *ctx, const struct interrupt_message *m)
{
    (void)ctx;
    w.interrupts++;
    for (unsigned tag = 0; tag < TAGS_MAX; tag++) {
        const struct command *c = &w.commands[tag];
        if (c->used && !c->aborted && c->seq % VECTORS + 0x30 == m->vector)
            require(is_complete(tag), "an interrupt before the completion it announces");
    }
}

static inline void on_line(void *ctx, unsigned gsi, bool high)
{
    (void)ctx, (void)gsi, (void)high;
}

static inline void config_write(unsigned offset, unsigned size, uint32_t value)
{
    io_space_port_write(&w.io, 0xcf8, 4, 0x80000000u | 2u << 11 | (offset & 0xfc));
    io_space_port_write(&w.io, (uint16_t)(0xcfc + (offset & 3)), size, value);
}

static inline uint32_t config_read(unsigned offset, unsigned size)
{
    io_space_port_write(&w.io, 0xcf8, 4, 0x80000000u | 2u << 11 | (offset & 0xfc));
    return io_space_port_read(&w.io, (uint16_t)(0xcfc + (offset & 3)), size);
}

// --- the driver ---

static inline bool is_complete(unsigned tag)
{
    uint32_t done[2];
    memcpy(done, w.memory[RING] + tag * ENTRY + COMPLETE, sizeof(done));
    struct command *c = &w.commands[tag];
    if (!c->used || c->aborted || done[1] != c->seq)
        return false;
    require(done[0] == ~done[1], "half a completion");
    return true;
}

/// The completion is there: so must be the data. Gives the buffers back to the guest.
static inline void check_completion(unsigned tag)
{
    struct command *c = &w.commands[tag];
    for (unsigned i = 0; i < c->count; i++) {
        struct buffer *b = &c->buf[i];
        if (memcmp(w.memory[b->page] + b->offset, b->expected, b->size) != 0) {
            for (unsigned k = 0; k < b->size; k++) {
                if (w.memory[b->page][b->offset + k] != b->expected[k]) {
                    fprintf(stderr, "tag %u buffer %u page %u offset %u access %u iova %llx: %02x not %02x\n",
                            tag, i, b->page, b->offset + k, b->access, (unsigned long long)b->iova,
                            w.memory[b->page][b->offset + k], b->expected[k]);
                    break;
                }
            }
            require(false, "a completion without its data");
        }
        memcpy(w.model[b->page] + b->offset, b->expected, b->size);
        memset(w.owner[b->page] + b->offset, 0, b->size);
    }
}

static inline void unmap_buffers(struct command *c)
{
    for (unsigned i = 0; i < c->count && !w.all_mapped; i++) {
        table_remove(c->buf[i].iova);
        if (below(8)) {
            invalidate(c->buf[i].iova, 1);
        } else {
            const struct iommu_scope all = {.kind = IOMMU_SCOPE_DOMAIN, .domain = DOMAIN};
            bus_guest_mappings(w.guest, &all);
        }
        w.unmapped++;
    }
}

static inline void poll_completions(void)
{
    guest_runs();
    for (unsigned tag = 0; tag < TAGS_MAX; tag++) {
        if (!is_complete(tag))
            continue;
        check_completion(tag);
        unmap_buffers(&w.commands[tag]);
        w.commands[tag].used = false;
        w.completed++;
    }
}

/// Whatever the device does to it from now on must not be seen.
static inline void abort_command(unsigned tag)
{
    struct command *c = &w.commands[tag];
    c->aborted = true;
    unmap_buffers(c);
    for (unsigned i = 0; i < c->count; i++) {
        struct buffer *b = &c->buf[i];
        memcpy(w.model[b->page] + b->offset, w.memory[b->page] + b->offset, b->size);
        memset(w.owner[b->page] + b->offset, 0, b->size);
    }
    c->used = false;
    w.aborts++;
}

/// The device still works for a command that was aborted: there it writes whatever is mapped.
static inline bool haunted(uint64_t iova)
{
    for (unsigned tag = 0; tag < TAGS_MAX; tag++) {
        const struct job *j = &dev.jobs[tag];
        for (unsigned i = 0; i < j->d.count && j->active && !live(j); i++) {
            if (j->d.buf[i].iova / PAGE * PAGE == iova)
                return true;
        }
    }
    return false;
}

static inline bool pick_buffer(struct buffer *b, unsigned tag)
{
    static const uint64_t bases[] = {0x1000, 0xffe00000, 0x7ffff00000, 0x40000000, 0xfee00000 - 8 * PAGE};
    b->page = 1 + below(PAGES - 1);
    b->offset = below(3) ? below(PAGE) : 0;
    unsigned room = PAGE - b->offset;
    b->size = below(4) ? 1 + below(room) : room;
    if (below(3) == 0)
        b->size = 1 + below(room < 40 ? room : 40);
    for (unsigned k = 0; k < b->size; k++) {
        if (w.owner[b->page][b->offset + k])
            return false;
    }
    b->access = (uint8_t)(1 + below(3));
    b->iova = bases[below(5)] + (uint64_t)below(8) * PAGE;
    if (w.all_mapped)
        b->iova = GPA(b->page);
    else if (table_has(b->iova) || haunted(b->iova))
        return false;
    memset(w.owner[b->page] + b->offset, (int)tag + 1, b->size);
    return true;
}

static inline void submit(unsigned tag)
{
    struct command *c = &w.commands[tag];
    if (c->used || dev.jobs[tag].active)
        return;
    *c = (struct command){.used = true, .seq = ++w.seq};
    unsigned mapped = 0;
    for (unsigned i = 0; i < 128; i++)
        mapped += w.tables[i].used;
    for (unsigned tries = 0; tries < 8 && c->count < BUFS && mapped + c->count < DEVICE_SLOTS - 2; tries++) {
        if (!pick_buffer(&c->buf[c->count], tag))
            continue;
        struct buffer *b = &c->buf[c->count++];
        bool written_after = below(2) && b->access & WIRE_DMA_READ; // the driver fills it when it is mapped
        for (unsigned pass = 0; pass < 2; pass++) {
            if ((pass == 1) == written_after && below(4)) {
                for (unsigned k = 0; k < b->size; k++)
                    guest_store(b->page, b->offset + k, below(4) ? (uint8_t)world_random() : 0);
            }
            if (pass == 0 && !w.all_mapped) {
                table_add(b->iova, b->page, b->access);
                invalidate(b->iova, 1);
            }
        }
        memcpy(b->expected, w.memory[b->page] + b->offset, b->size);
    }
    if (c->count == 0) {
        c->used = false;
        return;
    }
    struct descriptor d = {.seq = c->seq, .count = c->count};
    for (unsigned i = 0; i < c->count; i++) {
        d.buf[i].iova = c->buf[i].iova + c->buf[i].offset;
        d.buf[i].size = c->buf[i].size;
        d.buf[i].access = c->buf[i].access;
    }
    for (unsigned k = 0; k < sizeof(d); k++)
        guest_store(RING, tag * ENTRY + k, ((const uint8_t *)&d)[k]);
    guest_runs();
    io_space_mmio_write(&w.io, w.bar + 0x100, 4, tag + c->seq * TAGS_MAX);
}

static inline void scribble(void)
{
    guest_runs();
    unsigned p = below(PAGES), n = 1 + below(below(4) ? 8 : 300);
    for (unsigned at = below(PAGE); n-- && at < PAGE; at++) {
        bool note = p != RING || at % ENTRY >= NOTE; // descriptors are written by submit alone
        if (note && w.owner[p][at] == 0)
            guest_store(p, at, (uint8_t)world_random());
    }
}

/// A register says that a command is done: then the guest finds it in memory.
static inline void ask(unsigned tag)
{
    guest_runs();
    squeeze();
    uint32_t seq = w.commands[tag].seq;
    bool waits = w.commands[tag].used;
    uint64_t value = io_space_mmio_read(&w.io, w.bar + tag * 4, 4);
    if (waits && value == seq)
        require(is_complete(tag), "a register tells of a completion that is not in memory");
}

static inline void collect(void)
{
    guest_runs();
    bus_guest_collect(w.guest);
    poll_completions();
}

/// All work ends, and both sides must have the same.
static inline void quiesce(void)
{
    world_doing = "coming to rest";
    for (unsigned i = 0; i < 3000; i++) {
        bool busy = false;
        others(4);
        collect();
        if (i % 4 == 0)
            ask(i / 4 % TAGS_MAX);
        for (unsigned tag = 0; tag < TAGS_MAX; tag++)
            busy |= w.commands[tag].used || dev.jobs[tag].active;
        if (!busy && i > 20)
            break;
        require(i < 2999, "it never comes to rest");
    }
    for (unsigned i = 0; i < 8; i++)
        ask(i);
    for (unsigned p = 0; p < PAGES; p++)
        check_page(p);
    unsigned mapped = 0;
    for (unsigned i = 0; i < 128; i++)
        mapped += w.tables[i].used;
    for (unsigned i = 0; i < 128; i++) {
        if (!dev.seen[i].used)
            continue;
        mapped--;
        for (unsigned t = 0; t < 128; t++) {
            if (w.tables[t].used && w.tables[t].iova == dev.seen[i].iova &&
                dev.seen[i].access & WIRE_DMA_READ)
                require(memcmp(dev.seen[i].page, w.memory[page_of(w.tables[t].gpa)], PAGE) == 0,
                        "at rest the two sides differ");
        }
        if (w.all_mapped)
            require(memcmp(dev.seen[i].page, w.memory[page_of(dev.seen[i].iova)], PAGE) == 0,
                    "at rest the two sides differ");
    }
    require(w.all_mapped || mapped == 0, "the device does not see what the guest's tables say");
}

static inline void one_operation(void)
{
    unsigned tag = below(TAGS_MAX), what = below(100);
    if (what < 25) {
        world_doing = "submitting";
        submit(tag);
    } else if (what < 45) {
        world_doing = "writing beside buffers";
        scribble();
    } else if (what < 65) {
        world_doing = "while others poll";
        others(1 + below(6));
        poll_completions();
    } else if (what < 80) {
        world_doing = "collecting";
        collect();
    } else if (what < 92) {
        world_doing = "reading a register";
        ask(tag);
        poll_completions();
    } else if (what < 96 && w.commands[tag].used && !w.all_mapped) {
        world_doing = "aborting";
        abort_command(tag);
    } else {
        poll_completions();
    }
    check_page(below(PAGES));
    if (world_op % 32 == 0) {
        for (unsigned p = 0; p < PAGES; p++)
            check_page(p);
    }
}

/// The device is gone, or was reset, and with it all that was under way.
static inline void commands_lost(void)
{
    for (unsigned tag = 0; tag < TAGS_MAX; tag++) {
        if (w.commands[tag].used)
            abort_command(tag);
    }
}

/// Did the device go since its driver started? It may be back already.
static inline bool device_lost(void)
{
    return !bus_guest_ready(w.guest) || assoc_get(0)->handle != w.handle;
}

/// As a driver does when its device is there (again).
static inline void driver_starts(void)
{
    w.handle = assoc_get(0)->handle;
    w.bar = config_read(0x10, 4) & ~0xfull;
    config_write(4, 2, 0x6);
    for (unsigned i = 0; i < VECTORS; i++) {
        io_space_mmio_write(&w.io, w.bar + 0x1000 + i * 16, 4, 0xfee00000);
        io_space_mmio_write(&w.io, w.bar + 0x1000 + i * 16 + 4, 4, 0);
        io_space_mmio_write(&w.io, w.bar + 0x1000 + i * 16 + 8, 4, 0x30 + i);
        io_space_mmio_write(&w.io, w.bar + 0x1000 + i * 16 + 12, 4, 0);
    }
    config_write(0x42, 2, 0x8000);
}

static inline void world_begin(uint64_t seed, bool all_mapped)
{
    memset(&w, 0, sizeof(w));
    memset(&dev, 0, sizeof(dev));
    memset(&bus_counts, 0, sizeof(bus_counts));
    world_seed = world_random_state = seed;
    world_op = 0;
    world_doing = "starting";
    w.all_mapped = all_mapped;
    ring_at = all_mapped ? GPA(RING) : 0xfffff000ull;
    for (unsigned p = 1; p < PAGES; p++) {
        for (unsigned at = 0; at < PAGE && p % 3; at++)
            guest_store(p, at, (uint8_t)world_random());
    }
    for (unsigned tag = 0; tag < TAGS_MAX; tag++)
        memset(w.owner[RING] + tag * ENTRY + COMPLETE, 0xff, 8); // always the device's
    if (!all_mapped)
        table_add(ring_at, RING, WIRE_DMA_READ | WIRE_DMA_WRITE);
    wire_text_set(w.device.node, sizeof(w.device.node), "disk1");
    w.device.at.devfn = 4u << 3;
    require(guest_pci_init(&w.pci, &w.io) == OK, "guest_pci_init");
    bus_start("host1");
    require(bus_guest_add("g", BOOT_BUS_FLAT, &w.device, 1, &w.io, &w.pci, &w.guest) == OK, "bus_guest_add");
    const struct bus_memory memory = {mem_page, mem_watch, mem_dirty, mem_settle, mem_note, mem_range, NULL};
    static int unit;
    bus_guest_dma(w.guest, &memory, all_mapped ? NULL : (struct guest_iommu *)(void *)&unit);
    const struct bus_interrupts interrupts = {on_message, on_line, NULL, NULL};
    bus_guest_interrupts(w.guest, &interrupts);
}

static inline void world_end(void)
{
    bus_guest_remove(w.guest);
    device_forget();
    require(dev.pages == 0, "the device's machine lost pages");
    require(host_frames_in_use() == 0, "the host lost frames");
}
