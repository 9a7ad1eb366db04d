// SPDX-License-Identifier: BSD-2-Clause
// When the mirror is brought up to date (hv/bus/mirror.h): begin and end of a session, before each access of
// the guest, and when the remote says what its function wrote. Must not know how content is compared or what
// is mapped. Invariant: bytes for pages that a function reads and writes go into guest memory only while no
// instruction of the guest runs, on any of its CPUs (hold), and only whole rounds of them (unless a round is
// too large to keep).
#include "hv/bus/remote.h"
#include "hv/platform/iommu.h"
#include "net/stack.h"
#include "rt/log.h"
#include "rt/time.h"
#include <string.h>

#define COMMAND            0x04u
#define COMMAND_BUS_MASTER 0x0004u
#define ROUND_WAIT_NS      200000000ull // for the rest of a round whose beginning the guest would see
#define LATER              (time_ns() + BUS_COMPLETION_TIMEOUT_MS * 1000000ull)

// --- begin and end ---

void mirror_forget(struct remote_fn *fn)
{
    struct mirror *m = fn->mirror;
    if (!m)
        return;
    m->session++;
    m->state = MIRROR_OFF;
    m->due = m->spoiled = m->round_open = m->overran = false;
    m->pending_size = m->complete_size = 0;
    m->received = m->offences = 0;
    m->told_no_slots = m->told_no_twins = m->told_fault = m->told_outside = false;
    mirror_blank(m);
    m->limit = 0;
}

static void refused(struct remote_fn *fn, const char *why)
{
    fn->mirror->state = MIRROR_OFF;
    log_warn("bus", REMOTE_FN_FORMAT ": no DMA for guest \"%s\": %s", REMOTE_FN_ARGS(fn), fn->guest->name,
             why);
}

static void nobody_waits(struct remote_fn *fn, uint16_t arg, const struct wire_record *rec, const void *body,
                         size_t size)
{
    (void)fn, (void)arg, (void)rec, (void)body, (void)size;
}

/// The function was reset, but the guest may think that it masters the bus (it was away for a while).
static void restore_bus_master(struct remote_fn *fn)
{
    uint16_t command = (uint16_t)config_view_read(&fn->view, COMMAND, 2);
    struct wire_access access = {.size = 2, .offset = COMMAND};
    if (command & COMMAND_BUS_MASTER)
        (void)transact_async(fn, REC_CFG_WR, &access, sizeof(access), &command, sizeof(command), nobody_waits,
                             0);
}

static void started(struct remote_fn *fn, uint16_t session, const struct wire_record *rec, const void *body,
                    size_t size)
{
    struct mirror *m = fn->mirror;
    struct wire_dma_started answer;
    if (!m || m->state != MIRROR_STARTING || (uint16_t)m->session != session)
        return;
    if (!rec || rec->type != REC_CPLD || rec->status != CPL_SC || size != sizeof(answer)) {
        if (rec)
            refused(fn, "its remote refuses it");
        m->state = MIRROR_OFF;
        return;
    }
    memcpy(&answer, body, sizeof(answer));
    const struct guest_dma *dma = &fn->guest->dma;
    m->limit = answer.slots < MIRROR_SLOTS_MAX ? answer.slots : MIRROR_SLOTS_MAX;
    if (!dma->iommu && dma->memory_bytes / WIRE_DMA_PAGE > m->limit) {
        refused(fn,
                "dma = mirror needs a page of the remote for every page of the guest, and it lends fewer; "
                "give the guest less memory");
        return;
    }
    m->state = MIRROR_ON;
    m->due = true;
    m->received = 0;
    restore_bus_master(fn);
    bus_attention(fn->guest);
}

