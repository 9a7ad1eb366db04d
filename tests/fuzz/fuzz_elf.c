// SPDX-License-Identifier: BSD-2-Clause
// LINK: boot/elf.c boot/refusal.c
//
// An ELF as a broken disk or a stranger could leave it. A plan that is accepted must keep its word: every
// copy stays inside the file and inside the image, no two segments share a page, none is writable and
// executable, the entry point is code.
//
// Input: bit 0 of byte 0 set: the rest is the file. Else the rest is changes to a good file, 5 bytes each:
// offset (2), what to do (1: bits 0-1 log2 of the size, bit 2 add instead of set, bit 3 sign extend, bit 7
// cut the file at the offset), value (2).
#include "tests/unit/elf_file.h"
#include <stdlib.h>

static void require(int holds)
{
    if (!holds)
        abort();
}

static void check_plan(const struct elf_plan *p, uint64_t file_size)
{
    uint64_t page = 0; // first one that is free, in the image
    int entry_is_code = 0;
    require(p->count >= 1 && p->count <= ELF_SEGMENTS_MAX);
    require(p->image_size % ELF_PAGE == 0 && p->image_size != 0 && p->image_size <= ELF_IMAGE_MAX);
    require(p->image_virt % ELF_PAGE == 0 && p->image_virt >= ELF_VIRT_MIN);
    require(p->image_size <= 0 - p->image_virt);
    for (unsigned i = 0; i < p->count; i++) {
        const struct elf_segment *s = &p->segments[i];
        require(s->file_offset <= file_size && s->file_size <= file_size - s->file_offset);
        require(s->mem_size != 0 && s->file_size <= s->mem_size);
        require(s->image_offset <= p->image_size && s->mem_size <= p->image_size - s->image_offset);
        require(s->image_offset / ELF_PAGE >= page);
        page = (s->image_offset + s->mem_size - 1) / ELF_PAGE + 1;
        require(!s->writable || !s->executable);
        uint64_t at = p->entry - p->image_virt - s->image_offset;
        entry_is_code |= s->executable && at < s->file_size;
    }
    require(entry_is_code);
}

/// Applies the changes of the input; returns the file's length after them.
static size_t change(uint8_t *file, const uint8_t *data, size_t size)
{
    size_t length = ELF_FILE_SIZE;
    for (; size >= 5; data += 5, size -= 5) {
        size_t at = (data[0] | (size_t)data[1] << 8) % ELF_FILE_SIZE;
        size_t bytes = (size_t)1 << (data[2] & 3);
        uint64_t value = data[3] | (uint64_t)data[4] << 8, old = 0;
        if (data[2] & 0x80) {
            length = at;
            continue;
        }
        if (at + bytes > ELF_FILE_SIZE)
            continue;
        if ((data[2] & 8) && (value & 0x8000))
            value |= ~0xffffull;
        if (data[2] & 4)
            memcpy(&old, file + at, bytes);
        put(file, at, old + value, bytes);
    }
    return length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t file[ELF_FILE_SIZE];
    if (size == 0)
        return 0;
    size_t length = size - 1;
    const uint8_t *from = data + 1;
    if ((data[0] & 1) == 0) {
        make_elf(file, BOOT_ROLE_HOST);
        length = change(file, data + 1, size - 1);
        from = file;
    }
    uint8_t *exact = malloc(length + 1); // off alignment and of its exact size, for UBSan and ASan
    memcpy(exact + 1, from, length);
    struct elf_plan plan;
    struct refusal why = {.text = ""};
    enum status s = elf_plan("\\hv.elf", exact + 1, length, BOOT_ROLE_HOST, &plan, &why);
    free(exact);
    require((s == OK) == (why.text[0] == '\0'));
    require(memchr(why.text, 0, sizeof why.text) != NULL);
    if (s == OK)
        check_plan(&plan, length);
    return 0;
}
