// SPDX-License-Identifier: BSD-2-Clause
// Function names for addresses, from the .symtab of the whole ELF the loader kept. Pure: compiles on the
// build machine. Every offset in the file is checked; a damaged file gives no names, never a fault.
#pragma once
#include "rt/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct symbol {
    const char *name; // inside the ELF file
    uint64_t offset;  // bytes from its start
};

/// Remembers the symbol table of the ELF64 file at `elf`. ERR_PROTOCOL: not such a file; ERR_NOTFOUND: it has
/// no symbols. The file must stay where it is (symbols_extent says which part of it).
MUST_CHECK enum status symbols_init(const void *elf, size_t size);
/// The function that `address` is in. False: none.
bool symbols_lookup(uint64_t address, struct symbol *symbol);
/// Offsets in the file of the bytes that must be kept: [*start, *end). Both 0: none.
void symbols_extent(size_t *start, size_t *end);
