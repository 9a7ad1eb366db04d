// SPDX-License-Identifier: BSD-2-Clause
#include "hv/vm/sched.h"
#include "drivers/apic.h"
#include "hv/vm/cpus.h"
#include "hv/vm/guest.h"
#include "hv/vm/vm.h"
#include "rt/cpu.h"
#include "rt/irq.h"
#include "rt/log.h"
#include "rt/paging.h"
#include "rt/time.h"
#include "rt/x86.h"

#define PATIENCE 256u // times that a lock is looked at before others get the CPU

/// What the scheduler knows of a CPU. Used by that one only, except for what is atomic.
static struct here {
    struct turn *turn;         // whose turn it is; NULL: between turns, or nobody else may run now
    uint32_t guests;           // that have vCPUs here
    bool contended;            // more than one of them wanted to run, the last time round
    uint64_t round_tsc;        // when that began
    _Atomic uint32_t waiting;  // turns that wait
    _Atomic bool woken;        // one of them was called
    struct vcpu *_Atomic vcpu; // in its guest, or about to be
} cpus[CPU_MAX];

static struct here *here(void)
{
    return &cpus[cpu_self()->index];
}

static uint64_t slice_ticks(void)
{
    return time_ns_to_tsc(SCHED_SLICE_US * 1000ull);
}

uint32_t sched_cpu_of(uint32_t guest_index, uint32_t vcpu_index)
{
    return (guest_index + vcpu_index + 1) % cpu_count();
}

/// Does it have a vCPU on that CPU?
static bool has_share(const struct guest *g, uint32_t cpu)
{
    uint32_t nth = (cpu + cpu_count() - sched_cpu_of(g->index, 0)) % cpu_count();
    return nth < g->config->cpus;
}

static _Atomic bool accounting;                           // sched_account
static _Atomic uint64_t turns_tsc, guests_tsc, house_tsc; // while it was on, all CPUs together
static uint8_t kick_vector;                               // 0: none was free; then a slice ends when it ends
static void (*house)(void);                               // what CPU 0 does between slices

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

void sched_kick(uint32_t cpu)
{
    if (kick_vector && cpu != cpu_self()->index)
        apic_send(cpu_get(cpu)->apic_id, kick_vector);
}

bool sched_is_kick(uint8_t vector)
{
    return vector == kick_vector;
}

void sched_alone(void (*what)(void))
{
    struct turn *t = here()->turn;
    here()->turn = NULL;
    what();
    here()->turn = t;
}

/// Has a turn that waits on this CPU been called?
static bool called(const struct here *h)
{
    return atomic_load_explicit(&h->waiting, memory_order_relaxed) && atomic_load(&h->woken);
}

/// Leaves the turn in the middle. Comes back when the scheduler goes on with it.
static void put_aside(struct here *h, enum turn_left how)
{
    struct turn *t = h->turn;
    struct vcpu *v = atomic_load(&h->vcpu);
    uint64_t began = rdtsc();
    atomic_store(&h->vcpu, NULL);
    t->left = how;
    if (how == TURN_WAITS)
        atomic_fetch_add(&h->waiting, 1); // before `woken` is looked at: whoever sets it sees this
    coroutine_leave(&t->work);
    if (how == TURN_WAITS)
        atomic_fetch_sub(&h->waiting, 1);
    if (v) {
        atomic_store(&h->vcpu, v);
        guest_virt->go_on(v);
        if (called(h)) // before who called could see that this one is there
            atomic_fetch_or(&v->attention, ATTENTION_LEAVE);
    }
    t->away_tsc += rdtsc() - began;
}

/// The others of its CPU are looked at once a slice, even when none of them wanted anything the last time.
struct turn *sched_waiter(void)
{
    struct here *h = here();
    if (!h->turn || h->guests < 2 || (!h->contended && rdtsc() - h->round_tsc < slice_ticks()))
        return NULL;
    return h->turn;
}

void sched_wait(void)
{
    put_aside(here(), TURN_WAITS);
}

/// Makes that CPU look who was called.
static void call(uint32_t cpu)
{
    struct here *h = &cpus[cpu];
    atomic_store(&h->woken, true);
    struct vcpu *v = atomic_load(&h->waiting) ? atomic_load(&h->vcpu) : NULL;
    if (!v)
        return; // the scheduler looks before it enters a guest
    atomic_fetch_or(&v->attention, ATTENTION_LEAVE);
    sched_kick(cpu);
}

void sched_wake(struct turn *t)
{
    if (t) {
        atomic_store(&t->called, true);
        call(t->cpu);
        return;
    }
    for (uint32_t cpu = 0; cpu < cpu_count(); cpu++) {
        if (!atomic_load(&cpus[cpu].waiting))
            continue;
        for (uint32_t i = 0; i < guest_count; i++) {
            if (guest_at(i))
                atomic_store(&guest_at(i)->turns[cpu].called, true);
        }
        call(cpu);
    }
}

