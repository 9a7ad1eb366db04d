// SPDX-License-Identifier: BSD-2-Clause
#include "hv/vm/cpus.h"
#include "hv/vm/sched.h"
#include "hv/vm/vm.h"
#include "rt/cpu.h"
#include "rt/x86.h"
#include <stdio.h>

void guest_lock(struct guest *g)
{
    if (spin_lock_while(&g->lock, sched_pause) != 0)
        atomic_store_explicit(&g->turns[cpu_self()->index].wants_lock, false, memory_order_relaxed);
    g->owner = cpu_self()->index + 1;
}

void guest_unlock(struct guest *g)
{
    bool wanted = spin_wanted(&g->lock);
    g->owner = 0;
    spin_unlock(&g->lock);
    if (__builtin_expect(wanted, 0))
        sched_unlocked(g);
}

bool guest_locked(const struct guest *g)
{
    return atomic_load_explicit(&g->owner, memory_order_relaxed) == cpu_self()->index + 1;
}

void vm_inside(struct vcpu *v)
{
    if (!v->guest->spread)
        return;
    atomic_store(&v->inside, true); // before the lock is free: whoever takes it sees it
    guest_unlock(v->guest);
}

void vm_outside(struct vcpu *v)
{
    if (!v->guest->spread)
        return;
    atomic_store(&v->inside, false); // before waiting: who holds the lock may wait for this
    guest_lock(v->guest);
}

void vcpu_attend(struct vcpu *v, uint32_t what)
{
    atomic_fetch_or(&v->attention, what);
    if (atomic_load(&v->inside) && v->cpu != cpu_self()->index)
        sched_kick(v->cpu);
}

bool guest_still(struct guest *g)
{
    uint32_t self = cpu_self()->index;
    bool moved = false;
    for (uint32_t i = 0; g->spread && i < g->config->cpus; i++) {
        struct vcpu *v = &g->vcpus[i];
        if (v->cpu == self || !atomic_load(&v->inside))
            continue;
        sched_kick(v->cpu); // no interrupt is taken between vm_inside() and the entry, so it is not lost
        while (atomic_load(&v->inside))
            cpu_pause();
        moved = true;
    }
    return moved;
}

bool guest_alone(struct guest *g)
{
    bool alone = true;
    for (uint32_t cpu = 0; g->spread && cpu < cpu_count(); cpu++) {
        if (cpu == cpu_self()->index || !g->running[cpu])
            continue;
        vcpu_attend(g->running[cpu], ATTENTION_LEAVE);
        alone = false;
    }
    return alone;
}

bool guest_wants_out(const struct guest *g)
{
    return atomic_load(&g->requests) != 0 || atomic_load(&g->pause_wanted);
}

const char *guest_where(const struct guest *g, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, g->spread ? "CPUs" : "CPU");
    for (uint32_t i = 0; i < (g->spread ? g->config->cpus : 1) && i < cpu_count() && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, " %u", (unsigned)g->vcpus[i].cpu);
    return text;
}
