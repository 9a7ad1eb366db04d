// SPDX-License-Identifier: BSD-2-Clause
// net/switch.h: ports, their queues, and where a frame goes. Addresses: IEEE 802-2014, 8.2.
#include "net/switch.h"
#include "net/limit.h"
#include "net/switch_filter.h"
#include "rt/time.h"
#include <stdlib.h>
#include <string.h>

#define BURST_NS     10000000ull  // of a rate: what may go at once
#define ARP_INTERVAL 500000000ull // of what all ports together say to our stack
#define ARP_BURST    8u

// All ports together, towards the wire, from when a frame of a link was lost there (docs/architecture.md).
#define WIRE_MOST      125000000ull // bytes a second: 1 Gb/s. From there on there is no limit
#define WIRE_LEAST     1500000ull
#define WIRE_EPISODE   20000000ull  // ns: frames lost within it are one loss
#define WIRE_RECOVERY  100000000ull // ns without a loss: a 32nd more
#define WIRE_BURST_NS  1000000ull
#define WIRE_BURST_MIN (2 * SWITCH_FRAME_MAX)

struct bucket {
    uint64_t credit, ns; // bytes that may be sent, and as of when
};

struct switch_port {
    struct switch_config config;
    struct switch_stats stats;
    struct bucket bucket;
    unsigned first, count;
    uint16_t sizes[SWITCH_QUEUE];
    uint8_t frames[SWITCH_QUEUE][SWITCH_FRAME_MAX];
};

static struct {
    struct nic *nic;
    uint8_t mac[6];
    struct switch_port *ports[SWITCH_PORTS_MAX];
    unsigned count;
    void (*to_stack)(const uint8_t *frame, size_t size);
    bool (*in_use)(uint32_t address);
    struct limit arps;
    uint64_t wire_rate; // bytes a second; 0: no limit
    struct bucket wire_bucket;
    uint64_t lost_ns, grown_ns;
    bool crowding;                   // frames of ports went to the wire since the last loss
    uint8_t frame[SWITCH_FRAME_MAX]; // put together from pieces
} sw;

static bool same(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, 6) == 0;
}

static bool for_all(const uint8_t *destination)
{
    return destination[0] & 1;
}

void switch_start(struct nic *nic, const uint8_t mac[6])
{
    sw.nic = nic;
    memcpy(sw.mac, mac, 6);
    sw.wire_rate = 0;
    sw.crowding = false;
}

void switch_to_stack(void (*input)(const uint8_t *frame, size_t size))
{
    sw.to_stack = input;
}

void switch_protect(bool (*in_use)(uint32_t address))
{
    sw.in_use = in_use;
}

// --- ports ---

static struct switch_port *port_of(const uint8_t *mac)
{
    for (unsigned i = 0; i < sw.count; i++) {
        if (same(sw.ports[i]->config.mac, mac))
            return sw.ports[i];
    }
    return NULL;
}

/// What may be sent at once at a rate: at least one frame.
static uint64_t burst(uint64_t rate)
{
    uint64_t bytes = rate / (1000000000u / BURST_NS);
    return bytes > SWITCH_FRAME_MAX ? bytes : SWITCH_FRAME_MAX;
}

enum status switch_add(const struct switch_config *config, struct switch_port **port)
{
    if (for_all(config->mac))
        return ERR_INVAL;
    if (same(config->mac, sw.mac) || port_of(config->mac))
        return ERR_BUSY;
    if (sw.count == SWITCH_PORTS_MAX)
        return ERR_NOMEM;
    struct switch_port *p = calloc(1, sizeof *p);
    if (!p)
        return ERR_NOMEM;
    p->config = *config;
    p->bucket = (struct bucket){burst(config->rate), time_ns()};
    sw.ports[sw.count++] = p;
    if (sw.nic && sw.nic->ops->promiscuous)
        sw.nic->ops->promiscuous(sw.nic, true);
    *port = p;
    return OK;
}

