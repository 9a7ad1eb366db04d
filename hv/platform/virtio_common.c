// SPDX-License-Identifier: BSD-2-Clause
// hv/platform/virtio_common.h. Status bits: virtio 1.2, 2.1.
#include "hv/platform/virtio_common.h"
#include <string.h>

#define FEATURES_OK 0x08u
#define DRIVER_OK   0x04u
#define NEEDS_RESET 0x40u
#define NO_VECTOR   0xffffu

enum field { // offsets
    DEVICE_FEATURE_SELECT = 0,
    DEVICE_FEATURE = 4,
    DRIVER_FEATURE_SELECT = 8,
    DRIVER_FEATURE = 12,
    CONFIG_VECTOR = 16,
    NUM_QUEUES = 18,
    STATUS = 20,
    GENERATION = 21,
    QUEUE_SELECT = 22,
    QUEUE_SIZE = 24,
    QUEUE_VECTOR = 26,
    QUEUE_ENABLE = 28,
    QUEUE_NOTIFY_OFF = 30,
    QUEUE_DESC = 32,
    QUEUE_DRIVER = 40,
    QUEUE_DEVICE = 48,
};

static struct virtqueue *selected(struct virtio_pci *v)
{
    return v->queue_select < v->queue_count ? &v->queues[v->queue_select] : NULL;
}

/// The three areas' addresses are fields of 8 bytes that may be accessed in halves.
static uint64_t *area(struct virtqueue *q, unsigned offset)
{
    switch (offset & ~7u) {
    case QUEUE_DESC:
        return &q->descriptors;
    case QUEUE_DRIVER:
        return &q->driver;
    default:
        return &q->device;
    }
}

static uint64_t queue_read(struct virtio_pci *v, unsigned offset)
{
    struct virtqueue *q = selected(v);
    if (!q)
        return 0; // size 0: no such queue
    switch (offset) {
    case QUEUE_SIZE:
        return q->size;
    case QUEUE_VECTOR:
        return q->vector;
    case QUEUE_ENABLE:
        return q->enabled;
    case QUEUE_NOTIFY_OFF:
        return v->queue_select;
    default:
        return *area(q, offset) >> (offset & 4) * 8;
    }
}

uint64_t virtio_common_read(struct virtio_pci *v, unsigned offset, unsigned size)
{
    uint64_t value = 0;
    if (offset >= VIRTIO_COMMON_SIZE)
        return 0;
    switch (offset) {
    case DEVICE_FEATURE_SELECT:
        value = v->feature_select;
        break;
    case DEVICE_FEATURE:
        value = v->feature_select < 2 ? v->offered >> v->feature_select * 32 : 0;
        break;
    case DRIVER_FEATURE_SELECT:
        value = v->driver_select;
        break;
    case DRIVER_FEATURE:
        value = v->driver_select < 2 ? v->accepted >> v->driver_select * 32 : 0;
        break;
    case CONFIG_VECTOR:
        value = v->config_vector;
        break;
    case NUM_QUEUES:
        value = v->queue_count;
        break;
    case STATUS:
        value = v->status;
        break;
    case GENERATION: // the device's configuration never changes
        break;
    case QUEUE_SELECT:
        value = v->queue_select;
        break;
    default:
        if (offset >= QUEUE_SIZE)
            value = queue_read(v, offset);
        break;
    }
    return size >= 8 ? value : value & ((1ull << size * 8) - 1);
}

static uint16_t vector_of(const struct virtio_pci *v, uint64_t value)
{
    return value < v->msix.vectors ? (uint16_t)value : NO_VECTOR;
}

static void queue_write(struct virtio_pci *v, unsigned offset, unsigned size, uint64_t value)
{
    struct virtqueue *q = selected(v);
    if (!q)
        return;
    if (offset == QUEUE_VECTOR) {
        q->vector = vector_of(v, value);
        return;
    }
    if (q->enabled) // 4.1.4.3.2: not to be changed any more
        return;
    switch (offset) {
    case QUEUE_SIZE:
        if (value >= 1 && value <= VIRTQUEUE_MAX && (value & (value - 1)) == 0)
            q->size = (uint16_t)value;
        break;
    case QUEUE_ENABLE:
        q->enabled = value == 1;
        break;
    case QUEUE_NOTIFY_OFF:
        break;
    default: {
        uint64_t *at = area(q, offset);
        unsigned shift = (offset & 4) * 8;
        *at = size == 8 ? value : (*at & ~(0xffffffffull << shift)) | (value & 0xffffffffu) << shift;
        break;
    }
    }
}

/// Features are agreed on, or FEATURES_OK does not stay (3.1.1).
static void set_status(struct virtio_pci *v, uint8_t status)
{
    if (status == 0) {
        virtio_common_reset(v);
        return;
    }
    if (status & FEATURES_OK && !(v->status & FEATURES_OK) &&
        (v->accepted & ~v->offered || !(v->accepted & VIRTIO_F_VERSION_1)))
        status &= (uint8_t)~FEATURES_OK;
    v->status = (uint8_t)((v->status & NEEDS_RESET) | status);
}

void virtio_common_write(struct virtio_pci *v, unsigned offset, unsigned size, uint64_t value)
{
    if (offset >= VIRTIO_COMMON_SIZE)
        return;
    switch (offset) {
    case DEVICE_FEATURE_SELECT:
        v->feature_select = (uint32_t)value;
        break;
    case DRIVER_FEATURE_SELECT:
        v->driver_select = (uint32_t)value;
        break;
    case DRIVER_FEATURE:
        if (v->driver_select < 2 && !(v->status & FEATURES_OK)) {
            unsigned shift = v->driver_select * 32;
            v->accepted = (v->accepted & ~(0xffffffffull << shift)) | (value & 0xffffffffu) << shift;
        }
        break;
    case CONFIG_VECTOR:
        v->config_vector = vector_of(v, value);
        break;
    case STATUS:
        set_status(v, (uint8_t)value);
        break;
    case QUEUE_SELECT:
        v->queue_select = (uint16_t)value;
        break;
    default:
        if (offset >= QUEUE_SIZE)
            queue_write(v, offset, size, value);
        break;
    }
}

void virtio_common_reset(struct virtio_pci *v)
{
    v->accepted = 0;
    v->feature_select = v->driver_select = 0;
    v->queue_select = 0;
    v->config_vector = NO_VECTOR;
    v->status = v->isr = 0;
    for (unsigned i = 0; i < v->queue_count; i++)
        virtqueue_reset(&v->queues[i]);
    v->ops.reset(v->ops.ctx);
}

bool virtio_pci_running(const struct virtio_pci *v)
{
    return (v->status & (DRIVER_OK | NEEDS_RESET)) == DRIVER_OK;
}

void virtio_pci_publish(struct virtio_pci *v, unsigned queue)
{
    struct virtqueue *q = &v->queues[queue];
    if (!virtqueue_publish(q, &v->memory))
        return;
    v->isr |= 1;
    guest_msix_raise(&v->msix, q->vector);
}

void virtio_pci_fail(struct virtio_pci *v)
{
    v->status |= NEEDS_RESET;
    v->isr |= 2;
    guest_msix_raise(&v->msix, v->config_vector);
}
