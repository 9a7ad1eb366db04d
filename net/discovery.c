// SPDX-License-Identifier: BSD-2-Clause
// Announcements, both ends: lists too long for a frame are cut into parts and put together again.
// docs/protocol.md, "Discovery". Must not know what a function is good for. A list is reported only when
// every entry of it came with the same boot id and generation from the same node; parts of different lists
// never mix.
#include "net/announce.h"
#include "net/discovery_node.h"
#include "net/limit.h"
#include "net/link.h"
#include "rt/log.h"
#include "rt/time.h"

#include <string.h>

#define MS    1000000ull
#define NEVER (~0ull)

#define PEER(ip) (ip) & 0xff, (ip) >> 8 & 0xff, (ip) >> 16 & 0xff, (ip) >> 24

#define HEARD_MAX 16u // remotes whose lists are kept

// With keys: MACs that are computed, at most.
#define MAC_INTERVAL (2 * MS)
#define MAC_BURST    100u
#define ALIVE_MS     (4 * DISCOVERY_INTERVAL_MS) // heard so lately, a node has not restarted

/// What came from one remote. Bit i of `have`: functions[i] is there.
struct heard {
    char node[WIRE_NAME_MAX];
    uint32_t boot_id, generation, peer;
    uint16_t total;
    uint64_t have, last_ns;
    uint64_t counter, parts; // with keys: of the newest announcement; its parts that came, a bit each
    struct wire_function functions[DISCOVERY_FUNCTIONS_MAX];
};
_Static_assert(DISCOVERY_FUNCTIONS_MAX <= 64, "struct heard: have");

static struct {
    const struct carrier *carrier;
    struct carrier_path everybody, unicast;
    const struct announcement *what;
    uint64_t due;
    void (*heard_cb)(void *ctx, const struct announcement *a);
    void *heard_ctx;
    struct discovery_stats stats;
    struct limit macs, complaints;
    uint64_t counter; // of the announcement that was made last
    uint8_t plain[WIRE_FRAME_MAX];
    struct heard heard[HEARD_MAX];
} d;

void discovery_start(const struct carrier *carrier, uint32_t broadcast)
{
    memset(&d, 0, sizeof d);
    d.carrier = carrier;
    d.everybody.peer = broadcast;
    carrier->open(carrier->ctx, &d.everybody);
    d.due = NEVER;
}

// --- remote ---

/// FNV-1a (Fowler, Noll, Vo) of the list: it changes when the list does.
static uint32_t generation_of(const struct announcement *a)
{
    const uint8_t *p = (const uint8_t *)a->functions;
    uint32_t h = 2166136261u ^ a->function_count;
    for (size_t i = 0; i < a->function_count * sizeof *a->functions; i++)
        h = (h ^ p[i]) * 16777619u;
    return h;
}

static void send_part(struct carrier_path *path, const void *frame, size_t size)
{
    if (d.carrier->send(d.carrier->ctx, path, frame, size) == OK)
        d.stats.sent++;
}

static void announce(void)
{
    static struct {
        struct wire_frame frame;
        struct wire_announce body;
        struct wire_function
            functions[(WIRE_FRAME_MAX - sizeof(struct wire_frame) - sizeof(struct wire_announce)) /
                      sizeof(struct wire_function)];
        uint8_t seal[WIRE_SEAL_BYTES];
    } __attribute__((packed)) f;
    const struct node_keys *keys = link_keys();
    size_t head = sizeof f.frame + sizeof f.body + (keys != NULL ? sizeof f.seal : 0);
    size_t room = d.carrier->frame_max(d.carrier->ctx);
    unsigned per_frame = (unsigned)(((room > sizeof f ? sizeof f : room) - head) / sizeof f.functions[0]);
    unsigned total = d.what->function_count;
    if (total > DISCOVERY_FUNCTIONS_MAX)
        total = DISCOVERY_FUNCTIONS_MAX;
    unsigned parts = total == 0 ? 1 : (total + per_frame - 1) / per_frame;
    uint32_t generation = generation_of(d.what);
    d.counter++;
    for (unsigned part = 0; part < parts; part++) {
        unsigned first = part * per_frame;
        unsigned count = total - first < per_frame ? total - first : per_frame;
        size_t size = sizeof f.frame + sizeof f.body + count * sizeof f.functions[0];
        f.frame = (struct wire_frame){
            .magic = WIRE_MAGIC, .version = WIRE_VERSION, .type = WIRE_ANNOUNCE, .length = (uint16_t)size};
        f.body = (struct wire_announce){
            .boot_id = link_boot_id(),
            .generation = generation,
            .total = (uint16_t)total,
            .part = (uint8_t)part,
            .parts = (uint8_t)parts,
            .first = (uint16_t)first,
            .count = (uint16_t)count,
        };
        wire_text_set(f.body.node, sizeof f.body.node, d.what->node);
        if (count != 0)
            memcpy(f.functions, d.what->functions + first, count * sizeof f.functions[0]);
        if (keys != NULL)
            size = announce_seal(keys, &f.frame, size, d.counter);
        send_part(&d.everybody, &f, size);
        if (d.unicast.peer != 0)
            send_part(&d.unicast, &f, size);
    }
}

void discovery_announce(const struct announcement *what, uint32_t unicast_to)
{
    d.what = what;
    if (d.unicast.peer != unicast_to) {
        d.unicast = (struct carrier_path){.peer = unicast_to};
        d.carrier->open(d.carrier->ctx, &d.unicast);
    }
    d.due = 0;
}

void discovery_poll(uint64_t now, bool ready)
{
    if (now < d.due || d.what == NULL || !ready)
        return;
    announce();
    d.due = now + DISCOVERY_INTERVAL_MS * MS;
}

