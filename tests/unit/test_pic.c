// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/platform/pic.c hv/platform/io_space.c
#include "hv/platform/pic.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define MASTER 0x20
#define SLAVE  0xa0
#define EOI    0x20

static struct io_space io;
static struct guest_pic pic;
static bool intr;
static unsigned changes;

static void on_intr(void *ctx, bool asserted)
{
    assert_ptr_equal(ctx, &pic);
    assert_int_not_equal(asserted, intr); // changes only
    intr = asserted;
    changes++;
}

static void out(uint16_t port, uint32_t value)
{
    io_space_port_write(&io, port, 1, value);
}

static uint32_t in(uint16_t port)
{
    return io_space_port_read(&io, port, 1);
}

static uint32_t in_service(uint16_t port)
{
    out(port, 0x0b);
    return in(port);
}

static uint32_t requests(uint16_t port)
{
    out(port, 0x0a);
    return in(port);
}

static void program_chip(uint16_t port, uint8_t icw1, uint8_t base, uint8_t icw3, uint8_t icw4)
{
    out(port, icw1);
    out(port + 1, base);
    if (!(icw1 & 2))
        out(port + 1, icw3);
    if (icw1 & 1)
        out(port + 1, icw4);
}

static void program(uint8_t icw4_master, uint8_t icw4_slave)
{
    program_chip(MASTER, 0x11, 0x20, 4, icw4_master);
    program_chip(SLAVE, 0x11, 0x28, 2, icw4_slave);
}

static void pulse(unsigned irq)
{
    guest_pic_set(&pic, irq, false);
    guest_pic_set(&pic, irq, true);
}

static int setup(void **state)
{
    (void)state;
    memset(&io, 0, sizeof io);
    intr = false;
    changes = 0;
    pic = (struct guest_pic){.intr = on_intr, .ctx = &pic};
    if (guest_pic_init(&pic, &io) != OK)
        return -1;
    program(1, 1);
    return 0;
}

static void power_on(void **state)
{
    (void)state;
    guest_pic_reset(&pic);
    assert_int_equal(in(MASTER + 1), 0xff);
    assert_int_equal(in(SLAVE + 1), 0xff);
    for (unsigned irq = 0; irq < 16; irq++)
        pulse(irq);
    assert_false(intr);
    out(MASTER + 1, 0xfe);
    assert_true(intr);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x08);
    out(MASTER, EOI);
    out(SLAVE + 1, 0xfe);
    out(MASTER + 1, 0xfb);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x70);
}

static void initialization(void **state)
{
    (void)state;
    out(MASTER + 1, 0x55);
    assert_int_equal(in(MASTER + 1), 0x55);
    pulse(0);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x27); // it is masked: nobody asks
    out(MASTER + 1, 0);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x20);
    pulse(1);
    out(MASTER, 0x11); // clears masks, requests, service
    assert_int_equal(in(MASTER + 1), 0);
    assert_int_equal(requests(MASTER), 0);
    assert_int_equal(in_service(MASTER), 0);
    pulse(3);
    assert_false(intr); // not before it knows its vectors
    out(MASTER + 1, 0x47);
    assert_false(intr);
    out(MASTER + 1, 4);
    assert_false(intr);
    out(MASTER + 1, 1);
    assert_true(intr);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x43); // low bits of ICW2 are the input's
    out(MASTER, EOI);
    // without ICW3 and ICW4
    program_chip(MASTER, 0x12, 0x50, 0, 0);
    out(MASTER + 1, 0xf7); // a mask again
    assert_int_equal(in(MASTER + 1), 0xf7);
    pulse(3);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x53);
    // an input that is high through ICW1 is no edge
    program(1, 1);
    assert_int_equal(requests(MASTER), 0);
}

static void edge(void **state)
{
    (void)state;
    guest_pic_set(&pic, 4, true);
    guest_pic_set(&pic, 4, true);
    assert_true(intr);
    assert_int_equal(requests(MASTER), 0x10);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x24);
    assert_false(intr);
    assert_int_equal(requests(MASTER), 0);
    assert_int_equal(in_service(MASTER), 0x10);
    out(MASTER, EOI);
    assert_false(intr); // high still, but that was one edge
    guest_pic_set(&pic, 4, false);
    assert_false(intr);
    guest_pic_set(&pic, 4, true);
    assert_true(intr);
    guest_pic_set(&pic, 4, false); // gone before the acknowledge
    assert_false(intr);
    assert_int_equal(requests(MASTER), 0);
}

