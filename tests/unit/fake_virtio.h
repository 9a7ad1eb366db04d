// SPDX-License-Identifier: BSD-2-Clause
// A virtio network device for drivers/virtio_*.c on the build machine: registers, and the device's side of
// the rings, done as virtio 1.2 says, or otherwise when a test tells it to lie. Physical addresses are
// virtual ones, so that the sanitizers watch every access of either side.
#pragma once
#include "drivers/hw.h"
#include "drivers/pci.h"
#include "drivers/pci_regs.h"
#include "drivers/virtio_regs.h"
#include "rt/paging.h"
#include <stdlib.h>
#include <string.h>

#define FAKE_BAR 0x380000000000ull
#define FAKE_OFFERS                                                                                          \
    (VIRTIO_F_VERSION_1 | VIRTIO_NET_F_MAC | VIRTIO_NET_F_STATUS | VIRTIO_NET_F_CTRL_VQ |                    \
     VIRTIO_NET_F_CTRL_RX | VIRTIO_F_ACCESS_PLATFORM | 1ull << 15 /* MRG_RXBUF: not wanted */)
#define FAKE_SENT_MAX 512u

static struct {
    uint8_t regs[0x4000]; // BAR 4: common 0, ISR 0x1000, device 0x2000, notify 0x3000
    uint64_t offers, accepted;
    uint32_t feature_select[2];
    uint8_t status;
    uint16_t config_vector, select;
    struct {
        uint16_t size, vector, enable, avail_idx;
        uint64_t desc, driver, device;
    } queues[VIRTIO_NET_QUEUES];
    bool reset_hangs, refuses_features, no_vectors, deaf,
        quiet;      // deaf: looks at no ring; quiet: wants no doorbell
    uint8_t answer; // to commands
    unsigned resets, doorbells, interrupts, commands, prepared;
    bool promiscuous, level; // level: INTx
    uint8_t cap_types[8];    // of the capabilities, in order
    // what went out
    unsigned sent_count;
    size_t sent_size[FAKE_SENT_MAX];
    uint8_t sent[FAKE_SENT_MAX][16384];
} fake;

static struct virtq_desc *fake_desc(unsigned q, unsigned i)
{
    return &((struct virtq_desc *)fake.queues[q].desc)[i];
}
static struct virtq_avail *fake_avail(unsigned q)
{
    return (struct virtq_avail *)fake.queues[q].driver;
}
static struct virtq_used *fake_used(unsigned q)
{
    return (struct virtq_used *)fake.queues[q].device;
}

static void fake_interrupt(unsigned q)
{
    if (!(fake_avail(q)->flags & VIRTQ_AVAIL_F_NO_INTERRUPT)) {
        fake.interrupts++;
        fake.level = true;
    }
}

static void fake_use(unsigned q, uint32_t id, uint32_t len)
{
    struct virtq_used *u = fake_used(q);
    u->ring[u->idx % fake.queues[q].size] = (struct virtq_used_elem){id, len};
    u->idx++;
    fake_interrupt(q);
}

/// The head of the next available chain, or -1.
static int fake_next(unsigned q)
{
    struct virtq_avail *a = fake_avail(q);
    if (!fake.queues[q].enable || !(fake.status & VIRTIO_STATUS_DRIVER_OK) ||
        a->idx == fake.queues[q].avail_idx)
        return -1;
    return a->ring[fake.queues[q].avail_idx++ % fake.queues[q].size];
}

static void fake_transmit(void)
{
    for (int id; !fake.deaf && (id = fake_next(VIRTIO_NET_TX)) >= 0;) {
        struct virtq_desc *d = fake_desc(VIRTIO_NET_TX, (unsigned)id);
        static const struct virtio_net_hdr none;
        unsigned slot = fake.sent_count++ % FAKE_SENT_MAX;
        if (d->flags != 0 || d->len < sizeof none || memcmp((void *)d->addr, &none, sizeof none) != 0)
            abort();
        fake.sent_size[slot] = d->len - sizeof none;
        memcpy(fake.sent[slot], (uint8_t *)d->addr + sizeof none, fake.sent_size[slot]);
        fake_use(VIRTIO_NET_TX, (uint32_t)id, 0);
    }
}

