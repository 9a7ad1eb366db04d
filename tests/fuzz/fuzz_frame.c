// SPDX-License-Identifier: BSD-2-Clause
// LINK: net/wire.c net/link.c net/link_handshake.c net/link_reliable.c net/link_records.c @keys
//
// Any bytes as frames into both kinds of link, in every state. The input is a script: an operation byte, then
// what it needs. Frames may be repaired on their way (magic, length, epoch) so that the fuzzer reaches what
// is behind those checks. After each operation the links' invariants must hold, and only records that wire.c
// calls fine may have been delivered. With an input of odd size the node takes larger frames than usual.
#include "net/link_node.h"
#include "rt/time.h"
#include "tests/unit/host/host.h"

#include <stdlib.h>
#include <string.h>

#define MS 1000000ull

static struct link_node *node;
static struct link *host, *remote;
#define JUMBO 1592u
static bool jumbo;
static uint8_t last[JUMBO]; // newest frame sent: its epoch is one of ours
static size_t last_size;
static bool nic_full, answer;

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
    require(size <= (jumbo ? JUMBO : LINK_FRAME_BYTES));
    if (nic_full)
        return ERR_BUSY;
    require(wire_check_frame(frame, size) == WIRE_FINE);
    memcpy(last, frame, size);
    last_size = size;
    return OK;
}
static size_t frame_max(void *ctx)
{
    (void)ctx;
    return 1472;
}
static size_t frame_most(void *ctx)
{
    (void)ctx;
    return jumbo ? JUMBO : 1472;
}
static const struct carrier carrier = {
    .name = "fuzz", .open = path_open, .send = frame_send, .frame_max = frame_max, .frame_most = frame_most};

static void on_record(void *ctx, struct link *l, const struct wire_record *rec, const void *body, size_t size)
{
    (void)ctx;
    require(wire_check_record(rec, l->host ? WIRE_TO_HOST : WIRE_TO_REMOTE) == WIRE_FINE);
    require(body == rec + 1 && size == rec->length - sizeof *rec);
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + ((const uint8_t *)body)[i]);
    if (l->host || !answer)
        return;
    struct wire_record cpl = {.type = REC_CPLD, .function = rec->function, .tag = rec->tag};
    static const uint8_t data[256];
    require(link_send(l, &cpl, data, 256, NULL, 0) == OK); // there is always room for one answer per request
}
static void on_up(void *ctx, struct link *l)
{
    (void)ctx;
    if (!l->host)
        remote = l;
}
static void on_change(void *ctx, struct link *l)
{
    (void)ctx;
    (void)l;
}
static void on_down(void *ctx, struct link *l, const char *why)
{
    (void)ctx;
    require(why != NULL);
    if (l == remote)
        remote = NULL;
}
static const struct link_events events = {on_up, on_record, on_change, on_change, on_down};

static enum status accept_any(void *arg, const char *host_node, uint32_t peer, void **ctx, const char **why)
{
    (void)arg;
    (void)peer;
    *ctx = NULL;
    *why = "the name begins with r";
    return host_node[0] == 'r' ? ERR_DENIED : OK;
}

static void check(const struct link *l)
{
    if (l->state != LINK_UP && l->state != LINK_FROZEN)
        return;
    require(l->nxt - l->una <= WIRE_WINDOW && l->tail - l->nxt <= LINK_TX_SLOTS &&
            l->tail - l->una < LINK_TX_SLOTS);
    unsigned in_flight = 0, lost = 0;
    for (uint32_t s = l->una; s != l->nxt; s++) {
        in_flight += l->tx[s % LINK_TX_SLOTS].state == TX_IN_FLIGHT;
        lost += l->tx[s % LINK_TX_SLOTS].state == TX_LOST;
    }
    require(in_flight == l->in_flight && lost == l->lost);
    require(l->open_size >= sizeof(struct wire_frame) && l->open_size <= l->frame_max);
    require(l->frame_max <= l->agreed && (l->frame_goal == 0 || l->frame_max <= LINK_FRAME_BYTES));
    require(l->cwnd >= 1 && l->cwnd <= WIRE_WINDOW && l->frame_max >= WIRE_FRAME_MIN);
    require(l->una == l->nxt || l->rto_due != NEVER); // whatever is not acknowledged has a timer
    require(l->rcv_have == 0 || (l->rcv_have & 1) == 0 || !l->host);
}

