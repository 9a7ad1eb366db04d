// SPDX-License-Identifier: BSD-2-Clause
// LINK: net/wire.c net/link.c net/link_handshake.c net/link_reliable.c net/link_records.c @keys
//
// Any bytes as frames at a remote with keys that has a session. The input is a script: an operation byte,
// then what it needs. Frames that were really sent are turned at a place, cut, sent again or given a right
// MAC (as somebody in the network could). Records that the host did not send must never arrive, whatever
// comes.
#include "net/link_node.h"
#include "rt/time.h"
#include "tests/unit/host/host.h"

#include <stdlib.h>
#include <string.h>

#define MS 1000000ull

enum { A_HOST, A_REMOTE, ENDS };

static struct link_node *nodes[ENDS], *fresh[ENDS]; // as they are with a session that is up
static struct node_keys keys[ENDS];
static struct link *links[ENDS];
static uint8_t kept[8][LINK_FRAME_BYTES]; // by frame type, the newest that was sent
static size_t kept_size[8];
static unsigned sent, arrived;

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void path_open(void *ctx, struct carrier_path *path)
{
    (void)ctx;
    (void)path;
}
static enum status frame_send(void *ctx, struct carrier_path *path, const void *frame, size_t size)
{
    (void)ctx;
    (void)path;
    require(wire_check_sealed(frame, size) == WIRE_FINE);
    unsigned type = ((const struct wire_frame *)frame)->type & 7;
    memcpy(kept[type], frame, size);
    kept_size[type] = size;
    return OK;
}
static size_t frame_max(void *ctx)
{
    (void)ctx;
    return 1472;
}
static const struct carrier carrier = {
    .name = "fuzz", .open = path_open, .send = frame_send, .frame_max = frame_max};

static void on_record(void *ctx, struct link *l, const struct wire_record *rec, const void *body, size_t size)
{
    (void)ctx;
    require(!l->host && rec->type == REC_MWR && size == sizeof(struct wire_access) + 4);
    uint32_t number;
    memcpy(&number, (const uint8_t *)body + sizeof(struct wire_access), 4);
    require(number == arrived && arrived < sent);
    arrived++;
}
static void on_up(void *ctx, struct link *l)
{
    (void)ctx;
    links[l->host ? A_HOST : A_REMOTE] = l;
}
static void on_change(void *ctx, struct link *l)
{
    (void)ctx;
    (void)l;
}
static void on_down(void *ctx, struct link *l, const char *why)
{
    (void)ctx;
    (void)why;
    require(l->host == false);
    links[A_REMOTE] = NULL; // silence; nothing that comes may be the reason, see below
}
static const struct link_events events = {on_up, on_record, on_change, on_change, on_down};

static enum status accept_host(void *arg, const char *host, uint32_t peer, void **ctx, const char **why)
{
    (void)arg;
    (void)peer;
    (void)why;
    require(strcmp(host, "host1") == 0);
    *ctx = NULL;
    return OK;
}

static void pass(int to, unsigned type)
{
    link_select(nodes[to]);
    link_input(&carrier, to == A_HOST ? 2 : 1, kept[type], kept_size[type]);
}

static void open_session(void)
{
    // They differ above the three lowest bits, which X25519 does not look at.
    static const uint8_t private_keys[ENDS][CRYPTO_KEY] = {{8}, {16}}, psk[CRYPTO_KEY] = {3};
    static const char *const names[ENDS] = {"host1", "disk1"};
    uint8_t public_key[CRYPTO_KEY];
    crypto_random_add("fuzz", 4);
    for (unsigned i = 0; i < ENDS; i++) {
        nodes[i] = calloc(1, sizeof *nodes[i]);
        fresh[i] = malloc(sizeof *fresh[i]);
        link_start(nodes[i], names[i], 7 + i, 42 + i, &carrier);
        keys_set(&keys[i], private_keys[i], psk);
        crypto_public_key(public_key, private_keys[1 - i]);
        require(keys_add_peer(&keys[i], names[1 - i], public_key) == OK);
        link_use_keys(&keys[i]);
    }
    link_listen(&events, accept_host, NULL);
    link_select(nodes[A_HOST]);
    require(link_connect(2, "disk1", &events, NULL, &links[A_HOST]) == OK);
    pass(A_REMOTE, WIRE_HELLO);
    pass(A_HOST, WIRE_HELLO_ACK);
    pass(A_REMOTE, WIRE_ACK);
    require(links[A_REMOTE] != NULL && link_state(links[A_HOST]) == LINK_UP);
    for (unsigned i = 0; i < ENDS; i++)
        memcpy(fresh[i], nodes[i], sizeof *fresh[i]);
}

static void write_one(void)
{
    struct wire_access a = {.size = 4};
    struct wire_record r = {.type = REC_MWR, .function = 1};
    link_select(nodes[A_HOST]);
    if (link_send(links[A_HOST], &r, &a, sizeof a, &sent, 4) == OK)
        sent++;
    link_flush(links[A_HOST]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t first[8][LINK_FRAME_BYTES];
    static size_t first_size[8];
    static struct link *first_link;
    host_time_set_ns(1000 * MS);
    if (nodes[0] == NULL) {
        open_session();
        memcpy(first, kept, sizeof kept);
        memcpy(first_size, kept_size, sizeof kept_size);
        first_link = links[A_REMOTE];
    }
    for (unsigned i = 0; i < ENDS; i++)
        memcpy(nodes[i], fresh[i], sizeof *fresh[i]);
    memcpy(kept, first, sizeof kept);
    memcpy(kept_size, first_size, sizeof kept_size);
    links[A_REMOTE] = first_link;
    sent = arrived = 0;
    unsigned handshakes = 0;

    for (size_t at = 0; size - at >= 4; at += 4) {
        const uint8_t *op = data + at;
        unsigned type = 1 + op[1] % WIRE_BYE;
        uint8_t *copy;
        size_t n;
        switch (op[0] % 6) {
        case 0:
            write_one();
            break;
        case 1: // as it was sent, perhaps not for the first time
            pass(A_REMOTE, type == WIRE_HELLO_ACK ? WIRE_DATA : type);
            break;
        case 2: // turned, perhaps cut, perhaps with a right MAC
        case 3:
            n = kept_size[type];
            if (n == 0)
                break;
            if ((op[0] & 0x40) != 0)
                n = (op[2] | (size_t)op[3] << 8) % (n + 1);
            copy = malloc(n != 0 ? n : 1);
            memcpy(copy, kept[type], n);
            if (n != 0)
                copy[(op[2] | (size_t)op[3] << 8) % n] ^= (uint8_t)(1u << op[0] / 8 % 8);
            if ((op[0] & 0x80) != 0 && n > WIRE_MAC_BYTES && handshakes++ == 0)
                keys_mac(copy + n - WIRE_MAC_BYTES, keys[A_REMOTE].handshake_mac, copy, n - WIRE_MAC_BYTES);
            link_select(nodes[A_REMOTE]);
            struct link *before = links[A_REMOTE];
            link_input(&carrier, 1, copy, n);
            require(links[A_REMOTE] == before);
            free(copy);
            break;
        case 4: // anything
            n = size - at - 4 < op[1] ? size - at - 4 : op[1];
            copy = malloc(n != 0 ? n : 1);
            memcpy(copy, op + 4, n);
            at += n;
            link_select(nodes[A_REMOTE]);
            link_input(&carrier, op[2], copy, n);
            free(copy);
            break;
        case 5:
            host_time_advance_ns(op[1] * MS);
            link_select(nodes[A_REMOTE]);
            link_poll(time_ns());
            break;
        }
    }
    return 0;
}
