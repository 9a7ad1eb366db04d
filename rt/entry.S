// SPDX-License-Identifier: BSD-2-Clause
// Where the loader jumps to, where another CPU arrives from its trampoline, and the way from the boot stack to a guarded one.
// State at _start: rt/boot_info.h. Nothing here may use memory that is not in the image.

        .section .text, "ax", @progbits

        .globl  _start
        .type   _start, @function
_start:
        cli
        cld
        movq    $boot_stack_top, %rsp
        xorl    %ebp, %ebp              // end of every backtrace
        call    rt_start                // RDI = boot_info; does not return
        ud2
        .size   _start, . - _start

// stack_switch(void *top, void (*fn)(void *arg), void *arg): runs fn(arg) on another stack and never comes back.
        .globl  stack_switch
        .type   stack_switch, @function
stack_switch:
        movq    %rdi, %rsp
        andq    $-16, %rsp
        movq    %rdx, %rdi
        xorl    %ebp, %ebp
        call    *%rsi
        ud2
        .size   stack_switch, . - stack_switch

        .section .bss, "aw", @nobits
        .balign 4096
boot_stack:
        .skip   16384
boot_stack_top:

        .section .note.GNU-stack, "", @progbits
