// SPDX-License-Identifier: BSD-2-Clause
// How a function of a remote becomes a guest's: ATTACH, then its configuration space is read once (the
// header, and each capability along the list, nothing between them: some devices do not stand that), then it
// is attached. One function of a remote at a time. Runs in link callbacks: nothing here waits; what cannot be
// sent now is tried again at the next announcement. Must not know guests beyond their function table.
#include "hv/bus/remote.h"
#include "rt/log.h"
#include "rt/time.h"
#include <string.h>

#define ATTACH_TIMEOUT_MS 6000u // a reset at the remote may take more than a second
#define HEADER_DWORDS     16u
#define STATUS_CAP_LIST   0x10u

static uint32_t raw32(const struct snapshot *s, unsigned offset)
{
    uint32_t value;
    memcpy(&value, &s->raw[offset], sizeof(value));
    return value;
}

// --- giving back ---

/// Sends what DETACHes are due. False: not all of them could be sent.
static bool pay(struct remote *remote)
{
    for (unsigned i = 0; i < sizeof(remote->owed) / sizeof(remote->owed[0]); i++) {
        while (remote->owed[i]) {
            unsigned bit = (unsigned)__builtin_ctzll(remote->owed[i]);
            if (!transact_detach(remote, (uint16_t)(64 * i + bit)))
                return false;
            remote->owed[i] &= ~(1ull << bit);
            link_flush(remote->link);
        }
    }
    return true;
}

static void owe(struct remote *remote, uint16_t handle)
{
    remote->owed[handle / 64] |= 1ull << handle % 64;
    (void)pay(remote); // else with the next announcement
}

void attach_give_back(struct remote_fn *fn)
{
    uint16_t handle = fn->handle;
    fn->handle = 0;
    if (handle != 0 && handle <= WIRE_HANDLE_MAX)
        owe(fn->remote, handle);
}

void attach_orphan(struct remote *remote, const struct wire_record *rec, size_t size)
{
    if (rec->type == REC_CPLD && rec->status == CPL_SC && size == sizeof(struct wire_attached) &&
        rec->function != 0 && rec->function <= WIRE_HANDLE_MAX)
        owe(remote, rec->function);
    attach_next(remote);
}

// --- attaching ---

static void give_up(struct remote_fn *fn, enum assoc_state state, const char *why)
{
    struct remote *remote = fn->remote;
    transact_forget(fn);
    if (remote->attaching == fn)
        remote->attaching = NULL;
    attach_give_back(fn);
    assoc_set(fn, state, why);
}

static void dword_read(struct remote_fn *fn, uint16_t offset, const struct wire_record *rec, const void *body,
                       size_t size);

static void ask(struct remote_fn *fn, unsigned offset)
{
    struct wire_access access = {.size = 4, .offset = offset};
    if (transact_async(fn, REC_CFG_RD, &access, sizeof(access), NULL, 0, dword_read, (uint16_t)offset))
        fn->snapshot.pending++;
    else
        fn->snapshot.failed = true;
}

/// What the guest had set at the remote before it went away; nobody waits for these.
static void set_done(struct remote_fn *fn, uint16_t offset, const struct wire_record *rec, const void *body,
                     size_t size)
{
    (void)body, (void)size;
    if (!rec || rec->status != CPL_SC)
        log_debug("bus", REMOTE_FN_FORMAT ": register 0x%x could not be restored", REMOTE_FN_ARGS(fn),
                  offset);
}

static void restore(struct remote_fn *fn)
{
    for (unsigned i = 0; fn->port && i < sizeof(fn->restore) / sizeof(fn->restore[0]); i++)
        fn->restore[i].set = false;
    for (unsigned i = 0; i < sizeof(fn->restore) / sizeof(fn->restore[0]); i++) {
        if (!fn->restore[i].set)
            continue;
        struct wire_access access = {.size = 2, .offset = fn->restore[i].offset};
        if (!transact_async(fn, REC_CFG_WR, &access, sizeof(access), &fn->restore[i].value,
                            sizeof(fn->restore[i].value), set_done, fn->restore[i].offset))
            set_done(fn, fn->restore[i].offset, NULL, NULL, 0);
    }
}

