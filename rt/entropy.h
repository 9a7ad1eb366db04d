// SPDX-License-Identifier: BSD-2-Clause
// Bytes that are hard to guess, from the CPU. Knows no cipher: whoever uses them has to mix them.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define ENTROPY_WORDS 32u

/// Fills all words: with the time stamp counter between reads whose duration varies, and, where the CPU has
/// it, RDSEED or RDRAND (SDM vol. 1, 7.3.17). True: the latter; false: better than nothing.
bool entropy_gather(uint64_t words[ENTROPY_WORDS]);
