// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/platform/ioapic.c hv/platform/pm.c hv/platform/io_space.c
#include "hv/platform/ioapic.h"
#include "hv/platform/pm.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct io_space io;
static struct guest_ioapic apic;
static struct interrupt_message sent[8];
static unsigned sent_count;

static void deliver(void *ctx, const struct interrupt_message *m)
{
    assert_ptr_equal(ctx, &apic);
    sent[sent_count++ % 8] = *m;
}

static int setup(void **state)
{
    (void)state;
    memset(&io, 0, sizeof io);
    apic = (struct guest_ioapic){.deliver = deliver, .ctx = &apic};
    sent_count = 0;
    return guest_ioapic_init(&apic, &io) == OK ? 0 : -1;
}

static void write_register(unsigned index, uint32_t value)
{
    io_space_mmio_write(&io, GUEST_IOAPIC_BASE, 4, index);
    io_space_mmio_write(&io, GUEST_IOAPIC_BASE + 0x10, 4, value);
}

static uint32_t read_register(unsigned index)
{
    io_space_mmio_write(&io, GUEST_IOAPIC_BASE, 4, index);
    return (uint32_t)io_space_mmio_read(&io, GUEST_IOAPIC_BASE + 0x10, 4);
}

static void program(unsigned pin, uint32_t low, uint8_t destination)
{
    write_register(0x11 + pin * 2, (uint32_t)destination << 24);
    write_register(0x10 + pin * 2, low);
}

static void registers(void **state)
{
    (void)state;
    assert_int_equal(read_register(1) >> 16 & 0xff, GUEST_IOAPIC_PINS - 1);
    assert_int_equal(read_register(0x10), 0x10000); // masked
    program(3, 0xffffffff, 7);
    assert_int_equal(read_register(0x16) & 0x5000, 0); // read-only bits
    assert_int_equal(read_register(0x17), 0x07000000);
    assert_int_equal(read_register(0x10 + GUEST_IOAPIC_PINS * 2), 0xffffffff);
}

static void edge(void **state)
{
    (void)state;
    guest_ioapic_set(&apic, 4, true); // masked: lost, as on the real one
    assert_int_equal(sent_count, 0);
    guest_ioapic_set(&apic, 4, false);
    program(4, 0x31, 2);
    guest_ioapic_set(&apic, 4, true);
    guest_ioapic_set(&apic, 4, true); // no edge
    assert_int_equal(sent_count, 1);
    assert_int_equal(sent[0].vector, 0x31);
    assert_int_equal(sent[0].destination, 2);
    assert_false(sent[0].level);
    guest_ioapic_set(&apic, 4, false);
    guest_ioapic_set(&apic, 4, true);
    assert_int_equal(sent_count, 2);
}

static void level(void **state)
{
    (void)state;
    program(16, 0x8851, 1); // level, logical
    guest_ioapic_set(&apic, 16, true);
    guest_ioapic_set(&apic, 16, true);
    assert_int_equal(sent_count, 1);
    assert_true(sent[0].level && sent[0].logical);
    guest_ioapic_eoi(&apic, 0x52); // another vector
    assert_int_equal(sent_count, 1);
    guest_ioapic_eoi(&apic, 0x51); // still high: again
    assert_int_equal(sent_count, 2);
    guest_ioapic_set(&apic, 16, false);
    guest_ioapic_eoi(&apic, 0x51);
    assert_int_equal(sent_count, 2);
    program(16, 0x18851, 1); // masked while high, unmasked later
    guest_ioapic_set(&apic, 16, true);
    assert_int_equal(sent_count, 2);
    program(16, 0x8851, 1);
    assert_int_equal(sent_count, 3);
    guest_ioapic_set(&apic, GUEST_IOAPIC_PINS, true); // no such pin
    assert_int_equal(sent_count, 3);
}

static unsigned ended_pin;

static void lower(void *ctx, unsigned pin)
{
    guest_ioapic_set(ctx, ended_pin = pin, false);
}

/// Who drives a pin hears of the end of its interrupt before the pin is looked at again.
static void ended(void **state)
{
    (void)state;
    program(17, 0x8061, 0);
    unsigned before = sent_count;
    guest_ioapic_set(&apic, 17, true);
    assert_int_equal(sent_count, before + 1);
    void *ctx = apic.ctx;
    apic.ended = lower;
    apic.ctx = &apic;
    guest_ioapic_eoi(&apic, 0x62);
    assert_int_equal(ended_pin, 0);
    guest_ioapic_eoi(&apic, 0x61);
    apic.ended = NULL;
    apic.ctx = ctx;
    assert_int_equal(ended_pin, 17);
    assert_int_equal(sent_count, before + 1); // low again: no second message
}

static int powered_off;
static uint64_t clock_ns;

static void power_off(void *ctx, int code)
{
    (void)ctx;
    powered_off += code == 0;
}

static uint64_t now_ns(void *ctx)
{
    (void)ctx;
    return clock_ns;
}

static void power_management(void **state)
{
    (void)state;
    struct guest_pm pm = {.power_off = power_off, .now_ns = now_ns};
    assert_int_equal(guest_pm_init(&pm, &io), OK);
    assert_int_equal(io_space_port_read(&io, GUEST_PM1_CONTROL, 2), 1); // ACPI mode
    io_space_port_write(&io, GUEST_PM1_CONTROL, 2, 0x3401);             // S5's enable, another type
    assert_int_equal(powered_off, 0);
    io_space_port_write(&io, GUEST_PM1_CONTROL, 2, 0x2001);
    assert_int_equal(powered_off, 1);
    assert_int_equal(io_space_port_read(&io, GUEST_PM1_CONTROL, 2) & 0x2000, 0); // write-only
    io_space_port_write(&io, GUEST_PM1_EVENT + 2, 2, 0x0120);
    assert_int_equal(io_space_port_read(&io, GUEST_PM1_EVENT, 4), 0x01200000);
    clock_ns = 1000000000;
    assert_int_equal(io_space_port_read(&io, GUEST_PM_TIMER, 4), 3579545);
    clock_ns = 5000000000;
    assert_int_equal(io_space_port_read(&io, GUEST_PM_TIMER, 4), 5 * 3579545 % (1 << 24));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(registers, setup),
        cmocka_unit_test_setup(edge, setup),
        cmocka_unit_test_setup(level, setup),
        cmocka_unit_test_setup(ended, setup),
        cmocka_unit_test_setup(power_management, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
