// SPDX-License-Identifier: BSD-2-Clause
// One vCPU's local APIC (SDM vol. 3, chapter 10 "Advanced Programmable Interrupt Controller"): register file,
// priorities, timer, IPIs. xAPIC page and x2APIC MSRs are two doors to the same registers. Must not know VMX
// or how a vCPU is run. Invariant: a vector of the timer becomes pending only in lapic_tick(); whoever runs
// the vCPU calls it when the deadline passed.
#include "hv/platform/lapic.h"
#include <stddef.h>

// clang-format off
enum { // register offsets, table 10-1
    APIC_ID = 0x020, APIC_VERSION = 0x030, APIC_TPR = 0x080, APIC_APR = 0x090, APIC_PPR = 0x0a0, APIC_EOI = 0x0b0, APIC_LDR = 0x0d0,
    APIC_DFR = 0x0e0, APIC_SVR = 0x0f0, APIC_ISR = 0x100, APIC_TMR = 0x180, APIC_IRR = 0x200, APIC_ESR = 0x280, APIC_LVT_CMCI = 0x2f0,
    APIC_ICR_LOW = 0x300, APIC_ICR_HIGH = 0x310, APIC_LVT_TIMER = 0x320, APIC_LVT_THERMAL = 0x330, APIC_LVT_PERFMON = 0x340,
    APIC_LVT_LINT0 = 0x350, APIC_LVT_LINT1 = 0x360, APIC_LVT_ERROR = 0x370, APIC_TIMER_INITIAL = 0x380, APIC_TIMER_CURRENT = 0x390,
    APIC_TIMER_DIVIDE = 0x3e0, APIC_SELF_IPI = 0x3f0,
};
// clang-format on
enum lvt_index { LVT_CMCI, LVT_TIMER, LVT_THERMAL, LVT_PERFMON, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT };
_Static_assert(LVT_LINT0 == LAPIC_LINT0, "lapic.h");

#define VERSION          (0x14u | (LVT_COUNT - 1u) << 16)
#define SVR_ENABLE       0x100u
#define SVR_BITS         0x3ffu
#define LVT_MASKED       0x10000u
#define LVT_NMI          0x00400u
#define LVT_EXTINT       0x00700u
#define TIMER_MODE       0x60000u
#define TIMER_ONE_SHOT   0x00000u
#define TIMER_PERIODIC   0x20000u
#define TIMER_DEADLINE   0x40000u
#define ESR_SEND_ILLEGAL 0x20u
#define ESR_RECV_ILLEGAL 0x40u
#define ESR_BAD_REGISTER 0x80u
#define ICR_LOGICAL      0x800u
#define ICR_ASSERT       0x4000u
#define ICR_LEVEL        0x8000u
#define ICR_BITS         0xcdfffu

#define MSR_APIC_BASE    0x1bu
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC       0x800u
#define BASE_BSP         0x100u
#define BASE_EXTD        0x400u
#define BASE_EN          0x800u
#define BASE_RESERVED    0x2ffu

/// Bits that software can set in each LVT entry (figure 10-8).
static const uint32_t lvt_bits[LVT_COUNT] = {
    [LVT_CMCI] = 0x107ff,  [LVT_TIMER] = 0x700ff, [LVT_THERMAL] = 0x107ff, [LVT_PERFMON] = 0x107ff,
    [LVT_LINT0] = 0x1a7ff, [LVT_LINT1] = 0x1a7ff, [LVT_ERROR] = 0x100ff,
};

static int highest(const uint32_t bits[8])
{
    for (int i = 7; i >= 0; i--) {
        if (bits[i])
            return i * 32 + 31 - __builtin_clz(bits[i]);
    }
    return -1;
}

static void set_bit(uint32_t bits[8], uint8_t vector)
{
    bits[vector / 32] |= 1u << vector % 32;
}
static void clear_bit(uint32_t bits[8], uint8_t vector)
{
    bits[vector / 32] &= ~(1u << vector % 32);
}
static bool test_bit(const uint32_t bits[8], uint8_t vector)
{
    return bits[vector / 32] >> vector % 32 & 1;
}

/// 10.8.3.1: the higher class of TPR and what is in service.
static uint32_t ppr(const struct lapic *l)
{
    int in_service = highest(l->isr);
    uint32_t isrv = in_service < 0 ? 0 : (uint32_t)in_service & 0xf0;
    return (l->tpr & 0xf0) >= isrv ? l->tpr : isrv;
}

