// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/bus/guests.c hv/bus/ports.c hv/platform/root_port.c drivers/pci_class.c
// LINK: hv/bus/assoc.c hv/bus/attach.c hv/bus/config_view.c hv/bus/remote_fn.c hv/bus/report.c
// LINK: hv/bus/mirror_slots.c hv/bus/mirror_content.c hv/bus/mirror_map.c hv/bus/mirror_sync.c
// LINK: hv/platform/iommu.c hv/platform/iommu_fault.c hv/platform/iommu_queue.c hv/platform/iommu_walk.c
// LINK: hv/bus/interrupts.c hv/bus/transact.c hv/platform/io_space.c hv/platform/pci_host.c
// LINK: net/wire.c net/link.c net/link_handshake.c net/link_reliable.c net/link_records.c @keys
// LINK: remote-fw/server.c remote-fw/completions.c remote-fw/mastering.c remote-fw/dma_slots.c
// LINK: remote-fw/dma_round.c remote-fw/dma_diff.c remote-fw/executor.c remote-fw/functions.c
// LINK: remote-fw/config_mask.c remote-fw/interrupts.c remote-fw/reset.c tests/unit/net/sim.c
// LINK: remote-fw/lending.c
//
// Who has what, for how long: a host with three guests, a rival host and one remote, for real, over a
// simulated network. Guests start and stop, functions are attached and detached, machines move, lose their
// cables and start again, in any order. Whatever happened: a function has one owner; what no running guest
// wishes is free, after a reset, when the network has been good for a while; a guest that starts gets
// what it names; and nobody waits for what no guest has.
#include "hv/bus/remote.h"
#include "remote-fw/server.h"
#include "rt/time.h"
#include "rt/trace.h"
#include "tests/unit/host/host.h"
#include "tests/unit/mock_function.h"
#include "tests/unit/net/announced.h"
#include "tests/unit/net/lock.h"
#include "tests/unit/net/sim.h"
#include <setjmp.h>
#include <stdarg.h>
// cmocka wants these first
#include <cmocka.h>

#define HOST      0
#define REMOTE    1
#define RIVAL     2
#define MS        1000000ull
#define LEASE_MS  (LINK_SILENCE_MS + LINK_GRACE_MS)
#define FUNCTIONS 4
#define GUESTS    3

static struct functions functions;
static struct mock_device devices[FUNCTIONS];
static const struct boot_device wanted[FUNCTIONS] = {{.node = "disk1", .at = {.devfn = 4 << 3}},
                                                     {.node = "disk1", .at = {.devfn = 5 << 3}},
                                                     {.node = "disk1", .at = {.devfn = 6 << 3}},
                                                     {.node = "disk1", .at = {.devfn = 7 << 3}}};
static const struct {
    const char *name;
    enum boot_bus layout;
    unsigned first, count; // of `wanted`
} plan[GUESTS] = {
    {"two", BOOT_BUS_PORTS, 0, 2}, {"flat", BOOT_BUS_FLAT, 2, 1}, {"one", BOOT_BUS_PORTS, 3, 1}};

static struct guest {
    struct io_space io;
    struct guest_pci pci;
    struct bus_guest *bus;
    bool runs; // bus_guest_start was called since bus_guest_claim
} guests[GUESTS];
static uint64_t next_beat;

__attribute__((weak)) void trace(enum trace_event event, uint32_t arg)
{
    (void)event, (void)arg;
}

// --- the rival: a host of which only the link is real ---

static struct {
    struct link *link;
    uint16_t handles[FUNCTIONS];
    unsigned up, owned, attached;
} rival;

static void rival_up(void *ctx, struct link *link)
{
    (void)ctx, (void)link;
    memset(rival.handles, 0, sizeof(rival.handles));
    rival.up++;
}

static void rival_record(void *ctx, struct link *link, const struct wire_record *rec, const void *body,
                         size_t size)
{
    struct wire_attached a;
    (void)ctx, (void)link;
    if (rec->type == REC_CPLD && rec->status == CPL_SC && size == sizeof(a)) {
        memcpy(&a, body, sizeof(a));
        rival.handles[(a.info.at.devfn >> 3) - 4] = a.handle;
        rival.attached++;
    } else if (rec->type == REC_CPLD && rec->status == CPL_OWNED) {
        assert_int_equal(size, 5); // "host1", or itself
        rival.owned++;
    }
}

static void rival_change(void *ctx, struct link *link)
{
    (void)ctx, (void)link;
}

static void rival_down(void *ctx, struct link *link, const char *why)
{
    (void)ctx, (void)link, (void)why;
    memset(rival.handles, 0, sizeof(rival.handles));
}

