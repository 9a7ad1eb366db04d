// SPDX-License-Identifier: BSD-2-Clause
// LINK: boot/elf.c boot/refusal.c
//
// The loader's view of an ELF: the plan for a good one, and the sentence for each thing that may be wrong
// with it.
#include "tests/unit/elf_file.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static uint8_t file[ELF_FILE_SIZE];
static struct elf_plan plan;
static struct refusal why;

static int setup(void **state)
{
    (void)state;
    make_elf(file, BOOT_ROLE_HOST);
    return 0;
}

/// The first `size` bytes in a buffer of that size, off alignment, for ASan and UBSan.
static enum status plan_first(size_t size, enum boot_role role)
{
    uint8_t *exact = malloc(size + 1);
    memcpy(exact + 1, file, size);
    memset(&why, 0, sizeof why);
    enum status s = elf_plan("\\hv.elf", exact + 1, size, role, &plan, &why);
    free(exact);
    assert_int_equal(s == OK, why.text[0] == '\0');
    return s;
}

static void refused(const char *part)
{
    if (plan_first(sizeof file, BOOT_ROLE_HOST) == OK)
        fail_msg("accepted, but wanted: %s", part);
    if (strncmp(why.text, "\\hv.elf: ", 9) != 0 || strstr(why.text, part) == NULL)
        fail_msg("'%s' is not about: %s", why.text, part);
    make_elf(file, BOOT_ROLE_HOST);
}

static void test_plan(void **state)
{
    (void)state;
    assert_int_equal(plan_first(sizeof file, BOOT_ROLE_HOST), OK);
    assert_int_equal(plan.entry, VIRT + 0x10);
    assert_int_equal(plan.image_virt, VIRT);
    assert_int_equal(plan.image_size, 0x5000);
    assert_int_equal(plan.count, 3);
    const struct elf_segment *s = plan.segments;
    assert_true(s[0].executable && !s[0].writable && s[0].image_offset == 0 && s[0].file_size == 0x800);
    assert_true(!s[1].executable && !s[1].writable && s[1].image_offset == 0x1000 &&
                s[1].file_offset == RODATA);
    assert_true(!s[2].executable && s[2].writable && s[2].image_offset == 0x2000 && s[2].mem_size == 0x2345);
    make_elf(file, BOOT_ROLE_REMOTE);
    assert_int_equal(plan_first(sizeof file, BOOT_ROLE_REMOTE), OK);
    // A segment need not begin a page, and one without memory is none.
    make_elf(file, BOOT_ROLE_HOST);
    put_phdr(file, 1, 7, RODATA, VIRT + 0x1000, 0, 0);
    put_phdr(file, 2, 6, DATA, VIRT + 0x1808, 8, 16);
    assert_int_equal(plan_first(sizeof file, BOOT_ROLE_HOST), OK);
    assert_int_equal(plan.count, 2);
    assert_int_equal(plan.segments[1].image_offset, 0x1808);
    assert_int_equal(plan.image_size, 0x2000);
}

static void test_identity(void **state)
{
    (void)state;
    file[1] = 'F';
    refused("not an ELF file");
    put(file, AT_CLASS, 1, 1);
    refused("a 32-bit ELF file");
    put(file, AT_DATA, 2, 1);
    refused("another byte order");
    put(file, 6, 2, 1);
    refused("another byte order or version");
    put(file, AT_MACHINE, 183, 2);
    refused("machine 183; this is an x86-64 PC");
    put(file, AT_TYPE, 3, 2);
    refused("type 3; an executable");
    put(file, AT_PHENTSIZE, 32, 2);
    refused("entries of 32 and 64 bytes");
    put(file, AT_SHENTSIZE, 40, 2);
    refused("entries of 56 and 40 bytes");
    put(file, PHDRS + PH_TYPE, 3, 4);
    refused("dynamically linked");
}

