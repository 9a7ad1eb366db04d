// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/bus/guests.c hv/bus/ports.c hv/platform/root_port.c drivers/pci_class.c
// LINK: hv/bus/assoc.c hv/bus/attach.c hv/bus/config_view.c hv/bus/remote_fn.c hv/bus/report.c
// LINK: hv/bus/mirror_slots.c hv/bus/mirror_content.c hv/bus/mirror_map.c hv/bus/mirror_sync.c
// LINK: hv/platform/iommu.c hv/platform/iommu_fault.c hv/platform/iommu_queue.c hv/platform/iommu_walk.c
// LINK: hv/bus/interrupts.c hv/bus/transact.c hv/platform/io_space.c hv/platform/pci_host.c net/wire.c
//
// Interrupts on the host's side: what the guest sees and programs, what the remote is told, what comes
// through.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four above
#include "tests/unit/bus_fixture.h"
#include <cmocka.h>

#define FN    SLOT(2) // on the guest's bus
#define MSI   0x50u
#define MSIX  0x80u
#define TABLE 0x800u // in BAR 0, two entries of the 65 below 4 KiB are enough here
#define PBA   0xf00u

static struct interrupt_message got[64];
static unsigned got_count, attentions;
static uint32_t lines;

static void on_message(void *ctx, const struct interrupt_message *m)
{
    (void)ctx;
    assert_true(got_count < 64);
    got[got_count++] = *m;
}
static void on_line(void *ctx, unsigned gsi, bool high)
{
    (void)ctx;
    assert_true(gsi >= 16 && gsi < 20);
    lines = high ? lines | 1u << gsi : lines & ~(1u << gsi);
}
static void on_attention(void *ctx)
{
    (void)ctx;
    attentions++;
}

static int setup(void **state)
{
    (void)state;
    fixture_clear();
    for (unsigned i = 0; i < 2; i++) {
        fake.fns[i].info.flags |= WIRE_FN_MSI;
        fake_put(&fake.fns[i], MSI, 0x01898005, 4);  // 64-bit, maskable, enabled, 16 messages -> 0x80
        fake_put(&fake.fns[i], MSIX, 0x8003a011, 4); // enabled, 4 entries
        fake_put(&fake.fns[i], MSIX + 4, TABLE, 4);
        fake_put(&fake.fns[i], MSIX + 8, PBA, 4);
    }
    fixture_guest();
    bus_guest_interrupts(fx.guest, &(struct bus_interrupts){
                                       .message = on_message, .line = on_line, .attention = on_attention});
    fake_announce(PEER, BOOT_ID, 2);
    fake_up();
    fake_settle();
    assert_true(bus_guest_ready(fx.guest));
    bus_guest_start(fx.guest);
    bus_guest_collect(fx.guest);
    fake_forget_counts();
    memset(&bus_counts, 0, sizeof(bus_counts));
    got_count = attentions = 0;
    lines = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_end();
    return 0;
}

static void message(unsigned i, uint16_t vector)
{
    struct wire_msi m = {.vector = vector};
    net_lock();
    fake_deliver((struct wire_record){.type = REC_MSI, .function = fake.fns[i].handle}, &m, sizeof(m));
    net_unlock();
    bus_guest_collect(fx.guest);
}

static void line(unsigned i, uint8_t pin, uint8_t asserted)
{
    struct wire_intx x = {.pin = pin, .asserted = asserted};
    net_lock();
    fake_deliver((struct wire_record){.type = REC_INTX, .function = fake.fns[i].handle}, &x, sizeof(x));
    net_unlock();
    bus_guest_collect(fx.guest);
}

static uint64_t bar0(void)
{
    return cfg_read(FN, 0x10, 4) & ~0xfull;
}

static void enable_msi(void)
{
    cfg_write(FN, MSI + 4, 4, 0xfee01000);
    cfg_write(FN, MSI + 8, 4, 0);
    cfg_write(FN, MSI + 12, 2, 0x0041);
    cfg_write(FN, MSI + 2, 2, 1);
    bus_guest_collect(fx.guest);
}