/// What the guest programmed into registers the host keeps goes into the new view.
static void carry_over(struct config_view *to, const struct config_view *from)
{
    for (unsigned i = 0; i < CONFIG_VIEW_SIZE; i++)
        to->image[i] = (uint8_t)((to->image[i] & ~to->writable[i]) | (from->image[i] & to->writable[i]));
}

static void snapshot_complete(struct remote_fn *fn)
{
    struct snapshot *s = &fn->snapshot;
    struct config_view view;
    config_view_build(&view, s->raw, s->caps, s->cap_count, &fn->info);
    bool again = fn->known && !fn->port; // behind a port it was unplugged, and comes as a new card
    if (again)
        carry_over(&view, &fn->view);
    fn->view = view;
    interrupts_learn(fn);
    fn->remote->attaching = NULL;
    remote_fn_reset_done(fn);
    restore(fn);
    if (again)
        interrupts_attached(fn);
    else
        interrupts_reset(fn);
    fn->known = true;
    if (!fn->placed && !fn->port)
        remote_fn_place(fn);
    assoc_set(fn, ASSOC_ATTACHED, NULL);
    link_flush(fn->remote->link);
    attach_next(fn->remote);
}

static bool seen(const struct snapshot *s, uint8_t offset)
{
    for (unsigned i = 0; i < s->cap_count; i++) {
        if (s->caps[i].offset == offset)
            return true;
    }
    return false;
}

/// Follows the list; a loop, an offset inside the header or too many members end it.
static void ask_capability(struct remote_fn *fn, uint8_t offset)
{
    struct snapshot *s = &fn->snapshot;
    s->next = 0;
    offset &= 0xfc;
    if (offset < 0x40 || seen(s, offset) || s->cap_count == CONFIG_CAPS_MAX)
        return;
    s->next = offset;
    ask(fn, offset);
}

static void capability_read(struct remote_fn *fn)
{
    struct snapshot *s = &fn->snapshot;
    uint32_t head = raw32(s, s->next);
    struct config_capability *cap = &s->caps[s->cap_count];
    if ((uint8_t)head == 0xff) { // as pci-generic code does: the list is broken
        s->next = 0;
        return;
    }
    *cap = (struct config_capability){
        .offset = s->next, .id = (uint8_t)head, .length = config_capability_length(s->next, head)};
    s->cap_count++;
    for (unsigned at = cap->offset + 4u; at < (unsigned)cap->offset + cap->length; at += 4)
        ask(fn, at);
    ask_capability(fn, (uint8_t)(head >> 8));
}

static void dword_read(struct remote_fn *fn, uint16_t offset, const struct wire_record *rec, const void *body,
                       size_t size)
{
    struct snapshot *s = &fn->snapshot;
    if (!rec) // the link went down: assoc.c has seen to the rest
        return;
    s->pending--;
    if (rec->type != REC_CPLD || rec->status != CPL_SC || size != 4)
        s->failed = true;
    else
        memcpy(&s->raw[offset], body, 4);
    if (!s->failed) {
        if (offset == 4 * (HEADER_DWORDS - 1) &&
            (s->raw[0x06] & STATUS_CAP_LIST)) // completions come in order: header is here
            ask_capability(fn, s->raw[0x34]);
        else if (s->next && offset == s->next)
            capability_read(fn);
    }
    if (s->failed) {
        give_up(fn, ASSOC_ANNOUNCED, "its configuration space could not be read; trying again");
        return;
    }
    if (s->pending == 0)
        snapshot_complete(fn);
    else
        link_flush(fn->remote->link);
}

