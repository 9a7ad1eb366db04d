// SPDX-License-Identifier: BSD-2-Clause
// A remote at the other end of a fake link, for tests of hv/bus: records that the host sends are checked with
// net/wire.c, kept until link_flush() makes a frame of them, executed when the host polls, and answered. The
// test can make it slow, silent, refusing or hostile. One remote, one link; time moves only while the host
// waits. Include once in a test.
#pragma once
#include "hv/bus/remote.h"
#include "net/stack.h"
#include "rt/time.h"
#include "rt/trace.h"
#include "tests/unit/host/host.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAKE_BAR_BYTES 4096u
#define FAKE_QUEUE     512u
#define FAKE_FNS       3u
#define FAKE_BODY      1440u
#define FAKE_SEEN      256u

struct link {
    enum link_state state;
    uint32_t peer;
    char node[WIRE_NAME_MAX];
    const struct link_events *events;
    void *ctx;
};

struct fake_record {
    struct wire_record rec;
    uint8_t body[FAKE_BODY];
    size_t size;
};

struct fake_function {
    struct wire_function info;
    uint8_t config[CONFIG_VIEW_SIZE];
    uint8_t bar[6][FAKE_BAR_BYTES];
    uint16_t handle, credits, credits_back;
    unsigned resets, attaches, detaches;
    unsigned crs; // configuration requests still to be answered with CRS
    bool not_lent, denied;
    struct wire_interrupts interrupts; // as told last
    uint64_t wanted;
    unsigned eois;
    uint32_t slots; // granted by DMA_START; 0: refused
    unsigned starts;
    const char *owner; // ATTACH is refused: this host has it
};

static struct fake {
    struct link link;
    bool connected;
    unsigned connects, closes, cuts;
    void (*heard)(void *ctx, const struct announcement *a);
    void *heard_ctx;
    struct announcement announced; // last
    struct wire_function list[FAKE_FNS];
    uint64_t announced_ns;
    struct fake_function fns[FAKE_FNS];
    struct fake_record queue[FAKE_QUEUE]; // sent by the host: [0, open) flushed, [open, count) not yet
    unsigned count, flushed;
    struct fake_record seen[FAKE_SEEN]; // DMA records and writes, as executed
    unsigned seen_count;
    unsigned busy; // link_send calls still to be answered ERR_BUSY
    bool lively;   // it was heard a moment ago where it is
    bool silent;   // requests are taken and never answered
    bool keep_credits;
    unsigned answer_status;                                               // not 0: accesses end so
    bool (*mutate)(struct wire_record *rec, uint8_t *body, size_t *size); // false: the record is lost
    // what was seen
    unsigned frames, records[256], polls, waits, malformed, hooks;
    unsigned owned_by_asker; // ATTACHes of what the host had already
    bool locked;
} fake;

// --- time, lock, trace ---

static inline void fake_require(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "fake remote: %s\n", what);
    abort();
}

void net_lock(void)
{
    fake_require(!fake.locked, "net lock taken twice");
    fake.locked = true;
}

void net_unlock(void)
{
    fake_require(fake.locked, "net lock given back twice");
    fake.locked = false;
}

__attribute__((weak)) void trace(enum trace_event event, uint32_t arg)
{
    (void)event, (void)arg;
}

static inline void fake_hook(void *who)
{
    (void)who;
    fake_require(!fake.locked, "waiting with the net lock held");
    fake.hooks++;
}
static inline void fake_wait(void (*wait)(void *who))
{
    static struct bus_waits waits;
    waits.wait = wait;
    bus_set_waits(&waits);
}

// --- the link's interface, for hv/bus ---

enum status link_connect(uint32_t peer, const char *node, const struct link_events *events, void *ctx,
                         struct link **link)
{
    fake_require(fake.locked, "link_connect without lock");
    fake_require(!fake.connected, "only one link in this test");
    fake.connects++;
    fake.connected = true;
    fake.link = (struct link){.state = LINK_CONNECTING, .peer = peer, .events = events, .ctx = ctx};
    wire_text_set(fake.link.node, sizeof(fake.link.node), node);
    *link = &fake.link;
    return OK;
}

bool link_set_peer(struct link *link, uint32_t peer)
{
    if (!fake.lively)
        link->peer = peer;
    return !fake.lively;
}

/// The session is over: the remote takes back what it lent.
static inline void fake_forget_session(void)
{
    fake.count = fake.flushed = 0;
    for (unsigned i = 0; i < FAKE_FNS; i++)
        fake.fns[i].handle = 0;
}

void link_close(struct link *link, const char *why)
{
    (void)why;
    fake.closes++;
    fake.connected = false;
    link->state = LINK_CLOSED;
    fake_forget_session();
}

