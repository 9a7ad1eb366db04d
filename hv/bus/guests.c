// SPDX-License-Identifier: BSD-2-Clause
// Guests as the bus knows them: which functions each wishes, from its `device =` lines and the console's
// attach and detach (the rules: docs/architecture.md, "Whose a function is"); what becomes of them when it
// starts, is reset, and stops. Must not know links or announcements. Invariants: a stopped guest has no
// function; a guest that runs and has slots does not lack what it wishes and no guest of this host has.
#include "hv/bus/remote.h"
#include "net/stack.h"
#include "rt/log.h"
#include "rt/time.h"
#include <string.h>

static struct bus_guest guests[BOOT_GUESTS_MAX];

/// The slot (from 0) that it is to be in, or SLOT_NONE.
static unsigned wish_slot(const struct bus_guest *g, const struct boot_device *d)
{
    for (unsigned slot = 0; g->used && slot < PORTS_MAX; slot++) {
        const struct boot_device *w = &g->wishes[slot];
        if (strncmp(w->node, d->node, sizeof(d->node)) == 0 && memcmp(&w->at, &d->at, sizeof(d->at)) == 0)
            return slot;
    }
    return SLOT_NONE;
}

/// It was detached, which holds until it starts again (then it wants all its lines) or `attach`.
static bool is_away(const struct bus_guest *g, unsigned slot)
{
    return g->away >> slot & 1;
}

const char *guests_wishing(const struct boot_device *d, unsigned n, bool *waits)
{
    for (unsigned i = 0; i < BOOT_GUESTS_MAX; i++) {
        const struct bus_guest *g = &guests[i];
        unsigned slot = wish_slot(g, d);
        if (slot == SLOT_NONE || n-- != 0)
            continue;
        *waits = g->claims && g->layout == BOOT_BUS_PORTS && !is_away(g, slot);
        return g->name;
    }
    return NULL;
}

const struct boot_device *guests_wish(unsigned n)
{
    const struct bus_guest *g = &guests[n / PORTS_MAX];
    const struct boot_device *d = &g->wishes[n % PORTS_MAX];
    bool waits;
    return g->used && d->node[0] && guests_wishing(d, 0, &waits) == g->name ? d : NULL;
}

static enum status want(struct bus_guest *guest, const struct boot_device *d, unsigned slot)
{
    const struct remote_fn *owner = assoc_find(d);
    if (owner) {
        log_error("bus", REMOTE_FN_FORMAT " is guest \"%s\"'s already", REMOTE_FN_ARGS(owner),
                  owner->guest->name);
        return ERR_BUSY;
    }
    return assoc_want(guest, d, slot);
}

/// Who has slots can be given a function at any time; on bus 0 only `starting` can.
static void serve(struct bus_guest *guest, const struct bus_guest *starting, unsigned slot)
{
    const struct boot_device *d = &guest->wishes[slot];
    if (guest->used && guest->claims && d->node[0] && !is_away(guest, slot) && !assoc_find(d) &&
        (guest->layout == BOOT_BUS_PORTS || guest == starting) && assoc_want(guest, d, slot) != OK)
        log_error("bus", REMOTE_FN_FORMAT " finds no room in guest \"%s\"", REMOTE_DEVICE_ARGS(d),
                  guest->name);
}

void guests_serve(const struct bus_guest *starting)
{
    for (unsigned given = 0; given < 2; given++) { // `device =` lines first
        for (unsigned i = 0; i < BOOT_GUESTS_MAX; i++) {
            unsigned first = given ? guests[i].device_count : 0;
            unsigned end = given ? PORTS_MAX : guests[i].device_count;
            for (unsigned slot = first; slot < end; slot++)
                serve(&guests[i], starting, slot);
        }
    }
}

static void release_all(struct bus_guest *guest)
{
    for (unsigned i = 0; i < assoc_count(); i++) {
        struct remote_fn *fn = assoc_get(i);
        if (fn->state != ASSOC_FREE && fn->guest == guest)
            assoc_release(fn);
    }
    // on bus 0 the next ones are placed where these were
    guest->next_mmio = GUEST_MMIO_BASE;
    guest->next_mmio64 = GUEST_MMIO64_BASE;
    guest->next_io = GUEST_IO_BASE;
}

enum status bus_guest_add(const char *guest_name, enum boot_bus layout, const struct boot_device *devices,
                          unsigned count, struct io_space *io, struct guest_pci *pci,
                          struct bus_guest **guest)
{
    struct bus_guest *g = NULL;
    enum status s = ERR_NOMEM;
    net_lock();
    for (unsigned i = 0; i < BOOT_GUESTS_MAX && !g; i++) {
        if (!guests[i].used)
            g = &guests[i];
    }
    if (g) {
        *g = (struct bus_guest){.used = true,
                                .claims = true,
                                .name = guest_name,
                                .device_count = count,
                                .layout = layout,
                                .io = io,
                                .pci = pci,
                                .next_mmio = GUEST_MMIO_BASE,
                                .next_mmio64 = GUEST_MMIO64_BASE,
                                .next_io = GUEST_IO_BASE};
        s = layout == BOOT_BUS_PORTS ? ports_build(g, count) : OK;
        for (unsigned i = 0; i < count && s == OK; i++) {
            g->wishes[i] = devices[i];
            s = want(g, &devices[i], i);
        }
    }
    net_unlock();
    if (g && s != OK) {
        bus_guest_remove(g);
        g = NULL;
    }
    *guest = g;
    return s;
}

void bus_guest_remove(struct bus_guest *guest)
{
    net_lock();
    guest->claims = false;
    release_all(guest);
    mirror_guest_remove(guest);
    guest->used = false;
    guests_serve(NULL);
    assoc_prune(true);
    net_unlock();
}

