// SPDX-License-Identifier: BSD-2-Clause
// hv/platform/virtio_pci.h: the function and its BAR. Common configuration: hv/platform/virtio_common.c.
#include "hv/platform/virtio_pci.h"
#include "hv/platform/virtio_common.h"
#include <string.h>

#define COMMAND        0x04u
#define COMMAND_MEMORY 0x02u
#define BAR0           0x10u
#define CAP_MSIX       0x40u
#define CAP_COMMON     0x50u
#define CAP_NOTIFY     0x60u
#define CAP_ISR        0x74u
#define CAP_DEVICE     0x84u
#define CAP_WINDOW     0x94u // access to the BAR through configuration space (4.1.4.9)
#define CAP_END        0xa8u
#define CAP_VENDOR     0x09u

#define MAX_QUEUE_NOTIFY 4u // bytes between two queues' notifications

// The BAR
#define AT_COMMON  0x0000u
#define AT_ISR     0x1000u
#define AT_DEVICE  0x2000u
#define AT_NOTIFY  0x3000u
#define AT_MSIX    0x4000u
#define AT_PENDING 0x5000u
#define REGION     0x1000u

enum cfg_type { COMMON_CFG = 1, NOTIFY_CFG, ISR_CFG, DEVICE_CFG, PCI_CFG };

static uint32_t ones(unsigned size)
{
    return size >= 4 ? ~0u : (1u << size * 8) - 1;
}

// --- the BAR ---

static uint64_t bar_read(void *dev, uint64_t offset, unsigned size)
{
    struct virtio_pci *v = dev;
    uint64_t value = 0, in = offset % REGION;
    switch (offset - in) {
    case AT_COMMON:
        return virtio_common_read(v, (unsigned)in, size);
    case AT_ISR:
        value = in == 0 ? v->isr : 0;
        v->isr = 0;
        return value;
    case AT_DEVICE:
        if (in + size <= v->config_size)
            memcpy(&value, v->config + in, size);
        return value;
    case AT_MSIX:
        return guest_msix_read(&v->msix, in, size);
    case AT_PENDING:
        return in == 0 ? v->msix.pending : 0;
    default:
        return 0;
    }
}

static void bar_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct virtio_pci *v = dev;
    uint64_t in = offset % REGION;
    switch (offset - in) {
    case AT_COMMON:
        virtio_common_write(v, (unsigned)in, size, value);
        break;
    case AT_NOTIFY:
        if (in / MAX_QUEUE_NOTIFY < v->queue_count && virtio_pci_running(v))
            v->ops.notify(v->ops.ctx, (unsigned)(in / MAX_QUEUE_NOTIFY));
        break;
    case AT_MSIX:
        guest_msix_write(&v->msix, in, size, value);
        break;
    default:
        break;
    }
}

static uint32_t image32(const struct virtio_pci *v, unsigned at)
{
    uint32_t value;
    memcpy(&value, v->image + at, sizeof value);
    return value;
}

/// Brings the io_space in line with Command and the BAR.
static void remap(struct virtio_pci *v)
{
    uint64_t address = image32(v, BAR0) & ~0xfu;
    bool on = v->image[COMMAND] & COMMAND_MEMORY && address != 0;
    if (v->mapped && (!on || v->mapped_at != address)) {
        io_space_remove_mmio(v->io, v->mapped_at);
        v->mapped = false;
    }
    if (!on || v->mapped)
        return;
    v->mapped_at = address;
    v->mapped = io_space_add_mmio(v->io, &(struct mmio_range){.name = "virtio",
                                                              .base = address,
                                                              .size = VIRTIO_BAR_SIZE,
                                                              .read = bar_read,
                                                              .write = bar_write,
                                                              .dev = v}) == OK;
}

// --- configuration space ---

/// The access that CAP_WINDOW describes, in the BAR. False: it describes none.
static bool window(const struct virtio_pci *v, uint64_t *offset, unsigned *size)
{
    *offset = image32(v, CAP_WINDOW + 8);
    *size = image32(v, CAP_WINDOW + 12);
    return v->image[CAP_WINDOW + 4] == 0 && (*size == 1 || *size == 2 || *size == 4) &&
           *offset % *size == 0 && *offset <= VIRTIO_BAR_SIZE - *size;
}

static uint32_t config_read(void *dev, uint16_t offset, unsigned size)
{
    struct virtio_pci *v = dev;
    uint32_t value = 0;
    uint64_t at;
    unsigned width;
    if (offset + size > sizeof v->image)
        return 0;
    if (offset == CAP_WINDOW + 16 && window(v, &at, &width))
        return (uint32_t)bar_read(v, at, width) & ones(size);
    memcpy(&value, v->image + offset, size);
    return value;
}

