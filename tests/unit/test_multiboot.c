// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/vm/multiboot.c
#include "hv/vm/multiboot.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RAM (8u << 20)

static uint8_t *ram;

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
    assert_true(gpa + size <= RAM);
    memset(ram + gpa, byte, size);
    return OK;
}

static const struct image_target target = {.write = ram_write, .fill = ram_fill, .low_end = RAM};

static uint32_t word(uint32_t gpa)
{
    uint32_t w;
    assert_true(gpa + 4 <= RAM);
    memcpy(&w, ram + gpa, 4);
    return w;
}

static void put32(uint8_t *at, uint32_t v)
{
    memcpy(at, &v, 4);
}
static void put16(uint8_t *at, uint16_t v)
{
    memcpy(at, &v, 2);
}

/// An ELF32 of one segment, 0x100 bytes of file and 0x200 of memory, with a Multiboot header in it.
static void make_elf(uint8_t elf[0x200], uint32_t paddr, uint32_t flags)
{
    memset(elf, 0, 0x200);
    memcpy(elf, "\177ELF\1\1\1", 7);
    put16(elf + 16, 2);
    put16(elf + 18, 3);
    put32(elf + 24, 0xc0100010); // entry: virtual
    put32(elf + 28, 52);         // phoff
    put16(elf + 42, 32);
    put16(elf + 44, 1);
    uint8_t *ph = elf + 52;
    put32(ph, 1);
    put32(ph + 4, 0x100);
    put32(ph + 8, 0xc0100000);
    put32(ph + 12, paddr);
    put32(ph + 16, 0x100);
    put32(ph + 20, 0x200);
    put32(elf + 0x100, 0x1badb002);
    put32(elf + 0x104, flags);
    put32(elf + 0x108, 0u - 0x1badb002u - flags);
    elf[0x1ff] = 0x5a;
}

static void put64(uint8_t *at, uint64_t v)
{
    memcpy(at, &v, 8);
}

/// The same as an ELF64.
static void make_elf64(uint8_t elf[0x200], uint64_t paddr)
{
    make_elf(elf, 0, 3);
    memset(elf + 4, 0, 0xfc);
    memcpy(elf + 4, "\2\1\1", 3);
    put16(elf + 16, 2);
    put16(elf + 18, 0x3e);
    put64(elf + 24, 0xffffffff80000010); // entry: virtual
    put64(elf + 32, 64);                 // phoff
    put16(elf + 54, 56);
    put16(elf + 56, 1);
    uint8_t *ph = elf + 64;
    put32(ph, 1);
    put64(ph + 8, 0x100);
    put64(ph + 16, 0xffffffff80000000);
    put64(ph + 24, paddr);
    put64(ph + 32, 0x100);
    put64(ph + 40, 0x200);
}

static enum status load(const void *kernel, uint64_t size, struct multiboot_entry *entry, const char **why)
{
    static const struct image_module modules[] = {{"first", 6, "a.bin one two"}, {"second!", 8, "b"}};
    const struct multiboot_image image = {.kernel = kernel,
                                          .kernel_size = size,
                                          .cmdline = "alpha beta",
                                          .modules = modules,
                                          .module_count = 2};
    memset(ram, 0xcc, RAM);
    *why = "";
    return multiboot_load(&image, &target, entry, why);
}

static int setup(void **state)
{
    (void)state;
    ram = malloc(RAM);
    return ram ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    free(ram);
    return 0;
}

static void elf_is_loaded_with_everything(void **state)
{
    (void)state;
    uint8_t elf[0x200];
    struct multiboot_entry e;
    const char *why;
    make_elf(elf, 0x200000, 3);
    assert_int_equal(load(elf, sizeof elf, &e, &why), OK);
    assert_int_equal(e.eip, 0x200010); // translated to physical
    assert_int_equal(ram[0x2000ff], 0x5a);
    assert_int_equal(ram[0x200100], 0); // bss
    assert_int_equal(ram[0x2001ff], 0);
    assert_int_equal(ram[0x1fffff], 0xcc);
    uint32_t flags = word(e.ebx);
    assert_int_equal(flags, 0x24d); // memory, command line, modules, memory map, loader name
    assert_int_equal(word(e.ebx + 4), 639);
    assert_int_equal(word(e.ebx + 8), (RAM - 0x100000) / 1024);
    assert_string_equal((char *)ram + word(e.ebx + 16), "alpha beta");
    assert_int_equal(word(e.ebx + 20), 2);
    uint32_t mods = word(e.ebx + 24);
    assert_int_equal(word(mods) % 4096, 0);
    assert_int_equal(word(mods + 4) - word(mods), 6);
    assert_string_equal((char *)ram + word(mods), "first");
    assert_string_equal((char *)ram + word(mods + 8), "a.bin one two");
    assert_string_equal((char *)ram + word(mods + 16), "second!");
    assert_string_equal((char *)ram + word(mods + 24), "b");
    uint32_t length = word(e.ebx + 44), at = word(e.ebx + 48), usable = 0;
    for (uint32_t i = 0; i < length; i += word(at + i) + 4) {
        assert_int_equal(word(at + i), 20);
        if (word(at + i + 20) == 1)
            usable += word(at + i + 12);
    }
    assert_int_equal(usable, 0x9fc00 + RAM - 0x100000);
}

