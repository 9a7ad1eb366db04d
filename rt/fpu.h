// SPDX-License-Identifier: BSD-2-Clause
// The vector registers for a moment. Our code is built without them and they hold what a guest, or nobody,
// left there: who wants to use them (a cipher) borrows them and gives them back as they were. Between the two
// calls nothing may wait, and no vCPU may change hands; interrupt handlers use general registers only, so
// interrupts may come. Knows nothing of guests.
#pragma once
#include <stdint.h>

/// FXSAVE's area (SDM vol. 1, 10.5.1). The upper halves of YMM and ZMM registers are not in it: code between
/// the two calls has to be SSE, which leaves them alone (SDM vol. 1, 14.1).
struct fpu_borrowed {
    uint8_t area[512];
} __attribute__((aligned(16)));

static inline void fpu_borrow(struct fpu_borrowed *b)
{
    __asm__ volatile("fxsave64 %0" : "=m"(*b));
}

/// Also wipes what the borrower left in the registers.
static inline void fpu_return(const struct fpu_borrowed *b)
{
    __asm__ volatile("fxrstor64 %0" : : "m"(*b));
}