/// Session fields of a link of ours into the frame, so that it is taken for one of the peer's.
static void repair(uint8_t *frame, size_t size, uint8_t how)
{
    struct wire_frame f;
    if (size < sizeof f)
        return;
    memcpy(&f, frame, sizeof f);
    f.magic = WIRE_MAGIC;
    f.version = WIRE_VERSION;
    f.length = (uint16_t)size;
    const struct link *l = how & 1 ? remote : host;
    if (l != NULL && (f.type == WIRE_DATA || f.type == WIRE_ACK || f.type == WIRE_HELLO_ACK ||
                      f.type == WIRE_BYE || f.type == WIRE_PROBE)) {
        f.epoch = l->epoch;
        if (f.type == WIRE_DATA || f.type == WIRE_ACK) {
            f.ack = l->nxt - 1 - f.ack % 8;
            if (how & 2)
                f.sequence = l->rcv_nxt + f.sequence % 40 - 4;
            if (how & 4)
                f.sack = 0;
        }
    }
    memcpy(frame, &f, sizeof f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (node == NULL)
        node = malloc(sizeof *node);
    memset(node, 0, offsetof(struct link_node, links));
    for (unsigned i = 0; i < LINK_POOL; i++)
        memset(&node->links[i], 0, offsetof(struct link, tx));
    host_time_set_ns(1000 * MS);
    remote = NULL;
    last_size = 0;
    nic_full = false;
    answer = true;
    link_start(node, "disk1", 7, 42, &carrier);
    jumbo = size & 1;
    if (jumbo) {
        static uint8_t *memory;
        if (memory == NULL)
            memory = malloc(link_frames_memory(JUMBO));
        link_frames(memory, JUMBO);
    }
    link_listen(&events, accept_any, NULL);
    require(link_connect(1, "disk1", &events, NULL, &host) == OK);

    size_t at = 0;
    while (at < size) {
        uint8_t op = data[at++];
        switch (op >> 5) {
        case 0: // time passes
            host_time_advance_ns((uint64_t)(op & 31) * (op & 31) * MS);
            link_poll(time_ns());
            break;
        case 1: // a user sends
        case 2: {
            struct link *l = op & 1 ? remote : host;
            if (l == NULL)
                break;
            struct wire_access a = {.size = 4};
            struct wire_record r = {.type = l->host ? REC_MRD : REC_CPLD, .function = 1};
            for (unsigned i = 0; i < (op & 30u) * 4; i++)
                if (link_send(l, &r, &a, sizeof a, NULL, 0) != OK)
                    break;
            link_flush(l);
            break;
        }
        case 3: // the NIC, the user, the frame sent last
            nic_full = op & 1;
            answer = op & 2;
            if (op & 4 && last_size != 0) {
                uint8_t *copy = malloc(last_size);
                size_t n = last_size;
                memcpy(copy, last, n);
                link_input(&carrier, op & 8 ? 1 : 2, copy, n);
                free(copy);
            }
            if (op & 16)
                link_peer_announced("disk1", 1, op & 8 ? 7 : 8);
            break;
        default: { // a frame: two bytes of length, then bytes
            if (size - at < 2)
                return 0;
            size_t n = (size_t)(data[at] | data[at + 1] << 8) % 1600;
            at += 2;
            if (n > size - at)
                n = size - at;
            uint8_t *copy = malloc(n != 0 ? n : 1); // exact, for ASan
            memcpy(copy, data + at, n);
            at += n;
            if (op & 8)
                repair(copy, n, op & 7);
            link_input(&carrier, op & 1 && remote != NULL ? remote->path.peer : 1, copy, n);
            free(copy);
        }
        }
        for (unsigned i = 0; i < LINK_POOL; i++)
            check(&node->links[i]);
    }
    return 0;
}