static void test_msi(void **state)
{
    (void)state;
    assert_int_equal(cfg_read(FN, MSI + 2, 2), 0x0180); // one message, 64-bit, maskable, not enabled
    assert_int_equal(cfg_read(FN, MSI + 4, 4), 0);      // nothing of the remote's
    message(0, 0);                                      // not enabled
    assert_int_equal(got_count, 0);
    assert_int_equal(bus_counters().interrupts_dropped, 1);
    cfg_write(FN, MSI + 2, 2, 0x0070); // more messages than there are
    assert_int_equal(cfg_read(FN, MSI + 2, 2), 0x0180);
    enable_msi();
    assert_int_equal(fake.fns[0].interrupts.mode, INTERRUPTS_MSI);
    assert_int_equal(fake.fns[0].interrupts.count, 1);
    assert_int_equal(fake.fns[0].wanted, 1);
    assert_int_equal(fake.fns[1].interrupts.mode, INTERRUPTS_INTX); // the other one is as it was
    message(0, 0);
    message(1, 0);
    assert_int_equal(got_count, 1);
    assert_int_equal(got[0].destination, 1);
    assert_int_equal(got[0].vector, 0x41);
    assert_int_equal(got[0].delivery, 0);
    assert_false(got[0].logical || got[0].level);
    cfg_write(FN, MSI + 4, 4, 0xfee0200c); // another CPU, logical
    cfg_write(FN, MSI + 12, 2, 0x0142);    // lowest priority
    message(0, 0);
    assert_int_equal(got_count, 2);
    assert_int_equal(got[1].destination, 2);
    assert_true(got[1].logical);
    assert_int_equal(got[1].delivery, 1);
    assert_int_equal(got[1].vector, 0x42);
    unsigned before = fake.records[REC_INTERRUPTS];
    cfg_write(FN, MSI + 16, 4, 1); // masked: stays pending
    message(0, 0);
    message(0, 0);
    assert_int_equal(got_count, 2);
    assert_int_equal(cfg_read(FN, MSI + 20, 4), 1);
    cfg_write(FN, MSI + 16, 4, 0);
    bus_guest_collect(fx.guest);
    assert_int_equal(got_count, 3);
    assert_int_equal(cfg_read(FN, MSI + 20, 4), 0);
    assert_int_equal(fake.records[REC_INTERRUPTS], before); // masks are the host's own
    message(0, 1);                                          // no such message
    message(0, 63);
    message(0, 2047);
    assert_int_equal(got_count, 3);
    cfg_write(FN, MSI + 4, 4, 0x00100000); // memory
    message(0, 0);
    cfg_write(FN, MSI + 4, 4, 0xfee00000);
    cfg_write(FN, MSI + 8, 4, 1);
    message(0, 0);
    assert_int_equal(got_count, 3);
    cfg_write(FN, MSI + 2, 2, 0);
    assert_int_equal(fake.fns[0].interrupts.mode, INTERRUPTS_INTX);
    message(0, 0);
    assert_int_equal(got_count, 3);
    cfg_write(FN, 4, 2, 0x0403);
    assert_int_equal(fake.fns[0].interrupts.mode, INTERRUPTS_OFF);
}

static void entry(unsigned n, uint32_t address, uint32_t data, uint32_t control)
{
    uint64_t at = bar0() + TABLE + 16 * n;
    io_space_mmio_write(&fx.io, at, 4, address);
    io_space_mmio_write(&fx.io, at + 4, 4, 0);
    io_space_mmio_write(&fx.io, at + 8, 8, data | (uint64_t)control << 32);
    bus_guest_collect(fx.guest);
}

static void test_msix(void **state)
{
    (void)state;
    assert_int_equal(cfg_read(FN, MSIX + 2, 2), 0x0003);
    fake_forget_counts();
    assert_int_equal(io_space_mmio_read(&fx.io, bar0() + TABLE + 12, 4), 1); // masked
    cfg_write(FN, 4, 2, 0x0403);
    fake_forget_counts();
    cfg_write(FN, MSIX + 2, 2, 0xc000);
    assert_int_equal(cfg_read(FN, MSIX + 2, 2), 0xc003);
    assert_int_equal(fake.fns[0].interrupts.mode, INTERRUPTS_MSIX);
    assert_int_equal(fake.fns[0].interrupts.count, 4);
    assert_int_equal(fake.fns[0].wanted, 0);
    entry(0, 0xfee00000, 0x50, 0);
    entry(2, 0xfee03000, 0x52, 0xfffffffe); // reserved bits of Vector Control do not stick
    assert_int_equal(fake.fns[0].wanted, 5);
    assert_int_equal(fake.records[REC_INTERRUPTS], 3);
    assert_int_equal(fake.records[REC_MWR] + fake.records[REC_MRD], 0); // the table is here
    assert_int_equal(io_space_mmio_read(&fx.io, bar0() + TABLE + 32, 8), 0xfee03000);
    assert_int_equal(io_space_mmio_read(&fx.io, bar0() + TABLE + 40, 8), 0x52);
    message(0, 0); // the function is masked
    message(0, 2);
    message(0, 1); // never wanted
    message(0, 4); // no such entry
    assert_int_equal(got_count, 0);
    assert_int_equal(io_space_mmio_read(&fx.io, bar0() + PBA, 8), 5);
    cfg_write(FN, MSIX + 2, 2, 0x8000);
    bus_guest_collect(fx.guest);
    assert_int_equal(got_count, 2);
    assert_int_equal(got[0].vector, 0x50);
    assert_int_equal(got[1].vector, 0x52);
    assert_int_equal(got[1].destination, 3);
    assert_int_equal(io_space_mmio_read(&fx.io, bar0() + PBA, 8), 0);
    unsigned told = fake.records[REC_INTERRUPTS];
    entry(0, 0xfee00000, 0x50, 1);
    message(0, 0);
    assert_int_equal(got_count, 2);
    entry(0, 0xfee05000, 0x55, 0); // another CPU and vector while it was pending
    assert_int_equal(got_count, 3);
    assert_int_equal(got[2].destination, 5);
    assert_int_equal(got[2].vector, 0x55);
    assert_int_equal(fake.records[REC_INTERRUPTS], told); // masking costs no round trip
    io_space_mmio_write(&fx.io, bar0() + PBA, 8, ~0ull);  // read-only
    assert_int_equal(io_space_mmio_read(&fx.io, bar0() + PBA, 8), 0);
    io_space_mmio_write(&fx.io, bar0() + 0x10, 4, 0x12345678); // the rest of the page is the function's
    assert_int_equal(io_space_mmio_read(&fx.io, bar0() + 0x10, 4), 0x12345678);
    assert_int_equal(fake.records[REC_MWR], 1);
    cfg_write(FN, MSIX + 2, 2, 0);
    message(0, 0);
    assert_int_equal(got_count, 3);
}