static const struct link_events rival_events = {.up = rival_up,
                                                .record = rival_record,
                                                .frozen = rival_change,
                                                .resumed = rival_change,
                                                .down = rival_down};

static void rival_asks(unsigned i, bool attach)
{
    struct wire_attach body = {.at = {.devfn = wanted[i].at.devfn}};
    struct wire_record rec = {.type = attach ? REC_ATTACH : REC_DETACH, .tag = (uint16_t)i};
    rec.function = attach ? 0 : rival.handles[i];
    if (!rival.link || (!attach && !rival.handles[i]))
        return;
    net_lock();
    sim_on(RIVAL);
    if (link_send(rival.link, &rec, &body, attach ? sizeof(body) : 0, NULL, 0) == OK) {
        link_flush(rival.link);
        rival.handles[i] = attach ? rival.handles[i] : 0;
    }
    sim_on(HOST);
    net_unlock();
}

static void rival_connects(bool connect)
{
    net_lock();
    sim_on(RIVAL);
    if (connect && !rival.link)
        assert_int_equal(link_connect(sim_nodes[REMOTE].address, "disk1", &rival_events, NULL, &rival.link),
                         OK);
    else if (!connect && rival.link) {
        link_close(rival.link, "had enough");
        rival.link = NULL;
        memset(rival.handles, 0, sizeof(rival.handles));
    }
    sim_on(HOST);
    net_unlock();
}

// --- the world ---

/// A heartbeat reaches who has a cable. The simulated network does not carry it.
static void beat(void)
{
    struct announcement a = *announced;
    if ((time_ns() < next_beat && !announced_anew) || !sim_nodes[REMOTE].cable)
        return;
    announced_anew = false;
    next_beat = time_ns() + DISCOVERY_INTERVAL_MS * MS;
    a.peer = sim_nodes[REMOTE].address;
    sim_on(REMOTE);
    a.boot_id = link_boot_id();
    if (rival.link && sim_nodes[RIVAL].cable) {
        sim_on(RIVAL);
        (void)!link_set_peer(rival.link, a.peer);
        link_peer_announced(a.node, a.peer, a.boot_id);
    }
    sim_on(HOST);
    if (!sim_nodes[HOST].cable)
        return;
    link_peer_announced(a.node, a.peer, a.boot_id);
    hear(&a);
}

static void serve(void)
{
    sim_on(REMOTE);
    (void)server_poll();
}

unsigned net_poll(void)
{
    assert_true(net_locked);
    uint64_t before = sim_nodes[REMOTE].frames_out;
    sim_run(200000, 100000, serve);
    beat();
    sim_on(HOST);
    return sim_nodes[REMOTE].frames_out != before;
}

static void collect(void)
{
    for (unsigned g = 0; g < GUESTS; g++) {
        if (guests[g].runs)
            bus_guest_collect(guests[g].bus);
        else
            bus_guest_rest(guests[g].bus);
    }
}

static void pass(uint64_t ms)
{
    for (uint64_t end = time_ns() + ms * MS; time_ns() < end;) {
        net_lock();
        sim_on(HOST);
        for (unsigned i = 0; i < 50; i++)
            (void)net_poll();
        net_unlock();
        collect();
    }
}

static void start_remote(void)
{
    sim_boot(REMOTE, "disk1");
    sim_on(REMOTE);
    memset(&functions, 0, sizeof(functions));
    for (unsigned i = 0; i < FUNCTIONS; i++) {
        memset(&devices[i], 0, sizeof(devices[i]));
        (void)mock_lend(&functions, &devices[i], (uint8_t)(4 + i));
        devices[i].decoding_checked = true;
    }
    server_start(&functions, "disk1", 0);
    sim_on(HOST);
}

static void begin(uint64_t seed)
{
    sim_start(seed);
    sim_boot(HOST, "host1");
    sim_boot(RIVAL, "host2");
    memset(&rival, 0, sizeof(rival));
    memset(guests, 0, sizeof(guests));
    memset(&bus_counts, 0, sizeof(bus_counts));
    start_remote();
    bus_start("host1");
    for (unsigned g = 0; g < GUESTS; g++) {
        assert_int_equal(guest_pci_init(&guests[g].pci, &guests[g].io), OK);
        assert_int_equal(bus_guest_add(plan[g].name, plan[g].layout, &wanted[plan[g].first], plan[g].count,
                                       &guests[g].io, &guests[g].pci, &guests[g].bus),
                         OK);
    }
}

static void end(void)
{
    for (unsigned g = 0; g < GUESTS; g++)
        bus_guest_remove(guests[g].bus);
    rival_connects(false);
    pass(100);
    sim_stop();
}

