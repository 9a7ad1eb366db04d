// SPDX-License-Identifier: BSD-2-Clause
// Instruction forms of 32-bit code. (E)SI and (E)DI point 16 bytes into what may be touched (32 bytes); EAX, EDX: values, EBX = 3,
// ECX = 5, EBP = -97; CF = 1.
#include "tests/guests/probe/forms.h"

#define FORM(kind, flags, ...)                                                                                         \
        .pushsection .rodata.forms, "a"; 8: .asciz #__VA_ARGS__; .popsection;                                          \
        .pushsection .forms32, "a"; .long 8b, 9f, flags, kind; .popsection;                                            \
9:      __VA_ARGS__; ret

        .text
        .code32
// loads
FORM(FORM_READ, FLAGS_MOVE, movb (%edi), %al)
FORM(FORM_READ, FLAGS_MOVE, movb 1(%edi), %ah)
FORM(FORM_READ, FLAGS_MOVE, movb -3(%edi), %ch)
FORM(FORM_READ, FLAGS_MOVE, movw (%edi), %dx)
FORM(FORM_READ, FLAGS_MOVE, movw 3(%edi), %cx)
FORM(FORM_READ, FLAGS_MOVE, movl (%edi), %ebp)
FORM(FORM_READ, FLAGS_MOVE, movl 5(%edi), %ebx)
FORM(FORM_READ, FLAGS_MOVE, movl -4(%edi, %ebx, 4), %eax)
FORM(FORM_READ, FLAGS_MOVE, movl (%ebx, %edi), %eax)
FORM(FORM_READ, FLAGS_MOVE, movzbl (%edi), %eax)
FORM(FORM_READ, FLAGS_MOVE, movzbw 1(%edi), %dx)
FORM(FORM_READ, FLAGS_MOVE, movzwl 2(%edi), %ecx)
FORM(FORM_READ, FLAGS_MOVE, movsbl 3(%edi), %edx)
FORM(FORM_READ, FLAGS_MOVE, movsbw -1(%edi), %ax)
FORM(FORM_READ, FLAGS_MOVE, movswl -2(%edi), %ebp)
FORM(FORM_READ, FLAGS_MOVE, movl %ds:(%edi), %eax)
FORM(FORM_READ, FLAGS_MOVE, movl %fs:(%edi), %eax)
FORM(FORM_READ, FLAGS_MOVE, movl %ss:4(%edi), %eax)
// compare and test
FORM(FORM_READ, FLAGS_ALL, cmpb %al, (%edi))
FORM(FORM_READ, FLAGS_ALL, cmpw (%edi), %dx)
FORM(FORM_READ, FLAGS_ALL, cmpl %edx, 4(%edi))
FORM(FORM_READ, FLAGS_ALL, cmpl 4(%edi), %edx)
FORM(FORM_READ, FLAGS_ALL, cmpb $0x41, (%edi))
FORM(FORM_READ, FLAGS_ALL, cmpl $-5, (%edi))
FORM(FORM_READ, FLAGS_ALL, cmpl $0x12345678, (%edi))
FORM(FORM_READ, FLAGS_LOGIC, testb %dl, (%edi))
FORM(FORM_READ, FLAGS_LOGIC, testw $0x8001, (%edi))
FORM(FORM_READ, FLAGS_LOGIC, testl $0x80000001, (%edi))
FORM(FORM_READ, FLAGS_LOGIC, testl %eax, (%edi))
// arithmetic with the register as destination
FORM(FORM_READ, FLAGS_ALL, addb (%edi), %al)
FORM(FORM_READ, FLAGS_ALL, addw (%edi), %dx)
FORM(FORM_READ, FLAGS_ALL, addl (%edi), %eax)
FORM(FORM_READ, FLAGS_ALL, adcl (%edi), %eax)
FORM(FORM_READ, FLAGS_ALL, subl (%edi), %eax)
FORM(FORM_READ, FLAGS_ALL, sbbl (%edi), %eax)
FORM(FORM_READ, FLAGS_LOGIC, andl (%edi), %eax)
FORM(FORM_READ, FLAGS_LOGIC, orl (%edi), %eax)
FORM(FORM_READ, FLAGS_LOGIC, xorl (%edi), %eax)
FORM(FORM_READ, FLAGS_LOGIC, xorb 1(%edi), %dh)
FORM(FORM_READ, FLAGS_BIT, btl $7, (%edi))
FORM(FORM_READ, FLAGS_BIT, btl %ecx, (%edi))
FORM(FORM_READ, FLAGS_BIT, btl %ebp, (%edi))
FORM(FORM_READ, FLAGS_MOVE, pushl (%edi); popl %edx)
FORM(FORM_READ, FLAGS_MOVE, pushw (%edi); popw %dx)
// strings that only read
FORM(FORM_READ, FLAGS_MOVE, lodsb)
FORM(FORM_READ, FLAGS_MOVE, lodsw)
FORM(FORM_READ, FLAGS_MOVE, lodsl)
FORM(FORM_READ, FLAGS_MOVE, rep lodsb)
FORM(FORM_READ, FLAGS_MOVE, std; lodsl)
FORM(FORM_READ, FLAGS_ALL, scasb)
FORM(FORM_READ, FLAGS_ALL, scasl)
FORM(FORM_READ, FLAGS_ALL, repne scasb)
FORM(FORM_READ, FLAGS_ALL, movb 3(%edi), %al; repne scasb)
FORM(FORM_READ, FLAGS_ALL, repe scasw)
FORM(FORM_READ, FLAGS_ALL, cmpsl)
FORM(FORM_READ, FLAGS_ALL, incl %edi; repe cmpsb)
// stores
FORM(FORM_WRITE, FLAGS_MOVE, movb %al, (%edi))
FORM(FORM_WRITE, FLAGS_MOVE, movb %ah, 1(%edi))
FORM(FORM_WRITE, FLAGS_MOVE, movb %dh, -16(%edi))
FORM(FORM_WRITE, FLAGS_MOVE, movw %dx, 2(%edi))
FORM(FORM_WRITE, FLAGS_MOVE, movw %dx, 3(%edi))
FORM(FORM_WRITE, FLAGS_MOVE, movl %eax, 4(%edi))
FORM(FORM_WRITE, FLAGS_MOVE, movl %eax, 7(%edi))
FORM(FORM_WRITE, FLAGS_MOVE, movl %esp, 4(%edi); movl $0, 4(%edi))
FORM(FORM_WRITE, FLAGS_MOVE, movb $0xa5, (%edi))
FORM(FORM_WRITE, FLAGS_MOVE, movw $0xa55a, (%edi))
FORM(FORM_WRITE, FLAGS_MOVE, movl $0x8badf00d, (%edi))
FORM(FORM_WRITE, FLAGS_MOVE, movl $1, -16(%edi, %ebx, 8))
FORM(FORM_WRITE, FLAGS_MOVE, movnti %eax, (%edi))
// arithmetic with memory as destination
FORM(FORM_WRITE, FLAGS_ALL, addb %al, (%edi))
FORM(FORM_WRITE, FLAGS_ALL, addw %dx, (%edi))
FORM(FORM_WRITE, FLAGS_ALL, addl %eax, (%edi))
FORM(FORM_WRITE, FLAGS_ALL, addl $100, (%edi))
FORM(FORM_WRITE, FLAGS_ALL, addl $0x12345678, (%edi))
FORM(FORM_WRITE, FLAGS_ALL, adcl %edx, (%edi))
FORM(FORM_WRITE, FLAGS_ALL, adcb $0x7f, (%edi))
FORM(FORM_WRITE, FLAGS_ALL, subl %eax, (%edi))
FORM(FORM_WRITE, FLAGS_ALL, subw $-3, (%edi))
FORM(FORM_WRITE, FLAGS_ALL, sbbl %edx, (%edi))
FORM(FORM_WRITE, FLAGS_LOGIC, andl %eax, (%edi))
FORM(FORM_WRITE, FLAGS_LOGIC, andb $0xf, (%edi))
FORM(FORM_WRITE, FLAGS_LOGIC, orl %eax, (%edi))
FORM(FORM_WRITE, FLAGS_LOGIC, orw $0x8000, (%edi))
FORM(FORM_WRITE, FLAGS_LOGIC, xorl %eax, (%edi))
FORM(FORM_WRITE, FLAGS_LOGIC, xorl $-1, (%edi))
FORM(FORM_WRITE, FLAGS_MOVE, notl (%edi))
FORM(FORM_WRITE, FLAGS_MOVE, notb 1(%edi))
FORM(FORM_WRITE, FLAGS_ALL, negl (%edi))
FORM(FORM_WRITE, FLAGS_ALL, negw 2(%edi))
FORM(FORM_WRITE, FLAGS_ALL, incl (%edi))
FORM(FORM_WRITE, FLAGS_ALL, incb (%edi))
FORM(FORM_WRITE, FLAGS_ALL, decl (%edi))
FORM(FORM_WRITE, FLAGS_ALL, decw (%edi))
FORM(FORM_WRITE, FLAGS_ALL, lock addl %eax, (%edi))
FORM(FORM_WRITE, FLAGS_ALL, lock incl (%edi))
FORM(FORM_WRITE, FLAGS_MOVE, xchgl %eax, (%edi))
FORM(FORM_WRITE, FLAGS_MOVE, xchgb %dh, (%edi))
FORM(FORM_WRITE, FLAGS_ALL, cmpxchgl %edx, (%edi))
FORM(FORM_WRITE, FLAGS_ALL, movl (%edi), %eax; cmpxchgl %edx, (%edi))
FORM(FORM_WRITE, FLAGS_ALL, lock cmpxchgb %dl, (%edi))
FORM(FORM_WRITE, FLAGS_BIT, btsl $3, (%edi))
FORM(FORM_WRITE, FLAGS_BIT, btsl %ebp, (%edi))
FORM(FORM_WRITE, FLAGS_BIT, btrl %ecx, (%edi))
FORM(FORM_WRITE, FLAGS_BIT, btrw %bp, (%edi))
FORM(FORM_WRITE, FLAGS_BIT, btcl $31, (%edi))
FORM(FORM_WRITE, FLAGS_MOVE, pushl %edx; popl (%edi))
// strings
FORM(FORM_WRITE, FLAGS_MOVE, stosb)
FORM(FORM_WRITE, FLAGS_MOVE, stosw)
FORM(FORM_WRITE, FLAGS_MOVE, stosl)
FORM(FORM_WRITE, FLAGS_MOVE, rep stosb)
FORM(FORM_WRITE, FLAGS_MOVE, std; rep stosw)
FORM(FORM_WRITE, FLAGS_MOVE, movl %ebx, %ecx; rep stosl)
FORM(FORM_WRITE, FLAGS_MOVE, xorl %ecx, %ecx; rep stosl)
FORM(FORM_WRITE, FLAGS_MOVE, leal -8(%esi), %esi; movsl)
FORM(FORM_WRITE, FLAGS_MOVE, leal -8(%esi), %esi; rep movsb)
FORM(FORM_TO, FLAGS_MOVE, movsb)
FORM(FORM_TO, FLAGS_MOVE, rep movsw)
FORM(FORM_TO, FLAGS_MOVE, movl %ebx, %ecx; rep movsl)
FORM(FORM_TO, FLAGS_MOVE, std; rep movsb)
FORM(FORM_FROM, FLAGS_MOVE, movsl)
FORM(FORM_FROM, FLAGS_MOVE, rep movsb)
FORM(FORM_FROM, FLAGS_MOVE, movl %ebx, %ecx; rep movsl)
FORM(FORM_FROM, FLAGS_MOVE, std; movl %ebx, %ecx; rep movsl)
FORM(FORM_FROM, FLAGS_ALL, repe cmpsb)
FORM(FORM_FROM, FLAGS_ALL, movl %ebx, %ecx; repne cmpsl)

