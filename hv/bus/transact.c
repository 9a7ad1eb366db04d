// SPDX-License-Identifier: BSD-2-Clause
// Transactions: a guest's access becomes a record, waits for its completion where PCIe waits (PCIe
// Base 4.0, 2.2 and 2.4), and ends well or as all-ones. Must not know BARs of the guest or the association
// table beyond "attached". Invariant: a completion is believed only if its tag (with generation), its
// function and its size are those of a request in flight; all else a remote sends is dropped and counted. A
// waiting CPU always gets an answer: the completion, the end of the link's epoch, or the timeout.
#include "hv/bus/remote.h"
#include "net/stack.h"
#include "rt/log.h"
#include "rt/time.h"
#include "rt/trace.h"
#include <string.h>

#define CALL_INTERVAL_NS 100000u // between calls of all who wait for room and credit

struct bus_counters bus_counts;
static const struct bus_waits *waits;
static unsigned away;         // who waits and does not look
static unsigned away_stalled; // of these: for other things than a completion

void bus_set_waits(const struct bus_waits *how)
{
    waits = how;
}

void bus_polled(unsigned frames)
{
    static uint64_t next_ns;
    static bool owed;
    if (away)
        frames += net_interrupt(); // the CPU that polls may be in a guest when the next one comes
    owed = away_stalled && (owed || frames);
    if (!owed || time_ns() < next_ns)
        return;
    owed = false;
    next_ns = time_ns() + CALL_INTERVAL_NS;
    waits->wake(NULL);
}

static uint64_t ones(unsigned size)
{
    return size >= 8 ? ~0ull : (1ull << size * 8) - 1;
}
static uint64_t deadline(void)
{
    return time_ns() + BUS_COMPLETION_TIMEOUT_MS * 1000000ull;
}

/// The lock is given away when nothing came, and now and then when a LAN never falls silent.
void transact_wait(struct transaction *t)
{
    static unsigned steps;
    uint64_t began = time_ns();
    unsigned frames = net_poll();
    if (frames) {
        bus_polled(frames);
        if (++steps % 16 != 0 || (t && t->done))
            return;
    }
    void *who = waits && waits->who ? waits->who() : NULL;
    if (t)
        t->who = who;
    if (who) {
        away++, away_stalled += !t;
        if (net_interrupt())
            waits->wake(who);
    }
    net_unlock();
    if (waits && waits->wait)
        waits->wait(who);
    __builtin_ia32_pause();
    net_lock();
    if (t)
        t->who = NULL;
    if (who)
        away--, away_stalled -= !t;
    else
        bus_counts.waited_ns += time_ns() - began;
}

// --- tags ---

static struct transaction *take_tag(struct remote *remote)
{
    for (unsigned i = 0; i < TAGS; i++) {
        uint16_t tag = remote->next_tag++;
        struct transaction *t = &remote->tags[tag % TAGS];
        if (t->busy)
            continue;
        *t = (struct transaction){.busy = true, .tag = tag};
        return t;
    }
    return NULL;
}

/// Ends it: wakes who waits, or tells who wanted to hear.
static void finish(struct transaction *t, const struct wire_record *rec, const void *body, size_t size)
{
    if (!t->then) {
        t->answered = rec != NULL;
        t->status = rec ? rec->status : 0;
        t->done = true; // the waiting CPU gives the tag back
        if (t->who)
            waits->wake(t->who);
        return;
    }
    transaction_done *then = t->then;
    struct remote_fn *fn = t->fn;
    uint16_t arg = t->arg;
    t->busy = false; // `then` may need it
    then(fn, arg, rec, body, size);
}

void transact_abort(struct remote *remote)
{
    memset(remote->owed, 0, sizeof(remote->owed)); // of the epoch that is over
    for (unsigned i = 0; i < TAGS; i++) {
        struct transaction *t = &remote->tags[i];
        if (t->orphan)
            t->busy = t->orphan = false;
        else if (t->busy && !t->done)
            finish(t, NULL, NULL, 0);
    }
    remote->given_up = remote->offences = 0; // nothing of that epoch comes any more
}

