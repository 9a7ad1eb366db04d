// SPDX-License-Identifier: BSD-2-Clause
// Each CPU's GDT and TSS (SDM vol. 3, 3.4.5 and 7.7). The selectors are in rt/x86.h.
#pragma once
#include "rt/cpu.h"
#include "rt/trap.h"

/// Builds the CPU's GDT and TSS in memory of its own and sets gdt_base and tss_base. Any CPU may do it for
/// another.
void gdt_build(struct cpu *cpu);
/// The stack of an interrupt stack table slot: its top.
void gdt_set_ist(const struct cpu *cpu, enum trap_ist ist, void *top);
/// Loads GDT, segment registers, TSS and GS base of the CPU that runs this.
void gdt_load(struct cpu *cpu);
