// SPDX-License-Identifier: BSD-2-Clause
// Links with keys: Noise IKpsk2 in HELLO and HELLO_ACK, sealed frames after it. docs/protocol.md, "Sealed
// frames"; docs/security.md says what for. Must not know records. Invariants: nothing that a stranger sends
// changes a session, or is answered; what it costs is bounded (a MAC before any curve, limits before both);
// a session begins at a remote with the first frame that its host sealed, so a recorded HELLO opens nothing.
#include "net/link_node.h"
#include "rt/log.h"

#include <string.h>

#define MS   1000000ull
#define ROOM "link"

#define PEER(ip) (ip) & 0xff, (ip) >> 8 & 0xff, (ip) >> 16 & 0xff, (ip) >> 24

// What is done for who asks, at most. A handshake is three X25519 multiplications beyond the two for the
// answer, 10 million instructions; a MAC some 30,000.
#define MAC_INTERVAL       (1 * MS)
#define MAC_BURST          100u
#define HANDSHAKE_INTERVAL (50 * MS)
#define HANDSHAKE_BURST    16u
#define SOURCE_INTERVAL    (200 * MS)
#define SOURCE_BURST       8u
#define COMPLAIN_INTERVAL  (10000 * MS)
#define COMPLAIN_BURST     4u
#define PENDING_MS         3000u

_Static_assert(NOISE_1_OVERHEAD == WIRE_NOISE_1_BYTES && NOISE_2_OVERHEAD == WIRE_NOISE_2_BYTES &&
                   CRYPTO_TAG + sizeof(uint64_t) == WIRE_SEAL_BYTES,
               "wire format");

struct plain_hello {
    struct wire_frame frame;
    struct wire_hello body;
} __attribute__((packed));
struct plain_hello_ack {
    struct wire_frame frame;
    struct wire_hello_ack body;
} __attribute__((packed));

void link_forget_keys(struct link *l)
{
    l->sealed = false;
    crypto_wipe(&l->seal, sizeof l->seal);
    crypto_wipe(&l->hello, sizeof l->hello);
}

const void *link_seal(struct link *l, const struct wire_frame *frame, size_t *size)
{
    *size = seal_frame(&l->seal, frame, *size, l->node->sealing.out);
    return *size != 0 ? l->node->sealing.out : NULL;
}

static void complain(struct link_node *n, uint32_t peer, uint64_t now, const char *what)
{
    if (limit_take(&n->sealing.complaints, now, COMPLAIN_INTERVAL, COMPLAIN_BURST))
        log_warn(ROOM, "%u.%u.%u.%u is refused: %s", PEER(peer), what);
}

static struct wire_frame sealed_header(enum wire_frame_type type, size_t size, uint32_t epoch)
{
    return (struct wire_frame){
        .magic = WIRE_MAGIC,
        .version = WIRE_VERSION,
        .type = (uint8_t)(type | WIRE_SEALED),
        .length = (uint16_t)size,
        .epoch = epoch,
    };
}

static bool mac_right(const uint8_t key[CRYPTO_KEY], const void *frame, size_t size)
{
    uint8_t mac[WIRE_MAC_BYTES];
    keys_mac(mac, key, frame, size - sizeof mac);
    return crypto_equal(mac, (const uint8_t *)frame + size - sizeof mac, sizeof mac);
}

/// Was there a session with this address lately? Index into the limits.
static unsigned is_known(const struct link_sealing *k, uint32_t peer)
{
    for (unsigned i = 0; i < LINK_POOL; i++)
        if (k->known[i] == peer)
            return 1;
    return 0;
}

// --- host ---

enum status link_sealed_hello(struct link *l, const struct wire_frame *plain)
{
    struct link_hello *h = &l->hello;
    const struct node_keys *keys = l->node->keys;
    if (h->size != 0)
        return OK;
    const struct keys_peer *remote = keys_peer_named(keys, l->peer_node);
    if (remote == NULL)
        return ERR_NOTFOUND;
    struct wire_frame header = sealed_header(WIRE_HELLO, sizeof h->frame, l->epoch);
    memcpy(h->frame, &header, sizeof header);
    noise_initiate(&h->noise, h->frame, sizeof header, keys->private_key, keys->public_key,
                   remote->public_key, keys->psk);
    uint8_t e[CRYPTO_KEY];
    crypto_random(e, sizeof e);
    enum status s =
        noise_write_1(&h->noise, e, plain + 1, sizeof(struct wire_hello), h->frame + sizeof header);
    crypto_wipe(e, sizeof e);
    if (s != OK)
        return s;
    size_t before = sizeof h->frame - WIRE_MAC_BYTES;
    keys_mac(h->frame + before, remote->handshake_mac, h->frame, before);
    h->size = sizeof h->frame;
    return OK;
}

