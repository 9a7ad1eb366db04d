// SPDX-License-Identifier: BSD-2-Clause
// Interrupt gates of vectors 0x20-0x2f: 16 stubs, 16 bytes apart.

        .text
        .code32
        .balign 16
        .globl  irq_stubs
irq_stubs:
        .set    irq, 0
        .rept   16
        .balign 16
        pushal
        pushl   $irq
        jmp     irq_common
        .set    irq, irq + 1
        .endr

        .balign 16
irq_common:
        cld
        call    on_irq
        addl    $4, %esp
        popal
        iretl
        .section .note.GNU-stack, "", @progbits
