// SPDX-License-Identifier: BSD-2-Clause
// The IDT and the first C function of every exception and interrupt. An exception in our own code is a broken
// invariant and ends in a panic, except the instructions that announced they may fault (rdmsr_safe,
// wrmsr_safe: section rt_fixups). Invariant: interrupt gates only, so handlers always run with interrupts
// off.
#include "rt/trap.h"
#include "rt/cpu.h"
#include "rt/irq.h"
#include "rt/log.h"
#include "rt/panic.h"
#include "rt/panic_internal.h"
#include "rt/x86.h"
#include <stddef.h>

// SDM vol. 3, figure 6-8 (64-bit IDT gate descriptor)
struct gate {
    uint16_t offset_0, selector;
    uint8_t ist, type; // type: present, DPL 0, 64-bit interrupt gate
    uint16_t offset_16;
    uint32_t offset_32, reserved;
};
_Static_assert(sizeof(struct gate) == 16, "IDT gate");
#define GATE_INTERRUPT 0x8eu

struct fixup {
    uint64_t fault, resume;
};
// The linker makes these two for a section whose name is a C identifier. Weak: there may be no user of
// *_safe.
extern const struct fixup __start_rt_fixups[];
extern const struct fixup __stop_rt_fixups[];

extern const uint8_t trap_vectors[]; // 256 stubs of 16 bytes
void trap_enter(struct trap_frame *frame);

static struct gate idt[256] __attribute__((aligned(4096)));
static uint64_t nmi_count;

static const char *const names[32] = {
    [EXC_DE] = "#DE", [EXC_DB] = "#DB", [EXC_NMI] = "NMI", [EXC_BP] = "#BP", [EXC_OF] = "#OF",
    [EXC_BR] = "#BR", [EXC_UD] = "#UD", [EXC_NM] = "#NM",  [EXC_DF] = "#DF", [EXC_TS] = "#TS",
    [EXC_NP] = "#NP", [EXC_SS] = "#SS", [EXC_GP] = "#GP",  [EXC_PF] = "#PF", [EXC_MF] = "#MF",
    [EXC_AC] = "#AC", [EXC_MC] = "#MC", [EXC_XM] = "#XM",  [EXC_VE] = "#VE", [EXC_CP] = "#CP",
};

const char *trap_name(uint64_t vector)
{
    return vector < 32 && names[vector] ? names[vector] : "?";
}

static uint8_t ist_of(unsigned vector)
{
    switch (vector) {
    case EXC_DF:
        return TRAP_IST_DF;
    case EXC_NMI:
        return TRAP_IST_NMI;
    case EXC_MC:
        return TRAP_IST_MC;
    default:
        return vector >= 32 ? TRAP_IST_IRQ : 0;
    }
}

void trap_init(void)
{
    for (unsigned v = 0; v < 256; v++) {
        uint64_t entry = (uint64_t)(uintptr_t)(trap_vectors + 16 * v);
        idt[v] = (struct gate){
            .offset_0 = (uint16_t)entry,
            .selector = SEL_CODE64,
            .ist = ist_of(v),
            .type = GATE_INTERRUPT,
            .offset_16 = (uint16_t)(entry >> 16),
            .offset_32 = (uint32_t)(entry >> 32),
        };
    }
}

void trap_load(void)
{
    const struct descriptor_table table = {.limit = sizeof idt - 1, .base = (uint64_t)(uintptr_t)idt};
    lidt(&table);
}

void trap_nmi(void)
{
    if (panic_active())
        panic_stop_this_cpu();
    nmi_count++;
    log_warn("trap", "NMI on CPU %u (number %llu)", cpu_self()->index, (unsigned long long)nmi_count);
}

static bool fix_up(struct trap_frame *frame)
{
    for (const struct fixup *f = __start_rt_fixups; f < __stop_rt_fixups; f++) {
        if (f->fault == frame->rip) {
            frame->rip = f->resume;
            return true;
        }
    }
    return false;
}

void trap_enter(struct trap_frame *frame)
{
    if (frame->vector >= 32) {
        irq_dispatch((uint8_t)frame->vector);
        return;
    }
    if (frame->vector == EXC_NMI) {
        trap_nmi();
        return;
    }
    if (frame->vector == EXC_GP && fix_up(frame))
        return;
    panic_trap(frame);
}