static void fake_obey(void)
{
    for (int id; !fake.deaf && (id = fake_next(VIRTIO_NET_CTRL)) >= 0;) {
        struct virtq_desc *asked = fake_desc(VIRTIO_NET_CTRL, (unsigned)id);
        struct virtq_desc *answer = fake_desc(VIRTIO_NET_CTRL, asked->next);
        const uint8_t *c = (const uint8_t *)asked->addr;
        if (asked->flags != VIRTQ_DESC_F_NEXT || asked->len != 3 || answer->flags != VIRTQ_DESC_F_WRITE ||
            answer->len != 1 || c[0] != VIRTIO_NET_CTRL_RX || c[1] != VIRTIO_NET_CTRL_RX_PROMISC)
            abort();
        fake.commands++;
        fake.promiscuous = c[2] != 0;
        *(uint8_t *)answer->addr = fake.answer;
        fake_use(VIRTIO_NET_CTRL, (uint32_t)id, 1);
    }
}

/// A frame arrives. False: no buffer for it.
static bool fake_arrive(const void *bytes, size_t size)
{
    int id = fake_next(VIRTIO_NET_RX);
    if (id < 0)
        return false;
    struct virtq_desc *d = fake_desc(VIRTIO_NET_RX, (unsigned)id);
    struct virtio_net_hdr header = {.num_buffers = 1};
    if (d->flags != VIRTQ_DESC_F_WRITE || d->len < sizeof header + size)
        abort();
    memcpy((void *)d->addr, &header, sizeof header);
    memcpy((uint8_t *)d->addr + sizeof header, bytes, size);
    fake_use(VIRTIO_NET_RX, (uint32_t)id, (uint32_t)(sizeof header + size));
    return true;
}

static uint16_t *fake_config16(unsigned offset)
{
    return (uint16_t *)(void *)&fake.regs[0x2000 + offset];
}

static void fake_reset(void)
{
    fake.resets++;
    fake.accepted = 0;
    fake.config_vector = VIRTIO_MSI_NO_VECTOR;
    memset(fake.queues, 0, sizeof fake.queues);
    for (unsigned i = 0; i < VIRTIO_NET_QUEUES; i++) {
        fake.queues[i].size = i == VIRTIO_NET_CTRL ? 64 : 256;
        fake.queues[i].vector = VIRTIO_MSI_NO_VECTOR;
    }
}

static void fake_start(void)
{
    static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56}, types[] = {5, 1, 1, 3, 4, 2};
    memset(&fake, 0, sizeof fake - sizeof fake.sent); // not the frames: a fuzzer comes here often
    fake.offers = FAKE_OFFERS;
    fake.status =
        VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK; // the firmware's driver
    memcpy(&fake.regs[0x2000], mac, 6);
    memcpy(fake.cap_types, types, sizeof types);
    *fake_config16(VIRTIO_NET_CONFIG_STATUS) = VIRTIO_NET_S_LINK_UP;
    fake_reset();
    fake.resets = 0;
}

// ---- drivers/hw.h: its registers

static unsigned fake_offset(const volatile void *at)
{
    return (unsigned)((const volatile uint8_t *)at - fake.regs);
}

