// SPDX-License-Identifier: BSD-2-Clause
// A virtio device on PCI, modern transport (virtio 1.2, 4.1), and its split virtqueues (2.7). Must not know
// what kind of device it is. Invariant: what the device writes into a ring is checked against what it was
// given before anybody uses it, and read once.
#pragma once
#include "drivers/pci.h"
#include "drivers/virtio_regs.h"
#include "rt/frames.h"
#include <stdbool.h>

struct virtio_device {
    struct pci_device *dev;
    volatile uint8_t *common, *isr, *config, *notify;
    uint32_t config_size, notify_size, notify_factor;
    uint64_t features; // negotiated
};

/// Finds and maps the device's four structures (4.1.4). ERR_UNSUPPORTED: one is missing or has no address: a
/// device of before virtio 1.0, or one that the firmware left without BARs.
MUST_CHECK enum status virtio_device_open(struct virtio_device *v, struct pci_device *dev);
/// Reset (2.4); on OK the device touches no memory of ours any more. ERR_TIMEOUT.
MUST_CHECK enum status virtio_device_reset(const struct virtio_device *v);
/// ACKNOWLEDGE, DRIVER, and the features out of `wanted` that the device offers (3.1.1). ERR_UNSUPPORTED: it
/// offers not all of `needed`, or takes not what it offered.
MUST_CHECK enum status virtio_device_negotiate(struct virtio_device *v, uint64_t wanted, uint64_t needed);
uint8_t virtio_device_status(const struct virtio_device *v);
/// Adds a bit to the device status.
void virtio_device_set_status(const struct virtio_device *v, uint8_t bit);
/// Reads the interrupt status, which takes INTx away (4.1.4.5).
void virtio_device_take_interrupt(const struct virtio_device *v);
/// Lets changes of the configuration send MSI-X entry 0. False: the device has no resources for it.
bool virtio_device_config_interrupt(const struct virtio_device *v);

#define VIRTQ_MAX 256u

struct virtq {
    volatile struct virtq_desc *desc;
    volatile struct virtq_avail *avail;
    volatile struct virtq_used *used;
    volatile uint8_t *doorbell;
    uint16_t index, size; // size: a power of two
    uint16_t avail_idx;   // given to the device so far
    uint16_t used_idx;    // taken back so far
    phys_t memory;
    bool with_device[VIRTQ_MAX]; // by descriptor
};

/// Memory for a queue of at most VIRTQ_MAX. ERR_NOMEM.
MUST_CHECK enum status virtq_alloc(struct virtq *q);
void virtq_free(struct virtq *q);
/// Empties the queue and tells the device of it, as its queue `index`, with at most `size_max` entries (a
/// power of two); `msix`: its interrupts send entry 0. Interrupts of it are off. ERR_UNSUPPORTED: the device
/// has no such queue, or wants a size or a doorbell that makes no sense.
MUST_CHECK enum status virtq_start(struct virtq *q, const struct virtio_device *v, uint16_t index,
                                   uint16_t size_max, bool msix);
/// Gives the chain that begins at descriptor `id` to the device; it sees it after virtq_publish.
void virtq_give(struct virtq *q, uint16_t id);
/// Shows the device what was given, and rings its doorbell if it wants that.
void virtq_publish(struct virtq *q);
/// Takes the next chain that the device is done with. ERR_NOTFOUND: none; ERR_PROTOCOL: the device names one
/// that it does not have, or more than there are: it must be reset.
MUST_CHECK enum status virtq_take(struct virtq *q, uint16_t *id, uint32_t *len);
/// What is used from now on interrupts, or not. What was used before does not: look at the queue afterwards.
void virtq_interrupts(struct virtq *q, bool on);
