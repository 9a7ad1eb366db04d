// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/platform/io_space.c hv/platform/uart.c hv/platform/rtc.c hv/platform/power.c
// LINK: hv/platform/pci_host.c hv/platform/testdev.c
// UART, RTC, power and PCI host through the ports a guest uses, all in one io_space as in a guest.
#include "hv/platform/devices.h"
#include "hv/platform/pci_host.h"
#include "hv/platform/testdev.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
// cmocka wants these first
#include <cmocka.h>

static struct io_space io;
static struct guest_uart uart;
static struct guest_rtc rtc;
static struct guest_power power;
static struct guest_pci pci;
static struct {
    unsigned pin;
    bool pin_high;
    char text[128];
    unsigned size;
    bool irq, rtc;
    uint64_t now;
    unsigned resets;
    int off;
} seen;

static void output(void *ctx, char byte)
{
    (void)ctx;
    seen.text[seen.size++ % sizeof(seen.text)] = byte;
}
static void irq(void *ctx, bool level)
{
    (void)ctx;
    seen.irq = level;
}
static void rtc_irq(void *ctx, bool level)
{
    (void)ctx;
    seen.rtc = level;
}
static uint64_t unix_time(void *ctx)
{
    (void)ctx;
    return seen.now;
}
static void reset(void *ctx)
{
    (void)ctx;
    seen.resets++;
}
static void power_off(void *ctx, int code)
{
    (void)ctx;
    seen.off = code;
}

static uint32_t in(uint16_t port, unsigned size)
{
    uint32_t v = io_space_port_read(&io, port, size);
    return size == 4 ? v : v & ((1u << size * 8) - 1);
}
static void out(uint16_t port, unsigned size, uint32_t value)
{
    io_space_port_write(&io, port, size, value);
}

static void test_line(void *ctx, unsigned pin, bool high)
{
    (void)ctx;
    seen.pin = pin;
    seen.pin_high = high;
}

static int setup(void **state)
{
    (void)state;
    memset(&io, 0, sizeof(io));
    memset(&seen, 0, sizeof(seen));
    seen.off = -1;
    uart = (struct guest_uart){.output = output, .irq = irq};
    rtc = (struct guest_rtc){.unix_time = unix_time, .irq = rtc_irq};
    power = (struct guest_power){.reset = reset, .power_off = power_off};
    return guest_uart_init(&uart, &io, 0x3f8) || guest_rtc_init(&rtc, &io, 5ull << 30) ||
           guest_power_init(&power, &io) || guest_pci_init(&pci, &io);
}

static void test_uart_output(void **state)
{
    (void)state;
    assert_int_equal(in(0x3fd, 1), 0x60); // empty, ready
    for (const char *p = "hello"; *p; p++)
        out(0x3f8, 1, (uint8_t)*p);
    assert_int_equal(seen.size, 5);
    assert_memory_equal(seen.text, "hello", 5);
    out(0x3fb, 1, 0x83); // DLAB: divisor, not text
    out(0x3f8, 1, 12);
    out(0x3f9, 1, 1);
    assert_int_equal(in(0x3f8, 1), 12);
    assert_int_equal(in(0x3f9, 1), 1);
    out(0x3fb, 1, 3);
    assert_int_equal(seen.size, 5);
    assert_int_equal(in(0x3f9, 1), 0); // IER
    out(0x3ff, 1, 0xa5);
    assert_int_equal(in(0x3ff, 1), 0xa5); // scratch
    out(0x3f8, 2, 0x0241);                // a word: THR and IER
    assert_int_equal(seen.text[5], 'A');
    assert_int_equal(in(0x3f9, 1), 2);
}

static void config_select(uint16_t key, uint8_t *bytes, unsigned size)
{
    out(0x510, 2, key);
    for (unsigned i = 0; i < size; i++)
        bytes[i] = (uint8_t)in(0x511, 1);
}

