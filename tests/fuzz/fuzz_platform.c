// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/platform/lapic.c hv/platform/ioapic.c hv/platform/pic.c hv/platform/pit.c hv/platform/rtc.c
// LINK: hv/platform/uart.c hv/platform/pm.c hv/platform/power.c hv/platform/io_space.c
// LINK: hv/platform/testdev.c
//
// A guest that does anything with the devices every PC has, while time passes, by steps of a nanosecond or of
// days. No undefined behaviour, nothing that takes long, and what comes out of them is sound: vectors from 16
// on, only to processors there are, timers that are due in the future.
#include "hv/platform/devices.h"
#include "hv/platform/ioapic.h"
#include "hv/platform/lapic.h"
#include "hv/platform/pic.h"
#include "hv/platform/pit.h"
#include "hv/platform/pm.h"
#include "hv/platform/testdev.h"
#include <stdlib.h>
#include <string.h>

#define CPUS 3u

static struct io_space io;
static struct lapic lapics[CPUS];
static struct guest_ioapic ioapic;
static struct guest_pic pic;
static struct guest_pit pit;
static struct guest_rtc rtc;
static struct guest_uart uart;
static struct guest_pm pm;
static struct guest_power power;
static struct guest_testdev *testdev;
static uint64_t now;
static unsigned depth;

static void need(bool condition)
{
    if (!condition)
        abort();
}

static void on_ipi(void *ctx, uint32_t id, enum ipi_kind kind, uint8_t vector)
{
    (void)ctx;
    need(id < CPUS && kind <= IPI_STARTUP);
    if (kind == IPI_FIXED)
        lapic_set_irr(&lapics[id], vector, false);
    else if (kind == IPI_INIT)
        lapic_init(&lapics[id]);
}

static void on_eoi(void *ctx, uint8_t vector)
{
    (void)ctx;
    need(++depth < 4); // an end does not end another
    guest_ioapic_eoi(&ioapic, vector);
    depth--;
}

static struct lapic *on_peer(void *ctx, uint32_t id)
{
    (void)ctx;
    return id < CPUS ? &lapics[id] : NULL;
}

static void on_message(void *ctx, const struct interrupt_message *m)
{
    (void)ctx;
    for (unsigned i = 0; i < CPUS; i++) {
        if (lapic_receives(&lapics[i], m->destination, m->logical) && m->delivery <= 1)
            lapic_set_irr(&lapics[i], m->vector, m->level);
    }
}

static uint64_t on_now(void *ctx)
{
    (void)ctx;
    return now;
}

static uint64_t on_clock(void *ctx)
{
    (void)ctx;
    return now / 1000000000;
}

static void on_irq0(void *ctx, bool high)
{
    (void)ctx;
    guest_pic_set(&pic, 0, high);
    guest_ioapic_set(&ioapic, 2, high);
}

static void on_irq4(void *ctx, bool high)
{
    (void)ctx;
    guest_pic_set(&pic, 4, high);
    guest_ioapic_set(&ioapic, 4, high);
}

static void on_irq8(void *ctx, bool high)
{
    (void)ctx;
    guest_pic_set(&pic, 8, high);
    guest_ioapic_set(&ioapic, 8, high);
}

static void on_output(void *ctx, char byte)
{
    (void)ctx, (void)byte;
}

static void on_off(void *ctx, int code)
{
    (void)ctx, (void)code;
}

static void nothing(void *ctx)
{
    (void)ctx;
}

static void on_intr(void *ctx, bool on)
{
    (void)ctx, (void)on;
}

static const struct lapic_ops lapic_ops = {
    .ipi = on_ipi, .eoi = on_eoi, .peer = on_peer, .cpu_count = CPUS, .address_bits = 46};

static void on_test_line(void *ctx, unsigned pin, bool high)
{
    (void)ctx;
    guest_ioapic_set(&ioapic, pin, high);
}

static const struct guest_testdev_ops testdev_ops = {
    .memory = 5ull << 30, .cpus = CPUS, .line = on_test_line};

