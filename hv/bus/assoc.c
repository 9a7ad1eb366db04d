// SPDX-License-Identifier: BSD-2-Clause
// The association table: remote, function, owning guest (DESIGN.md, sections 9 and 10). Built from `device =`
// lines and announcements; opens one link for each remote that lends something a guest that runs wants, for
// all guests together, and keeps it until none has wanted anything there for a while. Must not know
// configuration space or transactions. Invariant: a function belongs to at most one guest, and nothing is
// ever sent to or taken from a remote that no guest names.
#include "hv/bus/remote.h"
#include "net/stack.h"
#include "rt/log.h"
#include "rt/time.h"
#include <stdio.h>
#include <string.h>

#define LINGER_MS 30000u // a guest that is started again finds its links

static struct remote remotes[REMOTES_MAX];
static struct remote_fn functions[REMOTE_FNS_MAX];
static unsigned used; // of them: those behind were never taken

struct remote_fn *assoc_get(unsigned index)
{
    return index < used ? &functions[index] : NULL;
}

unsigned assoc_count(void)
{
    return used;
}

const char *assoc_place(const struct remote_fn *fn, char text[GUEST_PLACE_MAX])
{
    if (fn->port && fn->port->port.bus.secondary == 0) // its guest has not numbered its buses
        snprintf(text, GUEST_PLACE_MAX, "slot %u", fn->port->port.slot);
    else if (fn->port)
        snprintf(text, GUEST_PLACE_MAX, "%02x:00.0 (slot %u)", fn->port->port.bus.secondary,
                 fn->port->port.slot);
    else
        snprintf(text, GUEST_PLACE_MAX, "00:%02x.0", fn->devfn >> 3);
    return text;
}

const char *assoc_state_name(enum assoc_state state)
{
    static const char *const names[ASSOC_STATES] = {
        [ASSOC_FREE] = "free",           [ASSOC_WANTED] = "wanted",     [ASSOC_ANNOUNCED] = "announced",
        [ASSOC_ATTACHING] = "attaching", [ASSOC_ATTACHED] = "attached", [ASSOC_REFUSED] = "refused",
        [ASSOC_LOST] = "lost",
    };
    return (unsigned)state < ASSOC_STATES ? names[state] : "?";
}

/// A remote that comes and goes without end does not keep others waiting for a slow console (the net lock is
/// held): 64 sentences at once, two a second.
static bool may_say(struct remote *remote)
{
    return limit_take(&remote->said, time_ns(), 500000000, 64);
}

void assoc_set(struct remote_fn *fn, enum assoc_state state, const char *why)
{
    enum assoc_state before = fn->state;
    char place[GUEST_PLACE_MAX];
    fn->state = state;
    switch (state) {
    case ASSOC_ATTACHED:
        fn->told = NULL;
        if (may_say(fn->remote))
            log_info("bus", REMOTE_FN_FORMAT " (%04x:%04x) is guest \"%s\"'s %s", REMOTE_FN_ARGS(fn),
                     fn->info.vendor, fn->info.device, fn->guest->name, assoc_place(fn, place));
        ports_attention(fn->guest);
        break;
    case ASSOC_REFUSED: // tried again at every announcement, but said once
        if (fn->told == why)
            break;
        fn->told = why;
        if (may_say(fn->remote))
            log_warn("bus", REMOTE_FN_FORMAT " for guest \"%s\": %s%s%s", REMOTE_FN_ARGS(fn), fn->guest->name,
                     why, fn->refused_by[0] ? ": " : "", fn->refused_by);
        break;
    case ASSOC_LOST:
        fn->handle = 0;
        fn->inserted = fn->resetting = false;
        ports_attention(fn->guest);
        if (may_say(fn->remote))
            log_warn("bus", REMOTE_FN_FORMAT " of guest \"%s\" is lost: %s; %s until it returns",
                     REMOTE_FN_ARGS(fn), fn->guest->name, why,
                     fn->port ? "its slot is empty" : "it reads as all-ones");
        break;
    case ASSOC_ANNOUNCED:
        if (before == ASSOC_ATTACHING && may_say(fn->remote))
            log_warn("bus", REMOTE_FN_FORMAT ": %s", REMOTE_FN_ARGS(fn), why);
        break;
    default:
        break;
    }
}

// --- links ---

static void on_up(void *ctx, struct link *link)
{
    struct remote *remote = ctx;
    remote->link = link;
    if (may_say(remote))
        log_info("bus", "remote \"%s\": link up", remote->node);
    for (unsigned i = 0; i < used; i++) {
        struct remote_fn *fn = &functions[i];
        if (fn->remote != remote || fn->state == ASSOC_FREE)
            continue;
        fn->state = ASSOC_ANNOUNCED; // whatever it was: a new epoch knows no handle
        fn->handle = 0;
        fn->denied = false;
    }
    remote->attaching = NULL;
    attach_next(remote);
}

static void on_record(void *ctx, struct link *link, const struct wire_record *rec, const void *body,
                      size_t size)
{
    (void)link;
    transact_record(ctx, rec, body, size);
}