static unsigned orphans(const struct remote *remote)
{
    unsigned n = 0;
    for (unsigned i = 0; i < TAGS; i++)
        n += remote->tags[i].orphan;
    return n;
}

void transact_forget(struct remote_fn *fn)
{
    for (unsigned i = 0; i < TAGS; i++) {
        struct transaction *t = &fn->remote->tags[i];
        if (!t->busy || !t->then || t->orphan || t->fn != fn)
            continue;
        // A remote that never answers does not get all tags.
        t->orphan = t->type == REC_ATTACH && orphans(fn->remote) < TAGS / 4;
        t->busy = t->orphan;
        fn->remote->given_up += !t->busy;
        t->at = fn->at;
        t->since = time_ns();
    }
}

bool transact_orphaned(const struct remote *remote, const struct boot_pci_address *at, uint64_t oldest_ns)
{
    for (unsigned i = 0; i < TAGS; i++) {
        const struct transaction *t = &remote->tags[i];
        if (t->orphan && (int64_t)(t->since - oldest_ns) >= 0 && t->at.segment == at->segment &&
            t->at.bus == at->bus && t->at.devfn == at->devfn)
            return true;
    }
    return false;
}

// --- what comes from the remote ---

struct remote_fn *transact_by_handle(const struct remote *remote, uint16_t handle)
{
    for (unsigned i = 0; i < assoc_count(); i++) {
        struct remote_fn *fn = assoc_get(i);
        if (fn->remote == remote && fn->state == ASSOC_ATTACHED && fn->handle == handle)
            return fn;
    }
    return NULL;
}

/// A record that no remote sends which keeps to docs/protocol.md. Who goes on with them is cut off.
static void offence(struct remote *remote, const char *what)
{
    bus_counts.malformed++;
    if (++remote->offences != REMOTE_OFFENCES_MAX)
        return;
    log_error("bus", "remote \"%s\" breaks the rules (%s): the link is cut off", remote->node, what);
    link_cut(remote->link, "the remote breaks the rules");
}

static void completion(struct remote *remote, const struct wire_record *rec, const void *body, size_t size)
{
    struct transaction *t = &remote->tags[rec->tag % TAGS];
    if (!t->busy || t->done || t->tag != rec->tag) {
        if (!remote->given_up) {
            offence(remote, "a completion of no request");
            return;
        }
        remote->given_up--; // it is late
        bus_counts.unexpected++;
        return;
    }
    // A completion names the function of its request, or none (docs/protocol.md); ATTACH's names the new
    // handle.
    if (t->type != REC_ATTACH && rec->function != 0 && rec->function != t->function) {
        offence(remote, "a completion that names another function");
        return;
    }
    trace(TRACE_COMPLETION, rec->status);
    bus_counts.completions++;
    if (t->orphan) {
        t->busy = t->orphan = false;
        if (transact_by_handle(remote, rec->function))
            offence(remote, "a handle that is another's");
        else
            attach_orphan(remote, rec, size);
        return;
    }
    if (t->then) {
        finish(t, rec, body, size);
        return;
    }
    bool carries_data = rec->type == REC_CPLD && rec->status == CPL_SC;
    if (carries_data ? size != t->want
                     : rec->status == CPL_SC && t->want != 0) { // successful, but not what was asked for
        finish(t, NULL, NULL, 0);
        offence(remote, "a completion of another size");
        return;
    }
    if (carries_data)
        memcpy(&t->value, body, size); // size == want <= 8
    finish(t, rec, NULL, 0);
}

static void credit(struct remote_fn *fn, const void *body)
{
    struct wire_credit c;
    memcpy(&c, body, sizeof(c));
    bool too_many = c.count > fn->credits_granted - fn->credits;
    fn->credits = too_many ? fn->credits_granted : (uint16_t)(fn->credits + c.count);
    fn->stalled = false;
    if (too_many)
        offence(fn->remote, "more credits than were spent");
}

