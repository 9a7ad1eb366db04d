// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/platform/pit.c hv/platform/io_space.c
#include "hv/platform/pit.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct io_space io;
static struct guest_pit pit;
static uint64_t clock_ns;
static bool line;
static unsigned rises, falls, programmed;

static uint64_t now_ns(void *ctx)
{
    assert_ptr_equal(ctx, &pit);
    return clock_ns;
}

static void on_irq0(void *ctx, bool high)
{
    assert_ptr_equal(ctx, &pit);
    assert_int_not_equal(high, line); // edges only
    line = high;
    rises += high;
    falls += !high;
}

static void on_changed(void *ctx)
{
    assert_ptr_equal(ctx, &pit);
    programmed++;
}

/// To the first nanosecond of clock n.
static void at(uint64_t n)
{
    clock_ns = (n * 1000000000 + PIT_HZ - 1) / PIT_HZ;
}

static uint64_t start; // clock of the test's beginning

/// To clock n after `start`.
static void to(uint64_t n)
{
    at(start + n);
}

static void out(uint16_t port, uint32_t value)
{
    io_space_port_write(&io, port, 1, value);
}

static uint32_t in(uint16_t port)
{
    return io_space_port_read(&io, port, 1);
}

static void program(unsigned channel, unsigned mode, bool bcd, uint32_t value)
{
    out(0x43, channel << 6 | 0x30 | mode << 1 | bcd);
    out((uint16_t)(0x40 + channel), value & 0xff);
    out((uint16_t)(0x40 + channel), value >> 8);
}

static uint32_t count(unsigned channel)
{
    out(0x43, channel << 6);
    uint32_t low = in((uint16_t)(0x40 + channel));
    return low | in((uint16_t)(0x40 + channel)) << 8;
}

static uint32_t status(unsigned channel)
{
    out(0x43, 0xe0 | 2u << channel);
    return in((uint16_t)(0x40 + channel));
}

static bool output(unsigned channel)
{
    return (status(channel) & 0x80) != 0;
}

static bool null_count(unsigned channel)
{
    return (status(channel) & 0x40) != 0;
}

static void gate2(bool high)
{
    out(0x61, high);
}

static int setup(void **state)
{
    (void)state;
    memset(&io, 0, sizeof io);
    line = false;
    rises = falls = programmed = 0;
    start = 5 * (uint64_t)PIT_HZ + 77;
    to(0);
    pit = (struct guest_pit){.now_ns = now_ns, .irq0 = on_irq0, .changed = on_changed, .ctx = &pit};
    return guest_pit_init(&pit, &io) == OK ? 0 : -1;
}

static void power_on(void **state)
{
    (void)state;
    assert_int_equal(status(0) & 0x3f, 0x36);
    assert_int_equal(status(1) & 0x3f, 0x14);
    assert_int_equal(status(2) & 0x3f, 0x36);
    assert_true(null_count(2));
    assert_true(line);
    to(1 + 65536);
    (void)guest_pit_tick(&pit);
    assert_int_equal(rises, 2);
    guest_pit_reset(&pit);
    assert_int_equal(in(0x61) & 0xcf, 0x00 | 0); // OUT2 is bit 5, refresh bit 4
    assert_int_equal(in(0x43), 0xff);
}

static void mode0(void **state)
{
    (void)state;
    out(0x43, 0x30);
    assert_false(output(0));
    assert_false(line);
    assert_int_equal(guest_pit_tick(&pit), PIT_NEVER);
    out(0x40, 5);
    to(1000);
    assert_true(null_count(0)); // half a count
    out(0x40, 0);
    assert_true(null_count(0));
    start += 1000;
    to(1);
    assert_false(null_count(0));
    for (unsigned n = 1; n < 6; n++) { // low for N + 1 clocks after the count was written
        to(n);
        assert_int_equal(count(0), 6 - n);
        assert_false(output(0));
    }
    unsigned before = rises;
    to(6);
    assert_int_equal(count(0), 0);
    assert_true(output(0));
    assert_int_equal(rises, before + 1);
    to(7);
    assert_int_equal(count(0), 0xffff); // goes on, and the output stays
    to(6 + 3 * 65536);
    assert_int_equal(count(0), 0);
    assert_true(output(0));
    assert_int_equal(rises, before + 1);
    assert_int_equal(guest_pit_tick(&pit), PIT_NEVER);
    // the first byte of a new count stops it and takes the output down at once
    out(0x40, 9);
    assert_false(line);
    uint32_t stopped = count(0);
    to(7 + 3 * 65536 + 100);
    assert_int_equal(count(0), stopped);
    out(0x40, 1);
    to(7 + 3 * 65536 + 101);
    assert_int_equal(count(0), 0x109);
}

