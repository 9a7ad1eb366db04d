// SPDX-License-Identifier: BSD-2-Clause
// The transport's registers: finding them, resetting, negotiating. Source: virtio 1.2, 3.1 and 4.1. The rings
// are in drivers/virtio_queue.c.
#include "drivers/virtio_device.h"
#include "drivers/hw.h"
#include "drivers/pci_regs.h"
#include "rt/log.h"
#include "rt/paging.h"
#include "rt/time.h"
#include <stddef.h>

#define CAPABILITIES_MAX 48u     // that fit into configuration space
#define RESET_US         100000u // nothing is promised; QEMU's ends at once

/// Maps what a capability describes, if at least `least` bytes of it are there; *size gets its length.
static volatile uint8_t *map(const struct pci_device *dev, uint8_t cap, uint32_t least, uint32_t *size)
{
    uint32_t index = pci_config_read(dev->at, (uint16_t)(cap + VIRTIO_PCI_CAP_BAR), 1);
    uint32_t offset = pci_config_read(dev->at, (uint16_t)(cap + VIRTIO_PCI_CAP_OFFSET), 4);
    *size = pci_config_read(dev->at, (uint16_t)(cap + VIRTIO_PCI_CAP_LENGTH), 4);
    if (index >= 6 || *size < least)
        return NULL;
    const struct pci_bar *bar = &dev->bars[index];
    if ((bar->kind != PCI_BAR_MEM32 && bar->kind != PCI_BAR_MEM64) || bar->base == 0 || offset > bar->size ||
        *size > bar->size - offset)
        return NULL;
    return mmio_map(bar->base + offset, *size);
}

enum status virtio_device_open(struct virtio_device *v, struct pci_device *dev)
{
    uint32_t ignored;
    *v = (struct virtio_device){.dev = dev};
    uint8_t cap = pci_find_capability(dev->at, PCI_CAP_VENDOR);
    // The first usable one of each type counts (4.1.4.1).
    for (unsigned i = 0; cap && i < CAPABILITIES_MAX; i++) {
        switch (pci_config_read(dev->at, (uint16_t)(cap + VIRTIO_PCI_CAP_CFG_TYPE), 1)) {
        case VIRTIO_PCI_CAP_COMMON_CFG:
            if (!v->common)
                v->common = map(dev, cap, VIRTIO_COMMON_BYTES, &ignored);
            break;
        case VIRTIO_PCI_CAP_NOTIFY_CFG:
            if (v->notify)
                break;
            v->notify = map(dev, cap, 2, &v->notify_size);
            v->notify_factor = pci_config_read(dev->at, (uint16_t)(cap + VIRTIO_PCI_CAP_NOTIFY_FACTOR), 4);
            break;
        case VIRTIO_PCI_CAP_ISR_CFG:
            if (!v->isr)
                v->isr = map(dev, cap, 1, &ignored);
            break;
        case VIRTIO_PCI_CAP_DEVICE_CFG:
            if (!v->config)
                v->config = map(dev, cap, 1, &v->config_size);
            break;
        default:
            break;
        }
        cap = pci_next_capability(dev->at, cap, PCI_CAP_VENDOR);
    }
    return v->common && v->notify && v->isr && v->config ? OK : ERR_UNSUPPORTED;
}

uint8_t virtio_device_status(const struct virtio_device *v)
{
    return hw_read8(v->common + VIRTIO_DEVICE_STATUS);
}

void virtio_device_set_status(const struct virtio_device *v, uint8_t bit)
{
    hw_write8(v->common + VIRTIO_DEVICE_STATUS, (uint8_t)(virtio_device_status(v) | bit));
}

enum status virtio_device_reset(const struct virtio_device *v)
{
    hw_write8(v->common + VIRTIO_DEVICE_STATUS, 0);
    for (uint32_t waited = 0; virtio_device_status(v) != 0; waited += 10) {
        if (waited >= RESET_US)
            return ERR_TIMEOUT;
        time_delay_us(10);
    }
    return OK;
}

static uint64_t offered(const struct virtio_device *v)
{
    uint64_t features = 0;
    for (uint32_t half = 0; half < 2; half++) {
        hw_write32(v->common + VIRTIO_DEVICE_FEATURE_SELECT, half);
        features |= (uint64_t)hw_read32(v->common + VIRTIO_DEVICE_FEATURE) << 32 * half;
    }
    return features;
}

enum status virtio_device_negotiate(struct virtio_device *v, uint64_t wanted, uint64_t needed)
{
    virtio_device_set_status(v, VIRTIO_STATUS_ACKNOWLEDGE);
    virtio_device_set_status(v, VIRTIO_STATUS_DRIVER);
    v->features = offered(v) & wanted;
    if ((v->features & needed) != needed)
        return ERR_UNSUPPORTED;
    for (uint32_t half = 0; half < 2; half++) {
        hw_write32(v->common + VIRTIO_DRIVER_FEATURE_SELECT, half);
        hw_write32(v->common + VIRTIO_DRIVER_FEATURE, (uint32_t)(v->features >> 32 * half));
    }
    virtio_device_set_status(v, VIRTIO_STATUS_FEATURES_OK);
    return virtio_device_status(v) & VIRTIO_STATUS_FEATURES_OK ? OK : ERR_UNSUPPORTED;
}

void virtio_device_take_interrupt(const struct virtio_device *v)
{
    (void)hw_read8(v->isr);
}

bool virtio_device_config_interrupt(const struct virtio_device *v)
{
    hw_write16(v->common + VIRTIO_CONFIG_MSIX_VECTOR, 0);
    return hw_read16(v->common + VIRTIO_CONFIG_MSIX_VECTOR) == 0; // 4.1.5.1.2.2
}
