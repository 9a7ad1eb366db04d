// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/bus/guests.c hv/bus/ports.c hv/platform/root_port.c drivers/pci_class.c
// LINK: hv/bus/mirror_slots.c hv/bus/mirror_content.c hv/bus/mirror_map.c hv/bus/mirror_sync.c
// LINK: hv/bus/assoc.c hv/bus/attach.c hv/bus/config_view.c hv/bus/remote_fn.c hv/bus/report.c
// LINK: hv/platform/iommu.c hv/platform/iommu_fault.c hv/platform/iommu_queue.c hv/platform/iommu_walk.c
// LINK: hv/bus/interrupts.c hv/bus/transact.c hv/platform/io_space.c hv/platform/pci_host.c net/wire.c
// Many remotes at one host that are as like each other as they can be: each lends the same function at the
// same address under the same handle, and requests to all carry the same tags. What comes from one is never
// taken for another's, whatever it says; one that goes leaves the others as they were.
#include "hv/bus/remote.h"
#include "net/stack.h"
#include "rt/time.h"
#include "rt/trace.h"
#include "tests/unit/host/host.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
// cmocka wants these first
#include <cmocka.h>

#define REMOTES (REMOTES_MAX + 1)
#define HANDLE  5u
#define QUEUE   64u

/// One remote: each of its registers tells whose it is.
struct link {
    enum link_state state;
    unsigned n; // of the remote
    const struct link_events *events;
    void *ctx;
    struct {
        struct wire_record rec;
        uint8_t body[32];
    } queue[QUEUE];
    unsigned count;
    bool lent, silent;
    unsigned cuts;
};

static struct link links[REMOTES];
static unsigned links_max; // in the pool
static void (*heard)(void *ctx, const struct announcement *a);
static bool locked;
/// What another remote does while the host waits for the silent one.
static void (*meanwhile)(void);

__attribute__((weak)) void trace(enum trace_event event, uint32_t arg)
{
    (void)event, (void)arg;
}

void net_lock(void)
{
    assert_false(locked);
    locked = true;
}

void net_unlock(void)
{
    assert_true(locked);
    locked = false;
}

void discovery_listen(void (*h)(void *ctx, const struct announcement *a), void *ctx)
{
    (void)ctx;
    heard = h;
}

bool discovery_heard(unsigned n, struct announcement *a, uint64_t *when_ns)
{
    (void)n, (void)a, (void)when_ns;
    return false;
}

enum status link_connect(uint32_t peer, const char *node, const struct link_events *events, void *ctx,
                         struct link **link)
{
    unsigned open = 0;
    (void)node;
    for (unsigned i = 0; i < REMOTES; i++)
        open += links[i].state != LINK_CLOSED;
    if (open == links_max)
        return ERR_NOMEM;
    *link = &links[peer - 1];
    assert_int_equal((*link)->state, LINK_CLOSED);
    **link = (struct link){.state = LINK_CONNECTING, .n = peer - 1, .events = events, .ctx = ctx};
    return OK;
}

bool link_set_peer(struct link *link, uint32_t peer)
{
    return peer == link->n + 1;
}

void link_close(struct link *link, const char *why)
{
    (void)why;
    link->state = LINK_CLOSED;
    link->lent = false;
    link->count = 0;
}

void link_cut(struct link *link, const char *why)
{
    link->cuts++;
    link->state = LINK_CONNECTING;
    link->lent = false;
    link->count = 0;
    link->events->down(link->ctx, link, why);
}

enum status link_send(struct link *link, const struct wire_record *rec, const void *body, size_t body_size,
                      const void *data, size_t data_size)
{
    assert_true(locked && link->state == LINK_UP && link->count < QUEUE);
    assert_true(body_size + data_size <= sizeof(link->queue[0].body));
    link->queue[link->count].rec = *rec;
    if (body_size)
        memcpy(link->queue[link->count].body, body, body_size);
    if (data_size)
        memcpy(link->queue[link->count].body + body_size, data, data_size);
    link->count++;
    return OK;
}