static void mode0_gate(void **state)
{
    (void)state;
    gate2(false);
    program(2, 0, false, 10);
    to(50);
    assert_int_equal(count(2), 10); // loaded, and waits
    gate2(true);
    to(54);
    assert_int_equal(count(2), 6);
    gate2(false);
    to(500);
    assert_int_equal(count(2), 6);
    assert_int_equal(in(0x61) & 0x20, 0);
    gate2(true);
    to(505);
    assert_int_equal(in(0x61) & 0x20, 0);
    to(506);
    assert_int_equal(in(0x61) & 0x21, 0x21);
}

static void mode1(void **state)
{
    (void)state;
    gate2(false);
    program(2, 1, false, 20);
    to(100);
    assert_true(output(2)); // waits for its trigger
    assert_true(null_count(2));
    gate2(true);
    assert_true(output(2));
    to(101);
    assert_false(output(2));
    assert_int_equal(count(2), 20);
    gate2(false); // only the rise matters
    to(110);
    assert_int_equal(count(2), 11);
    gate2(true); // again: 20 from here
    to(130);
    assert_false(output(2));
    assert_int_equal(count(2), 1);
    to(131);
    assert_true(output(2));
    to(132);
    assert_int_equal(count(2), 0xffff);
    out(0x42, 7);
    out(0x42, 0);
    to(140);
    assert_true(output(2));
    assert_true(null_count(2)); // till the next trigger
    gate2(false);
    gate2(true);
    to(141);
    assert_int_equal(count(2), 7);
    to(147);
    assert_false(output(2));
    to(148);
    assert_true(output(2));
}

static void mode2(void **state)
{
    (void)state;
    program(0, 2, false, 4);
    unsigned before = rises;
    static const uint8_t counts[] = {4, 3, 2, 1};
    for (unsigned n = 1; n < 40; n++) {
        to(n);
        assert_int_equal(count(0), counts[(n - 1) % 4]);
        assert_int_equal(output(0), (n - 1) % 4 != 3);
        assert_int_equal(rises - before, (n - 1) / 4);
    }
    to(1 + 4 * 1000000); // unwatched for long: one edge
    before = rises;
    (void)guest_pit_tick(&pit);
    assert_int_equal(rises, before + 1);
    assert_int_equal(count(0), 4);
    // a new count waits for the end of the period
    out(0x40, 6);
    out(0x40, 0);
    to(1 + 4 * 1000000 + 3);
    assert_int_equal(count(0), 1);
    assert_true(null_count(0));
    to(1 + 4 * 1000000 + 4);
    assert_int_equal(count(0), 6);
    assert_false(null_count(0));
    // 0 is 65536, 1 is not allowed
    program(0, 2, false, 0);
    start += 1 + 4 * 1000000 + 4;
    to(1);
    assert_int_equal(count(0), 0);
    to(2);
    assert_int_equal(count(0), 0xffff);
    before = rises;
    to(65537);
    (void)guest_pit_tick(&pit);
    assert_int_equal(rises, before + 1);
    program(0, 2, false, 1);
    (void)guest_pit_tick(&pit);
    to(70000);
    (void)guest_pit_tick(&pit);
}

static void mode2_gate(void **state)
{
    (void)state;
    gate2(true);
    program(2, 2, false, 100);
    to(100);
    assert_false(output(2)); // the last clock
    gate2(false);
    assert_true(output(2)); // at once
    to(150);
    assert_true(output(2));
    gate2(true);
    to(151);
    assert_int_equal(count(2), 100); // from the beginning
    to(250);
    assert_false(output(2));
    to(251);
    assert_true(output(2));
    out(0x42, 30); // a trigger loads the new count
    out(0x42, 0);
    to(260);
    gate2(false);
    gate2(true);
    to(261);
    assert_int_equal(count(2), 30);
}

