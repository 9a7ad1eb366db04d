// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/bus/guests.c hv/bus/ports.c hv/platform/root_port.c drivers/pci_class.c
// LINK: hv/bus/mirror_slots.c hv/bus/mirror_content.c hv/bus/mirror_map.c hv/bus/mirror_sync.c
// LINK: hv/bus/assoc.c hv/bus/attach.c hv/bus/config_view.c hv/bus/remote_fn.c hv/bus/report.c
// LINK: hv/platform/iommu.c hv/platform/iommu_fault.c hv/platform/iommu_queue.c hv/platform/iommu_walk.c
// LINK: hv/bus/interrupts.c hv/bus/transact.c hv/platform/io_space.c hv/platform/pci_host.c net/wire.c
// Remote functions behind root ports: in their slots at the start, arrival, loss, return, power, resets, and
// the console's attach and detach.
#include "tests/unit/bus_fixture.h"
#include <setjmp.h>
#include <stdarg.h>
// cmocka wants these first
#include <cmocka.h>

#define PORT(n)    SLOT(2 + (n)) // on bus 0; n from 0, its bus is n + 1, its slot too
#define SLOT_CTRL  0x78u
#define SLOT_STAT  0x7au
#define LISTEN     0x1029u
#define POWER_OFF  0x0400u
#define BUTTON     0x0001u
#define PRESENCE   0x0008u
#define PRESENT    0x0040u
#define LINK_EVENT 0x0100u

static struct {
    unsigned attentions, messages;
    uint8_t vector;
    unsigned lines;
} got;

static void on_message(void *ctx, const struct interrupt_message *m)
{
    (void)ctx;
    got.messages++;
    got.vector = m->vector;
}

static void on_line(void *ctx, unsigned gsi, bool high)
{
    (void)ctx;
    got.lines = high ? got.lines | 1u << gsi : got.lines & ~(1u << gsi);
}

static void on_attention(void *ctx)
{
    (void)ctx;
    got.attentions++;
}

static void guest(void)
{
    const struct bus_interrupts interrupts = {
        .message = on_message, .line = on_line, .attention = on_attention};
    memset(&got, 0, sizeof(got));
    fixture_layout = BOOT_BUS_PORTS;
    fixture_guest();
    bus_guest_interrupts(fx.guest, &interrupts);
}

static void come(void)
{
    fake_announce(PEER, BOOT_ID, 2);
    if (fake.link.state != LINK_UP)
        fake_up();
    fake_settle();
}

/// Both functions are there, the guest is started.
static int setup(void **state)
{
    (void)state;
    fixture_clear();
    guest();
    come();
    assert_true(bus_guest_ready(fx.guest));
    bus_guest_start(fx.guest);
    bus_guest_collect(fx.guest);
    fake_forget_counts();
    memset(&bus_counts, 0, sizeof(bus_counts));
    return 0;
}

/// The guest is started, nobody has been heard of.
static int setup_empty(void **state)
{
    (void)state;
    fixture_clear();
    guest();
    bus_guest_start(fx.guest);
    bus_guest_collect(fx.guest);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_end();
    return 0;
}

static uint64_t ecam(unsigned bus, unsigned devfn, unsigned offset)
{
    return GUEST_ECAM_BASE + (bus << 20) + (devfn << 12) + offset;
}

static uint32_t get(unsigned bus, unsigned offset, unsigned size)
{
    return (uint32_t)io_space_mmio_read(&fx.io, ecam(bus, 0, offset), size);
}

static void set(unsigned bus, unsigned offset, unsigned size, uint32_t value)
{
    io_space_mmio_write(&fx.io, ecam(bus, 0, offset), size, value);
}

static uint32_t slot_status(unsigned n)
{
    return cfg_read(PORT(n), SLOT_STAT, 2);
}

/// As pciehp does: clears what it has seen.
static void seen(unsigned n)
{
    cfg_write(PORT(n), SLOT_STAT, 2, slot_status(n));
}

static void listen(unsigned n)
{
    cfg_write(PORT(n), SLOT_CTRL, 2, LISTEN);
}

static uint64_t bar0(unsigned bus)
{
    return get(bus, 0x10, 4) & ~0xfull;
}

