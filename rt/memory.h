// SPDX-License-Identifier: BSD-2-Clause
// Copying, filling and comparing bytes without SSE, in few instructions: what rt/memory.c gives the linker as
// memcpy and its kin, under names of their own so that tests can hold them against the build machine's.
// newlib's versions go byte by byte for what is short or unaligned: 700 instructions for 100 bytes, where
// these take about 25. Technique: the last word is loaded first and stored last, overlapping what the words
// before it covered; so no byte loop is needed, and no byte outside the operands is touched.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef uint64_t __attribute__((aligned(1), may_alias)) memory_u64;
typedef uint32_t __attribute__((aligned(1), may_alias)) memory_u32;
typedef uint16_t __attribute__((aligned(1), may_alias)) memory_u16;

/// Up to 32 bytes: everything is loaded before anything is stored, so the operands may overlap in any way.
static inline void memory_copy_short(uint8_t *to, const uint8_t *from, size_t n)
{
    const uint8_t *end = from + n;
    uint8_t *to_end = to + n;
    if (n >= 16) {
        uint64_t a = *(const memory_u64 *)from, b = *(const memory_u64 *)(from + 8);
        uint64_t c = *(const memory_u64 *)(end - 16), d = *(const memory_u64 *)(end - 8);
        *(memory_u64 *)to = a;
        *(memory_u64 *)(to + 8) = b;
        *(memory_u64 *)(to_end - 16) = c;
        *(memory_u64 *)(to_end - 8) = d;
    } else if (n >= 8) {
        uint64_t a = *(const memory_u64 *)from, b = *(const memory_u64 *)(end - 8);
        *(memory_u64 *)to = a;
        *(memory_u64 *)(to_end - 8) = b;
    } else if (n >= 4) {
        uint32_t a = *(const memory_u32 *)from, b = *(const memory_u32 *)(end - 4);
        *(memory_u32 *)to = a;
        *(memory_u32 *)(to_end - 4) = b;
    } else if (n >= 2) {
        uint16_t a = *(const memory_u16 *)from, b = *(const memory_u16 *)(end - 2);
        *(memory_u16 *)to = a;
        *(memory_u16 *)(to_end - 2) = b;
    } else if (n == 1) {
        *to = *from;
    }
}

/// More than 32 bytes. `to` may overlap `from` if it lies below it: words go upwards.
static inline void memory_copy_long(uint8_t *to, const uint8_t *from, size_t n)
{
    uint64_t last = *(const memory_u64 *)(from + n - 8);
    uint8_t *to_end = to + n;
    size_t words = (n - 1) / 8;
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
    *(memory_u64 *)(to_end - 8) = last;
}

/// memcpy.
static inline void memory_copy(void *to, const void *from, size_t n)
{
    if (n <= 32)
        memory_copy_short(to, from, n);
    else
        memory_copy_long(to, from, n);
}

/// memmove.
static inline void memory_move(void *to, const void *from, size_t n)
{
    if (n <= 32) {
        memory_copy_short(to, from, n);
    } else if ((uintptr_t)to - (uintptr_t)from >= n) {
        memory_copy_long(to, from, n); // apart, or `to` below
    } else {
        uint64_t first = *(const memory_u64 *)from;
        for (size_t at = n; at > 8;) {
            at -= 8;
            uint64_t word = *(const memory_u64 *)((const uint8_t *)from + at);
            *(memory_u64 *)((uint8_t *)to + at) = word;
        }
        *(memory_u64 *)to = first;
    }
}

/// memset.
static inline void memory_fill(void *bytes, uint8_t value, size_t n)
{
    uint8_t *to = bytes, *end = to + n;
    uint64_t word = value * 0x0101010101010101ull;
    if (n >= 8) {
        *(memory_u64 *)(end - 8) = word;
        if (n <= 16) {
            *(memory_u64 *)to = word;
        } else {
            size_t words = (n - 1) / 8;
            __asm__ volatile("rep stosq" : "+D"(to), "+c"(words) : "a"(word) : "memory");
        }
    } else if (n >= 4) {
        *(memory_u32 *)to = (uint32_t)word;
        *(memory_u32 *)(end - 4) = (uint32_t)word;
    } else if (n >= 2) {
        *(memory_u16 *)to = (uint16_t)word;
        *(memory_u16 *)(end - 2) = (uint16_t)word;
    } else if (n == 1) {
        *to = value;
    }
}

/// memcmp: < 0, 0, > 0 as the first differing bytes.
static inline int memory_compare(const void *left, const void *right, size_t n)
{
    const uint8_t *a = left, *b = right;
    for (; n >= 8; n -= 8, a += 8, b += 8) {
        uint64_t x = *(const memory_u64 *)a, y = *(const memory_u64 *)b;
        if (x != y)
            return __builtin_bswap64(x) < __builtin_bswap64(y) ? -1 : 1;
    }
    for (; n > 0; n--, a++, b++) {
        if (*a != *b)
            return *a < *b ? -1 : 1;
    }
    return 0;
}
