// SPDX-License-Identifier: BSD-2-Clause
// Virtio network device (virtio 1.2, 5.1): one receive and one transmit queue, and the control queue for
// promiscuous mode. A buffer is one descriptor: header and frame. Frames are copied on the way out and handed
// over in place on the way in. Must not know what is in a frame, nor the transport's registers
// (drivers/virtio_device.h). Invariant: a device that breaks the rules of a ring is reset before anything
// more of it is believed, and started again a second later.
#include "drivers/virtio_net.h"
#include "drivers/frame.h"
#include "drivers/hw.h"
#include "drivers/virtio_device.h"
#include "rt/log.h"
#include "rt/memory.h"
#include "rt/paging.h"
#include "rt/time.h"
#include <stddef.h>
#include <string.h>

#define HEADER       ((uint32_t)sizeof(struct virtio_net_hdr))
#define RX_COUNT     256u
#define TX_COUNT     128u
#define BUFFER       2048u
#define JUMBO        9000u // largest payload, where the device says that it takes so much
#define JUMBO_BUFFER 10240u
#define JUMBO_SHARE  2u // of the buffers that there are of the usual size: so many fewer
#define CHECK_NS     10000000u
#define RESTART_NS   1000000000u
#define NAME_MAX     36
#define SELF_FRAMES  1u

#define NEEDED (VIRTIO_F_VERSION_1 | VIRTIO_NET_F_MAC)
#define WANTED                                                                                               \
    (NEEDED | VIRTIO_NET_F_MTU | VIRTIO_NET_F_STATUS | VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_CTRL_RX |         \
     VIRTIO_F_ACCESS_PLATFORM | VIRTIO_F_ORDER_PLATFORM)

_Static_assert(RX_COUNT <= VIRTQ_MAX && TX_COUNT <= VIRTQ_MAX, "rings fit");

/// A command as the control queue takes it (5.1.6.5): what the device reads, and its answer.
struct command {
    uint8_t class, command, on, answer;
};

struct virtio_net {
    struct nic nic; // first: a `struct nic *` of ours is a `struct virtio_net *`
    struct virtio_device device;
    struct virtq rx, tx, ctrl;
    phys_t rx_phys, tx_phys, command_phys;
    uint8_t *rx_buffers, *tx_buffers;
    uint32_t buffer; // bytes of one of them
    uint16_t rx_count, tx_count;
    volatile struct command *command;
    uint16_t tx_free[TX_COUNT], tx_free_count;
    bool up;     // carrier, as last seen
    bool broken; // it was reset, and is started again at check_ns
    bool polling;
    bool has_ctrl, commanding;          // a command is with the device
    bool promiscuous, promiscuous_told; // what is wanted, what the device was told
    uint64_t check_ns;                  // when link state is read next
    char name[NAME_MAX];
};
_Static_assert(sizeof(struct virtio_net) <= SELF_FRAMES * FRAME_SIZE, "state fits");

_Static_assert(HEADER + NIC_HEADER_MAX + JUMBO <= JUMBO_BUFFER, "a jumbo frame fits");

static struct virtio_net *of(struct nic *nic)
{
    return (struct virtio_net *)nic;
}

/// Whatever the device did wrong: it reaches no memory of ours any more.
static void fall(struct virtio_net *n, const char *what)
{
    log_error("nic", "%s: %s; it is reset", n->name, what);
    if (virtio_device_reset(&n->device) != OK)
        log_error("nic", "%s: its reset does not end", n->name);
    n->broken = true;
    n->up = false;
    n->check_ns = time_ns() + RESTART_NS;
}

// ---- Control queue

static void send_command(struct virtio_net *n)
{
    *n->command = (struct command){.class = VIRTIO_NET_CTRL_RX,
                                   .command = VIRTIO_NET_CTRL_RX_PROMISC,
                                   .on = n->promiscuous,
                                   .answer = 0xff};
    n->promiscuous_told = n->promiscuous;
    n->commanding = true;
    virtq_give(&n->ctrl, 0);
    virtq_publish(&n->ctrl);
}

