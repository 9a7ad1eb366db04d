// SPDX-License-Identifier: BSD-2-Clause
// A guest's virtual NIC: virtio-net (virtio 1.2, 5.1) with one pair of queues, mergeable receive buffers and
// transmit checksums. Must not know what it is plugged into. By whoever runs the guest, one CPU at a time.
#pragma once
#include "hv/platform/virtio_pci.h"

#define VIRTIO_NET_FRAME 1518u

struct virtio_net_ops {
    /// Sends a frame. ERR_BUSY: not now; it is tried again at the next virtio_net_poll.
    MUST_CHECK enum status (*send)(void *ctx, const uint8_t *frame, size_t size);
    /// The oldest frame that waits for the guest, NULL: none; and it is done with.
    const uint8_t *(*first)(void *ctx, size_t *size);
    void (*drop)(void *ctx);
    void *ctx;
};

struct virtio_net {
    struct virtio_pci pci;
    struct virtio_net_ops ops;
    void (*message)(void *ctx, uint64_t address, uint32_t data); // of its MSI-X; to be filled
    void *message_ctx;
    bool held;       // a frame of the guest's waits to be sent
    uint64_t broken; // queues that the driver spoilt
    uint8_t frame[VIRTIO_NET_FRAME];
};

/// message, message_ctx, pci.memory, pci.io and pci.home are to be filled; the rest is made here. `mac`: its
/// address.
MUST_CHECK enum status virtio_net_init(struct virtio_net *n, struct guest_pci *pci, uint8_t devfn,
                                       const uint8_t mac[6], const struct virtio_net_ops *ops);
/// Power-on state.
void virtio_net_reset(struct virtio_net *n);
/// Gives the guest what waits for it, and sends what could not be sent. True: something is still held.
bool virtio_net_poll(struct virtio_net *n);
