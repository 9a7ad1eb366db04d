// SPDX-License-Identifier: BSD-2-Clause
// How CPUs come to be: for rt/start.c (the boot CPU) and drivers/smp.c (the others).
#pragma once
#include "rt/cpu.h"
#include "rt/status.h"

/// The boot CPU's block, GDT, TSS and GS. First thing of all: cpu_self() works from here on.
void cpu_boot_init(void);
/// Control registers and MSRs that all CPUs hold alike. On the boot CPU once, before its own page tables are
/// loaded.
void cpu_set_features(void);
/// Guarded stacks for the boot CPU.
MUST_CHECK enum status cpu_boot_stacks(void);
/// The block and stacks of the next CPU. Not counted until it arrives. One caller at a time.
MUST_CHECK enum status cpu_prepare(uint32_t apic_id, struct cpu **out);
/// What APIC says the boot CPU's identifier is.
void cpu_set_apic_id(struct cpu *cpu, uint32_t apic_id);
/// First C function of a started CPU, on its own stack. Ends in the idle loop.
_Noreturn void cpu_arrive(struct cpu *cpu);
/// Sleeps, runs what cpu_run hands over, sleeps.
_Noreturn void cpu_idle_loop(void);
/// How a sleeping CPU is woken: told once by drivers/smp.c.
void cpu_set_wake(void (*how)(const struct cpu *cpu));
/// Runs fn(arg) on the stack that ends at `top`; does not come back (rt/entry.S).
_Noreturn void stack_switch(void *top, void (*fn)(void *arg), void *arg);
