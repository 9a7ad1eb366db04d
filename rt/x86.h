// SPDX-License-Identifier: BSD-2-Clause
// One inline function per privileged or special x86-64 instruction, named as the instruction is, and the
// architecture's own constants (MSRs, control-register bits) that more than one room needs. No policy here.
// VMX instructions and MSRs live in hv/vmx. Source: Intel SDM vol. 2 (instructions), vol. 3 chapter 2
// (control registers), vol. 4 (MSRs).
#pragma once
#include <stdbool.h>
#include <stdint.h>

// ---- CR0, CR4, EFER, RFLAGS (SDM vol. 3, 2.5 and 2.2.1; vol. 1, 3.4.3)
#define CR0_PE (1ull << 0)
#define CR0_MP (1ull << 1)
#define CR0_EM (1ull << 2)
#define CR0_TS (1ull << 3)
#define CR0_ET (1ull << 4)
#define CR0_NE (1ull << 5)
#define CR0_WP (1ull << 16)
#define CR0_AM (1ull << 18)
#define CR0_NW (1ull << 29)
#define CR0_CD (1ull << 30)
#define CR0_PG (1ull << 31)

#define CR4_VME        (1ull << 0)
#define CR4_PVI        (1ull << 1)
#define CR4_TSD        (1ull << 2)
#define CR4_DE         (1ull << 3)
#define CR4_PSE        (1ull << 4)
#define CR4_PAE        (1ull << 5)
#define CR4_MCE        (1ull << 6)
#define CR4_PGE        (1ull << 7)
#define CR4_PCE        (1ull << 8)
#define CR4_OSFXSR     (1ull << 9)
#define CR4_OSXMMEXCPT (1ull << 10)
#define CR4_UMIP       (1ull << 11)
#define CR4_LA57       (1ull << 12)
#define CR4_VMXE       (1ull << 13)
#define CR4_SMXE       (1ull << 14)
#define CR4_FSGSBASE   (1ull << 16)
#define CR4_PCIDE      (1ull << 17)
#define CR4_OSXSAVE    (1ull << 18)
#define CR4_SMEP       (1ull << 20)
#define CR4_SMAP       (1ull << 21)
#define CR4_PKE        (1ull << 22)
#define CR4_CET        (1ull << 23)

#define EFER_SCE (1ull << 0)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)
#define EFER_NXE (1ull << 11)

#define RFLAGS_CF  (1ull << 0)
#define RFLAGS_ONE (1ull << 1) // always reads 1
#define RFLAGS_PF  (1ull << 2)
#define RFLAGS_AF  (1ull << 4)
#define RFLAGS_ZF  (1ull << 6)
#define RFLAGS_SF  (1ull << 7)
#define RFLAGS_TF  (1ull << 8)
#define RFLAGS_IF  (1ull << 9)
#define RFLAGS_DF  (1ull << 10)
#define RFLAGS_OF  (1ull << 11)
#define RFLAGS_RF  (1ull << 16)
#define RFLAGS_AC  (1ull << 18)

// ---- Exception vectors (SDM vol. 3, table 6-1)
enum x86_exception {
    EXC_DE = 0,
    EXC_DB = 1,
    EXC_NMI = 2,
    EXC_BP = 3,
    EXC_OF = 4,
    EXC_BR = 5,
    EXC_UD = 6,
    EXC_NM = 7,
    EXC_DF = 8,
    EXC_TS = 10,
    EXC_NP = 11,
    EXC_SS = 12,
    EXC_GP = 13,
    EXC_PF = 14,
    EXC_MF = 16,
    EXC_AC = 17,
    EXC_MC = 18,
    EXC_XM = 19,
    EXC_VE = 20,
    EXC_CP = 21,
};

// ---- Architectural MSRs (SDM vol. 4, table 2-2)
#define IA32_TIME_STAMP_COUNTER 0x010u
#define IA32_APIC_BASE          0x01bu
#define IA32_FEATURE_CONTROL    0x03au
#define IA32_TSC_ADJUST         0x03bu
#define IA32_SYSENTER_CS        0x174u
#define IA32_SYSENTER_ESP       0x175u
#define IA32_SYSENTER_EIP       0x176u
#define IA32_MISC_ENABLE        0x1a0u
#define IA32_DEBUGCTL           0x1d9u
#define IA32_MTRR_DEF_TYPE      0x2ffu
#define IA32_PAT                0x277u
#define IA32_TSC_DEADLINE       0x6e0u
#define IA32_X2APIC_BASE        0x800u // register r of the xAPIC page is MSR 0x800 + r / 16
#define IA32_XSS                0xda0u
#define IA32_EFER               0xc0000080u
#define IA32_STAR               0xc0000081u
#define IA32_LSTAR              0xc0000082u
#define IA32_CSTAR              0xc0000083u
#define IA32_FMASK              0xc0000084u
#define IA32_FS_BASE            0xc0000100u
#define IA32_GS_BASE            0xc0000101u
#define IA32_KERNEL_GS_BASE     0xc0000102u
#define IA32_TSC_AUX            0xc0000103u

