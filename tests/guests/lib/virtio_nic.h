// SPDX-License-Identifier: BSD-2-Clause
// A virtio-net device that only sends (virtio 1.2, 4.1 and 5.1): one frame, given to it as often as its queue
// has places. Receives nothing, takes no interrupts.
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct virtio_sender {
    uint8_t mac[6];
    uint32_t notify; // where a write says that there is something to send
    uint16_t places, given;
};

/// Finds the first such device and starts it. False: there is none, or not as expected.
bool virtio_sender_start(struct virtio_sender *s);
/// What each place of the queue sends from now on; at most 1514 bytes.
void virtio_sender_frame(const uint8_t *frame, uint32_t size);
/// Gives all free places to the device and says so, once.
void virtio_sender_send(struct virtio_sender *s);
/// Frames that the device has taken so far, modulo 65536.
uint16_t virtio_sender_taken(void);
