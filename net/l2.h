// SPDX-License-Identifier: BSD-2-Clause
// The `l2` carrier: frames of links on an EtherType of their own, between machines of one LAN. A peer is its
// IPv4 address as in `udp`, so a link may use either; ARP says who that is. Only net/stack.c uses this.
#pragma once
#include "net/carrier.h"
#include "rt/nic.h"
#include <stdbool.h>

extern const struct carrier l2_carrier;

void l2_carrier_start(struct nic *nic);

enum l2_claim {
    L2_NOT_OURS, // another EtherType
    L2_OURS,
    L2_FOREIGN, // to or from somebody that cannot be: dropped
    L2_DAMAGED, // its length does not fit what came: dropped
};

struct l2_frame {
    uint32_t peer; // sender, network order
    const uint8_t *bytes;
    size_t size; // without Ethernet's padding
};

/// Looks at one received Ethernet frame of any bytes and any length.
enum l2_claim l2_carrier_claim(const uint8_t *frame, size_t size, struct l2_frame *out);