/// Selectors of the runtime's GDT (rt/gdt.c builds it, the same on every CPU).
#define SEL_CODE64 0x08u
#define SEL_DATA   0x10u
#define SEL_TSS    0x18u // 16 bytes

struct cpuid {
    uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid r;
    __asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
    return r;
}

// ---- MSRs
static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t lo, hi;
    __asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
    return (uint64_t)hi << 32 | lo;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

/// As rdmsr; false (and *value = 0) when the CPU answers #GP. Needs the runtime's IDT (rt/trap.c looks the
/// address up in the section rt_fixups: pairs of faulting and continuing address).
static inline bool rdmsr_safe(uint32_t msr, uint64_t *value)
{
    uint32_t lo = 0, hi = 0, ok = 0;
    __asm__ volatile("1: rdmsr\n"
                     "   movl $1, %2\n"
                     "2:\n"
                     ".pushsection rt_fixups, \"a\"\n"
                     ".balign 8\n"
                     ".quad 1b, 2b\n"
                     ".popsection"
                     : "+a"(lo), "+d"(hi), "+r"(ok)
                     : "c"(msr));
    *value = ok ? (uint64_t)hi << 32 | lo : 0;
    return ok != 0;
}

/// As wrmsr; false when the CPU answers #GP.
static inline bool wrmsr_safe(uint32_t msr, uint64_t value)
{
    uint32_t ok = 0;
    __asm__ volatile("1: wrmsr\n"
                     "   movl $1, %0\n"
                     "2:\n"
                     ".pushsection rt_fixups, \"a\"\n"
                     ".balign 8\n"
                     ".quad 1b, 2b\n"
                     ".popsection"
                     : "+r"(ok)
                     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
    return ok != 0;
}

// ---- Time
static inline uint64_t rdtsc(void)
{
    uint32_t lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return (uint64_t)hi << 32 | lo;
}

/// RDTSC that no earlier load and no earlier instruction passes.
static inline uint64_t rdtsc_ordered(void)
{
    uint32_t lo, hi;
    __asm__ volatile("lfence\n rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
    return (uint64_t)hi << 32 | lo;
}

// ---- Port I/O
static inline uint8_t in8(uint16_t port)
{
    uint8_t v;
    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
    return v;
}

static inline uint16_t in16(uint16_t port)
{
    uint16_t v;
    __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port) : "memory");
    return v;
}

static inline uint32_t in32(uint16_t port)
{
    uint32_t v;
    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory");
    return v;
}