static void test_enumeration(void **state)
{
    (void)state;
    unsigned ports = 0;
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        uint32_t id = cfg_read((uint8_t)devfn, 0, 4);
        ports += id != 0xffffffff && cfg_read((uint8_t)devfn, 8, 4) >> 8 == 0x060400;
    }
    assert_int_equal(ports, 2 + PORTS_SPARE);
    for (unsigned n = 0; n < ports; n++)
        assert_int_equal(cfg_read(PORT(n), 0x18, 4), (n + 1) << 8 | (n + 1) << 16);
    assert_int_equal(get(1, 0, 4), 0x00101b36);
    assert_int_equal(get(2, 0, 4), 0x00111b36);
    assert_int_equal(get(1, 0x0e, 1), 0); // one function
    assert_int_equal(get(3, 0, 4), 0xffffffff);
    assert_int_equal(io_space_mmio_read(&fx.io, ecam(1, 1, 0), 4), 0xffffffff);
    assert_int_equal(io_space_mmio_read(&fx.io, ecam(1, 8, 0), 4), 0xffffffff);
    assert_int_equal(slot_status(0), PRESENT);
    assert_int_equal(slot_status(2), 0);
    assert_int_equal(remote_fn_source(fn_of(0)), 0x0100);
    assert_int_equal(remote_fn_source(fn_of(1)), 0x0200);
    assert_int_equal(fake.frames, 0);
}

static void test_bars_are_in_the_windows(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 2; n++) {
        uint32_t window = cfg_read(PORT(n), 0x20, 4), io = cfg_read(PORT(n), 0x1c, 2);
        uint64_t bar = bar0(n + 1), ports = get(n + 1, 0x18, 4) & ~3u;
        assert_in_range(bar, (window & 0xfff0) << 16, (window & 0xfff00000) | 0xff000);
        assert_in_range(ports, (io & 0xf0) << 8, (io & 0xf000) | 0xfc0);
        assert_int_equal(get(n + 1, 4, 2), 3);
        fake.fns[n].bar[0][8] = (uint8_t)(0x50 + n);
        assert_int_equal(io_space_mmio_read(&fx.io, bar + 8, 1), 0x50 + n);
        fake.fns[n].bar[2][4] = (uint8_t)(0x70 + n);
        assert_int_equal(io_space_port_read(&fx.io, (uint16_t)(ports + 4), 1) & 0xff, 0x70 + n);
    }
}

static void test_what_the_bridge_does_not_pass(void **state)
{
    (void)state;
    uint64_t bar = bar0(1);
    uint16_t io = (uint16_t)(get(1, 0x18, 4) & ~3u);
    uint32_t window = cfg_read(PORT(0), 0x20, 4);
    fake.fns[0].bar[0][0] = 0x11;
    fake.fns[0].bar[2][0] = 0x22;
    cfg_write(PORT(0), 0x20, 4, 0x0000fff0);
    assert_int_equal(io_space_mmio_read(&fx.io, bar, 1), 0xff);
    assert_int_equal(io_space_port_read(&fx.io, io, 1) & 0xff, 0x22);
    cfg_write(PORT(0), 4, 2, 6); // no I/O
    assert_int_equal(io_space_port_read(&fx.io, io, 1) & 0xff, 0xff);
    // both move: the BAR is found where window and BAR meet
    cfg_write(PORT(0), 0x20, 4, 0xd000d000);
    assert_null(io_space_find_mmio(&fx.io, bar));
    set(1, 0x10, 4, 0xd0004000);
    assert_int_equal(io_space_mmio_read(&fx.io, 0xd0004000, 1), 0x11);
    set(1, 0x10, 4, 0xd0100000); // behind the end
    assert_int_equal(io_space_mmio_read(&fx.io, 0xd0100000, 1), 0xff);
    cfg_write(PORT(0), 4, 2, 0);
    set(1, 0x10, 4, (uint32_t)bar);
    cfg_write(PORT(0), 0x20, 4, window);
    assert_int_equal(io_space_mmio_read(&fx.io, bar, 1), 0xff);
    cfg_write(PORT(0), 4, 2, 7);
    assert_int_equal(io_space_mmio_read(&fx.io, bar, 1), 0x11);
    assert_int_equal(io_space_port_read(&fx.io, io, 1) & 0xff, 0x22);
}

