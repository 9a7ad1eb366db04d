// SPDX-License-Identifier: BSD-2-Clause
// See sim.h.
#include "tests/unit/net/sim.h"
#include "rt/panic.h"
#include "rt/time.h"
#include "tests/unit/host/host.h"

#include <stdlib.h>
#include <string.h>

#define PACKETS 4096u

struct packet {
    bool used, second;
    uint64_t at;
    uint32_t from, to;
    size_t size;
    uint8_t *bytes; // exactly as large as the frame: ASan sees every byte read too far
};

struct sim_node sim_nodes[SIM_NODES];
struct sim_faults sim_faults;
uint64_t sim_delay_ns = 200000;
unsigned sim_drop;
size_t sim_passes[SIM_NODES];
size_t sim_jumbo;
bool sim_sealed;
unsigned sim_no_aes = SIM_NODES;
void (*sim_tap)(uint32_t from, uint32_t to, const void *frame, size_t size);
enum sim_second sim_second;
static bool by_second;
static struct packet packets[PACKETS];
static unsigned packets_end; // none is used from here on
static uint64_t state;

uint64_t sim_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static bool happens(unsigned permille)
{
    return sim_random() % 1000 < permille;
}

static void put(uint32_t from, uint32_t to, const void *frame, size_t size)
{
    for (unsigned i = 0; i < PACKETS; i++) {
        struct packet *p = &packets[i];
        if (p->used)
            continue;
        uint64_t delay = sim_delay_ns + sim_random() % (sim_delay_ns / 8 + 1);
        if (happens(sim_faults.reorder))
            delay += sim_random() % (sim_delay_ns * 8);
        *p = (struct packet){true, by_second, time_ns() + delay, from, to, size, malloc(size)};
        packets_end = i < packets_end ? packets_end : i + 1;
        memcpy(p->bytes, frame, size);
        if (happens(sim_faults.flip))
            p->bytes[sim_random() % size] ^= (uint8_t)(1u << sim_random() % 8);
        if (sim_tap != NULL)
            sim_tap(from, to, frame, size);
        return;
    }
    panic("simulated wire is full");
}

static void path_open(void *ctx, struct carrier_path *path)
{
    (void)ctx;
    path->fresh_until = 1;
}

static size_t frame_most(void *ctx)
{
    const struct sim_node *n = ctx;
    return n->frame_most != 0 ? n->frame_most : n->frame_max;
}

static enum status frame_send(void *ctx, struct carrier_path *path, const void *frame, size_t size)
{
    struct sim_node *n = ctx;
    if (path->fresh_until != 1)
        panic("path was never opened");
    if (size > frame_most(n))
        panic("frame of %zu bytes", size);
    if (happens(sim_faults.nic_full))
        return ERR_BUSY;
    n->frames_out++;
    if (!n->cable)
        return ERR_LINK_DOWN;
    // A damaged frame fails the carrier's checksum: it is one more kind of loss.
    if (sim_drop != 0 && --sim_drop == 0)
        return OK;
    if (happens(sim_faults.loss) || happens(sim_faults.damage))
        return OK;
    if (sim_passes[n - sim_nodes] != 0 && size > sim_passes[n - sim_nodes])
        return OK;
    put(n->address, path->peer, frame, size);
    if (happens(sim_faults.duplicate))
        put(n->address, path->peer, frame, size);
    return OK;
}

static enum status second_send(void *ctx, struct carrier_path *path, const void *frame, size_t size)
{
    struct sim_node *n = ctx;
    if (sim_second == SIM_CUT || (sim_second == SIM_ONE_WAY && n != &sim_nodes[0]))
        return OK;
    if (sim_second == SIM_UNKNOWN && n == &sim_nodes[0] && n->unknown != 0) {
        n->unknown--;
        return ERR_NOTFOUND;
    }
    by_second = true;
    enum status s = frame_send(ctx, path, frame, size);
    by_second = false;
    return s;
}

static size_t frame_max(void *ctx)
{
    return ((struct sim_node *)ctx)->frame_max;
}

void sim_start(uint64_t seed)
{
    state = seed * 0x9e3779b97f4a7c15u | 1;
    sim_faults = (struct sim_faults){0};
    sim_delay_ns = 200000;
    sim_drop = 0;
    sim_jumbo = 0;
    memset(sim_passes, 0, sizeof sim_passes);
    sim_tap = NULL;
    for (unsigned i = 0; i < 16; i++)
        (void)sim_random();
    host_time_set_ns(1000000000);
}

