// SPDX-License-Identifier: BSD-2-Clause
// What a CPU runs between STARTUP and our higher half: copied to a page below 1 MiB by drivers/smp.c, which also fills in the
// fields at the end (struct trampoline there). With paging on, this page is read-only and executable; the descriptors have
// their accessed bits set so that the CPU need not write them. SDM vol. 3, 9.8.5 (entering IA-32e mode).

        .section .rodata.smp_trampoline, "a", @progbits
        .balign 16
        .globl  smp_trampoline_start
smp_trampoline_start:
        .code16
        cli
        cld
        xorl    %ebx, %ebx
        movw    %cs, %bx
        movw    %bx, %ds
        shll    $4, %ebx                // physical address of this page
        lgdtl   gdt_register - smp_trampoline_start
        movl    %cr0, %eax
        andl    $0x9fffffff, %eax       // caches on: CD = NW = 0
        orl     $1, %eax                // PE
        movl    %eax, %cr0
        ljmpl   *(far32 - smp_trampoline_start)

        .code32
protected:
        movw    $0x18, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    $0x20, %eax             // CR4.PAE
        movl    %eax, %cr4
        movl    (field_cr3 - smp_trampoline_start)(%ebx), %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx       // IA32_EFER
        rdmsr
        orl     $0x900, %eax            // LME, NXE
        wrmsr
        movl    $0x80010031, %eax       // PG, WP, NE, ET, PE
        movl    %eax, %cr0
        ljmpl   *(far64 - smp_trampoline_start)(%ebx)

        .code64
long_mode:
        movl    %ebx, %ebx
        movq    (field_stack - smp_trampoline_start)(%rbx), %rsp
        movq    (field_cpu - smp_trampoline_start)(%rbx), %rdi
        movq    (field_entry - smp_trampoline_start)(%rbx), %rax
        xorl    %ebp, %ebp
        pushq   $0                      // end of every backtrace
        jmp     *%rax

        .balign 8
gdt:
        .quad   0
        .quad   0x00af9b000000ffff      // 08: 64-bit code
        .quad   0x00cf9b000000ffff      // 10: 32-bit code
        .quad   0x00cf93000000ffff      // 18: data
gdt_end:

        .balign 8
        .globl  smp_trampoline_fields
smp_trampoline_fields:                  // struct trampoline
field_cr3:      .quad 0
field_stack:    .quad 0
field_cpu:      .quad 0
field_entry:    .quad 0
gdt_register:   .word gdt_end - gdt - 1
                .long gdt - smp_trampoline_start        // drivers/smp.c adds the page's address
far32:          .long protected - smp_trampoline_start  // likewise
                .word 0x10
far64:          .long long_mode - smp_trampoline_start  // likewise
                .word 0x08
        .globl  smp_trampoline_end
smp_trampoline_end:

        .section .note.GNU-stack, "", @progbits
