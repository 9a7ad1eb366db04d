// SPDX-License-Identifier: BSD-2-Clause
// A vCPU's local APIC (SDM vol. 3, ch. 10 "APIC"): xAPIC page and x2APIC MSRs over one register file, timer
// (one-shot, periodic, TSC-deadline), IPIs. Must not know VMX or how a vCPU is run: whoever runs it asks for
// the next vector and the next deadline.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define LAPIC_BASE  0xfee00000ull
#define LAPIC_LINT0 4u // index into lapic.lvt

struct lapic;

enum ipi_kind { IPI_FIXED, IPI_NMI, IPI_INIT, IPI_STARTUP };

/// What the APIC asks of the machine around it.
struct lapic_ops {
    /// An IPI from this APIC (destination already reduced to APIC ids; called once for each).
    void (*ipi)(void *ctx, uint32_t apic_id, enum ipi_kind kind, uint8_t vector);
    /// EOI of a level-triggered vector (for an IOAPIC).
    void (*eoi)(void *ctx, uint8_t vector);
    /// The APIC with that id, for its LDR and DFR (logical destinations in xAPIC mode). NULL: only this one
    /// is reached so.
    struct lapic *(*peer)(void *ctx, uint32_t apic_id);
    /// Number of vCPUs and their APIC ids are 0..count-1.
    uint32_t cpu_count;
    uint32_t address_bits; // of a physical address (MAXPHYADDR), less than 64
    void *ctx;
};

struct lapic {
    const struct lapic_ops *ops;
    uint32_t id;
    uint64_t base_msr; // IA32_APIC_BASE
    uint32_t irr[8], isr[8], tmr[8];
    uint32_t tpr, ldr, dfr, svr, esr, esr_pending, icr_low, icr_high;
    uint32_t lvt[7]; // CMCI, timer, thermal, perfmon, LINT0, LINT1, error
    uint32_t timer_initial, timer_divide;
    uint64_t timer_deadline_tsc; // next expiry in guest TSC ticks, 0: none
    uint64_t tsc_deadline_msr;
    uint64_t bus_divisor; // TSC ticks per APIC timer tick at divide-by-1
};

/// State after power-up. bus_divisor is the caller's and is kept. A fixed IPI to itself does not go
/// through ops->ipi.
void lapic_reset(struct lapic *l, uint32_t id, bool bootstrap, const struct lapic_ops *ops);
/// INIT: as after power-up, but IA32_APIC_BASE, and with it x2APIC mode, stays (SDM vol. 3, 10.12.5.1).
void lapic_init(struct lapic *l);
/// 32-bit register access at an offset of the xAPIC page (aligned to 16). `now` = guest TSC.
uint32_t lapic_read(struct lapic *l, uint32_t offset, uint64_t now);
void lapic_write(struct lapic *l, uint32_t offset, uint32_t value, uint64_t now);
/// MSR access (IA32_APIC_BASE, IA32_TSC_DEADLINE, 0x800-0x8FF). False: #GP.
bool lapic_msr_read(struct lapic *l, uint32_t msr, uint64_t now, uint64_t *value);
bool lapic_msr_write(struct lapic *l, uint32_t msr, uint64_t value, uint64_t now);
/// What PC firmware leaves on the bootstrap processor (MultiProcessor Specification 1.4, 3.6.2.2 "virtual
/// wire"): enabled, LINT0 = ExtINT, LINT1 = NMI.
void lapic_virtual_wire(struct lapic *l);
/// Does an interrupt of the 8259 pair reach the processor: LINT0 is an unmasked ExtINT, or the APIC is
/// switched off (IA32_APIC_BASE) and its pin is the processor's INTR (SDM vol. 3, 10.4.3)?
static inline bool lapic_passes_extint(const struct lapic *l)
{
    return (l->lvt[LAPIC_LINT0] & 0x10700) == 0x700 || !(l->base_msr & 0x800);
}
/// Does an interrupt message (MSI, I/O APIC) with this 8-bit destination mean this APIC?
bool lapic_receives(const struct lapic *l, uint8_t destination, bool logical);
/// Makes a vector pending (from an IPI, MSI, IOAPIC).
void lapic_set_irr(struct lapic *l, uint8_t vector, bool level);
/// Runs the timer: makes its vector pending when it has expired. Returns the next expiry in guest TSC, 0:
/// none.
uint64_t lapic_tick(struct lapic *l, uint64_t now);
/// Highest vector that may be delivered now (priority above TPR and what is in service), -1: none.
int lapic_pending(const struct lapic *l);
/// Moves it from IRR to ISR: it is being injected.
void lapic_accept(struct lapic *l, uint8_t vector);
static inline bool lapic_x2apic(const struct lapic *l)
{
    return (l->base_msr & 0x400) != 0;
}