static void level(void **state)
{
    (void)state;
    out(0x4d0, 0xff);
    out(0x4d1, 0xff);
    assert_int_equal(in(0x4d0), 0xf8);
    assert_int_equal(in(0x4d1), 0xde);
    assert_int_equal(io_space_port_read(&io, 0x4d0, 2), 0xdef8);
    guest_pic_set(&pic, 5, true);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x25);
    assert_false(intr);
    out(MASTER, EOI);
    assert_true(intr); // it is high still
    assert_int_equal(guest_pic_acknowledge(&pic), 0x25);
    guest_pic_set(&pic, 5, false);
    out(MASTER, EOI);
    assert_false(intr);
    // LTIM: all inputs of that chip
    io_space_port_write(&io, 0x4d0, 2, 0);
    program_chip(MASTER, 0x19, 0x20, 4, 1);
    guest_pic_set(&pic, 1, true);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x21);
    out(MASTER, EOI);
    assert_true(intr);
    guest_pic_set(&pic, 1, false);
    assert_false(intr);
    // a line that is high already becomes level-triggered
    program(1, 1);
    guest_pic_set(&pic, 11, true);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x2b);
    out(SLAVE, EOI);
    out(MASTER, EOI);
    assert_false(intr);
    io_space_port_write(&io, 0x4d0, 2, 0x0800);
    assert_true(intr);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x2b);
}

static void priorities(void **state)
{
    (void)state;
    pulse(6);
    pulse(3);
    pulse(7);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x23);
    assert_false(intr); // lower ones wait
    pulse(1);
    assert_true(intr); // a higher one does not
    assert_int_equal(guest_pic_acknowledge(&pic), 0x21);
    pulse(3);
    assert_false(intr); // nor its own level
    assert_int_equal(in_service(MASTER), 0x0a);
    out(MASTER, EOI); // non-specific: the highest, 1
    assert_int_equal(in_service(MASTER), 0x08);
    assert_false(intr);
    out(MASTER, EOI);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x23);
    out(MASTER, 0x60 | 5); // specific, of another
    assert_false(intr);
    out(MASTER, 0x60 | 3);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x26);
    out(MASTER, 0x60 | 6);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x27);
    assert_int_equal(in_service(MASTER), 0x80); // not spurious
    out(MASTER, EOI);
    out(MASTER, EOI); // nothing to end
    assert_int_equal(in_service(MASTER), 0);
}

static void rotation(void **state)
{
    (void)state;
    out(MASTER, 0xc0 | 4); // 4 lowest: 5 highest
    pulse(4);
    pulse(0);
    pulse(6);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x26);
    out(MASTER, 0xa0); // EOI, and 6 becomes lowest
    pulse(6);
    pulse(7);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x27);
    out(MASTER, 0xe0 | 7); // specific, rotating: 0 highest
    assert_int_equal(guest_pic_acknowledge(&pic), 0x20);
    out(MASTER, EOI);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x24);
    out(MASTER, EOI);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x26);
    out(MASTER, EOI);
    assert_false(intr);
    // the highest in service is by rank, not by number
    out(MASTER, 0xc0 | 2);
    pulse(1);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x21);
    pulse(5);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x25);
    out(MASTER, EOI);
    assert_int_equal(in_service(MASTER), 0x02);
    out(MASTER, 0x40); // no operation
    assert_int_equal(in_service(MASTER), 0x02);
}

static void automatic_eoi(void **state)
{
    (void)state;
    program(3, 3);
    pulse(5);
    pulse(3);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x23);
    assert_int_equal(in_service(MASTER), 0);
    assert_true(intr);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x25);
    assert_false(intr);
    // two of the slave's: the second needs an edge of its own at the master
    pulse(8);
    pulse(12);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x28);
    assert_true(intr);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x2c);
    assert_false(intr);
    out(MASTER, 0x80); // rotate in automatic EOI mode
    pulse(0);
    pulse(1);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x20);
    pulse(0);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x21);
    out(MASTER, 0x00); // no longer
    pulse(1);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x20); // 1 is lowest
    assert_int_equal(guest_pic_acknowledge(&pic), 0x21);
}

static void special_mask(void **state)
{
    (void)state;
    pulse(2); // the slave's: not driven from outside
    assert_false(intr);
    pulse(3);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x23);
    pulse(6);
    assert_false(intr);
    out(MASTER + 1, 0x08);
    assert_false(intr);
    out(MASTER, 0x68); // on
    assert_true(intr); // lower ones come while 3 is in service and masked
    assert_int_equal(guest_pic_acknowledge(&pic), 0x26);
    out(MASTER, EOI); // 6, for 3 is masked
    assert_int_equal(in_service(MASTER), 0x08);
    out(MASTER, EOI);
    assert_int_equal(in_service(MASTER), 0x08);
    out(MASTER, 0x08); // ESMM = 0: unchanged
    pulse(7);
    assert_true(intr);
    out(MASTER, 0x48); // off
    assert_false(intr);
    out(MASTER, 0x63);
    assert_true(intr);
}

static void polling(void **state)
{
    (void)state;
    out(MASTER, 0x0c);
    assert_int_equal(in(MASTER), 0);
    assert_int_equal(in(MASTER), 0); // IRR again
    pulse(5);
    out(MASTER, 0x0c);
    assert_int_equal(in(MASTER), 0x85);
    assert_false(intr);
    assert_int_equal(in_service(MASTER), 0x20);
    out(MASTER, EOI);
    pulse(14);
    out(MASTER, 0x0c);
    assert_int_equal(in(MASTER + 1), 0x82); // at either address
    out(SLAVE, 0x0c);
    assert_int_equal(in(SLAVE), 0x86);
    assert_int_equal(in_service(SLAVE), 0x40);
    out(SLAVE, EOI);
    out(MASTER, EOI);
    assert_false(intr);
}

