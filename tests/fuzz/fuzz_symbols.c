// SPDX-License-Identifier: BSD-2-Clause
// Any bytes as an ELF file: no read outside them, and every name ends inside them.
// LINK: rt/symbols.c
#include "rt/symbols.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct symbol s;
    if (symbols_init(data, size) != OK)
        return 0;
    for (uint64_t address = 0; address < 1ull << 40; address = address * 3 + 1)
        if (symbols_lookup(address, &s) &&
            ((const uint8_t *)s.name < data || (const uint8_t *)s.name + strlen(s.name) >= data + size))
            abort();
    size_t from, to;
    symbols_extent(&from, &to);
    if (from > to || to > size)
        abort();
    return 0;
}