void switch_remove(struct switch_port *port)
{
    for (unsigned i = 0; i < sw.count; i++) {
        if (sw.ports[i] != port)
            continue;
        sw.ports[i] = sw.ports[--sw.count];
        free(port);
        break;
    }
    if (sw.count == 0 && sw.nic && sw.nic->ops->promiscuous)
        sw.nic->ops->promiscuous(sw.nic, false);
}

struct switch_stats switch_stats(const struct switch_port *port)
{
    return port->stats;
}

const struct switch_port *switch_get(unsigned n)
{
    return n < sw.count ? sw.ports[n] : NULL;
}

const char *switch_name(const struct switch_port *port)
{
    return port->config.name;
}

// --- queues ---

static void enqueue(struct switch_port *port, const uint8_t *frame, size_t size)
{
    if (port->count == SWITCH_QUEUE) {
        port->stats.dropped++;
        return;
    }
    unsigned slot = (port->first + port->count++) % SWITCH_QUEUE;
    memcpy(port->frames[slot], frame, size);
    port->sizes[slot] = (uint16_t)size;
    port->stats.received++;
    port->stats.received_bytes += size;
    if (port->count == 1)
        port->config.attention(port->config.ctx);
}

const uint8_t *switch_first(const struct switch_port *port, size_t *size)
{
    if (port->count == 0)
        return NULL;
    *size = port->sizes[port->first];
    return port->frames[port->first];
}

void switch_drop(struct switch_port *port)
{
    if (port->count == 0)
        return;
    port->first = (port->first + 1) % SWITCH_QUEUE;
    port->count--;
}

/// To every port that is meant, but not back to `from` (NULL: none).
static void to_ports(const struct switch_port *from, const uint8_t *frame, size_t size)
{
    for (unsigned i = 0; i < sw.count; i++) {
        if (sw.ports[i] != from && (for_all(frame) || same(sw.ports[i]->config.mac, frame)))
            enqueue(sw.ports[i], frame, size);
    }
}

// --- frames from ports ---

/// Lets the credit grow with time, to `most`. False: it is not enough yet.
static bool enough(struct bucket *b, uint64_t rate, uint64_t most, size_t size)
{
    uint64_t now = time_ns(), passed = now - b->ns;
    if (passed > 1000000000u)
        passed = 1000000000u;
    uint64_t grown = rate / 1000 * passed / 1000000; // no overflow: at most a second of it
    if (grown) {
        b->credit = b->credit + grown < most ? b->credit + grown : most;
        b->ns = now;
    }
    return b->credit >= size;
}

static bool within_rate(struct switch_port *port, size_t size)
{
    uint64_t rate = port->config.rate;
    return rate == 0 || enough(&port->bucket, rate, burst(rate), size);
}

void switch_give_way(void)
{
    uint64_t now = time_ns();
    if (!sw.crowding || (sw.wire_rate && now - sw.lost_ns < WIRE_EPISODE))
        return;
    uint64_t half = (sw.wire_rate ? sw.wire_rate : WIRE_MOST) / 2;
    sw.wire_rate = half > WIRE_LEAST ? half : WIRE_LEAST;
    sw.lost_ns = sw.grown_ns = now;
    sw.crowding = false;
}

uint64_t switch_wire_rate(void)
{
    uint64_t now = time_ns();
    while (sw.wire_rate && now - sw.grown_ns >= WIRE_RECOVERY) {
        sw.grown_ns += WIRE_RECOVERY;
        sw.wire_rate += sw.wire_rate / 32;
        if (sw.wire_rate >= WIRE_MOST)
            sw.wire_rate = 0;
    }
    return sw.wire_rate;
}

static bool within_wire_rate(size_t size)
{
    if (__builtin_expect(!sw.wire_rate, true))
        return true;
    uint64_t rate = switch_wire_rate(), most = rate / (1000000000u / WIRE_BURST_NS);
    return rate == 0 || enough(&sw.wire_bucket, rate, most > WIRE_BURST_MIN ? most : WIRE_BURST_MIN, size);
}

