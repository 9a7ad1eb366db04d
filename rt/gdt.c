// SPDX-License-Identifier: BSD-2-Clause
// One GDT and one TSS per CPU: VMX loads TR with a limit of 67h and host segments from selectors, so each CPU
// has its own.
#include "rt/gdt.h"
#include "rt/x86.h"
#include <stddef.h>

struct __attribute__((packed)) tss {
    uint32_t reserved_0;
    uint64_t rsp[3];
    uint64_t reserved_1;
    uint64_t ist[7]; // ist[0] is IST1
    uint64_t reserved_2;
    uint16_t reserved_3, io_map_base;
};
_Static_assert(sizeof(struct tss) == 104, "64-bit TSS");

struct tables {
    uint64_t gdt[5]; // null, code, data, TSS (two slots)
    struct tss tss;
} __attribute__((aligned(64)));

static struct tables tables[CPU_MAX];

#define GDT_CODE64 0x00af9b000000ffffull // present, DPL 0, execute/read, accessed, L
#define GDT_DATA   0x00cf93000000ffffull // present, DPL 0, read/write, accessed
#define GDT_TSS    0x0000890000000000ull // present, 64-bit TSS (available)

void gdt_build(struct cpu *cpu)
{
    struct tables *t = &tables[cpu->index];
    uint64_t base = (uint64_t)(uintptr_t)&t->tss;
    uint64_t limit = sizeof t->tss - 1;
    t->tss.io_map_base = sizeof t->tss;
    t->gdt[SEL_CODE64 / 8] = GDT_CODE64;
    t->gdt[SEL_DATA / 8] = GDT_DATA;
    t->gdt[SEL_TSS / 8] = GDT_TSS | limit | (base & 0xffffff) << 16 | (base >> 24 & 0xff) << 56;
    t->gdt[SEL_TSS / 8 + 1] = base >> 32;
    cpu->gdt_base = (uint64_t)(uintptr_t)t->gdt;
    cpu->tss_base = base;
}

void gdt_set_ist(const struct cpu *cpu, enum trap_ist ist, void *top)
{
    tables[cpu->index].tss.ist[ist - 1] = (uint64_t)(uintptr_t)top;
}

void gdt_load(struct cpu *cpu)
{
    struct tables *t = &tables[cpu->index];
    const struct descriptor_table gdt = {.limit = sizeof t->gdt - 1, .base = cpu->gdt_base};
    lgdt(&gdt);
    uint64_t scratch;
    __asm__ volatile("movl %[data], %%eax\n"
                     "movw %%ax, %%ds\n"
                     "movw %%ax, %%es\n"
                     "movw %%ax, %%ss\n"
                     "xorl %%eax, %%eax\n"
                     "movw %%ax, %%fs\n"
                     "movw %%ax, %%gs\n"
                     "pushq %[code]\n"
                     "leaq 1f(%%rip), %[scratch]\n"
                     "pushq %[scratch]\n"
                     "lretq\n"
                     "1:\n"
                     : [scratch] "=&r"(scratch)
                     : [data] "i"(SEL_DATA), [code] "i"(SEL_CODE64)
                     : "rax", "memory");
    wrmsr(IA32_GS_BASE, (uint64_t)(uintptr_t)cpu);
    wrmsr(IA32_KERNEL_GS_BASE, 0);
    wrmsr(IA32_FS_BASE, 0);
    // LTR wants an available TSS and marks it busy: a second load on this CPU starts from a fresh descriptor.
    t->gdt[SEL_TSS / 8] &= ~(2ull << 40);
    ltr(SEL_TSS);
}