/// When others are to run, it says so first, and looks once more.
void sched_pause(unsigned before)
{
    struct here *h = here();
    if (house && h == cpus)
        sched_alone(house);
    else
        cpu_pause();
    struct turn *t = before < PATIENCE && !called(h) ? NULL : sched_waiter();
    if (t && atomic_exchange(&t->wants_lock, true))
        sched_wait();
}

void sched_unlocked(struct guest *g)
{
    atomic_thread_fence(memory_order_seq_cst); // the lock is free before the wish is looked at
    for (uint32_t i = 0; i < g->config->cpus; i++) {
        struct turn *t = &g->turns[g->vcpus[i].cpu];
        if (atomic_load_explicit(&t->wants_lock, memory_order_relaxed) &&
            atomic_exchange(&t->wants_lock, false))
            sched_wake(t);
    }
}

/// An event that waits already is the single-step trap of a HLT itself.
static bool has_event(const struct vcpu *v)
{
    return v->nmi_pending || v->event.valid ||
           (v->halt_interruptible && (guest_extint_pending(v) || lapic_pending(&v->lapic) >= 0));
}

/// A halted vCPU runs again when its local APIC, the 8259 or an NMI has something for it.
static void wake(struct vcpu *v)
{
    if (atomic_load(&v->state) != VCPU_HALTED)
        return;
    (void)lapic_tick(&v->lapic, vm_guest_tsc(v, rdtsc()));
    if (has_event(v))
        atomic_store(&v->state, VCPU_RUNNABLE);
}

/// A look without the lock, for a CPU that has only further vCPUs of a guest: is there anything to do? What
/// it sees too late it sees the next time.
static bool may_run(const struct vcpu *v)
{
    switch (atomic_load(&v->state)) {
    case VCPU_RUNNABLE:
        return true;
    case VCPU_HALTED: {
        uint64_t timer = v->lapic.timer_deadline_tsc;
        return has_event(v) || (timer && timer <= vm_guest_tsc(v, rdtsc()));
    }
    case VCPU_WAIT_SIPI:
        return v->sipi_pending;
    default:
        return false;
    }
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
    uint64_t tick = v->cpu == v->guest->vcpus[0].cpu ? guest_isa_tick(v->guest) : UINT64_MAX;
    uint64_t least = now + shortest < end ? now + shortest : end;
    if (tick < end) // however fast the 8254 is told to be, the guest gets on
        end = tick > least ? tick : least;
    v->slice_end_tsc = end;
    struct here *h = here();
    atomic_store(&h->vcpu, v); // before `woken` is looked at: whoever sets it sees this
    v->guest->running[v->cpu] = v;
    enum run_result result = called(h) ? RUN_SLICE : guest_virt->run(v);
    v->guest->running[v->cpu] = NULL;
    atomic_store(&h->vcpu, NULL);
    if (result == RUN_HALTED && !v->halt_interruptible && !v->nmi_pending && !v->event.valid &&
        !v->halt_told) {
        v->halt_told = true; // NMIs can wake it as often as its guest likes
        log_info(v->guest->config->name,
                 "vCPU %u halted with interrupts off: only NMI, INIT or a reset can wake it",
                 (unsigned)v->index);
    }
}

/// What the CPU of a guest's first vCPU does for the whole guest, between slices.
static void tend_guest(struct guest *g)
{
    guest_tend(g);
    uint32_t state = atomic_load(&g->state);
    if (state == GUEST_PAUSED)
        bus_guest_collect(g->bus);
    else if (state != GUEST_RUNNING)
        bus_guest_rest(g->bus);
    if (state != GUEST_PAUSED)
        (void)guest_isa_tick(g);
}

