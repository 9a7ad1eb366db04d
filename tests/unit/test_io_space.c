// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/platform/io_space.c
// Ranges of ports and memory: overlap, order, splitting at ends, nobody's.
#include "hv/platform/io_space.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka wants these first
#include <cmocka.h>

static struct io_space io;

/// Remembers what it was asked.
struct device {
    char log[256];
    uint64_t value;
};

static uint32_t port_read(void *dev, uint16_t port, unsigned size)
{
    struct device *d = dev;
    snprintf(d->log + strlen(d->log), sizeof(d->log) - strlen(d->log), "r%x/%u ", port, size);
    return (uint32_t)d->value;
}

static void port_write(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct device *d = dev;
    snprintf(d->log + strlen(d->log), sizeof(d->log) - strlen(d->log), "w%x/%u=%x ", port, size, value);
}

static uint64_t mmio_read(void *dev, uint64_t offset, unsigned size)
{
    struct device *d = dev;
    snprintf(d->log + strlen(d->log), sizeof(d->log) - strlen(d->log), "r%llx/%u ",
             (unsigned long long)offset, size);
    return d->value;
}

static void mmio_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct device *d = dev;
    snprintf(d->log + strlen(d->log), sizeof(d->log) - strlen(d->log), "w%llx/%u=%llx ",
             (unsigned long long)offset, size, (unsigned long long)value);
}

static enum status ports(struct device *d, uint16_t first, uint16_t count, uint16_t overhang)
{
    return io_space_add_ports(&io, &(struct port_range){.name = "t",
                                                        .first = first,
                                                        .count = count,
                                                        .overhang = overhang,
                                                        .read = port_read,
                                                        .write = port_write,
                                                        .dev = d});
}

static enum status mmio(struct device *d, uint64_t base, uint64_t size)
{
    return io_space_add_mmio(
        &io, &(struct mmio_range){
                 .name = "t", .base = base, .size = size, .read = mmio_read, .write = mmio_write, .dev = d});
}

static int setup(void **state)
{
    (void)state;
    memset(&io, 0, sizeof(io));
    return 0;
}

static void test_ports(void **state)
{
    (void)state;
    struct device a = {.value = 0xaabbccdd}, b = {.value = 0x11};
    assert_int_equal(ports(&a, 0x100, 8, 0), OK);
    assert_int_equal(ports(&b, 0x108, 1, 0), OK);
    assert_int_equal(ports(&b, 0x107, 1, 0), ERR_BUSY);
    assert_int_equal(ports(&b, 0xff, 2, 0), ERR_BUSY);
    assert_int_equal(ports(&b, 0x200, 0, 0), ERR_INVAL);
    assert_int_equal(ports(&b, 0xffff, 2, 0), ERR_INVAL);
    assert_int_equal(ports(&b, 0xffff, 1, 0), OK);
    assert_int_equal(io_space_port_read(&io, 0x100, 4), 0xaabbccdd);
    io_space_port_write(&io, 0x104, 2, 0x1234);
    assert_string_equal(a.log, "r100/4 w104/2=1234 ");
    // over the end: bytes, each to its owner
    a.log[0] = b.log[0] = 0;
    assert_int_equal(io_space_port_read(&io, 0x106, 4), 0xff11dddd);
    assert_string_equal(a.log, "r106/1 r107/1 ");
    assert_string_equal(b.log, "r108/1 ");
    assert_int_equal(io.unowned_port_reads, 0);
    io_space_port_write(&io, 0x107, 2, 0xbeef);
    assert_string_equal(b.log, "r108/1 w108/1=be ");
    // the last port and over it
    b.log[0] = 0;
    assert_int_equal(io_space_port_read(&io, 0xffff, 2), 0xff11);
    assert_int_equal(io_space_port_read(&io, 0x300, 4), 0xffffffff);
    assert_int_equal(io_space_port_read(&io, 0x300, 1), 0xff);
    io_space_port_write(&io, 0x300, 1, 0);
    assert_int_equal(io.unowned_port_reads, 2);
    assert_int_equal(io.unowned_port_writes, 1);
    io_space_remove_ports(&io, 0x101); // not where it starts
    assert_int_equal(io_space_port_read(&io, 0x100, 4), 0xaabbccdd);
    io_space_remove_ports(&io, 0x100);
    assert_int_equal(io_space_port_read(&io, 0x100, 4), 0xffffffff);
    assert_int_equal(ports(&b, 0x100, 8, 0), OK);
}

static void test_overhang(void **state)
{
    (void)state;
    struct device address = {.value = 0x80001234}, reset = {.value = 6};
    assert_int_equal(ports(&address, 0xcf8, 1, 3), OK);
    assert_int_equal(ports(&reset, 0xcf9, 1, 0), OK);
    assert_int_equal(io_space_port_read(&io, 0xcf8, 4), 0x80001234);
    assert_int_equal(io_space_port_read(&io, 0xcf9, 1) & 0xff, 6);
    assert_string_equal(address.log, "rcf8/4 ");
    assert_string_equal(reset.log, "rcf9/1 ");
}

