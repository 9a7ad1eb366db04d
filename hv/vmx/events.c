// SPDX-License-Identifier: BSD-2-Clause
// Event injection (SDM vol. 3, 27.6 and 28.2.4): one event an entry, in the order: what was being delivered
// when an exit came, an exception we raise, NMI, the 8259's interrupt, the local APIC's highest vector. What
// cannot go now is waited for with a window exit.
#include "hv/vm/guest.h"
#include "hv/vmx/vmx.h"
#include "rt/x86.h"

static bool is_software(uint32_t info)
{
    uint32_t type = info & INTR_INFO_TYPE;
    return type == INTR_TYPE_SOFTWARE || type == INTR_TYPE_PRIV_SW || type == INTR_TYPE_SW_EXCEPTION;
}

void vmx_keep_vectoring(struct vcpu *v)
{
    uint32_t info = (uint32_t)vmread(IDT_VECTORING_INFO);
    if (!(info & INTR_INFO_VALID))
        return;
    v->event.valid = true;
    v->event.info = info & (INTR_INFO_VALID | INTR_INFO_TYPE | INTR_INFO_VECTOR);
    v->event.has_error = (info & INTR_INFO_ERROR_CODE) != 0;
    v->event.error = v->event.has_error ? (uint32_t)vmread(IDT_VECTORING_ERROR_CODE) : 0;
    v->event.length = is_software(info) ? (uint32_t)vmread(VM_EXIT_INSTRUCTION_LENGTH) : 0;
    if ((info & INTR_INFO_TYPE) == INTR_TYPE_NMI) // its delivery set blocking; it is being delivered anew
        vmwrite(GUEST_INTERRUPTIBILITY, vmread(GUEST_INTERRUPTIBILITY) & ~(uint64_t)BLOCKING_BY_NMI);
    atomic_fetch_or_explicit(&v->attention, ATTENTION_EVENT, memory_order_relaxed);
}

/// Contributory exceptions (SDM vol. 3, table 6-4).
static bool contributory(uint8_t vector)
{
    return vector == EXC_DE || vector == EXC_TS || vector == EXC_NP || vector == EXC_SS || vector == EXC_GP;
}

/// Exceptions that are no faults: #DB (as we raise it), NMI, #BP, #OF, #DF, #MC (SDM vol. 3, table 6-1).
#define NO_FAULTS (1u << EXC_DB | 1u << EXC_NMI | 1u << EXC_BP | 1u << EXC_OF | 1u << EXC_DF | 1u << EXC_MC)

void vmx_raise_vector(struct vcpu *v, uint8_t vector, bool has_error, uint32_t error)
{
    // The flags that a fault saves have RF, so that the instruction's breakpoint does not fire again when it
    // is executed again (SDM vol. 3, 18.3.1.1). An exit of the instruction itself has cleared it (28.3.3).
    if (!(NO_FAULTS >> vector & 1))
        vmwrite(GUEST_RFLAGS, vmread(GUEST_RFLAGS) | RFLAGS_RF);
    // An exception while an exception was being delivered: double fault rules (SDM vol. 3, table 6-5).
    if (v->event.valid && (v->event.info & INTR_INFO_TYPE) == INTR_TYPE_EXCEPTION) {
        uint8_t first = (uint8_t)v->event.info;
        bool is_double = (contributory(first) && contributory(vector)) ||
                         (first == EXC_PF && (vector == EXC_PF || contributory(vector)));
        if (is_double) {
            vector = EXC_DF;
            has_error = true;
            error = 0;
        }
    }
    v->event.valid = true;
    v->event.info = INTR_INFO_VALID | INTR_TYPE_EXCEPTION | vector;
    v->event.has_error = has_error && (vmread(GUEST_CR0) & CR0_PE);
    v->event.error = error;
    v->event.length = 0;
    atomic_fetch_or_explicit(&v->attention, ATTENTION_EVENT, memory_order_relaxed);
}

void vmx_raise(struct vcpu *v, const struct emulate_fault *fault)
{
    if (fault->vector == EXC_PF)
        write_cr2(fault->cr2); // the guest's CR2 is in the CPU while its vCPU is loaded
    vmx_raise_vector(v, fault->vector, fault->has_error, fault->error);
}

static void set_window(struct vcpu *v, uint32_t bit, bool on)
{
    uint32_t controls = on ? v->vmx->cpu_controls | bit : v->vmx->cpu_controls & ~bit;
    if (controls != v->vmx->cpu_controls) {
        v->vmx->cpu_controls = controls;
        vmwrite(PROCESSOR_BASED_CONTROLS, controls);
    }
}

/// With TF set under an STI or MOV SS shadow, VM entry insists on a pending single step (SDM vol.
/// 3, 27.3.1.5), which an intercepted #DB has lost. An entry that delivers an exception drops it again
/// (27.7.3).
static void keep_single_step(uint32_t info, uint32_t blocking)
{
    uint32_t type = info & INTR_INFO_TYPE;
    if ((blocking & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS)) &&
        (type == INTR_TYPE_EXCEPTION || type == INTR_TYPE_PRIV_SW) && (vmread(GUEST_RFLAGS) & RFLAGS_TF))
        vmwrite(GUEST_PENDING_DEBUG_EXCEPTIONS, vmread(GUEST_PENDING_DEBUG_EXCEPTIONS) | PENDING_DEBUG_BS);
}

void vmx_prepare_entry(struct vcpu *v)
{
    atomic_fetch_and_explicit(&v->attention, ~ATTENTION_EVENT, memory_order_acquire);
    bool injected = false;
    uint32_t blocking = (uint32_t)vmread(GUEST_INTERRUPTIBILITY);

    if (v->event.valid) {
        uint32_t info = v->event.info;
        if (v->event.has_error) {
            info |= INTR_INFO_ERROR_CODE;
            vmwrite(VM_ENTRY_EXCEPTION_ERROR_CODE, v->event.error);
        }
        if (is_software(info))
            vmwrite(VM_ENTRY_INSTRUCTION_LENGTH, v->event.length);
        vmwrite(VM_ENTRY_INTERRUPTION_INFO, info);
        keep_single_step(info, blocking);
        v->event.valid = false;
        injected = true;
    } else if (v->nmi_pending && !(blocking & (BLOCKING_BY_NMI | BLOCKING_BY_MOV_SS | BLOCKING_BY_STI))) {
        vmwrite(VM_ENTRY_INTERRUPTION_INFO, INTR_INFO_VALID | INTR_TYPE_NMI | EXC_NMI);
        v->nmi_pending = false;
        injected = true;
    }
    set_window(v, CPU_NMI_WINDOW, v->nmi_pending);

    bool external = guest_extint_pending(v);
    int vector = lapic_pending(&v->lapic);
    if ((external || vector >= 0) && !injected && (vmread(GUEST_RFLAGS) & RFLAGS_IF) &&
        !(blocking & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS))) {
        if (external) // INTR does not wait for what the local APIC has
            vector = guest_extint_accept(v);
        else
            lapic_accept(&v->lapic, (uint8_t)vector);
        vmwrite(VM_ENTRY_INTERRUPTION_INFO, INTR_INFO_VALID | INTR_TYPE_EXTERNAL | (uint32_t)vector);
        external = guest_extint_pending(v);
        vector = lapic_pending(&v->lapic);
    }
    set_window(v, CPU_INTERRUPT_WINDOW, external || vector >= 0);
}