int lapic_pending(const struct lapic *l)
{
    int vector = highest(l->irr);
    return vector >= 0 && ((uint32_t)vector & 0xf0) > (ppr(l) & 0xf0) ? vector : -1;
}

void lapic_accept(struct lapic *l, uint8_t vector)
{
    clear_bit(l->irr, vector);
    set_bit(l->isr, vector);
}

/// 10.5.3: errors gather until ESR is written; the error LVT fires at the first.
static void error(struct lapic *l, uint32_t bit)
{
    bool first = !(l->esr_pending & bit);
    l->esr_pending |= bit;
    uint32_t entry = l->lvt[LVT_ERROR];
    if (first && !(entry & LVT_MASKED) && (entry & 0xff) >= 16)
        lapic_set_irr(l, (uint8_t)entry, false);
}

void lapic_set_irr(struct lapic *l, uint8_t vector, bool level)
{
    if (!(l->base_msr & BASE_EN) || !(l->svr & SVR_ENABLE))
        return;
    if (vector < 16) {
        error(l, ESR_RECV_ILLEGAL);
        return;
    }
    set_bit(l->irr, vector);
    if (level)
        set_bit(l->tmr, vector);
    else
        clear_bit(l->tmr, vector);
}

static void eoi(struct lapic *l)
{
    int vector = highest(l->isr);
    if (vector < 0)
        return;
    clear_bit(l->isr, (uint8_t)vector);
    if (test_bit(l->tmr, (uint8_t)vector) && l->ops->eoi)
        l->ops->eoi(l->ops->ctx, (uint8_t)vector);
}

// --- timer (10.5.4) ---

static uint32_t timer_mode(const struct lapic *l)
{
    return l->lvt[LVT_TIMER] & TIMER_MODE;
}

/// TSC ticks of one count.
static uint64_t timer_tick(const struct lapic *l)
{
    uint32_t code = (l->timer_divide & 3) | (l->timer_divide >> 1 & 4);
    uint64_t divide = code == 7 ? 1 : 2ull << code;
    return divide * (l->bus_divisor ? l->bus_divisor : 1);
}

static void timer_start(struct lapic *l, uint64_t now)
{
    l->timer_deadline_tsc = l->timer_initial ? now + l->timer_initial * timer_tick(l) : 0;
}

/// Counts until the deadline. A change between one-shot and periodic does not touch it: a count that runs
/// goes on from where it was, and one that has ended stays 0.
static uint32_t timer_current(const struct lapic *l, uint64_t now)
{
    if (timer_mode(l) == TIMER_DEADLINE || !l->timer_initial || !l->timer_deadline_tsc)
        return 0;
    uint64_t tick = timer_tick(l);
    if (now < l->timer_deadline_tsc)
        return (uint32_t)((l->timer_deadline_tsc - now + tick - 1) / tick);
    if (timer_mode(l) != TIMER_PERIODIC)
        return 0;
    return l->timer_initial - (uint32_t)((now - l->timer_deadline_tsc) / tick % l->timer_initial);
}

uint64_t lapic_tick(struct lapic *l, uint64_t now)
{
    if (!l->timer_deadline_tsc || now < l->timer_deadline_tsc)
        return l->timer_deadline_tsc;
    if (!(l->lvt[LVT_TIMER] & LVT_MASKED))
        lapic_set_irr(l, (uint8_t)l->lvt[LVT_TIMER], false);
    if (timer_mode(l) == TIMER_PERIODIC) { // periods that were missed are one interrupt, as in hardware
        uint64_t period = l->timer_initial * timer_tick(l);
        l->timer_deadline_tsc += ((now - l->timer_deadline_tsc) / period + 1) * period;
    } else {
        l->timer_deadline_tsc = 0;
        l->tsc_deadline_msr = 0;
    }
    return l->timer_deadline_tsc;
}

static void set_deadline(struct lapic *l, uint64_t deadline)
{
    if (timer_mode(l) != TIMER_DEADLINE) // 10.5.4.1: ignored in other modes
        return;
    l->tsc_deadline_msr = deadline;
    l->timer_deadline_tsc = deadline;
}