static void on_frozen(void *ctx, struct link *link)
{
    (void)link;
    if (may_say(ctx))
        log_warn("bus", "remote \"%s\" does not answer; its functions wait", ((struct remote *)ctx)->node);
}

static void on_resumed(void *ctx, struct link *link)
{
    (void)link;
    if (may_say(ctx))
        log_info("bus", "remote \"%s\" answers again", ((struct remote *)ctx)->node);
}

/// First the states, so that nobody who is woken sends again; then whoever waits.
static void lose(struct remote *remote, const char *why)
{
    for (unsigned i = 0; i < used; i++) {
        struct remote_fn *fn = &functions[i];
        if (fn->remote != remote || fn->state == ASSOC_FREE)
            continue;
        if (fn->known)
            interrupts_lost(fn);
        mirror_forget(fn);
        fn->handle = 0;
        if (fn->state == ASSOC_ATTACHED || (fn->state == ASSOC_ATTACHING && fn->known))
            assoc_set(fn, ASSOC_LOST, why);
        else if (fn->state != ASSOC_LOST)
            fn->state = ASSOC_WANTED;
    }
    remote->attaching = NULL;
    transact_abort(remote);
}

static void on_down(void *ctx, struct link *link, const char *why)
{
    (void)link;
    struct remote *remote = ctx;
    if (may_say(remote))
        log_warn("bus", "remote \"%s\": link down: %s", remote->node, why);
    lose(remote, why);
    assoc_prune(false);
}

static const struct link_events events = {
    .up = on_up, .record = on_record, .frozen = on_frozen, .resumed = on_resumed, .down = on_down};

// --- announcements ---

static bool lends(const struct announcement *a, const struct remote_fn *fn)
{
    for (unsigned i = 0; i < a->function_count; i++) {
        const struct wire_pci_address *at = &a->functions[i].at;
        if (at->segment == fn->at.segment && at->bus == fn->at.bus && at->devfn == fn->at.devfn)
            return true;
    }
    return false;
}

static bool busy(const struct announcement *a, const struct remote_fn *fn)
{
    for (unsigned i = 0; i < a->function_count; i++) {
        const struct wire_pci_address *at = &a->functions[i].at;
        if (at->segment == fn->at.segment && at->bus == fn->at.bus && at->devfn == fn->at.devfn)
            return (a->functions[i].flags & WIRE_FN_BUSY) != 0;
    }
    return false;
}

/// With the link up: whatever is not attached and can be is tried (again).
static void update_functions(struct remote *remote, const struct announcement *a)
{
    for (unsigned i = 0; i < used; i++) {
        struct remote_fn *fn = &functions[i];
        if (fn->remote == remote && fn->state != ASSOC_FREE && fn->leaving)
            ports_attention(fn->guest); // its time may be over
        if (fn->remote != remote || fn->state == ASSOC_FREE || fn->state == ASSOC_ATTACHED ||
            fn->state == ASSOC_ATTACHING)
            continue;
        if (lends(a, fn) && !busy(a, fn) && !fn->denied)
            fn->state = ASSOC_ANNOUNCED;
    }
}

/// Two machines with one name: the one we are linked to stays ours as long as its link lives. It may be the
/// same one, started again with another address: then the link does not live much longer.
static bool is_impostor(const struct remote *remote, const struct announcement *a)
{
    enum link_state s = link_state(remote->link);
    return a->peer != remote->peer && a->boot_id != remote->boot_id && (s == LINK_UP || s == LINK_FROZEN);
}

static struct remote *find_remote(const char *node)
{
    for (unsigned i = 0; i < REMOTES_MAX; i++) {
        if (remotes[i].used && strncmp(remotes[i].node, node, sizeof(remotes[i].node)) == 0)
            return &remotes[i];
    }
    return NULL;
}

static void heard(void *ctx, const struct announcement *a)
{
    (void)ctx;
    assoc_prune(false);
    struct remote *remote = find_remote(a->node);
    if (!remote) // nobody here needs it
        return;
    if (!remote->link) {
        enum status s = link_connect(a->peer, remote->node, &events, remote, &remote->link);
        if (s != OK) {
            remote->link = NULL;
            if (!remote->no_link_told)
                log_warn("bus", "remote \"%s\": no link: %s", remote->node, status_name(s));
            remote->no_link_told = true;
            assoc_prune(true); // for its next announcement
            return;
        }
        log_info("bus", "remote \"%s\" announced itself with %u functions", remote->node, a->function_count);
    } else if (is_impostor(remote, a)) {
        if (remote->impostor != a->boot_id)
            remote->impostor_told = false;
        remote->impostor = a->boot_id;
        return;
    } else if (a->peer != remote->peer) {
        if (!link_set_peer(remote->link, a->peer))
            return;
        if (may_say(remote))
            log_info("bus", "remote \"%s\" has moved to %u.%u.%u.%u", remote->node, a->peer & 0xff,
                     a->peer >> 8 & 0xff, a->peer >> 16 & 0xff, a->peer >> 24);
    } else if (remote->impostor && !remote->impostor_told) { // it was heard, and ours is still there
        remote->impostor_told = true;
        log_warn("bus", "a second remote calls itself \"%s\"; give each its own name", remote->node);
    }
    remote->peer = a->peer;
    remote->boot_id = a->boot_id;
    attach_check(remote, time_ns());
    if (link_state(remote->link) != LINK_UP) // `up` does the rest
        return;
    update_functions(remote, a);
    attach_next(remote);
}