static void cascade(void **state)
{
    (void)state;
    pulse(14);
    assert_int_equal(requests(MASTER), 0x04);
    pulse(3);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x2e); // IR2 comes before IR3
    assert_int_equal(in_service(MASTER), 0x04);
    assert_int_equal(in_service(SLAVE), 0x40);
    pulse(9); // higher in the slave, but the master's level is in service
    assert_false(intr);
    pulse(1);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x21);
    out(MASTER, EOI);
    out(SLAVE, EOI);
    out(MASTER, EOI);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x29);
    out(SLAVE, EOI);
    out(MASTER, EOI);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x23);
    out(MASTER, EOI);
    // masked at the master
    out(MASTER + 1, 0x04);
    pulse(15);
    assert_false(intr);
    out(MASTER + 1, 0);
    assert_true(intr);
    // masked at the slave after it asked
    out(SLAVE + 1, 0x80);
    assert_false(intr);
    out(SLAVE + 1, 0);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x2f);
}

static void special_fully_nested(void **state)
{
    (void)state;
    program(0x11, 1);
    pulse(14);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x2e);
    pulse(9);
    assert_true(intr);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x29);
    pulse(15);
    assert_false(intr);
    out(SLAVE, EOI);
    assert_int_equal(in_service(SLAVE), 0x40); // 9 ended, 14 is left: the master's EOI is not due yet
    assert_false(intr);
    out(SLAVE, EOI);
    assert_true(intr); // 15
}

static void spurious(void **state)
{
    (void)state;
    assert_int_equal(guest_pic_acknowledge(&pic), 0x27);
    assert_int_equal(in_service(MASTER), 0);
    // The slave's request goes in the middle of the acknowledge: only possible between the two chips.
    pulse(10);
    assert_true(intr);
    pic.chip[1].irr = 0;
    assert_int_equal(guest_pic_acknowledge(&pic), 0x2f);
    assert_int_equal(in_service(SLAVE), 0);
    assert_int_equal(in_service(MASTER), 0x04); // which wants an EOI
    out(MASTER, EOI);
    assert_false(intr);
    // a level that fell before the acknowledge
    out(0x4d0, 0x20);
    guest_pic_set(&pic, 5, true);
    guest_pic_set(&pic, 5, false);
    assert_false(intr);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x27);
    assert_int_equal(in_service(MASTER), 0);
}

static void wide_accesses(void **state)
{
    (void)state;
    io_space_port_write(&io, MASTER, 2, 0xa20b); // OCW3, OCW1
    pulse(1);
    pulse(3);
    assert_int_equal(io_space_port_read(&io, MASTER, 2), 0xa200);
    assert_int_equal(guest_pic_acknowledge(&pic), 0x23); // 1 is masked
    assert_int_equal(io_space_port_read(&io, MASTER, 2), 0xa208);
    guest_pic_set(&pic, 16, true); // no such input
    assert_true(changes > 0);
}

/// Whatever is done, what is asserted can be acknowledged as what it was.
static void random_use(void **state)
{
    (void)state;
    static const uint16_t ports[6] = {MASTER, MASTER + 1, SLAVE, SLAVE + 1, 0x4d0, 0x4d1};
    uint32_t x = 0x2545f491;
    unsigned taken = 0;
    for (unsigned i = 0; i < 200000; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        unsigned what = x >> 28;
        if (what < 6)
            guest_pic_set(&pic, x & 15, (x & 0x10) != 0);
        else if (what < 9)
            out(ports[x % 6], x >> 8 & 0xff);
        else if (what < 10)
            (void)in(ports[x % 6]);
        else if (what < 11 && i % 64 == 0)
            program((uint8_t)(1 | (x & 0x12)), (uint8_t)(1 | (x >> 8 & 2)));
        else if (what < 13)
            out(x & 1 ? MASTER : SLAVE, EOI);
        else if (intr) {
            assert_true(pic.intr_now);
            unsigned was = pic.chip[0].irr & (unsigned)~pic.chip[0].imr;
            unsigned vector = guest_pic_acknowledge(&pic), input = vector & 7;
            if ((vector & 0xf8) == pic.chip[0].base && pic.chip[0].base != pic.chip[1].base)
                assert_true(was >> input & 1); // never spurious
            taken++;
        }
    }
    assert_true(taken > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(power_on, setup),
        cmocka_unit_test_setup(initialization, setup),
        cmocka_unit_test_setup(edge, setup),
        cmocka_unit_test_setup(level, setup),
        cmocka_unit_test_setup(priorities, setup),
        cmocka_unit_test_setup(rotation, setup),
        cmocka_unit_test_setup(automatic_eoi, setup),
        cmocka_unit_test_setup(special_mask, setup),
        cmocka_unit_test_setup(polling, setup),
        cmocka_unit_test_setup(cascade, setup),
        cmocka_unit_test_setup(special_fully_nested, setup),
        cmocka_unit_test_setup(spurious, setup),
        cmocka_unit_test_setup(wide_accesses, setup),
        cmocka_unit_test_setup(random_use, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
