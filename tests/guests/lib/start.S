// SPDX-License-Identifier: BSD-2-Clause
// The first instructions of a test guest (Multiboot 1 leaves 32-bit protected mode, paging off), its GDT, exception stubs and the
// way back from a fault that was expected.

        .section .multiboot, "a"
        .balign 4
        .long   0x1badb002, 0x3, -(0x1badb002 + 0x3)    // page-aligned modules, memory information

        .text
        .code32
        .globl  guest_entry
guest_entry:
        cli
        cld
        movl    $stack_top, %esp
        lgdt    gdt_register
        ljmp    $0x08, $1f
1:      movl    $0x10, %ecx
        movl    %ecx, %ds
        movl    %ecx, %es
        movl    %ecx, %fs
        movl    %ecx, %gs
        movl    %ecx, %ss
        pushl   $2
        popfl
        pushl   %ebx
        pushl   %eax
        call    guest_start
2:      hlt
        jmp     2b

// 32 stubs, 16 bytes apart: error code (or 0) and vector on the stack. Vectors with an error code: SDM vol. 3, table 6-1.
        .balign 16
        .globl  fault_stubs
fault_stubs:
        .set    vector, 0
        .rept   32
        .balign 16
        .if     ((1 << vector) & 0x60227d00) == 0
        pushl   $0
        .endif
        pushl   $vector
        jmp     fault_common
        .set    vector, vector + 1
        .endr

        .balign 16
fault_common:
        pushal
        cld
        movl    $0x10, %ecx
        movl    %ecx, %ds
        movl    %ecx, %es
        movl    %ecx, %fs
        movl    %ecx, %gs
        pushl   %esp
        call    guest_exception         // returns only when try_call waits
        movl    try_stack, %esp
        movl    $0, %eax
        jmp     try_end

// bool try_call(void (*fn)(void *), void *arg)
        .globl  try_call
try_call:
        movl    4(%esp), %eax
        movl    8(%esp), %edx
        pushl   %ebp
        pushl   %ebx
        pushl   %esi
        pushl   %edi
        pushfl
        pushl   try_stack
        movl    %esp, try_stack
        pushl   %edx
        call    *%eax
        popl    %edx
        movl    $1, %eax
try_end:
        popl    try_stack
        popfl
        popl    %edi
        popl    %esi
        popl    %ebx
        popl    %ebp
        ret

        .data
        .balign 8
        .globl  guest_gdt
guest_gdt:
        .quad   0
        .quad   0x00cf9b000000ffff      // 0x08 code, 32 bit, flat
        .quad   0x00cf93000000ffff      // 0x10 data, flat
        .quad   0x00af9b000000ffff      // 0x18 code, 64 bit
        .quad   0x00009b000000ffff      // 0x20 code, 16 bit, 64 KiB
        .quad   0x00cf93000000ffff      // 0x28 data with a base
        .quad   0                       // 0x30, 0x38 task state segments
        .quad   0
guest_gdt_end:
gdt_register:
        .word   guest_gdt_end - guest_gdt - 1
        .long   guest_gdt
        .globl  try_stack
try_stack:
        .long   0

        .bss
        .balign 16
        .skip   32768
stack_top:
        .section .note.GNU-stack, "", @progbits