static void hello_ack(struct link_node *n, const struct carrier *carrier, uint32_t peer,
                      const struct wire_frame *frame, size_t size, uint64_t now)
{
    struct link *l = link_connecting(n, peer, frame->epoch);
    if (l == NULL || l->hello.size == 0)
        return; // a repetition of one that was taken
    if (!limit_take(&n->sealing.mac[1], now, MAC_INTERVAL, MAC_BURST)) {
        n->stats.limited++;
        return;
    }
    if (!mac_right(n->keys->handshake_mac, frame, size)) {
        n->stats.forged++;
        return;
    }
    if (!limit_take(&n->sealing.handshake[1], now, HANDSHAKE_INTERVAL, HANDSHAKE_BURST)) {
        n->stats.limited++;
        return;
    }
    struct plain_hello_ack plain = {.frame = *frame};
    struct noise_handshake noise = l->hello.noise; // a forged answer must not end the wait for the right one
    enum status s = noise_read_2(&noise, (const uint8_t *)(frame + 1), size - sizeof *frame - WIRE_MAC_BYTES,
                                 &plain.body);
    plain.frame.type = WIRE_HELLO_ACK;
    plain.frame.length = sizeof plain;
    enum wire_fault fault = s == OK ? wire_check_frame(&plain, sizeof plain) : WIRE_FINE;
    if (s != OK)
        n->stats.forged++;
    else if (fault != WIRE_FINE)
        n->stats.malformed[fault]++;
    if (s != OK || fault != WIRE_FINE) {
        noise_forget(&noise);
        return;
    }
    uint8_t send[CRYPTO_KEY], receive[CRYPTO_KEY];
    noise_split(&noise, send, receive);
    seal_start(&l->seal, send, receive, (plain.body.capabilities & n->capabilities & WIRE_CAP_AESGCM) != 0);
    crypto_wipe(send, sizeof send);
    crypto_wipe(receive, sizeof receive);
    crypto_wipe(&l->hello, sizeof l->hello);
    l->sealed = true;
    uint32_t incarnation = l->incarnation;
    link_hello_acked(n, carrier, peer, &plain.frame, now);
    if (l->incarnation == incarnation && l->state == LINK_CONNECTING) // what it agrees to cannot be
        link_hello_start(l, now, LINK_REFUSED_MS * MS);
}

// --- remote ---

static struct link_pending *pending_of(struct link_node *n, uint32_t peer, uint32_t epoch, uint64_t now)
{
    for (unsigned i = 0; i < LINK_PENDING; i++) {
        struct link_pending *p = &n->sealing.pending[i];
        if (p->epoch == epoch && p->epoch != 0 && p->peer == peer && now - p->since < PENDING_MS * MS)
            return p;
    }
    return NULL;
}

void link_forget_pending(struct link_node *n, uint64_t now)
{
    for (unsigned i = 0; i < LINK_PENDING; i++) {
        struct link_pending *p = &n->sealing.pending[i];
        uint64_t due = p->since + PENDING_MS * MS;
        if (p->epoch != 0 && now >= due)
            crypto_wipe(p, sizeof *p);
        else if (p->epoch != 0 && due < n->due)
            n->due = due;
    }
}

/// A free place, or the one that waits for longest.
static struct link_pending *pending_take(struct link_node *n)
{
    struct link_pending *oldest = &n->sealing.pending[0];
    for (unsigned i = 0; i < LINK_PENDING; i++) {
        struct link_pending *p = &n->sealing.pending[i];
        if (p->epoch == 0)
            return p;
        if (p->since < oldest->since)
            oldest = p;
    }
    crypto_wipe(oldest, sizeof *oldest);
    return oldest;
}

