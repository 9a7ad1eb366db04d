// SPDX-License-Identifier: BSD-2-Clause
// Registers that processors keep for themselves: what this guest puts there must stay while other guests have
// the same processor. Two guests with different seeds show it.
#include "tests/guests/lib/text.h"
#include "tests/guests/rogue/rogue.h"

static const uint32_t msrs[] = {0x174,      0x175,      0x176,      0xc0000081, 0xc0000082, 0xc0000083,
                                0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103};
#define MSRS (sizeof msrs / sizeof *msrs)

struct registers {
    uint64_t msr[MSRS];
    uint32_t debug[4], cr2, mxcsr;
    uint8_t xmm[8][16];
};

static void put(const struct registers *r)
{
    for (unsigned i = 0; i < MSRS; i++)
        (void)try_wrmsr(msrs[i], r->msr[i]);
    __asm__ volatile("movl %0, %%dr0; movl %1, %%dr1; movl %2, %%dr2; movl %3, %%dr3" ::"r"(r->debug[0]),
                     "r"(r->debug[1]), "r"(r->debug[2]), "r"(r->debug[3]));
    __asm__ volatile(
        "movups (%0), %%xmm0; movups 16(%0), %%xmm1; movups 32(%0), %%xmm2; movups 48(%0), %%xmm3;"
        "movups 64(%0), %%xmm4; movups 80(%0), %%xmm5; movups 96(%0), %%xmm6; movups 112(%0), %%xmm7;"
        "ldmxcsr %1" ::"r"(r->xmm),
        "m"(r->mxcsr));
    __asm__ volatile("movl %0, %%cr2" ::"r"(r->cr2));
}

static void get(struct registers *r)
{
    __asm__ volatile("movl %%cr2, %0" : "=r"(r->cr2));
    for (unsigned i = 0; i < MSRS; i++)
        if (!try_rdmsr(msrs[i], &r->msr[i]))
            r->msr[i] = 0;
    __asm__ volatile("movl %%dr0, %0; movl %%dr1, %1; movl %%dr2, %2; movl %%dr3, %3"
                     : "=r"(r->debug[0]), "=r"(r->debug[1]), "=r"(r->debug[2]), "=r"(r->debug[3]));
    __asm__ volatile(
        "movups %%xmm0, (%0); movups %%xmm1, 16(%0); movups %%xmm2, 32(%0); movups %%xmm3, 48(%0);"
        "movups %%xmm4, 64(%0); movups %%xmm5, 80(%0); movups %%xmm6, 96(%0); movups %%xmm7, 112(%0);"
        "stmxcsr (%1)" ::"r"(r->xmm),
        "r"(&r->mxcsr)
        : "memory");
}

void rogue_own(void)
{
    static struct registers mine, first, now;
    uint32_t seed = option_number("seed", 1), count = option_number("count", 1000), changed = 0;
    write_cr4(read_cr4() | 1u << 9); // OSFXSR
    for (unsigned i = 0; i < MSRS; i++)
        mine.msr[i] = next_random(&seed) & 0x7ffffff8u;
    for (unsigned i = 0; i < 4; i++)
        mine.debug[i] = next_random(&seed);
    for (unsigned i = 0; i < sizeof mine.xmm; i++)
        mine.xmm[i / 16][i % 16] = (uint8_t)next_random(&seed);
    mine.cr2 = next_random(&seed);
    mine.mxcsr = 0x1f80u | (next_random(&seed) & 0x6000u);
    put(&mine);
    get(&first);
    uint32_t kept = 0;
    for (unsigned i = 0; i < MSRS; i++)
        kept += first.msr[i] == mine.msr[i];
    for (uint32_t i = 0; i < count; i++) {
        for (unsigned spin = 0; spin < 20000; spin++)
            __asm__ volatile("");
        get(&now);
        bool differs = false;
        for (unsigned b = 0; b < sizeof now; b++)
            differs |= ((const uint8_t *)&now)[b] != ((const uint8_t *)&first)[b];
        changed += differs;
    }
    print("rogue: own registers looked at %u times, changed %u times; %u of %u MSRs\n", count, changed, kept,
          (unsigned)MSRS);
}
