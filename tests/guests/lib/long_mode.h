// SPDX-License-Identifier: BSD-2-Clause
// 64-bit code for a 32-bit guest: switch to long mode, run one assembler routine, come back. Memory below 4
// GiB is mapped to itself, except a window that shows any physical address, so that linear and physical
// addresses differ and 64-bit BARs and RIP-relative operands can be reached.
#pragma once
#define WINDOW_BASE 0x40000000 // linear; guests have less than 1 GiB of memory
#define WINDOW_SIZE 0x00010000

#ifndef __ASSEMBLER__
#include <stdbool.h>
#include <stdint.h>

/// In encoding order; RSP is not loaded.
struct regs64 {
    uint64_t rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15, rflags;
};

/// False: this CPU has no long mode.
bool long_mode_present(void);
/// Calls `routine` (64-bit code that ends in RET) with these registers and stores what they are afterwards.
/// False: it faulted; last_fault says how.
bool long_call(const void *routine, struct regs64 *regs);
/// Shows physical [pa rounded down to 4 KiB, + 64 KiB) in the window, by 4 KiB pages. Returns the linear
/// address of `pa` (in 32-bit paging without PAE: only below 4 GiB).
uint32_t window_show(uint64_t pa);

uint64_t mmio_read_long(uint64_t pa, unsigned size);
void mmio_write_long(uint64_t pa, unsigned size, uint64_t value);

enum paging { PAGING_OFF, PAGING_32BIT, PAGING_PAE };
/// Turns paging of 32-bit code on (same map and window) or off.
void paging_set(enum paging mode);
#endif
