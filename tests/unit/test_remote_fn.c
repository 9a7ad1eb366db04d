// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/bus/guests.c hv/bus/ports.c hv/platform/root_port.c drivers/pci_class.c
// LINK: hv/bus/assoc.c hv/bus/attach.c hv/bus/config_view.c hv/bus/remote_fn.c hv/bus/report.c
// LINK: hv/bus/mirror_slots.c hv/bus/mirror_content.c hv/bus/mirror_map.c hv/bus/mirror_sync.c
// LINK: hv/platform/iommu.c hv/platform/iommu_fault.c hv/platform/iommu_queue.c hv/platform/iommu_walk.c
// LINK: hv/bus/interrupts.c hv/bus/transact.c hv/platform/io_space.c hv/platform/pci_host.c net/wire.c
// A remote function as its guest meets it, with frames and records counted.
#include "tests/unit/bus_fixture.h"
#include <setjmp.h>
#include <stdarg.h>
// cmocka wants these first
#include <cmocka.h>

static int setup(void **state)
{
    (void)state;
    fixture_attached();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_end();
    return 0;
}

#define FN SLOT(2) // where the first function stands on the guest's bus

static unsigned round_trips(void)
{
    return fake.records[REC_CFG_RD] + fake.records[REC_CFG_WR] + fake.records[REC_MRD] +
           fake.records[REC_IO_RD] + fake.records[REC_IO_WR];
}

/// All of bus 0 by 0xCF8, as a small kernel does it, and some of ECAM: only what is there answers, and
/// nothing crosses the wire.
static void test_enumeration_costs_no_frame(void **state)
{
    (void)state;
    unsigned found = 0;
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        uint32_t id = cfg_read((uint8_t)devfn, 0, 4);
        if (id == 0xffffffff)
            continue;
        found++;
        for (unsigned offset = 0; offset < 0x40; offset += 4)
            (void)cfg_read((uint8_t)devfn, offset, 4);
    }
    assert_int_equal(found, 3); // host bridge and two functions
    assert_int_equal(cfg_read(FN, 0, 4), 0x00101b36);
    assert_int_equal(cfg_read(SLOT(3), 0, 4), 0x00111b36);
    assert_int_equal(cfg_read(FN, 8, 4), 0x01080203);
    assert_int_equal(cfg_read(FN, 0x2c, 4), 0x11001af4);
    assert_int_equal(cfg_read(FN, 0x0e, 1), 0); // not multi-function here
    assert_int_equal(cfg_read(FN, 0x3d, 1), 1); // INTA
    assert_int_equal(io_space_mmio_read(&fx.io, GUEST_ECAM_BASE + (FN << 12), 4), 0x00101b36);
    assert_int_equal(io_space_mmio_read(&fx.io, GUEST_ECAM_BASE + (1 << 20), 4), 0xffffffff);
    assert_int_equal(fake.frames, 0);
    assert_int_equal(fake.polls, 0);
    assert_true(fx.pci.absent_reads > 200);
}

static void test_capability_list(void **state)
{
    (void)state;
    uint8_t at = (uint8_t)cfg_read(FN, 0x34, 1), ids[8];
    unsigned n = 0;
    assert_true(cfg_read(FN, 6, 2) & 0x10);
    while (at && n < 8) {
        uint32_t head = cfg_read(FN, at, 2);
        ids[n++] = (uint8_t)head;
        at = (uint8_t)(head >> 8);
    }
    // MSI (5) and MSI-X (0x11) are not in it
    assert_int_equal(n, 3);
    assert_int_equal(ids[0], 0x01);
    assert_int_equal(ids[1], 0x10);
    assert_int_equal(ids[2], 0x09);
    assert_int_equal(fake.frames, 0);
    // and nothing of them can be read or written where they are
    for (unsigned offset = 0x50; offset < 0x60; offset += 4) {
        cfg_write(FN, offset, 4, 0xffffffff);
        assert_int_equal(cfg_read(FN, offset, 4), 0);
    }
    assert_int_equal(cfg_read(FN, 0x84, 4), 0);
    assert_int_equal(fake.frames, 0);
}