/// As QEMU's hw/misc/pc-testdev.c and docs/specs/fw_cfg.rst have it.
static void test_test_device(void **state)
{
    (void)state;
    struct guest_testdev *d = NULL;
    const struct guest_testdev_ops ops = {.memory = 0x123456000ull, .cpus = 3, .line = test_line};
    uint8_t bytes[12];
    assert_int_equal(in(0x511, 1), 0xff); // nobody's
    assert_int_equal(guest_testdev_create(&d, &io, &ops), OK);
    config_select(0, bytes, 5);
    assert_memory_equal(bytes, "QEMU", 5);
    config_select(3, bytes, 10);
    assert_memory_equal(bytes, ((const uint8_t[]){0, 0x60, 0x45, 0x23, 1, 0, 0, 0, 0, 0}), 10);
    config_select(5, bytes, 2);
    assert_memory_equal(bytes, ((const uint8_t[]){3, 0}), 2);
    config_select(15, bytes, 2);
    assert_memory_equal(bytes, ((const uint8_t[]){3, 0}), 2);
    config_select(0x19, bytes, 4); // no files
    assert_memory_equal(bytes, ((const uint8_t[]){0, 0, 0, 0}), 4);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(in(0x511, 1), 0);

    out(0xe0, 4, 0x44332211);
    assert_int_equal(in(0xe2, 2), 0x4433);
    out(0xe1, 1, 0x55);
    assert_int_equal(in(0xe8, 4), 0x44335511);
    out(0xe4, 4, 7); // flushes
    out(0xe2, 4, 0);
    assert_int_equal(in(0xe0, 4), 0x44335511);

    out(0x2014, 1, 1);
    assert_true(seen.pin == 20 && seen.pin_high);
    out(0x2004, 4, 0);
    assert_true(seen.pin == 4 && !seen.pin_high);

    io_space_mmio_write(&io, 0xff000ffe, 8, 0x8877665544332211);
    assert_int_equal(io_space_mmio_read(&io, 0xff001001, 2), 0x5544);
    io_space_mmio_write(&io, 0xff00ffff, 1, 0xee);
    assert_int_equal(io_space_mmio_read(&io, 0xff00ffff, 1), 0xee);
    assert_int_equal(io_space_mmio_read(&io, 0xff010000, 1), 0xff);
    guest_testdev_destroy(d);
}

static void test_uart_input(void **state)
{
    (void)state;
    unsigned n = 0;
    out(0x3fa, 1, 1);
    assert_int_equal(in(0x3fa, 1), 0xc1); // FIFOs, nothing pending
    out(0x3f9, 1, 1);
    out(0x3fc, 1, 8); // OUT2
    while (guest_uart_input(&uart, (uint8_t)('a' + n % 26)) == OK)
        n++;
    assert_int_equal(n, sizeof(uart.fifo) - 1);
    assert_true(seen.irq);
    assert_int_equal(in(0x3fa, 1), 0xc4);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(in(0x3fd, 1) & 1, 1);
        assert_int_equal(in(0x3f8, 1), 'a' + i % 26);
    }
    assert_int_equal(in(0x3fd, 1) & 1, 0);
    assert_false(seen.irq);
    assert_int_equal(in(0x3f8, 1), 0);
    assert_int_equal(guest_uart_input(&uart, 'x'), OK);
    out(0x3fa, 1, 3); // clear
    assert_int_equal(in(0x3fd, 1) & 1, 0);
}

static void test_uart_transmit_interrupt(void **state)
{
    (void)state;
    out(0x3fc, 1, 8);
    out(0x3f9, 1, 2);
    assert_true(seen.irq); // empty from the start
    assert_int_equal(in(0x3fa, 1), 2);
    assert_false(seen.irq); // reading it took it away
    assert_int_equal(in(0x3fa, 1), 1);
    out(0x3f8, 1, 'x');
    assert_true(seen.irq);
    out(0x3fc, 1, 0); // OUT2 off: no line
    assert_false(seen.irq);
}

static void test_uart_loopback(void **state)
{
    (void)state;
    out(0x3fc, 1, 0x1a); // as drivers probe: loop, OUT2, RTS
    assert_int_equal(in(0x3fe, 1) & 0xf0, 0x90);
    out(0x3f8, 1, 'q');
    assert_int_equal(seen.size, 0);
    assert_int_equal(in(0x3f8, 1), 'q');
    for (unsigned i = 0; i < 70; i++)
        out(0x3f8, 1, 'z');
    assert_int_equal(in(0x3fd, 1) & 2, 2); // overrun, told once
    assert_int_equal(in(0x3fd, 1) & 2, 0);
    out(0x3fc, 1, 0);
    assert_int_equal(in(0x3fe, 1) & 0xf0, 0xb0);
}