static uint32_t fake_common_read(unsigned offset)
{
    uint16_t q = fake.select < VIRTIO_NET_QUEUES ? fake.select : 0;
    bool there = fake.select < VIRTIO_NET_QUEUES;
    switch (offset) {
    case VIRTIO_DEVICE_FEATURE:
        return fake.feature_select[0] < 2 ? (uint32_t)(fake.offers >> 32 * fake.feature_select[0]) : 0;
    case VIRTIO_CONFIG_MSIX_VECTOR:
        return fake.config_vector;
    case VIRTIO_NUM_QUEUES:
        return VIRTIO_NET_QUEUES;
    case VIRTIO_DEVICE_STATUS:
        return fake.status;
    case VIRTIO_QUEUE_SIZE:
        return there ? fake.queues[q].size : 0;
    case VIRTIO_QUEUE_MSIX_VECTOR:
        return fake.queues[q].vector;
    case VIRTIO_QUEUE_NOTIFY_OFF:
        return fake.select;
    default:
        abort();
    }
}

static void fake_half(uint64_t *value, bool high, uint32_t half)
{
    *value = high ? (*value & 0xffffffffu) | (uint64_t)half << 32 : (*value & ~0xffffffffull) | half;
}

static void fake_common_write(unsigned offset, uint32_t value)
{
    if (fake.select >= VIRTIO_NET_QUEUES && offset > VIRTIO_QUEUE_SELECT)
        abort();
    switch (offset) {
    case VIRTIO_DEVICE_FEATURE_SELECT:
        fake.feature_select[0] = value;
        break;
    case VIRTIO_DRIVER_FEATURE_SELECT:
        fake.feature_select[1] = value;
        break;
    case VIRTIO_DRIVER_FEATURE:
        fake_half(&fake.accepted, fake.feature_select[1] == 1, value);
        break;
    case VIRTIO_CONFIG_MSIX_VECTOR:
        fake.config_vector = fake.no_vectors ? VIRTIO_MSI_NO_VECTOR : (uint16_t)value;
        break;
    case VIRTIO_DEVICE_STATUS:
        if (value == 0) {
            fake_reset();
            fake.status = fake.reset_hangs ? fake.status : 0;
            break;
        }
        if (fake.refuses_features || fake.accepted & ~fake.offers)
            value &= ~VIRTIO_STATUS_FEATURES_OK;
        fake.status = (uint8_t)value;
        break;
    case VIRTIO_QUEUE_SELECT:
        fake.select = (uint16_t)value;
        break;
    case VIRTIO_QUEUE_SIZE:
        fake.queues[fake.select].size = (uint16_t)value;
        break;
    case VIRTIO_QUEUE_MSIX_VECTOR:
        fake.queues[fake.select].vector = fake.no_vectors ? VIRTIO_MSI_NO_VECTOR : (uint16_t)value;
        break;
    case VIRTIO_QUEUE_ENABLE:
        fake.queues[fake.select].enable = (uint16_t)value;
        fake_used(fake.select)->flags = fake.quiet ? VIRTQ_USED_F_NO_NOTIFY : 0;
        break;
    case VIRTIO_QUEUE_DESC:
    case VIRTIO_QUEUE_DESC + 4:
        fake_half(&fake.queues[fake.select].desc, offset & 4, value);
        break;
    case VIRTIO_QUEUE_DRIVER:
    case VIRTIO_QUEUE_DRIVER + 4:
        fake_half(&fake.queues[fake.select].driver, offset & 4, value);
        break;
    case VIRTIO_QUEUE_DEVICE:
    case VIRTIO_QUEUE_DEVICE + 4:
        fake_half(&fake.queues[fake.select].device, offset & 4, value);
        break;
    default:
        abort();
    }
}

static uint32_t fake_read(const volatile void *at, unsigned size)
{
    unsigned offset = fake_offset(at);
    uint32_t value = 0;
    if (offset < VIRTIO_COMMON_BYTES)
        return fake_common_read(offset);
    if (offset == 0x1000) {
        value = fake.level;
        fake.level = false;
        return value;
    }
    if (offset < 0x2000 || offset + size > 0x2000 + VIRTIO_NET_CONFIG_BYTES)
        abort();
    memcpy(&value, &fake.regs[offset], size);
    return value;
}

