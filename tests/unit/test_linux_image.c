// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/vm/linux.c
#include "hv/vm/linux.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RAM    (64u << 20)
#define KERNEL (1u << 20)

static uint8_t *ram, *kernel;

static enum status ram_write(void *ctx, uint64_t gpa, const void *from, uint64_t size)
{
    (void)ctx;
    assert_true(gpa + size <= RAM);
    memcpy(ram + gpa, from, size);
    return OK;
}

static enum status ram_fill(void *ctx, uint64_t gpa, uint8_t byte, uint64_t size)
{
    (void)ctx;
    memset(ram + gpa, byte, size);
    return OK;
}

static void put(size_t at, uint64_t value, unsigned size)
{
    memcpy(kernel + at, &value, size);
}

static uint64_t get(uint64_t gpa, unsigned size)
{
    uint64_t v = 0;
    assert_true(gpa + size <= RAM);
    memcpy(&v, ram + gpa, size);
    return v;
}

/// A bzImage's header as Linux 6.1's, with 3 setup sectors.
static int setup(void **state)
{
    (void)state;
    ram = malloc(RAM);
    kernel = calloc(1, KERNEL);
    put(0x1f1, 3, 1);
    put(0x1fe, 0xaa55, 2);
    put(0x200, 0x66eb, 2); // jump over the header
    put(0x202, 0x53726448, 4);
    put(0x206, 0x20f, 2);
    put(0x211, 1, 1);
    put(0x214, 0x100000, 4);
    put(0x22c, 0x7fffffff, 4);
    put(0x230, 0x200000, 4);
    put(0x234, 1, 1);
    put(0x236, 0x7f, 2);
    put(0x238, 2047, 4);
    put(0x258, 0x1000000, 8);
    put(0x260, 0x2000000, 4);
    kernel[4 * 512] = 0x4d;
    kernel[KERNEL - 1] = 0x5a;
    memset(ram, 0xcc, RAM);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(ram);
    free(kernel);
    return 0;
}

static enum status load(uint64_t low_end, uint64_t high_end, uint64_t initrd_size, const char *cmdline,
                        struct linux_entry *e, const char **why)
{
    static uint8_t initrd[12345] = {0x77};
    const struct linux_image image = {.kernel = kernel,
                                      .kernel_size = KERNEL,
                                      .initrd = initrd,
                                      .initrd_size = initrd_size,
                                      .cmdline = cmdline,
                                      .rsdp = 0xf0000};
    const struct image_target target = {
        .write = ram_write, .fill = ram_fill, .low_end = low_end, .high_end = high_end};
    *why = "";
    return linux_load(&image, &target, e, why);
}

static void everything_in_its_place(void **state)
{
    (void)state;
    struct linux_entry e;
    const char *why;
    assert_true(linux_is_image(kernel, KERNEL));
    assert_int_equal(load(RAM, 0x140000000, 12345, "console=ttyS0", &e, &why), OK);
    assert_true(e.long_mode);
    assert_int_equal(e.rip, 0x1000200);
    assert_int_equal(ram[0x1000000], 0x4d);
    assert_int_equal(ram[0x1000000 + KERNEL - 4 * 512 - 1], 0x5a);
    assert_int_equal(get(e.rsi + 0x202, 4), 0x53726448);
    assert_int_equal(get(e.rsi + 0x210, 1), 0xff);
    assert_int_equal(get(e.rsi + 0x070, 8), 0xf0000);
    assert_string_equal((char *)ram + get(e.rsi + 0x228, 4), "console=ttyS0");
    uint64_t initrd = get(e.rsi + 0x218, 4);
    assert_int_equal(initrd, (RAM - 12345) & ~0xfffu);
    assert_int_equal(get(e.rsi + 0x21c, 4), 12345);
    assert_int_equal(ram[initrd], 0x77);
    // memory map: usable RAM in all, nothing that overlaps
    uint64_t usable = 0, last = 0;
    for (unsigned i = 0; i < get(e.rsi + 0x1e8, 1); i++) {
        uint64_t at = e.rsi + 0x2d0 + i * 20, base = get(at, 8), size = get(at + 8, 8);
        assert_true(base >= last);
        last = base + size;
        if (get(at + 16, 4) == 1)
            usable += size;
    }
    assert_int_equal(usable, 0x9fc00 + RAM - 0x100000 + 0x40000000);
    // identity map of 4 GiB: the entry for 3 GiB + 4 MiB
    uint64_t pdpt = get(e.cr3, 8) & ~0xfffull, pd = get(pdpt + 3 * 8, 8) & ~0xfffull;
    assert_int_equal(get(pd + 2 * 8, 8), 0xc0400083);
    // flat 64-bit code and data
    assert_int_equal(get(e.gdt + LINUX_CODE_SELECTOR, 8), 0x00af9b000000ffff);
    assert_int_equal(get(e.gdt + LINUX_DATA_SELECTOR, 8), 0x00cf93000000ffff);
}