static uint8_t cmos(uint8_t index)
{
    out(0x70, 1, index);
    return (uint8_t)in(0x71, 1);
}

static void test_rtc_time(void **state)
{
    (void)state;
    // date -u -d @N says so
    static const struct {
        uint64_t at;
        uint8_t century, year, month, day, weekday, hour, minute, second;
    } times[] = {
        {0, 0x19, 0x70, 0x01, 0x01, 5, 0x00, 0x00, 0x00},
        {951782399, 0x20, 0x00, 0x02, 0x28, 2, 0x23, 0x59, 0x59},
        {951782400, 0x20, 0x00, 0x02, 0x29, 3, 0x00, 0x00, 0x00},
        {1709210096, 0x20, 0x24, 0x02, 0x29, 5, 0x12, 0x34, 0x56},
        {1735689599, 0x20, 0x24, 0x12, 0x31, 3, 0x23, 0x59, 0x59},
        {4107542400, 0x21, 0x00, 0x03, 0x01, 2, 0x00, 0x00, 0x00},
    };
    for (unsigned i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        seen.now = times[i].at;
        assert_int_equal(cmos(0x32), times[i].century);
        assert_int_equal(cmos(9), times[i].year);
        assert_int_equal(cmos(8), times[i].month);
        assert_int_equal(cmos(7), times[i].day);
        assert_int_equal(cmos(6), times[i].weekday);
        assert_int_equal(cmos(4), times[i].hour);
        assert_int_equal(cmos(2), times[i].minute);
        assert_int_equal(cmos(0), times[i].second);
    }
    assert_int_equal(cmos(0x0a) & 0x80, 0); // never in progress
    assert_int_equal(cmos(0x0d), 0x80);
    seen.now = 1709210096;
    cmos(0x0b);
    out(0x71, 1, 0x04); // binary, 12 hours
    assert_int_equal(cmos(4), 12 | 0x80);
    assert_int_equal(cmos(2), 34);
    seen.now = 0;
    assert_int_equal(cmos(4), 12); // midnight
    cmos(2);
    out(0x71, 1, 5); // the clock is not the guest's
    assert_int_equal(cmos(2), 0);
}

static void test_rtc_interrupts(void **state)
{
    (void)state;
    seen.now = 1709210096; // 12:34:56
    guest_rtc_tick(&rtc);
    (void)cmos(0x0c);
    assert_int_equal(cmos(0x0c), 0);
    cmos(0x0b);
    out(0x71, 1, 0x12); // 24 hours, update interrupt
    guest_rtc_tick(&rtc);
    assert_false(seen.rtc);
    seen.now++;
    guest_rtc_tick(&rtc);
    assert_true(seen.rtc);
    assert_int_equal(cmos(0x0c), 0x90);
    assert_false(seen.rtc); // read: gone
    assert_int_equal(cmos(0x0c), 0);
    // alarm at 12:35:00, no update interrupt
    static const uint8_t alarm[] = {0x00, 0x35, 0x12};
    for (unsigned i = 0; i < 3; i++) {
        cmos((uint8_t)(1 + 2 * i));
        out(0x71, 1, alarm[i]);
    }
    cmos(0x0b);
    out(0x71, 1, 0x22);
    for (; seen.now < 1709210099; seen.now++) {
        guest_rtc_tick(&rtc);
        assert_false(seen.rtc);
    }
    seen.now += 3; // looked at late
    guest_rtc_tick(&rtc);
    assert_true(seen.rtc);
    assert_int_equal(cmos(0x0c), 0xb0);
    assert_false(seen.rtc);
    // every value of an hour
    cmos(5);
    out(0x71, 1, 0xff);
    seen.now += 3600 - 2 - 60;
    guest_rtc_tick(&rtc);
    assert_false(seen.rtc);
    seen.now += 60;
    guest_rtc_tick(&rtc);
    assert_true(seen.rtc);
    cmos(0x0b); // not enabled any more: still a flag, no interrupt
    out(0x71, 1, 0x02);
    assert_false(seen.rtc);
    assert_int_equal(cmos(0x0c), 0x30);
    // SET: no updates
    out(0x70, 1, 0x0b);
    out(0x71, 1, 0xb2);
    assert_int_equal(cmos(0x0b), 0xa2);
    seen.now += 5;
    guest_rtc_tick(&rtc);
    assert_int_equal(cmos(0x0c), 0);
    cmos(0x0b);
    out(0x71, 1, 0x32);
    seen.now++;
    guest_rtc_tick(&rtc);
    assert_true(seen.rtc);
    guest_rtc_reset(&rtc);
    assert_false(seen.rtc);
    assert_int_equal(cmos(0x0b), 0x02);
    assert_int_equal(cmos(1), 0x00); // the alarm stays
    assert_int_equal(cmos(3), 0x35);
}