/// Takes the answer to a command, and sends the next one if there is something to tell. Never waits.
static void control(struct virtio_net *n)
{
    uint16_t id;
    uint32_t len;
    if (!n->has_ctrl)
        return;
    if (n->commanding) {
        enum status s = virtq_take(&n->ctrl, &id, &len);
        if (s == ERR_NOTFOUND)
            return;
        if (s != OK) {
            fall(n, "its control queue makes no sense");
            return;
        }
        n->commanding = false;
        if (n->command->answer != VIRTIO_NET_OK)
            log_warn("nic", "%s: it does not switch promiscuous mode %s", n->name,
                     n->promiscuous_told ? "on" : "off");
    }
    if (n->promiscuous != n->promiscuous_told)
        send_command(n);
}

static void promiscuous(struct nic *nic, bool on)
{
    struct virtio_net *n = of(nic);
    n->promiscuous = on;
    if (!n->broken)
        control(n);
}

// ---- Start

static void free_frames(phys_t base, size_t count)
{
    if (base != FRAME_NONE)
        frames_free(base, count);
}

static bool start_queue(struct virtio_net *n, struct virtq *q, enum virtio_net_queue index, uint16_t size)
{
    if (virtq_start(q, &n->device, (uint16_t)index, size, n->device.dev->cap_msix != 0) == OK)
        return true;
    log_error("nic", "%s: its queue %u cannot be used", n->name, (unsigned)index);
    return false;
}

static void fill_rings(struct virtio_net *n)
{
    for (uint16_t i = 0; i < n->rx.size; i++) {
        n->rx.desc[i] = (struct virtq_desc){
            .addr = n->rx_phys + i * n->buffer, .len = n->buffer, .flags = VIRTQ_DESC_F_WRITE};
        virtq_give(&n->rx, i);
    }
    for (uint16_t i = 0; i < n->tx.size; i++) {
        memory_fill(n->tx_buffers + i * n->buffer, 0,
                    HEADER); // no checksum or segmentation is asked for, ever
        n->tx.desc[i] = (struct virtq_desc){.addr = n->tx_phys + i * n->buffer};
        n->tx_free[i] = (uint16_t)(n->tx.size - 1 - i);
    }
    n->tx_free_count = n->tx.size;
    if (!n->has_ctrl)
        return;
    uint32_t asked = offsetof(struct command, answer);
    n->ctrl.desc[0] =
        (struct virtq_desc){.addr = n->command_phys, .len = asked, .flags = VIRTQ_DESC_F_NEXT, .next = 1};
    n->ctrl.desc[1] =
        (struct virtq_desc){.addr = n->command_phys + asked, .len = 1, .flags = VIRTQ_DESC_F_WRITE};
}

static void check_link(struct virtio_net *n)
{
    n->check_ns = time_ns() + CHECK_NS;
    uint8_t status = virtio_device_status(&n->device);
    if (status == 0xff || status & VIRTIO_STATUS_NEEDS_RESET || !(status & VIRTIO_STATUS_DRIVER_OK)) {
        fall(n, status == 0xff ? "it is gone" : "it lost its state");
        return;
    }
    bool up = !(n->device.features & VIRTIO_NET_F_STATUS) ||
              hw_read16(n->device.config + VIRTIO_NET_CONFIG_STATUS) & VIRTIO_NET_S_LINK_UP;
    control(n);
    if (n->broken || up == n->up)
        return;
    n->up = up;
    log_info("nic", "%s: link %s", n->name, up ? "up" : "down");
}

static size_t frames_of(const struct virtio_net *n, unsigned buffers)
{
    return (size_t)buffers * n->buffer / FRAME_SIZE;
}

