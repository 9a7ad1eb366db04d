// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/bus/guests.c hv/bus/ports.c hv/platform/root_port.c drivers/pci_class.c
// LINK: hv/bus/assoc.c hv/bus/attach.c hv/bus/config_view.c hv/bus/remote_fn.c hv/bus/report.c
// LINK: hv/bus/mirror_slots.c hv/bus/mirror_content.c hv/bus/mirror_map.c hv/bus/mirror_sync.c
// LINK: hv/platform/iommu.c hv/platform/iommu_fault.c hv/platform/iommu_queue.c hv/platform/iommu_walk.c
// LINK: hv/bus/interrupts.c hv/bus/transact.c hv/platform/io_space.c hv/platform/pci_host.c net/wire.c
// The association table: who comes first, refusals, moves, losses and returns.
#include "tests/unit/bus_fixture.h"
#include <setjmp.h>
#include <stdarg.h>
// cmocka wants these first
#include <cmocka.h>

#define FN SLOT(2)

static int setup(void **state)
{
    (void)state;
    fixture_clear();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_end();
    return 0;
}

static void come_up(void)
{
    fake_announce(PEER, BOOT_ID, 2);
    if (fake.link.state != LINK_UP)
        fake_up();
    fake_settle();
}

static void test_host_first(void **state)
{
    (void)state;
    fixture_guest();
    assert_false(bus_guest_ready(fx.guest));
    assert_int_equal(fn_of(0)->state, ASSOC_WANTED);
    assert_int_equal(cfg_read(FN, 0, 4), 0xffffffff); // not there yet, and nobody waits
    assert_int_equal(fake.polls, 0);
    fake_announce(PEER, BOOT_ID, 2);
    assert_int_equal(fake.connects, 1);
    assert_false(bus_guest_ready(fx.guest));
    fake_announce(PEER, BOOT_ID, 2); // still connecting: no second link
    assert_int_equal(fake.connects, 1);
    fake_up();
    fake_settle();
    assert_true(bus_guest_ready(fx.guest));
    assert_int_equal(fake.fns[0].attaches, 1);
    assert_int_equal(fake.fns[1].attaches, 1);
    assert_int_equal(cfg_read(FN, 0, 4), 0x00101b36);
    assert_int_equal(fake.waits, 0);
    fake_announce(PEER, BOOT_ID, 2); // heartbeats change nothing
    fake_settle();
    assert_int_equal(fake.fns[0].attaches, 1);
}

static void test_remote_first(void **state)
{
    (void)state;
    fake_announce(PEER, BOOT_ID, 2); // nobody wants it
    assert_int_equal(fake.connects, 0);
    fixture_guest();
    come_up();
    assert_true(bus_guest_ready(fx.guest));
}

static void test_late_device_is_not_decoded(void **state)
{
    (void)state;
    fixture_guest();
    bus_guest_start(fx.guest); // did not wait for it
    come_up();
    uint32_t bar = cfg_read(FN, 0x10, 4) & ~0xfu;
    assert_in_range(bar, GUEST_MMIO_BASE, GUEST_MMIO_END);
    assert_int_equal(cfg_read(FN, 4, 2), 0);
    assert_null(io_space_find_mmio(&fx.io, bar));
    cfg_write(FN, 4, 2, 2);
    assert_non_null(io_space_find_mmio(&fx.io, bar));
}

static void test_refused_by_its_owner(void **state)
{
    (void)state;
    fixture_guest();
    fake.fns[0].owner = "host2";
    come_up();
    assert_false(bus_guest_ready(fx.guest));
    assert_int_equal(fn_of(0)->state, ASSOC_REFUSED);
    assert_string_equal(fn_of(0)->refused_by, "host2");
    assert_int_equal(fn_of(1)->state, ASSOC_ATTACHED); // the other one is not held up
    fake.fns[0].info.flags |= WIRE_FN_BUSY;
    fake_forget_counts();
    fake_announce(PEER, BOOT_ID, 2); // known to be lent: not even asked
    assert_int_equal(fake.records[REC_ATTACH], 0);
    fake.fns[0].info.flags &= (uint8_t)~WIRE_FN_BUSY;
    fake.fns[0].owner = NULL;
    fake_announce(PEER, BOOT_ID, 2);
    fake_settle();
    assert_true(bus_guest_ready(fx.guest));
}