enum status link_send(struct link *link, const struct wire_record *rec, const void *body, size_t body_size,
                      const void *data, size_t data_size)
{
    fake_require(fake.locked, "link_send without lock");
    if (link->state != LINK_UP && link->state != LINK_FROZEN)
        return ERR_LINK_DOWN;
    if (fake.busy) {
        fake.busy--;
        return ERR_BUSY;
    }
    if (fake.count == FAKE_QUEUE)
        return ERR_BUSY;
    struct fake_record *r = &fake.queue[fake.count];
    r->rec = *rec;
    r->size = body_size + data_size;
    fake_require(r->size <= sizeof(r->body), "record too long");
    r->rec.length = (uint16_t)(sizeof(r->rec) + r->size);
    if (body_size)
        memcpy(r->body, body, body_size);
    if (data_size)
        memcpy(r->body + body_size, data, data_size);
    uint8_t whole[sizeof(r->rec) + sizeof(r->body)];
    memcpy(whole, &r->rec, sizeof(r->rec));
    memcpy(whole + sizeof(r->rec), r->body, r->size);
    if (wire_check_record((const struct wire_record *)(const void *)whole, WIRE_TO_REMOTE) != WIRE_FINE) {
        fake.malformed++;
        return ERR_PROTOCOL;
    }
    fake.count++;
    fake.records[rec->type]++;
    return OK;
}

void link_flush(struct link *link)
{
    (void)link;
    if (fake.flushed == fake.count)
        return;
    fake.flushed = fake.count;
    fake.frames++;
}

size_t link_room_max(const struct link *link)
{
    return link->state == LINK_UP || link->state == LINK_FROZEN ? sizeof(fake.queue[0].body) : 0;
}

size_t link_room(const struct link *link)
{
    return link_room_max(link);
}

void link_cut(struct link *link, const char *why)
{
    fake_require(fake.locked, "link_cut without lock");
    if (link->state != LINK_UP && link->state != LINK_FROZEN)
        return;
    fake.cuts++;
    fake_forget_session();
    link->state = LINK_CONNECTING;
    link->events->down(link->ctx, link, why);
}

enum link_state link_state(const struct link *link)
{
    return link->state;
}

void discovery_listen(void (*heard)(void *ctx, const struct announcement *a), void *ctx)
{
    fake.heard = heard;
    fake.heard_ctx = ctx;
}

bool discovery_heard(unsigned n, struct announcement *a, uint64_t *when_ns)
{
    *a = fake.announced;
    *when_ns = fake.announced_ns;
    return n == 0 && fake.announced.boot_id != 0;
}

// --- the remote ---

static inline void fake_deliver(struct wire_record rec, const void *body, size_t size)
{
    uint8_t copy[2048];
    fake_require(size <= sizeof(copy), "completion too long");
    memset(copy, 0xa5, sizeof(copy)); // what a lie about the size brings in
    if (size)
        memcpy(copy, body, size);
    rec.length = (uint16_t)(sizeof(rec) + size);
    if (fake.mutate && !fake.mutate(&rec, copy, &size))
        return;
    uint8_t *exact = malloc(size ? size : 1); // so that ASan sees a read behind the body
    memcpy(exact, copy, size);
    fake.link.events->record(fake.link.ctx, &fake.link, &rec, exact, size);
    free(exact);
}

static inline void fake_complete(const struct wire_record *request, enum wire_status status, const void *data,
                                 size_t size)
{
    fake_deliver((struct wire_record){.type = size ? REC_CPLD : REC_CPL,
                                      .status = (uint8_t)status,
                                      .function = request->function,
                                      .tag = request->tag},
                 data, size);
}

static inline struct fake_function *fake_by_handle(uint16_t handle)
{
    for (unsigned i = 0; i < FAKE_FNS; i++) {
        if (handle && fake.fns[i].handle == handle)
            return &fake.fns[i];
    }
    return NULL;
}

static inline void fake_attach(const struct fake_record *r)
{
    struct wire_attach a;
    memcpy(&a, r->body, sizeof(a));
    for (unsigned i = 0; i < FAKE_FNS; i++) {
        struct fake_function *f = &fake.fns[i];
        if (memcmp(&f->info.at, &a.at, sizeof(a.at)) != 0 || f->not_lent || f->info.vendor == 0)
            continue;
        if (f->denied) {
            fake_complete(&r->rec, CPL_DENIED, NULL, 0);
            return;
        }
        const char *owner = f->handle ? "host1" : f->owner; // DETACH comes first, also for its owner
        if (owner) {
            fake.owned_by_asker += f->handle != 0;
            fake_complete(&r->rec, CPL_OWNED, owner, strlen(owner));
            return;
        }
        f->attaches++;
        f->handle = (uint16_t)(10 * (i + 1) + (f->attaches - 1) % 9 + 1);
        struct wire_attached answer = {.handle = f->handle, .credits = f->credits, .info = f->info};
        struct wire_record rec = {.type = REC_CPLD, .function = f->handle, .tag = r->rec.tag};
        fake_deliver(rec, &answer, sizeof(answer));
        return;
    }
    fake_complete(&r->rec, CPL_NOT_LENT, NULL, 0);
}

