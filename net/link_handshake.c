// SPDX-License-Identifier: BSD-2-Clause
// Sessions: HELLO, HELLO_ACK, BYE; silence, freeze, grace period and the end of an epoch. docs/protocol.md,
// "Sessions". Must not know records. An epoch that ended never comes back: the host draws a new one, and an
// old HELLO is known by its attempt.
#include "net/link_node.h"
#include "rt/log.h"
#include "rt/time.h"

#include <string.h>

#define MS   1000000ull
#define ROOM "link"

#define PEER(ip) (ip) & 0xff, (ip) >> 8 & 0xff, (ip) >> 16 & 0xff, (ip) >> 24

#define HELLO_TRIES_QUIET 8u    // unanswered until a sentence is due: 3 s
#define ANNOUNCED_MS      1500u // so lately, a remote is there

struct framed_hello {
    struct wire_frame frame;
    struct wire_hello body;
} __attribute__((packed));
struct framed_hello_ack {
    struct wire_frame frame;
    struct wire_hello_ack body;
} __attribute__((packed));
struct framed_bye {
    struct wire_frame frame;
    struct wire_bye body;
} __attribute__((packed));

bool link_may_say(struct link_node *n, uint64_t now)
{
    return limit_take(&n->said, now, 250 * MS, 64);
}

static struct wire_frame header(enum wire_frame_type type, size_t size, uint32_t epoch)
{
    return (struct wire_frame){
        .magic = WIRE_MAGIC,
        .version = WIRE_VERSION,
        .type = (uint8_t)type,
        .length = (uint16_t)size,
        .epoch = epoch,
    };
}

/// Handshake frames are repeated by whoever waits for the answer: a loss here needs no care.
static void send_on(const struct carrier *carrier, struct carrier_path *path, const void *frame, size_t size)
{
    path->now = 0;
    enum status s = carrier->send(carrier->ctx, path, frame, size);
    if (s != OK)
        log_debug(ROOM, "handshake frame not sent: %s", status_name(s));
}

// --- host ---

#define ASK_MAX 6u
#define ASK_MS  2u // doubles

/// By the preferred carrier the first time, by both later. False: ask again soon.
static bool send_hello(struct link *l, const void *frame, size_t size, uint64_t now)
{
    const struct carrier *c = l->node->preferred;
    struct carrier_path path = {.peer = l->path.peer};
    enum status s = ERR_UNSUPPORTED;
    if (c != NULL) {
        c->open(c->ctx, &path);
        s = c->send(c->ctx, &path, frame, size);
    }
    if (s == ERR_NOTFOUND && l->hello_asked < ASK_MAX) {
        // A moment, so that the session is not on the other carrier for ever.
        l->hello_due = now + (ASK_MS << l->hello_asked++) * MS;
        return false;
    }
    if (s != OK || l->hello_tries != 0)
        send_on(l->carrier, &l->path, frame, size);
    return true;
}

/// False: it was not sent; hello_due says when it can be, if ever.
static bool send_sealed_hello(struct link *l, const struct wire_frame *plain, uint64_t now)
{
    enum status s = link_sealed_hello(l, plain);
    if (s != OK) {
        log_warn(ROOM, "no link to %s: %s", l->peer_node,
                 s == ERR_NOTFOUND ? "farbus.ini has no [peer] section with its public key"
                                   : "its public key is none");
        l->hello_due = NEVER;
        return false;
    }
    if (l->hello_tries == HELLO_TRIES_QUIET && l->announced != 0 && now - l->announced < ANNOUNCED_MS * MS)
        log_warn(
            ROOM,
            "%s (%u.%u.%u.%u) announces itself but does not answer: has each of the two the other's public "
            "key? Its console says what it refuses",
            l->peer_node, PEER(l->path.peer));
    return send_hello(l, l->hello.frame, l->hello.size, now);
}

void link_hello_repeat(struct link *l, uint64_t now)
{
    struct framed_hello f = {
        .frame = header(WIRE_HELLO, sizeof f, l->epoch),
        .body = {.boot_id = l->node->boot_id,
                 .attempt = l->attempt,
                 .version_min = WIRE_VERSION,
                 .version_max = WIRE_VERSION,
                 .frame_max = link_own_frame_max(l->node),
                 .capabilities = l->node->capabilities},
    };
    memcpy(f.body.node, l->node->name, sizeof f.body.node);
    memcpy(f.body.to, l->peer_node, sizeof f.body.to);
    if (l->node->keys == NULL ? !send_hello(l, &f, sizeof f, now) : !send_sealed_hello(l, &f.frame, now))
        return;
    l->last_sent = now;
    l->hello_tries++;
    l->hello_due = now + l->hello_interval;
    l->hello_interval *= 2;
    if (l->hello_interval > LINK_HELLO_MAX_MS * MS)
        l->hello_interval = LINK_HELLO_MAX_MS * MS;
}