static void test_renumbering(void **state)
{
    (void)state;
    cfg_write(PORT(0), 0x18, 4, 0x00404000);
    assert_int_equal(get(1, 0, 4), 0xffffffff);
    assert_int_equal(get(0x40, 0, 4), 0x00101b36);
    assert_int_equal(remote_fn_source(fn_of(0)), 0x4000);
    assert_int_equal(remote_fn_source(fn_of(1)), 0x0200);
}

static void test_arrival(void **state)
{
    (void)state;
    assert_int_equal(slot_status(0), 0);
    assert_int_equal(get(1, 0, 4), 0xffffffff);
    cfg_write(PORT(0), 0x54, 4, 0xfee00000);
    cfg_write(PORT(0), 0x5c, 2, 0x55);
    cfg_write(PORT(0), 0x52, 2, 1);
    listen(0);
    got.attentions = 0;
    come();
    assert_true(got.attentions > 0);
    assert_int_equal(get(1, 0, 4), 0xffffffff); // nothing changes between two instructions of the guest's CPU
    assert_int_equal(got.messages, 0);
    bus_guest_collect(fx.guest);
    assert_int_equal(got.messages, 1);
    assert_int_equal(got.vector, 0x55);
    assert_int_equal(slot_status(0), PRESENT | PRESENCE | LINK_EVENT);
    assert_int_equal(slot_status(1), PRESENT | PRESENCE | LINK_EVENT);
    // as after reset: nothing is placed or decoded
    assert_int_equal(get(1, 0, 4), 0x00101b36);
    assert_int_equal(get(1, 4, 2), 0);
    assert_int_equal(get(1, 0x10, 4), 4);
    assert_int_equal(get(1, 0x18, 4), 1);
    // the guest does it, inside the window that is there for it
    uint32_t window = cfg_read(PORT(0), 0x20, 4);
    uint32_t base = (window & 0xfff0) << 16;
    assert_true((window & 0xfff00000) - base >= (31u << 20));
    set(1, 0x10, 4, base + 0x1000);
    set(1, 4, 2, 2);
    fake.fns[0].bar[0][0] = 0x33;
    assert_int_equal(io_space_mmio_read(&fx.io, base + 0x1000, 1), 0x33);
    assert_int_equal(fake.fns[0].interrupts.mode, INTERRUPTS_INTX); // told in the write of Command
}

static void test_frozen_is_nothing(void **state)
{
    (void)state;
    listen(0);
    net_lock();
    fake.link.state = LINK_FROZEN;
    fake.link.events->frozen(fake.link.ctx, &fake.link);
    net_unlock();
    bus_guest_collect(fx.guest);
    assert_int_equal(slot_status(0), PRESENT);
    assert_int_equal(get(1, 0, 4), 0x00101b36);
    net_lock();
    fake.link.state = LINK_UP;
    fake.link.events->resumed(fake.link.ctx, &fake.link);
    net_unlock();
    bus_guest_collect(fx.guest);
    assert_int_equal(slot_status(0), PRESENT);
    assert_int_equal(got.messages + got.lines, 0);
}

static void test_loss_and_return(void **state)
{
    (void)state;
    uint64_t bar = bar0(1);
    listen(0);
    listen(1);
    set(1, 0x3c, 1, 7);
    fake_down("gone for good");
    // before the guest's CPU has looked, nothing reaches the function either
    assert_int_equal(io_space_mmio_read(&fx.io, bar, 4), 0xffffffff);
    bus_guest_collect(fx.guest);
    assert_int_equal(slot_status(0), PRESENCE | LINK_EVENT);
    assert_int_equal(got.lines, 1u << 18 | 1u << 19); // INTA of devices 2 and 3
    assert_null(io_space_find_mmio(&fx.io, bar));
    assert_int_equal(get(1, 0, 4), 0xffffffff);
    seen(0);
    seen(1);
    assert_int_equal(got.lines, 0);
    cfg_write(PORT(0), SLOT_CTRL, 2, LISTEN | POWER_OFF); // as Linux does with an empty slot
    fake.fns[0].bar[0][0] = 0x44;
    come();
    io_space_mmio_write(&fx.io, bar, 1, 0x99);
    bus_guest_collect(fx.guest);
    assert_int_equal(slot_status(0), PRESENT | PRESENCE | BUTTON); // no power: somebody pressed the button
    assert_int_equal(slot_status(1), PRESENT | PRESENCE | LINK_EVENT);
    assert_int_equal(get(1, 0, 4), 0xffffffff);
    cfg_write(PORT(0), SLOT_CTRL, 2, LISTEN);
    assert_int_equal(get(1, 0, 4), 0x00101b36);
    assert_int_equal(get(1, 0x10, 4), 4); // a new card: the guest gives it addresses
    assert_int_equal(get(1, 0x3c, 1), 0);
    set(1, 0x10, 4, (uint32_t)bar);
    set(1, 4, 2, 2);
    assert_int_equal(io_space_mmio_read(&fx.io, bar, 1), 0x44);
    // power came on without a reset of its own: it was fresh
    assert_int_equal(fake.fns[0].resets, 0);
}