// void form_run32(const void *routine, struct regs32 *regs): EAX ECX EDX EBX EBP ESI EDI EFLAGS
        .globl  form_run32
form_run32:
        pushl   %ebp
        pushl   %ebx
        pushl   %esi
        pushl   %edi
        movl    20(%esp), %eax
        movl    24(%esp), %ebx
        pushl   %ebx
        pushl   %eax
        pushl   28(%ebx)
        movl    0(%ebx), %eax
        movl    4(%ebx), %ecx
        movl    8(%ebx), %edx
        movl    16(%ebx), %ebp
        movl    20(%ebx), %esi
        movl    24(%ebx), %edi
        movl    12(%ebx), %ebx
        popfl
        call    *(%esp)
form_end:
        pushfl
        cld
        pushl   %ebx
        movl    12(%esp), %ebx
        movl    %eax, 0(%ebx)
        movl    %ecx, 4(%ebx)
        movl    %edx, 8(%ebx)
        popl    12(%ebx)
        movl    %ebp, 16(%ebx)
        movl    %esi, 20(%ebx)
        movl    %edi, 24(%ebx)
        popl    28(%ebx)
        addl    $8, %esp
        popl    %edi
        popl    %esi
        popl    %ebx
        popl    %ebp
        ret

// void form_run16(const void *routine, struct regs32 *regs, uint32_t ds, uint32_t es): routine is an offset in .code16
        .globl  form_run16
form_run16:
        pushl   %ebp
        pushl   %ebx
        pushl   %esi
        pushl   %edi
        movl    20(%esp), %eax
        movl    24(%esp), %ebx
        movl    %eax, form16_pointer
        movl    28(%esp), %ecx
        movl    32(%esp), %edx
        pushl   %ebx
        pushl   %eax
        pushl   28(%ebx)
        pushl   12(%ebx)
        movl    16(%ebx), %ebp
        movl    20(%ebx), %esi
        movl    24(%ebx), %edi
        pushl   0(%ebx)
        pushl   4(%ebx)
        pushl   8(%ebx)
        movl    %ecx, %ds
        movl    %edx, %es
        popl    %edx
        popl    %ecx
        popl    %eax
        popl    %ebx
        popfl
        lcall   *%ss:form16_pointer
        pushl   %ss
        popl    %ds
        pushl   %ss
        popl    %es
        jmp     form_end

        .data
        .balign 4
form16_pointer:
        .long   0
        .word   0x20
        .section .note.GNU-stack, "", @progbits