void mirror_start(struct remote_fn *fn)
{
    struct guest_dma *dma = &fn->guest->dma;
    mirror_forget(fn);
    if (!dma->on || !(fn->info.flags & WIRE_FN_DMA))
        return;
    if (!fn->mirror)
        fn->mirror = mirror_create(fn);
    struct mirror *m = fn->mirror;
    if (!m) {
        log_warn("bus", REMOTE_FN_FORMAT ": no DMA for guest \"%s\": no memory is left", REMOTE_FN_ARGS(fn),
                 fn->guest->name);
        return;
    }
    m->state = MIRROR_STARTING;
    if (!transact_async(fn, REC_DMA_START, NULL, 0, NULL, 0, started, (uint16_t)m->session))
        refused(fn, "the link is full");
}

void bus_guest_dma(struct bus_guest *guest, const struct bus_memory *memory, struct guest_iommu *iommu)
{
    struct guest_dma *dma = &guest->dma;
    uint64_t gpa, size;
    net_lock();
    *dma = (struct guest_dma){.memory = *memory, .iommu = iommu};
    for (unsigned i = 0; memory->range(memory->ctx, i, &gpa, &size); i++)
        dma->memory_bytes += size;
    uint64_t pages = dma->memory_bytes / WIRE_DMA_PAGE;
    dma->frames_limit = MIRROR_POOL_BASE + pages / MIRROR_POOL_PART;
    if (!iommu)
        dma->frames_limit += pages + pages / SLOTS_PER_FRAME;
    if (!iommu && dma->memory_bytes > MIRROR_MEMORY_LIMIT)
        log_warn(
            "bus",
            "guest \"%s\": dma = mirror is for guests of at most %llu MiB: its functions cannot master the "
            "bus; use dma = iommu, or less memory",
            guest->name, MIRROR_MEMORY_LIMIT >> 20);
    else if (mirror_guest_create(dma) != OK)
        log_warn("bus", "guest \"%s\": no memory for DMA: its functions cannot master the bus", guest->name);
    else
        dma->on = true;
    for (unsigned i = 0; i < assoc_count(); i++) {
        struct remote_fn *fn = assoc_get(i);
        if (fn->state != ASSOC_ATTACHED || fn->guest != guest)
            continue;
        mirror_start(fn);
        link_flush(fn->remote->link);
    }
    net_unlock();
}

void mirror_guest_remove(struct bus_guest *guest)
{
    guest->dma.on = false;
    mirror_guest_destroy(&guest->dma);
}

// --- what a function wrote ---

/// In `pending`, in front of its runs.
struct entry {
    uint32_t slot, generation;
    uint32_t index; // of the record: `received` before it
    uint32_t size;
};

uint32_t mirror_seen(const struct mirror *m)
{
    if (m->pending_size == 0)
        return m->received;
    struct entry e;
    memcpy(&e, m->pending, sizeof(e));
    return e.index;
}

static void offence(struct mirror *m, const char *what)
{
    struct remote_fn *fn = m->fn;
    bus_counts.malformed++;
    if (++m->offences != MIRROR_OFFENCES_MAX)
        return;
    log_error("bus", REMOTE_FN_FORMAT ": its remote breaks the rules of DMA (%s): the link is cut off",
              REMOTE_FN_ARGS(fn), what);
    link_cut(fn->remote->link, "the remote breaks the rules of DMA");
}

/// The slot that DATA of this mapping is for; NULL: none any more.
static struct slot *target(struct mirror *m, uint32_t index, uint32_t generation)
{
    struct slot *s = index < m->used ? mirror_slot(m, index) : NULL;
    return s && s->access & WIRE_DMA_WRITE && s->generation == generation && generation ? s : NULL;
}

/// What DATA that has no target is: late, for a mapping that has ended, or (then the sentence) never asked
/// for.
static const char *unasked(const struct mirror *m, const struct slot *s, uint32_t generation)
{
    if ((int32_t)(generation - m->generation) > 0 || generation == 0)
        return "data for a mapping that never was";
    if (s->generation == generation && s->access && !(s->access & WIRE_DMA_WRITE))
        return "data for a page that its function may only read";
    return NULL;
}

