// SPDX-License-Identifier: BSD-2-Clause
// A virtio-net device, as simple as can be (virtio 1.2, 4.1 and 5.1): it sends one frame as often as it is
// told, and takes frames into one buffer. No interrupts, no features but VERSION_1.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define VIRTIO_NIC_PLACES 64u // of each queue, at most
#define VIRTIO_NIC_HEADER 12u
#define VIRTIO_NIC_FRAME  1514u

struct virtio_nic_queue {
    struct {
        uint64_t address;
        uint32_t length;
        uint16_t flags, next;
    } descriptors[VIRTIO_NIC_PLACES];
    struct {
        uint16_t flags, index, ring[VIRTIO_NIC_PLACES];
    } available;
    _Alignas(4) struct {
        uint16_t flags;
        volatile uint16_t index;
        struct {
            uint32_t id, length;
        } ring[VIRTIO_NIC_PLACES];
    } used;
    uint32_t notify; // where a write says that something was given
    uint16_t given;
    uint8_t packet[VIRTIO_NIC_HEADER + VIRTIO_NIC_FRAME]; // what all its places are
} __attribute__((aligned(4096)));

struct virtio_nic {
    struct virtio_nic_queue receive, transmit;
    uint8_t mac[6];
    uint16_t places; // of the smaller queue
};

/// Finds the device with this number (0: the first) and starts it. False: there is none, or not as expected.
bool virtio_nic_start(struct virtio_nic *n, unsigned number);
/// What is sent from now on; at most VIRTIO_NIC_FRAME bytes.
void virtio_nic_frame(struct virtio_nic *n, const uint8_t *frame, uint32_t size);
/// So many frames are given to the device, which is told once; as many must be free. Returns the ticks of
/// that.
uint64_t virtio_nic_send(struct virtio_nic *n, uint16_t frames);
/// So many buffers are given to the device, which is told once. Returns the ticks of that.
uint64_t virtio_nic_take(struct virtio_nic *n, uint16_t frames);
/// Frames (buffers) that were given and are not back yet.
uint16_t virtio_nic_waiting(const struct virtio_nic_queue *q);