static void attached(struct remote_fn *fn, const void *body)
{
    struct wire_attached a;
    memcpy(&a, body, sizeof(a));
    if (a.handle == 0 || a.handle > WIRE_HANDLE_MAX || transact_by_handle(fn->remote, a.handle) ||
        a.credits == 0 || !wire_function_valid(&a.info)) {
        bus_counts.malformed++;
        give_up(fn, ASSOC_REFUSED, "the remote's answer to ATTACH makes no sense");
        return;
    }
    fn->handle = a.handle;
    if (fn->known && !fn->port && memcmp(a.info.bars, fn->info.bars, sizeof(a.info.bars)) != 0) {
        give_up(fn, ASSOC_REFUSED, "it came back as another device: restart the guest to use it");
        return;
    }
    fn->info = a.info;
    fn->credits = fn->credits_granted = a.credits;
    fn->stalled = false;
    fn->snapshot = (struct snapshot){0};
    for (unsigned i = 0; i < HEADER_DWORDS; i++)
        ask(fn, 4 * i);
    if (fn->snapshot.failed)
        give_up(fn, ASSOC_ANNOUNCED, "the link is full; trying again");
    else
        link_flush(fn->remote->link);
}

/// A node name as the remote gave it, made printable.
static void copy_name(char *to, const void *from, size_t size)
{
    const char *name = from;
    size_t n = size < WIRE_NAME_MAX - 1 ? size : WIRE_NAME_MAX - 1;
    for (size_t i = 0; i < n; i++)
        to[i] = name[i] > ' ' && name[i] < 0x7f ? name[i] : '?';
    to[n] = 0;
}

static void attach_answered(struct remote_fn *fn, uint16_t arg, const struct wire_record *rec,
                            const void *body, size_t size)
{
    struct remote *remote = fn->remote;
    (void)arg;
    if (!rec) // the link went down: assoc.c has seen to the rest
        return;
    fn->refused_by[0] = 0;
    if (rec->type == REC_CPLD && rec->status == CPL_SC && size == sizeof(struct wire_attached)) {
        attached(fn, body);
    } else if (rec->type == REC_CPLD && rec->status == CPL_OWNED) {
        copy_name(fn->refused_by, body, size);
        give_up(fn, ASSOC_REFUSED, "another host has it");
    } else if (rec->status == CPL_NOT_LENT) {
        give_up(fn, ASSOC_REFUSED, "its remote does not lend it");
    } else if (rec->status == CPL_DENIED) {
        fn->denied = true;
        give_up(fn, ASSOC_REFUSED, "its remote does not lend it to this host");
    } else {
        give_up(fn, ASSOC_REFUSED, "its remote cannot attach it");
    }
    if (fn->state != ASSOC_ATTACHING)
        attach_next(remote);
}

void attach_next(struct remote *remote)
{
    if (remote->attaching || !remote->link || link_state(remote->link) != LINK_UP || !pay(remote))
        return;
    uint64_t oldest = time_ns() - ATTACH_TIMEOUT_MS * 1000000ull;
    for (unsigned i = 0; i < assoc_count(); i++) {
        struct remote_fn *fn = assoc_get(i);
        if (fn->remote != remote || fn->state != ASSOC_ANNOUNCED ||
            transact_orphaned(remote, &fn->at, oldest)) // it would be refused: we seem to have it
            continue;
        struct wire_attach body = {
            .at = {.segment = fn->at.segment, .bus = fn->at.bus, .devfn = fn->at.devfn}};
        if (!transact_async(fn, REC_ATTACH, &body, sizeof(body), NULL, 0, attach_answered, 0))
            return;
        remote->attaching = fn;
        fn->handle = 0;
        fn->attach_since = time_ns();
        assoc_set(fn, ASSOC_ATTACHING, NULL);
        link_flush(remote->link);
        return;
    }
}

void attach_check(struct remote *remote, uint64_t now_ns)
{
    struct remote_fn *fn = remote->attaching;
    if (fn && now_ns - fn->attach_since > ATTACH_TIMEOUT_MS * 1000000ull)
        give_up(fn, ASSOC_REFUSED, "its remote does not answer ATTACH; trying again");
}