static void pull(struct mirror *m, uint32_t index, uint32_t generation, const uint8_t *runs, size_t size)
{
    struct slot *s = target(m, index, generation);
    if (!s)
        bus_counts.dma_stale++;
    else if (!mirror_pull(s, runs, size))
        offence(m, "runs outside a page");
}

/// The first `size` bytes of what is pending.
static void take_pending(struct mirror *m, uint32_t size)
{
    uint32_t at = 0, session = m->session;
    while (at < size && m->session == session) {
        struct entry e;
        memcpy(&e, m->pending + at, sizeof(e));
        at += (uint32_t)sizeof(e);
        pull(m, e.slot, e.generation, m->pending + at, e.size);
        at += e.size;
    }
    if (m->session != session) // cut off
        return;
    memmove(m->pending, m->pending + at, m->pending_size - at);
    m->pending_size -= at;
    m->complete_size = 0;
}

/// Who runs the guest is inside hv/bus: sees to it that no other of its CPUs is in the guest. True: one was.
static bool hold(const struct guest_dma *dma)
{
    return dma->memory.still && dma->memory.still(dma->memory.ctx);
}

void mirror_settle(struct mirror *m)
{
    if (!m->complete_size)
        return;
    (void)hold(&m->fn->guest->dma);
    take_pending(m, m->complete_size);
}

static void keep(struct mirror *m, const struct wire_dma_data *d, uint32_t index, const uint8_t *runs,
                 size_t size)
{
    const struct entry e = {
        .slot = d->slot, .generation = d->generation, .index = index, .size = (uint32_t)size};
    if (m->overran || m->pending_size + sizeof(e) + size > m->pending_room) {
        // Better seen in pieces than lost. The guest's CPU is called, and waits for the rest.
        if (!m->overran) {
            bus_counts.dma_overruns++;
            bus_attention(m->fn->guest);
        }
        m->overran = true;
        if (m->fn->guest->dma.held)
            (void)hold(&m->fn->guest->dma);
        if (m->pending_size)
            take_pending(m, m->pending_size);
        if (m->state == MIRROR_ON)
            pull(m, d->slot, d->generation, runs, size);
        return;
    }
    memcpy(m->pending + m->pending_size, &e, sizeof(e));
    memcpy(m->pending + m->pending_size + sizeof(e), runs, size);
    m->pending_size += (uint32_t)(sizeof(e) + size);
}

static void data(struct mirror *m, const uint8_t *body, size_t size)
{
    struct bus_guest *guest = m->fn->guest;
    struct wire_dma_data d;
    if (size < sizeof(d)) {
        offence(m, "a short record");
        return;
    }
    memcpy(&d, body, sizeof(d));
    const uint8_t *runs = body + sizeof(d);
    size -= sizeof(d);
    uint32_t index = m->received++;
    bool more = (d.flags & WIRE_DMA_MORE) != 0;
    struct slot *s = target(m, d.slot, d.generation);
    uint32_t session = m->session;
    const char *lie = d.slot >= m->used ? "a slot that was never used"
                      : s               ? NULL
                                        : unasked(m, mirror_slot(m, d.slot), d.generation);
    if (lie && size)
        offence(m, lie);
    else if (!s)
        bus_counts.dma_stale += size != 0;
    else if (!(s->access & WIRE_DMA_READ)) {
        pull(m, d.slot, d.generation, runs, size);
    } else if (guest->dma.held && !more && m->pending_size == 0) {
        (void)hold(&guest->dma);
        pull(m, d.slot, d.generation, runs, size);
    } else {
        keep(m, &d, index, runs, size);
    }
    if (m->session != session)
        return;
    m->round_open = more;
    if (more)
        return;
    m->complete_size = m->pending_size;
    m->overran = false;
    if (m->complete_size == 0)
        return;
    if (guest->dma.held)
        mirror_settle(m);
    else
        bus_attention(guest);
}