static void make(void)
{
    memset(&io, 0, sizeof io);
    now = 1000000000000;
    depth = 0;
    ioapic = (struct guest_ioapic){.deliver = on_message};
    pic = (struct guest_pic){.intr = on_intr};
    pit = (struct guest_pit){.now_ns = on_now, .irq0 = on_irq0, .changed = nothing};
    rtc = (struct guest_rtc){.unix_time = on_clock, .irq = on_irq8};
    uart = (struct guest_uart){.output = on_output, .irq = on_irq4};
    pm = (struct guest_pm){.power_off = on_off, .now_ns = on_now};
    power = (struct guest_power){.reset = nothing, .power_off = on_off};
    for (unsigned i = 0; i < CPUS; i++) {
        lapics[i] = (struct lapic){.bus_divisor = 1};
        lapic_reset(&lapics[i], i, i == 0, &lapic_ops);
        lapic_virtual_wire(&lapics[i]);
    }
    need(guest_ioapic_init(&ioapic, &io) == OK && guest_pic_init(&pic, &io) == OK &&
         guest_pit_init(&pit, &io) == OK && guest_rtc_init(&rtc, &io, 5ull << 30) == OK &&
         guest_uart_init(&uart, &io, 0x3f8) == OK && guest_pm_init(&pm, &io) == OK &&
         guest_power_init(&power, &io) == OK && guest_testdev_create(&testdev, &io, &testdev_ops) == OK);
}

/// As the scheduler does.
static void pass(uint64_t ns)
{
    now += ns;
    for (unsigned i = 0; i < CPUS; i++) {
        uint64_t due = lapic_tick(&lapics[i], now);
        need(due == 0 || due > now);
        int vector = lapic_pending(&lapics[i]);
        need(vector < 256 && (vector < 0 || vector >= 16));
        if (vector >= 0 && now & 1)
            lapic_accept(&lapics[i], (uint8_t)vector);
    }
    need(guest_pit_tick(&pit) > now);
    guest_rtc_tick(&rtc);
    if (pic.intr_now && now & 2)
        (void)guest_pic_acknowledge(&pic);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint16_t ports[] = {0x20, 0xa0,  0x40,  0x43, 0x70, 0x3f8, 0x4d0, 0x61,
                                     0x60, 0x600, 0xcf9, 0x92, 0xe0, 0x510, 0x2000};
    make();
    for (; size >= 8; data += 8, size -= 8) {
        struct lapic *l = &lapics[data[1] % CPUS];
        unsigned width = 1u << (data[1] >> 6) % 3;
        uint16_t a;
        uint32_t value;
        uint64_t got;
        memcpy(&a, data + 2, 2);
        memcpy(&value, data + 4, 4);
        uint16_t port = data[1] & 0x20 ? a : (uint16_t)(ports[(a & 0xff) % 15] + (a >> 8 & 7));
        switch (data[0] & 15) {
        case 0:
        case 1:
        case 2:
            io_space_port_write(&io, port, width, value);
            break;
        case 3:
            (void)io_space_port_read(&io, port, width);
            break;
        case 4:
        case 5:
            io_space_mmio_write(&io, GUEST_IOAPIC_BASE + (a & 0x10), 4,
                                data[1] & 0x20 ? value : value & 0xff);
            break;
        case 6:
            (void)io_space_mmio_read(&io, GUEST_IOAPIC_BASE + (a & 0xfff), width);
            io_space_mmio_write(&io, 0xff000000ull + a, width, value);
            (void)io_space_mmio_read(&io, 0xff000000ull + a, 8);
            break;
        case 7:
        case 8:
            lapic_write(l, a & 0xff0, value, now);
            break;
        case 9:
            (void)lapic_read(l, a & 0xff0, now);
            break;
        case 10:
            (void)lapic_msr_write(l, data[1] & 0x20 ? 0x6e0 : 0x800u + (a & 0x3f),
                                  data[1] & 0x10 ? value * 0x100000001ull : value, now);
            break;
        case 11:
            (void)lapic_msr_read(l, data[1] & 0x20 ? 0x1b : 0x800u + (a & 0xff), now, &got);
            break;
        case 12:
            (void)lapic_msr_write(l, 0x1b, LAPIC_BASE | (value & 0xf00), now);
            break;
        case 13:
            guest_ioapic_set(&ioapic, a % 32, value & 1);
            guest_pic_set(&pic, a % 16, value & 2);
            break;
        case 14:
            (void)(guest_uart_input(&uart, data[4]) == OK);
            break;
        default:
            pass(data[1] & 0x80 ? value * 100000ull : data[1] & 0x40 ? value : value & 0xffff);
            break;
        }
    }
    pass(1);
    guest_testdev_destroy(testdev);
    return 0;
}
