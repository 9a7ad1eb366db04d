// SPDX-License-Identifier: BSD-2-Clause
// A guest with nothing but its virtual NIC, as its driver meets it: RAM whose pages lie apart (each its own
// allocation, so that ASan sees what leaves a page), the BAR through an io_space, a port that keeps frames.
#pragma once
#include "hv/platform/virtio_net.h"
#include <stdlib.h>
#include <string.h>

#define NIC_HOME  0xf0000000ull
#define NIC_DEVFN 0xd8u
#define RAM_PAGES 16u
#define PAGE      4096u

// The BAR (hv/platform/virtio_pci.c) and common configuration (virtio 1.2, 4.1.4.3)
enum { AT_COMMON = 0, AT_ISR = 0x1000, AT_DEVICE = 0x2000, AT_NOTIFY = 0x3000, AT_MSIX = 0x4000 };
enum {
    DRIVER_SELECT = 8,
    DRIVER_FEATURE = 12,
    STATUS = 20,
    SELECT = 22,
    SIZE = 24,
    VECTOR = 26,
    ENABLE = 28,
    DESC = 32,
    AVAIL = 40,
    USED = 48
};
enum { RX, TX };
enum { D_NEXT = 1, D_WRITE = 2, D_INDIRECT = 4 };
#define MRG_RXBUF   (1u << 15)
#define NEEDS_RESET 0x40u

static struct io_space io;
static struct guest_pci pci;
static struct virtio_net nic;
static uint8_t *ram[RAM_PAGES];

// The port
static struct {
    uint8_t sent[2048];
    size_t sent_size;
    unsigned sent_count;
    bool busy;
    uint8_t waiting[2048];
    size_t waiting_size; // 0: none
    unsigned messages;
    uint64_t written; // bytes
} port;

static void need(bool condition)
{
    if (!condition)
        abort();
}

static void *ram_at(void *ctx, uint64_t gpa, uint64_t *contiguous)
{
    (void)ctx;
    if (gpa >= RAM_PAGES * PAGE)
        return NULL;
    *contiguous = PAGE - gpa % PAGE;
    return ram[gpa / PAGE] + gpa % PAGE;
}

static void ram_written(void *ctx, uint64_t gpa, uint64_t size)
{
    (void)ctx;
    need(gpa < RAM_PAGES * PAGE && size <= PAGE - gpa % PAGE);
    port.written += size;
}

static enum status port_send(void *ctx, const uint8_t *frame, size_t size)
{
    (void)ctx;
    need(size > 0 && size <= VIRTIO_NET_FRAME);
    if (port.busy)
        return ERR_BUSY;
    memcpy(port.sent, frame, size);
    port.sent_size = size;
    port.sent_count++;
    return OK;
}

static const uint8_t *port_first(void *ctx, size_t *size)
{
    (void)ctx;
    *size = port.waiting_size;
    return port.waiting_size ? port.waiting : NULL;
}

static void port_drop(void *ctx)
{
    (void)ctx;
    need(port.waiting_size != 0);
    port.waiting_size = 0;
}

static void on_msix(void *ctx, uint64_t address, uint32_t data)
{
    (void)ctx, (void)address, (void)data;
    port.messages++;
}

static void nic_make(void)
{
    const uint8_t mac[6] = {2, 0, 0, 0, 0, 0xa};
    memset(&io, 0, sizeof io);
    memset(&nic, 0, sizeof nic);
    memset(&port, 0, sizeof port);
    for (unsigned i = 0; i < RAM_PAGES; i++) {
        ram[i] = malloc(PAGE);
        memset(ram[i], 0, PAGE);
    }
    need(guest_pci_init(&pci, &io) == OK);
    nic.message = on_msix;
    nic.pci.memory = (struct virtqueue_memory){.at = ram_at, .written = ram_written};
    nic.pci.io = &io;
    nic.pci.home = NIC_HOME;
    need(virtio_net_init(
             &nic, &pci, NIC_DEVFN, mac,
             &(struct virtio_net_ops){.send = port_send, .first = port_first, .drop = port_drop}) == OK);
}

static void nic_unmake(void)
{
    for (unsigned i = 0; i < RAM_PAGES; i++)
        free(ram[i]);
}

// --- the driver ---

static inline void bar(unsigned offset, unsigned size, uint64_t value)
{
    io_space_mmio_write(&io, NIC_HOME + offset, size, value);
}

static inline uint64_t bar_get(unsigned offset, unsigned size)
{
    return io_space_mmio_read(&io, NIC_HOME + offset, size);
}

static inline void poke(uint64_t gpa, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        uint64_t room;
        uint8_t *at = ram_at(NULL, gpa + i, &room);
        if (at)
            *at = ((const uint8_t *)bytes)[i];
    }
}

static inline void peek(uint64_t gpa, void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        uint64_t room;
        const uint8_t *at = ram_at(NULL, gpa + i, &room);
        ((uint8_t *)bytes)[i] = at ? *at : 0xff;
    }
}

static inline uint16_t peek16(uint64_t gpa)
{
    uint16_t v;
    peek(gpa, &v, 2);
    return v;
}

/// Queue q: descriptors in page 1 + 3q, available ring in the next, used ring in the one after.
static inline uint64_t area(unsigned q, unsigned which)
{
    return (1 + 3 * q + which) * PAGE;
}

static inline void nic_up(uint32_t features)
{
    bar(STATUS, 1, 0);
    bar(STATUS, 1, 3);
    bar(DRIVER_SELECT, 4, 0);
    bar(DRIVER_FEATURE, 4, features);
    bar(DRIVER_SELECT, 4, 1);
    bar(DRIVER_FEATURE, 4, 1); // VERSION_1
    bar(STATUS, 1, 0xb);
    for (unsigned q = 0; q < 2; q++) {
        bar(SELECT, 2, q);
        bar(SIZE, 2, 256);
        bar(DESC, 8, area(q, 0));
        bar(AVAIL, 8, area(q, 1));
        bar(USED, 8, area(q, 2));
        bar(ENABLE, 2, 1);
    }
    for (unsigned i = 1; i <= 6; i++)
        memset(ram[i], 0, PAGE);
    bar(STATUS, 1, 0xf);
}

static inline void descriptor(unsigned q, unsigned i, uint64_t address, uint32_t length, uint16_t flags,
                              uint16_t next)
{
    struct {
        uint64_t address;
        uint32_t length;
        uint16_t flags, next;
    } d = {address, length, flags, next};
    poke(area(q, 0) + i * 16, &d, sizeof d);
}

/// Makes `head` available, and says so.
static inline void give(unsigned q, uint16_t head)
{
    uint16_t index = peek16(area(q, 1) + 2), next = (uint16_t)(index + 1);
    poke(area(q, 1) + 4 + 2 * (index % 256), &head, 2);
    poke(area(q, 1) + 2, &next, 2);
    bar(AT_NOTIFY + 4 * q, 2, q);
}

static inline uint16_t used_index(unsigned q)
{
    return peek16(area(q, 2) + 2);
}

static inline uint32_t used_length(unsigned q, unsigned i)
{
    uint32_t entry[2];
    peek(area(q, 2) + 4 + 8 * i, entry, 8);
    return entry[1];
}

static inline void arrives(size_t size, uint8_t first)
{
    for (size_t i = 0; i < size; i++)
        port.waiting[i] = (uint8_t)(first + i);
    port.waiting_size = size;
    (void)virtio_net_poll(&nic);
}
