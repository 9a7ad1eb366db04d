// SPDX-License-Identifier: BSD-2-Clause
// net/capture.h: the file and the place in the NIC seam. Block layouts: pcapng, 4.1 (section header), 4.2
// (interface description), 4.3 (enhanced packet).
#include "net/capture.h"
#include "net/wire.h"
#include "rt/time.h"
#include <string.h>

#define SECTION_HEADER   0x0a0d0d0au
#define BYTE_ORDER_MAGIC 0x1a2b3c4du
#define INTERFACE        1u
#define PACKET           6u
#define LINKTYPE_ETHER   1u
#define OPTION_TSRESOL   9u // of an interface: 9 = nanoseconds
#define OPTION_FLAGS     2u // of a packet: 1 inbound, 2 outbound
#define SNAP             65535u

enum direction { INBOUND = 1, OUTBOUND = 2 };

struct __attribute__((packed)) section_header {
    uint32_t type, length, magic;
    uint16_t major, minor;
    uint64_t section_length;
    uint32_t length_again;
};

struct __attribute__((packed)) interface {
    uint32_t type, length;
    uint16_t link_type, reserved;
    uint32_t snap_length;
    uint16_t option, option_length;
    uint8_t resolution, pad[3];
    uint32_t end_of_options;
    uint32_t length_again;
};

struct __attribute__((packed)) packet {
    uint32_t type, length, interface;
    uint32_t time_high, time_low;
    uint32_t captured, original;
};

struct __attribute__((packed)) packet_end {
    uint16_t option, option_length;
    uint32_t flags;
    uint32_t end_of_options;
    uint32_t length_again;
};

static struct {
    struct capture_state state;
    uint8_t *file;
    bool links_only;
    uint64_t epoch_ns; // of time_ns() = 0
    struct nic *nic;
    const struct nic_ops *ops; // what the NIC had
    void (*receive)(void *ctx, const uint8_t *frame, size_t size);
} capture;

static void append(const void *bytes, size_t n)
{
    memcpy(capture.file + capture.state.used, bytes, n);
    capture.state.used += n;
}

static bool is_port(const uint8_t *p)
{
    return ((unsigned)p[0] << 8 | p[1]) == WIRE_UDP_PORT;
}

/// Frames of links and announcements: the l2 carrier's EtherType, or UDP with our port at either end.
static bool is_link(const uint8_t *f, size_t size)
{
    if (size < 14)
        return false;
    unsigned ethertype = (unsigned)f[12] << 8 | f[13];
    if (ethertype == WIRE_ETHERTYPE)
        return true;
    if (ethertype != 0x0800 || size < 42 || f[23] != 17)
        return false;
    size_t udp = 14 + (f[14] & 15u) * 4u;
    return udp + 4 <= size && (is_port(f + udp) || is_port(f + udp + 2));
}

static void record(const struct nic_piece *pieces, unsigned count, enum direction direction)
{
    uint8_t head[64];
    size_t size = 0, seen = 0;
    for (unsigned i = 0; i < count; i++) {
        for (size_t k = 0; k < pieces[i].size && seen < sizeof head; k++)
            head[seen++] = ((const uint8_t *)pieces[i].bytes)[k];
        size += pieces[i].size;
    }
    if (capture.links_only && !is_link(head, seen))
        return;
    size_t padded = (size + 3) & ~(size_t)3;
    size_t block = sizeof(struct packet) + padded + sizeof(struct packet_end);
    if (size > SNAP || block > capture.state.size - capture.state.used) {
        capture.state.missed++;
        return;
    }
    uint64_t now = capture.epoch_ns + time_ns();
    append(&(struct packet){.type = PACKET,
                            .length = (uint32_t)block,
                            .time_high = (uint32_t)(now >> 32),
                            .time_low = (uint32_t)now,
                            .captured = (uint32_t)size,
                            .original = (uint32_t)size},
           sizeof(struct packet));
    for (unsigned i = 0; i < count; i++)
        append(pieces[i].bytes, pieces[i].size);
    append((const uint8_t[3]){0}, padded - size);
    append(&(struct packet_end){.option = OPTION_FLAGS,
                                .option_length = 4,
                                .flags = (uint32_t)direction,
                                .length_again = (uint32_t)block},
           sizeof(struct packet_end));
    capture.state.frames++;
}

// --- in the seam ---

static enum status send(struct nic *nic, const struct nic_piece *pieces, unsigned count)
{
    enum status s = capture.ops->send(nic, pieces, count);
    if (s == OK)
        record(pieces, count, OUTBOUND);
    return s;
}

static unsigned poll(struct nic *nic, unsigned budget)
{
    return capture.ops->poll(nic, budget);
}

static bool link_up(struct nic *nic)
{
    return capture.ops->link_up(nic);
}

static void irq_enable(struct nic *nic, bool on)
{
    capture.ops->irq_enable(nic, on);
}

static void promiscuous(struct nic *nic, bool on)
{
    if (capture.ops->promiscuous)
        capture.ops->promiscuous(nic, on);
}

static bool room(struct nic *nic, unsigned frames)
{
    return !capture.ops->room || capture.ops->room(nic, frames);
}

static const struct nic_ops watching = {.send = send,
                                        .poll = poll,
                                        .link_up = link_up,
                                        .irq_enable = irq_enable,
                                        .promiscuous = promiscuous,
                                        .room = room};

static void received(void *ctx, const uint8_t *frame, size_t size)
{
    record(&(struct nic_piece){frame, size}, 1, INBOUND);
    capture.receive(ctx, frame, size);
}

enum status capture_start(struct nic *nic, void *buffer, size_t size, bool links_only, uint64_t unix_seconds)
{
    if (capture.state.running)
        return ERR_BUSY;
    if (size < CAPTURE_MIN)
        return ERR_RANGE;
    capture.state = (struct capture_state){.running = true, .size = size};
    capture.file = buffer;
    capture.links_only = links_only;
    capture.epoch_ns = unix_seconds * 1000000000ull - time_ns();
    append(&(struct section_header){.type = SECTION_HEADER,
                                    .length = sizeof(struct section_header),
                                    .magic = BYTE_ORDER_MAGIC,
                                    .major = 1,
                                    .section_length = ~0ull,
                                    .length_again = sizeof(struct section_header)},
           sizeof(struct section_header));
    append(&(struct interface){.type = INTERFACE,
                               .length = sizeof(struct interface),
                               .link_type = LINKTYPE_ETHER,
                               .snap_length = SNAP,
                               .option = OPTION_TSRESOL,
                               .option_length = 1,
                               .resolution = 9,
                               .length_again = sizeof(struct interface)},
           sizeof(struct interface));
    capture.nic = nic;
    capture.ops = nic->ops;
    capture.receive = nic->receive;
    nic->ops = &watching;
    nic->receive = received;
    return OK;
}

void capture_stop(void)
{
    if (!capture.state.running)
        return;
    capture.state.running = false;
    capture.nic->ops = capture.ops;
    capture.nic->receive = capture.receive;
}

struct capture_state capture_state(void)
{
    return capture.state;
}

const uint8_t *capture_file(void)
{
    return capture.file;
}