/// Lost and back before the guest has looked: it is told of both, and nothing it does meanwhile reaches the
/// card that it does not know.
static void test_quick_return(void **state)
{
    (void)state;
    uint64_t bar = bar0(1);
    fake.fns[0].bar[0][0] = 1;
    fake_down("a moment");
    come();
    assert_int_equal(fn_of(0)->state, ASSOC_ATTACHED);
    io_space_mmio_write(&fx.io, bar, 1, 0x99);
    fake_settle();
    assert_int_equal(fake.fns[0].bar[0][0], 1);
    assert_int_equal(io_space_mmio_read(&fx.io, bar, 1), 0xff);
    assert_int_equal(get(1, 0, 4), 0xffffffff);
    bus_guest_collect(fx.guest);
    assert_int_equal(slot_status(0), PRESENT | PRESENCE | LINK_EVENT);
    assert_int_equal(get(1, 0, 4), 0x00101b36);
    assert_int_equal(get(1, 4, 2), 0);
    assert_null(io_space_find_mmio(&fx.io, bar));
}

/// It comes back as something else: other BARs in the same slot.
static void test_another_card(void **state)
{
    (void)state;
    uint64_t bar = bar0(1);
    uint16_t io = (uint16_t)(get(1, 0x18, 4) & ~3u);
    fake_down("changed");
    fake.fns[0].info.bars[0] = (struct wire_bar){.size = 256, .kind = 1};
    fake.fns[0].info.bars[2] = (struct wire_bar){.size = 4096, .kind = 2};
    come();
    bus_guest_collect(fx.guest);
    assert_int_equal(fn_of(0)->state, ASSOC_ATTACHED);
    assert_null(io_space_find_mmio(&fx.io, bar));
    assert_int_equal(io_space_port_read(&fx.io, io, 1) & 0xff, 0xff);
    assert_int_equal(get(1, 0x10, 4), 1);
    set(1, 0x18, 4, (uint32_t)bar);
    set(1, 0x10, 4, io & 0xff00u);
    set(1, 4, 2, 3);
    fake.fns[0].bar[2][5] = 0x66;
    fake.fns[0].bar[0][5] = 0x77;
    assert_int_equal(io_space_mmio_read(&fx.io, bar + 5, 1), 0x66);
    assert_int_equal(io_space_port_read(&fx.io, (uint16_t)((io & 0xff00u) + 5), 1) & 0xff, 0x77);
}

static void test_gone(void **state)
{
    (void)state;
    net_lock();
    fake_deliver((struct wire_record){.type = REC_GONE, .function = fake.fns[0].handle}, NULL, 0);
    net_unlock();
    bus_guest_collect(fx.guest);
    assert_int_equal(slot_status(0), PRESENCE | LINK_EVENT);
    assert_int_equal(slot_status(1), PRESENT);
}

static void test_power_switch(void **state)
{
    (void)state;
    uint64_t bar = bar0(1);
    listen(0);
    fake.silent = true; // the remote takes its time
    cfg_write(PORT(0), SLOT_CTRL, 2, LISTEN | POWER_OFF);
    assert_int_equal(fake.records[REC_RESET], 1);
    assert_int_equal(fake.waits, 0);
    assert_int_equal(get(1, 0, 4), 0xffffffff);
    assert_null(io_space_find_mmio(&fx.io, bar));
    fake.silent = false;
    seen(0);
    cfg_write(PORT(0), SLOT_CTRL, 2, LISTEN);
    bus_guest_collect(fx.guest);
    assert_int_equal(get(1, 0, 4), 0xffffffff); // still in reset
    assert_int_equal(slot_status(0), PRESENT);
    fake_settle();
    assert_int_equal(fake.fns[0].resets, 1);
    bus_guest_collect(fx.guest);
    assert_int_equal(slot_status(0), PRESENT | LINK_EVENT);
    assert_int_equal(get(1, 0, 4), 0x00101b36);
    assert_int_equal(get(1, 4, 2), 0);
    assert_int_equal(get(1, 0x10, 4), 4);
}

