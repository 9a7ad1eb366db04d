// SPDX-License-Identifier: BSD-2-Clause
#include "tests/guests/lib/virtio_sender.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/pci.h"

#define VENDOR       0x1af4u
#define NET          0x1041u // modern
#define CAP_VENDOR   0x09u
#define TRANSMIT     1u
#define PLACES       64u
#define HEADER       12u
#define FRAME_MAX    1514u
#define VERSION_1    1u // bit 32 of the features
#define ACKNOWLEDGE  1u
#define DRIVER       2u
#define DRIVER_OK    4u
#define FEATURES_OK  8u
#define NO_INTERRUPT 1u // of the ring of available buffers

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

static struct {
    struct {
        uint64_t address;
        uint32_t length;
        uint16_t flags, next;
    } descriptors[PLACES];
    struct {
        uint16_t flags, index, ring[PLACES];
    } available;
    _Alignas(4) struct {
        uint16_t flags;
        volatile uint16_t index;
        struct {
            uint32_t id, length;
        } ring[PLACES];
    } used;
} _Alignas(4096) queue;

static uint8_t packet[HEADER + FRAME_MAX];

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

bool virtio_sender_start(struct virtio_sender *s)
{
    pci_bdf at = pci_find_id(VENDOR, NET);
    uint32_t multiplier, unused;
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
    mmio_write16(common + QUEUE_SELECT, TRANSMIT);
    s->places = mmio_read16(common + QUEUE_SIZE);
    if (s->places > PLACES)
        s->places = PLACES;
    mmio_write16(common + QUEUE_SIZE, s->places);
    queue.available.flags = NO_INTERRUPT;
    put64(common + QUEUE_DESC, queue.descriptors);
    put64(common + QUEUE_DRIVER, &queue.available);
    put64(common + QUEUE_DEVICE, &queue.used);
    s->notify = notify + mmio_read16(common + QUEUE_NOTIFY_OFF) * multiplier;
    mmio_write16(common + QUEUE_ENABLE, 1);
    mmio_write8(common + STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    for (unsigned i = 0; i < 6; i++)
        s->mac[i] = mmio_read8(device + i);
    return s->places != 0;
}

void virtio_sender_frame(const uint8_t *frame, uint32_t size)
{
    for (uint32_t i = 0; i < size && i < FRAME_MAX; i++)
        packet[HEADER + i] = frame[i];
    for (uint16_t i = 0; i < PLACES; i++) {
        queue.descriptors[i].address = (uintptr_t)packet;
        queue.descriptors[i].length = HEADER + size;
        queue.available.ring[i] = i;
    }
}

void virtio_sender_send(struct virtio_sender *s)
{
    s->given = (uint16_t)(queue.used.index + s->places);
    __asm__ volatile("" ::: "memory");
    *(volatile uint16_t *)&queue.available.index = s->given;
    mmio_write16(s->notify, TRANSMIT);
}

uint16_t virtio_sender_taken(void)
{
    return queue.used.index;
}
