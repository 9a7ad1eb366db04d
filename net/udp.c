// SPDX-License-Identifier: BSD-2-Clause
// See udp.h. Every datagram carries a checksum and none is taken without (docs/protocol.md, "Carriers"): it
// is the only guard against damage above Ethernet's own. Fast way: headers made once per peer and second.
// Slow way (peer not resolved yet): lwIP.
#include "net/udp.h"
#include "net/checksum.h"
#include "net/lwip/headers.h"
#include "net/neighbour.h"
#include "net/wire.h"
#include "rt/time.h"
#include "rt/trace.h"

#define SECOND 1000000000ull

// Offsets in an Ethernet frame that carries a datagram: Ethernet II, IPv4 (RFC 791) without options, UDP (RFC
// 768).
enum {
    ETH_TYPE = 12,
    IP = 14,
    IP_LENGTH = IP + 2,
    IP_FRAGMENT = IP + 6,
    IP_TTL = IP + 8,
    IP_PROTOCOL = IP + 9,
    IP_CHECKSUM = IP + 10,
    IP_SOURCE = IP + 12,
    IP_DESTINATION = IP + 16,
    UDP = IP + 20,
    UDP_DESTINATION = UDP + 2,
    UDP_LENGTH = UDP + 4,
    UDP_CHECKSUM = UDP + 6,
    PAYLOAD = UDP + 8,
};

static struct nic *nic;
static size_t most; // frame_most
static struct udp_pcb *pcb;

static inline uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}
static inline void put16(uint8_t *p, size_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

// --- out ---

static bool resolve(uint32_t peer, uint8_t mac[6])
{
    if (neighbour_broadcast(peer)) {
        memset(mac, 0xff, 6);
        return true;
    }
    uint32_t hop = neighbour_hop(peer);
    return hop != 0 && neighbour_find(hop, mac);
}

/// True when path->header can be used.
static bool refresh(struct carrier_path *path, uint64_t now)
{
    uint8_t mac[6];
    uint32_t own_address = neighbour_address();
    path->fresh_until = now + SECOND;
    if (own_address == 0) {
        path->header_size = 0;
        path->fresh_until = 0;
        return false;
    }
    uint8_t *h = path->header;
    if (!resolve(path->peer, mac)) {
        uint32_t hop = neighbour_hop(path->peer);
        if (path->header_size == 0 || memcmp(h + IP_SOURCE, &own_address, 4) != 0 || hop == 0) {
            path->header_size = 0;
            path->fresh_until = 0; // ask again with every frame: lwIP limits its ARP requests itself
            return false;
        }
        // lwIP has forgotten the peer: asked again, and the old answer used meanwhile.
        if (!neighbour_ask(hop))
            path->fresh_until = now + SECOND / 10;
        return true;
    }
    memset(h, 0, PAYLOAD);
    memcpy(h, mac, 6);
    memcpy(h + 6, nic->mac, 6);
    put16(h + ETH_TYPE, 0x0800);
    h[IP] = 0x45;
    put16(h + IP_FRAGMENT, 0x4000); // don't fragment, so the identification may be 0 (RFC 6864)
    h[IP_TTL] = 64;
    h[IP_PROTOCOL] = 17;
    memcpy(h + IP_SOURCE, &own_address, 4);
    memcpy(h + IP_DESTINATION, &path->peer, 4);
    put16(h + UDP, WIRE_UDP_PORT);
    put16(h + UDP_DESTINATION, WIRE_UDP_PORT);
    path->header_sum = checksum_fold(checksum_add(0, h + IP, 20));
    path->header_size = PAYLOAD;
    return true;
}

static void path_open(void *ctx, struct carrier_path *path)
{
    (void)ctx;
    path->header_size = 0;
    path->fresh_until = 0;
}

static enum status send_slowly(uint32_t peer, const void *frame, size_t size)
{
    if (neighbour_address() == 0 || size > (size_t)nic->mtu - (PAYLOAD - IP)) // lwIP knows no jumbo frames
        return ERR_LINK_DOWN;
    struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, (u16_t)size, PBUF_RAM);
    if (p == NULL)
        return ERR_NOMEM;
    err_t err = pbuf_take(p, frame, (u16_t)size);
    if (err == ERR_OK) {
        ip_addr_t to;
        ip4_addr_set_u32(&to, peer);
        err = udp_sendto(pcb, p, &to, WIRE_UDP_PORT);
    }
    pbuf_free(p);
    return err == ERR_OK ? OK : ERR_LINK_DOWN;
}