static void config_write(void *dev, uint16_t offset, unsigned size, uint32_t value)
{
    struct virtio_pci *v = dev;
    uint64_t at;
    unsigned width;
    if (offset + size > sizeof v->image)
        return;
    for (unsigned i = 0; i < size; i++) {
        uint8_t mask = v->writable[offset + i];
        v->image[offset + i] = (uint8_t)((v->image[offset + i] & ~mask) | (value >> i * 8 & mask));
    }
    if (offset <= CAP_MSIX + 3 && offset + size > CAP_MSIX + 2) {
        guest_msix_control(&v->msix, (uint16_t)(v->image[CAP_MSIX + 2] | v->image[CAP_MSIX + 3] << 8));
        v->image[CAP_MSIX + 3] = (uint8_t)(v->msix.control >> 8);
    }
    if (offset == CAP_WINDOW + 16 && window(v, &at, &width))
        bar_write(v, at, width, value & ones(width));
    if (offset < BAR0 + 4)
        remap(v);
}

static void set16(struct virtio_pci *v, unsigned at, uint32_t value)
{
    v->image[at] = (uint8_t)value;
    v->image[at + 1] = (uint8_t)(value >> 8);
}

static void capability(struct virtio_pci *v, unsigned at, unsigned next, enum cfg_type type, uint32_t offset,
                       uint32_t length)
{
    uint8_t *c = v->image + at;
    c[0] = CAP_VENDOR;
    c[1] = (uint8_t)next;
    c[2] = type == NOTIFY_CFG || type == PCI_CFG ? 20 : 16;
    c[3] = (uint8_t)type;
    memcpy(c + 8, &offset, sizeof offset);
    memcpy(c + 12, &length, sizeof length);
}

static void build_image(struct virtio_pci *v, uint16_t device_id, uint16_t class_code)
{
    const uint32_t multiplier = MAX_QUEUE_NOTIFY;
    set16(v, 0x00, 0x1af4);
    set16(v, 0x02, 0x1040u + device_id);
    set16(v, 0x06, 0x0010); // capability list
    v->image[0x08] = 1;     // modern (4.1.2.1)
    set16(v, 0x0a, class_code);
    set16(v, 0x2c, 0x1af4);
    set16(v, 0x2e, 0x1100);
    v->image[0x34] = CAP_MSIX;
    guest_msix_capability(&v->msix, v->image + CAP_MSIX, CAP_COMMON, 0, AT_MSIX, AT_PENDING);
    capability(v, CAP_COMMON, CAP_NOTIFY, COMMON_CFG, AT_COMMON, VIRTIO_COMMON_SIZE);
    capability(v, CAP_NOTIFY, CAP_ISR, NOTIFY_CFG, AT_NOTIFY, v->queue_count * MAX_QUEUE_NOTIFY);
    memcpy(v->image + CAP_NOTIFY + 16, &multiplier, sizeof multiplier);
    capability(v, CAP_ISR, CAP_DEVICE, ISR_CFG, AT_ISR, 1);
    capability(v, CAP_DEVICE, CAP_WINDOW, DEVICE_CFG, AT_DEVICE, v->config_size);
    capability(v, CAP_WINDOW, 0, PCI_CFG, 0, 0);
    v->writable[COMMAND] = COMMAND_MEMORY | 0x04; // bus master
    v->writable[COMMAND + 1] = 0x04;              // INTx disable
    v->writable[0x3c] = 0xff;
    const uint32_t bar = ~(VIRTIO_BAR_SIZE - 1);
    memcpy(v->writable + BAR0, &bar, sizeof bar);
    v->writable[CAP_MSIX + 3] = 0xc0;
    v->writable[CAP_WINDOW + 4] = 0xff;
    memset(v->writable + CAP_WINDOW + 8, 0xff, 8);
}

enum status virtio_pci_init(struct virtio_pci *v, struct guest_pci *pci, uint8_t devfn, uint16_t device_id,
                            uint16_t class_code)
{
    _Static_assert(CAP_END <= sizeof v->image, "all capabilities have room");
    v->devfn = devfn;
    v->msix.message = v->ops.message;
    v->msix.ctx = v->ops.ctx;
    guest_msix_reset(&v->msix, v->queue_count + 1);
    build_image(v, device_id, class_code);
    virtio_pci_reset(v);
    return guest_pci_add(
        pci,
        &(struct guest_pci_function){
            .bus = 0, .devfn = devfn, .config_read = config_read, .config_write = config_write, .dev = v});
}

void virtio_pci_reset(struct virtio_pci *v)
{
    uint32_t home = (uint32_t)v->home;
    guest_msix_reset(&v->msix, v->queue_count + 1);
    v->image[CAP_MSIX + 3] = (uint8_t)(v->msix.control >> 8);
    virtio_common_reset(v);
    memcpy(v->image + BAR0, &home, sizeof home);
    set16(v, COMMAND, COMMAND_MEMORY);
    remap(v);
}