static void spoiled(struct mirror *m, const void *body)
{
    struct wire_dma_spoiled record;
    memcpy(&record, body, sizeof(record));
    if (record.slot >= m->used) {
        offence(m, "a slot that was never used");
        return;
    }
    struct slot *s = mirror_slot(m, record.slot);
    bus_counts.dma_spoiled++;
    if ((int32_t)(record.generation - s->cleared) <= 0) // it has got its content again since
        return;
    if (!s->access) {
        mirror_drop_twin(s);
        return;
    }
    s->spoiled = m->spoiled = true;
    bus_attention(m->fn->guest);
}

static void fault(struct mirror *m, const void *body)
{
    struct remote_fn *fn = m->fn;
    struct guest_dma *dma = &fn->guest->dma;
    struct wire_dma_fault record;
    memcpy(&record, body, sizeof(record));
    bus_counts.dma_faults++;
    if (!m->told_fault)
        log_warn("bus",
                 REMOTE_FN_FORMAT ": DMA %s address 0x%llx was stopped, guest \"%s\" has not mapped it "
                                  "(reason %u at its remote; said once)",
                 REMOTE_FN_ARGS(fn), record.write ? "to" : "from", (unsigned long long)record.iova,
                 fn->guest->name, record.reason);
    m->told_fault = true;
    if (!dma->iommu || dma->fault_count == MIRROR_FAULTS)
        return;
    dma->faults[dma->fault_count++] = (struct mirror_fault){.iova = record.iova,
                                                            .source = remote_fn_source(fn),
                                                            .write = record.write != 0,
                                                            .reason = record.reason};
    bus_attention(fn->guest);
}

void mirror_record(struct remote_fn *fn, const struct wire_record *rec, const void *body, size_t size)
{
    struct mirror *m = fn->mirror;
    if (!m || m->state != MIRROR_ON) { // of a session before, or made up
        bus_counts.dma_stale++;
        return;
    }
    if (rec->type == REC_DMA_DATA)
        data(m, body, size);
    else if (rec->type == REC_DMA_SPOILED && size == sizeof(struct wire_dma_spoiled))
        spoiled(m, body);
    else if (rec->type == REC_DMA_FAULT && size == sizeof(struct wire_dma_fault))
        fault(m, body);
    else
        offence(m, "a record of the wrong size");
}

// --- the guest's CPU ---

/// Whatever waits for it. False: nothing of this function can be done now.
static bool catch_up(struct mirror *m, uint64_t until)
{
    mirror_settle(m);
    if (m->due) {
        m->due = false;
        mirror_reconcile(m, NULL, until);
    }
    if (m->state == MIRROR_ON && m->spoiled)
        mirror_mend(m, until);
    return m->state == MIRROR_ON;
}

#define MANY 64u

/// Marks the slots whose pages the guest wrote. Returns how many there are, the first of them in `found`.
/// When there is one, the guest is held, and if it ran meanwhile all are looked at again: what it wrote first
/// is never left behind what it wrote last.
static unsigned look_for_dirty(struct mirror *m, struct slot *found[MANY])
{
    struct guest_dma *dma = &m->fn->guest->dma;
    const struct bus_memory *memory = &dma->memory;
    unsigned count = 0;
    bool settle = false, held = false;
    struct slot *next, *s = slot_first(&m->readable);
    for (; s; s = next) {
        next = slot_next(&m->readable, s);
        if (s->watched && !s->dirty && s->note && !(*s->note & dma->note_mask))
            continue;
        if (!held) {
            held = true;
            if (hold(dma)) {
                next = slot_first(&m->readable);
                continue;
            }
        }
        if (!s->watched) {
            s->dirty = true;
        } else if (!s->dirty) {
            if (!memory->dirty(memory->ctx, s->gpa))
                continue;
            settle = true;
            mirror_touched(dma, s->gpa, NULL);
        }
        if (count < MANY)
            found[count] = s;
        count++;
    }
    if (settle)
        memory->settle(memory->ctx);
    return count;
}

