// SPDX-License-Identifier: BSD-2-Clause
// The `udp` carrier: frames of links as UDP datagrams over IPv4. lwIP resolves addresses; this file keeps the
// 42 bytes in front of a frame ready per peer, so that a doorbell is not a walk through a TCP/IP stack. Only
// net/stack.c uses this.
#pragma once
#include "net/carrier.h"
#include "rt/nic.h"
#include <stdbool.h>

#define UDP_CARRIER_BROADCAST 0xffffffffu // path.peer: everybody on this LAN

extern const struct carrier udp_carrier;

/// After lwip_init(); the NIC is already lwIP's interface.
MUST_CHECK enum status udp_carrier_start(struct nic *nic);

enum udp_claim {
    UDP_NOT_OURS, // for lwIP
    UDP_OURS,
    UDP_DAMAGED, // ours by its port, but truncated, fragmented, or with a wrong or no checksum: dropped
};

struct udp_datagram {
    uint32_t peer; // sender, network order
    bool broadcast;
    const uint8_t *bytes;
    size_t size;
};

/// Looks at one received Ethernet frame of any bytes and any length.
enum udp_claim udp_carrier_claim(const uint8_t *frame, size_t size, struct udp_datagram *out);