static void test_rtc_memory(void **state)
{
    (void)state;
    assert_int_equal(cmos(0x15) | cmos(0x16) << 8, 640);
    assert_int_equal(cmos(0x17) | cmos(0x18) << 8, 0xffff);
    assert_int_equal(cmos(0x30) | cmos(0x31) << 8, 0xffff);
    assert_int_equal(cmos(0x34) | cmos(0x35) << 8, (0xc0000000 - (16 << 20)) >> 16);
    assert_int_equal(cmos(0x5b) | cmos(0x5c) << 8 | cmos(0x5d) << 16, (2ull << 30) >> 16);
    cmos(0x40);
    out(0x71, 1, 0x5a);                 // RAM
    assert_int_equal(cmos(0xc0), 0x5a); // bit 7 is not part of the index
    assert_int_equal(in(0x70, 1), 0xff);
}

static void test_reset_ports(void **state)
{
    (void)state;
    out(0xcf9, 1, 2);
    assert_int_equal(seen.resets, 0);
    assert_int_equal(in(0xcf9, 1), 2);
    out(0xcf9, 1, 6);
    assert_int_equal(seen.resets, 1);
    out(0x64, 1, 0xfe);
    assert_int_equal(seen.resets, 2);
    out(0x64, 1, 0xd1);
    out(0x64, 1, 0xff); // pulses nothing
    assert_int_equal(seen.resets, 2);
    assert_int_equal(in(0x64, 1) & 2, 0);
    out(0x92, 1, 2);
    assert_int_equal(seen.resets, 2);
    out(0x92, 1, 3);
    assert_int_equal(seen.resets, 3);
    assert_int_equal(in(0x92, 1), 2);
    out(0x80, 1, 0x55); // POST and delay: nothing happens, and nobody misses an owner
    out(0xed, 1, 0);
    assert_int_equal(io.unowned_port_writes, 0);
}

static void test_power_off_ports(void **state)
{
    (void)state;
    for (const char *p = "ShutShutdow"; *p; p++)
        out(0x8900, 1, (uint8_t)*p);
    assert_int_equal(seen.off, -1);
    out(0x8900, 1, 'n');
    assert_int_equal(seen.off, 0);
    out(0xf4, 1, 17);
    assert_int_equal(seen.off, 17);
}

// --- PCI host ---

static struct {
    uint16_t offset;
    unsigned size, reads, writes;
    uint32_t value;
} fn;

static uint32_t fn_read(void *dev, uint16_t offset, unsigned size)
{
    (void)dev;
    assert_int_equal(offset % size, 0);
    assert_true(offset + size <= 4096);
    fn.offset = offset;
    fn.size = size;
    fn.reads++;
    return 0xdd000000 | (uint32_t)offset << 8 | offset;
}

static void fn_write(void *dev, uint16_t offset, unsigned size, uint32_t value)
{
    (void)dev;
    assert_int_equal(offset % size, 0);
    fn.offset = offset;
    fn.size = size;
    fn.value = value;
    fn.writes++;
}

static void add_function(void)
{
    memset(&fn, 0, sizeof(fn));
    struct guest_pci_function f = {.bus = 2, .devfn = 0x1b, .config_read = fn_read, .config_write = fn_write};
    assert_int_equal(guest_pci_add(&pci, &f), OK);
    assert_int_equal(guest_pci_add(&pci, &f), ERR_BUSY);
}