/// Each of a guest's vCPUs that this CPU has and that can run, once. Returns how many ran. Lock held.
static uint32_t run_vcpus(struct guest *g, uint64_t slice)
{
    uint32_t self = cpu_self()->index, ran = 0;
    // Before it is looked for what is asked for, and what came for its devices: what comes after the look
    // ends the slice at once.
    for (uint32_t c = 0; c < g->config->cpus; c++) {
        if (g->vcpus[c].cpu == self)
            atomic_fetch_and(&g->vcpus[c].attention, ~ATTENTION_LEAVE);
    }
    if (self == g->vcpus[0].cpu)
        tend_guest(g);
    if (atomic_load(&g->state) == GUEST_PAUSED)
        return 0;
    guest_start_waiting(g);
    // Once one of them has stopped or reset the guest, the others run no more.
    for (uint32_t c = 0; c < g->config->cpus && !guest_wants_out(g); c++) {
        struct vcpu *v = &g->vcpus[c];
        if (v->cpu != self)
            continue;
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

/// Ticks that this CPU's vCPUs spent in the guest, as far as they were counted.
static uint64_t guest_ticks(const struct guest *g)
{
    uint64_t ticks = 0;
    for (uint32_t c = 0; c < g->config->cpus; c++)
        ticks += g->vcpus[c].cpu == cpu_self()->index ? g->vcpus[c].guest_tsc : 0;
    return ticks;
}

/// Can it be seen without the guest's lock that this CPU has nothing to do for it?
static bool nothing_here(const struct guest *g)
{
    uint32_t self = cpu_self()->index;
    for (uint32_t c = 0; c < g->config->cpus; c++) {
        if (g->vcpus[c].cpu == self && (c == 0 || may_run(&g->vcpus[c])))
            return false;
    }
    return true;
}

/// A clock that stands still while the turn is put aside.
static uint64_t turn_clock(const struct turn *t)
{
    return rdtsc() - t->away_tsc;
}

/// A guest's turn: a slice for each vCPU. Who left early (an IPI was sent, a frame or an interrupt came) has
/// not lost what was left of it.
static void run_turn(void *arg)
{
    struct turn *t = arg;
    struct guest *g = t->guest;
    struct here *h = here();
    uint32_t self = cpu_self()->index;
    uint64_t slice = slice_ticks(), shortest = time_ns_to_tsc(SCHED_SLICE_MIN_US * 1000ull);
    bool account = atomic_load_explicit(&accounting, memory_order_relaxed); // of whole turns
    guest_lock(g);
    for (uint32_t c = 0; c < g->config->cpus; c++) {
        if (g->vcpus[c].cpu == self)
            g->vcpus[c].timed = account;
    }
    uint64_t inside = account ? guest_ticks(g) : 0;
    uint64_t began = turn_clock(t), used = 0, due = 0;
    for (;;) {
        uint64_t left = due - used;
        uint32_t ran = run_vcpus(g, due && left < slice ? left : slice);
        if (due < ran * slice)
            due = ran * slice;
        used = turn_clock(t) - began;
        if (!ran || used + shortest >= due)
            break;
        bool tends = house && self == 0;
        if (!tends && !called(h))
            continue;
        uint64_t aside = turn_clock(t);
        guest_unlock(g);
        if (tends)
            sched_alone(house);
        if (called(h))
            put_aside(h, TURN_CUT);
        guest_lock(g);
        began += turn_clock(t) - aside; // is not this guest's time
    }
    if (account && due) {
        atomic_fetch_add_explicit(&turns_tsc, used, memory_order_relaxed);
        atomic_fetch_add_explicit(&guests_tsc, guest_ticks(g) - inside, memory_order_relaxed);
    }
    fair_ran(&g->fair[self], slice, used, due);
    g->used_tsc += due ? used : 0;
    guest_unlock(g);
    t->ran = due != 0;
    t->left = TURN_OVER;
}

enum status sched_add(struct guest *g)
{
    for (uint32_t cpu = 0; cpu < cpu_count(); cpu++) {
        if (!has_share(g, cpu))
            continue;
        void *top = stack_alloc(TURN_STACK);
        if (!top)
            return ERR_NOMEM;
        g->turns[cpu].guest = g;
        g->turns[cpu].cpu = cpu;
        coroutine_init(&g->turns[cpu].work, top, run_turn, &g->turns[cpu]);
    }
    return OK;
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

/// Begins the turn, or goes on with it.
static void go_on(struct here *h, struct turn *t)
{
    h->turn = t;
    coroutine_enter(&t->work);
    h->turn = NULL;
}

/// Goes on with the turns that wait here and were called.
static void answer_calls(struct here *h)
{
    if (!called(h))
        return;
    atomic_store(&h->woken, false);
    for (uint32_t i = 0; i < guest_count; i++) {
        struct turn *t = guest_at(i) ? &guest_at(i)->turns[h - cpus] : NULL;
        if (t && t->left == TURN_WAITS && atomic_exchange(&t->called, false))
            go_on(h, t);
    }
}

/// Gives a guest of this CPU its turn, or the rest of one. False: it has nothing to run.
static bool have_turn(struct here *h, struct guest *g)
{
    struct turn *t = &g->turns[h - cpus];
    if (t->left == TURN_OVER) {
        if (!fair_turn(&g->fair[h - cpus], slice_ticks(), h->contended))
            return true;
        if (nothing_here(g))
            return false;
    }
    do {
        go_on(h, t);
        answer_calls(h);
    } while (t->left == TURN_CUT);
    return t->left == TURN_WAITS || t->ran;
}

_Noreturn void sched_run(void (*tend)(void))
{
    struct here *h = here();
    if (tend)
        house = tend;
    for (;;) {
        if (tend)
            tend();
        h->round_tsc = rdtsc();
        uint32_t has = 0, wanted = 0; // guests of this CPU; that ran, or would have
        for (uint32_t i = 0; i < guest_count; i++) {
            struct guest *g = guest_at(i);
            if (!g || !has_share(g, cpu_self()->index))
                continue;
            has++;
            answer_calls(h);
            if (!have_turn(h, g))
                continue;
            wanted++;
            if (tend)
                tend();
        }
        h->guests = has;
        h->contended = wanted > 1;
        if (!wanted)
            cpu_pause();
    }
}
