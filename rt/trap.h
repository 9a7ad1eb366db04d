// SPDX-License-Identifier: BSD-2-Clause
// Exceptions and interrupts of this machine, below rt/irq.h: the IDT, the saved registers, and who handles
// what.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// What rt/vectors.S and the CPU leave on the stack, lowest address first.
struct trap_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector, error_code;
    uint64_t rip, cs, rflags, rsp, ss;
};

/// Interrupt stack table slots used in every TSS (SDM vol. 3, 7.7). 0 in a gate means: stay on the current
/// stack.
enum trap_ist { TRAP_IST_DF = 1, TRAP_IST_NMI = 2, TRAP_IST_MC = 3, TRAP_IST_IRQ = 4, TRAP_IST_COUNT = 4 };

/// Fills the IDT (once, on the boot CPU).
void trap_init(void);
/// Loads the IDT on the calling CPU. Its GDT and TSS must be loaded.
void trap_load(void);

/// What an NMI does: stops this CPU when another one has panicked, else it is counted and reported. Also to
/// be called for a VM exit caused by an NMI.
void trap_nmi(void);

/// Exception names of SDM vol. 3, table 6-1: "#PF". "?" when the vector has none.
const char *trap_name(uint64_t vector);
