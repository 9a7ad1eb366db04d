// SPDX-License-Identifier: BSD-2-Clause
// The link's outside: the pool, what users call, frames coming in, timers. See net/link_node.h for the other
// files. Must not know guests, PCI or what a record means. The invariant: a frame that was not checked by
// net/wire.c touches nothing, and a frame of another epoch than the link's touches no state.
#include "net/link_node.h"
#include "rt/log.h"
#include "rt/time.h"

#include <string.h>

static struct link_node *node;

void link_start(struct link_node *memory, const char *name, uint32_t boot_id, uint64_t seed,
                const struct carrier *carrier)
{
    node = memory;
    wire_text_set(node->name, sizeof node->name, name);
    node->boot_id = boot_id;
    node->random = seed;
    node->carrier = carrier;
    node->due = NEVER;
    node->frame_bytes = node->stride = LINK_FRAME_BYTES;
    node->frames = node->small[0][0];
}

struct link_node *link_selected(void)
{
    return node;
}

void link_prefer(const struct carrier *carrier)
{
    node->preferred = carrier;
}

void link_select(struct link_node *selected)
{
    node = selected;
}

void link_use_keys(const struct node_keys *keys)
{
    node->keys = keys;
    node->capabilities &= ~WIRE_CAP_AESGCM;
    node->capabilities |= keys != NULL && crypto_has_aes() ? WIRE_CAP_AESGCM : 0;
}

const struct node_keys *link_keys(void)
{
    return node->keys;
}

void link_set_boot_id(uint32_t boot_id)
{
    node->boot_id = boot_id;
}

uint32_t link_boot_id(void)
{
    return node->boot_id;
}

struct link_node_stats link_node_stats(void)
{
    return node != NULL ? node->stats : (struct link_node_stats){0};
}

void link_count_fault(enum wire_fault fault)
{
    node->stats.malformed[fault]++;
}

void link_count_forged(void)
{
    node->stats.forged++;
}

void link_count_replayed(void)
{
    node->stats.replayed++;
}

void link_count_limited(void)
{
    node->stats.limited++;
}