static void mode3(void **state)
{
    (void)state;
    static const uint8_t even[] = {6, 4, 2, 6, 4, 2}, odd[] = {4, 2, 0, 4, 2};
    program(0, 3, false, 6);
    for (unsigned n = 1; n < 40; n++) {
        to(n);
        assert_int_equal(output(0), (n - 1) % 6 < 3);
        assert_int_equal(count(0), even[(n - 1) % 6]);
    }
    start += 40;
    to(0);
    program(0, 3, false, 5);
    unsigned before = rises;
    for (unsigned n = 1; n < 40; n++) {
        to(n);
        assert_int_equal(output(0), (n - 1) % 5 < 3);
        assert_int_equal(count(0), odd[(n - 1) % 5]);
        assert_int_equal(rises - before, (n - 1) / 5);
    }
    // a new count begins with the next half
    start += 41;
    to(0);
    assert_int_equal(count(0), 4);
    out(0x40, 10);
    out(0x40, 0);
    to(2);
    assert_true(output(0));
    to(3);
    assert_false(output(0));
    assert_int_equal(count(0), 10);
    to(7);
    assert_false(output(0));
    to(8);
    assert_true(output(0));
    // gate
    gate2(true);
    start += 8;
    program(2, 3, false, 8);
    to(6);
    assert_false(output(2));
    gate2(false);
    assert_true(output(2));
    to(20);
    assert_true(output(2));
    gate2(true);
    to(21);
    assert_int_equal(count(2), 8);
    assert_true(output(2));
    to(25);
    assert_false(output(2));
    // the largest
    start += 25;
    program(2, 3, false, 0);
    to(1);
    assert_int_equal(count(2), 0);
    to(1 + 32767);
    assert_int_equal(count(2), 2);
    assert_true(output(2));
    to(1 + 32768);
    assert_false(output(2));
}

static void mode4(void **state)
{
    (void)state;
    program(0, 4, false, 3);
    assert_true(output(0));
    unsigned before = rises;
    for (unsigned n = 1; n < 30; n++) { // low for one clock, N + 1 after the write
        to(n);
        assert_int_equal(output(0), n != 4);
        assert_int_equal(count(0), (4 - n) & 0xffff);
    }
    assert_int_equal(rises, before + 1);
    out(0x40, 10); // triggered again by software
    to(32);
    out(0x40, 0);
    to(33);
    assert_int_equal(count(0), 10);
    to(43);
    assert_false(output(0));
    to(44);
    assert_true(output(0));
    start += 44;
    gate2(true);
    program(2, 4, false, 10);
    to(5);
    gate2(false);
    to(50);
    assert_int_equal(count(2), 6);
    assert_true(output(2));
    gate2(true);
    to(56);
    assert_false(output(2));
    to(57);
    assert_true(output(2));
}

static void mode5(void **state)
{
    (void)state;
    gate2(false);
    program(2, 5, false, 10);
    to(100);
    assert_true(output(2));
    gate2(true);
    to(101);
    assert_int_equal(count(2), 10);
    gate2(false);
    to(105);
    assert_int_equal(count(2), 6);
    gate2(true);
    to(106);
    assert_int_equal(count(2), 10); // triggered again
    to(115);
    assert_true(output(2));
    to(116);
    assert_false(output(2));
    to(117);
    assert_true(output(2));
    to(10000);
    assert_true(output(2));
}

static void mode_aliases(void **state)
{
    (void)state;
    program(0, 6, false, 4); // X10
    to(4);
    assert_int_equal(count(0), 1);
    assert_false(output(0));
    assert_int_equal(status(0) & 0x3f, 0x3c);
    program(0, 7, false, 4); // X11
    to(5);
    assert_int_equal(count(0), 4);
    to(7);
    assert_false(output(0));
}