static uint32_t new_epoch(struct link_node *n)
{
    uint32_t e;
    do
        e = (uint32_t)link_random(n);
    while (e == 0);
    return e;
}

void link_hello_start(struct link *l, uint64_t now, uint64_t delay)
{
    l->state = LINK_CONNECTING;
    link_use(l, l->node->carrier);
    link_reset(l, new_epoch(l->node), now);
    l->attempt = ++l->node->attempts;
    l->hello_interval = LINK_HELLO_MIN_MS * MS;
    l->hello_tries = l->hello_asked = 0;
    if (delay == 0)
        link_hello_repeat(l, now);
    else
        l->hello_due = now + delay;
    link_reschedule(l);
}

struct link *link_connecting(struct link_node *n, uint32_t peer, uint32_t epoch)
{
    for (unsigned i = 0; i < LINK_POOL; i++) {
        struct link *l = &n->links[i];
        if (l->host && l->state == LINK_CONNECTING && l->epoch == epoch && l->path.peer == peer)
            return l;
    }
    return NULL;
}

void link_hello_acked(struct link_node *n, const struct carrier *carrier, uint32_t peer,
                      const struct wire_frame *frame, uint64_t now)
{
    struct link *l = link_connecting(n, peer, frame->epoch);
    if (l == NULL)
        return; // a repetition of one that was taken
    const struct wire_hello_ack *b = (const struct wire_hello_ack *)(frame + 1);
    if (b->status != HELLO_OK) {
        n->stats.refused++;
        if (l->hello_failures++ == 0 && link_may_say(n, now))
            log_warn(ROOM, "%s (%u.%u.%u.%u) refuses the link: %s", l->peer_node, PEER(peer),
                     b->why[0] != 0 ? b->why : "no reason given");
        link_hello_start(l, now, LINK_REFUSED_MS * MS);
        return;
    }
    if (b->version != WIRE_VERSION || b->frame_max > link_own_frame_max(n) ||
        strncmp(b->node, l->peer_node, WIRE_NAME_MAX) != 0 || (b->capabilities & ~n->capabilities) != 0) {
        n->stats.malformed[WIRE_BAD_BODY]++;
        l->stats.malformed++;
        return;
    }
    link_use(l, carrier);
    l->peer_boot_id = b->boot_id;
    l->hello_failures = 0;
    l->hello_due = NEVER;
    l->state = LINK_UP;
    if (l->hello_tries == 1 && !l->sealed) // else it was the arithmetic that took the time
        link_measure(l, now - l->last_sent);
    l->last_heard = l->outstanding_since = now;
    link_agree(l, b->frame_max, b->capabilities);
    n->stats.opened++;
    if (link_may_say(n, now))
        log_info(ROOM, "up: %s at %u.%u.%u.%u, epoch %08x, frames of %u bytes, by %s", l->peer_node,
                 PEER(peer), l->epoch, l->frame_max, carrier->name);
    link_send_ack(l, now); // tells the remote that its answer arrived
    link_reschedule(l);
    l->in_callback++;
    l->events->up(l->ctx, l);
    l->in_callback--;
}

// --- remote ---

static void answer_hello(struct link_node *n, const struct carrier *carrier, struct carrier_path *path,
                         uint32_t epoch, enum wire_hello_status status, uint16_t frame_max,
                         uint32_t capabilities, const char *why)
{
    struct framed_hello_ack f = {
        .frame = header(WIRE_HELLO_ACK, sizeof f, epoch),
        .body = {.boot_id = n->boot_id,
                 .status = (uint8_t)status,
                 .version = WIRE_VERSION,
                 .frame_max = frame_max,
                 .capabilities = capabilities},
    };
    memcpy(f.body.node, n->name, sizeof f.body.node);
    wire_text_set(f.body.why, sizeof f.body.why, why);
    send_on(carrier, path, &f, sizeof f);
}

struct link *link_of_host(struct link_node *n, const char *host)
{
    for (unsigned i = 0; i < LINK_POOL; i++) {
        struct link *l = &n->links[i];
        if (!l->host && l->state != LINK_CLOSED && strncmp(l->peer_node, host, WIRE_NAME_MAX) == 0)
            return l;
    }
    return NULL;
}