/// False: the session is over.
static bool push(struct slot *s, uint64_t until)
{
    enum mirror_sent sent = mirror_push(s, until);
    if (sent == MIRROR_NO_TWIN)
        mirror_revoke(s, until);
    return sent != MIRROR_OVER;
}

void mirror_before(struct remote_fn *fn, uint64_t until)
{
    struct mirror *m = fn->mirror;
    if (!m || m->state == MIRROR_OFF)
        return;
    while (m->state == MIRROR_STARTING && time_ns() < until)
        transact_wait(NULL);
    if (m->state != MIRROR_ON || !catch_up(m, until))
        return;
    struct slot *found[MANY];
    unsigned count = look_for_dirty(m, found);
    if (count <= MANY) {
        for (unsigned i = 0; i < count; i++) {
            if (!push(found[i], until))
                return;
        }
        return;
    }
    struct slot *next, *s = slot_first(&m->readable);
    for (; s; s = next) {
        next = slot_next(&m->readable, s);
        until += MIRROR_PAGE_NS;
        if (s->dirty && !push(s, until))
            return;
    }
}

static void settle_all(struct bus_guest *guest)
{
    for (unsigned i = 0; i < assoc_count(); i++) {
        struct remote_fn *fn = assoc_get(i);
        if (fn->mirror && fn->guest == guest)
            mirror_settle(fn->mirror);
    }
}

void mirror_enter(struct bus_guest *guest)
{
    guest->dma.held = guest->dma.on;
}

void mirror_leave(struct bus_guest *guest)
{
    if (!guest->dma.held)
        return;
    guest->dma.held = false;
    settle_all(guest);
}

void mirror_collect(struct bus_guest *guest)
{
    if (!guest->dma.on)
        return;
    guest->dma.held = true;
    for (unsigned i = 0; i < assoc_count(); i++) {
        struct remote_fn *fn = assoc_get(i);
        struct mirror *m = fn->mirror;
        if (!m || fn->guest != guest || m->state != MIRROR_ON)
            continue;
        uint64_t until = time_ns() + ROUND_WAIT_NS;
        if (m->overran)
            (void)hold(&guest->dma); // its beginning is there
        while (m->overran && m->state == MIRROR_ON && time_ns() < until)
            transact_wait(NULL);
        if (m->due || m->spoiled) {
            (void)catch_up(m, LATER);
            if (fn->state == ASSOC_ATTACHED)
                link_flush(fn->remote->link);
        } else {
            mirror_settle(m);
        }
    }
    guest->dma.held = false;
}

void mirror_report_faults(struct bus_guest *guest)
{
    struct mirror_fault faults[MIRROR_FAULTS];
    if (!guest->dma.fault_count)
        return;
    net_lock();
    unsigned count = guest->dma.fault_count;
    memcpy(faults, guest->dma.faults, sizeof(faults));
    guest->dma.fault_count = 0;
    net_unlock();
    for (unsigned i = 0; i < count; i++)
        iommu_fault(guest->dma.iommu, faults[i].source, faults[i].iova, faults[i].write, faults[i].reason);
}

void bus_guest_mappings(struct bus_guest *guest, const struct iommu_scope *scope)
{
    net_lock();
    guest->dma.held = guest->dma.on;
    for (unsigned i = 0; i < assoc_count() && guest->dma.on; i++) {
        struct remote_fn *fn = assoc_get(i);
        struct mirror *m = fn->mirror;
        if (!m || fn->guest != guest || m->state != MIRROR_ON || m->due)
            continue;
        mirror_reconcile(m, scope, LATER);
        if (scope->kind != IOMMU_SCOPE_PAGES) { // that may have taken long
            net_unlock();
            net_lock();
        }
    }
    mirror_leave(guest);
    net_unlock();
}