static inline void out8(uint16_t port, uint8_t v)
{
    __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline void out16(uint16_t port, uint16_t v)
{
    __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline void out32(uint16_t port, uint32_t v)
{
    __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

// ---- Device memory: one access of exactly this width, not merged, not reordered by the compiler
static inline uint8_t mmio_read8(const volatile void *p)
{
    uint8_t v;
    __asm__ volatile("movb %1, %0" : "=q"(v) : "m"(*(const volatile uint8_t *)p) : "memory");
    return v;
}

static inline uint16_t mmio_read16(const volatile void *p)
{
    uint16_t v;
    __asm__ volatile("movw %1, %0" : "=r"(v) : "m"(*(const volatile uint16_t *)p) : "memory");
    return v;
}

static inline uint32_t mmio_read32(const volatile void *p)
{
    uint32_t v;
    __asm__ volatile("movl %1, %0" : "=r"(v) : "m"(*(const volatile uint32_t *)p) : "memory");
    return v;
}

static inline uint64_t mmio_read64(const volatile void *p)
{
    uint64_t v;
    __asm__ volatile("movq %1, %0" : "=r"(v) : "m"(*(const volatile uint64_t *)p) : "memory");
    return v;
}

static inline void mmio_write8(volatile void *p, uint8_t v)
{
    __asm__ volatile("movb %1, %0" : "=m"(*(volatile uint8_t *)p) : "q"(v) : "memory");
}

static inline void mmio_write16(volatile void *p, uint16_t v)
{
    __asm__ volatile("movw %1, %0" : "=m"(*(volatile uint16_t *)p) : "r"(v) : "memory");
}

static inline void mmio_write32(volatile void *p, uint32_t v)
{
    __asm__ volatile("movl %1, %0" : "=m"(*(volatile uint32_t *)p) : "r"(v) : "memory");
}

static inline void mmio_write64(volatile void *p, uint64_t v)
{
    __asm__ volatile("movq %1, %0" : "=m"(*(volatile uint64_t *)p) : "r"(v) : "memory");
}

// ---- Control registers, flags, descriptor tables
#define X86_REGISTER(name)                                                                                   \
    static inline uint64_t read_##name(void)                                                                 \
    {                                                                                                        \
        uint64_t v;                                                                                          \
        __asm__ volatile("mov %%" #name ", %0" : "=r"(v) : : "memory");                                      \
        return v;                                                                                            \
    }                                                                                                        \
    static inline void write_##name(uint64_t v)                                                              \
    {                                                                                                        \
        __asm__ volatile("mov %0, %%" #name : : "r"(v) : "memory");                                          \
    }
X86_REGISTER(cr0)
X86_REGISTER(cr2)
X86_REGISTER(cr3)
X86_REGISTER(cr4)
X86_REGISTER(cr8)
X86_REGISTER(dr0)
X86_REGISTER(dr1)
X86_REGISTER(dr2)
X86_REGISTER(dr3)
X86_REGISTER(dr6)
X86_REGISTER(dr7)
#undef X86_REGISTER

static inline uint64_t read_rflags(void)
{
    uint64_t v;
    __asm__ volatile("pushfq\n popq %0" : "=r"(v) : : "memory");
    return v;
}

static inline uint64_t xgetbv(uint32_t index)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(index));
    return (uint64_t)hi << 32 | lo;
}

static inline void xsetbv(uint32_t index, uint64_t value)
{
    __asm__ volatile("xsetbv" : : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

struct __attribute__((packed)) descriptor_table {
    uint16_t limit;
    uint64_t base;
};

static inline struct descriptor_table sgdt(void)
{
    struct descriptor_table t;
    __asm__ volatile("sgdt %0" : "=m"(t));
    return t;
}

static inline struct descriptor_table sidt(void)
{
    struct descriptor_table t;
    __asm__ volatile("sidt %0" : "=m"(t));
    return t;
}

static inline void lgdt(const struct descriptor_table *t)
{
    __asm__ volatile("lgdt %0" : : "m"(*t) : "memory");
}

static inline void lidt(const struct descriptor_table *t)
{
    __asm__ volatile("lidt %0" : : "m"(*t) : "memory");
}

static inline void ltr(uint16_t selector)
{
    __asm__ volatile("ltr %0" : : "r"(selector) : "memory");
}

static inline void lldt(uint16_t selector)
{
    __asm__ volatile("lldt %0" : : "r"(selector) : "memory");
}

static inline uint16_t str(void)
{
    uint16_t v;
    __asm__ volatile("str %0" : "=r"(v));
    return v;
}

#define X86_SEGMENT(name)                                                                                    \
    static inline uint16_t read_##name(void)                                                                 \
    {                                                                                                        \
        uint16_t v;                                                                                          \
        __asm__ volatile("mov %%" #name ", %0" : "=r"(v));                                                   \
        return v;                                                                                            \
    }
X86_SEGMENT(cs)
X86_SEGMENT(ds)
X86_SEGMENT(es)
X86_SEGMENT(fs)
X86_SEGMENT(gs)
X86_SEGMENT(ss)
#undef X86_SEGMENT

// ---- TLB and caches
static inline void invlpg(const volatile void *p)
{
    __asm__ volatile("invlpg (%0)" : : "r"(p) : "memory");
}

static inline void clflush(const volatile void *p)
{
    __asm__ volatile("clflush (%0)" : : "r"(p) : "memory");
}

static inline void wbinvd(void)
{
    __asm__ volatile("wbinvd" : : : "memory");
}

static inline void mfence(void)
{
    __asm__ volatile("mfence" : : : "memory");
}

static inline void lfence(void)
{
    __asm__ volatile("lfence" : : : "memory");
}

static inline void sfence(void)
{
    __asm__ volatile("sfence" : : : "memory");
}

// ---- Waiting and interrupts
static inline void cpu_pause(void)
{
    __asm__ volatile("pause" : : : "memory");
}

static inline void cli(void)
{
    __asm__ volatile("cli" : : : "memory");
}

static inline void sti(void)
{
    __asm__ volatile("sti" : : : "memory");
}

static inline void hlt(void)
{
    __asm__ volatile("hlt" : : : "memory");
}

/// Waits for one interrupt, takes it, and comes back with interrupts off. No interrupt is lost between a
/// check made with interrupts off and the HLT: STI holds them off for one more instruction.
static inline void wait_interrupt(void)
{
    __asm__ volatile("sti\n hlt\n cli" : : : "memory");
}
