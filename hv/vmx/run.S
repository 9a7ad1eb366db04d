// SPDX-License-Identifier: BSD-2-Clause
// VM entry and VM exit. The exit pushes the guest's registers straight into struct vcpu: HOST_RSP is the end of vcpu.gpr.
// Invariant: between vmx_enter and its return the CPU's own stack is at vcpu.host_rsp, aligned to 16.
// Callee-saved registers of the CPU's own are on that stack while the guest runs.

#define VCPU_HOST_RSP 128
#define VCPU_LAUNCHED 148

        .text

.macro load_guest_registers base
        mov     0x00(\base), %rax
        mov     0x08(\base), %rcx
        mov     0x10(\base), %rdx
        mov     0x28(\base), %rbp
        mov     0x30(\base), %rsi
        mov     0x40(\base), %r8
        mov     0x48(\base), %r9
        mov     0x50(\base), %r10
        mov     0x58(\base), %r11
        mov     0x60(\base), %r12
        mov     0x68(\base), %r13
        mov     0x70(\base), %r14
        mov     0x78(\base), %r15
.endm

// bool vmx_enter(struct vcpu *v): runs until vmx_exit() says to leave. False: the VM entry itself failed (VMfail).
        .globl  vmx_enter
        .type   vmx_enter, @function
vmx_enter:
        push    %rbp
        push    %rbx
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        sub     $8, %rsp
        mov     %rsp, VCPU_HOST_RSP(%rdi)
        cmpb    $0, VCPU_LAUNCHED(%rdi)
        load_guest_registers %rdi
        mov     0x18(%rdi), %rbx
        mov     0x38(%rdi), %rdi
        jne     1f
        vmlaunch
        jmp     .Lfail
1:      vmresume
.Lfail:   xor     %eax, %eax      // VMfail: RSP is still our own
        jmp     .Ldone
        .size   vmx_enter, . - vmx_enter

// What HOST_RIP points to. `handler`: bool (struct vcpu *), true to enter the guest again.
.macro exit_entry name handler
        .globl  \name
        .type   \name, @function
\name:
        push    %r15
        push    %r14
        push    %r13
        push    %r12
        push    %r11
        push    %r10
        push    %r9
        push    %r8
        push    %rdi
        push    %rsi
        push    %rbp
        sub     $8, %rsp        // RSP is in the VMCS
        push    %rbx
        push    %rdx
        push    %rcx
        push    %rax
        mov     %rsp, %rbx
        mov     %rsp, %rdi
        mov     VCPU_HOST_RSP(%rdi), %rsp
        call    \handler
        test    %al, %al
        jz      .Lleave
        load_guest_registers %rbx
        mov     0x38(%rbx), %rdi
        mov     0x18(%rbx), %rbx
        vmresume
        jmp     .Lfail
        .size   \name, . - \name
.endm

        exit_entry vmx_exit_entry vmx_exit
        exit_entry vmx_exit_entry_aside vmx_exit_aside

.Lleave:  mov     $1, %eax
.Ldone:   add     $8, %rsp
        pop     %r15
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %rbx
        pop     %rbp
        ret

        .section .note.GNU-stack, "", @progbits
