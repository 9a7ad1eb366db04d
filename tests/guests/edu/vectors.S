// SPDX-License-Identifier: BSD-2-Clause
// Entry points of the vectors that the guest uses.

        .text
.macro entry vector
        .globl  edu_entry_\vector
edu_entry_\vector:
        pusha
        push    $\vector
        call    edu_interrupt
        add     $4, %esp
        popa
        iret
.endm

        entry   0x41
        entry   0xff

        .section .note.GNU-stack, "", @progbits