static void stop(unsigned g)
{
    bus_guest_stop(guests[g].bus);
    guests[g].runs = false;
}

static void start(unsigned g)
{
    bus_guest_claim(guests[g].bus);
    bus_guest_start(guests[g].bus);
    guests[g].runs = true;
}

static const char *owner(unsigned i)
{
    return server_owner(&functions.all[i]);
}

static bool is_free(unsigned i)
{
    const struct function *f = &functions.all[i];
    return !f->owner && f->state == FUNCTION_FREE && f->clean;
}

static unsigned entries(unsigned i, const struct bus_guest *guest)
{
    unsigned n = 0;
    for (unsigned k = 0; k < assoc_count(); k++) {
        const struct remote_fn *fn = assoc_get(k);
        n += fn->state != ASSOC_FREE && fn->at.devfn == wanted[i].at.devfn && (!guest || fn->guest == guest);
    }
    return n;
}

/// At any time.
static void check(void)
{
    for (unsigned i = 0; i < FUNCTIONS; i++) {
        assert_in_range(entries(i, NULL), 0, 1);
        if (!functions.all[i].owner)
            assert_int_equal(mock_get(&devices[i], 4, 2) & 7, 0); // nobody's: decodes and masters nothing
    }
    for (unsigned g = 0; g < GUESTS; g++)
        for (unsigned i = 0; i < FUNCTIONS && !guests[g].bus->claims; i++)
            assert_int_equal(entries(i, guests[g].bus), 0);
    for (unsigned i = 0; i < FUNCTIONS; i++) {
        bool waits;
        for (unsigned n = 0; guests_wishing(&wanted[i], n, &waits); n++)
            assert_true(!waits || entries(i, NULL) == 1); // nobody waits for what no guest has
    }
}

/// Nothing is under way at the host for that remote.
static void check_at_rest(void)
{
    const struct remote *remote = assoc_remote("disk1");
    if (!remote) { // no guest has needed it for a while
        assert_null(link_get(0));
        return;
    }
    for (unsigned i = 0; i < TAGS; i++)
        assert_false(remote->tags[i].busy);
    for (unsigned i = 0; i < sizeof(remote->owed) / sizeof(remote->owed[0]); i++)
        assert_int_equal(remote->owed[i], 0);
    assert_null(remote->attaching);
}

static bool all_ready(void)
{
    bool ready = true;
    for (unsigned g = 0; g < GUESTS; g++)
        ready &= bus_guest_ready(guests[g].bus);
    return ready;
}

static void wait_ready(uint64_t ms)
{
    for (uint64_t until = time_ns() + ms * MS; !all_ready() && time_ns() < until;)
        pass(20);
    assert_true(all_ready());
}

// --- tests ---

static void test_stop_frees_and_start_claims(void **state)
{
    (void)state;
    begin(1);
    wait_ready(2000);
    for (unsigned i = 0; i < FUNCTIONS; i++)
        assert_string_equal(owner(i), "host1");
    for (unsigned g = 0; g < GUESTS; g++)
        start(g);
    unsigned resets = devices[0].resets;
    stop(0);
    pass(200);
    assert_true(is_free(0) && is_free(1));
    assert_int_equal(devices[0].resets, resets + 1);
    assert_string_equal(owner(2), "host1"); // of the others nothing is known
    // another host has it, until it is gone for longer than its lease
    rival_connects(true);
    pass(100);
    rival_asks(0, true);
    pass(100);
    assert_string_equal(owner(0), "host2");
    start(0);
    pass(2000);
    assert_false(bus_guest_ready(guests[0].bus));
    const struct remote_fn *fn = assoc_find(&wanted[0]);
    assert_int_equal(fn->state, ASSOC_REFUSED);
    assert_string_equal(fn->refused_by, "host2");
    resets = devices[0].resets;
    sim_nodes[RIVAL].cable = false;
    pass(LEASE_MS - 200);
    assert_string_equal(owner(0), "host2");
    pass(400);
    assert_int_equal(devices[0].resets, resets + 1);
    pass(1000);
    assert_string_equal(owner(0), "host1");
    assert_true(all_ready());
    end();
}