static void test_not_lent(void **state)
{
    (void)state;
    fixture_guest();
    fake.fns[1].not_lent = true;
    come_up();
    assert_int_equal(fn_of(1)->state, ASSOC_REFUSED);
    assert_string_equal(fn_of(1)->refused_by, "");
    assert_non_null(strstr(host_log_last(), "not lend"));
    assert_int_equal(fn_of(0)->state, ASSOC_ATTACHED);
}

static void test_lent_to_other_hosts(void **state)
{
    (void)state;
    fixture_guest();
    fake.fns[1].denied = true;
    come_up();
    assert_int_equal(fn_of(1)->state, ASSOC_REFUSED);
    assert_non_null(strstr(host_log_last(), "its remote does not lend it to this host"));
    assert_int_equal(fn_of(0)->state, ASSOC_ATTACHED);
    fake_forget_counts();
    unsigned lines = host_log_count();
    for (unsigned i = 0; i < 5; i++) { // its farbus.ini stays what it is
        fake_announce(PEER, BOOT_ID, 2);
        fake_settle();
    }
    assert_int_equal(fake.records[REC_ATTACH], 0);
    assert_int_equal(host_log_count(), lines);
    bus_guest_tell_missing(fx.guest);
    assert_non_null(strstr(host_log_last(),
                           "starts without disk1/0000:00:02.0: its remote does not lend it to this host"));
    fake_down("its remote starts again, with another farbus.ini");
    fake.fns[1].denied = false;
    fake_announce(PEER, BOOT_ID + 1, 2);
    fake_up();
    fake_settle();
    assert_true(bus_guest_ready(fx.guest));
}

static void test_two_guests_one_device(void **state)
{
    (void)state;
    static struct io_space io;
    static struct guest_pci pci;
    struct bus_guest *other;
    memset(&io, 0, sizeof(io));
    assert_int_equal(guest_pci_init(&pci, &io), OK);
    fixture_guest();
    assert_int_equal(bus_guest_add("h", BOOT_BUS_FLAT, &fx.devices[1], 1, &io, &pci, &other), ERR_BUSY);
    assert_null(other);
    assert_non_null(strstr(host_log_last(), "guest \"g\""));
    assert_int_equal(pci.count, 1);
    bus_guest_remove(fx.guest);
    assert_int_equal(bus_guest_add("h", BOOT_BUS_FLAT, &fx.devices[1], 1, &io, &pci, &fx.guest), OK);
}

static void test_remote_moves(void **state)
{
    (void)state;
    fixture_guest();
    come_up();
    fake.lively = true; // somebody else said that
    fake_announce(PEER + 1, BOOT_ID, 2);
    assert_int_equal(fake.link.peer, PEER);
    fake.lively = false;
    fake_announce(PEER + 1, BOOT_ID, 2);
    assert_int_equal(fake.link.peer, PEER + 1);
    assert_true(bus_guest_ready(fx.guest));
    // another machine of the same name does not take over a living link
    unsigned lines = host_log_count();
    fake_announce(PEER + 2, BOOT_ID + 1, 2);
    fake_announce(PEER + 2, BOOT_ID + 1, 2);
    assert_int_equal(fake.link.peer, PEER + 1);
    assert_int_equal(host_log_count(), lines); // it may be the same one, started again
    fake_announce(PEER + 1, BOOT_ID, 2);
    assert_non_null(strstr(host_log_last(), "second remote"));
    lines = host_log_count();
    fake_announce(PEER + 2, BOOT_ID + 1, 2);
    fake_announce(PEER + 1, BOOT_ID, 2); // said once
    assert_int_equal(host_log_count(), lines);
    fake_down("gone");
    fake_announce(PEER + 2, BOOT_ID + 1, 2);
    assert_int_equal(fake.link.peer, PEER + 2);
    assert_non_null(strstr(host_log_last(), "remote \"disk1\" has moved to 12.0.0.2"));
    assert_int_equal(fake.connects, 1);
    fake_up();
    fake_settle();
    assert_true(bus_guest_ready(fx.guest));
}

