// SPDX-License-Identifier: BSD-2-Clause
// Into long mode and back (SDM vol. 3, 9.8.5 "Initializing IA-32e Mode"), and its exception stubs.
// Must be called with paging off. Everything lies below 4 GiB, so that 32-bit relocations are enough.

        .text
        .code32
// int long_switch(const void *routine, struct regs64 *regs)
        .globl  long_switch
long_switch:
        movl    4(%esp), %eax
        movl    8(%esp), %edx
        movl    %eax, long_routine
        movl    %edx, long_regs
        pushl   %ebp
        pushl   %ebx
        pushl   %esi
        pushl   %edi
        movl    %esp, long_stack

        movl    %cr4, %eax
        orl     $0x20, %eax             // PAE
        movl    %eax, %cr4
        movl    $long_pml4, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx       // EFER.LME
        rdmsr
        orl     $0x100, %eax
        wrmsr
        movl    %cr0, %eax
        orl     $0x80000000, %eax
        movl    %eax, %cr0
        lidt    idt64_register          // 64-bit gates; the limit is what counts until the jump
        ljmp    $0x18, $1f

        .code64
1:      lidt    idt64_register(%rip)
        movl    long_regs(%rip), %ebx
        movq    0x00(%rbx), %rax
        movq    0x08(%rbx), %rcx
        movq    0x10(%rbx), %rdx
        movq    0x28(%rbx), %rbp
        movq    0x30(%rbx), %rsi
        movq    0x38(%rbx), %rdi
        movq    0x40(%rbx), %r8
        movq    0x48(%rbx), %r9
        movq    0x50(%rbx), %r10
        movq    0x58(%rbx), %r11
        movq    0x60(%rbx), %r12
        movq    0x68(%rbx), %r13
        movq    0x70(%rbx), %r14
        movq    0x78(%rbx), %r15
        movl    %esp, %esp
        pushq   0x80(%rbx)
        movq    0x18(%rbx), %rbx
        popfq
        call    *long_routine(%rip)
        pushfq
        pushq   %rbx
        movl    long_regs(%rip), %ebx
        movq    %rax, 0x00(%rbx)
        movq    %rcx, 0x08(%rbx)
        movq    %rdx, 0x10(%rbx)
        popq    0x18(%rbx)
        movq    %rbp, 0x28(%rbx)
        movq    %rsi, 0x30(%rbx)
        movq    %rdi, 0x38(%rbx)
        movq    %r8, 0x40(%rbx)
        movq    %r9, 0x48(%rbx)
        movq    %r10, 0x50(%rbx)
        movq    %r11, 0x58(%rbx)
        movq    %r12, 0x60(%rbx)
        movq    %r13, 0x68(%rbx)
        movq    %r14, 0x70(%rbx)
        movq    %r15, 0x78(%rbx)
        popq    0x80(%rbx)
        movl    $1, %edi
long_leave:
        cld
        movl    long_stack(%rip), %esp
        ljmp    *long_exit(%rip)

        .code32
long_leave32:
        movl    %cr0, %eax
        andl    $0x7fffffff, %eax
        movl    %eax, %cr0
        movl    $0xc0000080, %ecx
        rdmsr
        andl    $0xfffffeff, %eax
        wrmsr
        movl    %cr4, %eax
        andl    $0xffffffdf, %eax
        movl    %eax, %cr4
        lidt    idt32_register
        movl    %edi, %eax
        popl    %edi
        popl    %esi
        popl    %ebx
        popl    %ebp
        ret

        .code64
        .balign 16
        .globl  fault_stubs64
fault_stubs64:
        .set    vector, 0
        .rept   32
        .balign 16
        .if     ((1 << vector) & 0x60227d00) == 0
        pushq   $0
        .endif
        pushq   $vector
        jmp     fault_common64
        .set    vector, vector + 1
        .endr

// struct fault { u32 vector, error; u64 ip, cr2; }
        .balign 16
fault_common64:
        popq    %rax
        movl    %eax, last_fault(%rip)
        popq    %rax
        movl    %eax, last_fault + 4(%rip)
        popq    %rax
        leaq    last_fault(%rip), %rcx
        movq    %rax, 8(%rcx)
        movq    %cr2, %rax
        movq    %rax, 16(%rcx)
        xorl    %edi, %edi
        jmp     long_leave

// The plainest accesses: RSI or RDI points, RAX holds.
        .globl  load8, load16, load32, load64, store8, store16, store32, store64
load8:  movb    (%rsi), %al
        movzbl  %al, %eax
        ret
load16: movw    (%rsi), %ax
        movzwl  %ax, %eax
        ret
load32: movl    (%rsi), %eax
        ret
load64: movq    (%rsi), %rax
        ret
store8: movb    %al, (%rdi)
        ret
store16: movw   %ax, (%rdi)
        ret
store32: movl   %eax, (%rdi)
        ret
store64: movq   %rax, (%rdi)
        ret

        .data
        .balign 8
long_exit:
        .long   long_leave32
        .word   0x08
        .word   0
long_routine:
        .quad   0
long_regs:
        .quad   0
long_stack:
        .quad   0
        .section .note.GNU-stack, "", @progbits