static inline uint8_t *fake_target(struct fake_function *f, const struct wire_record *rec,
                                   const struct wire_access *a)
{
    if (rec->type == REC_CFG_RD || rec->type == REC_CFG_WR)
        return a->offset + a->size <= CONFIG_VIEW_SIZE ? f->config + a->offset : NULL;
    return a->offset_high == 0 && a->offset + a->size <= FAKE_BAR_BYTES &&
                   a->offset + a->size <= f->info.bars[a->bar].size
               ? f->bar[a->bar] + a->offset
               : NULL;
}

static inline void fake_note(const struct fake_record *r)
{
    if (fake.seen_count < FAKE_SEEN)
        fake.seen[fake.seen_count++] = *r;
}

static inline void fake_access(struct fake_function *f, const struct fake_record *r)
{
    struct wire_access a;
    memcpy(&a, r->body, sizeof(a));
    uint8_t *at = fake_target(f, &r->rec, &a);
    bool write = r->rec.type == REC_CFG_WR || r->rec.type == REC_IO_WR || r->rec.type == REC_MWR;
    bool config = r->rec.type == REC_CFG_RD || r->rec.type == REC_CFG_WR;
    enum wire_status status = at ? (enum wire_status)fake.answer_status : CPL_UR;
    if (config && f->crs) {
        f->crs--;
        status = CPL_CRS;
    }
    if (status == CPL_SC && write)
        memcpy(at, r->body + sizeof(a), a.size);
    if (r->rec.type == REC_MWR) {
        fake_note(r);
        f->credits_back++;
        return;
    }
    fake_complete(&r->rec, status, at, status == CPL_SC && !write ? a.size : 0);
}

static inline void fake_execute(const struct fake_record *r)
{
    if (fake.silent)
        return;
    if (r->rec.type == REC_ATTACH) {
        fake_attach(r);
        return;
    }
    struct fake_function *f = fake_by_handle(r->rec.function);
    if (!f) {
        if (r->rec.type != REC_MWR && r->rec.type != REC_EOI)
            fake_complete(&r->rec, CPL_UR, NULL, 0);
    } else if (r->rec.type == REC_RESET) {
        f->resets++;
        fake_complete(&r->rec, CPL_SC, NULL, 0);
    } else if (r->rec.type == REC_INTERRUPTS) {
        f->interrupts = (struct wire_interrupts){0};
        memcpy(&f->interrupts, r->body, sizeof(f->interrupts));
        f->wanted = 0;
        memcpy(&f->wanted, r->body + sizeof(f->interrupts), r->size - sizeof(f->interrupts));
        fake_complete(&r->rec, fake.answer_status ? (enum wire_status)fake.answer_status : CPL_SC, NULL, 0);
    } else if (r->rec.type == REC_EOI) {
        f->eois++;
    } else if (r->rec.type == REC_DMA_START) {
        const struct wire_dma_started started = {.slots = f->slots};
        f->starts++;
        fake_complete(&r->rec, f->slots ? CPL_SC : CPL_UR, &started, f->slots ? sizeof(started) : 0);
    } else if (r->rec.type >= REC_DMA_MAP) {
        fake_note(r);
    } else if (r->rec.type == REC_DETACH) {
        f->detaches++;
        f->handle = 0;
        fake_complete(&r->rec, CPL_SC, NULL, 0);
    } else {
        fake_access(f, r);
    }
}

static inline void fake_return_credits(void)
{
    for (unsigned i = 0; i < FAKE_FNS; i++) {
        struct fake_function *f = &fake.fns[i];
        if (fake.keep_credits || !f->handle || f->credits_back < (f->credits + 1) / 2)
            continue;
        struct wire_credit c = {.count = f->credits_back};
        f->credits_back = 0;
        fake_deliver((struct wire_record){.type = REC_CREDIT, .function = f->handle}, &c, sizeof(c));
    }
}