void link_flush(struct link *link)
{
    (void)link;
}

size_t link_room_max(const struct link *link)
{
    return link->state == LINK_UP ? 1000 : 0;
}

size_t link_room(const struct link *link)
{
    return link_room_max(link);
}

enum link_state link_state(const struct link *link)
{
    return link->state;
}

static struct wire_function function_of(unsigned n)
{
    return (struct wire_function){.at = {.devfn = 1 << 3},
                                  .vendor = 0x1b36,
                                  .device = (uint16_t)(0x100 + n),
                                  .class_code = 1,
                                  .pin = 1,
                                  .bars = {[0] = {.size = 4096, .kind = 2}}};
}

static void deliver(struct link *link, struct wire_record rec, const void *body, size_t size)
{
    uint8_t copy[256] = {0};
    if (size)
        memcpy(copy, body, size);
    rec.length = (uint16_t)(sizeof(rec) + size);
    link->events->record(link->ctx, link, &rec, copy, size);
}

static uint32_t answer(const struct link *link, uint8_t type, const uint8_t *body)
{
    struct wire_access a;
    memcpy(&a, body, sizeof(a));
    if (type != REC_CFG_RD)
        return 0xab000000u | link->n << 16 | a.offset;
    return a.offset == 0 ? (0x100u + link->n) << 16 | 0x1b36u : 0;
}

static void serve(struct link *link)
{
    const struct wire_record rec = link->queue[0].rec;
    uint8_t body[sizeof(link->queue[0].body)];
    memcpy(body, link->queue[0].body, sizeof(body));
    link->count--;
    memmove(link->queue, link->queue + 1, link->count * sizeof(link->queue[0]));
    struct wire_record reply = {.type = REC_CPL, .function = rec.function, .tag = rec.tag};
    if (rec.type == REC_ATTACH) {
        assert_false(link->lent);
        link->lent = true;
        const struct wire_attached attached = {.handle = HANDLE, .credits = 8, .info = function_of(link->n)};
        reply.type = REC_CPLD;
        reply.function = HANDLE;
        deliver(link, reply, &attached, sizeof(attached));
    } else if (rec.type == REC_CFG_RD || rec.type == REC_MRD) {
        uint32_t value = answer(link, rec.type, body);
        assert_int_equal(rec.function, HANDLE);
        reply.type = REC_CPLD;
        deliver(link, reply, &value, sizeof(value));
    } else if (rec.type != REC_MWR && rec.type != REC_EOI) {
        link->lent = link->lent && rec.type != REC_DETACH;
        deliver(link, reply, NULL, 0);
    }
}

unsigned net_poll(void)
{
    assert_true(locked);
    host_time_advance_ns(100000);
    for (unsigned i = 0; i < REMOTES; i++) {
        if (links[i].state == LINK_UP && links[i].count && !links[i].silent)
            serve(&links[i]);
    }
    if (meanwhile)
        meanwhile();
    return 1;
}

// --- the world: guests of 8 lines each; line n names disk<n>/0000:00:01.0 ---

static struct guest {
    struct io_space io;
    struct guest_pci pci;
    struct bus_guest *bus;
    struct boot_device lines[8];
} guests[2];

static struct boot_device device_of(unsigned n)
{
    struct boot_device d = {.at = {.devfn = 1 << 3}};
    char name[8];
    snprintf(name, sizeof(name), "disk%u", n);
    wire_text_set(d.node, sizeof(d.node), name);
    return d;
}

static void announce(unsigned n)
{
    const struct wire_function f = function_of(n);
    struct announcement a = {.boot_id = 100 + n, .peer = n + 1, .function_count = 1, .functions = &f};
    wire_text_set(a.node, sizeof(a.node), device_of(n).node);
    net_lock();
    heard(NULL, &a);
    if (links[n].state == LINK_CONNECTING) {
        links[n].state = LINK_UP;
        links[n].events->up(links[n].ctx, &links[n]);
    }
    net_unlock();
}

