// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/bus/guests.c hv/bus/ports.c hv/platform/root_port.c drivers/pci_class.c
// LINK: hv/bus/assoc.c hv/bus/attach.c hv/bus/config_view.c hv/bus/remote_fn.c hv/bus/report.c
// LINK: hv/bus/mirror_slots.c hv/bus/mirror_content.c hv/bus/mirror_map.c hv/bus/mirror_sync.c
// LINK: hv/bus/interrupts.c hv/bus/transact.c hv/platform/io_space.c hv/platform/pci_host.c net/wire.c
// LINK: remote-fw/dma_slots.c remote-fw/dma_round.c remote-fw/dma_diff.c
// Property test of the DMA mirror (tests/unit/mirror_world.h): both halves, joined by a channel that delays
// frames, is full at times, breaks and begins anew. Seeds are fixed; MIRROR_SEED in the environment runs one.
#include "tests/unit/mirror_runs.h"
#include "tests/unit/net/announced.h"
#include <setjmp.h>
#include <stdarg.h>
// cmocka wants these first
#include <cmocka.h>

#define FRAME    1448u
#define QUEUE    8u
#define RESERVED 3u // frames that only completions may fill

struct frame {
    uint8_t bytes[FRAME + 64];
    unsigned size;
    uint64_t due;
};

struct direction {
    struct frame frames[QUEUE + 64];
    unsigned count; // complete ones; the one behind is open
};

struct link {
    enum link_state state;
    const struct link_events *events;
    void *ctx;
    struct direction out, in;
    bool connected;
};
static struct link channel;
static uint64_t breaks_at;

// --- frames ---

static enum status append(struct direction *d, unsigned limit, const struct wire_record *rec,
                          const void *body, size_t body_size, const void *data, size_t data_size,
                          enum wire_direction direction)
{
    struct frame *f = &d->frames[d->count];
    size_t size = sizeof(*rec) + body_size + data_size;
    if (size > FRAME)
        return ERR_RANGE;
    if (f->size + size > FRAME) {
        if (d->count >= limit)
            return ERR_BUSY;
        f->due = time_ns() + below(4) * 50000;
        f = &d->frames[++d->count];
        f->size = 0;
    } else if (d->count >= limit) {
        return ERR_BUSY;
    }
    struct wire_record *out = (struct wire_record *)(void *)(f->bytes + f->size);
    memcpy(out, rec, sizeof(*rec));
    uint16_t length = (uint16_t)size;
    memcpy((uint8_t *)out + offsetof(struct wire_record, length), &length, 2);
    if (body_size)
        memcpy((uint8_t *)out + sizeof(*rec), body, body_size);
    if (data_size)
        memcpy((uint8_t *)out + sizeof(*rec) + body_size, data, data_size);
    require(wire_check_record(out, direction) == WIRE_FINE, "a malformed record");
    f->size += (unsigned)size;
    return OK;
}

static void close_open(struct direction *d)
{
    struct frame *f = &d->frames[d->count];
    if (f->size == 0)
        return;
    f->due = time_ns() + below(4) * 50000;
    d->count++;
    d->frames[d->count].size = 0;
}

/// One frame, if one is due.
static bool deliver(struct direction *d, bool to_host)
{
    if (d->count == 0 || d->frames[0].due > time_ns())
        return false;
    static struct frame f;
    f = d->frames[0];
    memmove(d->frames, d->frames + 1, d->count * sizeof(d->frames[0]));
    d->count--;
    for (unsigned at = 0; at < f.size && channel.state == LINK_UP;) {
        struct wire_record rec;
        memcpy(&rec, f.bytes + at, sizeof(rec));
        size_t size = rec.length - sizeof(rec);
        uint8_t *body = malloc(size ? size : 1); // so that ASan sees a read behind it
        memcpy(body, f.bytes + at + sizeof(rec), size);
        if (to_host)
            channel.events->record(channel.ctx, &channel, &rec, body, size);
        else
            device_record(&rec, body, size);
        free(body);
        at += rec.length;
    }
    return true;
}

static enum status world_to_host(const struct wire_record *rec, const void *body, size_t size,
                                 const void *data, size_t data_size)
{
    bool event = rec->type >= REC_INTX && rec->type != REC_CREDIT;
    return append(&channel.in, event ? QUEUE - RESERVED : QUEUE + 60, rec, body, size, data, data_size,
                  WIRE_TO_HOST);
}

static void come_up(void)
{
    channel.out.count = channel.in.count = 0;
    channel.out.frames[0].size = channel.in.frames[0].size = 0;
    channel.state = LINK_UP;
    device_forget();
    channel.events->up(channel.ctx, &channel);
}

static void break_now(void)
{
    channel.state = LINK_CONNECTING;
    channel.events->down(channel.ctx, &channel, "cut by the test");
    device_forget();
}

