// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/platform/root_port.c hv/platform/pci_host.c hv/platform/io_space.c
// A root port as its guest meets it: what is routed behind it, what its windows pass, and the events of its
// slot.
#include "hv/platform/root_port.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
// cmocka wants these first
#include <cmocka.h>

#define DEVFN      (4u << 3)
#define EXPRESS    0x60u
#define LINK_CTRL  (EXPRESS + 0x10)
#define LINK_STAT  (EXPRESS + 0x12)
#define SLOT_CTRL  (EXPRESS + 0x18)
#define SLOT_STAT  (EXPRESS + 0x1a)
#define BRIDGE     0x3eu
#define BUTTON     0x0001u
#define PRESENCE   0x0008u
#define PRESENT    0x0040u
#define LINK_EVENT 0x0100u
#define LISTEN     0x1029u // Slot Control: button, presence, link, interrupt
#define POWER_OFF  0x0400u

static struct fixture {
    struct io_space io;
    struct guest_pci pci;
    struct root_port port;
    uint8_t card[256];
    unsigned forwardings, resets, messages, lines;
    uint64_t address;
    uint32_t data;
} fx;

static uint32_t card_read(void *dev, uint16_t offset, unsigned size)
{
    uint32_t value = 0;
    assert_ptr_equal(dev, fx.card);
    if (offset + size <= sizeof(fx.card))
        memcpy(&value, fx.card + offset, size);
    return value;
}

static void card_write(void *dev, uint16_t offset, unsigned size, uint32_t value)
{
    assert_ptr_equal(dev, fx.card);
    if (offset + size <= sizeof(fx.card))
        memcpy(fx.card + offset, &value, size);
}

static const struct guest_pci_function card = {
    .config_read = card_read, .config_write = card_write, .dev = fx.card};

static void on_forwarding(void *ctx)
{
    (void)ctx;
    fx.forwardings++;
}

static void on_card_reset(void *ctx)
{
    (void)ctx;
    fx.resets++;
}

static void on_message(void *ctx, uint64_t address, uint32_t data)
{
    (void)ctx;
    fx.messages++;
    fx.address = address;
    fx.data = data;
}

static void on_line(void *ctx)
{
    (void)ctx;
    fx.lines++;
}

static int setup(void **state)
{
    (void)state;
    memset(&fx, 0, sizeof(fx));
    const struct root_port_ops ops = {.forwarding = on_forwarding,
                                      .card_reset = on_card_reset,
                                      .message = on_message,
                                      .line = on_line,
                                      .ctx = &fx};
    assert_int_equal(guest_pci_init(&fx.pci, &fx.io), OK);
    assert_int_equal(root_port_init(&fx.port, &fx.pci, DEVFN, 3, &ops), OK);
    memcpy(fx.card, "\x86\x80\x34\x12", 4);
    return 0;
}

/// By 0xCF8.
static uint32_t cfg(unsigned bus, unsigned devfn, unsigned offset, unsigned size)
{
    io_space_port_write(&fx.io, 0xcf8, 4, 0x80000000u | bus << 16 | devfn << 8 | (offset & 0xfc));
    uint32_t value = io_space_port_read(&fx.io, (uint16_t)(0xcfc + (offset & 3)), size);
    return size == 4 ? value : value & ((1u << size * 8) - 1);
}

static void cfg_set(unsigned bus, unsigned devfn, unsigned offset, unsigned size, uint32_t value)
{
    io_space_port_write(&fx.io, 0xcf8, 4, 0x80000000u | bus << 16 | devfn << 8 | (offset & 0xfc));
    io_space_port_write(&fx.io, (uint16_t)(0xcfc + (offset & 3)), size, value);
}

/// Of the port.
static uint32_t get(unsigned offset, unsigned size)
{
    return cfg(0, DEVFN, offset, size);
}

static void set(unsigned offset, unsigned size, uint32_t value)
{
    cfg_set(0, DEVFN, offset, size, value);
}

static uint32_t ecam(unsigned bus, unsigned devfn, unsigned offset)
{
    return (uint32_t)io_space_mmio_read(&fx.io, GUEST_ECAM_BASE + (bus << 20) + (devfn << 12) + offset, 4);
}

static void number(unsigned secondary, unsigned subordinate)
{
    set(0x18, 4, subordinate << 16 | secondary << 8);
}

