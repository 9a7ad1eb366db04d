// SPDX-License-Identifier: BSD-2-Clause
// Entry points of the vectors that the guest uses: count, and end at the local APIC. The level-triggered one serves its device first.

        .text
.macro entry vector
        .globl  irq_entry_\vector
irq_entry_\vector:
        pusha
        push    $\vector
        call    irq_taken
        add     $4, %esp
        popa
        iret
.endm

        entry   0x41
        entry   0x42
        entry   0x43
        entry   0x44
        entry   0xff

        .section .note.GNU-stack, "", @progbits
