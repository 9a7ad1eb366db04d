// SPDX-License-Identifier: BSD-2-Clause
// The Internet checksum (RFC 1071), eight bytes at a time. Sums are in memory order: what is stored or
// compared needs no swap.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/// Adds `size` bytes to a running sum. The pieces before the last one must have an even size.
static inline uint64_t checksum_add(uint64_t sum, const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    uint64_t high = 0, w;
    for (; size >= 8; p += 8, size -= 8) {
        memcpy(&w, p, 8);
        sum += (uint32_t)w;
        high += w >> 32;
    }
    if (size != 0) {
        w = 0;
        memcpy(&w, p, size);
        sum += (uint32_t)w;
        high += w >> 32;
    }
    return sum + high;
}

/// The 16-bit one's complement sum, not inverted.
static inline uint16_t checksum_fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}