static void send_on(const struct carrier *carrier, uint32_t peer, const void *frame, size_t size)
{
    struct carrier_path path = {.peer = peer};
    carrier->open(carrier->ctx, &path);
    enum status s = carrier->send(carrier->ctx, &path, frame, size);
    if (s != OK)
        log_debug(ROOM, "handshake frame not sent: %s", status_name(s)); // it will be asked for again
}

/// Message 1 is read and its MAC right: whose is it? NULL: nobody's, which was counted.
static const struct keys_peer *read_hello(struct link_node *n, uint32_t peer, struct noise_handshake *noise,
                                          const struct wire_frame *frame, size_t size, uint64_t now,
                                          struct plain_hello *plain)
{
    const uint8_t *message = (const uint8_t *)(frame + 1);
    size -= sizeof *frame + WIRE_MAC_BYTES;
    noise_respond(noise, frame, sizeof *frame, n->keys->private_key, n->keys->public_key, n->keys->psk);
    if (noise_read_1_static(noise, message) != OK) {
        n->stats.forged++;
        return NULL;
    }
    const struct keys_peer *host = keys_peer_with(n->keys, noise->rs);
    if (host == NULL) {
        n->stats.unknown++;
        complain(n, peer, now, "it has our network's psk, but no [peer] section here has its public key");
        return NULL;
    }
    plain->frame = *frame;
    if (noise_read_1(noise, message, size, &plain->body) != OK) {
        n->stats.forged++;
        return NULL;
    }
    plain->frame.type = WIRE_HELLO;
    plain->frame.length = sizeof *plain;
    enum wire_fault fault = wire_check_frame(plain, sizeof *plain);
    if (fault == WIRE_FINE)
        return host;
    n->stats.malformed[fault]++;
    return NULL;
}

/// Why this HELLO, proven to be `host`'s, cannot become a session.
static enum wire_hello_status judge(const struct link_node *n, const struct wire_hello *b,
                                    const struct keys_peer *host, const struct link *old, const char **why)
{
    if (strncmp(b->node, host->name, WIRE_NAME_MAX) != 0) {
        *why = "this key belongs to a host of another name";
        return HELLO_REFUSED;
    }
    if (b->version_min > WIRE_VERSION || b->version_max < WIRE_VERSION) {
        *why = "this remote speaks protocol version 1 only";
        return HELLO_VERSION;
    }
    if (strncmp(b->to, n->name, WIRE_NAME_MAX) != 0) {
        *why = "this is another node";
        return HELLO_WRONG_NODE;
    }
    bool room = old != NULL;
    for (unsigned i = 0; i < LINK_POOL; i++)
        room |= n->links[i].state == LINK_CLOSED;
    *why = room ? "" : "all links of this remote are in use";
    return room ? HELLO_OK : HELLO_FULL;
}

/// An old HELLO that comes late, or comes again.
static bool hello_is_old(const struct link_node *n, const struct link *old, const struct wire_hello *b)
{
    if (old != NULL && old->peer_boot_id == b->boot_id && (int32_t)(b->attempt - old->attempt) <= 0)
        return true;
    for (unsigned i = 0; i < LINK_PENDING; i++) {
        const struct link_pending *p = &n->sealing.pending[i];
        if (p->epoch != 0 && strncmp(p->host, b->node, WIRE_NAME_MAX) == 0 && p->boot_id == b->boot_id &&
            (int32_t)(b->attempt - p->attempt) < 0)
            return true;
    }
    return false;
}

