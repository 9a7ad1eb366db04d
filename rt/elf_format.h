// SPDX-License-Identifier: BSD-2-Clause
// The ELF object file format, as far as Farbus reads it: structures, fields and constants with their names
// from the gABI (System V ABI, "Object Files"). Plain data: the loader uses it, too. A file is not to be
// trusted, not even with alignment: fields are read through copies, and every offset is checked.
#pragma once
#include <stdint.h>

enum { EI_CLASS = 4, EI_DATA = 5, EI_VERSION = 6, EI_NIDENT = 16 };
enum { ELFCLASS32 = 1, ELFCLASS64 = 2, ELFDATA2LSB = 1, EV_CURRENT = 1 };
enum { ET_EXEC = 2, EM_X86_64 = 62 };
enum { PT_LOAD = 1, PT_DYNAMIC = 2, PT_INTERP = 3, PF_X = 1, PF_W = 2 };
enum { SHT_SYMTAB = 2, SHT_STRTAB = 3, SHT_NOTE = 7, SHN_UNDEF = 0 };
enum { STT_NOTYPE = 0, STT_FUNC = 2 };
#define ELFMAG "\177ELF"

struct elf32_ehdr {
    uint8_t e_ident[EI_NIDENT];
    uint16_t e_type, e_machine;
    uint32_t e_version, e_entry, e_phoff, e_shoff, e_flags;
    uint16_t e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx;
};
_Static_assert(sizeof(struct elf32_ehdr) == 52, "gABI: ELF header");

struct elf32_phdr {
    uint32_t p_type, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_flags, p_align;
};
_Static_assert(sizeof(struct elf32_phdr) == 32, "gABI: program header");

struct elf64_ehdr {
    uint8_t e_ident[EI_NIDENT];
    uint16_t e_type, e_machine;
    uint32_t e_version;
    uint64_t e_entry, e_phoff, e_shoff;
    uint32_t e_flags;
    uint16_t e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx;
};
_Static_assert(sizeof(struct elf64_ehdr) == 64, "gABI: ELF header");

struct elf64_phdr {
    uint32_t p_type, p_flags;
    uint64_t p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align;
};
_Static_assert(sizeof(struct elf64_phdr) == 56, "gABI: program header");

struct elf64_shdr {
    uint32_t sh_name, sh_type;
    uint64_t sh_flags, sh_addr, sh_offset, sh_size;
    uint32_t sh_link, sh_info;
    uint64_t sh_addralign, sh_entsize;
};
_Static_assert(sizeof(struct elf64_shdr) == 64, "gABI: section header");

struct elf64_sym {
    uint32_t st_name;
    uint8_t st_info, st_other;
    uint16_t st_shndx;
    uint64_t st_value, st_size;
};
_Static_assert(sizeof(struct elf64_sym) == 24, "gABI: symbol table entry");

struct elf64_nhdr {
    uint32_t n_namesz, n_descsz, n_type;
};
_Static_assert(sizeof(struct elf64_nhdr) == 12, "gABI: note section entry");