static void write_lvt(struct lapic *l, enum lvt_index i, uint32_t value)
{
    value &= lvt_bits[i];
    if (!(l->svr & SVR_ENABLE))
        value |= LVT_MASKED;
    uint32_t before = l->lvt[i];
    l->lvt[i] = value;
    if (i != LVT_TIMER || !((before ^ value) & TIMER_MODE))
        return;
    if ((before & TIMER_MODE) == TIMER_DEADLINE ||
        (value & TIMER_MODE) == TIMER_DEADLINE) { // the change disarms
        l->timer_deadline_tsc = 0;
        l->tsc_deadline_msr = 0;
        l->timer_initial = 0;
    }
}

// --- interprocessor interrupts (10.6) ---

/// 10.6.2.2: does this destination mean the APIC with that id? LDR and DFR of the target decide in xAPIC
/// mode.
static bool matches(const struct lapic *l, uint32_t id, uint32_t destination, bool logical)
{
    bool x2 = lapic_x2apic(l);
    if (destination == (x2 ? 0xffffffffu : 0xffu))
        return true;
    if (!logical)
        return destination == id;
    if (x2)
        return destination >> 16 == id >> 4 && (destination >> (id & 15) & 1);
    const struct lapic *target = id == l->id ? l : l->ops->peer ? l->ops->peer(l->ops->ctx, id) : NULL;
    if (!target)
        return false;
    uint32_t ldr = target->ldr >> 24;
    if (target->dfr >> 28 == 0xf) // flat
        return (ldr & destination) != 0;
    return ldr >> 4 == destination >> 4 && (ldr & destination & 0xf) != 0;
}

bool lapic_receives(const struct lapic *l, uint8_t destination, bool logical)
{
    return destination == 0xff || matches(l, l->id, destination, logical);
}

static void send_one(struct lapic *l, uint32_t id, enum ipi_kind kind, uint8_t vector)
{
    if (kind == IPI_FIXED && id == l->id)
        lapic_set_irr(l, vector, false);
    else if (l->ops->ipi)
        l->ops->ipi(l->ops->ctx, id, kind, vector);
}

static void send_ipi(struct lapic *l, uint32_t command, uint32_t destination)
{
    enum ipi_kind kind;
    uint8_t vector = (uint8_t)command;
    bool lowest = false;
    switch (command >> 8 & 7) {
    case 1:
        lowest = true; // any one of them: the first
        kind = IPI_FIXED;
        break;
    case 0:
        kind = IPI_FIXED;
        break;
    case 4:
        kind = IPI_NMI;
        break;
    case 5:
        if ((command & ICR_LEVEL) &&
            !(command & ICR_ASSERT)) // level de-assert: only for APICs before the xAPIC
            return;
        kind = IPI_INIT;
        break;
    case 6:
        kind = IPI_STARTUP;
        break;
    default: // SMI and reserved: nobody listens
        return;
    }
    if (kind == IPI_FIXED && vector < 16) {
        error(l, ESR_SEND_ILLEGAL);
        return;
    }
    uint32_t shorthand = command >> 18 & 3;
    for (uint32_t id = 0; id < l->ops->cpu_count; id++) {
        bool hit = shorthand == 0   ? matches(l, id, destination, (command & ICR_LOGICAL) != 0)
                   : shorthand == 1 ? id == l->id
                                    : shorthand == 2 || id != l->id;
        if (!hit)
            continue;
        send_one(l, id, kind, vector);
        if (lowest)
            return;
    }
}

// --- registers ---

static int lvt_at(uint32_t offset)
{
    if (offset == APIC_LVT_CMCI)
        return LVT_CMCI;
    if (offset >= APIC_LVT_TIMER && offset <= APIC_LVT_ERROR)
        return LVT_TIMER + (int)((offset - APIC_LVT_TIMER) >> 4);
    return -1;
}

static uint32_t read_ldr(const struct lapic *l)
{
    return lapic_x2apic(l) ? (l->id >> 4) << 16 | 1u << (l->id & 15) : l->ldr;
}

