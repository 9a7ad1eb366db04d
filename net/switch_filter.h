// SPDX-License-Identifier: BSD-2-Clause
// What a guest may send: one look at a frame. Bytes from a stranger. No state.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_MIN 14u // a header, and nothing in it

enum frame_verdict {
    FRAME_FINE,
    FRAME_MALFORMED, // no whole header
    FRAME_SPOOFED, // its source, or the sender that its ARP names, is not `mac`; or the source is a group; or
                   // its ARP says that it has an IPv4 address that links use
    FRAME_FORBIDDEN, // of a link or an announcement, on either carrier; or between switches
                     // (01:80:c2:00:00:0x)
};
/// in_use: is this address (network order) one that links use? NULL: none is.
enum frame_verdict switch_judge(const uint8_t *frame, size_t size, const uint8_t mac[6],
                                bool (*in_use)(uint32_t address));
bool switch_is_arp(const uint8_t *frame, size_t size);
/// What a DHCP server says to a client.
bool switch_is_dhcp_answer(const uint8_t *frame, size_t size);
/// A frame of a link or an announcement: EtherType 0x88B5, or UDP over IPv4 or IPv6 from or to port 51966,
/// also behind VLAN tags.
bool switch_is_link(const uint8_t *frame, size_t size);
