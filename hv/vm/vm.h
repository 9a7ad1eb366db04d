// SPDX-License-Identifier: BSD-2-Clause
// What a virtualization extension's exit handlers ask of the machine around a vCPU. All on the CPU that runs
// it, with its guest's lock; vm_inside gives that away.
#pragma once
#include "hv/vm/vcpu.h"
#include "hv/vm/virt.h"
#include <stdbool.h>
#include <stdint.h>

enum vm_result {
    VM_DONE,  // go on after the instruction
    VM_AGAIN, // go on at the same instruction (page mapped, part of a REP done, exception raised)
    VM_LEAVE, // back to the scheduler; RIP as for VM_DONE
    VM_STOP,  // the guest has been stopped and the reason reported
};

/// CPUID with EAX, ECX of the vCPU; writes EAX..EDX. cr4: the guest's, for OSXSAVE.
void vm_cpuid(struct vcpu *v, uint64_t cr4);
/// False: #GP.
bool vm_msr_read(struct vcpu *v, uint32_t msr, uint64_t *value);
bool vm_msr_write(struct vcpu *v, uint32_t msr, uint64_t value);
/// XSETBV. False: #GP.
bool vm_xsetbv(struct vcpu *v, uint32_t index, uint64_t value, uint64_t cr4);

/// IN/OUT without string; value in and out of RAX.
void vm_port_in(struct vcpu *v, uint16_t port, unsigned size);
void vm_port_out(struct vcpu *v, uint16_t port, unsigned size);
/// INS/OUTS. segment: of the source (OUTS), or ES (INS); address_size 2, 4, 8.
enum vm_result vm_port_string(struct vcpu *v, uint16_t port, unsigned size, bool in, bool rep,
                              unsigned address_size, enum segment_index segment);

/// A guest-physical access that nested paging did not allow. fetch: it was an instruction fetch. linear: the
/// address that the instruction used, valid when has_linear.
enum vm_result vm_memory_fault(struct vcpu *v, uint64_t gpa, bool write, bool fetch, uint64_t linear,
                               bool has_linear);

/// Stops the vCPU's guest: reports the sentence and a dump, once.
enum vm_result vm_stop(struct vcpu *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/// The last thing before an entry, and the first after an exit: the guest's lock is free in between. Of
/// guests that are not spread, nothing.
void vm_inside(struct vcpu *v);
void vm_outside(struct vcpu *v);

static inline uint64_t vm_guest_tsc(const struct vcpu *v, uint64_t tsc)
{
    return tsc + v->tsc_offset;
}

/// After a write to its local APIC: something may have to be injected; and when the timer is now due before
/// the slice ends, the scheduler has to end it there.
static inline void vm_lapic_written(struct vcpu *v)
{
    uint64_t deadline = v->lapic.timer_deadline_tsc;
    uint32_t what = ATTENTION_EVENT;
    if (__builtin_expect(deadline && deadline < vm_guest_tsc(v, v->slice_end_tsc), 0))
        what |= ATTENTION_LEAVE;
    atomic_fetch_or_explicit(&v->attention, what, memory_order_relaxed);
}