static void fake_write(volatile void *at, uint32_t value)
{
    unsigned offset = fake_offset(at);
    if (offset < VIRTIO_COMMON_BYTES) {
        fake_common_write(offset, value);
        return;
    }
    if (offset < 0x3000 || offset != 0x3000 + 4 * value || value >= VIRTIO_NET_QUEUES)
        abort(); // not that queue's doorbell
    fake.doorbells++;
    if (value == VIRTIO_NET_TX)
        fake_transmit();
    if (value == VIRTIO_NET_CTRL)
        fake_obey();
}

uint8_t hw_read8(const volatile void *at)
{
    return (uint8_t)fake_read(at, 1);
}
uint16_t hw_read16(const volatile void *at)
{
    return (uint16_t)fake_read(at, 2);
}
uint32_t hw_read32(const volatile void *at)
{
    return fake_read(at, 4);
}
void hw_write8(volatile void *at, uint8_t value)
{
    fake_write(at, value);
}
void hw_write16(volatile void *at, uint16_t value)
{
    fake_write(at, value);
}
void hw_write32(volatile void *at, uint32_t value)
{
    fake_write(at, value);
}

volatile void *mmio_map(phys_t phys, size_t size)
{
    if (phys < FAKE_BAR || phys + size > FAKE_BAR + sizeof fake.regs)
        abort();
    return &fake.regs[phys - FAKE_BAR];
}

// ---- drivers/pci.h: its place on the bus. Capability i is at 0x40 + 0x18 * i.

static uint8_t fake_capability(unsigned from)
{
    return from < sizeof fake.cap_types && fake.cap_types[from] ? (uint8_t)(0x40 + 0x18 * from) : 0;
}

uint8_t pci_find_capability(struct pci_address at, uint8_t id)
{
    (void)at;
    return id == PCI_CAP_VENDOR ? fake_capability(0) : 0;
}

uint8_t pci_next_capability(struct pci_address at, uint8_t offset, uint8_t id)
{
    (void)at;
    return id == PCI_CAP_VENDOR ? fake_capability((offset - 0x40u) / 0x18 + 1) : 0;
}

uint32_t pci_config_read(struct pci_address at, uint16_t offset, unsigned size)
{
    static const uint32_t offsets[] = {0, 0, 0x3000, 0x1000, 0x2000, 0},
                          lengths[] = {0, 56, 0x1000, 1, 0x1000, 4};
    unsigned i = (offset - 0x40u) / 0x18;
    uint8_t type = fake.cap_types[i];
    (void)at;
    (void)size;
    bool bad = i == 1; // the first of type 1 is in a BAR that does not exist
    switch ((offset - 0x40u) % 0x18) {
    case VIRTIO_PCI_CAP_CFG_TYPE:
        return type;
    case VIRTIO_PCI_CAP_BAR:
        return bad ? 7 : 4;
    case VIRTIO_PCI_CAP_OFFSET:
        return type < 6 ? offsets[type] : 0;
    case VIRTIO_PCI_CAP_LENGTH:
        return type < 6 ? lengths[type] : 0;
    case VIRTIO_PCI_CAP_NOTIFY_FACTOR:
        return 4;
    default:
        abort();
    }
}

void pci_enable(struct pci_device *dev, bool bus_master)
{
    (void)dev;
    if (!bus_master)
        abort();
}

enum status pci_msix_prepare(const struct pci_device *dev)
{
    (void)dev;
    fake.prepared++;
    return OK;
}

const char *pci_address_text(struct pci_address at, char text[PCI_ADDRESS_TEXT])
{
    (void)at;
    return strcpy(text, "0000:00:02.0");
}

static struct pci_device fake_device(void)
{
    struct pci_device dev = {.vendor = VIRTIO_VENDOR, .device = 0x1041, .cap_msix = 0x98};
    dev.bars[4] = (struct pci_bar){.kind = PCI_BAR_MEM64, .base = FAKE_BAR, .size = sizeof fake.regs};
    return dev;
}