void bus_start(const char *host_node)
{
    net_lock();
    discovery_listen(heard, NULL);
    net_unlock();
    log_info("bus", "host \"%s\" listens for remotes", host_node);
}

// --- guests ---

static struct remote *remote_named(const char *node)
{
    struct remote *remote = find_remote(node);
    for (unsigned i = 0; !remote && i < REMOTES_MAX && remotes[i].used; i++) {
        if (i + 1 == REMOTES_MAX)
            assoc_prune(true); // who only lingers makes room
    }
    for (unsigned i = 0; i < REMOTES_MAX && !remote; i++) {
        if (remotes[i].used)
            continue;
        remote = &remotes[i];
        remote->used = true;
        remote->said = (struct limit){0};
        remote->link = NULL;
        remote->attaching = NULL;
        remote->peer = remote->boot_id = remote->impostor = 0;
        remote->impostor_told = remote->no_link_told = false;
        wire_text_set(remote->node, sizeof(remote->node), node);
    }
    return remote;
}

const struct remote *assoc_remote(const char *node)
{
    return find_remote(node);
}

struct remote_fn *assoc_find(const struct boot_device *d)
{
    for (unsigned i = 0; i < used; i++) {
        struct remote_fn *fn = &functions[i];
        if (fn->state != ASSOC_FREE && fn->at.segment == d->at.segment && fn->at.bus == d->at.bus &&
            fn->at.devfn == d->at.devfn && strncmp(fn->remote->node, d->node, sizeof(fn->remote->node)) == 0)
            return fn;
    }
    return NULL;
}

enum status assoc_want(struct bus_guest *guest, const struct boot_device *d, unsigned slot)
{
    struct remote *remote = remote_named(d->node);
    struct remote_fn *fn = NULL;
    for (unsigned i = 0; i < REMOTE_FNS_MAX && !fn; i++) {
        if (functions[i].state == ASSOC_FREE)
            fn = &functions[i];
    }
    if (!remote || !fn)
        return ERR_NOMEM;
    if (fn == &functions[used])
        used++;
    remote->idle_since = 0;
    *fn = (struct remote_fn){.remote = remote, .guest = guest, .at = d->at};
    for (unsigned i = 0; i < 6; i++)
        fn->bars[i] = (struct remote_bar){.fn = fn, .index = (uint8_t)i};
    enum status s = remote_fn_plug(fn, slot);
    if (s != OK)
        return s;
    fn->state = remote->link && link_state(remote->link) == LINK_UP ? ASSOC_ANNOUNCED : ASSOC_WANTED;
    attach_next(remote);
    return OK;
}

static bool is_needed(const struct remote *remote)
{
    for (unsigned i = 0; i < used; i++) {
        if (functions[i].state != ASSOC_FREE && functions[i].remote == remote)
            return true;
    }
    return false;
}

void bus_end(const char *why)
{
    net_lock();
    for (unsigned i = 0; i < REMOTES_MAX; i++) {
        if (!remotes[i].used || !remotes[i].link)
            continue;
        lose(&remotes[i], why);
        link_close(remotes[i].link, why);
        remotes[i].link = NULL;
    }
    discovery_listen(NULL, NULL); // and no link is opened any more
    net_unlock();
}

/// A link that is not up is no use to whoever comes next.
static bool may_linger(const struct remote *remote, uint64_t now)
{
    return remote->link && link_state(remote->link) == LINK_UP &&
           now - remote->idle_since < LINGER_MS * 1000000ull;
}

void assoc_prune(bool at_once)
{
    uint64_t now = time_ns();
    for (unsigned i = 0; i < REMOTES_MAX; i++) {
        struct remote *remote = &remotes[i];
        bool idle = remote->used && !is_needed(remote);
        remote->idle_since = !idle ? 0 : remote->idle_since ? remote->idle_since : now;
        if (!idle || (!at_once && may_linger(remote, now)))
            continue;
        if (remote->link)
            link_close(remote->link, "no guest uses this remote any more");
        remote->link = NULL;
        remote->used = false;
        transact_abort(remote);
    }
}

void assoc_release(struct remote_fn *fn)
{
    struct remote *remote = fn->remote;
    bool is_claimed = fn->state == ASSOC_ATTACHED || fn->state == ASSOC_ATTACHING;
    transact_forget(fn);
    if (remote->attaching == fn)
        remote->attaching = NULL;
    remote_fn_unplug(fn);
    if (fn->mirror)
        mirror_destroy(fn->mirror);
    fn->mirror = NULL;
    if (is_claimed)
        attach_give_back(fn);
    fn->state = ASSOC_FREE;
    assoc_prune(false);
    if (remote->used)
        attach_next(remote);
}