static void decimal(void **state)
{
    (void)state;
    program(0, 2, true, 0x1000);
    to(1);
    assert_int_equal(count(0), 0x1000);
    to(2);
    assert_int_equal(count(0), 0x0999);
    to(1 + 765);
    assert_int_equal(count(0), 0x0235);
    to(1 + 1000);
    assert_int_equal(count(0), 0x1000);
    start += 1001;
    program(0, 0, true, 0x0000); // 10000
    unsigned before = rises;
    to(2);
    assert_int_equal(count(0), 0x9999);
    to(10000);
    (void)guest_pit_tick(&pit);
    assert_int_equal(rises, before);
    to(10001);
    (void)guest_pit_tick(&pit);
    assert_int_equal(rises, before + 1);
    to(10002);
    assert_int_equal(count(0), 0x9999);
}

static void byte_formats(void **state)
{
    (void)state;
    out(0x43, 0x14); // low byte only
    out(0x40, 200);
    to(1);
    assert_int_equal(in(0x40), 200);
    assert_int_equal(in(0x40), 200);
    to(11);
    out(0x43, 0x00);
    to(20);
    assert_int_equal(in(0x40), 190);
    assert_int_equal(in(0x40), 181); // the latch had one byte
    out(0x43, 0x24);                 // high byte only
    out(0x40, 0x12);
    to(21);
    assert_int_equal(in(0x40), 0x12);
    to(22);
    assert_int_equal(in(0x40), 0x11);
    program(0, 2, false, 0x1234); // both, unlatched
    to(23);
    assert_int_equal(in(0x40), 0x34);
    assert_int_equal(in(0x40), 0x12);
    assert_int_equal(in(0x40), 0x34);
    out(0x43, 0x34); // a control word puts the order right again
    out(0x40, 0x78);
    out(0x40, 0x56);
    to(24);
    assert_int_equal(in(0x40), 0x78);
}

static void latching(void **state)
{
    (void)state;
    program(0, 2, false, 1000);
    to(101);
    out(0x43, 0x00);
    to(201);
    out(0x43, 0x00); // ignored until the first has been read
    to(301);
    assert_int_equal(in(0x40), 900 & 0xff);
    to(302);
    assert_int_equal(in(0x40), 900 >> 8);
    assert_int_equal(count(0), 699);
    out(0x43, 0x00);
    program(0, 2, false, 500); // programming lets go of it
    to(303);
    assert_int_equal(in(0x40), 500 & 0xff);
    assert_int_equal(in(0x40), 500 >> 8);
}

static void read_back(void **state)
{
    (void)state;
    gate2(true);
    program(0, 2, false, 1000);
    program(2, 3, true, 0x0500);
    to(101);
    out(0x43, 0xc0 | 2 | 8); // status and count of channels 0 and 2
    to(151);
    out(0x43, 0xc0 | 2);                     // both are there already
    assert_int_equal(in(0x40), 0x80 | 0x34); // status first
    assert_int_equal(in(0x40), 900 & 0xff);
    assert_int_equal(in(0x40), 900 >> 8);
    assert_int_equal(in(0x42), 0x80 | 0x37);
    assert_int_equal(in(0x42), 0x00); // 500 - 2 * 100
    assert_int_equal(in(0x42), 0x03);
    out(0x43, 0xd0 | 8); // count only
    to(200);
    assert_int_equal(in(0x42), 0x00); // 500 - 2 * 150
    assert_int_equal(in(0x42), 0x02);
    out(0x43, 0xf0 | 2 | 4 | 8); // nothing
    assert_int_equal(in(0x40), 801 & 0xff);
    (void)in(0x40);
    out(0x40, 1);
    out(0x40, 1);
    assert_int_equal(status(0), 0xc0 | 0x34); // null count: the new one waits
}

static void system_port(void **state)
{
    (void)state;
    out(0x61, 0xff);
    assert_int_equal(in(0x61) & 0xcf, 0x0f);
    unsigned changes = 0;
    for (unsigned n = 0, was = in(0x61) & 0x10; n < 18 * 100; n++) {
        to(n);
        unsigned now = in(0x61) & 0x10;
        changes += now != was;
        was = now;
    }
    assert_in_range(changes, 99, 101);
    out(0x61, 0);
    assert_int_equal(in(0x61) & 0xcf, 0);
}

