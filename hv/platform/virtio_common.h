// SPDX-License-Identifier: BSD-2-Clause
// Common configuration of a virtio device (virtio 1.2, 4.1.4.3): features, status, queues. Inside the virtio
// files of this room only.
#pragma once
#include "hv/platform/virtio_pci.h"

#define VIRTIO_COMMON_SIZE 56u

uint64_t virtio_common_read(struct virtio_pci *v, unsigned offset, unsigned size);
void virtio_common_write(struct virtio_pci *v, unsigned offset, unsigned size, uint64_t value);
/// The driver wrote status 0.
void virtio_common_reset(struct virtio_pci *v);
