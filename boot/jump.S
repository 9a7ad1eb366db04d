// SPDX-License-Identifier: BSD-2-Clause
// cpu_jump(entry, cr3, stack_top, info): the state that rt/boot_info.h promises, then the ELF's entry point.
// Runs at identity-mapped addresses in the old tables and in the new ones.

#define CR0_STATE   0x80010033 // PG, WP, NE, ET, MP, PE
#define CR4_STATE   0x00000620 // OSXMMEXCPT, OSFXSR, PAE
#define IA32_EFER   0xc0000080
#define EFER_NXE    0x800

    .text
    .globl cpu_jump
    .hidden cpu_jump
    .type cpu_jump, @function
cpu_jump:
    cli
    cld
    mov %rdi, %r8           // entry
    mov %rdx, %r9           // stack_top
    mov %rcx, %rdi          // info

    mov $IA32_EFER, %ecx    // NXE first: the new tables have NX bits
    rdmsr
    or $EFER_NXE, %eax
    wrmsr
    mov %cr4, %rax          // CET goes before WP may change; PGE going flushes the firmware's global pages
    and $~(1 << 23), %rax
    mov %rax, %cr4
    mov $CR0_STATE, %eax
    mov %rax, %cr0
    mov $CR4_STATE, %eax
    mov %rax, %cr4
    mov %rsi, %cr3

    mov %r9, %rsp
    xor %ebp, %ebp
    push %rbp               // a return address of 0 ends a backtrace; RSP is 16n + 8, as after a call
    jmp *%r8
    .size cpu_jump, . - cpu_jump
    .section .note.GNU-stack, "", @progbits
