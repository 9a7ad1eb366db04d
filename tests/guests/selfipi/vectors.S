// SPDX-License-Identifier: BSD-2-Clause
// Entry points of the guest's vectors: count, end at the local APIC.

        .text
.macro entry vector
        .globl  ipi_entry_\vector
ipi_entry_\vector:
        pusha
        push    $\vector
        call    ipi_taken
        add     $4, %esp
        popa
        iret
.endm

        entry   0x41
        entry   0x81
        entry   0xc1
        entry   0xff

        .section .note.GNU-stack, "", @progbits
