// SPDX-License-Identifier: BSD-2-Clause
// net/switch_filter.h. EtherTypes: IEEE 802.1Q (tags), RFC 826 (ARP), RFC 791, RFC 8200.
#include "net/switch_filter.h"
#include "net/wire.h"
#include <string.h>

#define TYPE_VLAN   0x8100u
#define TYPE_QINQ   0x88a8u
#define TYPE_ARP    0x0806u
#define TYPE_IPV4   0x0800u
#define TYPE_IPV6   0x86ddu
#define TAGS_MAX    2u
#define UDP         17u
#define DHCP_CLIENT 68u
#define FRAGMENT    44u // IPv6 extension header
#define OFFSET_MASK 0x1fffu

static unsigned u16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

/// EtherType behind the tags; *at: where its payload begins. 0: the frame ends before it, or has too many
/// tags.
static unsigned type_of(const uint8_t *frame, size_t size, size_t *at)
{
    size_t where = 12;
    for (unsigned tags = 0; tags <= TAGS_MAX && where + 2 <= size; tags++, where += 4) {
        unsigned type = u16(frame + where);
        if (type != TYPE_VLAN && type != TYPE_QINQ) {
            *at = where + 2;
            return type;
        }
    }
    return 0;
}

/// The ports of a UDP datagram over IPv4 at `at`; NULL: it is none. Later fragments carry no ports, and
/// neither links nor our stack take any.
static const uint8_t *ports_of(const uint8_t *frame, size_t size, size_t at)
{
    if (size - at < 20 || frame[at + 9] != UDP || (u16(frame + at + 6) & OFFSET_MASK) != 0)
        return NULL;
    size_t header = (frame[at] & 15u) * 4u;
    return header >= 20 && size - at >= header + 4 ? frame + at + header : NULL;
}

static bool our_ports(const uint8_t *p, size_t left)
{
    return left >= 4 && (u16(p) == WIRE_UDP_PORT || u16(p + 2) == WIRE_UDP_PORT);
}

bool switch_is_link(const uint8_t *frame, size_t size)
{
    size_t at;
    unsigned type = size >= FRAME_MIN ? type_of(frame, size, &at) : 0;
    if (type == WIRE_ETHERTYPE)
        return true;
    if (type == TYPE_IPV4) {
        const uint8_t *ports = ports_of(frame, size, at);
        return ports && our_ports(ports, 4);
    }
    if (type == TYPE_IPV6 && size - at >= 40 && frame[at + 6] == UDP)
        return our_ports(frame + at + 40, size - at - 40);
    if (type == TYPE_IPV6 && size - at >= 48 && frame[at + 6] == FRAGMENT && frame[at + 40] == UDP)
        return our_ports(frame + at + 48, size - at - 48);
    return false;
}

bool switch_is_arp(const uint8_t *frame, size_t size)
{
    size_t at;
    return size >= FRAME_MIN && type_of(frame, size, &at) == TYPE_ARP;
}

bool switch_is_dhcp_answer(const uint8_t *frame, size_t size)
{
    size_t at;
    if (size < FRAME_MIN || type_of(frame, size, &at) != TYPE_IPV4)
        return false;
    const uint8_t *ports = ports_of(frame, size, at);
    return ports && u16(ports + 2) == DHCP_CLIENT;
}

enum frame_verdict switch_judge(const uint8_t *frame, size_t size, const uint8_t mac[6],
                                bool (*in_use)(uint32_t address))
{
    static const uint8_t between_switches[5] = {0x01, 0x80, 0xc2, 0x00, 0x00};
    size_t at;
    if (size < FRAME_MIN)
        return FRAME_MALFORMED;
    if (memcmp(frame + 6, mac, 6) != 0)
        return FRAME_SPOOFED;
    if (memcmp(frame, between_switches, sizeof between_switches) == 0 && frame[5] < 0x10)
        return FRAME_FORBIDDEN;
    unsigned type = type_of(frame, size, &at);
    if (type == 0)
        return FRAME_MALFORMED;
    if (type == TYPE_ARP) {
        uint32_t address;
        if (size - at < 28)
            return FRAME_MALFORMED;
        memcpy(&address, frame + at + 14, sizeof address);
        if (memcmp(frame + at + 8, mac, 6) != 0 || (in_use && in_use(address)))
            return FRAME_SPOOFED;
    }
    return switch_is_link(frame, size) ? FRAME_FORBIDDEN : FRAME_FINE;
}