static void settle(unsigned remotes)
{
    for (unsigned n = 0; n < remotes; n++)
        announce(n);
    for (unsigned i = 0; i < 200; i++) {
        net_lock();
        (void)net_poll();
        net_unlock();
    }
    for (unsigned g = 0; g < 2; g++)
        bus_guest_collect(guests[g].bus);
}

static int begin(void **state)
{
    (void)state;
    memset(links, 0, sizeof(links));
    memset(guests, 0, sizeof(guests));
    memset(&bus_counts, 0, sizeof(bus_counts));
    meanwhile = NULL;
    links_max = REMOTES;
    host_time_set_ns(1000000000);
    bus_start("host1");
    for (unsigned g = 0; g < 2; g++) {
        for (unsigned i = 0; i < 8; i++)
            guests[g].lines[i] = device_of(8 * g + i);
        assert_int_equal(guest_pci_init(&guests[g].pci, &guests[g].io), OK);
        assert_int_equal(bus_guest_add(g ? "h" : "g", BOOT_BUS_PORTS, guests[g].lines, 8, &guests[g].io,
                                       &guests[g].pci, &guests[g].bus),
                         OK);
    }
    settle(REMOTES);
    for (unsigned g = 0; g < 2; g++) {
        assert_true(bus_guest_ready(guests[g].bus));
        bus_guest_start(guests[g].bus);
    }
    return 0;
}

static int end(void **state)
{
    (void)state;
    for (unsigned g = 0; g < 2; g++)
        bus_guest_remove(guests[g].bus);
    for (unsigned i = 0; i < REMOTES; i++)
        assert_int_equal(links[i].state, LINK_CLOSED);
    return 0;
}

static struct remote_fn *fn_of(unsigned n)
{
    struct boot_device d = device_of(n);
    return assoc_find(&d);
}

/// As its guest reads it: by MMIO.
static uint32_t read(unsigned n, unsigned offset)
{
    struct remote_fn *fn = fn_of(n);
    assert_non_null(fn);
    return (uint32_t)io_space_mmio_read(&guests[n / 8].io, fn->bars[0].home + offset, 4);
}

static void assert_own(unsigned n)
{
    assert_int_equal(read(n, 0x40), 0xab000000u | n << 16 | 0x40);
}

static void test_each_is_its_own(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3; round++)
        for (unsigned n = 0; n < REMOTES_MAX; n++) {
            assert_own(n);
            assert_int_equal(fn_of(n)->info.device, 0x100 + n);
            assert_ptr_equal(fn_of(n)->guest, guests[n / 8].bus);
        }
    assert_int_equal(bus_counters().malformed, 0);
}

/// Remote 1 answers what remote 0 was asked: same tag, same handle, right size.
static void answer_for_another(void)
{
    uint32_t lie = 0x11e11e;
    struct wire_record rec = {.type = REC_CPLD, .function = HANDLE};
    if (!links[0].count)
        return;
    rec.tag = links[0].queue[0].rec.tag;
    deliver(&links[1], rec, &lie, sizeof(lie));
    links[0].silent = false;
    meanwhile = NULL;
}

static void test_nobody_answers_for_another(void **state)
{
    (void)state;
    for (unsigned i = 0; i + 1 < REMOTE_OFFENCES_MAX; i++) {
        links[0].silent = true;
        meanwhile = answer_for_another;
        assert_own(0);
        assert_int_equal(bus_counters().malformed, i + 1);
    }
    assert_own(1);
    assert_int_equal(links[1].cuts, 0);
    links[0].silent = true;
    meanwhile = answer_for_another;
    assert_own(0);
    assert_int_equal(links[1].cuts, 1); // that is who lied
    assert_int_equal(links[0].cuts, 0);
    assert_int_equal(fn_of(1)->state, ASSOC_LOST);
    for (unsigned n = 0; n < REMOTES_MAX; n++)
        if (n != 1)
            assert_own(n);
    settle(REMOTES);
    assert_int_equal(fn_of(1)->state, ASSOC_ATTACHED);
}