/// Large enough for what the device may send, for as long as there is the device. False: no memory.
static bool take_buffers(struct virtio_net *n, bool jumbo)
{
    n->buffer = jumbo ? JUMBO_BUFFER : BUFFER;
    n->rx_count = jumbo ? RX_COUNT / JUMBO_SHARE : RX_COUNT;
    n->tx_count = jumbo ? TX_COUNT / JUMBO_SHARE : TX_COUNT;
    phys_t rx = frames_alloc_dirty(frames_of(n, n->rx_count), FRAME_SIZE, 0);
    phys_t tx = frames_alloc_dirty(frames_of(n, n->tx_count), FRAME_SIZE, 0);
    if (rx == FRAME_NONE || tx == FRAME_NONE) {
        free_frames(rx, frames_of(n, n->rx_count));
        free_frames(tx, frames_of(n, n->tx_count));
        return false;
    }
    n->rx_phys = rx;
    n->tx_phys = tx;
    n->rx_buffers = phys_to_virt(rx);
    n->tx_buffers = phys_to_virt(tx);
    return true;
}

static uint32_t device_mtu(const struct virtio_net *n)
{
    uint32_t mtu = 1500;
    if (n->device.features & VIRTIO_NET_F_MTU)
        mtu = hw_read16(n->device.config + VIRTIO_NET_CONFIG_MTU);
    return mtu > JUMBO ? JUMBO : mtu;
}

/// 3.1.1, from the reset to DRIVER_OK, in this order. What fails is logged.
static enum status bring_up(struct virtio_net *n)
{
    struct virtio_device *v = &n->device;
    enum status s = virtio_device_reset(v);
    if (s != OK) {
        log_error("nic", "%s: its reset does not end", n->name);
        return s;
    }
    s = virtio_device_negotiate(v, WANTED, NEEDED);
    if (s != OK) {
        log_error("nic", "%s: it is not virtio 1.0, or has no station address", n->name);
        return s;
    }
    uint32_t largest = device_mtu(n), mtu = largest < 1500 ? largest : 1500;
    if (!n->rx_buffers && !take_buffers(n, largest > 1500)) {
        log_error("nic", "%s: no memory for its buffers", n->name);
        return ERR_NOMEM;
    }
    uint32_t room = n->buffer - HEADER - NIC_HEADER_MAX;
    n->nic.mtu = (uint16_t)mtu;
    n->nic.largest = (uint16_t)(largest < room ? largest : room);
    for (uint32_t i = 0; i < 6; i++)
        n->nic.mac[i] = hw_read8(v->config + VIRTIO_NET_CONFIG_MAC + i);
    if (n->nic.mac[0] & 1 || mtu < 68) {
        log_error("nic", "%s: its station address or its MTU (%u) cannot be", n->name, mtu);
        return ERR_UNSUPPORTED;
    }
    n->has_ctrl = v->features & VIRTIO_NET_F_CTRL_VQ && v->features & VIRTIO_NET_F_CTRL_RX;
    if ((v->dev->cap_msix && !virtio_device_config_interrupt(v)) ||
        !start_queue(n, &n->rx, VIRTIO_NET_RX, n->rx_count) ||
        !start_queue(n, &n->tx, VIRTIO_NET_TX, n->tx_count) ||
        (n->has_ctrl && !start_queue(n, &n->ctrl, VIRTIO_NET_CTRL, 2)))
        return ERR_UNSUPPORTED;
    fill_rings(n);
    n->nic.places = n->tx_free_count;
    n->broken = n->commanding = n->nic.irq_on = false;
    // Nothing says what a device does until it is told, so it is told what it is to do.
    n->promiscuous_told = !n->promiscuous;
    virtio_device_set_status(v, VIRTIO_STATUS_DRIVER_OK);
    virtq_publish(&n->rx);
    check_link(n);
    return OK;
}