/// What has only a 32-bit entry is started there; one from before 2.10 does not say where it wants to be.
static void the_32_bit_entry(void **state)
{
    (void)state;
    struct linux_entry e;
    const char *why;
    char line[257] = {0};
    put(0x236, 0x7e, 2);
    assert_int_equal(load(RAM, 0, 12345, "a", &e, &why), OK);
    assert_false(e.long_mode);
    assert_int_equal(e.rip, 0x1000000);
    assert_int_equal(get(e.rsi + 0x214, 4), 0x1000000);
    assert_int_equal(get(e.gdt + LINUX_CODE_SELECTOR, 8), 0x00cf9b000000ffff);

    put(0x206, 0x205, 2);                       // relocatable_kernel is the last it knows
    put(0x200, (0x238 - 0x202) << 8 | 0xeb, 2); // and what is behind is its code
    memset(kernel + 0x238, 0xff, 0x30);
    assert_int_equal(load(4u << 20, 0, 12345, "a", &e, &why), OK);
    assert_false(e.long_mode);
    assert_int_equal(e.rip, 0x100000);
    assert_int_equal(ram[0x100000], 0x4d);
    assert_int_equal(get(e.rsi + 0x258, 8), 0x100000);
    memset(line, 'x', 256);
    assert_int_equal(load(4u << 20, 0, 0, line, &e, &why), ERR_RANGE);
    line[255] = 0;
    assert_int_equal(load(4u << 20, 0, 0, line, &e, &why), OK);
}

static void refusals(void **state)
{
    (void)state;
    struct linux_entry e;
    const char *why;
    char *longest = malloc(2049);
    memset(longest, 'x', 2048);
    longest[2048] = 0;
    assert_int_equal(load(RAM, 0, 0, longest, &e, &why), ERR_RANGE);
    free(longest);
    assert_int_equal(load(32u << 20, 0, 0, "", &e, &why), ERR_RANGE); // init_size reaches 48 MiB
    assert_int_equal(load((48u << 20) + 4096, 0, 12345, "", &e, &why), ERR_RANGE);
    assert_non_null(strstr(why, "initrd"));
    put(0x236, 0, 2); // neither a 64-bit nor a 32-bit entry
    put(0x214, 0, 4);
    assert_int_equal(load(RAM, 0, 0, "", &e, &why), ERR_UNSUPPORTED);
    assert_non_null(strstr(why, "BIOS"));
    put(0x236, 1, 2);
    put(0x211, 0, 1);
    assert_int_equal(load(RAM, 0, 0, "", &e, &why), ERR_UNSUPPORTED); // a zImage
    put(0x211, 1, 1);
    put(0x206, 0x201, 2);
    assert_int_equal(load(RAM, 0, 0, "", &e, &why), ERR_UNSUPPORTED);
    put(0x206, 0x20f, 2);
    put(0x1f1, 255, 1);
    assert_int_equal(load(RAM, 0, 0, "", &e, &why), OK);
    put(0x202, 0, 4);
    assert_int_equal(load(RAM, 0, 0, "", &e, &why), ERR_PROTOCOL);
    assert_false(linux_is_image(kernel, 100));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everything_in_its_place, setup, teardown),
        cmocka_unit_test_setup_teardown(the_32_bit_entry, setup, teardown),
        cmocka_unit_test_setup_teardown(refusals, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