static void hello(struct link_node *n, const struct carrier *carrier, uint32_t peer,
                  const struct wire_frame *frame, uint64_t now)
{
    if (n->accept == NULL)
        return; // not a remote
    n->stats.hellos++;
    const struct wire_hello *b = (const struct wire_hello *)(frame + 1);
    struct link *l = link_of_host(n, b->node);
    struct carrier_path path = {.peer = peer};
    carrier->open(carrier->ctx, &path);
    if (l != NULL && l->epoch == frame->epoch && l->path.peer == peer) { // our answer was lost, or both came
        answer_hello(n, carrier, &path, l->epoch, HELLO_OK, l->agreed, l->capabilities, "");
        return;
    }
    if (l != NULL && l->path.peer != peer && now < l->last_heard + LINK_KEEPALIVE_MS * 2 * MS) {
        n->stats.refused++;
        answer_hello(n, carrier, &path, frame->epoch, HELLO_REFUSED, 0, 0,
                     "a host of this name is connected from another address");
        return;
    }
    if (l != NULL && l->peer_boot_id == b->boot_id && (int32_t)(b->attempt - l->attempt) <= 0)
        return; // an old one that comes late
    if (b->version_min > WIRE_VERSION || b->version_max < WIRE_VERSION) {
        n->stats.refused++;
        answer_hello(n, carrier, &path, frame->epoch, HELLO_VERSION, 0, 0,
                     "this remote speaks protocol version 1 only");
        return;
    }
    if (strncmp(b->to, n->name, WIRE_NAME_MAX) != 0) {
        n->stats.refused++;
        answer_hello(n, carrier, &path, frame->epoch, HELLO_WRONG_NODE, 0, 0, "this is another node");
        return;
    }
    if (l != NULL) {
        link_bye(n, l, l->carrier, l->path.peer, l->epoch, BYE_REPLACED, "a newer session was opened");
        link_down(l, now, "the host opened a new session");
    }

    void *ctx = NULL;
    const char *why = "refused";
    l = link_take(n, carrier, n->listen_events, NULL, peer, b->node, false);
    if (l == NULL) {
        n->stats.refused++;
        answer_hello(n, carrier, &path, frame->epoch, HELLO_FULL, 0, 0,
                     "all links of this remote are in use");
        return;
    }
    if (n->accept(n->accept_arg, l->peer_node, peer, &ctx, &why) != OK) {
        link_give(l);
        n->stats.refused++;
        answer_hello(n, carrier, &path, frame->epoch, HELLO_REFUSED, 0, 0, why);
        return;
    }
    l->ctx = ctx;
    l->attempt = b->attempt;
    l->peer_boot_id = b->boot_id;
    l->state = LINK_UP;
    link_reset(l, frame->epoch, now);
    uint32_t capabilities = b->capabilities & n->capabilities;
    link_agree(l, link_answer_frame_max(n, b->frame_max, capabilities), capabilities);
    n->stats.opened++;
    if (link_may_say(n, now))
        log_info(ROOM, "up: host %s at %u.%u.%u.%u, epoch %08x, frames of %u bytes, by %s", l->peer_node,
                 PEER(peer), l->epoch, l->frame_max, carrier->name);
    answer_hello(n, carrier, &l->path, l->epoch, HELLO_OK, l->agreed, l->capabilities, "");
    link_reschedule(l);
    l->in_callback++;
    l->events->up(l->ctx, l);
    l->in_callback--;
}

// --- both ---

void link_bye(struct link_node *n, struct link *l, const struct carrier *carrier, uint32_t peer,
              uint32_t epoch, enum wire_bye_reason reason, const char *why)
{
    struct framed_bye f = {.frame = header(WIRE_BYE, sizeof f, epoch), .body = {.reason = (uint8_t)reason}};
    wire_text_set(f.body.why, sizeof f.body.why, why);
    if (n->keys != NULL) { // nothing is said to those who cannot know that it is true
        size_t size = sizeof f;
        const void *sealed = l != NULL && l->sealed ? link_seal(l, &f.frame, &size) : NULL;
        if (sealed != NULL)
            send_on(carrier, &l->path, sealed, size);
        return;
    }
    struct carrier_path path = {.peer = peer};
    if (l == NULL)
        carrier->open(carrier->ctx, &path);
    send_on(carrier, l != NULL ? &l->path : &path, &f, sizeof f);
}

static void end(struct link *l, uint64_t now, enum log_level level, const char *why);