static void test_secondary_bus_reset(void **state)
{
    (void)state;
    set(1, 0x3c, 1, 9);
    cfg_write(PORT(0), 0x3e, 2, 0x40);
    assert_int_equal(get(1, 0, 4), 0xffffffff);
    cfg_write(PORT(0), 0x3e, 2, 0);
    fake_settle();
    bus_guest_collect(fx.guest);
    assert_int_equal(fake.fns[0].resets, 1);
    assert_int_equal(fake.fns[1].resets, 0);
    assert_int_equal(get(1, 0, 4), 0x00101b36);
    assert_int_equal(get(1, 0x3c, 1), 0);
    assert_int_equal(get(1, 0x10, 4), 4);
}

/// Initiate Function Level Reset: the guest goes on at once; what it does next waits for the remote.
static void test_function_level_reset(void **state)
{
    (void)state;
    uint64_t bar = bar0(1);
    uint32_t low = get(1, 0x10, 4);
    set(1, 0x10, 4, low);
    fake.fns[0].bar[0][0] = 1;
    fake_forget_counts();
    set(1, 0x68, 2, 0x2810 | 0x8000);
    assert_int_equal(fake.records[REC_RESET], 1);
    assert_int_equal(fake.records[REC_CFG_WR], 0);
    assert_int_equal(fake.polls, 0);
    assert_int_equal(get(1, 0, 4), 0x00101b36); // it stays on the bus
    assert_int_equal(get(1, 4, 2), 0);
    assert_int_equal(get(1, 0x10, 4), 4);
    assert_null(io_space_find_mmio(&fx.io, bar));
    set(1, 0x10, 4, low); // as a driver restores it
    set(1, 4, 2, 2);
    io_space_mmio_write(&fx.io, bar, 1, 0x5a);
    assert_int_equal(fake.fns[0].resets, 1); // it has waited
    fake_settle();
    assert_int_equal(fake.fns[0].bar[0][0], 0x5a);
    assert_int_equal(fake.fns[0].interrupts.mode, INTERRUPTS_INTX); // what the reset undid is told again
    // a function that has none is not reset
    fn_of(1)->view.image[0x67] = 0;
    set(2, 0x68, 2, 0x2810 | 0x8000);
    assert_int_equal(fake.fns[1].resets, 0);
}

static void test_a_reset_that_never_ends(void **state)
{
    (void)state;
    uint64_t bar = bar0(1);
    uint32_t low = get(1, 0x10, 4);
    fake.silent = true;
    set(1, 0x68, 2, 0x8000);
    set(1, 0x10, 4, low);
    cfg_write(PORT(0), 4, 2, 7);
    set(1, 4, 2, 2);
    uint64_t before = time_ns();
    assert_int_equal(io_space_mmio_read(&fx.io, bar, 4), 0xffffffff);
    assert_in_range(time_ns() - before, 1000000ull, BUS_COMPLETION_TIMEOUT_MS * 2000000ull);
    fake_down("tired of it");
    fake.silent = false;
    bus_guest_collect(fx.guest);
    assert_false(fn_of(0)->resetting);
    come();
    bus_guest_collect(fx.guest);
    assert_int_equal(get(1, 0, 4), 0x00101b36);
}

static void test_interrupt_lines(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct wire_intx x = {.pin = 1, .asserted = 1};
        net_lock();
        fake_deliver((struct wire_record){.type = REC_INTX, .function = fake.fns[i].handle}, &x, sizeof(x));
        net_unlock();
    }
    bus_guest_collect(fx.guest);
    assert_int_equal(got.lines, 1u << 18 | 1u << 19); // devices 2 and 3 on bus 0
    bus_guest_eoi(fx.guest, 18);
    fake_settle();
    assert_int_equal(got.lines, 1u << 19);
    assert_int_equal(fake.fns[0].eois, 1);
    assert_int_equal(fake.fns[1].eois, 0);
}