/// A device that fell, a second later.
static void restart(struct virtio_net *n)
{
    n->check_ns = time_ns() + RESTART_NS;
    if (bring_up(n) == OK)
        return;
    n->broken = true;
    n->up = false;
    virtio_device_set_status(&n->device, VIRTIO_STATUS_FAILED);
}

static void look_after(struct virtio_net *n)
{
    if (time_ns() < n->check_ns)
        return;
    if (n->broken)
        restart(n);
    else
        check_link(n);
}

// ---- Frames

/// Takes back what was sent. Returns how many frames can be queued.
static unsigned reclaim(struct virtio_net *n)
{
    uint16_t id;
    uint32_t len;
    for (;;) {
        enum status s = virtq_take(&n->tx, &id, &len);
        if (s == ERR_NOTFOUND)
            return n->tx_free_count;
        if (s != OK) {
            fall(n, "its transmit queue makes no sense");
            return 0;
        }
        n->tx_free[n->tx_free_count++] = id;
    }
}

static enum status send(struct nic *nic, const struct nic_piece *pieces, unsigned count)
{
    struct virtio_net *n = of(nic);
    if (!n->up)
        return ERR_LINK_DOWN;
    if (n->tx_free_count == 0 && reclaim(n) == 0) {
        nic->stats.tx_busy++;
        return n->broken ? ERR_LINK_DOWN : ERR_BUSY;
    }
    uint16_t id = n->tx_free[n->tx_free_count - 1];
    size_t most = nic_largest(nic) + NIC_HEADER_MAX;
    size_t size = frame_gather(n->tx_buffers + id * n->buffer + HEADER, most, pieces, count);
    if (size == 0 || size > most)
        return ERR_RANGE;
    n->tx_free_count--;
    n->tx.desc[id].len = HEADER + (uint32_t)size;
    virtq_give(&n->tx, id);
    nic->stats.tx_frames++;
    nic->stats.tx_bytes += size;
    virtq_publish(&n->tx);
    return OK;
}

/// One filled buffer: hands the frame on, or drops and counts it.
static void take(struct virtio_net *n, const uint8_t *frame, uint32_t len)
{
    struct nic *nic = &n->nic;
    if (len < HEADER + ETHERNET_HEADER || len > HEADER + NIC_HEADER_MAX + nic_largest(nic)) {
        nic->stats.rx_errors++;
        return;
    }
    nic->stats.rx_frames++;
    nic->stats.rx_bytes += len - HEADER;
    if (nic->receive)
        nic->receive(nic->receive_ctx, frame, len - HEADER);
}

static unsigned poll(struct nic *nic, unsigned budget)
{
    struct virtio_net *n = of(nic);
    if (n->polling)
        return 0; // from inside receive: the frame being handed over is still in its buffer
    n->polling = true;
    look_after(n);
    uint64_t received = nic->stats.rx_frames;
    unsigned taken = 0;
    for (; taken < budget && taken < n->rx.size && !n->broken; taken++) {
        uint16_t id;
        uint32_t len;
        enum status s = virtq_take(&n->rx, &id, &len);
        if (s == ERR_NOTFOUND)
            break;
        if (s != OK) {
            fall(n, "its receive queue makes no sense");
            break;
        }
        take(n, n->rx_buffers + id * n->buffer + HEADER, len);
        if (!n->broken)
            virtq_give(&n->rx, id);
    }
    if (taken && !n->broken)
        virtq_publish(&n->rx);
    n->polling = false;
    return (unsigned)(nic->stats.rx_frames - received);
}

static bool link_up(struct nic *nic)
{
    struct virtio_net *n = of(nic);
    if (!n->polling)
        look_after(n);
    return n->up;
}

static void irq_enable(struct nic *nic, bool on)
{
    struct virtio_net *n = of(nic);
    if (nic->irq_vector == 0 || nic->irq_on == on || n->broken)
        return;
    nic->irq_on = on;
    virtq_interrupts(&n->rx, on);
}

