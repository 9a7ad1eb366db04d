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
    if (type == TYPE_IPV4 && size - at >= 20 && frame[at + 9] == UDP) {
        size_t header = (frame[at] & 15u) * 4u;
        bool first =
            (u16(frame + at + 6) & OFFSET_MASK) == 0; // later fragments carry no ports, and links take none
        return first && header >= 20 && size - at > header &&
               our_ports(frame + at + header, size - at - header);
    }
    if (type == TYPE_IPV6 && size - at >= 40 && frame[at + 6] == UDP)
        return our_ports(frame + at + 40, size - at - 40);
    if (type == TYPE_IPV6 && size - at >= 48 && frame[at + 6] == FRAGMENT && frame[at + 40] == UDP)
        return our_ports(frame + at + 48, size - at - 48);
    return false;
}

enum frame_verdict switch_judge(const uint8_t *frame, size_t size, const uint8_t mac[6])
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
    if (type == TYPE_ARP && (size - at < 28 || memcmp(frame + at + 8, mac, 6) != 0))
        return size - at < 28 ? FRAME_MALFORMED : FRAME_SPOOFED;
    return switch_is_link(frame, size) ? FRAME_FORBIDDEN : FRAME_FINE;
}