static void test_guest_reset(void **state)
{
    (void)state;
    uint64_t bar = bar0(1);
    cfg_write(PORT(0), 0x18, 4, 0x00404000);
    cfg_write(PORT(0), 0x20, 4, 0xd000d000);
    cfg_write(PORT(1), SLOT_CTRL, 2, LISTEN | POWER_OFF);
    fake_settle();
    bus_guest_reset(fx.guest);
    assert_int_equal(fake.fns[0].resets, 1);
    assert_int_equal(get(1, 0, 4), 0x00101b36);
    assert_int_equal(get(2, 0, 4), 0x00111b36);
    assert_int_equal(bar0(1), bar);
    assert_non_null(io_space_find_mmio(&fx.io, bar));
    assert_int_equal(slot_status(1), PRESENT);
    assert_int_equal(got.lines, 0);
}

static void test_detach_politely(void **state)
{
    (void)state;
    listen(0);
    assert_int_equal(bus_guest_detach(fx.guest, &fx.devices[0]), OK);
    bus_guest_collect(fx.guest);
    assert_int_equal(slot_status(0), PRESENT | BUTTON);
    assert_int_equal(got.lines, 1u << 18);
    seen(0);
    host_time_advance_ns(5000000000); // Linux blinks for 5 s
    fake_announce(PEER, BOOT_ID, 2);
    bus_guest_collect(fx.guest);
    assert_int_equal(slot_status(0), PRESENT);
    assert_int_equal(get(1, 0, 4), 0x00101b36);
    cfg_write(PORT(0), SLOT_CTRL, 2, LISTEN | POWER_OFF);
    bus_guest_collect(fx.guest);
    assert_int_equal(slot_status(0), PRESENCE | LINK_EVENT);
    assert_null(fn_of(0));
    fake_settle();
    assert_int_equal(fake.fns[0].detaches, 1);
    assert_int_equal(fake.fns[1].detaches, 0);
    // and given back, into the same slot
    seen(0);
    assert_int_equal(bus_guest_attach(fx.guest, &fx.devices[0]), OK);
    fake_settle();
    bus_guest_collect(fx.guest);
    assert_int_equal(slot_status(0), PRESENT | PRESENCE | BUTTON);
    cfg_write(PORT(0), SLOT_CTRL, 2, LISTEN);
    assert_int_equal(get(1, 0, 4), 0x00101b36);
}

static void test_detach_by_force(void **state)
{
    (void)state;
    listen(0);
    assert_int_equal(bus_guest_detach(fx.guest, &fx.devices[0]), OK);
    bus_guest_collect(fx.guest);
    host_time_advance_ns(19000000000);
    fake_announce(PEER, BOOT_ID, 2);
    bus_guest_collect(fx.guest);
    assert_int_equal(get(1, 0, 4), 0x00101b36);
    host_time_advance_ns(2000000000);
    fake_announce(PEER, BOOT_ID, 2);
    bus_guest_collect(fx.guest);
    assert_int_equal(get(1, 0, 4), 0xffffffff);
    assert_null(fn_of(0));
    assert_non_null(strstr(host_log_last(), "not guest \"g\"'s any more"));
    // a guest that does not listen is not asked, whether it runs or not
    assert_int_equal(bus_guest_detach(fx.guest, &fx.devices[1]), OK);
    bus_guest_rest(fx.guest);
    assert_null(fn_of(1));
    assert_int_equal(fake.closes, 0); // when the guest starts again it wants them
}

static void test_who_may_have_what(void **state)
{
    (void)state;
    struct boot_device d = fx.devices[0];
    assert_int_equal(bus_guest_attach(fx.guest, &d), ERR_BUSY);
    for (unsigned i = 0; i < PORTS_SPARE; i++) {
        d.at.devfn = SLOT(10 + i);
        assert_int_equal(bus_guest_attach(fx.guest, &d), OK);
    }
    d.at.devfn = SLOT(20);
    assert_int_equal(bus_guest_attach(fx.guest, &d), ERR_NOMEM);
    assert_int_equal(bus_guest_detach(fx.guest, &d), ERR_INVAL);
    d.at.devfn = SLOT(10); // never came
    assert_int_equal(bus_guest_detach(fx.guest, &d), OK);
    bus_guest_collect(fx.guest);
    assert_int_equal(bus_guest_attach(fx.guest, &d), OK);
}