/// False: no such register. *value is 0 then.
static bool read_register(struct lapic *l, uint32_t offset, uint64_t now, uint32_t *value)
{
    int lvt = lvt_at(offset);
    *value = 0;
    if (lvt >= 0)
        *value = l->lvt[lvt];
    else if (offset >= APIC_ISR && offset < APIC_TMR)
        *value = l->isr[(offset - APIC_ISR) >> 4];
    else if (offset >= APIC_TMR && offset < APIC_IRR)
        *value = l->tmr[(offset - APIC_TMR) >> 4];
    else if (offset >= APIC_IRR && offset < APIC_ESR)
        *value = l->irr[(offset - APIC_IRR) >> 4];
    else
        switch (offset) {
        case APIC_ID:
            *value = lapic_x2apic(l) ? l->id : l->id << 24;
            break;
        case APIC_VERSION:
            *value = VERSION;
            break;
        case APIC_TPR:
            *value = l->tpr;
            break;
        case APIC_APR:
        case APIC_PPR:
            *value = ppr(l);
            break;
        case APIC_LDR:
            *value = read_ldr(l);
            break;
        case APIC_DFR:
            *value = l->dfr;
            break;
        case APIC_SVR:
            *value = l->svr;
            break;
        case APIC_ESR:
            *value = l->esr;
            break;
        case APIC_ICR_LOW:
            *value = l->icr_low;
            break;
        case APIC_ICR_HIGH:
            *value = l->icr_high;
            break;
        case APIC_TIMER_INITIAL:
            *value = l->timer_initial;
            break;
        case APIC_TIMER_CURRENT:
            *value = timer_current(l, now);
            break;
        case APIC_TIMER_DIVIDE:
            *value = l->timer_divide;
            break;
        case APIC_EOI:
            break;
        default:
            return false;
        }
    return true;
}

static void write_svr(struct lapic *l, uint32_t value)
{
    l->svr = value & SVR_BITS;
    if (l->svr & SVR_ENABLE)
        return;
    for (unsigned i = 0; i < LVT_COUNT; i++) // 10.4.7.2
        l->lvt[i] |= LVT_MASKED;
}

/// False: no such register, or read-only.
static bool write_register(struct lapic *l, uint32_t offset, uint32_t value, uint64_t now)
{
    int lvt = lvt_at(offset);
    if (lvt >= 0) {
        write_lvt(l, (enum lvt_index)lvt, value);
        return true;
    }
    switch (offset) {
    case APIC_EOI:
        eoi(l);
        return true;
    case APIC_TPR:
        l->tpr = value & 0xff;
        return true;
    case APIC_ICR_LOW:
        l->icr_low = value & ICR_BITS;
        send_ipi(l, l->icr_low, l->icr_high >> 24);
        return true;
    case APIC_ICR_HIGH:
        l->icr_high = value & 0xff000000u;
        return true;
    case APIC_TIMER_INITIAL:
        if (timer_mode(l) != TIMER_DEADLINE) {
            l->timer_initial = value;
            timer_start(l, now);
        }
        return true;
    case APIC_TIMER_DIVIDE:
        l->timer_divide = value & 0xb;
        if (timer_mode(l) != TIMER_DEADLINE && l->timer_deadline_tsc)
            timer_start(l, now);
        return true;
    case APIC_SVR:
        write_svr(l, value);
        return true;
    case APIC_LDR:
        l->ldr = value & 0xff000000u;
        return true;
    case APIC_DFR:
        l->dfr = value | 0x0fffffffu;
        return true;
    case APIC_ESR:
        l->esr = l->esr_pending;
        l->esr_pending = 0;
        return true;
    case APIC_ID: // read-only on current processors
    case APIC_VERSION:
        return true;
    default:
        return false;
    }
}

uint32_t lapic_read(struct lapic *l, uint32_t offset, uint64_t now)
{
    uint32_t value;
    if (!read_register(l, offset, now, &value))
        error(l, ESR_BAD_REGISTER);
    return value;
}

void lapic_write(struct lapic *l, uint32_t offset, uint32_t value, uint64_t now)
{
    if (!write_register(l, offset, value, now))
        error(l, ESR_BAD_REGISTER);
}

static void power_up(struct lapic *l)
{
    for (unsigned i = 0; i < 8; i++)
        l->irr[i] = l->isr[i] = l->tmr[i] = 0;
    l->tpr = l->ldr = l->esr = l->esr_pending = l->icr_low = l->icr_high = 0;
    l->dfr = 0xffffffff;
    l->svr = 0xff;
    for (unsigned i = 0; i < LVT_COUNT; i++)
        l->lvt[i] = LVT_MASKED;
    l->timer_initial = l->timer_divide = 0;
    l->timer_deadline_tsc = l->tsc_deadline_msr = 0;
}

