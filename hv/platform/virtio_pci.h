// SPDX-License-Identifier: BSD-2-Clause
// A virtio device's PCI function (virtio 1.2, 4.1, modern interface only): configuration space, one memory
// BAR with common configuration, notifications, ISR, device configuration and the MSI-X table. MSI-X is its
// only interrupt. Must not know what the device does. By whoever runs the guest, one CPU at a time.
#pragma once
#include "hv/platform/io_space.h"
#include "hv/platform/msix.h"
#include "hv/platform/pci_host.h"
#include "hv/platform/virtqueue.h"
#include "rt/status.h"

#define VIRTIO_QUEUES_MAX 2u
#define VIRTIO_BAR_SIZE   0x8000u
#define VIRTIO_CONFIG_MAX 64u

#define VIRTIO_F_INDIRECT_DESC (1ull << 28)
#define VIRTIO_F_VERSION_1     (1ull << 32)

struct virtio_pci_ops {
    /// The driver has written to the notification of that queue.
    void (*notify)(void *ctx, unsigned queue);
    /// Everything is as after power-on.
    void (*reset)(void *ctx);
    /// A message of MSI-X.
    void (*message)(void *ctx, uint64_t address, uint32_t data);
    void *ctx;
};

struct virtio_pci {
    struct virtio_pci_ops ops;
    struct virtqueue_memory memory;
    struct io_space *io;
    uint64_t offered;                  // features
    uint8_t config[VIRTIO_CONFIG_MAX]; // of the device, read-only for the driver
    unsigned config_size, queue_count;
    uint64_t home; // of the BAR, before the guest moves it
    uint8_t devfn;

    uint64_t accepted;
    uint32_t feature_select, driver_select;
    uint16_t queue_select, config_vector;
    uint8_t status, isr;
    struct virtqueue queues[VIRTIO_QUEUES_MAX];
    struct guest_msix msix;
    uint8_t image[256], writable[256];
    bool mapped;
    uint64_t mapped_at;
};

/// Fill ops, memory, io, offered, config, config_size, queue_count, home first. device_id: virtio's (1:
/// network). class_code: base class and subclass. ERR_BUSY, ERR_NOMEM: as guest_pci_add.
MUST_CHECK enum status virtio_pci_init(struct virtio_pci *v, struct guest_pci *pci, uint8_t devfn,
                                       uint16_t device_id, uint16_t class_code);
/// Power-on state; the BAR is decoded, as firmware leaves it.
void virtio_pci_reset(struct virtio_pci *v);
/// The driver is at work (DRIVER_OK), and nothing has gone wrong.
bool virtio_pci_running(const struct virtio_pci *v);
/// Shows the queue's used chains to the guest, with an interrupt if it wants one.
void virtio_pci_publish(struct virtio_pci *v, unsigned queue);
/// The device must be reset (2.1.2): a queue is broken.
void virtio_pci_fail(struct virtio_pci *v);