static void test_what_it_is(void **state)
{
    (void)state;
    unsigned ids[4], n = 0;
    assert_int_equal(get(0x08, 4) >> 8, 0x060400);
    assert_int_equal(get(0x0e, 1), 1);
    for (uint8_t at = (uint8_t)get(0x34, 1); at && n < 4; at = (uint8_t)get(at + 1u, 1))
        ids[n++] = get(at, 1);
    assert_int_equal(n, 2);
    assert_int_equal(ids[0], 0x05);
    assert_int_equal(ids[1], 0x10);
    assert_int_equal(get(EXPRESS + 2, 2), 0x0142);         // version 2, root port, slot
    assert_int_equal(get(EXPRESS + 0x14, 4) >> 19, 3);     // slot number
    assert_int_equal(get(EXPRESS + 0x14, 4) & 0x7f, 0x7b); // everything but an MRL sensor
    assert_true(get(EXPRESS + 0x0c, 4) & 1u << 20);        // Link Active reporting
    assert_int_equal(ecam(0, DEVFN, 0x100), 0x0001000d);   // ACS
    assert_int_equal(ecam(0, DEVFN, 0x108), 0);            // and nothing behind it
    set(0, 4, 0);                                          // identification cannot be written
    assert_int_equal(get(0x08, 4) >> 8, 0x060400);
    for (unsigned bar = 0x10; bar < 0x18; bar += 4) { // none
        set(bar, 4, 0xffffffff);
        assert_int_equal(get(bar, 4), 0);
    }
}

static void test_cycles_find_the_card(void **state)
{
    (void)state;
    root_port_insert(&fx.port, &card);
    for (unsigned bus = 1; bus < 256; bus++) // not numbered: nobody
        assert_int_equal(cfg(bus, 0, 0, 4), 0xffffffff);
    number(7, 9);
    assert_int_equal(cfg(7, 0, 0, 4), 0x12348086);
    assert_int_equal(ecam(7, 0, 0), 0x12348086);
    for (unsigned devfn = 1; devfn < 256; devfn++)
        assert_int_equal(cfg(7, devfn, 0, 4), 0xffffffff);
    assert_int_equal(cfg(8, 0, 0, 4), 0xffffffff); // its bus, but the card is no bridge
    assert_int_equal(cfg(10, 0, 0, 4), 0xffffffff);
    cfg_set(7, 0, 0x41, 1, 0xab);
    assert_int_equal(fx.card[0x41], 0xab);
    number(200, 200);
    assert_int_equal(cfg(7, 0, 0, 4), 0xffffffff);
    assert_int_equal(cfg(200, 0, 0, 4), 0x12348086);
    root_port_remove(&fx.port);
    assert_int_equal(cfg(200, 0, 0, 4), 0xffffffff);
    cfg_set(200, 0, 0x41, 1, 0xcd);
    assert_int_equal(fx.card[0x41], 0xab);
}

static void test_windows(void **state)
{
    (void)state;
    struct root_port *p = &fx.port;
    root_port_insert(p, &card);
    set(0x04, 2, 3);
    assert_false(root_port_passes_memory(p, 0, 4096)); // closed at reset
    assert_false(root_port_passes_io(p, 0, 8));
    assert_false(root_port_passes_io(p, 0xf000, 8));
    assert_false(root_port_passes_memory(p, 0xfff00000, 4096));
    set(0x20, 4, 0xc120c100); // 0xc1000000 .. 0xc12fffff
    assert_true(root_port_passes_memory(p, 0xc1000000, 1));
    assert_true(root_port_passes_memory(p, 0xc1000000, 0x300000));
    assert_false(root_port_passes_memory(p, 0xc1000000, 0x300001));
    assert_false(root_port_passes_memory(p, 0xc0ffffff, 2));
    assert_false(root_port_passes_memory(p, 0xc1300000, 1));
    assert_false(root_port_passes_memory(p, ~0ull, 2)); // would wrap
    assert_false(root_port_passes_memory(p, 0x1c1000000, 1));
    set(0x24, 4, 0x00100000); // the low nibble is read-only: 64-bit
    set(0x28, 4, 0x81);
    set(0x2c, 4, 0x81);
    assert_int_equal(get(0x24, 4), 0x00110001);
    assert_true(root_port_passes_memory(p, 0x8100000000, 0x200000));
    assert_false(root_port_passes_memory(p, 0x8100000000, 0x200001));
    assert_false(root_port_passes_memory(p, 0x8000000000, 1));
    set(0x1c, 2, 0xb0a0); // 0xa000 .. 0xbfff
    assert_true(root_port_passes_io(p, 0xa000, 0x2000));
    assert_false(root_port_passes_io(p, 0xa000, 0x2001));
    assert_false(root_port_passes_io(p, 0x9fff, 2));
    unsigned told = fx.forwardings;
    set(0x04, 2, 2);
    assert_int_equal(fx.forwardings, told + 1);
    assert_false(root_port_passes_io(p, 0xa000, 1));
    assert_true(root_port_passes_memory(p, 0xc1000000, 1));
    set(0x04, 2, 1);
    assert_true(root_port_passes_io(p, 0xa000, 1));
    assert_false(root_port_passes_memory(p, 0xc1000000, 1));
    set(0x04, 2, 3);
    set(0x22, 2, 0xc0f0); // limit below base: closed
    assert_false(root_port_passes_memory(p, 0xc1000000, 1));
    root_port_remove(p);
    assert_false(root_port_passes_io(p, 0xa000, 1));
}