void lapic_reset(struct lapic *l, uint32_t id, bool bootstrap, const struct lapic_ops *ops)
{
    l->ops = ops;
    l->id = id;
    l->base_msr = LAPIC_BASE | BASE_EN | (bootstrap ? BASE_BSP : 0);
    power_up(l);
}

void lapic_init(struct lapic *l)
{
    power_up(l);
}

void lapic_virtual_wire(struct lapic *l)
{
    l->svr = SVR_ENABLE | 0x0f;
    l->lvt[LVT_LINT0] = LVT_EXTINT;
    l->lvt[LVT_LINT1] = LVT_NMI;
}

/// 10.12.5.1 (figure 10-27): which changes of mode exist; 10.4.5: the page may go anywhere.
static bool write_base(struct lapic *l, uint64_t value)
{
    uint64_t from = l->base_msr & (BASE_EN | BASE_EXTD), to = value & (BASE_EN | BASE_EXTD);
    if ((value & BASE_RESERVED) || value >> l->ops->address_bits || to == BASE_EXTD)
        return false;
    if (from == (BASE_EN | BASE_EXTD) && to == BASE_EN)
        return false;
    if (from == 0 && to == (BASE_EN | BASE_EXTD))
        return false;
    if (to == 0 && from != 0)
        power_up(l);
    l->base_msr = (l->base_msr & BASE_BSP) | (value & ~0xfffull) | to;
    return true;
}

/// Table 10-6: registers of the xAPIC page that x2APIC mode has not.
static bool x2apic_has(uint32_t offset)
{
    return offset <= APIC_SELF_IPI && offset != APIC_DFR && offset != APIC_ICR_HIGH && offset != APIC_APR;
}

bool lapic_msr_read(struct lapic *l, uint32_t msr, uint64_t now, uint64_t *value)
{
    uint32_t low;
    if (msr == MSR_APIC_BASE) {
        *value = l->base_msr;
        return true;
    }
    if (msr == MSR_TSC_DEADLINE) {
        *value = timer_mode(l) == TIMER_DEADLINE ? l->tsc_deadline_msr : 0;
        return true;
    }
    uint32_t offset = (msr - MSR_X2APIC) << 4;
    if (!lapic_x2apic(l) || msr - MSR_X2APIC > 0xff || !x2apic_has(offset) || offset == APIC_EOI ||
        offset == APIC_SELF_IPI || !read_register(l, offset, now, &low))
        return false;
    *value = offset == APIC_ICR_LOW ? (uint64_t)l->icr_high << 32 | low : low;
    return true;
}

bool lapic_msr_write(struct lapic *l, uint32_t msr, uint64_t value, uint64_t now)
{
    if (msr == MSR_APIC_BASE)
        return write_base(l, value);
    if (msr == MSR_TSC_DEADLINE) {
        set_deadline(l, value);
        return true;
    }
    uint32_t offset = (msr - MSR_X2APIC) << 4;
    if (!lapic_x2apic(l) || msr - MSR_X2APIC > 0xff || !x2apic_has(offset))
        return false;
    if (offset == APIC_ICR_LOW) {
        l->icr_high = (uint32_t)(value >> 32);
        l->icr_low = (uint32_t)value & ICR_BITS;
        send_ipi(l, l->icr_low, l->icr_high);
        return true;
    }
    if (value >> 32)
        return false;
    switch (offset) {
    case APIC_SELF_IPI:
        if (value > 0xff)
            return false;
        if (value < 16)
            error(l, ESR_SEND_ILLEGAL);
        else
            lapic_set_irr(l, (uint8_t)value, false);
        return true;
    case APIC_EOI: // 10.12.1.2: only 0 may be written
    case APIC_ESR:
        if (value)
            return false;
        break;
    case APIC_TPR:
        if (value > 0xff)
            return false;
        break;
    case APIC_ID: // read-only in x2APIC mode
    case APIC_VERSION:
    case APIC_LDR:
        return false;
    default:
        break;
    }
    return write_register(l, offset, (uint32_t)value, now);
}