static void test_loss_and_return(void **state)
{
    (void)state;
    fixture_attached();
    cfg_write(FN, 0x10, 4, 0xd0000000);
    cfg_write(FN, 0x14, 4, 0);
    cfg_write(FN, 0x3c, 1, 7);
    cfg_write(FN, 0x68, 2, 0x5810); // Device Control
    fake_down("3 s without an answer");
    assert_int_equal(fn_of(0)->state, ASSOC_LOST);
    fake_forget_counts();
    assert_int_equal(io_space_mmio_read(&fx.io, 0xd0000008, 4), 0xffffffff); // at once
    assert_int_equal(cfg_read(FN, 0, 4), 0xffffffff);
    assert_int_equal(cfg_read(FN, 0xb4, 4), 0xffffffff);
    io_space_mmio_write(&fx.io, 0xd0000008, 4, 1);
    cfg_write(FN, 0x10, 4, 0x12340000);
    assert_int_equal(fake.polls, 0);
    assert_int_equal(bus_counters().absent, 5);
    // it restarted: its registers are as after power-on, its handles are new
    fake_put(&fake.fns[0], 0x68, 0x2810, 2);
    fake_announce(PEER, BOOT_ID + 1, 2);
    fake_up();
    fake_settle();
    assert_true(bus_guest_ready(fx.guest));
    assert_int_equal(cfg_read(FN, 0x10, 4), 0xd0000004);
    assert_int_equal(cfg_read(FN, 0x3c, 1), 7);
    assert_int_equal(cfg_read(FN, 4, 2), 3);
    assert_memory_equal(&fake.fns[0].config[0x68], "\x10\x58", 2);
    fake.fns[0].bar[0][8] = 0x21;
    assert_int_equal(io_space_mmio_read(&fx.io, 0xd0000008, 1), 0x21);
}

static void test_comes_back_as_another_device(void **state)
{
    (void)state;
    fixture_attached();
    fake_down("gone");
    fake.fns[0].info.bars[0].size = 8192;
    come_up();
    assert_int_equal(fn_of(0)->state, ASSOC_REFUSED);
    assert_int_equal(fn_of(1)->state, ASSOC_ATTACHED);
    assert_int_equal(cfg_read(FN, 0, 4), 0xffffffff);
    unsigned lines = host_log_count();
    fake_announce(PEER, BOOT_ID, 2); // tried again, said once
    fake_settle();
    assert_int_equal(fake.fns[0].attaches, 3);
    assert_int_equal(host_log_count(), lines);
    fake.fns[0].info.bars[0].size = 4096;
    fake_announce(PEER, BOOT_ID, 2);
    fake_settle();
    assert_true(bus_guest_ready(fx.guest));
}

static void test_gone_and_announced_again(void **state)
{
    (void)state;
    fixture_attached();
    net_lock();
    fake_deliver((struct wire_record){.type = REC_GONE, .function = fake.fns[0].handle}, NULL, 0);
    net_unlock();
    fake.fns[0].handle = 0;
    assert_int_equal(fn_of(0)->state, ASSOC_LOST);
    assert_int_equal(cfg_read(FN, 0, 4), 0xffffffff);
    fake_announce(PEER, BOOT_ID, 2);
    fake_settle();
    assert_true(bus_guest_ready(fx.guest));
}

/// A remote that takes its function away and lends it again, for ever: the net lock is held while this is
/// said.
static void test_gone_without_end(void **state)
{
    (void)state;
    fixture_attached();
    unsigned before = host_log_count();
    uint64_t since = time_ns();
    for (unsigned i = 0; i < 1000; i++) {
        net_lock();
        fake_deliver((struct wire_record){.type = REC_GONE, .function = fake.fns[0].handle}, NULL, 0);
        net_unlock();
        fake.fns[0].handle = 0;
        fake_announce(PEER, BOOT_ID, 2);
        fake_settle();
    }
    assert_true(bus_guest_ready(fx.guest));
    assert_in_range(host_log_count() - before, 32, 65 + (time_ns() - since) / 500000000);
}