static void test_remote_moves(void **state)
{
    (void)state;
    begin(2);
    wait_ready(2000);
    for (unsigned g = 0; g < GUESTS; g++)
        start(g);
    struct announcement lie = *announced; // somebody announces the same remote elsewhere
    lie.peer = 90;
    for (unsigned i = 0; i < 100; i++) {
        net_lock();
        sim_on(REMOTE);
        lie.boot_id = link_boot_id();
        sim_on(HOST);
        hear(&lie);
        net_unlock();
        pass(100);
    }
    assert_true(all_ready());
    assert_int_equal(bus_counters().link_lost, 0);
    assert_int_equal(assoc_remote("disk1")->peer, sim_nodes[REMOTE].address);
    sim_nodes[REMOTE].address = 77; // while it runs: another lease of its DHCP server
    pass(LEASE_MS + 1500);
    assert_true(all_ready());
    start_remote(); // and it starts again somewhere else
    sim_nodes[REMOTE].address = 78;
    pass(LEASE_MS + 1500);
    assert_true(all_ready());
    for (unsigned i = 0; i < FUNCTIONS; i++)
        assert_string_equal(owner(i), "host1");
    check_at_rest();
    end();
}

static void happen(void)
{
    unsigned g = (unsigned)(sim_random() % GUESTS), i = (unsigned)(sim_random() % FUNCTIONS);
    switch (sim_random() % 22) {
    case 0:
    case 1:
    case 2:
        stop(g);
        break;
    case 3:
    case 4:
    case 5:
        start(g);
        break;
    case 6:
        bus_guest_claim(guests[g].bus); // it waits
        break;
    case 7:
        if (guests[g].runs)
            bus_guest_reset(guests[g].bus);
        break;
    case 8:
        (void)!bus_guest_attach(guests[g].bus, &wanted[i]);
        break;
    case 9:
        (void)!bus_guest_detach(guests[g].bus, &wanted[i]);
        break;
    case 10:
        sim_nodes[sim_random() % 3].cable ^= true;
        break;
    case 11:
        for (unsigned n = 0; n < 3; n++)
            sim_nodes[n].cable = true;
        break;
    case 12:
        if (sim_random() % 4 == 0)
            start_remote();
        break;
    case 13:
        sim_nodes[REMOTE].address = 50 + (uint32_t)(sim_random() % 3);
        break;
    case 14:
        rival_connects(sim_random() % 4 != 0);
        break;
    case 15:
    case 20:
    case 21:
        rival_asks(i, true);
        break;
    case 16:
        rival_asks(i, false);
        break;
    case 17:
        sim_faults = (struct sim_faults){0};
        if (sim_random() % 2)
            sim_faults = (struct sim_faults){.loss = 100, .duplicate = 100, .reorder = 100, .nic_full = 20};
        break;
    case 18:
        pass(sim_random() % 3000);
        break;
    default:
        pass(LEASE_MS + 500);
        break;
    }
    pass(sim_random() % 150);
}

static void test_anything(void **state)
{
    (void)state;
    uint64_t frames = host_frames_in_use();
    unsigned rivals = 0, lost = 0;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        sim_sealed = seed % 5 == 0;
        begin(seed);
        assert_int_equal(link_keys() != NULL, sim_sealed);
        rival_connects(true);
        for (unsigned i = 0; i < 60; i++) {
            happen();
            check();
        }
        sim_faults = (struct sim_faults){0};
        for (unsigned n = 0; n < 3; n++)
            sim_nodes[n].cable = true;
        // nobody wants anything any more
        rivals += rival.attached;
        rival_connects(false);
        for (unsigned g = 0; g < GUESTS; g++)
            stop(g);
        pass(2 * LEASE_MS);
        check();
        check_at_rest();
        for (unsigned i = 0; i < FUNCTIONS; i++)
            assert_true(is_free(i));
        pass(30000); // for so long a link nobody needs is kept
        assert_null(assoc_remote("disk1"));
        // and everybody gets what he names, if it is not promised to others
        for (unsigned g = 0; g < GUESTS; g++)
            for (unsigned i = 0; i < FUNCTIONS; i++)
                (void)!bus_guest_detach(guests[g].bus, &wanted[i]);
        for (unsigned g = 0; g < GUESTS; g++)
            start(g);
        wait_ready(2000);
        for (unsigned g = 0; g < GUESTS; g++)
            for (unsigned i = 0; i < plan[g].count; i++)
                assert_int_equal(entries(plan[g].first + i, guests[g].bus), 1);
        for (unsigned i = 0; i < FUNCTIONS; i++)
            assert_string_equal(owner(i), "host1");
        lost += (unsigned)bus_counters().malformed;
        end();
        assert_int_equal(host_frames_in_use(), frames);
    }
    sim_sealed = false;
    assert_true(rivals > 5);   // it was a rival
    assert_int_equal(lost, 0); // who keeps the rules is never suspected
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stop_frees_and_start_claims),
        cmocka_unit_test(test_remote_moves),
        cmocka_unit_test(test_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