static bool room(struct nic *nic, unsigned frames)
{
    struct virtio_net *n = of(nic);
    return !n->broken && (n->tx_free_count >= frames || reclaim(n) >= frames);
}

void virtio_net_interrupt(void *ctx, uint8_t vector)
{
    struct virtio_net *n = of(ctx);
    (void)vector;
    virtq_interrupts(&n->rx, false);
    virtq_interrupts(&n->ctrl, false);
    virtio_device_take_interrupt(&n->device);
    __atomic_store_n(&n->nic.irq_on, false,
                     __ATOMIC_RELEASE); // last: another CPU may arm it again from here on
}

void virtio_net_provoke(struct nic *nic)
{
    struct virtio_net *n = of(nic);
    for (unsigned i = 0; i < 1000 && n->commanding && !n->broken; i++) {
        control(n); // the start's own command comes first
        time_delay_us(10);
    }
    if (!n->has_ctrl || n->commanding || n->broken)
        return;
    virtq_interrupts(&n->ctrl, true);
    send_command(n);
}

static const struct nic_ops ops = {.send = send,
                                   .poll = poll,
                                   .link_up = link_up,
                                   .irq_enable = irq_enable,
                                   .promiscuous = promiscuous,
                                   .room = room};

static enum status take_memory(struct virtio_net *n)
{
    n->command_phys = frames_alloc(1, FRAME_SIZE, 0);
    enum status s = virtq_alloc(&n->rx);
    s = s == OK ? virtq_alloc(&n->tx) : s;
    s = s == OK ? virtq_alloc(&n->ctrl) : s;
    if (s != OK || n->command_phys == FRAME_NONE)
        return ERR_NOMEM;
    n->command = phys_to_virt(n->command_phys);
    return OK;
}

static void give_memory_back(struct virtio_net *n)
{
    virtq_free(&n->rx);
    virtq_free(&n->tx);
    virtq_free(&n->ctrl);
    if (n->rx_buffers) {
        frames_free(n->rx_phys, frames_of(n, n->rx_count));
        frames_free(n->tx_phys, frames_of(n, n->tx_count));
    }
    free_frames(n->command_phys, 1);
    frames_free(virt_to_phys(n), SELF_FRAMES);
}

void virtio_net_stop(struct nic *nic)
{
    struct virtio_net *n = of(nic);
    if (virtio_device_reset(&n->device) == OK)
        give_memory_back(n); // else the device may still write to it
}

enum status virtio_net_start(struct pci_device *dev, struct nic **nic)
{
    static const char model[] = "virtio-net ";
    _Static_assert(sizeof model + PCI_ADDRESS_TEXT <= NAME_MAX, "the name fits");
    phys_t self = frames_alloc(SELF_FRAMES, FRAME_SIZE, 0);
    if (self == FRAME_NONE)
        return ERR_NOMEM;
    struct virtio_net *n = phys_to_virt(self);
    n->nic.name = n->name;
    n->nic.ops = &ops;
    memcpy(n->name, model, sizeof model);
    pci_address_text(dev->at, n->name + sizeof model - 1);

    enum status s = take_memory(n);
    if (s != OK)
        log_error("nic", "%s: no memory for its rings", n->name);
    pci_enable(dev, true);
    if (s == OK) {
        s = virtio_device_open(&n->device, dev);
        if (s != OK)
            log_error("nic", "%s: no registers of virtio 1.0, or the firmware gave them no address", n->name);
    }
    if (s == OK && dev->cap_msix)
        s = pci_msix_prepare(dev);
    if (s == OK) {
        s = bring_up(n);
        if (s != OK && virtio_device_reset(&n->device) != OK)
            return s; // its memory stays taken: the device may still write to it
    }
    if (s != OK) {
        give_memory_back(n);
        return s;
    }
    *nic = &n->nic;
    return OK;
}
