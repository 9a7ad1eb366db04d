// SPDX-License-Identifier: BSD-2-Clause
// Source: System V ABI (ELF-64 object file format), "ELF header", "Sections", "Symbol table".
#include "rt/symbols.h"
#include "rt/elf_format.h"
#include <string.h>

static const uint8_t *file;
static size_t symtab_offset, symtab_count, strtab_offset, strtab_size;

/// True when [offset, offset + size) lies in a file of `limit` bytes.
static bool inside(uint64_t offset, uint64_t size, uint64_t limit)
{
    return offset <= limit && size <= limit - offset;
}

enum status symbols_init(const void *elf, size_t size)
{
    struct elf64_ehdr header;
    symtab_count = 0;
    strtab_size = 0;
    if (!elf || size < sizeof header)
        return ERR_PROTOCOL;
    memcpy(&header, elf, sizeof header);
    if (memcmp(header.e_ident, ELFMAG, 4) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_shentsize != sizeof(struct elf64_shdr))
        return ERR_PROTOCOL;
    if (!inside(header.e_shoff, (uint64_t)header.e_shnum * sizeof(struct elf64_shdr), size))
        return ERR_PROTOCOL;
    const uint8_t *sections = (const uint8_t *)elf + header.e_shoff;
    for (unsigned i = 0; i < header.e_shnum; i++) {
        struct elf64_shdr symtab, strtab;
        memcpy(&symtab, sections + i * sizeof symtab, sizeof symtab);
        if (symtab.sh_type != SHT_SYMTAB)
            continue;
        if (symtab.sh_link >= header.e_shnum || symtab.sh_entsize != sizeof(struct elf64_sym))
            return ERR_PROTOCOL;
        memcpy(&strtab, sections + symtab.sh_link * sizeof strtab, sizeof strtab);
        if (strtab.sh_type != SHT_STRTAB || !inside(symtab.sh_offset, symtab.sh_size, size) ||
            !inside(strtab.sh_offset, strtab.sh_size, size))
            return ERR_PROTOCOL;
        file = elf;
        symtab_offset = symtab.sh_offset;
        symtab_count = symtab.sh_size / sizeof(struct elf64_sym);
        strtab_offset = strtab.sh_offset;
        strtab_size = strtab.sh_size;
        // A table that does not end in a zero byte could be read past its end.
        while (strtab_size > 0 && file[strtab_offset + strtab_size - 1] != 0)
            strtab_size--;
        return OK;
    }
    return ERR_NOTFOUND;
}

bool symbols_lookup(uint64_t address, struct symbol *symbol)
{
    bool found = false;
    uint64_t best = 0;
    for (size_t i = 0; i < symtab_count; i++) {
        struct elf64_sym s;
        memcpy(&s, file + symtab_offset + i * sizeof s, sizeof s);
        unsigned type = s.st_info & 15;
        if ((type != STT_FUNC && type != STT_NOTYPE) || s.st_shndx == SHN_UNDEF || s.st_name >= strtab_size ||
            file[strtab_offset + s.st_name] == 0 || s.st_value > address)
            continue;
        // A function knows its size; a label reaches up to the next symbol.
        if (type == STT_FUNC && s.st_size != 0 && address - s.st_value >= s.st_size)
            continue;
        if (found && (s.st_value < best || (s.st_value == best && type != STT_FUNC)))
            continue;
        found = true;
        best = s.st_value;
        symbol->name = (const char *)file + strtab_offset + s.st_name;
        symbol->offset = address - s.st_value;
    }
    return found;
}

void symbols_extent(size_t *start, size_t *end)
{
    *start = 0;
    *end = 0;
    if (symtab_count == 0)
        return;
    size_t symtab_end = symtab_offset + symtab_count * sizeof(struct elf64_sym);
    size_t strtab_end = strtab_offset + strtab_size;
    *start = symtab_offset < strtab_offset ? symtab_offset : strtab_offset;
    *end = symtab_end > strtab_end ? symtab_end : strtab_end;
}
