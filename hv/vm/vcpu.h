// SPDX-License-Identifier: BSD-2-Clause
// A virtual CPU: the part of it that does not depend on whose virtualization extension runs it.
// hv/vmx/run.S knows the offsets of the first fields.
#pragma once
#include "hv/platform/lapic.h"
#include "hv/vm/emulate.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct guest;
struct vmx_vcpu;

/// Indices into vcpu.gpr: encoding order.
enum gpr { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, GPR_COUNT };

enum vcpu_state {
    VCPU_STOPPED, // not to be run: guest not started, or stopped
    VCPU_RUNNABLE,
    VCPU_WAIT_SIPI, // after power-on or INIT: runs when a start-up IPI comes
    VCPU_HALTED,    // HLT: runs again when an interrupt or NMI waits
};

/// Reasons to look before the next VM entry (vcpu.attention).
#define ATTENTION_EVENT 0x1u // something may have to be injected
#define ATTENTION_LEAVE 0x2u // go back to the scheduler: the guest was stopped, paused or reset

#define MSR_STORE_MAX 64
#define CPUID_ANSWERS 32 // basic leaves, then extended ones

struct vcpu {
    uint64_t gpr[GPR_COUNT]; // gpr[RSP] is valid only between virt->get_registers and set_registers
    uint64_t host_rsp;       // where vmx_enter() left the CPU's stack
    uint64_t slice_end_tsc;  // leave for the scheduler at this TSC
    _Atomic uint32_t attention;
    uint8_t launched;

    struct guest *guest;
    struct vmx_vcpu *vmx;
    uint32_t index; // in its guest; also its APIC id
    uint32_t cpu;   // physical CPU it runs on
    _Atomic uint32_t state;
    _Atomic bool inside; // of a guest that is spread: it is in the guest, without the lock
    uint64_t tsc_offset; // guest TSC = TSC + offset
    struct lapic lapic;
    struct emulate_cache *decode_cache;

    // An event that was being delivered when a VM exit came, or an exception to raise: goes first at the next
    // entry.
    struct {
        bool valid, has_error;
        uint32_t info; // VM-entry interruption information without the error-code bit
        uint32_t error;
        uint32_t length; // of the instruction, for software interrupts
    } event;
    bool nmi_pending;
    bool sipi_pending;
    uint8_t sipi_vector;
    bool halt_interruptible; // RFLAGS.IF at the HLT
    bool halt_told;          // that it was 0 was said

    uint64_t xcr0;
    struct cpuid_answer {
        uint32_t eax, ebx, ecx, edx;
    } cpuid[CPUID_ANSWERS];            // what subleaf 0 of each leaf says, by cpuid_reset()
    uint64_t msr_store[MSR_STORE_MAX]; // MSRs that only remember what was written; index from hv/vm/msr.c
    uint64_t exits[80];                // by basic exit reason
    uint64_t entries;
    bool timed; // guest_tsc counts; costs each VM exit two RDTSC. Set by the scheduler, between slices
    uint64_t entered_tsc; // timed: when the guest was entered last
    uint64_t guest_tsc;   // timed: ticks in the guest, all together
};

/// Something waits for it (ATTENTION_). When it is inside the guest on another CPU, that CPU is called out.
/// By whoever holds the guest's lock.
void vcpu_attend(struct vcpu *v, uint32_t what);

_Static_assert(offsetof(struct vcpu, host_rsp) == 128, "hv/vmx/run.S");
_Static_assert(offsetof(struct vcpu, launched) == 148, "hv/vmx/run.S");
