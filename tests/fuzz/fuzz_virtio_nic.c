// SPDX-License-Identifier: BSD-2-Clause
// LINK: drivers/virtio_net.c drivers/virtio_device.c drivers/virtio_queue.c
//
// A virtio device that writes anything anywhere it may: used rings with any entries and indices, its flags,
// the registers of its configuration, its answers. Whatever it does, only bytes of buffers are read (ASan), a
// frame handed over has a frame's size, and when it behaves again it is a NIC again.
#include "drivers/virtio_net.h"
#include "tests/unit/fake_virtio.h"
#include "tests/unit/host/host.h"

static struct nic *nic;
static unsigned received;

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void receive(void *ctx, const uint8_t *frame, size_t size)
{
    static uint8_t copy[1518];
    require(ctx == &received && size >= 14 && size <= sizeof copy);
    memcpy(copy, frame, size);
    received++;
}

static void lie(unsigned op, uint8_t a, uint8_t b)
{
    unsigned q = a % VIRTIO_NET_QUEUES;
    uint8_t frame[1514] = {0};
    const struct nic_piece piece = {frame, (size_t)a * 8};
    bool running = fake.queues[q].enable != 0;
    switch (op % 12) {
    case 0:
        (void)!nic->ops->send(nic, &piece, 1);
        break;
    case 1:
        nic->ops->poll(nic, a);
        break;
    case 2:
        (void)fake_arrive(frame, 14 + b);
        break;
    case 3: // the device's own words
        if (running)
            fake_use(q, b & 0x80 ? b * 0x01010101u : b, (uint32_t)a << (b & 31));
        break;
    case 4:
        if (running)
            fake_used(q)->idx = (uint16_t)(fake_used(q)->idx + b);
        break;
    case 5:
        if (running)
            fake_used(q)->flags = b;
        break;
    case 6:
        fake.status = b;
        break;
    case 7:
        fake.regs[0x2000 + a % VIRTIO_NET_CONFIG_BYTES] = b;
        break;
    case 8:
        nic->ops->promiscuous(nic, b & 1);
        break;
    case 9:
        nic->ops->irq_enable(nic, b & 1);
        if (b & 2)
            virtio_net_interrupt(nic, 0x31);
        break;
    case 10:
        fake.deaf = a & 1;
        fake.answer = b;
        (void)nic->ops->room(nic, a);
        break;
    default:
        host_time_advance_ns((uint64_t)a << 24);
        (void)nic->ops->link_up(nic);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pci_device dev = fake_device();
    uint8_t frame[100] = {0};
    fake_start();
    received = 0;
    require(virtio_net_start(&dev, &nic) == OK);
    nic->receive = receive;
    nic->receive_ctx = &received;
    nic->irq_vector = 0x31;
    for (; size >= 3; data += 3, size -= 3)
        lie(data[0], data[1], data[2]);

    static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
    memcpy(&fake.regs[0x2000], mac, 6);
    *fake_config16(VIRTIO_NET_CONFIG_STATUS) = VIRTIO_NET_S_LINK_UP;
    fake.deaf = false;
    fake.status |= VIRTIO_STATUS_NEEDS_RESET;
    for (unsigned i = 0; i < 3; i++) {
        host_time_advance_ns(1100000000);
        nic->ops->poll(nic, 0);
    }
    require(nic->ops->link_up(nic) && nic->ops->room(nic, 128));
    unsigned before = received;
    require(fake_arrive(frame, sizeof frame) && nic->ops->poll(nic, 10) == 1 && received == before + 1);
    virtio_net_stop(nic);
    require(host_frames_in_use() == 0);
    return 0;
}
