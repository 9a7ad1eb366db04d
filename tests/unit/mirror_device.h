// SPDX-License-Identifier: BSD-2-Clause
// The device of tests/unit/mirror_world.h and its machine: the remote's real engine (remote-fw/dma.h), a
// device that works on what that lets it see, and rounds before what they stand before. Must not look at the
// guest's memory, only at what was expected of a command.
#pragma once
#include "remote-fw/dma.h"
#include "tests/unit/mirror_world.h"

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