static enum status frame_send(void *ctx, struct carrier_path *path, const void *frame, size_t size)
{
    (void)ctx;
    if (size > most)
        return ERR_RANGE;
    uint64_t now = path->now != 0 ? path->now : time_ns();
    if (now >= path->fresh_until && !refresh(path, now))
        return send_slowly(path->peer, frame, size);

    uint8_t *h = path->header;
    uint16_t ip_length = (uint16_t)(size + PAYLOAD - IP), udp_length = (uint16_t)(size + PAYLOAD - UDP);
    uint16_t length_be = __builtin_bswap16(ip_length), udp_be = __builtin_bswap16(udp_length);
    uint16_t sum = (uint16_t)~checksum_fold((uint64_t)path->header_sum + length_be);
    memcpy(h + IP_LENGTH, &length_be, 2);
    memcpy(h + IP_CHECKSUM, &sum, 2);
    memcpy(h + UDP_LENGTH, &udp_be, 2);

    // Pseudo header: addresses, protocol, UDP length; then the UDP header, its checksum 0, and the frame.
    uint64_t s = (uint64_t)udp_be * 2 + (17u << 8);
    s = checksum_add(s, h + IP_SOURCE, 8);
    uint32_t ports;
    memcpy(&ports, h + UDP, 4);
    sum = (uint16_t)~checksum_fold(checksum_add(s + ports, frame, size));
    if (sum == 0)
        sum = 0xffff;
    memcpy(h + UDP_CHECKSUM, &sum, 2);

    const struct nic_piece pieces[2] = {{h, PAYLOAD}, {frame, size}};
    enum status status = nic->ops->send(nic, pieces, 2);
    if (status == OK)
        trace(TRACE_DOORBELL, (uint32_t)(PAYLOAD + size));
    return status;
}

static size_t frame_max(void *ctx)
{
    (void)ctx;
    return (size_t)nic->mtu - (PAYLOAD - IP);
}

static size_t frame_most(void *ctx)
{
    (void)ctx;
    return most;
}

const struct carrier udp_carrier = {
    .name = "udp", .open = path_open, .send = frame_send, .frame_max = frame_max, .frame_most = frame_most};

enum status udp_carrier_start(struct nic *n)
{
    nic = n;
    most = nic_largest(n) - (PAYLOAD - IP);
    // Only to send from the right port while a peer is not resolved, and to keep lwIP from answering "port
    // unreachable".
    pcb = udp_new();
    if (pcb == NULL)
        return ERR_NOMEM;
    if (udp_bind(pcb, IP4_ADDR_ANY, WIRE_UDP_PORT) != ERR_OK)
        return ERR_BUSY;
    ip_set_option(pcb, SOF_BROADCAST);
    return OK;
}

// --- in ---

enum udp_claim udp_carrier_claim(const uint8_t *f, size_t size, struct udp_datagram *out)
{
    if (size < PAYLOAD || get16(f + ETH_TYPE) != 0x0800 || f[IP] != 0x45 || f[IP_PROTOCOL] != 17 ||
        get16(f + UDP_DESTINATION) != WIRE_UDP_PORT || neighbour_address() == 0)
        return UDP_NOT_OURS;
    uint32_t source, destination;
    memcpy(&source, f + IP_SOURCE, 4);
    memcpy(&destination, f + IP_DESTINATION, 4);
    out->broadcast = neighbour_broadcast(destination);
    if (destination != neighbour_address() && !out->broadcast)
        return UDP_NOT_OURS;
    if ((get16(f + IP_FRAGMENT) & 0x3fff) != 0) // more fragments, or an offset
        return UDP_DAMAGED;
    size_t ip_length = get16(f + IP_LENGTH), udp_length = get16(f + UDP_LENGTH);
    if (ip_length > size - IP || udp_length != ip_length - (UDP - IP) || udp_length < PAYLOAD - UDP)
        return UDP_DAMAGED;
    if (checksum_fold(checksum_add(0, f + IP, 20)) != 0xffff || (f[UDP_CHECKSUM] | f[UDP_CHECKSUM + 1]) == 0)
        return UDP_DAMAGED;
    uint64_t s = (uint64_t)__builtin_bswap16((uint16_t)udp_length) + (17u << 8);
    s = checksum_add(s, f + IP_SOURCE, 8);
    if (checksum_fold(checksum_add(s, f + UDP, udp_length)) != 0xffff)
        return UDP_DAMAGED;
    out->peer = source;
    out->bytes = f + PAYLOAD;
    out->size = udp_length - (PAYLOAD - UDP);
    return UDP_OURS;
}