static unsigned world_step(void)
{
    host_time_advance_ns(20000 + below(40000));
    if (channel.state == LINK_UP && breaks_at && time_ns() >= breaks_at) {
        breaks_at = 0;
        channel.state = LINK_CONNECTING; // noticed by the driver when its access has ended
        channel.events->down(channel.ctx, &channel, "cut by the test");
        device_forget();
        return 0;
    }
    if (channel.state != LINK_UP)
        return 0;
    unsigned n = 0;
    if (below(4))
        n += deliver(&channel.out, false);
    if (below(4))
        device_poll();
    close_open(&channel.in);
    if (below(4))
        n += deliver(&channel.in, true);
    return n;
}

// --- net/link.h, net/discovery.h ---

enum status link_connect(uint32_t peer, const char *node, const struct link_events *events, void *ctx,
                         struct link **link)
{
    (void)peer, (void)node;
    require(!channel.connected, "a second link");
    channel = (struct link){.state = LINK_CONNECTING, .events = events, .ctx = ctx, .connected = true};
    *link = &channel;
    return OK;
}

bool link_set_peer(struct link *link, uint32_t peer)
{
    (void)link, (void)peer;
    return true;
}

void link_close(struct link *link, const char *why)
{
    (void)why;
    link->state = LINK_CLOSED;
    link->connected = false;
}

enum status link_send(struct link *link, const struct wire_record *rec, const void *body, size_t body_size,
                      const void *data, size_t data_size)
{
    if (link->state != LINK_UP)
        return ERR_LINK_DOWN;
    return append(&link->out, QUEUE, rec, body, body_size, data, data_size, WIRE_TO_REMOTE);
}

size_t link_room_max(const struct link *link)
{
    return link->state == LINK_UP ? FRAME - sizeof(struct wire_record) : 0;
}

size_t link_room(const struct link *link)
{
    unsigned used = link->out.frames[link->out.count].size + (unsigned)sizeof(struct wire_record);
    return link->state == LINK_UP && used < FRAME ? FRAME - used : 0;
}

void link_flush(struct link *link)
{
    if (link->out.count < QUEUE)
        close_open(&link->out);
}

void link_cut(struct link *link, const char *why)
{
    (void)link;
    fprintf(stderr, "%s\n", why);
    require(false, "the host cuts off an honest remote");
}

enum link_state link_state(const struct link *link)
{
    return link->state;
}

// --- runs ---

static void announce(void)
{
    static const struct wire_function lent = {.at = {.devfn = 4u << 3}};
    static struct announcement a;
    a.peer = 7;
    a.boot_id = 9;
    a.function_count = 1;
    a.functions = &lent;
    wire_text_set(a.node, sizeof(a.node), "disk1");
    net_lock();
    hear(&a);
    if (channel.state == LINK_CONNECTING)
        come_up();
    net_unlock();
}

static void attach(void)
{
    world_doing = "attaching";
    for (unsigned i = 0; i < 400 && !bus_guest_ready(w.guest); i++) {
        if (channel.state != LINK_UP)
            announce();
        others(1);
    }
    require(bus_guest_ready(w.guest), "it never attaches");
}

static void run(uint64_t seed, unsigned operations, bool all_mapped, unsigned breaks)
{
    host_time_set_ns(1000000000);
    channel.connected = false;
    breaks_at = 0;
    world_begin(seed, all_mapped);
    attach();
    bus_guest_start(w.guest);
    driver_starts();
    for (world_op = 1; world_op <= operations; world_op++) {
        if (breaks && below(breaks) == 0) {
            unsigned how = below(3);
            world_doing = "breaking";
            if (how == 0) {
                net_lock();
                break_now();
                net_unlock();
            } else if (how == 1) {
                breaks_at = time_ns() + below(1000) * 1000;
            } else {
                bus_guest_reset(w.guest);
                commands_lost();
                driver_starts();
            }
        }
        one_operation();
        while (device_lost()) {
            commands_lost();
            scribble();
            attach();
            driver_starts();
        }
    }
    breaks_at = 0;
    quiesce();
    world_end();
}

static void test_random_work(void **state)
{
    (void)state;
    run_many(1000, 60, 1500, false, 0);
    assert_true(total_completed > 5000); // the test tests something
    assert_true(total_aborts > 200);
    assert_true(total_interrupts > 1000);
}

static void test_breaks_and_resets(void **state)
{
    (void)state;
    run_many(2000, 40, 1500, false, 150);
}

static void test_all_of_memory(void **state)
{
    (void)state;
    run_many(3000, 30, 1000, true, 0);
    run_many(4000, 15, 1000, true, 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_work),
        cmocka_unit_test(test_breaks_and_resets),
        cmocka_unit_test(test_all_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
