// SPDX-License-Identifier: BSD-2-Clause
// The instructions a test guest needs that C has no word for. Each is exactly one instruction, so that what a
// hypervisor sees is what the test says.
#pragma once
#include <stdint.h>

static inline uint8_t in8(uint16_t port)
{
    uint8_t v;
    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline uint16_t in16(uint16_t port)
{
    uint16_t v;
    __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline uint32_t in32(uint16_t port)
{
    uint32_t v;
    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline void out8(uint16_t port, uint8_t v)
{
    __asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port));
}
static inline void out16(uint16_t port, uint16_t v)
{
    __asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(port));
}
static inline void out32(uint16_t port, uint32_t v)
{
    __asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port));
}

static inline uint8_t mmio_read8(uint32_t at)
{
    uint8_t v;
    __asm__ volatile("movb (%1), %0" : "=q"(v) : "r"(at) : "memory");
    return v;
}
static inline uint16_t mmio_read16(uint32_t at)
{
    uint16_t v;
    __asm__ volatile("movw (%1), %0" : "=r"(v) : "r"(at) : "memory");
    return v;
}
static inline uint32_t mmio_read32(uint32_t at)
{
    uint32_t v;
    __asm__ volatile("movl (%1), %0" : "=r"(v) : "r"(at) : "memory");
    return v;
}
static inline void mmio_write8(uint32_t at, uint8_t v)
{
    __asm__ volatile("movb %0, (%1)" ::"q"(v), "r"(at) : "memory");
}
static inline void mmio_write16(uint32_t at, uint16_t v)
{
    __asm__ volatile("movw %0, (%1)" ::"r"(v), "r"(at) : "memory");
}
static inline void mmio_write32(uint32_t at, uint32_t v)
{
    __asm__ volatile("movl %0, (%1)" ::"r"(v), "r"(at) : "memory");
}

static inline uint64_t rdtsc(void)
{
    uint64_t v;
    __asm__ volatile("rdtsc" : "=A"(v));
    return v;
}
static inline uint64_t rdmsr(uint32_t msr)
{
    uint64_t v;
    __asm__ volatile("rdmsr" : "=A"(v) : "c"(msr));
    return v;
}
static inline void wrmsr(uint32_t msr, uint64_t v)
{
    __asm__ volatile("wrmsr" ::"A"(v), "c"(msr));
}
static inline void cpuid(uint32_t leaf, uint32_t sub, uint32_t out[4])
{
    __asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(sub));
}

#define DEFINE_CR(n)                                                                                         \
    static inline uint32_t read_cr##n(void)                                                                  \
    {                                                                                                        \
        uint32_t v;                                                                                          \
        __asm__ volatile("movl %%cr" #n ", %0" : "=r"(v));                                                   \
        return v;                                                                                            \
    }                                                                                                        \
    static inline void write_cr##n(uint32_t v)                                                               \
    {                                                                                                        \
        __asm__ volatile("movl %0, %%cr" #n ::"r"(v) : "memory");                                            \
    }
DEFINE_CR(0)
DEFINE_CR(2)
DEFINE_CR(3)
DEFINE_CR(4)

#define CR0_PG   0x80000000u
#define CR4_PSE  0x10u
#define CR4_PAE  0x20u
#define MSR_EFER 0xc0000080u
#define EFER_LME 0x100ull

/// 64 by 32 division without a library: quotient stays in *n, the remainder is returned.
static inline uint32_t divide(uint64_t *n, uint32_t by)
{
    uint32_t high = (uint32_t)(*n >> 32), low = (uint32_t)*n, q_high = high / by, rest = high % by, q_low;
    __asm__("divl %2" : "=a"(q_low), "=d"(rest) : "r"(by), "0"(low), "1"(rest));
    *n = (uint64_t)q_high << 32 | q_low;
    return rest;
}