/// May a guest's frame join those that wait in the NIC's ring?
static bool wire_is_free(void)
{
    unsigned places = sw.nic->places, leave = SWITCH_RESERVE;
    if (places > SWITCH_AHEAD + SWITCH_RESERVE)
        leave = places - SWITCH_AHEAD + 1;
    return !sw.nic->ops->room || sw.nic->ops->room(sw.nic, leave);
}

static enum status to_wire(const uint8_t *frame, size_t size)
{
    if (!sw.nic)
        return ERR_LINK_DOWN;
    if (!wire_is_free() || !within_wire_rate(size))
        return ERR_BUSY;
    enum status s = sw.nic->ops->send(sw.nic, &(struct nic_piece){frame, size}, 1);
    if (s == OK) {
        sw.crowding = true;
        sw.wire_bucket.credit -= sw.wire_rate ? size : 0;
    }
    return s;
}

/// May our own stack see a port's frame?
static bool stack_takes(const uint8_t *frame, size_t size)
{
    if (!sw.to_stack || switch_is_dhcp_answer(frame, size))
        return false;
    return !switch_is_arp(frame, size) || limit_take(&sw.arps, time_ns(), ARP_INTERVAL, ARP_BURST);
}

enum status switch_send(struct switch_port *port, const struct nic_piece *pieces, unsigned count)
{
    size_t size = 0;
    for (unsigned i = 0; i < count; i++) {
        if (pieces[i].size > sizeof sw.frame - size) {
            port->stats.malformed++;
            return OK;
        }
        memcpy(sw.frame + size, pieces[i].bytes, pieces[i].size);
        size += pieces[i].size;
    }
    switch (switch_judge(sw.frame, size, port->config.mac, sw.in_use)) {
    case FRAME_FINE:
        break;
    case FRAME_SPOOFED:
        port->stats.spoofed++;
        return OK;
    case FRAME_FORBIDDEN:
        port->stats.forbidden++;
        return OK;
    case FRAME_MALFORMED:
        port->stats.malformed++;
        return OK;
    }
    if (!within_rate(port, size)) {
        port->stats.held++;
        return ERR_BUSY;
    }
    bool here = same(sw.frame, sw.mac), other_port = port_of(sw.frame) != NULL;
    if (!here && !other_port && to_wire(sw.frame, size) == ERR_BUSY) {
        port->stats.held++; // nothing of it was delivered yet: it is tried again as a whole
        return ERR_BUSY;
    }
    if (port->config.rate)
        port->bucket.credit -= size;
    port->stats.sent++;
    port->stats.sent_bytes += size;
    to_ports(port, sw.frame, size);
    // Last: what the stack answers comes back through switch_from_stack and uses sw.frame.
    if ((here || for_all(sw.frame)) && stack_takes(sw.frame, size))
        sw.to_stack(sw.frame, size);
    return OK;
}

// --- frames from the wire and from the stack ---

bool switch_from_wire(const uint8_t *frame, size_t size)
{
    if (sw.count == 0)
        return true;
    if (size < FRAME_MIN)
        return false;
    // One with an address of ours comes from somebody who pretends, or is our own come round a loop.
    if (size <= SWITCH_FRAME_MAX && !port_of(frame + 6) && !switch_is_link(frame, size))
        to_ports(NULL, frame, size);
    return for_all(frame) || same(frame, sw.mac);
}

bool switch_from_stack(const struct nic_piece *pieces, unsigned count)
{
    size_t size = 0;
    if (sw.count == 0)
        return true;
    for (unsigned i = 0; i < count; i++) {
        if (pieces[i].size > sizeof sw.frame - size)
            return true; // larger than a port takes
        memcpy(sw.frame + size, pieces[i].bytes, pieces[i].size);
        size += pieces[i].size;
    }
    if (size < FRAME_MIN || switch_is_link(sw.frame, size))
        return true;
    to_ports(NULL, sw.frame, size);
    return for_all(sw.frame) || !port_of(sw.frame);
}