/// SplitMix64 (Steele, Lea, Flood 2014). Epochs need to differ, not to be secret.
uint64_t link_random(struct link_node *n)
{
    uint64_t z = n->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

// --- pool ---

struct link *link_take(struct link_node *n, const struct carrier *carrier, const struct link_events *events,
                       void *ctx, uint32_t peer, const char *peer_node, bool host)
{
    for (unsigned i = 0; i < LINK_POOL; i++) {
        struct link *l = &n->links[i];
        if (l->state != LINK_CLOSED || l->in_callback != 0)
            continue;
        uint32_t incarnation = l->incarnation;
        memset(l, 0, offsetof(struct link, tx));
        l->incarnation = incarnation + 1;
        l->node = n;
        l->frames = n->frames + i * LINK_FRAMES * n->stride;
        l->stride = (uint32_t)n->stride;
        l->events = events;
        l->ctx = ctx;
        l->carrier = carrier;
        l->host = host;
        l->path.peer = peer;
        wire_text_set(l->peer_node, sizeof l->peer_node, peer_node);
        l->hello_due = l->due = NEVER;
        l->carrier->open(l->carrier->ctx, &l->path);
        return l;
    }
    return NULL;
}

void link_use(struct link *l, const struct carrier *carrier)
{
    if (l->carrier == carrier)
        return;
    l->carrier = carrier;
    l->path = (struct carrier_path){.peer = l->path.peer};
    carrier->open(carrier->ctx, &l->path);
}

void link_give(struct link *l)
{
    l->incarnation++;
    l->state = LINK_CLOSED;
    l->epoch = 0;
    link_forget_keys(l);
    l->due = NEVER;
}

// --- what users call ---

enum status link_connect(uint32_t peer, const char *peer_node, const struct link_events *events, void *ctx,
                         struct link **out)
{
    struct link *l = link_take(node, node->carrier, events, ctx, peer, peer_node, true);
    if (l == NULL)
        return ERR_NOMEM;
    l->state = LINK_CONNECTING;
    *out = l;
    link_hello_start(l, time_ns(), 0);
    return OK;
}

/// Heard two keepalives ago or later: it has neither moved nor restarted, whoever says so.
static bool is_alive(const struct link *l, uint64_t now)
{
    return l->state == LINK_UP && now < l->last_heard + LINK_KEEPALIVE_MS * 2 * 1000000ull;
}

bool link_set_peer(struct link *l, uint32_t peer)
{
    if (l->path.peer == peer)
        return true;
    if (is_alive(l, time_ns()))
        return false;
    memset(&l->path, 0, sizeof l->path);
    l->path.peer = peer;
    l->carrier->open(l->carrier->ctx, &l->path);
    return true;
}

void link_listen(const struct link_events *events,
                 enum status (*accept)(void *arg, const char *host_node, uint32_t peer, void **ctx,
                                       const char **why),
                 void *arg)
{
    node->listen_events = events;
    node->accept = accept;
    node->accept_arg = arg;
}

void link_close(struct link *l, const char *why)
{
    if (l->state == LINK_CLOSED)
        return;
    if (l->state != LINK_CONNECTING)
        link_bye(l->node, l, l->carrier, l->path.peer, l->epoch, BYE_CLOSED, why);
    link_give(l);
}

void link_flush(struct link *l)
{
    if (l->state != LINK_UP && l->state != LINK_FROZEN)
        return;
    l->flush = true;
    uint64_t now = time_ns();
    link_pump(l, now);
    link_reschedule(l);
}

size_t link_room_max(const struct link *l)
{
    bool open = l->state == LINK_UP || l->state == LINK_FROZEN;
    return open ? l->frame_max - sizeof(struct wire_frame) - sizeof(struct wire_record) : 0;
}

size_t link_room(const struct link *l)
{
    bool open = l->state == LINK_UP || l->state == LINK_FROZEN;
    size_t used = l->open_size + sizeof(struct wire_record);
    return open && used < l->frame_max ? l->frame_max - used : 0;
}

void link_cut(struct link *l, const char *why)
{
    if (l->state != LINK_UP && l->state != LINK_FROZEN)
        return;
    link_bye(l->node, l, l->carrier, l->path.peer, l->epoch, BYE_CLOSED, why);
    link_down(l, time_ns(), why);
    link_reschedule(l);
}

enum link_state link_state(const struct link *l)
{
    return l->state;
}

const char *link_peer_node(const struct link *l)
{
    return l->peer_node;
}

const char *link_carrier(const struct link *l)
{
    return l->carrier->name;
}

struct link_stats link_stats(const struct link *l)
{
    struct link_stats s = l->stats;
    s.srtt_ns = l->srtt;
    s.rto_ns = l->rto;
    return s;
}

void link_peer_announced(const char *name, uint32_t peer, uint32_t boot_id)
{
    uint64_t now = time_ns();
    for (unsigned i = 0; i < LINK_POOL; i++) {
        struct link *l = &node->links[i];
        if (!l->host || l->state == LINK_CLOSED || strncmp(l->peer_node, name, WIRE_NAME_MAX) != 0)
            continue;
        l->announced = now;
        if (l->state != LINK_CONNECTING) {
            if (l->peer_boot_id != boot_id && !is_alive(l, now))
                link_down(l, now, "the remote has restarted");
        } else if (l->path.peer == peer && l->hello_failures == 0 &&
                   now >= l->last_sent + LINK_HELLO_MIN_MS * 1000000ull) {
            link_hello_repeat(l, now);
            link_reschedule(l);
        }
    }
}

struct link *link_get(unsigned n)
{
    for (unsigned i = 0; node != NULL && i < LINK_POOL; i++)
        if (node->links[i].state != LINK_CLOSED && n-- == 0)
            return &node->links[i];
    return NULL;
}

// --- frames in ---

/// Few links: a walk is cheaper than a table.
struct link *link_find(struct link_node *n, uint32_t peer, uint32_t epoch)
{
    for (unsigned i = 0; i < LINK_POOL; i++) {
        struct link *l = &n->links[i];
        if (l->epoch == epoch && l->state != LINK_CLOSED && l->path.peer == peer)
            return l;
    }
    return NULL;
}

static void stranger(const struct carrier *carrier, uint32_t peer, uint32_t epoch, uint64_t now)
{
    node->stats.strangers++;
    for (unsigned i = 0; i < LINK_POOL; i++)
        if (node->links[i].path.peer == peer && node->links[i].state != LINK_CLOSED)
            node->links[i].stats.stale_epoch++;
    if (now < node->bye_due)
        return;
    node->bye_due = now + 10 * 1000000ull; // a flood of old frames is not answered with a flood
    link_bye(node, NULL, carrier, peer, epoch, BYE_UNKNOWN_EPOCH, "no such session here");
}

void link_input(const struct carrier *carrier, uint32_t peer, const void *bytes, size_t size)
{
    uint64_t now = time_ns();
    if (node->keys != NULL) {
        link_sealed_input(node, carrier, peer, bytes, size, now);
        return;
    }
    const struct wire_frame *frame = bytes;
    enum wire_fault fault = size > node->frame_bytes ? WIRE_BAD_SIZE : wire_check_frame(bytes, size);
    if (fault == WIRE_FINE && frame->type == WIRE_ANNOUNCE)
        fault = WIRE_BAD_TYPE;
    if (fault != WIRE_FINE) {
        node->stats.malformed[fault]++;
        return;
    }
    if (frame->type != WIRE_DATA && frame->type != WIRE_ACK && frame->type != WIRE_PROBE) {
        link_handshake_input(node, carrier, peer, frame, now);
        return;
    }

    struct link *l = link_find(node, peer, frame->epoch);
    if (l == NULL)
        stranger(carrier, peer, frame->epoch, now);
    else if (frame->type == WIRE_PROBE)
        link_probe_input(l, frame, size, now);
    else
        link_frame_input(l, carrier, frame, size, now);
}

void link_frame_input(struct link *l, const struct carrier *carrier, const struct wire_frame *frame,
                      size_t size, uint64_t now)
{
    if (l->state == LINK_CONNECTING)
        return; // HELLO_ACK was lost; it will be repeated, and so will this
    uint32_t newest = frame->sack == 0 ? frame->ack : frame->ack + 33 - (uint32_t)__builtin_clz(frame->sack);
    if ((int32_t)(newest - l->nxt) >= 0 ||
        (int32_t)(frame->ack - l->nxt) >= 0) { // acknowledges what was never sent
        node->stats.malformed[WIRE_BAD_HEADER]++;
        l->stats.malformed++;
        return;
    }
    if (frame->type == WIRE_DATA) {
        enum wire_fault fault = link_frame_too_large(l, size)
                                    ? WIRE_BAD_SIZE
                                    : wire_check_records(frame + 1, size - sizeof *frame,
                                                         l->host ? WIRE_TO_HOST : WIRE_TO_REMOTE);
        if (fault != WIRE_FINE) {
            node->stats.malformed[fault]++;
            l->stats.malformed++;
            return;
        }
    }
    l->stats.frames_received++;
    l->stats.bytes_received += size;
    if (size > l->frame_max)
        link_frames_proven(l); // the peer knows, and said so in a frame that was lost
    if (!l->host)
        link_use(l, carrier); // the host chooses
    uint32_t incarnation = l->incarnation;
    link_heard(l, now);
    if (l->incarnation != incarnation)
        return;
    link_acknowledged(l, frame, now);
    if (frame->type == WIRE_DATA)
        link_data_input(l, frame, now);
    else
        link_deliver_waiting(l, now);
    if (l->incarnation != incarnation)
        return;
    if (l->open_size > sizeof *frame)
        l->flush = true;
    link_pump(l, now);
    if (l->ack_now)
        link_send_ack(l, now);
    link_reschedule(l);
}

// --- timers ---

static inline uint64_t min64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void link_reschedule(struct link *l)
{
    uint64_t due;
    if (l->state == LINK_CONNECTING) {
        due = l->hello_due;
    } else if (l->carrier_busy) {
        due = 0;
    } else {
        due = min64(min64(l->rto_due, l->rack_due), min64(l->ack_due, l->probe_due));
        due = min64(due, l->last_sent + LINK_KEEPALIVE_MS * 1000000ull);
        due = min64(due, l->state == LINK_FROZEN ? l->frozen_at + LINK_GRACE_MS * 1000000ull
                                                 : link_silence_due(l));
    }
    l->due = due;
    if (due < l->node->due)
        l->node->due = due;
}

uint64_t link_next(void)
{
    return node->due;
}

static void run(struct link *l, uint64_t now)
{
    uint32_t incarnation = l->incarnation;
    link_watch(l, now);
    if (l->incarnation != incarnation || l->state == LINK_CONNECTING || l->state == LINK_CLOSED)
        return;
    l->carrier_busy = false; // found out anew
    link_retransmit_due(l, now);
    if (l->incarnation != incarnation)
        return;
    link_pump(l, now);
    link_probe(l, now);
    if (now >= l->ack_due || now >= l->last_sent + LINK_KEEPALIVE_MS * 1000000ull)
        link_send_ack(l, now);
    link_reschedule(l);
}

void link_poll(uint64_t now)
{
    if (now < node->due)
        return;
    node->due = NEVER;
    for (unsigned i = 0; i < LINK_POOL; i++) {
        struct link *l = &node->links[i];
        if (l->state == LINK_CLOSED)
            continue;
        if (now >= l->due)
            run(l, now);
        if (l->state != LINK_CLOSED)
            node->due = min64(node->due, l->due);
    }
    if (node->keys != NULL)
        link_forget_pending(node, now);
}
