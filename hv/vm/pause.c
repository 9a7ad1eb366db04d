// SPDX-License-Identifier: BSD-2-Clause
// A paused guest: no vCPU runs, and its time stands still (TSC, local APIC timers, PM timer, 8254; its clock
// shows the true time, as after suspend). Its devices stay as they are; a remote function goes on: what it
// writes by DMA lands in the guest's memory, and its interrupts wait in the local APICs. Invariant: after a
// pause no timer is late, and the counters agree with each other as before.
#include "hv/vm/guest.h"
#include "rt/log.h"
#include "rt/time.h"
#include "rt/x86.h"

static enum status want(struct guest *g, bool pause)
{
    uint32_t state = atomic_load(&g->state);
    bool paused = state == GUEST_PAUSED || (state == GUEST_RUNNING && atomic_load(&g->pause_wanted));
    if (pause ? state != GUEST_RUNNING && state != GUEST_PAUSED : !paused)
        return ERR_DENIED;
    atomic_store(&g->pause_wanted, pause);
    for (uint32_t i = 0; i < g->config->cpus; i++)
        atomic_fetch_or(&g->vcpus[i].attention, ATTENTION_LEAVE);
    return OK;
}

enum status guest_pause(struct guest *g)
{
    return want(g, true);
}

enum status guest_resume(struct guest *g)
{
    return want(g, false);
}

uint64_t guest_time_ns(const struct guest *g)
{
    return time_ns() - g->paused_ns;
}

static void begin(struct guest *g)
{
    g->pause_began_tsc = rdtsc();
    g->pause_began_ns = time_ns();
    atomic_store(&g->state, GUEST_PAUSED);
    guest_console_flush(g);
    log_info(g->config->name, "paused");
}

static void end(struct guest *g)
{
    uint64_t ticks = rdtsc() - g->pause_began_tsc;
    g->paused_ns += time_ns() - g->pause_began_ns;
    for (uint32_t i = 0; i < g->config->cpus; i++)
        g->vcpus[i].tsc_offset -= ticks;
    atomic_store(&g->state, GUEST_RUNNING);
    log_info(g->config->name, "goes on");
}

void guest_pause_tend(struct guest *g)
{
    uint32_t state = atomic_load(&g->state);
    bool wanted = atomic_load(&g->pause_wanted);
    if (wanted && state == GUEST_RUNNING)
        begin(g);
    else if (!wanted && state == GUEST_PAUSED)
        end(g);
}