static void test_attach_without_answer(void **state)
{
    (void)state;
    fixture_guest();
    fake.silent = true;
    fake_announce(PEER, BOOT_ID, 2);
    fake_up();
    fake_settle();
    assert_int_equal(fn_of(0)->state, ASSOC_ATTACHING);
    fake.silent = false;
    host_time_advance_ns(7000000000ull);
    fake_announce(PEER, BOOT_ID, 2);
    fake_settle();
    assert_int_equal(fake.fns[0].attaches, 0); // the answer may still come
    host_time_advance_ns(7000000000ull);
    fake_announce(PEER, BOOT_ID, 2);
    fake_settle();
    fake_announce(PEER, BOOT_ID, 2);
    fake_settle();
    assert_true(bus_guest_ready(fx.guest));
}

static void test_full_link_at_attach(void **state)
{
    (void)state;
    fixture_guest();
    fake_announce(PEER, BOOT_ID, 2);
    for (unsigned i = 0; i < 12; i++) { // wherever it is full, the next announcement goes on
        fake.busy = 1 + i % 3;
        if (fake.link.state != LINK_UP)
            fake_up();
        fake_settle();
        fake.busy = 0;
        fake_announce(PEER, BOOT_ID, 2);
        fake_settle();
    }
    assert_true(bus_guest_ready(fx.guest));
}

static void test_configuration_retry_at_attach(void **state)
{
    (void)state;
    fixture_guest();
    fake.fns[0].crs = 3;
    come_up();
    assert_false(bus_guest_ready(fx.guest));
    fake_announce(PEER, BOOT_ID, 2);
    fake_settle();
    assert_true(bus_guest_ready(fx.guest));
}

static void test_remove(void **state)
{
    (void)state;
    fixture_attached();
    uint64_t bar = cfg_read(FN, 0x10, 4) & ~0xfull;
    unsigned ranges = fx.io.mmio_count;
    bus_guest_remove(fx.guest);
    fx.guest = NULL;
    assert_int_equal(fake.closes, 1);
    assert_int_equal(fx.pci.count, 1);
    assert_int_equal(fx.io.mmio_count, ranges - 2);
    assert_int_equal(io_space_mmio_read(&fx.io, bar, 4), 0xffffffff);
    assert_int_equal(cfg_read(FN, 0, 4), 0xffffffff);
    fixture_guest(); // and again
    come_up();
    assert_true(bus_guest_ready(fx.guest));
}

// --- a guest's life ---

static void claim(void)
{
    bus_guest_claim(fx.guest);
    fake_settle();
}

static void test_stop_gives_back(void **state)
{
    (void)state;
    fixture_attached();
    uint64_t frames = host_frames_in_use();
    uint64_t bar = cfg_read(FN, 0x10, 4) & ~0xfull;
    bus_guest_stop(fx.guest);
    assert_null(fn_of(0));
    assert_int_equal(cfg_read(FN, 0, 4), 0xffffffff);
    assert_int_equal(io_space_mmio_read(&fx.io, bar, 4), 0xffffffff);
    fake_settle();
    assert_int_equal(fake.fns[0].detaches, 1);
    assert_int_equal(fake.fns[1].detaches, 1);
    assert_int_equal(fake.closes, 0); // its farbus.ini still names that remote
    fake_announce(PEER, BOOT_ID, 2);  // nobody asks for it while the guest is stopped
    fake_settle();
    assert_int_equal(fake.fns[0].attaches, 1);
    bus_guest_stop(fx.guest); // once more changes nothing
    for (unsigned i = 0; i < 300; i++) {
        claim();
        assert_true(bus_guest_ready(fx.guest));
        bus_guest_start(fx.guest);
        assert_int_equal(cfg_read(FN, 0x10, 4) & ~0xfull, bar); // where it was the first time
        assert_int_equal(cfg_read(FN, 0, 4), 0x00101b36);
        bus_guest_stop(fx.guest);
        fake_settle();
    }
    assert_int_equal(fake.owned_by_asker, 0);
    assert_int_equal(fake.fns[0].detaches, 301);
    assert_int_equal(fake.fns[0].handle, 0);
    assert_int_equal(host_frames_in_use(), frames);
}