static void test_one_message_for_what_is_pending(void **state)
{
    (void)state;
    set(0x04, 2, 4); // bus master
    set(0x54, 4, 0xfee01000);
    set(0x58, 4, 0);
    set(0x5c, 2, 0x4041);
    set(0x52, 2, 1);
    set(SLOT_CTRL, 2, LISTEN);
    root_port_insert(&fx.port, &card);
    assert_int_equal(get(SLOT_STAT, 2),
                     PRESENT | PRESENCE | LINK_EVENT); // had power: nobody pressed anything
    assert_true(get(LINK_STAT, 2) & 0x2000);
    assert_true(get(LINK_STAT, 2) & 0x03f0); // a width
    assert_int_equal(fx.messages, 1);
    assert_int_equal(fx.address, 0xfee01000);
    assert_int_equal(fx.data, 0x4041);
    assert_int_equal(fx.lines, 0);
    set(SLOT_STAT, 2, LINK_EVENT); // one of two is cleared: still pending, no new message
    assert_int_equal(get(SLOT_STAT, 2), PRESENT | PRESENCE);
    assert_int_equal(fx.messages, 1);
    set(SLOT_STAT, 2, PRESENCE);
    root_port_remove(&fx.port);
    assert_int_equal(fx.messages, 2);
    assert_int_equal(get(SLOT_STAT, 2), PRESENCE | LINK_EVENT);
    assert_int_equal(get(LINK_STAT, 2), 0);
    // removal and insertion before the guest looked: both are told by the same bits
    root_port_insert(&fx.port, &card);
    assert_int_equal(fx.messages, 2);
    assert_int_equal(get(SLOT_STAT, 2), PRESENT | PRESENCE | LINK_EVENT);
}

static void test_who_does_not_listen_hears_nothing(void **state)
{
    (void)state;
    set(0x52, 2, 1);
    set(SLOT_CTRL, 2, LISTEN);
    root_port_insert(&fx.port, &card); // without bus mastering there is no message
    assert_int_equal(fx.messages, 0);
    set(SLOT_STAT, 2, 0xffff);
    set(0x04, 2, 4);
    set(SLOT_CTRL, 2, LISTEN & ~0x20u); // Hot-Plug Interrupt Enable
    root_port_remove(&fx.port);
    assert_int_equal(fx.messages, 0);
    assert_false(root_port_managed(&fx.port));
    set(SLOT_CTRL, 2, LISTEN); // what is pending is told when it is enabled (6.7.3.4)
    assert_int_equal(fx.messages, 1);
    assert_true(root_port_managed(&fx.port));
}

static void test_line(void **state)
{
    (void)state;
    set(SLOT_CTRL, 2, LISTEN);
    root_port_press(&fx.port);
    assert_int_equal(get(SLOT_STAT, 2), BUTTON);
    assert_true(fx.port.line);
    assert_true(get(0x06, 2) & 8);
    set(0x04, 2, 0x400); // INTx disable
    assert_false(fx.port.line);
    assert_true(get(0x06, 2) & 8);
    set(0x04, 2, 0);
    assert_true(fx.port.line);
    set(SLOT_STAT, 2, BUTTON);
    assert_false(fx.port.line);
    assert_false(get(0x06, 2) & 8);
    assert_int_equal(fx.lines, 4);
    assert_int_equal(fx.messages, 0);
}

static void test_a_card_for_a_slot_without_power(void **state)
{
    (void)state;
    set(SLOT_CTRL, 2, LISTEN | POWER_OFF);
    root_port_insert(&fx.port, &card);
    assert_int_equal(get(SLOT_STAT, 2), PRESENT | PRESENCE | BUTTON);
    assert_false(fx.port.bus.up);
    assert_int_equal(fx.resets, 0);
    set(SLOT_STAT, 2, 0xffff);
    set(SLOT_CTRL, 2, LISTEN);
    assert_true(fx.port.bus.up);
    assert_int_equal(get(SLOT_STAT, 2), PRESENT | LINK_EVENT);
}

