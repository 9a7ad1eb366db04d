// SPDX-License-Identifier: BSD-2-Clause
// See entropy.h.
#include "rt/entropy.h"
#include "rt/x86.h"

#define TRIES 16u // Intel's guide to the generator, 5.2.1, asks for 10

#define ECX_RDRAND (1u << 30) // CPUID leaf 1
#define EBX_RDSEED (1u << 18) // CPUID leaf 7

static bool rdseed(uint64_t *word)
{
    bool fine;
    __asm__ volatile("rdseed %0" : "=r"(*word), "=@ccc"(fine));
    return fine;
}

static bool rdrand(uint64_t *word)
{
    bool fine;
    __asm__ volatile("rdrand %0" : "=r"(*word), "=@ccc"(fine));
    return fine;
}

static bool draw(bool (*from)(uint64_t *), uint64_t *word)
{
    for (unsigned i = 0; i < TRIES; i++)
        if (from(word))
            return true;
    return false;
}

bool entropy_gather(uint64_t words[ENTROPY_WORDS])
{
    bool seed = cpuid(0, 0).eax >= 7 && (cpuid(7, 0).ebx & EBX_RDSEED) != 0;
    bool rand = (cpuid(1, 0).ecx & ECX_RDRAND) != 0, all = seed || rand;
    for (unsigned i = 0; i < ENTROPY_WORDS; i++) {
        uint64_t word = 0;
        if (seed || rand)
            all &= (seed && draw(rdseed, &word)) || (rand && draw(rdrand, &word));
        words[i] = word ^ rdtsc();
    }
    return all;
}