uint64_t discovery_next(void)
{
    return d.due;
}

// --- host ---

void discovery_listen(void (*heard)(void *ctx, const struct announcement *a), void *ctx)
{
    d.heard_cb = heard;
    d.heard_ctx = ctx;
}

static uint64_t all_of(uint16_t total)
{
    return total == 64 ? ~0ull : (1ull << total) - 1;
}

bool discovery_heard(unsigned n, struct announcement *a, uint64_t *when_ns)
{
    for (unsigned i = 0; i < HEARD_MAX; i++) {
        const struct heard *h = &d.heard[i];
        if (h->boot_id == 0 || n-- != 0)
            continue;
        *a = (struct announcement){.boot_id = h->boot_id, .peer = h->peer, .functions = h->functions};
        memcpy(a->node, h->node, sizeof a->node);
        a->function_count = h->have == all_of(h->total) ? h->total : 0;
        *when_ns = h->last_ns;
        return true;
    }
    return false;
}

/// The entry of this node, or the one that was silent for longest.
static struct heard *entry_of(const char *node)
{
    struct heard *oldest = &d.heard[0];
    for (unsigned i = 0; i < HEARD_MAX; i++) {
        struct heard *h = &d.heard[i];
        if (memcmp(h->node, node, WIRE_NAME_MAX) == 0)
            return h;
        if (h->last_ns < oldest->last_ns)
            oldest = h;
    }
    oldest->boot_id = 0; // no announcement has that one
    return oldest;
}

/// With keys: the plain announcement in this frame, its `counter`; NULL: it is not one of our network, which
/// was counted.
static const void *open_seal(const struct node_keys *keys, uint32_t peer, const void *frame, size_t *size,
                             uint64_t *counter)
{
    uint64_t now = time_ns();
    enum wire_fault fault = wire_check_sealed(frame, *size);
    if (fault != WIRE_FINE) {
        d.stats.malformed++;
        link_count_fault(fault);
    } else if (!limit_take(&d.macs, now, MAC_INTERVAL, MAC_BURST)) {
        link_count_limited();
    } else if (announce_open(keys, frame, *size, (struct wire_frame *)d.plain, counter) == OK) {
        *size -= WIRE_SEAL_BYTES;
        return d.plain;
    } else {
        link_count_forged();
        fault = WIRE_UNSEALED;
    }
    if (fault == WIRE_UNSEALED && limit_take(&d.complaints, now, 10000 * MS, 4))
        log_warn("discovery", "%u.%u.%u.%u announces something, but not with our network's psk: ignored",
                 PEER(peer));
    return NULL;
}

/// With keys: recorded and sent again? A node counts up while it runs, and one that was heard just now has
/// not restarted. If it is none, it is noted.
static bool is_replay(struct heard *h, const struct wire_announce *a, uint64_t counter, uint64_t now)
{
    bool same = h->boot_id == a->boot_id;
    if (same ? counter < h->counter : h->boot_id != 0 && now - h->last_ns < ALIVE_MS * MS)
        return true;
    if (!same || counter != h->counter)
        h->parts = 0;
    if (a->part >= 64 || (h->parts >> a->part & 1) != 0)
        return true;
    h->counter = counter;
    h->parts |= 1ull << a->part;
    return false;
}

void discovery_input(uint32_t peer, const void *frame, size_t size)
{
    if (d.heard_cb == NULL)
        return; // a remote does not care for others
    const struct node_keys *keys = link_keys();
    uint64_t counter = 0;
    if (keys != NULL && (frame = open_seal(keys, peer, frame, &size, &counter)) == NULL)
        return;
    enum wire_fault fault = wire_check_frame(frame, size);
    const struct wire_announce *a = (const struct wire_announce *)((const struct wire_frame *)frame + 1);
    if (fault == WIRE_FINE &&
        (((const struct wire_frame *)frame)->type != WIRE_ANNOUNCE || a->total > DISCOVERY_FUNCTIONS_MAX))
        fault = WIRE_BAD_BODY;
    if (fault != WIRE_FINE) {
        d.stats.malformed++;
        link_count_fault(fault);
        return;
    }
    struct heard *h = entry_of(a->node);
    if (keys != NULL && is_replay(h, a, counter, time_ns())) {
        link_count_replayed();
        if (h->boot_id != a->boot_id && limit_take(&d.complaints, time_ns(), 10000 * MS, 4))
            log_warn("discovery",
                     "%s announces itself from %u.%u.%u.%u, too: a recording, or a second machine of that "
                     "name; ignored",
                     h->node, PEER(peer));
        return;
    }
    d.stats.received++;
    if (h->boot_id != a->boot_id || h->generation != a->generation || h->total != a->total) {
        memcpy(h->node, a->node, sizeof h->node);
        h->boot_id = a->boot_id;
        h->generation = a->generation;
        h->total = a->total;
        h->have = 0;
    }
    h->last_ns = time_ns();
    h->peer = peer;
    link_peer_announced(h->node, peer, a->boot_id);
    uint64_t all = all_of(a->total);
    bool was_complete = h->have == all && a->total != 0;
    if (a->count != 0) {
        memcpy(h->functions + a->first, a + 1, a->count * sizeof h->functions[0]);
        h->have |= (a->count == 64 ? ~0ull : (1ull << a->count) - 1) << a->first;
    }
    // Once for each round: with its last part, or with the part that was missing.
    if (h->have != all || (was_complete && a->part + 1 != a->parts))
        return;
    struct announcement heard = {
        .boot_id = h->boot_id, .peer = peer, .function_count = h->total, .functions = h->functions};
    memcpy(heard.node, h->node, sizeof heard.node);
    d.heard_cb(d.heard_ctx, &heard);
}

struct discovery_stats discovery_stats(void)
{
    return d.stats;
}