static void wide_accesses(void **state)
{
    (void)state;
    io_space_port_write(&io, 0x42, 2, 0xb407); // channel 2's byte, then its control word
    out(0x42, 3);
    out(0x42, 0);
    gate2(true);
    to(1);
    io_space_port_write(&io, 0x43, 1, 0x80);
    assert_int_equal(io_space_port_read(&io, 0x42, 2), 0xff03);
}

/// What the scheduler is told is when the edge comes, in every mode, whatever the phase.
static void next_edge(void **state)
{
    (void)state;
    static const uint32_t values[] = {2, 3, 4, 7, 100, 11932, 0};
    for (unsigned mode = 0; mode < 6; mode++) {
        for (unsigned i = 0; i < sizeof values / sizeof *values; i++) {
            program(0, mode, false, values[i]);
            for (unsigned edge = 0; edge < 5; edge++) {
                uint64_t next = guest_pit_tick(&pit);
                unsigned before = rises;
                if (mode == 1 || mode == 5 || (edge && mode != 2 && mode != 3)) {
                    assert_true(next == PIT_NEVER); // channel 0's gate never rises
                    break;
                }
                assert_true(next != PIT_NEVER && next > clock_ns);
                uint64_t half = clock_ns + (next - clock_ns) / 2;
                if (half > clock_ns + 2000) { // in between nothing happens, and the answer stays
                    clock_ns = half;
                    assert_true(guest_pit_tick(&pit) == next);
                }
                clock_ns = next - 1;
                (void)guest_pit_tick(&pit);
                assert_int_equal(rises, before);
                clock_ns = next;
                (void)guest_pit_tick(&pit);
                assert_int_equal(rises, before + 1);
                clock_ns += edge * 333; // another phase
            }
        }
    }
    assert_true(programmed > 0);
}

/// An edge is not lost when the output is low again before anybody looks.
static void late_look(void **state)
{
    (void)state;
    program(0, 3, false, 10000);
    (void)guest_pit_tick(&pit);
    unsigned before = rises;
    to(1 + 17000);
    (void)guest_pit_tick(&pit);
    assert_int_equal(rises, before + 1);
    assert_true(line);
    assert_false(output(0));
    assert_true(line);
    to(1 + 20000);
    (void)guest_pit_tick(&pit);
    assert_int_equal(rises, before + 2);
}

/// 100 Hz for an hour: as many edges as there should be, none drifts.
static void no_drift(void **state)
{
    (void)state;
    program(0, 2, false, 11932);
    unsigned before = rises;
    uint64_t begin = clock_ns, next = 0;
    for (unsigned i = 0; i < 360000; i++) {
        next = guest_pit_tick(&pit);
        clock_ns = next;
    }
    (void)guest_pit_tick(&pit);
    assert_int_equal(rises - before, 360000);
    uint64_t expected = 360000ull * 11932 * 1000000000 / PIT_HZ;
    assert_in_range(next - begin, expected, expected + 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(power_on, setup),    cmocka_unit_test_setup(mode0, setup),
        cmocka_unit_test_setup(mode0_gate, setup),  cmocka_unit_test_setup(mode1, setup),
        cmocka_unit_test_setup(mode2, setup),       cmocka_unit_test_setup(mode2_gate, setup),
        cmocka_unit_test_setup(mode3, setup),       cmocka_unit_test_setup(mode4, setup),
        cmocka_unit_test_setup(mode5, setup),       cmocka_unit_test_setup(mode_aliases, setup),
        cmocka_unit_test_setup(decimal, setup),     cmocka_unit_test_setup(byte_formats, setup),
        cmocka_unit_test_setup(latching, setup),    cmocka_unit_test_setup(read_back, setup),
        cmocka_unit_test_setup(system_port, setup), cmocka_unit_test_setup(wide_accesses, setup),
        cmocka_unit_test_setup(next_edge, setup),   cmocka_unit_test_setup(late_look, setup),
        cmocka_unit_test_setup(no_drift, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
