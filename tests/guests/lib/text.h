// SPDX-License-Identifier: BSD-2-Clause
// Bytes and checksums: the few routines the compiler expects and the tests share.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
bool same_bytes(const void *a, const void *b, size_t n);
/// CRC-32 of IEEE 802.3 (zlib's), continued from `crc`; start with 0.
uint32_t crc32(uint32_t crc, const void *data, size_t n);
/// xorshift32 (Marsaglia 2003): the same numbers on every run. *state must not be 0.
uint32_t next_random(uint32_t *state);
