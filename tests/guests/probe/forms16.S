// SPDX-License-Identifier: BSD-2-Clause
// Instruction forms of 16-bit code: DS (and ES) have the target's address as their base, SI = DI = 16.
#include "tests/guests/probe/forms.h"

#define FORM(kind, flags, ...)                                                                                         \
        .pushsection .rodata.forms, "a"; 8: .asciz #__VA_ARGS__; .popsection;                                          \
        .pushsection .forms16, "a"; .long 8b, 9f, flags, kind; .popsection;                                            \
9:      __VA_ARGS__; lretl

        .section .code16, "ax"
        .globl  code16_begin
code16_begin:
        .code16
FORM(FORM_READ, FLAGS_MOVE, movb (%di), %al)
FORM(FORM_READ, FLAGS_MOVE, movw 2(%si), %ax)
FORM(FORM_READ, FLAGS_MOVE, movl (%di), %edx)
FORM(FORM_READ, FLAGS_MOVE, movw -5(%bx, %di), %cx)
FORM(FORM_READ, FLAGS_MOVE, movl 4(%edi), %eax)
FORM(FORM_READ, FLAGS_MOVE, movw %es:(%di), %ax)
FORM(FORM_READ, FLAGS_MOVE, movw 0x12, %dx)
FORM(FORM_READ, FLAGS_MOVE, movw 0x14, %ax)
FORM(FORM_READ, FLAGS_MOVE, movzbw (%di), %dx)
FORM(FORM_READ, FLAGS_MOVE, movswl (%di), %edx)
FORM(FORM_READ, FLAGS_ALL, cmpw $0x1234, (%di))
FORM(FORM_READ, FLAGS_ALL, addw (%di), %ax)
FORM(FORM_READ, FLAGS_MOVE, lodsw)
FORM(FORM_READ, FLAGS_MOVE, rep lodsb)
FORM(FORM_READ, FLAGS_ALL, repne scasw)
FORM(FORM_WRITE, FLAGS_MOVE, movb %ah, (%di))
FORM(FORM_WRITE, FLAGS_MOVE, movw %dx, 3(%di))
FORM(FORM_WRITE, FLAGS_MOVE, movl %edx, (%di))
FORM(FORM_WRITE, FLAGS_MOVE, movl $0x55aa33cc, 4(%edi))
FORM(FORM_WRITE, FLAGS_MOVE, movw $0x55aa, (%di))
FORM(FORM_WRITE, FLAGS_MOVE, movw %ax, 0x18)
FORM(FORM_WRITE, FLAGS_ALL, addw %dx, (%di))
FORM(FORM_WRITE, FLAGS_ALL, sbbl %edx, (%di))
FORM(FORM_WRITE, FLAGS_LOGIC, xorb $0x81, (%di))
FORM(FORM_WRITE, FLAGS_MOVE, xchgw %dx, (%di))
FORM(FORM_WRITE, FLAGS_MOVE, stosb)
FORM(FORM_WRITE, FLAGS_MOVE, rep stosw)
FORM(FORM_WRITE, FLAGS_MOVE, stosl)
FORM(FORM_TO, FLAGS_MOVE, rep movsb)
FORM(FORM_TO, FLAGS_MOVE, movsl)
FORM(FORM_FROM, FLAGS_MOVE, rep movsw)
FORM(FORM_FROM, FLAGS_MOVE, std; movsb)
FORM(FORM_FROM, FLAGS_ALL, repe cmpsb)
        .code32
        .section .note.GNU-stack, "", @progbits
