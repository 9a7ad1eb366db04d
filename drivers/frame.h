// SPDX-License-Identifier: BSD-2-Clause
// An Ethernet frame, as far as a NIC's driver has to know it: how short it may be (IEEE 802.3, 3.2.8; without
// FCS), and how its pieces become one.
#pragma once
#include "rt/memory.h"
#include "rt/nic.h"

#define ETHERNET_HEADER 14u
#define ETHERNET_FCS    4u
#define ETHERNET_MIN    60u

/// Copies the pieces to `at`, one behind the other, and pads with zeros what is too short for a LAN (a
/// controller may do that with bytes of older frames). at: room for `most` bytes, at least ETHERNET_MIN.
/// Bytes of the frame; 0: not even a header; more than `most`: they do not fit, and some were not copied.
static inline size_t frame_gather(uint8_t *at, size_t most, const struct nic_piece *pieces, unsigned count)
{
    size_t size = 0;
    for (const struct nic_piece *p = pieces; p < pieces + count; p++) {
        size_t piece = p->size;
        if (piece > most - size)
            return most + 1;
        memory_copy(at + size, p->bytes, piece);
        size += piece;
    }
    if (size >= ETHERNET_MIN)
        return size;
    if (size < ETHERNET_HEADER)
        return 0;
    memory_fill(at + size, 0, ETHERNET_MIN - size);
    return ETHERNET_MIN;
}
