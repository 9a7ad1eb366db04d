// SPDX-License-Identifier: BSD-2-Clause
// hv/platform/virtio_net.h. Header and features: virtio 1.2, 5.1.3 and 5.1.6.
#include "hv/platform/virtio_net.h"
#include <string.h>

#define F_CSUM      (1ull << 0)
#define F_MAC       (1ull << 5)
#define F_MRG_RXBUF (1ull << 15)
#define F_STATUS    (1ull << 16)
#define NEEDS_CSUM  1u
#define LINK_UP     1u
#define DEVICE_ID   1u
#define ETHERNET    0x0200u
#define MERGE_MAX   64u // buffers for one frame
#define AT_ONCE     64u // frames sent for one notification: no exit lasts longer than a slice

enum { RECEIVE, TRANSMIT, QUEUES };

struct header {
    uint8_t flags, gso_type;
    uint16_t header_length, gso_size, checksum_start, checksum_offset, buffers;
};
_Static_assert(sizeof(struct header) == 12, "virtio 1.2, 5.1.6");

// --- out of the guest ---

/// The Internet checksum (RFC 1071) from `start` on goes to start + offset, where the pseudo-header's sum is.
static bool fill_checksum(uint8_t *frame, size_t size, unsigned start, unsigned offset)
{
    uint32_t sum = 0;
    if (start >= size || start + offset + 2u > size)
        return false;
    for (size_t i = start; i < size; i += 2)
        sum += (uint32_t)frame[i] << 8 | (i + 1 < size ? frame[i + 1] : 0u);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    sum = ~sum & 0xffff;
    frame[start + offset] = (uint8_t)(sum >> 8);
    frame[start + offset + 1] = (uint8_t)sum;
    return true;
}

/// The frame of a chain; 0: it holds none that could be sent.
static size_t frame_of(struct virtio_net *n, const struct virtqueue_chain *chain)
{
    struct header h;
    if (chain->readable <= sizeof h || chain->readable - sizeof h > sizeof n->frame)
        return 0;
    (void)virtqueue_read(chain, 0, &h, sizeof h);
    uint32_t size = virtqueue_read(chain, sizeof h, n->frame, sizeof n->frame);
    if (h.flags & NEEDS_CSUM && !fill_checksum(n->frame, size, h.checksum_start, h.checksum_offset))
        return 0;
    return size;
}

static void broken(struct virtio_net *n, unsigned queue)
{
    if (!n->pci.queues[queue].broken)
        return;
    n->broken++;
    virtio_pci_fail(&n->pci);
}

static void transmit(struct virtio_net *n)
{
    struct virtqueue *q = &n->pci.queues[TRANSMIT];
    struct virtqueue_chain chain;
    n->held = false;
    for (unsigned i = 0; virtqueue_first(q, &n->pci.memory, &chain); i++) {
        size_t size = i < AT_ONCE ? frame_of(n, &chain) : 0;
        if (i == AT_ONCE || (size && n->ops.send(n->ops.ctx, n->frame, size) == ERR_BUSY)) {
            n->held = true; // the rest when the guest is looked at the next time
            break;
        }
        virtqueue_take(q);
        virtqueue_give(q, &n->pci.memory, chain.head, 0);
    }
    virtio_pci_publish(&n->pci, TRANSMIT);
    broken(n, TRANSMIT);
}

// --- into the guest ---

/// Puts one frame into as many buffers as it takes. False: there are not enough yet.
static bool deliver(struct virtio_net *n, const uint8_t *frame, size_t size)
{
    struct virtqueue *q = &n->pci.queues[RECEIVE];
    const struct virtqueue before = *q; // nothing was shown to the guest yet
    bool merge = n->pci.accepted & F_MRG_RXBUF;
    struct virtqueue_chain chain, first;
    struct header h = {0};
    uint32_t done = 0;
    for (unsigned used = 0; used < MERGE_MAX && (done < size || used == 0); used++) {
        if (!virtqueue_first(q, &n->pci.memory, &chain)) {
            bool is_broken = q->broken;
            *q = before;
            q->broken = is_broken;
            return false;
        }
        uint32_t offset = used == 0 ? sizeof h : 0;
        uint32_t fits = virtqueue_write(&chain, &n->pci.memory, offset, frame + done, (uint32_t)size - done);
        if (used == 0)
            first = chain;
        done += fits;
        h.buffers++;
        virtqueue_take(q);
        virtqueue_give(q, &n->pci.memory, chain.head, offset + fits);
        if (!merge)
            break;
    }
    (void)virtqueue_write(&first, &n->pci.memory, 0, &h, sizeof h);
    return true;
}

static void receive(struct virtio_net *n)
{
    const uint8_t *frame;
    size_t size;
    while ((frame = n->ops.first(n->ops.ctx, &size)) != NULL && deliver(n, frame, size))
        n->ops.drop(n->ops.ctx);
    virtio_pci_publish(&n->pci, RECEIVE);
    broken(n, RECEIVE);
}

bool virtio_net_poll(struct virtio_net *n)
{
    if (!virtio_pci_running(&n->pci)) {
        size_t size;
        while (n->ops.first(n->ops.ctx, &size)) // nobody listens
            n->ops.drop(n->ops.ctx);
        return false;
    }
    receive(n);
    if (n->held)
        transmit(n);
    return n->held;
}

static void on_notify(void *ctx, unsigned queue)
{
    struct virtio_net *n = ctx;
    if (queue == TRANSMIT)
        transmit(n);
    else
        receive(n);
}

static void on_reset(void *ctx)
{
    ((struct virtio_net *)ctx)->held = false;
}

static void on_message(void *ctx, uint64_t address, uint32_t data)
{
    struct virtio_net *n = ctx;
    n->message(n->message_ctx, address, data);
}

enum status virtio_net_init(struct virtio_net *n, struct guest_pci *pci, uint8_t devfn, const uint8_t mac[6],
                            const struct virtio_net_ops *ops)
{
    n->ops = *ops;
    n->pci.ops =
        (struct virtio_pci_ops){.notify = on_notify, .reset = on_reset, .message = on_message, .ctx = n};
    n->pci.offered = F_CSUM | F_MAC | F_MRG_RXBUF | F_STATUS | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_VERSION_1;
    n->pci.queue_count = QUEUES;
    memcpy(n->pci.config, mac, 6);
    n->pci.config[6] = LINK_UP;
    n->pci.config_size = 8;
    return virtio_pci_init(&n->pci, pci, devfn, DEVICE_ID, ETHERNET);
}

void virtio_net_reset(struct virtio_net *n)
{
    virtio_pci_reset(&n->pci);
}
