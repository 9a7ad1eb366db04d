// SPDX-License-Identifier: BSD-2-Clause
#include "hv/vm/sched.h"
#include "drivers/apic.h"
#include "hv/vm/guest.h"
#include "hv/vm/vm.h"
#include "rt/cpu.h"
#include "rt/irq.h"
#include "rt/log.h"
#include "rt/time.h"
#include "rt/x86.h"

uint32_t sched_cpu_of(uint32_t guest_index)
{
    return (guest_index + 1) % cpu_count();
}

static _Atomic bool accounting;                           // sched_account
static _Atomic uint64_t turns_tsc, guests_tsc, house_tsc; // while it was on, all CPUs together
static uint8_t kick_vector;                               // 0: none was free; then a slice ends when it ends

/// All that a kick does is the VM exit.
static void on_kick(void *ctx, uint8_t vector)
{
    (void)ctx, (void)vector;
}

void sched_start(void)
{
    if (irq_alloc(on_kick, NULL, &kick_vector) != OK)
        log_warn("sched", "no interrupt vector is free: CPUs cannot call each other");
}

void sched_kick(uint32_t guest_index)
{
    uint32_t cpu = sched_cpu_of(guest_index);
    if (kick_vector && cpu != cpu_self()->index)
        apic_send(cpu_get(cpu)->apic_id, kick_vector);
}

/// A halted vCPU runs again when its local APIC, the 8259 or an NMI has something for it.
static void wake(struct vcpu *v)
{
    if (atomic_load(&v->state) != VCPU_HALTED)
        return;
    (void)lapic_tick(&v->lapic, vm_guest_tsc(v, rdtsc()));
    // An event that waits already is the single-step trap of the HLT itself.
    if (v->nmi_pending || v->event.valid ||
        (v->halt_interruptible && (guest_extint_pending(v) || lapic_pending(&v->lapic) >= 0)))
        atomic_store(&v->state, VCPU_RUNNABLE);
}

/// Runs it for `slice` ticks at most.
static void run_slice(struct vcpu *v, uint64_t slice)
{
    uint64_t now = rdtsc();
    uint64_t end = now + slice;
    uint64_t shortest = time_ns_to_tsc(SCHED_SLICE_MIN_US * 1000ull);
    uint64_t guest_now = vm_guest_tsc(v, now);
    uint64_t timer = lapic_tick(&v->lapic, guest_now);
    if (timer && timer - guest_now < end - now)
        end = now + (timer - guest_now);
    uint64_t tick = guest_isa_tick(v->guest);
    uint64_t least = now + shortest < end ? now + shortest : end;
    if (tick < end) // however fast the 8254 is told to be, the guest gets on
        end = tick > least ? tick : least;
    v->slice_end_tsc = end;
    // A request made after guest_tend() looked is seen at the end of this slice at the latest.
    atomic_fetch_and(&v->attention, ~ATTENTION_LEAVE);
    v->guest->running = v;
    enum run_result result = guest_virt->run(v);
    v->guest->running = NULL;
    if (result == RUN_HALTED && !v->halt_interruptible && !v->nmi_pending && !v->event.valid &&
        !v->halt_told) {
        v->halt_told = true; // NMIs can wake it as often as its guest likes
        log_info(v->guest->config->name,
                 "vCPU %u halted with interrupts off: only NMI, INIT or a reset can wake it",
                 (unsigned)v->index);
    }
}

/// Each of a guest's vCPUs that can, once. Returns how many ran.
static uint32_t run_vcpus(struct guest *g, uint64_t slice)
{
    guest_tend(g);
    if (atomic_load(&g->state) == GUEST_PAUSED) {
        bus_guest_collect(g->bus);
        return 0;
    }
    if (atomic_load(&g->state) != GUEST_RUNNING)
        bus_guest_rest(g->bus);
    guest_start_waiting(g);
    (void)guest_isa_tick(g);
    uint32_t ran = 0;
    // Once one of them has stopped or reset the guest, the others run no more.
    for (uint32_t c = 0; c < g->config->cpus && !atomic_load(&g->requests); c++) {
        struct vcpu *v = &g->vcpus[c];
        if (atomic_load(&g->state) == GUEST_RUNNING)
            bus_guest_collect(g->bus); // also what came while another vCPU ran
        wake(v);
        if (atomic_load(&v->state) == VCPU_RUNNABLE) {
            run_slice(v, slice);
            ran++;
        }
    }
    return ran;
}

/// Ticks that its vCPUs spent in the guest, as far as they were counted.
static uint64_t guest_ticks(const struct guest *g)
{
    uint64_t ticks = 0;
    for (uint32_t c = 0; c < g->config->cpus; c++)
        ticks += g->vcpus[c].guest_tsc;
    return ticks;
}

/// A guest's turn: a slice for each vCPU. Who left early (an IPI was sent, a frame or an interrupt came) has
/// not lost what was left of it. False: nothing to run.
static bool run_turn(struct guest *g, void (*tend)(void), uint64_t slice)
{
    uint64_t shortest = time_ns_to_tsc(SCHED_SLICE_MIN_US * 1000ull);
    bool account = atomic_load_explicit(&accounting, memory_order_relaxed); // of whole turns
    for (uint32_t c = 0; c < g->config->cpus; c++)
        g->vcpus[c].timed = account;
    uint64_t inside = account ? guest_ticks(g) : 0;
    uint64_t began = rdtsc(), used = 0, due = 0;
    for (;;) {
        uint64_t left = due - used;
        uint32_t ran = run_vcpus(g, due && left < slice ? left : slice);
        if (due < ran * slice)
            due = ran * slice;
        used = rdtsc() - began;
        if (!ran || used + shortest >= due)
            break;
        if (tend) {
            uint64_t house = rdtsc();
            tend();
            began += rdtsc() - house; // is not this guest's time
        }
    }
    if (account && due) {
        atomic_fetch_add_explicit(&turns_tsc, used, memory_order_relaxed);
        atomic_fetch_add_explicit(&guests_tsc, guest_ticks(g) - inside, memory_order_relaxed);
    }
    fair_ran(&g->fair, slice, used, due);
    g->used_tsc += due ? used : 0;
    return due != 0;
}

void sched_house(uint64_t ticks)
{
    if (atomic_load_explicit(&accounting, memory_order_relaxed))
        atomic_fetch_add_explicit(&house_tsc, ticks, memory_order_relaxed);
}

void sched_account(bool on)
{
    atomic_store(&accounting, on);
}

struct sched_load sched_load(void)
{
    uint64_t guests = atomic_load(&guests_tsc), turns = atomic_load(&turns_tsc);
    return (struct sched_load){.on = atomic_load(&accounting),
                               .guests = guests,
                               .for_guests = turns > guests ? turns - guests : 0,
                               .house = atomic_load(&house_tsc)};
}

_Noreturn void sched_run(void (*tend)(void))
{
    uint32_t self = cpu_self()->index;
    uint64_t slice = time_ns_to_tsc(SCHED_SLICE_US * 1000ull);
    bool contended = false;
    for (;;) {
        if (tend)
            tend();
        uint32_t wanted = 0; // guests that ran, or would have
        for (uint32_t i = 0; i < guest_count; i++) {
            struct guest *g = guest_at(i);
            if (g && sched_cpu_of(i) == self)
                wanted += !fair_turn(&g->fair, slice, contended) || run_turn(g, tend, slice);
        }
        contended = wanted > 1;
        if (!wanted)
            cpu_pause();
    }
}