static void test_placed_before_the_guest_starts(void **state)
{
    (void)state;
    uint32_t bar0 = cfg_read(FN, 0x10, 4), bar2 = cfg_read(FN, 0x18, 4), other = cfg_read(SLOT(3), 0x10, 4);
    assert_in_range(bar0 & ~0xfu, GUEST_MMIO_BASE, GUEST_MMIO_END - 4096);
    assert_int_equal(bar0 & 0xf, 4);
    assert_int_equal(cfg_read(FN, 0x14, 4), 0);
    assert_int_equal(bar2 & 3, 1);
    assert_in_range(bar2 & ~3u, GUEST_IO_BASE, 0xffff);
    assert_int_not_equal(bar0, other);
    assert_int_equal(cfg_read(FN, 4, 2), 3);    // decoding on, as firmware leaves it
    assert_int_equal(cfg_read(FN, 0x1c, 4), 0); // absent BAR
    fake.fns[0].bar[0][8] = 0x5a;
    assert_int_equal(io_space_mmio_read(&fx.io, (bar0 & ~0xfull) + 8, 1), 0x5a);
    fake.fns[0].bar[2][4] = 0x77;
    assert_int_equal(io_space_port_read(&fx.io, (uint16_t)((bar2 & ~3u) + 4), 1) & 0xff, 0x77);
    assert_int_equal(fake.frames, 2);
}

static void test_sizing_and_moving(void **state)
{
    (void)state;
    uint32_t before = cfg_read(FN, 0x10, 4);
    cfg_write(FN, 0x10, 4, 0xffffffff);
    cfg_write(FN, 0x14, 4, 0xffffffff);
    assert_int_equal(cfg_read(FN, 0x10, 4), 0xfffff004);
    assert_int_equal(cfg_read(FN, 0x14, 4), 0xffffffff);
    cfg_write(FN, 0x18, 4, 0xffffffff);
    assert_int_equal(cfg_read(FN, 0x18, 4), 0xffffffc1);
    cfg_write(FN, 0x1c, 4, 0xffffffff);
    assert_int_equal(cfg_read(FN, 0x1c, 4), 0);
    cfg_write(FN, 0x30, 4, 0xffffffff);
    assert_int_equal(cfg_read(FN, 0x30, 4), 0); // no ROM
    // byte by byte
    for (unsigned i = 0; i < 4; i++)
        cfg_write(FN, 0x10 + i, 1, 0xff);
    assert_int_equal(cfg_read(FN, 0x10, 4), 0xfffff004);
    cfg_write(FN, 0x10, 4, 0xd0000000);
    cfg_write(FN, 0x14, 4, 0x00000001);
    cfg_write(FN, 0x18, 4, 0xe000);
    assert_int_equal(fake.frames, 0);
    assert_null(io_space_find_mmio(&fx.io, before & ~0xfull));
    fake.fns[0].bar[0][0x10] = 0xab;
    assert_int_equal(io_space_mmio_read(&fx.io, 0x1d0000010, 1), 0xab);
    fake.fns[0].bar[2][63] = 0xcd;
    assert_int_equal(io_space_port_read(&fx.io, 0xe03f, 1) & 0xff, 0xcd);
    assert_int_equal(io_space_port_read(&fx.io, 0xe040, 1) & 0xff, 0xff);
    // decoding off and on
    cfg_write(FN, 4, 2, 0);
    assert_int_equal(io_space_mmio_read(&fx.io, 0x1d0000010, 1), 0xff);
    assert_int_equal(io_space_port_read(&fx.io, 0xe03f, 1) & 0xff, 0xff);
    cfg_write(FN, 4, 2, 2);
    assert_int_equal(io_space_mmio_read(&fx.io, 0x1d0000010, 1), 0xab);
    assert_int_equal(io_space_port_read(&fx.io, 0xe03f, 1) & 0xff, 0xff);
    assert_int_equal(fake.frames, 3);
}