void sim_stop(void)
{
    for (unsigned i = 0; i < PACKETS; i++) {
        if (packets[i].used)
            free(packets[i].bytes);
        packets[i].used = false;
    }
    for (unsigned i = 0; i < SIM_NODES; i++) {
        free(sim_nodes[i].link);
        free(sim_nodes[i].frames);
        sim_nodes[i].link = NULL;
        sim_nodes[i].frames = NULL;
    }
}

/// A node's private key follows from its name, and all names know each other.
void sim_keys(struct node_keys *keys, const char *own)
{
    static const char *const names[] = {"host1", "host2", "disk1", "disk2"};
    uint8_t private_key[CRYPTO_KEY], public_key[CRYPTO_KEY], psk[CRYPTO_KEY];
    crypto_hash(private_key, own, strlen(own), NULL, 0);
    crypto_hash(psk, "psk", 3, NULL, 0);
    keys_set(keys, private_key, psk);
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], own) == 0)
            continue;
        crypto_hash(private_key, names[i], strlen(names[i]), NULL, 0);
        crypto_public_key(public_key, private_key);
        if (keys_add_peer(keys, names[i], public_key) != OK)
            panic("key of %s", names[i]);
    }
}

void sim_boot(unsigned n, const char *name)
{
    struct sim_node *s = &sim_nodes[n];
    free(s->link);
    free(s->frames);
    *s = (struct sim_node){.address = n + 1,
                           .cable = true,
                           .carrier = {"sim", s, path_open, frame_send, frame_max, frame_most},
                           .second = {"second", s, path_open, second_send, frame_max, frame_most},
                           .unknown = 4,
                           .link = calloc(1, sizeof *s->link),
                           .frame_max = LINK_FRAME_BYTES};
    link_start(s->link, name, (uint32_t)sim_random() | 1, sim_random(), &s->carrier);
    if (sim_jumbo != 0) {
        s->frame_most = sim_jumbo;
        s->frames = malloc(link_frames_memory(sim_jumbo));
        link_frames(s->frames, sim_jumbo);
    }
    if (sim_sealed) {
        sim_keys(&s->keys, name);
        crypto_random_add(name, strlen(name));
        link_use_keys(&s->keys);
        if (n == sim_no_aes)
            s->link->capabilities &= ~WIRE_CAP_AESGCM;
    }
    if (sim_second != SIM_NONE)
        link_prefer(&s->second);
}

void sim_on(unsigned n)
{
    link_select(sim_nodes[n].link);
}

static void deliver(struct packet *slot)
{
    struct packet p = *slot; // what it causes may take the slot
    slot->used = false;
    for (unsigned i = 0; i < SIM_NODES; i++) {
        const struct sim_node *n = &sim_nodes[i];
        if (n->address != p.to || n->link == NULL || !n->cable)
            continue;
        link_select(n->link);
        link_input(p.second ? &n->second : &n->carrier, p.from, p.bytes, p.size);
    }
    free(p.bytes);
}

void sim_run(uint64_t ns, uint64_t step, void (*each)(void))
{
    uint64_t end = time_ns() + ns, tick = time_ns();
    for (;;) {
        uint64_t now = time_ns();
        if (now >= tick) {
            if (each != NULL)
                each();
            tick = now + step;
        }
        uint64_t next = tick < end ? tick : end;
        struct packet *first = NULL;
        while (packets_end > 0 && !packets[packets_end - 1].used)
            packets_end--;
        for (unsigned i = 0; i < packets_end; i++)
            if (packets[i].used && packets[i].at <= next) {
                next = packets[i].at;
                first = &packets[i];
            }
        for (unsigned i = 0; i < SIM_NODES; i++) {
            if (sim_nodes[i].link == NULL)
                continue;
            link_select(sim_nodes[i].link);
            if (link_next() < next) {
                next = link_next();
                first = NULL;
            }
        }
        if (next > now)
            host_time_set_ns(next);
        if (first != NULL)
            deliver(first);
        for (unsigned i = 0; i < SIM_NODES; i++) {
            if (sim_nodes[i].link == NULL)
                continue;
            link_select(sim_nodes[i].link);
            link_poll(time_ns());
        }
        if (time_ns() >= end && first == NULL)
            return;
        if (first == NULL && next <= now) // a full NIC is tried again at the next poll, not in no time at all
            host_time_advance_ns(1000);
    }
}

unsigned sim_in_flight(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < PACKETS; i++)
        n += packets[i].used;
    return n;
}