unsigned net_poll(void)
{
    fake_require(fake.locked, "net_poll without lock");
    fake.polls++;
    unsigned n = fake.flushed;
    if (n == 0 || fake.link.state != LINK_UP) {
        fake.waits++;
        host_time_advance_ns(1000000);
        return 0;
    }
    static struct fake_record batch[FAKE_QUEUE]; // answers may cause new requests
    memcpy(batch, fake.queue, n * sizeof(batch[0]));
    memmove(fake.queue, fake.queue + n, (fake.count - n) * sizeof(batch[0]));
    fake.count -= n;
    fake.flushed = 0;
    host_time_advance_ns(1000);
    for (unsigned i = 0; i < n; i++)
        fake_execute(&batch[i]);
    fake_return_credits();
    return 1;
}

// --- what a test says ---

static inline void fake_put(struct fake_function *f, unsigned offset, uint32_t value, unsigned size)
{
    memcpy(f->config + offset, &value, size);
}

/// An NVMe-like function: 64-bit BAR 0 of 4 KiB, I/O BAR 2 of 64 ports; PM, MSI, PCIe, MSI-X, vendor-specific
/// capabilities.
static inline void fake_device(unsigned i, uint8_t devfn)
{
    struct fake_function *f = &fake.fns[i];
    *f = (struct fake_function){.credits = 8};
    f->info =
        (struct wire_function){.at = {.devfn = devfn},
                               .vendor = 0x1b36,
                               .device = (uint16_t)(0x0010 + i),
                               .subsystem_vendor = 0x1af4,
                               .subsystem = 0x1100,
                               .class_code = 1,
                               .subclass = 8,
                               .prog_if = 2,
                               .revision = 3,
                               .pin = 1,
                               .flags = WIRE_FN_FLR,
                               .bars = {[0] = {.size = 4096, .kind = 3}, [2] = {.size = 64, .kind = 1}}};
    fake_put(f, 0x00, 0x00100000u + (i << 16) + 0x1b36, 4);
    fake_put(f, 0x04, 0x0010 << 16 | 0x0003, 4);
    fake_put(f, 0x08, 0x01080203, 4);
    fake_put(f, 0x0c, 0x00800010, 4); // multi-function, cache line size
    fake_put(f, 0x10, 0xfebd0004, 4); // the remote's own address: must never be seen
    fake_put(f, 0x2c, 0x11001af4, 4);
    fake_put(f, 0x34, 0x40, 1);
    fake_put(f, 0x3c, 0x010b, 2);     // line 11, INTA
    fake_put(f, 0x40, 0x00035001, 4); // PM -> 0x50
    fake_put(f, 0x44, 0x00000008, 4);
    fake_put(f, 0x50, 0x00826005, 4); // MSI, 64-bit -> 0x60; at 0x54 the remote's message address
    fake_put(f, 0x54, 0xfee00000, 4);
    fake_put(f, 0x60, 0x00028010, 4); // PCIe, version 2 -> 0x80
    fake_put(f, 0x64, 0x10008fc0, 4);
    fake_put(f, 0x68, 0x00002810, 4);
    fake_put(f, 0x80, 0x0040a011, 4); // MSI-X -> 0xa0
    fake_put(f, 0x84, 0x00002000, 4);
    fake_put(f, 0xa0, 0x00100009, 4); // vendor-specific, 16 bytes, last
    fake_put(f, 0xa4, 0xc0ffee00, 4);
    fake_put(f, 0xb4, 0xdeadbeef, 4); // behind the capabilities
}

static inline void fake_announce(uint32_t peer, uint32_t boot_id, unsigned count)
{
    struct announcement a = {.node = "disk1",
                             .boot_id = boot_id,
                             .peer = peer,
                             .function_count = (uint16_t)count,
                             .functions = fake.list};
    for (unsigned i = 0; i < count; i++) {
        fake.list[i] = fake.fns[i].info;
        fake.list[i].flags |= fake.fns[i].handle ? WIRE_FN_BUSY : 0;
    }
    fake.announced = a;
    fake.announced_ns = time_ns();
    net_lock();
    fake.heard(fake.heard_ctx, &a);
    net_unlock();
}

static inline void fake_up(void)
{
    net_lock();
    fake.link.state = LINK_UP;
    fake.link.events->up(fake.link.ctx, &fake.link);
    net_unlock();
}

static inline void fake_down(const char *why)
{
    net_lock();
    fake.link.state = LINK_CONNECTING;
    fake_forget_session();
    fake.link.events->down(fake.link.ctx, &fake.link, why);
    net_unlock();
}

/// Lets everything that is under way come to rest.
static inline void fake_settle(void)
{
    net_lock();
    for (unsigned i = 0; i < 1000 && fake.flushed; i++)
        (void)net_poll();
    net_unlock();
}

static inline void fake_forget_counts(void)
{
    fake.frames = fake.polls = fake.waits = 0;
    memset(fake.records, 0, sizeof(fake.records));
}