static void test_bars_that_collide(void **state)
{
    (void)state;
    uint64_t first = cfg_read(FN, 0x10, 4) & ~0xfull, second = cfg_read(SLOT(3), 0x10, 4) & ~0xfull;
    fake.fns[0].bar[0][0] = 1;
    fake.fns[1].bar[0][0] = 2;
    cfg_write(SLOT(3), 0x10, 4, (uint32_t)first); // where the first one is: not decoded, counted
    assert_int_equal(bus_counters().bar_conflicts, 1);
    assert_int_equal(io_space_mmio_read(&fx.io, first, 1), 1);
    assert_int_equal(io_space_mmio_read(&fx.io, second, 1), 0xff);
    cfg_write(SLOT(3), 0x10, 4, (uint32_t)second); // moved away again
    assert_int_equal(io_space_mmio_read(&fx.io, second, 1), 2);
    cfg_write(SLOT(3), 0x10, 4, (uint32_t)GUEST_ECAM_BASE);
    assert_int_equal(cfg_read(FN, 0, 4), 0x00101b36);
    cfg_write(SLOT(3), 0x18, 4, 0xcf8); // I/O BAR over CONFIG_ADDRESS (0xCC0..0xCFF)
    assert_int_equal(cfg_read(FN, 0, 4), 0x00101b36);
}

static void test_posted_writes_do_not_wait(void **state)
{
    (void)state;
    uint64_t bar = cfg_read(FN, 0x10, 4) & ~0xfull;
    fake_forget_counts();
    for (unsigned i = 0; i < 5; i++)
        io_space_mmio_write(&fx.io, bar + 0x100 + 4 * i, 4, 0x11111111 * i);
    assert_int_equal(fake.records[REC_MWR], 5);
    assert_int_equal(fake.polls, 0); // queued and gone on
    assert_int_equal(fake.frames, 5);
    // a read behind them sees them: one order
    assert_int_equal(io_space_mmio_read(&fx.io, bar + 0x104, 4), 0x11111111);
    assert_int_equal(fake.records[REC_MRD], 1);
    assert_int_equal(fake.frames, 6);
    assert_int_equal(bus_counters().requests[REC_MWR], 5);
}

static void test_widths(void **state)
{
    (void)state;
    uint64_t bar = cfg_read(FN, 0x10, 4) & ~0xfull;
    for (unsigned i = 0; i < 32; i++)
        fake.fns[0].bar[0][i] = (uint8_t)(0x10 + i);
    assert_int_equal(io_space_mmio_read(&fx.io, bar, 8), 0x1716151413121110);
    assert_int_equal(io_space_mmio_read(&fx.io, bar + 1, 2), 0x1211);
    assert_int_equal(io_space_mmio_read(&fx.io, bar + 3, 4), 0x16151413);
    assert_int_equal(io_space_mmio_read(&fx.io, bar, 3), 0x121110); // split: 2 + 1
    assert_int_equal(fake.records[REC_MRD], 5);
    // over the end: the next byte is the other function's, behind which is nobody
    uint64_t next = cfg_read(SLOT(3), 0x10, 4) & ~0xfull;
    assert_int_equal(next, bar + 4096);
    fake.fns[0].bar[0][4095] = 0x99;
    fake.fns[1].bar[0][0] = 0x77;
    fake.fns[1].bar[0][4095] = 0x66;
    assert_int_equal(io_space_mmio_read(&fx.io, bar + 4095, 2), 0x7799);
    assert_int_equal(io_space_mmio_read(&fx.io, next + 4095, 2), 0xff66);
    io_space_mmio_write(&fx.io, bar + 0x20, 8, 0x8877665544332211);
    io_space_mmio_write(&fx.io, bar + 0x22, 1, 0xee);
    fake_settle();
    assert_memory_equal(&fake.fns[0].bar[0][0x20], "\x11\x22\xee\x44\x55\x66\x77\x88", 8);
}