static void answer_hello(struct link_node *n, const struct carrier *carrier, uint32_t peer,
                         struct noise_handshake *noise, const struct plain_hello *hello,
                         const struct keys_peer *host, const uint8_t *mac, uint64_t now)
{
    const struct wire_hello *b = &hello->body;
    const char *why;
    enum wire_hello_status status = judge(n, b, host, link_of_host(n, host->name), &why);
    uint32_t capabilities = b->capabilities & n->capabilities;
    uint16_t frame_max = link_answer_frame_max(n, b->frame_max, capabilities);
    struct wire_hello_ack body = {.boot_id = n->boot_id,
                                  .status = (uint8_t)status,
                                  .version = WIRE_VERSION,
                                  .frame_max = status == HELLO_OK ? frame_max : 0,
                                  .capabilities = capabilities};
    memcpy(body.node, n->name, sizeof body.node);
    wire_text_set(body.why, sizeof body.why, why);

    uint8_t frame[LINK_HELLO_ACK_BYTES], e[CRYPTO_KEY];
    struct wire_frame header = sealed_header(WIRE_HELLO_ACK, sizeof frame, hello->frame.epoch);
    memcpy(frame, &header, sizeof header);
    crypto_random(e, sizeof e);
    enum status s = noise_write_2(noise, e, &body, sizeof body, frame + sizeof header);
    crypto_wipe(e, sizeof e);
    if (s != OK) {
        n->stats.forged++;
        return;
    }
    size_t before = sizeof frame - WIRE_MAC_BYTES;
    keys_mac(frame + before, host->handshake_mac, frame, before);
    if (status == HELLO_OK) {
        struct link_pending *p = pending_take(n);
        uint8_t send[CRYPTO_KEY], receive[CRYPTO_KEY];
        noise_split(noise, receive, send);
        seal_start(&p->seal, send, receive, (body.capabilities & WIRE_CAP_AESGCM) != 0);
        crypto_wipe(send, sizeof send);
        crypto_wipe(receive, sizeof receive);
        p->epoch = hello->frame.epoch;
        p->peer = peer;
        p->boot_id = b->boot_id;
        p->attempt = b->attempt;
        p->since = now;
        p->frame_max = frame_max;
        p->capabilities = body.capabilities;
        memcpy(p->host, b->node, sizeof p->host);
        memcpy(p->mac, mac, sizeof p->mac);
        memcpy(p->answer, frame, sizeof p->answer);
        link_forget_pending(n, now); // sees to it that this one will be
    } else {
        n->stats.refused++;
        complain(n, peer, now, why);
    }
    send_on(carrier, peer, frame, sizeof frame);
}

static void hello(struct link_node *n, const struct carrier *carrier, uint32_t peer,
                  const struct wire_frame *frame, size_t size, uint64_t now)
{
    struct link_sealing *k = &n->sealing;
    if (n->accept == NULL)
        return; // not a remote
    n->stats.hellos++;
    unsigned known = is_known(k, peer);
    if (!limit_take(&k->mac[known], now, MAC_INTERVAL, MAC_BURST)) {
        n->stats.limited++;
        return;
    }
    if (!mac_right(n->keys->handshake_mac, frame, size)) {
        n->stats.forged++;
        complain(n, peer, now, "its HELLO is not made with our public key and our network's psk");
        return;
    }
    const uint8_t *mac = (const uint8_t *)frame + size - WIRE_MAC_BYTES;
    struct link_pending *p = pending_of(n, peer, frame->epoch, now);
    if (p != NULL) {
        if (crypto_equal(p->mac, mac, sizeof p->mac)) // our answer was lost
            send_on(carrier, peer, p->answer, sizeof p->answer);
        return;
    }
    if (link_find(n, peer, frame->epoch) != NULL)
        return; // a repetition that was on its way when the session began
    if (!limit_take(&k->sources[(peer ^ peer >> 24) % LINK_SOURCES], now, SOURCE_INTERVAL, SOURCE_BURST) ||
        !limit_take(&k->handshake[known], now, HANDSHAKE_INTERVAL, HANDSHAKE_BURST)) {
        n->stats.limited++;
        return;
    }
    struct noise_handshake noise;
    struct plain_hello plain;
    const struct keys_peer *host = read_hello(n, peer, &noise, frame, size, now, &plain);
    if (host != NULL && hello_is_old(n, link_of_host(n, host->name), &plain.body))
        n->stats.replayed++;
    else if (host != NULL)
        answer_hello(n, carrier, peer, &noise, &plain, host, mac, now);
    noise_forget(&noise);
}