static void test_events_are_the_senders(void **state)
{
    (void)state;
    const struct wire_credit credit = {.count = 1};
    net_lock();
    deliver(&links[3], (struct wire_record){.type = REC_GONE, .function = HANDLE}, NULL, 0);
    deliver(&links[4], (struct wire_record){.type = REC_CREDIT, .function = HANDLE}, &credit, sizeof(credit));
    deliver(&links[5], (struct wire_record){.type = REC_GONE, .function = HANDLE + 1}, NULL, 0);
    net_unlock();
    for (unsigned n = 0; n < REMOTES_MAX; n++) {
        assert_int_equal(fn_of(n)->state, n == 3 ? ASSOC_LOST : ASSOC_ATTACHED);
        assert_int_equal(fn_of(n)->remote->offences, n == 4 ? 1 : 0);
        if (n != 3)
            assert_own(n);
    }
    assert_int_equal(bus_counters().unexpected, 1);
}

static void test_one_goes(void **state)
{
    (void)state;
    net_lock();
    links[2].state = LINK_CONNECTING;
    links[2].lent = false;
    links[2].count = 0;
    links[2].events->down(links[2].ctx, &links[2], "silent");
    net_unlock();
    assert_int_equal(read(2, 0), 0xffffffff);
    for (unsigned n = 0; n < REMOTES_MAX; n++)
        if (n != 2)
            assert_own(n);
    bus_guest_collect(guests[0].bus);
    settle(REMOTES);
    assert_int_equal(fn_of(2)->state, ASSOC_ATTACHED);
}

/// More remotes than there is room for: what nobody needs makes room, what is needed stays.
static void test_too_many(void **state)
{
    (void)state;
    struct boot_device more = device_of(REMOTES_MAX);
    assert_int_equal(bus_guest_attach(guests[0].bus, &more), ERR_NOMEM);
    for (unsigned n = 0; n < REMOTES_MAX; n++)
        assert_own(n);
    bus_guest_stop(guests[1].bus);
    assert_int_equal(links[8].state, LINK_UP); // it lingers
    assert_int_equal(bus_guest_attach(guests[0].bus, &more), OK);
    assert_int_equal(links[8].state, LINK_CLOSED);
    settle(REMOTES);
    assert_int_equal(fn_of(REMOTES_MAX)->state, ASSOC_ATTACHED);
    for (unsigned n = 0; n < 8; n++)
        assert_own(n);
}

/// So with links, of which net/ has fewer: who finds none tries again, and says so once.
static void test_too_few_links(void **state)
{
    (void)state;
    bus_guest_stop(guests[1].bus);
    host_time_advance_ns(40000000000ull);
    settle(8);
    links_max = 9;
    bus_guest_claim(guests[1].bus);
    unsigned lines = host_log_count(), attached = 0;
    settle(REMOTES);
    lines = host_log_count() - lines;
    for (unsigned n = 8; n < REMOTES_MAX; n++)
        attached += fn_of(n)->state == ASSOC_ATTACHED;
    assert_int_equal(attached, 1);
    unsigned again = host_log_count();
    for (unsigned i = 0; i < 10; i++)
        settle(REMOTES);
    assert_int_equal(host_log_count(), again);
    bus_guest_stop(guests[0].bus); // eight links linger, and are wanted
    settle(REMOTES);
    settle(REMOTES);
    for (unsigned n = 8; n < REMOTES_MAX; n++)
        assert_int_equal(fn_of(n)->state, ASSOC_ATTACHED);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        T(test_each_is_its_own),
        T(test_nobody_answers_for_another),
        T(test_events_are_the_senders),
        T(test_one_goes),
        T(test_too_many),
        T(test_too_few_links),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
