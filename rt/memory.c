// SPDX-License-Identifier: BSD-2-Clause
// memcpy, memmove, memset and memcmp of both ELFs, in the place of newlib's; see rt/memory.h.
#include "rt/memory.h"
#include <string.h>

#undef memcpy // rt/builtin.h
#undef memmove
#undef memset
#undef memcmp

// The compiler must not find a memmove in the loops below: it would call itself.
#pragma GCC optimize("no-tree-loop-distribute-patterns")

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    memory_copy(to, from, n);
    return to;
}

void *memmove(void *to, const void *from, size_t n)
{
    memory_move(to, from, n);
    return to;
}

void *memset(void *bytes, int value, size_t n)
{
    memory_fill(bytes, (uint8_t)value, n);
    return bytes;
}

int memcmp(const void *left, const void *right, size_t n)
{
    return memory_compare(left, right, n);
}