void transact_record(struct remote *remote, const struct wire_record *rec, const void *body, size_t size)
{
    if (rec->type == REC_CPL || rec->type == REC_CPLD) {
        completion(remote, rec, body, size);
        return;
    }
    struct remote_fn *fn = transact_by_handle(remote, rec->function);
    if (!fn) {
        bus_counts.unexpected++;
        return;
    }
    switch (rec->type) {
    case REC_CREDIT:
        if (size == sizeof(struct wire_credit))
            credit(fn, body);
        else
            offence(remote, "credits of the wrong size");
        return;
    case REC_INTX:
    case REC_MSI:
        interrupts_record(fn, rec, body, size);
        return;
    case REC_ERROR:
        bus_counts.errors++;
        return;
    case REC_DMA_DATA:
    case REC_DMA_SPOILED:
    case REC_DMA_FAULT:
        mirror_record(fn, rec, body, size);
        return;
    case REC_GONE:
        interrupts_lost(fn);
        mirror_forget(fn);
        assoc_set(fn, ASSOC_LOST, "its remote says that it is gone");
        return;
    default:
        offence(remote, "a record that only hosts send");
        return;
    }
}

// --- what goes to the remote ---

/// The record with its bytes; `data` of writes follows the access.
struct request {
    uint8_t type;
    struct wire_access access;
    uint64_t data;
    uint16_t data_size;
    const void *body; // in place of `access`: control records, and those of the mirror
    uint16_t body_size;
    const void *more; // in place of `data`
    uint32_t session; // the mirror's
};

static struct request request_of(enum wire_record_type type, unsigned bar, uint64_t offset, unsigned size)
{
    return (struct request){.type = (uint8_t)type,
                            .access = {.bar = (uint8_t)bar,
                                       .size = (uint16_t)size,
                                       .offset_high = (uint32_t)(offset >> 32),
                                       .offset = (uint32_t)offset}};
}

/// Queues one record, waiting for room until `until`. tag NULL: posted. False: not queued, or no longer
/// attached.
static bool queue(struct remote_fn *fn, const struct request *q, struct transaction *t, uint64_t until)
{
    bool has_access = q->type <= REC_MWR, stalled = false;
    for (;;) {
        if (fn->state !=
            ASSOC_ATTACHED) // also after waiting: the link may have gone, and come back with another handle
            return false;
        if (q->more && fn->mirror->session != q->session)
            return false;
        struct wire_record rec = {.type = q->type, .function = fn->handle, .tag = t ? t->tag : 0};
        if (t)
            t->function = fn->handle;
        enum status s = link_send(fn->remote->link, &rec, has_access ? &q->access : q->body,
                                  has_access ? sizeof(q->access) : q->body_size, q->more ? q->more : &q->data,
                                  q->data_size);
        if (s == OK) {
            trace(TRACE_REQUEST, q->type);
            if (has_access)
                bus_counts.requests[q->type]++;
            else
                bus_counts.control += q->more == NULL;
            return true;
        }
        if (s != ERR_BUSY || time_ns() >= until)
            return false;
        bus_counts.queue_stalls += !stalled;
        stalled = true;
        link_flush(fn->remote->link);
        transact_wait(NULL);
    }
}

enum outcome { OUTCOME_OK, OUTCOME_RETRY, OUTCOME_FAILED };