/// Functions 0 and 1 are 00:02.0 and 00:03.0, both INTA: GSI 18 and 19.
static void test_intx(void **state)
{
    (void)state;
    assert_int_equal(cfg_read(FN, 0x3d, 1), 1);
    assert_int_equal(fake.fns[0].interrupts.mode, INTERRUPTS_INTX);
    line(0, 2, 1); // not its pin
    assert_int_equal(lines, 0);
    line(0, 1, 1);
    assert_int_equal(lines, 1u << 18);
    assert_int_equal(cfg_read(FN, 6, 2) & 8, 8); // Interrupt Status
    line(1, 1, 1);
    assert_int_equal(lines, 3u << 18);
    bus_guest_eoi(fx.guest, 18);
    fake_settle();
    assert_int_equal(lines, 1u << 19);
    assert_int_equal(fake.fns[0].eois, 1);
    assert_int_equal(fake.fns[1].eois, 0);
    bus_guest_eoi(fx.guest, 18); // nothing is asserted there
    bus_guest_eoi(fx.guest, 4);
    bus_guest_eoi(fx.guest, 400);
    assert_int_equal(fake.records[REC_EOI], 1);
    line(1, 1, 0);
    assert_int_equal(lines, 0);
    line(0, 1, 1);
    cfg_write(FN, 4, 2, 0x0403); // disabled
    bus_guest_collect(fx.guest);
    assert_int_equal(lines, 0);
    line(0, 1, 1);
    assert_int_equal(lines, 0);
}

static void test_intx_shared(void **state)
{
    (void)state;
    fn_of(1)->info.pin = 4; // 00:03.0 INTD: GSI 18 as well
    interrupts_sync(fn_of(1), true);
    line(0, 1, 1);
    line(1, 4, 1);
    assert_int_equal(lines, 1u << 18);
    line(0, 1, 0);
    assert_int_equal(lines, 1u << 18);
    line(0, 1, 1);
    bus_guest_eoi(fx.guest, 18); // both have been looked at
    fake_settle();
    assert_int_equal(lines, 0);
    assert_int_equal(fake.fns[0].eois, 1);
    assert_int_equal(fake.fns[1].eois, 1);
    line(1, 4, 1);
    assert_int_equal(lines, 1u << 18);
    line(1, 4, 0);
    assert_int_equal(lines, 0);
}

static void test_eoi_when_the_link_is_full(void **state)
{
    (void)state;
    line(0, 1, 1);
    fake.busy = 1;
    bus_guest_eoi(fx.guest, 18);
    assert_int_equal(lines, 0);
    assert_int_equal(fake.records[REC_EOI], 0);
    bus_guest_collect(fx.guest);
    assert_int_equal(fake.records[REC_EOI], 1);
    bus_guest_collect(fx.guest);
    assert_int_equal(fake.records[REC_EOI], 1);
}

static void test_link_lost(void **state)
{
    (void)state;
    enable_msi();
    cfg_write(FN, MSI + 16, 4, 1);
    message(0, 0);
    line(1, 1, 1);
    assert_int_equal(lines, 1u << 19);
    fake_down("test");
    bus_guest_collect(fx.guest);
    assert_int_equal(lines, 0);
    fake_up();
    fake_settle();
    assert_true(bus_guest_ready(fx.guest));
    // as the guest left it: its message, its mask, enabled again there; but nothing pending
    assert_int_equal(cfg_read(FN, MSI + 2, 2), 0x0181);
    assert_int_equal(cfg_read(FN, MSI + 4, 4), 0xfee01000);
    assert_int_equal(fake.fns[0].interrupts.mode, INTERRUPTS_MSI);
    assert_int_equal(fake.fns[1].interrupts.mode, INTERRUPTS_INTX);
    cfg_write(FN, MSI + 16, 4, 0);
    bus_guest_collect(fx.guest);
    assert_int_equal(got_count, 0);
    message(0, 0);
    assert_int_equal(got_count, 1);
    net_lock();
    fake_deliver((struct wire_record){.type = REC_GONE, .function = fake.fns[0].handle}, NULL, 0);
    net_unlock();
    message(0, 0);
    assert_int_equal(got_count, 1);
}

