// SPDX-License-Identifier: BSD-2-Clause
// Function names out of an ELF file: this test's own binary, a made-up one, and damaged ones.
// LINK: rt/symbols.c
#include "rt/symbols.h"
#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char names[] = "\0first\0second\0label\0data";

struct image {
    Elf64_Ehdr header;
    Elf64_Shdr sections[3];
    Elf64_Sym symbols[6];
    char strings[sizeof names];
};

static struct image make(void)
{
    struct image im = {
        .header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB},
                   .e_shoff = offsetof(struct image, sections),
                   .e_shentsize = sizeof(Elf64_Shdr),
                   .e_shnum = 3},
        .sections = {{.sh_type = SHT_NULL},
                     {.sh_type = SHT_SYMTAB,
                      .sh_offset = offsetof(struct image, symbols),
                      .sh_size = sizeof im.symbols,
                      .sh_entsize = sizeof(Elf64_Sym),
                      .sh_link = 2},
                     {.sh_type = SHT_STRTAB,
                      .sh_offset = offsetof(struct image, strings),
                      .sh_size = sizeof names}},
        .symbols =
            {{0},
             {.st_name = 7, .st_info = STT_FUNC, .st_shndx = 1, .st_value = 0x2000, .st_size = 0x10},
             {.st_name = 1, .st_info = STT_FUNC, .st_shndx = 1, .st_value = 0x1000, .st_size = 0x100},
             {.st_name = 14, .st_info = STT_NOTYPE, .st_shndx = 1, .st_value = 0x3000},
             {.st_name = 20, .st_info = STT_OBJECT, .st_shndx = 1, .st_value = 0x1010, .st_size = 8},
             {.st_name = 20, .st_info = STT_FUNC, .st_shndx = SHN_UNDEF, .st_value = 0x1020, .st_size = 8}},
    };
    memcpy(im.strings, names, sizeof names);
    return im;
}

/// On the heap, exactly as long as said: the sanitizer sees a read beyond it.
static void *exact(const void *bytes, size_t size)
{
    void *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    return copy;
}

static void expect(uint64_t address, const char *name, uint64_t offset)
{
    struct symbol s;
    assert_true(symbols_lookup(address, &s));
    assert_string_equal(s.name, name);
    assert_int_equal(s.offset, offset);
}

static void test_lookup(void **state)
{
    (void)state;
    struct image im = make();
    struct symbol s;
    assert_int_equal(symbols_init(&im, sizeof im), OK);
    expect(0x1000, "first", 0);
    expect(0x1015, "first", 0x15); // not the object, not the undefined one
    expect(0x10ff, "first", 0xff);
    expect(0x2003, "second", 3);
    expect(0x3456, "label", 0x456);
    assert_false(symbols_lookup(0x1100, &s)); // after the end of a function
    assert_false(symbols_lookup(0x2010, &s));
    assert_false(symbols_lookup(0xfff, &s));
    size_t from, to;
    symbols_extent(&from, &to);
    assert_int_equal(from, offsetof(struct image, symbols));
    assert_int_equal(to, offsetof(struct image, strings) + sizeof names);
}

static void test_own_binary(void **state)
{
    (void)state;
    static uint8_t bytes[16 << 20];
    FILE *f = fopen("/proc/self/exe", "rb");
    assert_non_null(f);
    size_t size = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    assert_int_equal(symbols_init(bytes, size), OK);
    // Position-independent: the distance between two functions is the same in the file and in memory.
    Elf64_Ehdr h;
    memcpy(&h, bytes, sizeof h);
    struct symbol s;
    assert_true(symbols_lookup(h.e_entry, &s));
    assert_string_equal(s.name, "_start");
    assert_int_equal(s.offset, 0);
}

static void test_refusals(void **state)
{
    (void)state;
    struct image im = make();
    struct symbol s;
    assert_int_equal(symbols_init(NULL, 100), ERR_PROTOCOL);
    for (size_t size = 0; size < offsetof(struct image, strings) + sizeof names; size++) { // every truncation
        void *copy = exact(&im, size);
        assert_int_equal(symbols_init(copy, size), ERR_PROTOCOL);
        assert_false(symbols_lookup(0x1000, &s));
        free(copy);
    }
    im.sections[1].sh_type = SHT_PROGBITS;
    assert_int_equal(symbols_init(&im, sizeof im), ERR_NOTFOUND);
    im = make();
    im.sections[1].sh_link = 3;
    assert_int_equal(symbols_init(&im, sizeof im), ERR_PROTOCOL);
    im = make();
    im.sections[2].sh_offset = UINT64_MAX;
    assert_int_equal(symbols_init(&im, sizeof im), ERR_PROTOCOL);
    im = make();
    im.header.e_shoff = UINT64_MAX - 8;
    assert_int_equal(symbols_init(&im, sizeof im), ERR_PROTOCOL);
    im = make();
    im.header.e_ident[EI_CLASS] = ELFCLASS32;
    assert_int_equal(symbols_init(&im, sizeof im), ERR_PROTOCOL);
}

static void test_strings_that_do_not_end(void **state)
{
    (void)state;
    struct image im = make();
    im.sections[2].sh_size = 10; // "first" ends in it, "second" does not
    struct symbol s;
    assert_int_equal(symbols_init(&im, sizeof im), OK);
    expect(0x1000, "first", 0);
    assert_false(symbols_lookup(0x2000, &s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lookup),
        cmocka_unit_test(test_own_binary),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_strings_that_do_not_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
