// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/bus/guests.c hv/bus/ports.c hv/platform/root_port.c drivers/pci_class.c
// LINK: hv/bus/mirror_slots.c hv/bus/mirror_content.c hv/bus/mirror_map.c hv/bus/mirror_sync.c
// LINK: hv/bus/assoc.c hv/bus/attach.c hv/bus/config_view.c hv/bus/remote_fn.c hv/bus/report.c
// LINK: hv/platform/iommu.c hv/platform/iommu_fault.c hv/platform/iommu_queue.c hv/platform/iommu_walk.c
// LINK: hv/bus/interrupts.c hv/bus/transact.c hv/platform/io_space.c hv/platform/pci_host.c net/wire.c
// Whose a function is when several guests of a host wish it (docs/architecture.md, "Whose a function is"),
// what `devices` says of that, and how long a link is kept that nobody needs.
#include "tests/unit/bus_fixture.h"
#include <setjmp.h>
#include <stdarg.h>
// cmocka wants these first
#include <cmocka.h>

#define LINGER_NS 30000000000ull

/// A second guest; the first is the fixture's "g", whose lines name both functions.
static struct guest {
    struct io_space io;
    struct guest_pci pci;
    struct bus_guest *bus;
} other;

static void add(struct guest *g, const char *name, enum boot_bus layout, const struct boot_device *lines,
                unsigned count)
{
    memset(g, 0, sizeof(*g));
    assert_int_equal(guest_pci_init(&g->pci, &g->io), OK);
    assert_int_equal(bus_guest_add(name, layout, lines, count, &g->io, &g->pci, &g->bus), OK);
}

static void settle(void)
{
    for (unsigned i = 0; i < 3; i++) {
        if (fake.connected)
            fake_settle();
        bus_guest_collect(fx.guest);
        if (other.bus)
            bus_guest_collect(other.bus);
    }
}

static void heartbeat(void)
{
    fake_announce(PEER, BOOT_ID, 2);
    if (fake.connected && fake.link.state != LINK_UP)
        fake_up();
    settle();
}

static int begin(void **state)
{
    (void)state;
    fixture_clear();
    fixture_layout = BOOT_BUS_PORTS;
    fixture_guest();
    heartbeat();
    bus_guest_start(fx.guest);
    add(&other, "h", BOOT_BUS_PORTS, NULL, 0);
    bus_guest_start(other.bus);
    return 0;
}

static int end(void **state)
{
    (void)state;
    if (other.bus)
        bus_guest_remove(other.bus);
    other.bus = NULL;
    fixture_end();
    return 0;
}

static void stop(struct bus_guest *g)
{
    bus_guest_stop(g);
    settle();
}

static void start(struct bus_guest *g)
{
    bus_guest_claim(g);
    settle();
    bus_guest_start(g);
}

static void detach(struct bus_guest *g, unsigned i)
{
    assert_int_equal(bus_guest_detach(g, &fx.devices[i]), OK);
    settle(); // nobody listens to the slot: pulled at once
}

static void attach(struct bus_guest *g, unsigned i)
{
    assert_int_equal(bus_guest_attach(g, &fx.devices[i]), OK);
    settle();
}

static const struct bus_guest *owner(unsigned i)
{
    const struct remote_fn *fn = fn_of(i);
    return fn && fn->state == ASSOC_ATTACHED ? fn->guest : NULL;
}

static unsigned slot(unsigned i)
{
    return fn_of(i)->port->port.slot;
}

/// `devices` has a line of function i that ends so.
static void assert_said(unsigned i, const char *what)
{
    char name[32];
    snprintf(name, sizeof(name), "disk1/0000:00:%02x.0 ", fx.devices[i].at.devfn >> 3);
    unsigned before = host_log_count(), found = 0;
    bus_print_devices();
    for (unsigned n = host_log_count() - before; n-- > 0;) {
        const char *line = host_log_back(n);
        size_t length = strlen(line), tail = strlen(what);
        found += strstr(line, name) && length > tail && strcmp(line + length - tail, what) == 0;
    }
    if (found != 1)
        print_error("%s...%s: %u times\n", name, what, found);
    assert_int_equal(found, 1);
}

// --- one guest's line, another guest's attach ---

static void test_a_line_waits(void **state)
{
    (void)state;
    stop(fx.guest);
    assert_said(0, "free; guest \"g\" when it starts");
    attach(other.bus, 0);
    assert_said(0, "guest \"h\" 01:00.0 (slot 1)  attached; guest \"g\" when it starts");
    start(fx.guest);
    assert_ptr_equal(owner(0), other.bus);
    assert_ptr_equal(owner(1), fx.guest);
    assert_said(0, "guest \"h\" 01:00.0 (slot 1)  attached; guest \"g\" waits for it");
    assert_int_equal(bus_guest_attach(fx.guest, &fx.devices[0]), ERR_BUSY); // it need not ask
    detach(other.bus, 0);
    assert_ptr_equal(owner(0), fx.guest);
    assert_int_equal(slot(0), 1); // that of its line
    assert_int_equal(fake.owned_by_asker, 0);
    assert_said(0, "guest \"g\" 01:00.0 (slot 1)  attached");
}