static void test_given_away_meanwhile(void **state)
{
    (void)state;
    static struct io_space io;
    static struct guest_pci pci;
    struct bus_guest *other;
    memset(&io, 0, sizeof(io));
    assert_int_equal(guest_pci_init(&pci, &io), OK);
    fixture_attached();
    assert_int_equal(bus_guest_add("h", BOOT_BUS_PORTS, NULL, 0, &io, &pci, &other), OK);
    assert_int_equal(bus_guest_attach(other, &fx.devices[0]), ERR_BUSY);
    bus_guest_stop(fx.guest);
    assert_int_equal(bus_guest_attach(other, &fx.devices[0]), OK);
    claim();
    assert_ptr_equal(fn_of(0)->guest, other);
    assert_int_equal(fn_of(0)->state, ASSOC_ATTACHED);
    assert_true(bus_guest_ready(fx.guest)); // with what there is
    assert_int_equal(fake.owned_by_asker, 0);
    unsigned before = host_log_count();
    bus_guest_tell_missing(fx.guest);
    assert_int_equal(host_log_count() - before, 1);
    assert_non_null(strstr(host_log_last(), "starts without disk1/0000:00:01.0: it is another guest's: h"));
    bus_guest_start(fx.guest);
    bus_guest_remove(other);
    fake_settle();
    assert_null(fn_of(0));
    // with the next start it is back
    bus_guest_stop(fx.guest);
    claim();
    assert_ptr_equal(fn_of(0)->guest, fx.guest);
    assert_int_equal(fn_of(0)->state, ASSOC_ATTACHED);
    // another host may be the one that took it
    bus_guest_stop(fx.guest);
    fake_settle();
    fake.fns[1].owner = "host2";
    claim();
    assert_false(bus_guest_ready(fx.guest));
    bus_guest_tell_missing(fx.guest);
    assert_non_null(strstr(host_log_last(), "starts without disk1/0000:00:02.0: another host has it: host2"));
}

static void test_nothing_for_a_stopped_guest(void **state)
{
    (void)state;
    static struct io_space io;
    static struct guest_pci pci;
    struct bus_guest *g;
    memset(&io, 0, sizeof(io));
    assert_int_equal(guest_pci_init(&pci, &io), OK);
    assert_int_equal(bus_guest_add("h", BOOT_BUS_PORTS, NULL, 0, &io, &pci, &g), OK);
    fx.guest = g;
    assert_int_equal(bus_guest_attach(g, &fx.devices[0]), OK);
    come_up();
    assert_int_equal(fn_of(0)->state, ASSOC_ATTACHED);
    bus_guest_stop(g);
    fake_settle();
    assert_int_equal(fake.fns[0].handle, 0);
    assert_int_equal(bus_guest_attach(g, &fx.devices[1]), ERR_DENIED);
    assert_int_equal(bus_guest_detach(g, &fx.devices[1]), ERR_INVAL);
    assert_int_equal(bus_guest_detach(g, &fx.devices[0]), OK); // it is not to come back
    bus_guest_claim(g);
    assert_true(bus_guest_ready(g));
    assert_null(fn_of(0));
    assert_int_equal(bus_guest_attach(g, &fx.devices[0]), OK);
    come_up();
    assert_int_equal(fn_of(0)->state, ASSOC_ATTACHED);
}

static void test_stopped_while_attaching(void **state)
{
    (void)state;
    for (unsigned steps = 0; steps < 8; steps++) { // frames that went before it was stopped
        fixture_clear();
        fixture_guest();
        fake_announce(PEER, BOOT_ID, 2);
        fake_up();
        for (unsigned i = 0; i < steps; i++) {
            net_lock();
            (void)net_poll();
            net_unlock();
        }
        bus_guest_stop(fx.guest);
        if (steps & 1)
            fake_settle();
        claim();
        fake_announce(PEER, BOOT_ID, 2);
        fake_settle();
        assert_true(bus_guest_ready(fx.guest));
        assert_int_equal(fake.owned_by_asker, 0);
        bus_guest_stop(fx.guest);
        fake_settle();
        assert_int_equal(fake.fns[0].handle, 0);
        assert_int_equal(fake.fns[1].handle, 0);
        fixture_end();
    }
}