/// The first frame sealed by the host: now the session begins, and an older one of that host ends.
static struct link *confirmed(struct link_node *n, const struct carrier *carrier, struct link_pending *p,
                              uint64_t now)
{
    struct link *l = link_of_host(n, p->host);
    if (l != NULL) {
        link_bye(n, l, l->carrier, l->path.peer, l->epoch, BYE_REPLACED, "a newer session was opened");
        link_down(l, now, "the host opened a new session");
    }
    void *ctx = NULL;
    const char *why = "refused";
    l = link_take(n, carrier, n->listen_events, NULL, p->peer, p->host, false);
    if (l == NULL) {
        crypto_wipe(p, sizeof *p);
        return NULL;
    }
    enum status s = n->accept(n->accept_arg, l->peer_node, p->peer, &ctx, &why);
    l->ctx = ctx;
    l->attempt = p->attempt;
    l->peer_boot_id = p->boot_id;
    l->state = LINK_UP;
    link_reset(l, p->epoch, now);
    l->seal = p->seal;
    l->sealed = true;
    link_agree(l, p->frame_max, p->capabilities);
    if (!is_known(&n->sealing, p->peer))
        n->sealing.known[n->sealing.known_next++ % LINK_POOL] = p->peer;
    crypto_wipe(p, sizeof *p);
    if (s != OK) {
        n->stats.refused++;
        complain(n, l->path.peer, now, why);
        link_bye(n, l, l->carrier, l->path.peer, l->epoch, BYE_REFUSED, why);
        link_give(l);
        return NULL;
    }
    n->stats.opened++;
    if (link_may_say(n, now))
        log_info(ROOM, "up: host %s at %u.%u.%u.%u, epoch %08x, sealed frames of %u bytes, by %s",
                 l->peer_node, PEER(l->path.peer), l->epoch, l->frame_max + WIRE_SEAL_BYTES, carrier->name);
    uint32_t incarnation = l->incarnation;
    l->in_callback++;
    l->events->up(l->ctx, l);
    l->in_callback--;
    return l->incarnation == incarnation ? l : NULL;
}

// --- both ---

static void session_frame(struct link_node *n, const struct carrier *carrier, uint32_t peer,
                          const struct wire_frame *frame, size_t size, uint64_t now)
{
    struct link *l = link_find(n, peer, frame->epoch);
    struct link_pending *p = l == NULL ? pending_of(n, peer, frame->epoch, now) : NULL;
    struct seal *seal = l != NULL && l->sealed ? &l->seal : p != NULL ? &p->seal : NULL;
    if (seal == NULL) {
        if (l == NULL) // else HELLO_ACK was lost; it will be repeated, and so will this
            n->stats.strangers++;
        return;
    }
    struct wire_frame *plain = (struct wire_frame *)n->sealing.in;
    enum status s = seal_open(seal, frame, size, plain);
    if (s != OK) {
        *(s == ERR_BUSY ? &n->stats.replayed : &n->stats.forged) += 1;
        return;
    }
    size -= WIRE_SEAL_BYTES;
    enum wire_fault fault = wire_check_frame(plain, size);
    if (fault != WIRE_FINE) {
        n->stats.malformed[fault]++;
        if (l != NULL)
            l->stats.malformed++;
        return;
    }
    if (p != NULL && (l = confirmed(n, carrier, p, now)) == NULL)
        return;
    if (plain->type == WIRE_BYE)
        link_bye_input(n, peer, plain, now);
    else if (plain->type == WIRE_PROBE)
        link_probe_input(l, plain, size, now);
    else
        link_frame_input(l, carrier, plain, size, now);
}

void link_sealed_input(struct link_node *n, const struct carrier *carrier, uint32_t peer, const void *bytes,
                       size_t size, uint64_t now)
{
    const struct wire_frame *frame = bytes;
    enum wire_fault fault = size > n->frame_bytes ? WIRE_BAD_SIZE : wire_check_sealed(bytes, size);
    if (fault == WIRE_FINE && frame->type == (WIRE_ANNOUNCE | WIRE_SEALED))
        fault = WIRE_BAD_TYPE;
    if (fault != WIRE_FINE) {
        n->stats.malformed[fault]++;
        return;
    }
    if (frame->type == (WIRE_HELLO | WIRE_SEALED))
        hello(n, carrier, peer, frame, size, now);
    else if (frame->type == (WIRE_HELLO_ACK | WIRE_SEALED))
        hello_ack(n, carrier, peer, frame, size, now);
    else
        session_frame(n, carrier, peer, frame, size, now);
}