static void header_addresses(void **state)
{
    (void)state;
    uint8_t raw[0x100] = {0};
    struct multiboot_entry e;
    const char *why;
    uint32_t flags = 1u << 16;
    put32(raw + 0x20, 0x1badb002);
    put32(raw + 0x24, flags);
    put32(raw + 0x28, 0u - 0x1badb002u - flags);
    put32(raw + 0x2c, 0x100010); // header
    put32(raw + 0x30, 0x100000); // load: 0x10 before the header
    put32(raw + 0x34, 0x100080);
    put32(raw + 0x38, 0x1000c0);
    put32(raw + 0x3c, 0x100040);
    raw[0x10] = 0x77;
    assert_int_equal(load(raw, sizeof raw, &e, &why), OK);
    assert_int_equal(e.eip, 0x100040);
    assert_int_equal(ram[0x100000], 0x77);
    assert_int_equal(word(0x100010), 0x1badb002);
    assert_int_equal(ram[0x1000bf], 0);
    assert_int_equal(ram[0x1000c0], 0xcc);
}

static void elf64_is_loaded(void **state)
{
    (void)state;
    uint8_t elf[0x200];
    struct multiboot_entry e;
    const char *why;
    make_elf64(elf, 0x200000);
    assert_int_equal(load(elf, sizeof elf, &e, &why), OK);
    assert_int_equal(e.eip, 0x200010); // translated to physical
    assert_int_equal(ram[0x2000ff], 0x5a);
    assert_int_equal(ram[0x2001ff], 0);
    assert_string_equal((char *)ram + word(e.ebx + 16), "alpha beta");

    make_elf64(elf, UINT64_MAX - 0xff); // around the end of the address space
    assert_int_equal(load(elf, sizeof elf, &e, &why), ERR_RANGE);
    make_elf64(elf, 1ull << 32);
    assert_int_equal(load(elf, sizeof elf, &e, &why), ERR_RANGE);
    make_elf64(elf, 0x200000);
    put64(elf + 64 + 40, UINT64_MAX); // memsz
    assert_int_equal(load(elf, sizeof elf, &e, &why), ERR_RANGE);
    make_elf64(elf, 0x200000);
    put64(elf + 64 + 8, UINT64_MAX); // offset
    assert_int_equal(load(elf, sizeof elf, &e, &why), ERR_PROTOCOL);
    make_elf64(elf, 0x200000);
    put64(elf + 32, UINT64_MAX); // phoff
    assert_int_equal(load(elf, sizeof elf, &e, &why), ERR_PROTOCOL);
    make_elf64(elf, 0x200000);
    put64(elf + 24, 0x100000000); // entry in no segment, and not where 32-bit code is
    assert_int_equal(load(elf, sizeof elf, &e, &why), ERR_PROTOCOL);
}

static void bad_images_are_refused(void **state)
{
    (void)state;
    uint8_t elf[0x200];
    struct multiboot_entry e;
    const char *why;

    make_elf(elf, 0x200000, 3);
    put32(elf + 0x108, 0); // checksum
    assert_int_equal(load(elf, sizeof elf, &e, &why), ERR_PROTOCOL);
    assert_non_null(strstr(why, "no Multiboot"));

    make_elf(elf, 0x200000, 8); // a required flag nobody knows
    assert_int_equal(load(elf, sizeof elf, &e, &why), ERR_UNSUPPORTED);

    make_elf(elf, RAM - 0x100, 0); // bss past the end
    assert_int_equal(load(elf, sizeof elf, &e, &why), ERR_RANGE);

    make_elf(elf, 0x200000, 0);
    put32(elf + 52 + 4, 0xfffffff0); // segment offset
    assert_int_equal(load(elf, sizeof elf, &e, &why), ERR_PROTOCOL);

    make_elf(elf, 0x200000, 0);
    elf[4] = 3; // neither 32- nor 64-bit
    assert_int_equal(load(elf, sizeof elf, &e, &why), ERR_UNSUPPORTED);
    make_elf(elf, 0x200000, 0);
    elf[4] = 2; // the rest is a 32-bit file's
    assert_int_equal(load(elf, sizeof elf, &e, &why), ERR_PROTOCOL);

    make_elf(elf, 0x200000, 0);
    put16(elf + 44, 0xffff); // program headers outside
    assert_int_equal(load(elf, sizeof elf, &e, &why), ERR_PROTOCOL);

    make_elf(elf, RAM - 0x200, 0); // fits, modules do not
    assert_int_equal(load(elf, sizeof elf, &e, &why), ERR_RANGE);
    assert_non_null(strstr(why, "modules"));

    assert_int_equal(load("", 0, &e, &why), ERR_PROTOCOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elf_is_loaded_with_everything),
        cmocka_unit_test(header_addresses),
        cmocka_unit_test(elf64_is_loaded),
        cmocka_unit_test(bad_images_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
