// SPDX-License-Identifier: BSD-2-Clause
// Faults: the first 32 vectors have stubs in start.S. A fault nobody expects is printed and ends the guest.
#include "tests/guests/lib/fault.h"
#include "tests/guests/lib/boot.h"
#include "tests/guests/lib/console.h"
#include "tests/guests/lib/cpu.h"

struct gate {
    uint16_t offset_low, selector, type, offset_high;
};
struct table_register {
    uint16_t limit;
    uint32_t base;
} __attribute__((packed));

struct exception_frame {
    uint32_t edi, esi, ebp, esp, ebx, edx, ecx, eax;
    uint32_t vector, error, eip, cs, eflags;
};

struct fault last_fault;
static struct gate idt[256] __attribute__((aligned(8)));
const struct table_register idt32_register = {sizeof idt - 1, (uint32_t)idt};

extern const char fault_stubs[];                       // start.S: 32 stubs, 16 bytes apart
extern uint32_t try_stack;                             // start.S: 0 when nobody expects a fault
extern uint64_t guest_gdt[];                           // start.S
void guest_exception(const struct exception_frame *f); // called by start.S

void fault_set_gate(unsigned vector, const void *handler)
{
    uint32_t at = (uint32_t)handler;
    idt[vector] = (struct gate){(uint16_t)at, SELECTOR_CODE32, 0x8e00, (uint16_t)(at >> 16)};
}

void fault_start(void)
{
    for (unsigned v = 0; v < 32; v++)
        fault_set_gate(v, fault_stubs + 16 * v);
    __asm__ volatile("lidt %0" ::"m"(idt32_register));
}

void guest_exception(const struct exception_frame *f)
{
    last_fault = (struct fault){f->vector, f->error, f->eflags, f->eip, read_cr2()};
    if (try_stack != 0)
        return; // start.S unwinds to try_call
    print("guest: unexpected exception %u, error 0x%x, at 0x%08x, cr2 0x%08x\n", f->vector, f->error, f->eip,
          (uint32_t)last_fault.cr2);
    print("guest: eax %08x ebx %08x ecx %08x edx %08x esi %08x edi %08x\n", f->eax, f->ebx, f->ecx, f->edx,
          f->esi, f->edi);
    shutdown(1);
}

struct msr_access {
    uint32_t msr;
    uint64_t value;
};
static void do_rdmsr(void *arg)
{
    struct msr_access *a = arg;
    a->value = rdmsr(a->msr);
}
static void do_wrmsr(void *arg)
{
    struct msr_access *a = arg;
    wrmsr(a->msr, a->value);
}

bool try_rdmsr(uint32_t msr, uint64_t *value)
{
    struct msr_access a = {msr, 0};
    bool fine = try_call(do_rdmsr, &a);
    *value = a.value;
    return fine;
}

bool try_wrmsr(uint32_t msr, uint64_t value)
{
    struct msr_access a = {msr, value};
    return try_call(do_wrmsr, &a);
}

void segment_set(unsigned selector, uint32_t base, uint32_t limit, uint8_t access, uint8_t flags)
{
    if ((flags & 0x8) != 0)
        limit >>= 12;
    guest_gdt[selector / 8] = (uint64_t)(limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
                              (uint64_t)access << 40 | (uint64_t)(limit >> 16 & 0xf) << 48 |
                              (uint64_t)flags << 52 | (uint64_t)(base >> 24) << 56;
}

void segment_set_base(unsigned selector, uint32_t base)
{
    uint64_t d = guest_gdt[selector / 8] & 0x00ffff000000ffffull;
    guest_gdt[selector / 8] = d | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(base >> 24) << 56;
}