static void test_pci_mechanism_1(void **state)
{
    (void)state;
    add_function();
    out(0xcf8, 4, 0x80000000);
    assert_int_equal(in(0xcf8, 4), 0x80000000);
    assert_int_equal(in(0xcfc, 4), 0x29c08086);
    assert_int_equal(in(0xcfe, 2), 0x29c0);
    assert_int_equal(in(0xcfd, 1), 0x80);
    out(0xcf8, 4, 0x80000060);
    assert_int_equal(in(0xcfc, 4), (uint32_t)GUEST_ECAM_BASE | 1);
    out(0xcf8, 4, 0x80021b13); // low bits are not part of the address
    assert_int_equal(in(0xcf8, 4), 0x80021b10);
    assert_int_equal(in(0xcfc, 4), 0xdd001010);
    (void)in(0xcfe, 1);
    assert_int_equal(fn.offset, 0x12);
    assert_int_equal(fn.size, 1);
    out(0xcfc, 2, 0xbeef);
    assert_int_equal(fn.value, 0xbeef);
    assert_int_equal(fn.offset, 0x10);
    unsigned reads = fn.reads;
    (void)in(0xcfd, 2); // not aligned: as bytes
    assert_int_equal(fn.reads, reads + 2);
    out(0xcf8, 4, 0x00021b10); // not enabled
    assert_int_equal(in(0xcfc, 4), 0xffffffff);
    out(0xcf8, 4, 0x80021a10); // absent
    assert_int_equal(in(0xcfc, 2), 0xffff);
    assert_int_equal(pci.absent_reads, 1);
    out(0xcf8, 2, 0x1234); // narrower accesses are not CONFIG_ADDRESS
    out(0xcf8, 1, 0x12);
    assert_int_equal(in(0xcf8, 4), 0x80021a10);
    assert_int_equal(in(0xcf8, 1), 0xff);
    out(0xcf9, 1, 6); // and this is another register
    assert_int_equal(seen.resets, 1);
    assert_int_equal(in(0xcf8, 4), 0x80021a10);
    guest_pci_remove(&pci, 2, 0x1b);
    out(0xcf8, 4, 0x80021b10);
    assert_int_equal(in(0xcfc, 4), 0xffffffff);
}

static void test_pci_ecam(void **state)
{
    (void)state;
    add_function();
    uint64_t base = GUEST_ECAM_BASE + (2 << 20) + (0x1b << 12);
    assert_int_equal(io_space_mmio_read(&io, base + 0x104, 4), 0xdd010504);
    assert_int_equal(io_space_mmio_read(&io, base + 0xffe, 2), 0xfffe);
    assert_int_equal(fn.size, 2);
    unsigned reads = fn.reads;
    (void)io_space_mmio_read(&io, base + 0x100, 8); // two doublewords
    assert_int_equal(fn.reads, reads + 2);
    reads = fn.reads;
    (void)io_space_mmio_read(&io, base + 0x101, 4); // not aligned: 1 + 2, and 1 of the next doubleword
    assert_int_equal(fn.reads, reads + 3);
    io_space_mmio_write(&io, base + 0x10, 4, 0x12345678);
    assert_int_equal(fn.value, 0x12345678);
    io_space_mmio_write(&io, base + 0xffc, 8,
                        0x1122334455667788); // the upper half belongs to nobody's function
    assert_int_equal(fn.value, 0x55667788);
    assert_int_equal(io_space_mmio_read(&io, GUEST_ECAM_BASE, 4), 0x29c08086);
    assert_int_equal(io_space_mmio_read(&io, GUEST_ECAM_BASE + GUEST_ECAM_SIZE - 4, 4), 0xffffffff);
}

static void test_pci_table_full(void **state)
{
    (void)state;
    struct guest_pci_function f = {.config_read = fn_read, .config_write = fn_write};
    for (unsigned i = 1; i < GUEST_PCI_FUNCTIONS_MAX; i++) {
        f.devfn = (uint8_t)i;
        assert_int_equal(guest_pci_add(&pci, &f), OK);
    }
    f.devfn = 0xff;
    assert_int_equal(guest_pci_add(&pci, &f), ERR_NOMEM);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        T(test_uart_output),    T(test_uart_input),      T(test_test_device), T(test_uart_transmit_interrupt),
        T(test_uart_loopback),  T(test_rtc_time),        T(test_rtc_memory),  T(test_rtc_interrupts),
        T(test_reset_ports),    T(test_power_off_ports), T(test_pci_ecam),    T(test_pci_mechanism_1),
        T(test_pci_table_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