static void test_guest_reset(void **state)
{
    (void)state;
    enable_msi();
    cfg_write(FN, MSI + 16, 4, 1);
    message(0, 0);
    cfg_write(FN, MSIX + 2, 2, 0x4000);
    entry(1, 0xfee00000, 0x50, 0);
    line(1, 1, 1);
    bus_guest_reset(fx.guest);
    assert_int_equal(lines, 0);
    assert_int_equal(fake.fns[0].resets, 1);
    assert_int_equal(cfg_read(FN, MSI + 2, 2), 0x0180);
    assert_int_equal(cfg_read(FN, MSI + 4, 4), 0);
    assert_int_equal(cfg_read(FN, MSI + 16, 4), 0);
    assert_int_equal(cfg_read(FN, MSIX + 2, 2), 0x0003);
    assert_int_equal(io_space_mmio_read(&fx.io, bar0() + TABLE + 28, 4), 1);
    assert_int_equal(io_space_mmio_read(&fx.io, bar0() + TABLE + 24, 4), 0);
    assert_int_equal(fake.fns[0].interrupts.mode, INTERRUPTS_INTX);
    bus_guest_collect(fx.guest);
    assert_int_equal(got_count, 0);
    line(1, 1, 1); // its device asserts again
    assert_int_equal(lines, 1u << 19);
}

static void test_refused(void **state)
{
    (void)state;
    fake.answer_status = CPL_CA;
    enable_msi();
    fake.answer_status = 0;
    message(0, 0); // it said that it would not
    assert_int_equal(got_count, 0);
    cfg_write(FN, MSI + 2, 2, 0);
    enable_msi(); // tried again when the guest does
    message(0, 0);
    assert_int_equal(got_count, 1);
}

static void test_hidden(void **state)
{
    (void)state;
    struct config_view view;
    const struct config_capability caps[] = {{.offset = 0x50, .id = 0x05, .length = 24},
                                             {.offset = 0x80, .id = 0x11, .length = 12}};
    uint8_t raw[CONFIG_VIEW_SIZE];
    memset(raw, 0xff, sizeof(raw));
    struct wire_function info = fake.fns[0].info;
    info.flags = WIRE_FN_FLR; // a remote that cannot enable messages
    config_view_build(&view, raw, caps, 2, &info);
    assert_int_equal(view.image[0x34], 0);
    for (unsigned at = 0x50; at < 0x68; at++) {
        assert_int_equal(view.image[at], 0);
        assert_int_equal(view.writable[at], 0);
    }
    info.flags = WIRE_FN_MSI;
    config_view_build(&view, raw, caps, 2, &info);
    assert_int_equal(view.image[0x34], 0x50);
    assert_int_equal(view.image[0x51], 0x80);
    assert_int_equal(config_view_get(&view, 0x54), 0);                    // message address of the remote
    assert_int_equal(config_view_read(&view, 0x82, 2), MESSAGES_MAX - 1); // 2048 entries there
}

/// A capability that ends behind configuration space, tables outside their BAR, lists that overlap.
static void test_hostile_capabilities(void **state)
{
    (void)state;
    fake_down("test");
    fake_put(&fake.fns[0], 0x40, 0x0003f401, 4);
    fake_put(&fake.fns[0], 0xf4, 0x0189f805, 4);
    fake_put(&fake.fns[0], 0xf8, 0xffff0011, 4);
    fake_put(&fake.fns[0], 0xfc, 0xfffffff8, 4);
    fake_up();
    fake_settle();
    for (unsigned at = 0x40; at < 0x100; at += 4) {
        cfg_write(FN, at, 4, 0xffffffff);
        (void)cfg_read(FN, at, 4);
    }
    bus_guest_collect(fx.guest);
    for (uint16_t n = 0; n < 2048; n += 31)
        message(0, n);
    line(0, 1, 1);
    bus_guest_reset(fx.guest);
    assert_true(got_count < 64);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_msi),
        T(test_msix),
        T(test_intx),
        T(test_intx_shared),
        T(test_eoi_when_the_link_is_full),
        T(test_link_lost),
        T(test_guest_reset),
        T(test_refused),
        T(test_hidden),
        T(test_hostile_capabilities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