/// Each way to take the card down: it is reset once, and is there again when the cause and the reset are
/// over.
static void test_down_and_up(void **state)
{
    (void)state;
    const struct {
        unsigned offset;
        uint32_t down, up;
    } ways[] = {{SLOT_CTRL, POWER_OFF, 0}, {BRIDGE, 0x40, 0}, {LINK_CTRL, 0x10, 0}};
    number(1, 1);
    root_port_insert(&fx.port, &card);
    for (unsigned i = 0; i < 3; i++) {
        set(SLOT_STAT, 2, 0xffff);
        unsigned told = fx.forwardings;
        set(ways[i].offset, 2, ways[i].down);
        assert_int_equal(fx.resets, i + 1);
        assert_int_equal(fx.forwardings, told + 1);
        assert_int_equal(get(SLOT_STAT, 2), PRESENT | LINK_EVENT);
        assert_int_equal(cfg(1, 0, 0, 4), 0xffffffff);
        set(ways[i].offset, 2, ways[i].down); // again: nothing more to lose
        assert_int_equal(fx.resets, i + 1);
        if (i == 1)
            root_port_ready(&fx.port, true); // came out early: still held
        assert_false(fx.port.bus.up);
        set(SLOT_STAT, 2, 0xffff);
        set(ways[i].offset, 2, ways[i].up);
        if (i != 1) {
            assert_false(fx.port.bus.up);
            root_port_ready(&fx.port, true);
        }
        assert_int_equal(get(SLOT_STAT, 2), PRESENT | LINK_EVENT);
        assert_int_equal(cfg(1, 0, 0, 4), 0x12348086);
    }
    root_port_remove(&fx.port);
    root_port_ready(&fx.port, true); // late: nobody is there
    assert_false(fx.port.bus.up);
    set(SLOT_CTRL, 2, POWER_OFF);
    assert_int_equal(fx.resets, 3); // an empty slot has nothing to reset
}

static void test_as_firmware_leaves_it(void **state)
{
    (void)state;
    const struct root_port_setup s = {.bus = 5,
                                      .memory = 0xc0200000,
                                      .memory_size = 0x200000,
                                      .prefetchable = 0x8040000000,
                                      .prefetchable_size = 0x40000000,
                                      .io = 0x9000,
                                      .io_size = 0x1000};
    set(SLOT_CTRL, 2, LISTEN | POWER_OFF);
    root_port_reset(&fx.port);
    unsigned told = fx.forwardings;
    root_port_setup(&fx.port, &s, &card);
    assert_int_equal(fx.forwardings, told);
    assert_int_equal(get(0x04, 2), 7);
    assert_int_equal(get(0x18, 4), 0x00050500);
    assert_int_equal(get(0x1c, 2), 0x9090);
    assert_int_equal(get(0x20, 4), 0xc030c020);
    assert_int_equal(get(0x24, 4), 0x7ff14001);
    assert_int_equal(get(0x28, 4), 0x80);
    assert_int_equal(get(0x2c, 4), 0x80);
    assert_int_equal(get(SLOT_STAT, 2), PRESENT);
    assert_true(root_port_powered(&fx.port));
    assert_int_equal(cfg(5, 0, 0, 4), 0x12348086);
    assert_true(root_port_passes_memory(&fx.port, 0xc0200000, 0x200000));
    assert_true(root_port_passes_memory(&fx.port, 0x8040000000, 0x40000000));
    assert_true(root_port_passes_io(&fx.port, 0x9000, 0x1000));
    // empty, and with closed windows
    const struct root_port_setup none = {.bus = 6};
    root_port_reset(&fx.port);
    root_port_setup(&fx.port, &none, NULL);
    assert_int_equal(get(SLOT_STAT, 2), 0);
    assert_int_equal(cfg(6, 0, 0, 4), 0xffffffff);
    root_port_insert(&fx.port, &card);
    assert_false(root_port_passes_memory(&fx.port, 0, 1));
    assert_false(root_port_passes_io(&fx.port, 0, 1));
    assert_int_equal(fx.messages, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        T(test_what_it_is),
        T(test_cycles_find_the_card),
        T(test_windows),
        T(test_one_message_for_what_is_pending),
        T(test_who_does_not_listen_hears_nothing),
        T(test_line),
        T(test_a_card_for_a_slot_without_power),
        T(test_down_and_up),
        T(test_as_firmware_leaves_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
