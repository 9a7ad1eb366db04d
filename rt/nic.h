// SPDX-License-Identifier: BSD-2-Clause
// The NIC seam: what a driver in drivers/ provides and net/ uses. Neither knows the other; only the role's
// main joins them. A NIC is used by one CPU at a time (the caller holds the net lock).
#pragma once
#include "rt/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NIC_HEADER_MAX 18u // of a frame: Ethernet's, with one VLAN tag (IEEE 802.1Q)

struct nic;

/// One piece of a frame to send; the pieces are concatenated.
struct nic_piece {
    const void *bytes;
    size_t size;
};

struct nic_ops {
    /// Queues one Ethernet frame (destination MAC first, no FCS) and rings the doorbell. Copies; the pieces
    /// are free on return. ERR_BUSY: ring full (poll and retry); ERR_RANGE: longer than nic_largest +
    /// NIC_HEADER_MAX; ERR_LINK_DOWN: no carrier.
    MUST_CHECK enum status (*send)(struct nic *nic, const struct nic_piece *pieces, unsigned count);
    /// Takes received frames off the ring, at most `budget`, calling nic->receive for each; reclaims sent
    /// descriptors. Returns the number of frames received.
    unsigned (*poll)(struct nic *nic, unsigned budget);
    /// True while the cable has carrier.
    bool (*link_up)(struct nic *nic);
    /// Lets a received frame raise nic->irq_vector (for an idle CPU), or not (while polling). No effect if
    /// irq_vector is 0.
    void (*irq_enable)(struct nic *nic, bool on);
    /// Takes frames for any address, or only for its own and for all. NULL: it always takes all.
    void (*promiscuous)(struct nic *nic, bool on);
    /// True while at least `frames` more frames can be queued. NULL: not known.
    bool (*room)(struct nic *nic, unsigned frames);
};

struct nic {
    const struct nic_ops *ops;
    const char *name; // "e1000 0000:00:02.0"
    uint8_t mac[6];
    uint16_t mtu;       // largest payload after the header that a LAN is expected to pass
    uint16_t largest;   // largest that the NIC sends and takes, jumbo frames included; 0: as mtu
    uint16_t places;    // frames (none of them jumbo) that can be queued when none waits; 0: not known
    uint8_t irq_vector; // 0: the machine could not route one; poll only
    bool irq_on;        // the driver's: a received frame raises it; off again when it has
    void (*receive)(void *ctx, const uint8_t *frame,
                    size_t size); // set by the user of the NIC; frame is valid during the call
    void *receive_ctx;
    struct {
        uint64_t tx_frames, tx_bytes, rx_frames, rx_bytes, rx_errors, tx_busy;
    } stats;
};

static inline size_t nic_largest(const struct nic *nic)
{
    return nic->largest > nic->mtu ? nic->largest : nic->mtu;
}