static void test_ports(void **state)
{
    (void)state;
    uint16_t io = (uint16_t)(cfg_read(FN, 0x18, 4) & ~3u);
    fake_forget_counts();
    io_space_port_write(&fx.io, (uint16_t)(io + 8), 4, 0xdeadbeef); // not posted: done when it returns
    assert_memory_equal(&fake.fns[0].bar[2][8], "\xef\xbe\xad\xde", 4);
    assert_int_equal(io_space_port_read(&fx.io, (uint16_t)(io + 9), 2) & 0xffff, 0xadbe);
    assert_int_equal(fake.records[REC_IO_WR], 1);
    assert_int_equal(fake.records[REC_IO_RD], 1);
    assert_int_equal(fake.frames, 2);
}

static void test_proxied_registers(void **state)
{
    (void)state;
    assert_int_equal(cfg_read(FN, 0xa4, 4), 0xc0ffee00); // vendor-specific
    assert_int_equal(cfg_read(FN, 0xb4, 4), 0xdeadbeef); // between and behind capabilities
    cfg_write(FN, 0xb4, 2, 0x1234);
    assert_int_equal(cfg_read(FN, 0xb4, 4), 0xdead1234);
    assert_int_equal(fake.frames, 4);
    cfg_write(FN, 0x68, 2, 0x2910); // Device Control
    assert_memory_equal(&fake.fns[0].config[0x68], "\x10\x29", 2);
    assert_int_equal(fake.frames, 5);
    assert_int_equal(cfg_read(FN, 0x64, 4), 0x10008fc0); // Device Capabilities: from the snapshot
    assert_int_equal(cfg_read(FN, 0x44, 4), 8);          // PMCSR too
    assert_int_equal(fake.frames, 5);
    // a doubleword half here, half there: the head of the vendor capability and its length byte
    assert_int_equal(cfg_read(FN, 0xa0, 4), 0x00100009);
    assert_int_equal(fake.frames, 6);
    // extended space: proxied (this remote has none: UR)
    assert_int_equal(io_space_mmio_read(&fx.io, GUEST_ECAM_BASE + (FN << 12) + 0x100, 4), 0xffffffff);
    assert_int_equal(fake.frames, 7);
    assert_int_equal(bus_counters().unsupported, 1);
}

/// A remote's list in which the message data of one capability (0x54) is the head of the next: the guest may
/// write the data, but not the list it walks.
static void test_a_list_that_overlaps_itself(void **state)
{
    (void)state;
    static struct config_view view;
    uint8_t raw[CONFIG_VIEW_SIZE] = {0};
    const struct wire_function info = {.flags = WIRE_FN_MSI};
    const struct config_capability caps[] = {{.id = 0x05, .offset = 0x48, .length = 16},
                                             {.id = 0x01, .offset = 0x54, .length = 8}};
    memcpy(&raw[0x48], "\x05\x54\x80\x00", 4); // MSI, 64-bit: its data is at 0x54
    config_view_build(&view, raw, caps, 2, &info);
    config_view_write(&view, 0x54, 4, 0xffffffff);
    assert_int_equal(config_view_read(&view, 0x34, 1), 0x48);
    assert_int_equal(config_view_read(&view, 0x49, 1), 0x54);
    assert_int_equal(config_view_read(&view, 0x55, 1), 0);
}