static void test_given_back_by_stopping(void **state)
{
    (void)state;
    stop(fx.guest);
    attach(other.bus, 0);
    start(fx.guest);
    stop(other.bus);
    assert_ptr_equal(owner(0), fx.guest);
    assert_said(0, "guest \"g\" 01:00.0 (slot 1)  attached; guest \"h\" when it starts");
    start(other.bus); // what it was given it wishes still
    assert_true(bus_guest_ready(other.bus));
    bus_guest_tell_missing(other.bus);
    assert_non_null(strstr(host_log_last(), "starts without disk1/0000:00:01.0: it is another guest's: g"));
    assert_ptr_equal(owner(0), fx.guest);
    assert_said(0, "guest \"g\" 01:00.0 (slot 1)  attached; guest \"h\" waits for it");
    stop(fx.guest);
    assert_ptr_equal(owner(0), other.bus);
    detach(other.bus, 0);
    assert_said(0, "free; guest \"g\" when it starts");
    start(fx.guest);
    assert_ptr_equal(owner(0), fx.guest);
    assert_int_equal(fake.owned_by_asker, 0);
}

static void test_given_to_a_guest_for_ever(void **state)
{
    (void)state;
    detach(fx.guest, 0);
    attach(other.bus, 0);
    unsigned first = slot(0);
    for (unsigned i = 0; i < 100; i++) {
        unsigned resets = fake.fns[0].detaches;
        stop(other.bus);
        assert_null(fn_of(0));
        assert_int_equal(fake.fns[0].detaches, resets + 1);
        assert_said(0, "free; guest \"g\" when it starts; guest \"h\" when it starts");
        start(other.bus);
        assert_ptr_equal(owner(0), other.bus);
        assert_int_equal(slot(0), first);
    }
    // taken away while it is stopped
    stop(other.bus);
    assert_int_equal(bus_guest_detach(other.bus, &fx.devices[0]), OK);
    assert_int_equal(bus_guest_detach(other.bus, &fx.devices[0]), ERR_INVAL);
    start(other.bus);
    assert_null(fn_of(0));
}

static void test_a_line_that_was_detached(void **state)
{
    (void)state;
    detach(fx.guest, 0);
    assert_null(fn_of(0));
    assert_int_equal(bus_guest_detach(fx.guest, &fx.devices[0]), ERR_INVAL);
    heartbeat(); // nor does it come back by itself
    assert_null(fn_of(0));
    attach(other.bus, 0);
    assert_said(0, "guest \"h\" 01:00.0 (slot 1)  attached; guest \"g\" when it starts");
    detach(other.bus, 0); // it was taken from g, which does not wait for it
    assert_null(fn_of(0));
    assert_said(0, "free; guest \"g\" when it starts");
    attach(fx.guest, 0); // the same slot
    assert_ptr_equal(owner(0), fx.guest);
    assert_int_equal(slot(0), 1);
    detach(fx.guest, 0);
    stop(fx.guest);
    assert_int_equal(bus_guest_detach(fx.guest, &fx.devices[0]), ERR_INVAL); // it would not last
    start(fx.guest);
    assert_ptr_equal(owner(0), fx.guest);
    assert_int_equal(slot(0), 1);
    // while it only waits
    stop(fx.guest);
    attach(other.bus, 0);
    start(fx.guest);
    assert_int_equal(bus_guest_detach(fx.guest, &fx.devices[0]), OK);
    assert_said(0, "guest \"h\" 01:00.0 (slot 1)  attached; guest \"g\" when it starts");
    detach(other.bus, 0);
    assert_null(fn_of(0));
}

static void test_lines_come_first(void **state)
{
    (void)state;
    static struct guest third;
    stop(fx.guest);
    attach(other.bus, 0); // and it keeps that wish
    stop(other.bus);
    add(&third, "i", BOOT_BUS_PORTS, NULL, 0);
    assert_int_equal(bus_guest_attach(third.bus, &fx.devices[0]), OK);
    bus_guest_claim(other.bus);
    bus_guest_claim(fx.guest);
    bus_guest_remove(third.bus); // two wait for it
    settle();
    assert_ptr_equal(owner(0), fx.guest);
    stop(fx.guest);
    assert_ptr_equal(owner(0), other.bus);
}

