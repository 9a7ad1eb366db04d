// SPDX-License-Identifier: BSD-2-Clause
// Jumbo frames: both ends may take them, and still a switch between the two does not. A session begins with
// frames of the size that every LAN passes; then the host sends one of the agreed size, and the remote one
// back: when that arrives, both directions are proven, and both ends go over to it. docs/protocol.md, 4.5.
// Must not know records. Invariant: nobody sends a larger frame than LINK_FRAME_BYTES, a probe excepted,
// before both directions are proven; so the answers to one full frame of requests never need more frames than
// LINK_TX_RESERVE.
#include "net/link_node.h"
#include "rt/log.h"

#include <string.h>

#define MS   1000000ull
#define ROOM "link"

#define PROBE_TRIES    6u // unanswered: 20 + 40 + ... ms, a second and a quarter
#define PROBE_FIRST_MS 20u
#define DONE_TRIES     3u

void link_frames(void *memory, size_t frame_bytes)
{
    struct link_node *n = link_selected();
    n->frame_bytes = frame_bytes;
    if (memory != NULL) {
        n->frames = memory;
        n->stride = LINK_STRIDE(frame_bytes);
    }
    n->capabilities |= frame_bytes > LINK_FRAME_BYTES ? WIRE_CAP_PROBE : 0;
}

size_t link_frames_memory(size_t frame_bytes)
{
    return LINK_POOL * LINK_FRAMES * LINK_STRIDE(frame_bytes);
}

static size_t least_of_carriers(const struct link_node *n, bool most)
{
    const struct carrier *carriers[] = {n->carrier, n->preferred};
    size_t least = n->frame_bytes;
    for (unsigned i = 0; i < 2; i++) {
        const struct carrier *c = carriers[i];
        if (c == NULL)
            continue;
        size_t size = most && c->frame_most != NULL ? c->frame_most(c->ctx) : c->frame_max(c->ctx);
        least = size < least ? size : least;
    }
    return least;
}

uint16_t link_own_frame_max(const struct link_node *n)
{
    return (uint16_t)least_of_carriers(n, true);
}

static uint16_t sure_frame_max(const struct link_node *n)
{
    size_t sure = least_of_carriers(n, false);
    return (uint16_t)(sure > LINK_FRAME_BYTES ? LINK_FRAME_BYTES : sure);
}

uint16_t link_answer_frame_max(const struct link_node *n, uint16_t offered, uint32_t capabilities)
{
    uint16_t own = capabilities & WIRE_CAP_PROBE ? link_own_frame_max(n) : sure_frame_max(n);
    return offered < own ? offered : own;
}

bool link_frame_too_large(const struct link *l, size_t size)
{
    return size + (l->sealed ? WIRE_SEAL_BYTES : 0) > l->agreed;
}

void link_agree(struct link *l, uint16_t agreed, uint32_t capabilities)
{
    size_t sure = sure_frame_max(l->node), seal = l->sealed ? WIRE_SEAL_BYTES : 0;
    l->agreed = agreed;
    l->capabilities = capabilities;
    l->frame_max = (uint16_t)((agreed < sure ? agreed : sure) - seal);
    l->frame_goal = 0;
    l->probe_due = NEVER;
    l->probe_tries = 0;
    if (agreed <= sure || (capabilities & WIRE_CAP_PROBE) == 0)
        return;
    l->frame_goal = (uint16_t)(agreed - seal);
    if (l->host)
        l->probe_due = l->last_heard; // now
}

/// As large as `size`, which is of the plain frame.
static void send_probe(struct link *l, enum wire_probe_kind kind, size_t size, uint64_t now)
{
    struct wire_frame *f = (struct wire_frame *)l->node->probe;
    memset(f, 0, size);
    *f = (struct wire_frame){.magic = WIRE_MAGIC,
                             .version = WIRE_VERSION,
                             .type = WIRE_PROBE,
                             .length = (uint16_t)size,
                             .epoch = l->epoch};
    ((struct wire_probe *)(f + 1))->kind = (uint8_t)kind;
    const void *out = f;
    if (l->sealed && (out = link_seal(l, f, &size)) == NULL)
        return;
    l->path.now = now;
    enum status s = l->carrier->send(l->carrier->ctx, &l->path, out, size);
    if (s != OK)
        log_debug(ROOM, "probe of %u bytes not sent: %s", (unsigned)size, status_name(s)); // as if lost
}

void link_frames_proven(struct link *l)
{
    if (l->frame_goal == 0)
        return;
    l->frame_max = l->frame_goal;
    l->frame_goal = 0;
    log_info(ROOM, "%s: frames of %u bytes pass both ways and are used from now on", l->peer_node, l->agreed);
}

void link_probe(struct link *l, uint64_t now)
{
    if (now < l->probe_due)
        return;
    bool proven = l->frame_goal == 0;
    if (l->probe_tries == (proven ? DONE_TRIES : PROBE_TRIES)) {
        l->probe_due = NEVER;
        if (proven)
            return;
        l->frame_goal = 0;
        log_info(ROOM, "%s: frames of %u bytes do not pass, though both ends take them: it stays at %u",
                 l->peer_node, l->agreed, l->frame_max + (l->sealed ? WIRE_SEAL_BYTES : 0));
        return;
    }
    l->probe_due = now + (PROBE_FIRST_MS << l->probe_tries++) * MS;
    if (proven)
        send_probe(l, PROBE_DONE, sizeof(struct wire_frame) + sizeof(struct wire_probe), now);
    else
        send_probe(l, PROBE_ASK, l->frame_goal, now);
}

void link_probe_input(struct link *l, const struct wire_frame *frame, size_t size, uint64_t now)
{
    const struct wire_probe *p = (const struct wire_probe *)(frame + 1);
    if (l->state != LINK_UP && l->state != LINK_FROZEN)
        return;
    uint32_t incarnation = l->incarnation;
    link_heard(l, now);
    if (l->incarnation != incarnation)
        return;
    if (l->host && p->kind == PROBE_ANSWER && l->frame_goal != 0 && size == l->frame_goal) {
        link_frames_proven(l);
        l->probe_tries = 0;
        l->probe_due = now;
        link_probe(l, now);
    } else if (!l->host && p->kind == PROBE_ASK && (l->capabilities & WIRE_CAP_PROBE) != 0 &&
               size + (l->sealed ? WIRE_SEAL_BYTES : 0) == l->agreed) {
        send_probe(l, PROBE_ANSWER, size, now);
    } else if (!l->host && p->kind == PROBE_DONE) {
        link_frames_proven(l);
    }
    link_reschedule(l);
}
