// SPDX-License-Identifier: BSD-2-Clause
// Guests as the bus knows them: which functions each is to have, from its `device =` lines and the console's
// attach and detach; what becomes of them when it starts, is reset, and stops. Must not know links or
// announcements. Invariant: a stopped guest has no function. What it had was given back to its remote, which
// resets it, and may be anybody's; when it starts again it asks for its `device =` lines anew.
#include "hv/bus/remote.h"
#include "net/stack.h"
#include "rt/log.h"
#include "rt/time.h"
#include <string.h>

static struct bus_guest guests[BOOT_GUESTS_MAX];

bool guests_name(const char *node)
{
    for (unsigned i = 0; i < BOOT_GUESTS_MAX; i++) {
        const struct bus_guest *g = &guests[i];
        for (unsigned k = 0; g->used && k < g->device_count; k++) {
            if (strncmp(g->devices[k].node, node, WIRE_NAME_MAX) == 0)
                return true;
        }
    }
    return false;
}

const struct boot_device *guests_line(unsigned n)
{
    for (unsigned i = 0; i < BOOT_GUESTS_MAX; i++) {
        const struct bus_guest *g = &guests[i];
        unsigned count = g->used ? g->device_count : 0;
        if (n < count)
            return &g->devices[n];
        n -= count;
    }
    return NULL;
}

const char *guests_line_of(const struct boot_device *device)
{
    for (unsigned i = 0; i < BOOT_GUESTS_MAX; i++) {
        const struct bus_guest *g = &guests[i];
        for (unsigned k = 0; g->used && k < g->device_count; k++) {
            if (strncmp(g->devices[k].node, device->node, sizeof(device->node)) == 0 &&
                memcmp(&g->devices[k].at, &device->at, sizeof(device->at)) == 0)
                return g->name;
        }
    }
    return NULL;
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
                                .devices = devices,
                                .device_count = count,
                                .layout = layout,
                                .io = io,
                                .pci = pci,
                                .next_mmio = GUEST_MMIO_BASE,
                                .next_mmio64 = GUEST_MMIO64_BASE,
                                .next_io = GUEST_IO_BASE};
        s = layout == BOOT_BUS_PORTS ? ports_build(g, count) : OK;
        for (unsigned i = 0; i < count && s == OK; i++)
            s = want(g, &devices[i], i);
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
    guest->device_count = 0; // no link is kept for it
    release_all(guest);
    assoc_prune();
    mirror_guest_remove(guest);
    guest->used = false;
    net_unlock();
}

// --- the console's attach and detach ---

enum status bus_guest_attach(struct bus_guest *guest, const struct boot_device *device)
{
    if (guest->layout != BOOT_BUS_PORTS)
        return ERR_UNSUPPORTED;
    net_lock();
    enum status s = guest->claims ? want(guest, device, SLOT_ANY) : ERR_DENIED;
    assoc_prune();
    net_unlock();
    return s;
}

enum status bus_guest_detach(struct bus_guest *guest, const struct boot_device *device)
{
    if (guest->layout != BOOT_BUS_PORTS)
        return ERR_UNSUPPORTED;
    net_lock();
    struct remote_fn *fn = assoc_find(device);
    bool its = fn && fn->guest == guest;
    if (its && !fn->leaving) {
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
    net_unlock();
}

void bus_guest_claim(struct bus_guest *guest)
{
    net_lock();
    for (unsigned i = 0; i < guest->device_count && !guest->claims; i++) {
        const struct boot_device *d = &guest->devices[i];
        if (!assoc_find(d) && assoc_want(guest, d, i) != OK)
            log_error("bus", REMOTE_FN_FORMAT " finds no room in guest \"%s\"", REMOTE_DEVICE_ARGS(d),
                      guest->name);
    }
    guest->claims = true;
    net_unlock();
}

/// Why a `device =` line has no function.
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
    for (unsigned i = 0; i < guest->device_count; i++) {
        const struct boot_device *d = &guest->devices[i];
        const struct remote_fn *fn = assoc_find(d);
        const char *who;
        if (fn && fn->guest == guest && fn->state == ASSOC_ATTACHED)
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
