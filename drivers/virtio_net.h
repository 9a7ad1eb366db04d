// SPDX-License-Identifier: BSD-2-Clause
// The driver of virtio network devices for drivers/nics.c.
#pragma once
#include "drivers/pci.h"
#include "rt/nic.h"
#include <stdint.h>

/// Modern virtio network device (1af4:1041, or 1af4:1000 where that one speaks virtio 1.0 as well): resets it
/// and starts its queues. ERR_UNSUPPORTED, ERR_NOMEM, ERR_TIMEOUT (the reset does not end); each is logged.
MUST_CHECK enum status virtio_net_start(struct pci_device *dev, struct nic **nic);
/// Interrupt handler (rt/irq.h); ctx is the struct nic. Interrupts are off until nic->ops->irq_enable.
void virtio_net_interrupt(void *ctx, uint8_t vector);
/// Makes the device interrupt now: by a command on its control queue. Without one nothing happens.
void virtio_net_provoke(struct nic *nic);
/// Stops it for good and gives its memory back (tests).
void virtio_net_stop(struct nic *nic);