/// One non-posted request, to its end. Lock held.
static enum outcome exchange(struct remote_fn *fn, const struct request *q, uint16_t want, uint64_t until,
                             uint64_t *value)
{
    struct remote *remote = fn->remote;
    struct transaction *t = take_tag(remote);
    while (!t) {
        if (fn->state != ASSOC_ATTACHED || time_ns() >= until)
            return OUTCOME_FAILED;
        transact_wait(NULL);
        t = take_tag(remote);
    }
    t->type = q->type;
    t->want = want;
    if (!queue(fn, q, t, until)) {
        t->busy = false;
        return OUTCOME_FAILED;
    }
    link_flush(remote->link);
    while (!t->done) {
        transact_wait(t);
        if (!t->done && time_ns() >= until) {
            bus_counts.timeouts++;
            t->busy = false;
            remote->given_up++;
            return OUTCOME_FAILED;
        }
    }
    t->busy = false;
    if (!t->answered) {
        bus_counts.link_lost++;
        return OUTCOME_FAILED;
    }
    switch (t->status) {
    case CPL_SC:
        *value = t->value;
        return OUTCOME_OK;
    case CPL_CRS:
        return OUTCOME_RETRY;
    default:
        bus_counts.unsupported++;
        return OUTCOME_FAILED;
    }
}

/// As exchange; asks again as long as the remote says "configuration request retry" (2.3.1: what a root
/// complex does).
static bool perform(struct remote_fn *fn, const struct request *q, uint16_t want, uint64_t *value)
{
    uint64_t until = deadline();
    for (;;) {
        switch (exchange(fn, q, want, until, value)) {
        case OUTCOME_OK:
            return true;
        case OUTCOME_FAILED:
            return false;
        case OUTCOME_RETRY:
            bus_counts.retried++;
            if (time_ns() >= until)
                return false;
            transact_wait(NULL);
            break;
        }
    }
}

/// May an access of the guest go to it? Waits for a reset that is under way.
static bool answers(const struct remote_fn *fn)
{
    if (__builtin_expect(fn->resetting, false))
        for (uint64_t until = deadline(); remote_fn_answers(fn) && fn->resetting && time_ns() < until;)
            transact_wait(NULL);
    if (remote_fn_answers(fn) && !fn->resetting)
        return true;
    bus_counts.absent++;
    return false;
}

/// Before an access: memory first.
static bool begin(struct remote_fn *fn)
{
    if (!answers(fn))
        return false;
    if (!fn->mirror)
        return true;
    mirror_enter(fn->guest);
    if (fn->mirror->state == MIRROR_OFF)
        return true;
    mirror_before(fn, deadline());
    return remote_fn_answers(fn);
}

uint64_t transact_read(struct remote_fn *fn, enum wire_record_type type, unsigned bar, uint64_t offset,
                       unsigned size)
{
    struct request q = request_of(type, bar, offset, size);
    uint64_t value = 0;
    net_lock();
    if (!begin(fn) || !perform(fn, &q, (uint16_t)size, &value)) {
        bus_counts.all_ones++;
        value = ones(size);
    }
    mirror_leave(fn->guest);
    net_unlock();
    return value;
}

/// True when the function may have one more posted write in flight.
static bool take_credit(struct remote_fn *fn, uint64_t until)
{
    bool waited = false;
    while (fn->state == ASSOC_ATTACHED && fn->credits == 0) {
        if (fn->stalled)
            return false;
        if (time_ns() >= until) {
            fn->stalled = true;
            log_warn("bus",
                     REMOTE_FN_FORMAT ": the remote gives no credit; posted writes are dropped until it does",
                     REMOTE_FN_ARGS(fn));
            return false;
        }
        bus_counts.credit_stalls += !waited;
        waited = true;
        link_flush(fn->remote->link);
        transact_wait(NULL);
    }
    if (fn->state != ASSOC_ATTACHED)
        return false;
    fn->credits--;
    return true;
}

static void post(struct remote_fn *fn, const struct request *q)
{
    uint64_t until = fn->credits ? 0 : deadline();
    if (!take_credit(fn, until)) {
        bus_counts.posted_dropped++;
        return;
    }
    if (!queue(fn, q, NULL, until ? until : deadline())) {
        if (fn->state == ASSOC_ATTACHED && fn->credits < fn->credits_granted)
            fn->credits++;
        bus_counts.posted_dropped++;
        return;
    }
    link_flush(fn->remote->link);
}