static void test_flat_has_no_slots(void **state)
{
    (void)state;
    fixture_clear();
    fixture_layout = BOOT_BUS_FLAT;
    fixture_guest();
    assert_int_equal(bus_guest_attach(fx.guest, &fx.devices[0]), ERR_UNSUPPORTED);
    assert_int_equal(bus_guest_detach(fx.guest, &fx.devices[0]), ERR_UNSUPPORTED);
    assert_int_equal(remote_fn_source(fn_of(0)), SLOT(2));
}

static void test_large_bars(void **state)
{
    (void)state;
    fixture_clear();
    fake.fns[0].info.bars[0] = (struct wire_bar){.size = 4ull << 30, .kind = 0x83};
    fake.fns[0].info.bars[4] = (struct wire_bar){.size = 64ull << 20, .kind = 0x83};
    fake.fns[0].info.bars[3] = (struct wire_bar){.size = 128ull << 20, .kind = 2};
    fake.fns[1].info.bars[0] =
        (struct wire_bar){.size = 256ull << 20, .kind = 3}; // not prefetchable, but large
    fake.fns[1].info.bars[3] = (struct wire_bar){.size = 1ull << 30, .kind = 2}; // more than there is
    guest();
    come();
    bus_guest_start(fx.guest);
    uint64_t far = get(1, 0x10, 4) | (uint64_t)get(1, 0x14, 4) << 32;
    assert_int_equal(far & 0xf, 0xc);
    assert_int_equal((far & ~0xfull) % (4ull << 30), 0);
    assert_in_range(far & ~0xfull, GUEST_MMIO64_BASE, (GUEST_MMIO64_BASE << 1) - (4ull << 30));
    fake.fns[0].bar[0][1] = 9;
    assert_int_equal(io_space_mmio_read(&fx.io, (far & ~0xfull) + 1, 1), 9);
    fake.fns[0].bar[4][1] = 8;
    uint64_t next = get(1, 0x20, 4) | (uint64_t)get(1, 0x24, 4) << 32;
    assert_int_equal(io_space_mmio_read(&fx.io, (next & ~0xfull) + 1, 1), 8);
    fake.fns[0].bar[3][1] = 7;
    assert_int_equal(io_space_mmio_read(&fx.io, get(1, 0x1c, 4) + 1, 1), 7);
    assert_true(get(2, 0x14, 4) >= GUEST_MMIO64_BASE >> 32);
    assert_int_equal(get(2, 0x1c, 4), 0);            // no room: the guest may try
    for (unsigned n = 0; n < 2 + PORTS_SPARE; n++) { // no two windows overlap
        uint32_t w = cfg_read(PORT(n), 0x20, 4);
        for (unsigned k = 0; k < n; k++) {
            uint32_t v = cfg_read(PORT(k), 0x20, 4);
            assert_true((w >> 16) < (v & 0xfff0) || (v >> 16) < (w & 0xfff0) || (w & 0xfff0) > (w >> 16) ||
                        (v & 0xfff0) > (v >> 16));
        }
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define E(name) cmocka_unit_test_setup_teardown(name, setup_empty, teardown)
    const struct CMUnitTest tests[] = {
        T(test_enumeration),
        T(test_bars_are_in_the_windows),
        T(test_what_the_bridge_does_not_pass),
        T(test_renumbering),
        E(test_arrival),
        T(test_frozen_is_nothing),
        T(test_loss_and_return),
        T(test_quick_return),
        T(test_another_card),
        T(test_gone),
        T(test_power_switch),
        T(test_secondary_bus_reset),
        T(test_function_level_reset),
        T(test_a_reset_that_never_ends),
        T(test_interrupt_lines),
        T(test_guest_reset),
        T(test_detach_politely),
        T(test_detach_by_force),
        T(test_who_may_have_what),
        cmocka_unit_test_teardown(test_flat_has_no_slots, teardown),
        cmocka_unit_test_teardown(test_large_bars, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
