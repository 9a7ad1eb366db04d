// SPDX-License-Identifier: BSD-2-Clause
// The wires of the guest's ISA interrupts: each goes to the 8259 pair and to the I/O APIC (the 8254's to pin
// 2, as the MADT says); the 8259's INTR goes to LINT0 of the bootstrap processor. And the 8254's place in
// time: the scheduler ends a slice where it interrupts next. Invariant: whenever INTR or the next interrupt
// of the 8254 changes, whoever runs the guest looks again before the next instruction of the guest that could
// tell.
#include "hv/platform/machine.h"
#include "hv/vm/guest.h"
#include "rt/time.h"
#include "rt/x86.h"

void guest_isa_set(struct guest *g, unsigned irq, bool high)
{
    guest_pic_set(&g->pic, irq, high);
    guest_ioapic_set(&g->ioapic, irq == 0 ? GUEST_PIT_PIN : irq, high);
}

static void on_intr(void *ctx, bool asserted)
{
    struct guest *g = ctx;
    (void)asserted;
    vcpu_attend(&g->vcpus[0], ATTENTION_EVENT);
}

static void on_timer(void *ctx, bool high)
{
    guest_isa_set(ctx, 0, high);
}

static uint64_t on_time(void *ctx)
{
    return guest_time_ns(ctx);
}

/// Programmed anew while a vCPU runs: the slice that the 8254 ends may be too long now.
static void on_programmed(void *ctx)
{
    struct guest *g = ctx;
    struct vcpu *timed = g->running[g->vcpus[0].cpu];
    if (timed && guest_isa_tick(g) < timed->slice_end_tsc)
        vcpu_attend(timed, ATTENTION_LEAVE);
}

uint64_t guest_isa_tick(struct guest *g)
{
    guest_rtc_tick(&g->rtc);
    uint64_t next = guest_pit_tick(&g->pit);
    if (next == PIT_NEVER)
        return UINT64_MAX;
    uint64_t tsc = rdtsc(), now = guest_time_ns(g);
    return next > now ? tsc + time_ns_to_tsc(next - now) : tsc;
}

void guest_isa_reset(struct guest *g)
{
    guest_pic_reset(&g->pic);
    guest_pit_reset(&g->pit);
}

enum status guest_isa_build(struct guest *g)
{
    g->pic.intr = on_intr;
    g->pic.ctx = g;
    g->pit.irq0 = on_timer;
    g->pit.now_ns = on_time;
    g->pit.changed = on_programmed;
    g->pit.ctx = g;
    enum status s = guest_pic_init(&g->pic, &g->io);
    return s == OK ? guest_pit_init(&g->pit, &g->io) : s;
}

bool guest_extint_wired(const struct vcpu *v)
{
    return v->index == 0 && lapic_passes_extint(&v->lapic);
}

uint8_t guest_extint_accept(struct vcpu *v)
{
    return guest_pic_acknowledge(&v->guest->pic);
}