static void test_port_table_full(void **state)
{
    (void)state;
    struct device d = {.value = 0};
    for (unsigned i = 0; i < IO_PORT_RANGES_MAX; i++)
        assert_int_equal(ports(&d, (uint16_t)(i * 2), 1, 0), OK);
    assert_int_equal(ports(&d, 0x1000, 1, 0), ERR_NOMEM);
    io_space_remove_ports(&io, 8);
    assert_int_equal(ports(&d, 0x1000, 1, 0), OK);
    assert_int_equal(io_space_port_read(&io, 8, 1), 0xff);
}

static void test_mmio(void **state)
{
    (void)state;
    struct device a = {.value = 0x8877665544332211}, b = {.value = 0xb0}, c = {.value = 0xcc};
    assert_int_equal(mmio(&b, 0x2000, 0x1000), OK);
    assert_int_equal(mmio(&a, 0x1000, 0x1000), OK);
    assert_int_equal(mmio(&c, ~0ull - 15, 16), OK); // to the very end
    assert_int_equal(mmio(&c, ~0ull - 15, 17), ERR_INVAL);
    assert_int_equal(mmio(&c, 0x1fff, 1), ERR_BUSY);
    assert_int_equal(mmio(&c, 0x0, 0x1001), ERR_BUSY);
    assert_int_equal(mmio(&c, 0x0, 0x10000), ERR_BUSY);
    assert_int_equal(mmio(&c, 0x3000, 0), ERR_INVAL);
    assert_ptr_equal(io_space_find_mmio(&io, 0x1fff)->dev, &a);
    assert_ptr_equal(io_space_find_mmio(&io, 0x2000)->dev, &b);
    assert_null(io_space_find_mmio(&io, 0xfff));
    assert_null(io_space_find_mmio(&io, 0x3000));
    assert_ptr_equal(io_space_find_mmio(&io, ~0ull)->dev, &c);
    assert_int_equal(io_space_mmio_read(&io, 0x1008, 8), 0x8877665544332211);
    assert_int_equal(io_space_mmio_read(&io, 0x1008, 2), 0x2211);
    assert_string_equal(a.log, "r8/8 r8/2 ");
    a.log[0] = 0;
    assert_int_equal(io_space_mmio_read(&io, 0x1ffe, 4), 0xb02211 | 0x00000000); // 2 bytes here, 2 there
    assert_string_equal(a.log, "rffe/2 ");
    assert_string_equal(b.log, "r0/2 ");
    a.log[0] = b.log[0] = 0;
    io_space_mmio_write(&io, 0x2fff, 8, 0x1122334455667788); // one byte here, seven nowhere
    assert_string_equal(b.log, "wfff/1=88 ");
    io_space_mmio_write(&io, 0x1000, 7, 0x77665544332211); // odd sizes: 4 + 2 + 1
    assert_string_equal(a.log, "w0/4=44332211 w4/2=6655 w6/1=77 ");
    assert_int_equal(io.unowned_mmio_writes, 0);
    assert_int_equal(io_space_mmio_read(&io, 0x5000, 8), ~0ull);
    assert_int_equal(io_space_mmio_read(&io, 0x5000, 3), 0xffffff);
    io_space_mmio_write(&io, 0x5000, 8, 0);
    assert_int_equal(io.unowned_mmio_reads, 2);
    assert_int_equal(io.unowned_mmio_writes, 1);
    io_space_remove_mmio(&io, 0x1001);
    assert_int_equal(io.mmio_count, 3);
    io_space_remove_mmio(&io, 0x1000);
    assert_null(io_space_find_mmio(&io, 0x1000));
    assert_ptr_equal(io_space_find_mmio(&io, 0x2000)->dev, &b);
}

/// Against a model: random adds and removes, then every address is where it should be.
static void test_mmio_random(void **state)
{
    (void)state;
    static struct device devices[256];
    int model[256];
    memset(model, -1, sizeof(model));
    srand(1);
    for (unsigned round = 0; round < 20000; round++) {
        unsigned base = (unsigned)rand() % 256, size = 1 + (unsigned)rand() % 8;
        if (rand() % 2 && model[base] >= 0) {
            io_space_remove_mmio(&io, base);
            if (base == 0 || model[base - 1] != model[base]) { // it starts here
                int who = model[base];
                for (unsigned i = base; i < 256 && model[i] == who; i++)
                    model[i] = -1;
            }
            continue;
        }
        bool free = base + size <= 256;
        for (unsigned i = base; free && i < base + size; i++)
            free = model[i] < 0;
        if (base + size > 256)
            continue;
        enum status s = mmio(&devices[round % 256], base, size);
        if (!free) {
            assert_int_equal(s, ERR_BUSY);
        } else if (s == OK) {
            for (unsigned i = base; i < base + size; i++)
                model[i] = (int)(round % 256) * 1000 + (int)base;
        } else {
            assert_int_equal(s, ERR_NOMEM);
            assert_int_equal(io.mmio_count, IO_MMIO_RANGES_MAX);
        }
        for (unsigned i = 0; i < 256; i++) {
            const struct mmio_range *r = io_space_find_mmio(&io, i);
            assert_int_equal(r != NULL, model[i] >= 0);
            if (r)
                assert_int_equal(r->base, model[i] % 1000);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_ports, setup),       cmocka_unit_test_setup(test_overhang, setup),
        cmocka_unit_test_setup(test_mmio, setup),        cmocka_unit_test_setup(test_port_table_full, setup),
        cmocka_unit_test_setup(test_mmio_random, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