// --- the console's attach and detach ---

enum status bus_guest_attach(struct bus_guest *guest, const struct boot_device *device)
{
    if (guest->layout != BOOT_BUS_PORTS)
        return ERR_UNSUPPORTED;
    net_lock();
    unsigned slot = wish_slot(guest, device), first = guest->device_count;
    for (unsigned i = first; i < guest->port_count && slot == SLOT_NONE; i++) {
        if (!guest->wishes[i].node[0] && !guest->ports[i].fn)
            slot = i;
    }
    enum status s = !guest->claims ? ERR_DENIED : want(guest, device, slot); // no slot: ERR_NOMEM
    if (s == OK && slot >= first)
        guest->wishes[slot] = *device;
    if (s == OK)
        guest->away &= ~(1u << slot);
    assoc_prune(false);
    net_unlock();
    return s;
}

enum status bus_guest_detach(struct bus_guest *guest, const struct boot_device *device)
{
    if (guest->layout != BOOT_BUS_PORTS)
        return ERR_UNSUPPORTED;
    net_lock();
    unsigned slot = wish_slot(guest, device);
    bool line = slot < guest->device_count;
    bool its = slot != SLOT_NONE && (!line || (guest->claims && !is_away(guest, slot)));
    if (its && line)
        guest->away |= 1u << slot;
    else if (its)
        guest->wishes[slot].node[0] = 0;
    struct remote_fn *fn = assoc_find(device);
    if (fn && fn->guest == guest && !fn->leaving) {
        fn->leaving = true;
        fn->leaving_since = time_ns();
        ports_attention(guest);
    }
    net_unlock();
    return its ? OK : ERR_INVAL;
}

// --- stop and start ---

void bus_guest_stop(struct bus_guest *guest)
{
    net_lock();
    guest->claims = false;
    release_all(guest);
    ports_start(guest); // slots are empty
    interrupts_drive(guest);
    guests_serve(NULL);
    net_unlock();
}

void bus_guest_claim(struct bus_guest *guest)
{
    net_lock();
    if (!guest->claims)
        guest->away = 0;
    guest->claims = true;
    guests_serve(guest);
    net_unlock();
}

/// Why a wish has no function.
static const char *reason(const struct bus_guest *guest, const struct remote_fn *fn, const char **who)
{
    *who = "";
    if (!fn) // taken away on the console
        return "it was detached";
    if (fn->guest != guest) {
        *who = fn->guest->name;
        return "it is another guest's: ";
    }
    switch (fn->state) {
    case ASSOC_REFUSED:
        *who = fn->refused_by;
        return fn->told && !fn->refused_by[0] ? fn->told : "another host has it: ";
    case ASSOC_WANTED:
        return fn->remote->link ? "its remote does not answer" : "its remote has not announced itself";
    case ASSOC_LOST:
        return "it is lost";
    default:
        return "it is still being attached, or not lent";
    }
}

void bus_guest_tell_missing(const struct bus_guest *guest)
{
    net_lock();
    for (unsigned slot = 0; slot < PORTS_MAX; slot++) {
        const struct boot_device *d = &guest->wishes[slot];
        const struct remote_fn *fn = assoc_find(d);
        const char *who;
        if (!d->node[0] || (fn && fn->guest == guest && fn->state == ASSOC_ATTACHED))
            continue;
        const char *why = reason(guest, fn, &who);
        log_warn(guest->name, "starts without " REMOTE_FN_FORMAT ": %s%s", REMOTE_DEVICE_ARGS(d), why, who);
    }
    net_unlock();
}

bool bus_guest_ready(const struct bus_guest *guest)
{
    bool ready = true;
    net_lock();
    for (unsigned i = 0; i < assoc_count(); i++) {
        if (assoc_get(i)->state != ASSOC_FREE && assoc_get(i)->guest == guest)
            ready &= assoc_get(i)->state == ASSOC_ATTACHED;
    }
    net_unlock();
    return ready;
}

void bus_guest_start(struct bus_guest *guest)
{
    net_lock();
    ports_start(guest);
    for (unsigned i = 0; i < assoc_count(); i++) {
        if (assoc_get(i)->state != ASSOC_FREE && assoc_get(i)->guest == guest && !assoc_get(i)->port)
            remote_fn_power_on(assoc_get(i));
    }
    interrupts_drive(guest); // lines that fell
    net_unlock();
    for (unsigned i = 0; i < assoc_count(); i++) {
        if (assoc_get(i)->guest == guest && assoc_get(i)->state == ASSOC_ATTACHED)
            interrupts_sync(assoc_get(i),
                            true); // also what the remote thinks it told a guest before this one
    }
}

void bus_guest_reset(struct bus_guest *guest)
{
    for (unsigned i = 0; i < assoc_count(); i++) {
        struct remote_fn *fn = assoc_get(i);
        if (fn->state != ASSOC_ATTACHED || fn->guest != guest)
            continue;
        net_lock();
        remote_fn_reset_begins(fn);
        net_unlock();
        bool done = transact_reset(fn);
        net_lock();
        if (done && fn->state == ASSOC_ATTACHED)
            remote_fn_reset_done(fn);
        net_unlock();
        if (!done)
            log_warn("bus", REMOTE_FN_FORMAT " could not be reset with guest \"%s\"", REMOTE_FN_ARGS(fn),
                     guest->name);
    }
    net_lock();
    interrupts_collect(guest); // lines that fell; what the guest's tables say does not count any more
    net_unlock();
    bus_guest_start(guest);
}
