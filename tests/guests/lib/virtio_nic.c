// SPDX-License-Identifier: BSD-2-Clause
#include "tests/guests/lib/virtio_nic.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/pci.h"

#define VENDOR       0x1af4u
#define NET          0x1041u // modern
#define CAP_VENDOR   0x09u
#define VERSION_1    1u // bit 32 of the features
#define ACKNOWLEDGE  1u
#define DRIVER       2u
#define DRIVER_OK    4u
#define FEATURES_OK  8u
#define NO_INTERRUPT 1u // of the ring of available buffers
#define WRITE        2u // of a descriptor

enum { RECEIVE, TRANSMIT };

enum cfg_type { COMMON = 1, NOTIFY, DEVICE = 4 };
enum common { // 4.1.4.3
    DRIVER_FEATURE_SELECT = 0x08,
    DRIVER_FEATURE = 0x0c,
    STATUS = 0x14,
    QUEUE_SELECT = 0x16,
    QUEUE_SIZE = 0x18,
    QUEUE_ENABLE = 0x1c,
    QUEUE_NOTIFY_OFF = 0x1e,
    QUEUE_DESC = 0x20,
    QUEUE_DRIVER = 0x28,
    QUEUE_DEVICE = 0x30,
};

/// The region of a capability in the device's only BAR; 0: none. more: the word behind it.
static uint32_t region(pci_bdf at, uint32_t bar, enum cfg_type type, uint32_t *more)
{
    uint16_t c = pci_capability(at, CAP_VENDOR);
    for (unsigned n = 0; c && n < 16; n++) {
        if (pci_read(at, c, 1) == CAP_VENDOR && pci_read(at, (uint16_t)(c + 3), 1) == (uint32_t)type) {
            *more = pci_read(at, (uint16_t)(c + 16), 4);
            return bar + pci_read(at, (uint16_t)(c + 8), 4);
        }
        c = (uint16_t)pci_read(at, (uint16_t)(c + 1), 1);
    }
    return 0;
}

static void put64(uint32_t at, const void *address)
{
    mmio_write32(at, (uint32_t)(uintptr_t)address);
    mmio_write32(at + 4, 0);
}

static void start_queue(struct virtio_nic_queue *q, uint32_t common, uint16_t number, uint32_t notify,
                        uint32_t multiplier, uint16_t *places)
{
    mmio_write16(common + QUEUE_SELECT, number);
    uint16_t size = mmio_read16(common + QUEUE_SIZE);
    if (size > VIRTIO_NIC_PLACES)
        size = VIRTIO_NIC_PLACES;
    if (size < *places)
        *places = size;
    for (uint16_t i = 0; i < VIRTIO_NIC_PLACES; i++) {
        q->descriptors[i].address = (uintptr_t)q->packet;
        q->descriptors[i].length = sizeof q->packet;
        q->descriptors[i].flags = number == RECEIVE ? WRITE : 0;
        q->available.ring[i] = i;
    }
    q->available.flags = NO_INTERRUPT;
    mmio_write16(common + QUEUE_SIZE, size);
    put64(common + QUEUE_DESC, q->descriptors);
    put64(common + QUEUE_DRIVER, &q->available);
    put64(common + QUEUE_DEVICE, &q->used);
    q->notify = notify + mmio_read16(common + QUEUE_NOTIFY_OFF) * multiplier;
    mmio_write16(common + QUEUE_ENABLE, 1);
}

struct search {
    unsigned left;
    pci_bdf found;
};

static bool is_it(void *ctx, pci_bdf at, uint32_t id)
{
    struct search *s = ctx;
    if (id != (NET << 16 | VENDOR) || s->left-- != 0)
        return false;
    s->found = at;
    return true;
}

bool virtio_nic_start(struct virtio_nic *n, unsigned number)
{
    struct search search = {number, PCI_NONE};
    uint32_t multiplier, unused;
    pci_walk(is_it, &search);
    pci_bdf at = search.found;
    if (at == PCI_NONE)
        return false;
    uint32_t bar = (uint32_t)bar_use(at, 0, true).base;
    pci_write(at, PCI_COMMAND, 2, pci_read(at, PCI_COMMAND, 2) | PCI_COMMAND_MASTER);
    uint32_t common = region(at, bar, COMMON, &unused), notify = region(at, bar, NOTIFY, &multiplier),
             device = region(at, bar, DEVICE, &unused);
    if (!bar || !common || !notify || !device)
        return false;

    mmio_write8(common + STATUS, 0);
    mmio_write8(common + STATUS, ACKNOWLEDGE | DRIVER);
    mmio_write32(common + DRIVER_FEATURE_SELECT, 1);
    mmio_write32(common + DRIVER_FEATURE, VERSION_1);
    mmio_write8(common + STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    if (!(mmio_read8(common + STATUS) & FEATURES_OK))
        return false;
    n->places = VIRTIO_NIC_PLACES;
    start_queue(&n->receive, common, RECEIVE, notify, multiplier, &n->places);
    start_queue(&n->transmit, common, TRANSMIT, notify, multiplier, &n->places);
    mmio_write8(common + STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    for (unsigned i = 0; i < 6; i++)
        n->mac[i] = mmio_read8(device + i);
    return n->places != 0;
}

void virtio_nic_frame(struct virtio_nic *n, const uint8_t *frame, uint32_t size)
{
    for (uint32_t i = 0; i < size && i < VIRTIO_NIC_FRAME; i++)
        n->transmit.packet[VIRTIO_NIC_HEADER + i] = frame[i];
    for (uint16_t i = 0; i < VIRTIO_NIC_PLACES; i++)
        n->transmit.descriptors[i].length = VIRTIO_NIC_HEADER + size;
}

static uint64_t give(struct virtio_nic_queue *q, uint16_t number, uint16_t count)
{
    q->given = (uint16_t)(q->given + count);
    __asm__ volatile("" ::: "memory");
    *(volatile uint16_t *)&q->available.index = q->given;
    uint64_t begin = rdtsc();
    mmio_write16(q->notify, number);
    return rdtsc() - begin;
}

uint64_t virtio_nic_send(struct virtio_nic *n, uint16_t frames)
{
    return give(&n->transmit, TRANSMIT, frames);
}

uint64_t virtio_nic_take(struct virtio_nic *n, uint16_t frames)
{
    return give(&n->receive, RECEIVE, frames);
}

uint16_t virtio_nic_waiting(const struct virtio_nic_queue *q)
{
    return (uint16_t)(q->given - q->used.index);
}