void link_bye_input(struct link_node *n, uint32_t peer, const struct wire_frame *frame, uint64_t now)
{
    static const char *const reasons[BYE_REASON_COUNT] = {
        [BYE_CLOSED] = "closed by the peer",
        [BYE_UNKNOWN_EPOCH] = "the peer does not know this session (it has restarted)",
        [BYE_REPLACED] = "replaced by a newer session",
        [BYE_TIMEOUT] = "the peer gave up waiting",
        [BYE_REFUSED] = "refused",
    };
    const struct wire_bye *b = (const struct wire_bye *)(frame + 1);
    for (unsigned i = 0; i < LINK_POOL; i++) {
        struct link *l = &n->links[i];
        if (l->epoch != frame->epoch || l->path.peer != peer ||
            (l->state != LINK_UP && l->state != LINK_FROZEN))
            continue;
        if ((b->reason == BYE_CLOSED || b->reason == BYE_REFUSED) && link_may_say(n, now))
            log_info(ROOM, "%s says goodbye: %s", l->peer_node, b->why);
        // A host that needs nothing here any more says so, and nothing is wrong.
        end(l, now, b->reason == BYE_CLOSED && !l->host ? LOG_INFO : LOG_WARN, reasons[b->reason]);
        if (b->reason == BYE_REFUSED && l->host &&
            l->state == LINK_CONNECTING) { // as after a refusing HELLO_ACK
            l->hello_due = now + LINK_REFUSED_MS * MS;
            link_reschedule(l);
        }
        return;
    }
    n->stats.strangers++;
}

void link_handshake_input(struct link_node *n, const struct carrier *carrier, uint32_t peer,
                          const struct wire_frame *frame, uint64_t now)
{
    if (frame->type == WIRE_HELLO)
        hello(n, carrier, peer, frame, now);
    else if (frame->type == WIRE_HELLO_ACK)
        link_hello_acked(n, carrier, peer, frame, now);
    else
        link_bye_input(n, peer, frame, now);
}

static void end(struct link *l, uint64_t now, enum log_level level, const char *why)
{
    if (link_may_say(l->node, now))
        log_line(level, ROOM, "down: %s at %u.%u.%u.%u: %s", l->peer_node, PEER(l->path.peer), why);
    l->node->stats.downs++;
    if (l->host) {
        link_hello_start(l, now, LINK_HELLO_MIN_MS * MS);
        uint32_t incarnation = l->incarnation;
        l->in_callback++;
        l->events->down(l->ctx, l, why);
        l->in_callback--;
        if (l->incarnation != incarnation)
            return; // closed in the callback
        return;
    }
    const struct link_events *events = l->events;
    void *ctx = l->ctx;
    link_give(l);
    l->in_callback++;
    events->down(ctx, l, why);
    l->in_callback--;
}

void link_down(struct link *l, uint64_t now, const char *why)
{
    end(l, now, LOG_WARN, why);
}

void link_heard(struct link *l, uint64_t now)
{
    l->last_heard = now;
    if (l->state != LINK_FROZEN)
        return;
    l->state = LINK_UP;
    if (link_may_say(l->node, now))
        log_info(ROOM, "%s answers again", l->peer_node);
    l->in_callback++;
    l->events->resumed(l->ctx, l);
    l->in_callback--;
}

uint64_t link_silence_due(const struct link *l)
{
    if (!l->host || l->una == l->nxt)
        return l->last_heard + LINK_SILENCE_MS * MS;
    return (l->last_heard > l->outstanding_since ? l->last_heard : l->outstanding_since) +
           LINK_SILENCE_WAITING_MS * MS;
}

/// Silence: time to repeat HELLO, to freeze, to give up?
void link_watch(struct link *l, uint64_t now)
{
    if (l->state == LINK_CONNECTING) {
        if (now >= l->hello_due) {
            link_hello_repeat(l, now);
            link_reschedule(l);
        }
        return;
    }
    if (l->sealed && seal_worn(&l->seal)) {
        link_bye(l->node, l, l->carrier, l->path.peer, l->epoch, BYE_TIMEOUT, "its keys are used up");
        link_down(l, now, "its keys are used up");
        return;
    }
    if (l->state == LINK_FROZEN) {
        if (now >= l->frozen_at + LINK_GRACE_MS * MS) {
            link_bye(l->node, l, l->carrier, l->path.peer, l->epoch, BYE_TIMEOUT,
                     "silent for longer than the grace period");
            link_down(l, now, "silent for longer than the grace period");
        }
        return;
    }
    if (now < link_silence_due(l))
        return;
    l->state = LINK_FROZEN;
    l->frozen_at = now;
    if (link_may_say(l->node, now))
        log_warn(ROOM, "%s is silent: frozen, grace period of %u ms runs", l->peer_node, LINK_GRACE_MS);
    l->in_callback++;
    l->events->frozen(l->ctx, l);
    l->in_callback--;
}
