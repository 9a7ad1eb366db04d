// SPDX-License-Identifier: BSD-2-Clause
// The loader's instructions: what it reads from the CPU, and the jump. Nothing is decided here.
#pragma once
#include "boot/cpu_check.h"
#include <cpuid.h>
#include <stdint.h>

static inline uint64_t cpu_tsc(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high)::"memory");
    return (uint64_t)high << 32 | low;
}

static inline struct cpu_facts cpu_read(void)
{
    struct cpu_facts f = {.feature_control = 0};
    uint32_t a, b, c, d;
    __cpuid(0, a, b, c, d);
    __builtin_memcpy(f.vendor, &b, 4);
    __builtin_memcpy(f.vendor + 4, &d, 4);
    __builtin_memcpy(f.vendor + 8, &c, 4);
    __cpuid(1, a, b, f.leaf1_ecx, d);
    __cpuid(0x80000000u, a, b, c, d);
    if (a >= 0x80000001u)
        __cpuid(0x80000001u, a, b, c, f.ext1_edx);
    if ((f.leaf1_ecx & CPUID_1_ECX_VMX) != 0) { // else the MSR may not exist
        __asm__ volatile("rdmsr" : "=a"(a), "=d"(d) : "c"(0x3a));
        f.feature_control = (uint64_t)d << 32 | a;
    }
    __asm__ volatile("mov %%cr4, %0" : "=r"(f.cr4));
    return f;
}

/// With interrupts off and boot services left: loads the tables and goes to `entry` with `info` in RDI
/// (jump.S).
_Noreturn void cpu_jump(uint64_t entry, uint64_t cr3, uint64_t stack_top, uint64_t info);