/// A slot that a function is leaving is not another's yet; every slot is taken once.
static void test_slots(void **state)
{
    (void)state;
    struct boot_device d = fx.devices[0];
    unsigned taken = 0;
    d.at.bus = 9;
    for (unsigned i = 0; i < 2 * PORTS_SPARE; i++) {
        d.at.devfn = SLOT(i);
        taken += bus_guest_attach(other.bus, &d) == OK;
    }
    assert_int_equal(taken, PORTS_SPARE);
    d.at.devfn = SLOT(PORTS_SPARE);
    assert_int_equal(bus_guest_attach(other.bus, &d), ERR_NOMEM);
    struct boot_device leaves = d;
    leaves.at.devfn = SLOT(1);
    assert_int_equal(bus_guest_detach(other.bus, &leaves), OK);
    assert_int_equal(bus_guest_attach(other.bus, &leaves), ERR_BUSY); // it is still leaving
    assert_int_equal(bus_guest_attach(other.bus, &d), ERR_NOMEM);
    settle();
    assert_int_equal(bus_guest_attach(other.bus, &d), OK);
    assert_int_equal(assoc_find(&d)->port->port.slot, 2);
    stop(other.bus);
    start(other.bus);
    assert_int_equal(assoc_find(&d)->port->port.slot, 2);
    assert_int_equal(bus_guest_attach(other.bus, &leaves), ERR_NOMEM);
}

/// A guest without slots has what is free when it starts.
static void test_flat(void **state)
{
    (void)state;
    static struct guest flat;
    detach(fx.guest, 1);
    attach(other.bus, 1);
    struct boot_device line = fx.devices[1];
    bus_guest_remove(fx.guest);
    add(&flat, "f", BOOT_BUS_FLAT, NULL, 0);
    bus_guest_remove(flat.bus);
    stop(other.bus);
    add(&flat, "f", BOOT_BUS_FLAT, &line, 1);
    fx.guest = flat.bus;
    settle();
    assert_ptr_equal(owner(1), flat.bus);
    stop(flat.bus);
    start(other.bus);
    assert_ptr_equal(owner(1), other.bus);
    start(flat.bus);
    unsigned functions = flat.pci.count;
    detach(other.bus, 1);
    assert_int_equal(flat.pci.count, functions); // its bus is looked at by its own CPU only
    assert_null(fn_of(1));
    assert_said(1, "free; guest \"f\" when it starts");
    stop(flat.bus);
    start(flat.bus);
    assert_ptr_equal(owner(1), flat.bus);
}

// --- links ---

static void test_a_link_nobody_needs(void **state)
{
    (void)state;
    stop(fx.guest);
    assert_int_equal(fake.closes, 0);
    for (unsigned i = 0; i < 19; i++) {
        host_time_advance_ns(LINGER_NS / 20);
        heartbeat();
    }
    assert_int_equal(fake.closes, 0);
    start(fx.guest); // in time: the same link
    assert_int_equal(fake.connects, 1);
    assert_ptr_equal(owner(0), fx.guest);
    stop(fx.guest);
    host_time_advance_ns(LINGER_NS - LINGER_NS / 20);
    heartbeat();
    assert_int_equal(fake.closes, 0);
    host_time_advance_ns(LINGER_NS / 20);
    heartbeat();
    assert_int_equal(fake.closes, 1);
    assert_null(assoc_remote("disk1"));
    heartbeat(); // and no new one
    assert_int_equal(fake.connects, 1);
    assert_said(0, "free; guest \"g\" when it starts");
    unsigned before = host_log_count();
    bus_print_devices();
    assert_non_null(strstr(host_log_back(host_log_count() - before - 1), "no guest that runs needs it"));
    bus_guest_claim(fx.guest);
    heartbeat();
    assert_int_equal(fake.connects, 2);
    assert_true(bus_guest_ready(fx.guest));
}

/// One that does not answer either is not kept for anybody.
static void test_a_link_that_is_down(void **state)
{
    (void)state;
    stop(fx.guest);
    fake_down("silent");
    assert_int_equal(fake.closes, 1);
    bus_guest_claim(fx.guest);
    fake_announce(PEER, BOOT_ID, 2); // it is never up
    assert_int_equal(fake.connects, 2);
    stop(fx.guest);
    assert_int_equal(fake.closes, 2);
    // one function of one guest is enough for it
    bus_guest_claim(fx.guest);
    heartbeat();
    detach(fx.guest, 0);
    attach(other.bus, 0);
    stop(fx.guest);
    for (unsigned i = 0; i < 30; i++) {
        host_time_advance_ns(LINGER_NS / 10);
        heartbeat();
    }
    assert_int_equal(fake.closes, 2);
    assert_ptr_equal(owner(0), other.bus);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        T(test_a_line_waits),
        T(test_given_back_by_stopping),
        T(test_given_to_a_guest_for_ever),
        T(test_a_line_that_was_detached),
        T(test_lines_come_first),
        T(test_slots),
        T(test_flat),
        T(test_a_link_nobody_needs),
        T(test_a_link_that_is_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
