// SPDX-License-Identifier: BSD-2-Clause
// 256 entry stubs for the IDT and the one path they share: save all registers, call trap_enter(struct trap_frame *), restore.
// The order of the pushes is struct trap_frame in rt/trap.h. SDM vol. 3, 6.14 (what the CPU pushes).

        .section .text, "ax", @progbits
        .balign 16
        .globl  trap_vectors
        .type   trap_vectors, @function
trap_vectors:
        .set    vector, 0
        .rept   256
        .balign 16
        // vectors that push an error code themselves: 8, 10-14, 17, 21, 29, 30
        .if (vector != 8) && (vector < 10 || vector > 14) && (vector != 17) && (vector != 21) && (vector != 29) && (vector != 30)
        pushq   $0
        .endif
        pushq   $vector
        jmp     trap_common
        .set    vector, vector + 1
        .endr
        .size   trap_vectors, . - trap_vectors

        .balign 16
        .type   trap_common, @function
trap_common:
        cld
        pushq   %rax
        pushq   %rcx
        pushq   %rdx
        pushq   %rbx
        pushq   %rbp
        pushq   %rsi
        pushq   %rdi
        pushq   %r8
        pushq   %r9
        pushq   %r10
        pushq   %r11
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        movq    %rsp, %rdi
        call    trap_enter
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %r11
        popq    %r10
        popq    %r9
        popq    %r8
        popq    %rdi
        popq    %rsi
        popq    %rbp
        popq    %rbx
        popq    %rdx
        popq    %rcx
        popq    %rax
        addq    $16, %rsp               // vector, error code
        iretq
        .size   trap_common, . - trap_common

        .section .note.GNU-stack, "", @progbits