void transact_write(struct remote_fn *fn, enum wire_record_type type, unsigned bar, uint64_t offset,
                    unsigned size, uint64_t value)
{
    struct request q = request_of(type, bar, offset, size);
    uint64_t ignored = 0;
    q.data = value;
    q.data_size = (uint16_t)size;
    net_lock();
    if (begin(fn)) {
        if (type == REC_MWR)
            post(fn, &q);
        else
            (void)perform(fn, &q, 0, &ignored);
    }
    mirror_leave(fn->guest);
    net_unlock();
}

bool transact_control(struct remote_fn *fn, enum wire_record_type type, const void *body, size_t size)
{
    struct request q = {.type = (uint8_t)type, .body = body, .body_size = (uint16_t)size};
    uint64_t ignored = 0;
    net_lock();
    bool done = fn->state == ASSOC_ATTACHED && perform(fn, &q, 0, &ignored);
    net_unlock();
    return done;
}

bool transact_post(struct remote_fn *fn, enum wire_record_type type, const void *body, size_t body_size,
                   const void *data, size_t data_size, uint64_t until)
{
    const struct request q = {.type = (uint8_t)type,
                              .body = body,
                              .body_size = (uint16_t)body_size,
                              .more = data ? data : body,
                              .data_size = (uint16_t)data_size,
                              .session = fn->mirror->session};
    return queue(fn, &q, NULL, until);
}

bool transact_reset(struct remote_fn *fn)
{
    return transact_control(fn, REC_RESET, NULL, 0);
}

bool transact_begin(struct remote_fn *fn, enum wire_record_type type, transaction_done *then)
{
    struct request q = {.type = (uint8_t)type};
    uint64_t until = deadline();
    net_lock();
    struct transaction *t = take_tag(fn->remote);
    while (!t && fn->state == ASSOC_ATTACHED && time_ns() < until) {
        transact_wait(NULL);
        t = take_tag(fn->remote);
    }
    bool sent = false;
    if (t) {
        t->type = q.type;
        sent = queue(fn, &q, t, until) && !t->done;
        t->busy = sent;
        t->then = then;
        t->fn = fn;
    }
    if (sent)
        link_flush(fn->remote->link);
    net_unlock();
    return sent;
}

static void nobody_waits(struct remote_fn *fn, uint16_t arg, const struct wire_record *rec, const void *body,
                         size_t size)
{
    (void)fn, (void)arg, (void)rec, (void)body, (void)size;
}

bool transact_detach(struct remote *remote, uint16_t handle)
{
    struct transaction *t = take_tag(remote);
    if (!t)
        return false;
    const struct wire_record rec = {.type = REC_DETACH, .function = handle, .tag = t->tag};
    t->type = rec.type;
    t->function = handle;
    t->then = nobody_waits;
    t->busy = link_send(remote->link, &rec, NULL, 0, NULL, 0) == OK;
    bus_counts.control += t->busy;
    return t->busy;
}

bool transact_async(struct remote_fn *fn, enum wire_record_type type, const void *body, size_t body_size,
                    const void *data, size_t data_size, transaction_done *then, uint16_t arg)
{
    struct remote *remote = fn->remote;
    struct transaction *t = take_tag(remote);
    if (!t)
        return false;
    struct wire_record rec = {
        .type = (uint8_t)type, .function = type == REC_ATTACH ? 0 : fn->handle, .tag = t->tag};
    t->type = rec.type;
    t->function = rec.function;
    t->then = then;
    t->fn = fn;
    t->arg = arg;
    if (link_send(remote->link, &rec, body, body_size, data, data_size) != OK) {
        t->busy = false;
        return false;
    }
    trace(TRACE_REQUEST, rec.type);
    bus_counts.control++;
    return true;
}