static void test_full_link_at_stop(void **state)
{
    (void)state;
    for (unsigned full = 1; full < 6; full++) {
        fixture_attached();
        fake.busy = full;
        bus_guest_stop(fx.guest);
        fake_settle();
        bus_guest_claim(fx.guest); // not before they were given back
        fake_settle();
        assert_int_equal(fake.owned_by_asker, 0);
        for (unsigned i = 0; i < 6; i++) {
            fake_announce(PEER, BOOT_ID, 2);
            fake_settle();
        }
        assert_int_equal(fake.fns[0].detaches, 1);
        assert_true(bus_guest_ready(fx.guest));
        fake.busy = full;
        bus_guest_stop(fx.guest);
        fake.busy = 0;
        fake_down("and what was owed was of the epoch that is over");
        fake_forget_counts();
        fake_announce(PEER, BOOT_ID, 2);
        fake_up();
        fake_settle();
        assert_int_equal(fake.records[REC_DETACH], 0);
        fixture_end();
    }
}

static void test_host_goes_down(void **state)
{
    (void)state;
    fixture_attached();
    uint64_t bar = cfg_read(FN, 0x10, 4) & ~0xfull;
    bus_end("its host is switched off");
    assert_int_equal(fake.closes, 1);
    assert_int_equal(fake.fns[0].handle, 0);
    assert_int_equal(fn_of(0)->state, ASSOC_LOST);
    // guests run on other processors to the last moment
    assert_int_equal(io_space_mmio_read(&fx.io, bar, 4), 0xffffffff);
    io_space_mmio_write(&fx.io, bar, 4, 1);
    bus_guest_reset(fx.guest);
    assert_null(fake.heard); // announcements open no link
}

static bool keep_attached(struct wire_record *rec, uint8_t *body, size_t *size)
{
    (void)body;
    if (*size != sizeof(struct wire_attached))
        return true;
    rec->function = 11; // the first function's
    return true;
}

static void test_orphan_that_names_anothers_handle(void **state)
{
    (void)state;
    fixture_guest();
    fake.fns[1].info.vendor = 0; // comes later
    fake_announce(PEER, BOOT_ID, 1);
    fake_up();
    fake_settle();
    assert_int_equal(fn_of(0)->handle, 11);
    fake.fns[1].info.vendor = 0x1b36;
    fake_announce(PEER, BOOT_ID, 2);
    assert_int_equal(fn_of(1)->state, ASSOC_ATTACHING);
    fake.mutate = keep_attached;
    net_lock();
    assoc_release(fn_of(1));
    net_unlock();
    fake_settle();
    assert_int_equal(bus_counters().malformed, 1);
    assert_int_equal(fake.fns[0].detaches, 0);
    assert_int_equal(fn_of(0)->state, ASSOC_ATTACHED);
}

static bool same_handle(struct wire_record *rec, uint8_t *body, size_t *size)
{
    if (*size == sizeof(struct wire_attached))
        ((struct wire_attached *)(void *)body)->handle = rec->function = 11;
    return true;
}

/// A remote that gives two functions one handle: what is said of it later would be anybody's.
static void test_two_of_one_handle(void **state)
{
    (void)state;
    fixture_guest();
    fake.fns[1].info.vendor = 0; // comes later
    come_up();
    assert_int_equal(fn_of(0)->handle, 11);
    fake.fns[1].info.vendor = 0x1b36;
    fake.mutate = same_handle;
    for (unsigned i = 0; i < 3; i++) {
        fake_announce(PEER, BOOT_ID, 2);
        fake_settle();
        fake.fns[1].handle = 0;
    }
    assert_int_equal(fn_of(1)->state, ASSOC_REFUSED);
    assert_int_equal(bus_counters().malformed, 3);
    assert_non_null(strstr(host_log_last(), "the remote's answer to ATTACH makes no sense"));
    assert_int_equal(fake.fns[0].detaches, 0);
    assert_int_equal(fn_of(0)->state, ASSOC_ATTACHED);
    fake.mutate = NULL;
    fake_announce(PEER, BOOT_ID, 2);
    fake_settle();
    assert_true(bus_guest_ready(fx.guest));
}