static void test_note(void **state)
{
    (void)state;
    put(file, NOTE_VERSION, BOOT_INFO_VERSION + 1, 4);
    char other[64];
    snprintf(other, sizeof other, "made for another loader (boot contract version %u with",
             (unsigned)BOOT_INFO_VERSION + 1);
    refused(other);
    put(file, NOTE_INFO_SIZE, 8, 4);
    refused("with 8 bytes");
    put(file, NOTE_ROLE, BOOT_ROLE_REMOTE, 4);
    refused("its note says role 2 (remote), but role = host needs role 1");
    put(file, SHDRS + 64 + SH_TYPE, 1, 4);
    refused("no Farbus note");
    put(file, NOTE + 8, 3, 4);
    refused("no Farbus note");
    file[NOTE + 12] = 'f';
    refused("no Farbus note");
    put(file, AT_SHNUM, 0, 2);
    refused("no Farbus note");
    put(file, NOTE + 4, 0xffffffff, 4);
    refused("no Farbus note");
    put(file, NOTE, 0xffffffff, 4);
    refused("no Farbus note");
    put(file, SHDRS + 64 + SH_SIZE, 35, 8);
    refused("no Farbus note"); // it would end beyond its section
    put(file, SHDRS + 64 + SH_SIZE, UINT64_MAX, 8);
    refused("truncated: its note section");
    // Found after another one in the same section.
    uint8_t note[36];
    memcpy(note, file + NOTE, sizeof note);
    put(file, NOTE, 4, 4);
    put(file, NOTE + 4, 3, 4);
    memcpy(file + NOTE + 12, "GNU\0abc", 8);
    memcpy(file + NOTE + 20, note, sizeof note);
    put(file, SHDRS + 64 + SH_SIZE, 20 + sizeof note, 8);
    assert_int_equal(plan_first(sizeof file, BOOT_ROLE_HOST), OK);
}

/// Every length short of the whole is refused: the data segment is the file's end.
static void test_truncated(void **state)
{
    (void)state;
    for (size_t size = 0; size < sizeof file; size++)
        assert_int_not_equal(plan_first(size, BOOT_ROLE_HOST), OK);
    assert_non_null(
        strstr(why.text, "truncated: segment 2 is 256 bytes at offset 12288, but the file ends at 12543"));
    assert_int_not_equal(plan_first(SHDRS, BOOT_ROLE_HOST), OK);
    assert_non_null(strstr(why.text, "truncated: its section header table"));
    put(file, AT_PHOFF, UINT64_MAX - 8, 8);
    refused("truncated: its program header table");
}

static void test_segments(void **state)
{
    (void)state;
    put(file, PHDRS + PH_FLAGS, 7, 4);
    refused("segment 0 is writable and executable");
    put_phdr(file, 2, 6, DATA, VIRT + 0x2000, 0x100, 0xff);
    refused("segment 2 has more bytes in the file (256) than in memory (255)");
    put_phdr(file, 2, 6, UINT64_MAX - 0xff, VIRT + 0x2000, 0x100, 0x100);
    refused("truncated: segment 2");
    put_phdr(file, 2, 6, DATA, VIRT + 0x1800, 0x100, 0x100);
    refused("segment 2 (0xffffffff80101800) overlaps");
    put_phdr(file, 2, 6, DATA, VIRT + 0x1fff, 0x100, 0x100);
    refused("overlaps"); // another page of segment 1
    put_phdr(file, 2, 6, DATA, VIRT - 0x2000, 0x100, 0x100);
    refused("overlaps"); // not rising
    put_phdr(file, 0, 5, TEXT, 0x100000, 0x800, 0x800);
    refused("outside the upper 2 GiB");
    put_phdr(file, 0, 5, TEXT, ELF_VIRT_MIN - 1, 0x800, 0x800);
    refused("outside the upper 2 GiB");
    put_phdr(file, 2, 6, DATA, ELF_VIRT_LAST - 0xfe, 0x100, 0x100);
    refused("outside the upper 2 GiB");
    put_phdr(file, 2, 6, DATA, VIRT + 0x2000, 0x100, UINT64_MAX);
    refused("outside the upper 2 GiB");
    put_phdr(file, 2, 6, DATA, VIRT + 0x2000, 0x100, ELF_IMAGE_MAX);
    refused("larger than 64 MiB");
    put(file, AT_ENTRY, VIRT + 0x800, 8);
    refused("entry point 0xffffffff80100800 is not in an executable segment");
    put(file, AT_ENTRY, VIRT + 0x1000, 8);
    refused("is not in an executable segment");
    put(file, AT_PHNUM, 0, 2);
    refused("is not in an executable segment");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_plan, setup),     cmocka_unit_test_setup(test_identity, setup),
        cmocka_unit_test_setup(test_note, setup),     cmocka_unit_test_setup(test_truncated, setup),
        cmocka_unit_test_setup(test_segments, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