static void test_the_remotes_addresses_stay_there(void **state)
{
    (void)state;
    for (unsigned offset = 0x10; offset < 0x28; offset += 4)
        assert_int_not_equal(cfg_read(FN, offset, 4) & ~0xfu, 0xfebd0000);
    cfg_write(FN, 0x10, 4, 0xd0000000);
    cfg_write(FN, 0x3c, 1, 5);
    assert_int_equal(cfg_read(FN, 0x3c, 1), 5); // a note of the guest's
    assert_int_equal(fake.fns[0].config[0x3c], 0x0b);
    assert_memory_equal(&fake.fns[0].config[0x10], "\x04\x00\xbd\xfe", 4);
    assert_int_equal(fake.frames, 0);
}

static void test_bus_master_is_asked_of_the_remote(void **state)
{
    (void)state;
    unsigned lines = host_log_count();
    cfg_write(FN, 4, 2, 0x7);
    assert_int_equal(fake.records[REC_CFG_WR], 1);
    assert_int_equal(cfg_read(FN, 4, 2), 3); // refused
    assert_int_equal(host_log_count(), lines + 1);
    cfg_write(FN, 4, 2, 0x7);
    assert_int_equal(fake.records[REC_CFG_WR], 2);
    assert_int_equal(host_log_count(), lines + 1); // said once
    cfg_write(FN, 4, 2, 0x403);
    assert_int_equal(fake.records[REC_CFG_WR], 2);
    assert_int_equal(cfg_read(FN, 4, 2), 0x403);
}

static void test_guest_reset(void **state)
{
    (void)state;
    uint32_t home = cfg_read(FN, 0x10, 4);
    cfg_write(FN, 0x10, 4, 0xd8000000);
    cfg_write(FN, 0x3c, 1, 5);
    cfg_write(FN, 4, 2, 0x400);
    bus_guest_reset(fx.guest);
    assert_int_equal(fake.fns[0].resets, 1);
    assert_int_equal(fake.fns[1].resets, 1);
    assert_int_equal(cfg_read(FN, 0x10, 4), home);
    assert_int_equal(cfg_read(FN, 4, 2), 3);
    assert_int_equal(cfg_read(FN, 0x3c, 1), 0xff);
    fake.fns[0].bar[0][0] = 0x42;
    assert_int_equal(io_space_mmio_read(&fx.io, home & ~0xfull, 1), 0x42);
    assert_null(io_space_find_mmio(&fx.io, 0xd8000000));
}

static void test_large_bars(void **state)
{
    (void)state;
    fixture_end();
    fixture_clear();
    fake.fns[0].info.bars[0] =
        (struct wire_bar){.size = 1ull << 30, .kind = 0x83}; // too large for the room below 4 GiB
    fake.fns[1].info.bars[0] = (struct wire_bar){.size = 1ull << 30, .kind = 2}; // and this one must be there
    fixture_guest();
    fake_announce(PEER, BOOT_ID, 2);
    fake_up();
    fake_settle();
    assert_true(bus_guest_ready(fx.guest));
    bus_guest_start(fx.guest);
    assert_int_equal(cfg_read(FN, 0x10, 4), 0xc);
    assert_int_equal(cfg_read(FN, 0x14, 4), GUEST_MMIO64_BASE >> 32);
    assert_int_equal(cfg_read(SLOT(3), 0x10, 4), 0); // no room: not placed, not decoded, the guest may try
    fake.fns[0].bar[0][1] = 9;
    assert_int_equal(io_space_mmio_read(&fx.io, GUEST_MMIO64_BASE + 1, 1), 9);
    assert_int_equal(round_trips(), fake.records[REC_CFG_RD] + 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_enumeration_costs_no_frame),
        T(test_capability_list),
        T(test_placed_before_the_guest_starts),
        T(test_sizing_and_moving),
        T(test_bars_that_collide),
        T(test_posted_writes_do_not_wait),
        T(test_widths),
        T(test_ports),
        T(test_proxied_registers),
        T(test_a_list_that_overlaps_itself),
        T(test_the_remotes_addresses_stay_there),
        T(test_bus_master_is_asked_of_the_remote),
        T(test_guest_reset),
        T(test_large_bars),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