static unsigned devices_lines(void)
{
    unsigned before = host_log_count();
    bus_print_devices();
    return host_log_count() - before;
}

static void test_console(void **state)
{
    (void)state;
    fixture_clear();
    memset(&fake.announced, 0, sizeof(fake.announced));
    assert_int_equal(devices_lines(), 1);
    assert_non_null(strstr(host_log_last(), "no remote was heard of"));
    fixture_guest();
    assert_int_equal(devices_lines(), 2);
    assert_string_equal(host_log_last(), "bus: disk1/0000:00:02.0  guest \"g\" 00:03.0  wanted");
    fake.fns[1].owner = "host2";
    fake_device(2, SLOT(3));
    fake_announce(PEER, BOOT_ID, 3);
    fake_up();
    fake_settle();
    // the remote; a line, handle and two BARs; what another host has; what nobody has
    assert_int_equal(devices_lines(), 1 + 4 + 1 + 1);
    assert_string_equal(host_log_last(), "bus: disk1/0000:00:03.0 Non-Volatile memory controller [0108]: "
                                         "[1b36:0012] (rev 03)  free");
    assert_string_equal(host_log_back(1), "bus: disk1/0000:00:02.0 Non-Volatile memory controller [0108]: "
                                          "[1b36:0011] (rev 03)  guest \"g\" 00:03.0  refused: another host "
                                          "has it: host2");
    assert_string_equal(host_log_back(5), "bus: disk1/0000:00:01.0 Non-Volatile memory controller [0108]: "
                                          "[1b36:0010] (rev 03)  guest \"g\" 00:02.0  attached");
    assert_string_equal(host_log_back(6),
                        "bus: remote \"disk1\" 10.0.0.2: link up, heard 0 ms ago, lends 3 functions");
    // its guest stops
    bus_guest_stop(fx.guest);
    fake_settle();
    fake.fns[1].info.flags |= WIRE_FN_BUSY;
    fake_announce(PEER, BOOT_ID, 2);
    assert_int_equal(devices_lines(), 3);
    assert_non_null(strstr(host_log_last(), "(rev 03)  another host's; guest \"g\" when it starts"));
    assert_non_null(strstr(host_log_back(1), "(rev 03)  free; guest \"g\" when it starts"));
    memset(&fake.announced, 0, sizeof(fake.announced)); // forgotten
    assert_int_equal(devices_lines(), 2);
    assert_string_equal(host_log_last(),
                        "bus: disk1/0000:00:02.0  not announced; guest \"g\" when it starts");
    // 64 functions and 16 remotes are printed without the lock: bus_print_devices() takes it for each row
    assert_false(fake.locked);
    unsigned before = host_log_count();
    bus_print_counters();
    assert_true(host_log_count() > before);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_host_first),
        T(test_remote_first),
        T(test_late_device_is_not_decoded),
        T(test_refused_by_its_owner),
        T(test_not_lent),
        T(test_lent_to_other_hosts),
        T(test_two_guests_one_device),
        T(test_remote_moves),
        T(test_loss_and_return),
        T(test_comes_back_as_another_device),
        T(test_gone_and_announced_again),
        T(test_gone_without_end),
        T(test_attach_without_answer),
        T(test_full_link_at_attach),
        T(test_configuration_retry_at_attach),
        T(test_remove),
        T(test_stop_gives_back),
        T(test_given_away_meanwhile),
        T(test_nothing_for_a_stopped_guest),
        cmocka_unit_test(test_stopped_while_attaching),
        cmocka_unit_test(test_full_link_at_stop),
        T(test_host_goes_down),
        T(test_orphan_that_names_anothers_handle),
        T(test_two_of_one_handle),
        T(test_console),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
