// SPDX-License-Identifier: BSD-2-Clause
// The carrier seam: what moves frames of a link between two machines: `udp` (net/udp.c) and `l2` (net/l2.c).
// Both know a peer by its IPv4 address. A carrier may lose, repeat and reorder frames; it must not deliver
// what it knows to be damaged. It knows nothing of links: what it receives goes to the function that
// net/stack.c gave it.
#pragma once
#include "rt/status.h"
#include <stddef.h>
#include <stdint.h>

/// The way to one peer, kept by the link for the carrier (resolved addresses, headers made in advance).
struct carrier_path {
    uint32_t peer;        // IPv4 address, network order
    uint32_t header_size; // 0: nothing prepared
    uint64_t fresh_until; // time_ns() after which the carrier looks again
    uint64_t now;         // time_ns() of who sends, if it has just looked; 0: the carrier looks itself
    uint8_t header[48];
    uint32_t header_sum; // carrier's own
};

struct carrier {
    const char *name; // "udp"
    void *ctx;
    /// Prepares the way to path->peer, as far as it can be done now. Never waits.
    void (*open)(void *ctx, struct carrier_path *path);
    /// Sends one frame; the bytes are free on return. ERR_BUSY: the NIC is full, try again after the next
    /// poll. ERR_UNSUPPORTED: this carrier does not lead to that peer; ERR_NOTFOUND: it may, but where to is
    /// not known yet and has been asked for. These and any other error: the frame is lost, as if on the wire.
    MUST_CHECK enum status (*send)(void *ctx, struct carrier_path *path, const void *frame, size_t size);
    /// Largest frame, in bytes (link MTU less the carrier's own headers).
    size_t (*frame_max)(void *ctx);
    /// The same of jumbo frames: this machine can send and take them, the way to a peer may not. NULL: as
    /// frame_max.
    size_t (*frame_most)(void *ctx);
};
