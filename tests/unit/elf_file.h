// SPDX-License-Identifier: BSD-2-Clause
// A small valid ELF as the loader wants it, made in memory, for tests to spoil: text, read-only data and data
// with BSS, and the note. Offsets are named so that a test says which field it breaks.
#pragma once
#include "boot/elf.h"
#include <string.h>

enum {
    AT_CLASS = 4,
    AT_DATA = 5,
    AT_TYPE = 16,
    AT_MACHINE = 18,
    AT_ENTRY = 24,
    AT_PHOFF = 32,
    AT_SHOFF = 40,
    AT_PHENTSIZE = 54,
    AT_PHNUM = 56,
    AT_SHENTSIZE = 58,
    AT_SHNUM = 60,
    PHDRS = 64, // three of 56 bytes
    PH_TYPE = 0,
    PH_FLAGS = 4,
    PH_OFFSET = 8,
    PH_VADDR = 16,
    PH_FILESZ = 32,
    PH_MEMSZ = 40,
    SHDRS = 256, // null, note
    SH_TYPE = 4,
    SH_OFFSET = 24,
    SH_SIZE = 32,
    NOTE = 384,
    NOTE_VERSION = NOTE + 20,
    NOTE_ROLE = NOTE + 24,
    NOTE_INFO_SIZE = NOTE + 28,
    TEXT = 0x1000,
    RODATA = 0x2000,
    DATA = 0x3000,
    ELF_FILE_SIZE = 0x3100,
};
#define VIRT 0xffffffff80100000ull

static inline void put(uint8_t *file, size_t at, uint64_t value, size_t bytes)
{
    memcpy(file + at, &value, bytes); // little-endian, as the build machine
}

static inline void put_phdr(uint8_t *file, unsigned n, uint32_t flags, uint64_t offset, uint64_t vaddr,
                            uint64_t filesz, uint64_t memsz)
{
    size_t at = PHDRS + n * 56u;
    put(file, at + PH_TYPE, 1, 4);
    put(file, at + PH_FLAGS, flags, 4);
    put(file, at + PH_OFFSET, offset, 8);
    put(file, at + PH_VADDR, vaddr, 8);
    put(file, at + PH_FILESZ, filesz, 8);
    put(file, at + PH_MEMSZ, memsz, 8);
}

static inline void make_elf(uint8_t file[ELF_FILE_SIZE], enum boot_role role)
{
    memset(file, 0, ELF_FILE_SIZE);
    memcpy(file, "\177ELF\2\1\1", 7);
    put(file, AT_TYPE, 2, 2);
    put(file, AT_MACHINE, 62, 2);
    put(file, 20, 1, 4);
    put(file, AT_ENTRY, VIRT + 0x10, 8);
    put(file, AT_PHOFF, PHDRS, 8);
    put(file, AT_SHOFF, SHDRS, 8);
    put(file, AT_PHENTSIZE, 56, 2);
    put(file, AT_PHNUM, 3, 2);
    put(file, AT_SHENTSIZE, 64, 2);
    put(file, AT_SHNUM, 2, 2);
    put_phdr(file, 0, 5, TEXT, VIRT, 0x800, 0x800);              // R X
    put_phdr(file, 1, 4, RODATA, VIRT + 0x1000, 0x1000, 0x1000); // R
    put_phdr(file, 2, 6, DATA, VIRT + 0x2000, 0x100, 0x2345);    // RW and BSS
    put(file, SHDRS + 64 + SH_TYPE, 7, 4);
    put(file, SHDRS + 64 + SH_OFFSET, NOTE, 8);
    put(file, SHDRS + 64 + SH_SIZE, 12 + 8 + sizeof(struct boot_note), 8);
    put(file, NOTE, sizeof "Farbus", 4);
    put(file, NOTE + 4, sizeof(struct boot_note), 4);
    put(file, NOTE + 8, 1, 4);
    memcpy(file + NOTE + 12, "Farbus", sizeof "Farbus");
    put(file, NOTE_VERSION, BOOT_INFO_VERSION, 4);
    put(file, NOTE_ROLE, (uint64_t)role, 4);
    put(file, NOTE_INFO_SIZE, sizeof(struct boot_info), 4);
}
