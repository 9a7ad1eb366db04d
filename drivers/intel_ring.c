// SPDX-License-Identifier: BSD-2-Clause
// Frames in and out of an e1000-family controller: one fixed buffer a descriptor; those of a jumbo frame
// follow each other in memory, copied on the way out and handed over in place on the way in. Must not know
// what is in a frame, nor which model this is. Invariants: the device owns receive descriptors [RDH, RDT) and
// transmit descriptors [TDH, TDT); one descriptor of each ring stays ours, so that full and empty differ. A
// transmit descriptor is ours again when its DD is set: nothing is reclaimed, sending just looks at the next
// one. Lengths the device writes are checked against the buffer.
#include "drivers/frame.h"
#include "drivers/hw.h"
#include "drivers/intel_nic.h"
#include "rt/log.h"
#include "rt/memory.h"
#include "rt/time.h"

#define LINK_CHECK_NS  10000000u
#define NEGOTIATION_NS 5000000000u // more than auto-negotiation takes

static void check_link(struct intel_nic *n)
{
    static const char *const speeds[] = {"10", "100", "1000", "1000"};
    n->check_ns = time_ns() + LINK_CHECK_NS;
    n->nic.stats.rx_errors += intel_read(n, INTEL_MPC);
    n->nic.stats.rx_errors += intel_read(n, INTEL_CRCERRS);
    uint32_t status = intel_read(n, INTEL_STATUS);
    bool up = (status & INTEL_STATUS_LU) != 0;
    if (!up && n->check_ns >= n->wake_ns) {
        n->wake_ns = UINT64_MAX;
        intel_wake_phy(n);
    }
    if (up == n->up)
        return;
    n->up = up;
    if (up)
        log_info("nic", "%s: link up, %s Mb/s, %s duplex", n->name,
                 speeds[status >> INTEL_STATUS_SPEED_SHIFT & 3], status & INTEL_STATUS_FD ? "full" : "half");
    else
        log_info("nic", "%s: link down", n->name);
}

/// Hands `length` bytes in the buffer at `slot` to the device, at the next doorbell.
/// Behind the last slot there are buffers of no descriptor: a frame that begins before them goes on there.
static void describe(struct intel_nic *n, uint32_t slot, uint64_t length, uint64_t flags)
{
    struct intel_tx_desc *d = &n->tx[slot & (INTEL_TX_COUNT - 1)];
    d->address = n->tx_buffers_phys + slot * INTEL_BUFFER;
    *(volatile uint64_t *)&d->control = length | flags | n->tx_command;
}

static void queued(struct intel_nic *n, uint32_t next, size_t size)
{
    n->tx_tail = next;
    n->nic.stats.tx_frames++;
    n->nic.stats.tx_bytes += size;
    hw_write32(n->tdt, next); // uncached: ordered behind the descriptors and the frame
}

/// Of more than one buffer, which follow each other in memory; or too long.
static enum status send_jumbo(struct intel_nic *n, const struct nic_piece *pieces, unsigned count)
{
    size_t size = 0, most = (size_t)n->model->largest + NIC_HEADER_MAX;
    for (const struct nic_piece *p = pieces; p < pieces + count; p++) {
        if (p->size > most - size)
            return ERR_RANGE;
        size += p->size;
    }
    uint32_t tail = n->tx_tail, slots = (uint32_t)((size + INTEL_BUFFER - 1) / INTEL_BUFFER);
    uint32_t next = (tail + slots) & (INTEL_TX_COUNT - 1); // when this one is done, all before it are
    if (!(*(volatile uint64_t *)&n->tx[next].control & INTEL_TXD_DD)) {
        n->nic.stats.tx_busy++;
        return ERR_BUSY;
    }
    uint8_t *at = n->tx_buffers + tail * INTEL_BUFFER;
    for (const struct nic_piece *p = pieces; p < pieces + count; p++) {
        memory_copy(at, p->bytes, p->size);
        at += p->size;
    }
    uint64_t flags = n->advanced ? IGB_TXD_PAYLEN(size) : 0; // in the first descriptor
    for (uint32_t i = 0; i < slots - 1; i++, flags = 0)
        describe(n, tail + i, INTEL_BUFFER, flags);
    describe(n, tail + slots - 1, size - (slots - 1) * INTEL_BUFFER, flags | INTEL_TXD_EOP);
    queued(n, next, size);
    return OK;
}

static enum status send(struct nic *nic, const struct nic_piece *pieces, unsigned count)
{
    struct intel_nic *n = intel_of(nic);
    uint32_t tail = n->tx_tail;
    uint32_t next = (tail + 1) & (INTEL_TX_COUNT - 1);
    if (!n->up)
        return ERR_LINK_DOWN;
    if (!(*(volatile uint64_t *)&n->tx[next].control & INTEL_TXD_DD)) {
        nic->stats.tx_busy++;
        return ERR_BUSY;
    }
    // Padded here: TCTL.PSP of the 8254x pads with bytes of older frames.
    size_t size = frame_gather(n->tx_buffers + tail * INTEL_BUFFER, n->tx_short, pieces, count);
    if (size > n->tx_short)
        return send_jumbo(n, pieces, count);
    if (size == 0)
        return ERR_RANGE;
    describe(n, tail, size, n->advanced ? IGB_TXD_PAYLEN(size) | INTEL_TXD_EOP : INTEL_TXD_EOP);
    queued(n, next, size);
    return OK;
}

/// What a receive descriptor says, of whichever kind it is.
struct outcome {
    bool done, last, bad;
    uint32_t length;
};

static struct outcome outcome_of(const struct intel_nic *n, uint64_t result)
{
    if (n->advanced)
        return (struct outcome){.done = (result & IGB_RXD_DD) != 0,
                                .last = (result & IGB_RXD_EOP) != 0,
                                .bad = (result & IGB_RXD_ERRORS) != 0,
                                .length = IGB_RXD_LENGTH(result)};
    return (struct outcome){.done = (result & INTEL_RXD_DD) != 0,
                            .last = (result & INTEL_RXD_EOP) != 0,
                            .bad = (result & INTEL_RXD_ERRORS) != 0,
                            .length = INTEL_RXD_LENGTH(result)};
}

/// The frame that began at rx_start is whole, unless the device says otherwise: hands it on, or drops and
/// counts it.
static void take(struct intel_nic *n, bool bad)
{
    struct nic *nic = &n->nic;
    uint32_t size = n->rx_size, before_end = (INTEL_RX_COUNT - n->rx_start) * INTEL_BUFFER;
    if (bad || size < ETHERNET_HEADER || size > (uint32_t)n->model->largest + NIC_HEADER_MAX) {
        nic->stats.rx_errors++;
        return;
    }
    if (size > before_end) // its rest is in the first buffers
        memory_copy(n->rx_buffers + INTEL_RX_COUNT * INTEL_BUFFER, n->rx_buffers, size - before_end);
    nic->stats.rx_frames++;
    nic->stats.rx_bytes += size;
    if (nic->receive)
        nic->receive(nic->receive_ctx, n->rx_buffers + n->rx_start * INTEL_BUFFER, size);
}

/// One filled buffer.
static void buffer_filled(struct intel_nic *n, struct outcome o)
{
    n->rx_size += o.length;
    // All but a frame's last are full. What never ends, or is too long, gives its buffers back at once.
    n->rx_bad |= o.length > INTEL_BUFFER || (!o.last && o.length != INTEL_BUFFER) ||
                 n->rx_size > INTEL_SLOTS * INTEL_BUFFER;
    n->rx_head = (n->rx_head + 1) & (INTEL_RX_COUNT - 1);
    if (o.last)
        take(n, o.bad || n->rx_bad);
    if (o.last || n->rx_bad) {
        n->rx_start = n->rx_head;
        n->rx_size = 0;
    }
    n->rx_bad &= !o.last;
}

static unsigned poll(struct nic *nic, unsigned budget)
{
    struct intel_nic *n = intel_of(nic);
    if (n->polling)
        return 0; // from inside receive: the frame being handed over is still in its buffer
    n->polling = true;
    if (time_ns() >= n->check_ns)
        check_link(n);
    uint64_t received = nic->stats.rx_frames;
    uint32_t start = n->rx_start;
    for (unsigned taken = 0; taken < budget && taken < INTEL_RX_COUNT; taken++) {
        uint32_t head = n->rx_head;
        volatile struct intel_rx_desc *d = &n->rx[head];
        struct outcome o = outcome_of(n, d->result); // read once: the device's memory may change under us
        if (!o.done)
            break;
        __atomic_signal_fence(__ATOMIC_ACQUIRE); // x86 loads stay in order, the compiler's must too
        d->address = n->rx_buffers_phys + head * INTEL_BUFFER;
        d->result = 0;
        buffer_filled(n, o);
    }
    if (n->rx_start != start)
        hw_write32(n->rdt, (n->rx_start - 1) & (INTEL_RX_COUNT - 1));
    n->polling = false;
    return (unsigned)(nic->stats.rx_frames - received);
}

static bool link_up(struct nic *nic)
{
    struct intel_nic *n = intel_of(nic);
    if (time_ns() >= n->check_ns)
        check_link(n);
    return n->up;
}

static void irq_enable(struct nic *nic, bool on)
{
    struct intel_nic *n = intel_of(nic);
    if (nic->irq_vector == 0 || nic->irq_on == on)
        return;
    nic->irq_on = on;
    // ICR is not read here: a frame that came since the last poll must raise the interrupt at once.
    intel_write(n, on ? INTEL_IMS : INTEL_IMC, INTEL_INT_RXT0 | INTEL_INT_RXO | INTEL_INT_LSC);
}

static void promiscuous(struct nic *nic, bool on)
{
    struct intel_nic *n = intel_of(nic);
    uint32_t was = intel_read(n, INTEL_RCTL);
    uint32_t is = on ? was | INTEL_RCTL_UPE | INTEL_RCTL_MPE : was & ~(INTEL_RCTL_UPE | INTEL_RCTL_MPE);
    if (is != was)
        intel_write(n, INTEL_RCTL, is);
}

static bool room(struct nic *nic, unsigned frames)
{
    struct intel_nic *n = intel_of(nic);
    uint32_t last = (n->tx_tail + frames) & (INTEL_TX_COUNT - 1); // descriptors are done in order
    return frames < INTEL_TX_COUNT && *(volatile uint64_t *)&n->tx[last].control & INTEL_TXD_DD;
}

void intel_interrupt(void *ctx, uint8_t vector)
{
    struct intel_nic *n = intel_of(ctx);
    (void)vector;
    intel_write(n, INTEL_IMC, 0xffffffffu);
    if (intel_read(n, INTEL_ICR) & INTEL_INT_LSC) // clears the causes and, before EOI, takes INTx away
        n->check_ns = 0;
    __atomic_store_n(&n->nic.irq_on, false,
                     __ATOMIC_RELEASE); // last: another CPU may arm it again from here on
}

void intel_provoke(struct nic *nic)
{
    struct intel_nic *n = intel_of(nic);
    intel_write(n, INTEL_IMS, INTEL_INT_LSC);
    intel_write(n, INTEL_ICS, INTEL_INT_LSC);
}

static const struct nic_ops ops = {.send = send,
                                   .poll = poll,
                                   .link_up = link_up,
                                   .irq_enable = irq_enable,
                                   .promiscuous = promiscuous,
                                   .room = room};

static void queue_start(const struct intel_nic *n, uint32_t base, phys_t ring, uint32_t bytes)
{
    intel_write(n, base + INTEL_DBAL, (uint32_t)ring);
    intel_write(n, base + INTEL_DBAH, (uint32_t)(ring >> 32));
    intel_write(n, base + INTEL_DLEN, bytes);
    intel_write(n, base + INTEL_DH, 0); // not every emulator's reset does it
    intel_write(n, base + INTEL_DT, 0);
}

static void rings_start(struct intel_nic *n)
{
    for (uint32_t i = 0; i < INTEL_RX_COUNT; i++)
        n->rx[i] = (struct intel_rx_desc){.address = n->rx_buffers_phys + i * INTEL_BUFFER};
    for (uint32_t i = 0; i < INTEL_TX_COUNT; i++)
        n->tx[i] =
            (struct intel_tx_desc){.address = n->tx_buffers_phys + i * INTEL_BUFFER, .control = INTEL_TXD_DD};
    n->rx_head = n->rx_start = n->rx_size = n->tx_tail = 0;
    n->rx_bad = false;

    uint32_t rx = n->model->rx_base, tx = n->model->tx_base;
    size_t most = (size_t)n->model->largest + NIC_HEADER_MAX;
    n->tx_short = most < INTEL_BUFFER ? most : INTEL_BUFFER;
    n->advanced = n->model->advanced;
    n->rdt = n->regs + rx + INTEL_DT;
    n->tdt = n->regs + tx + INTEL_DT;
    n->tx_command = INTEL_TXD_IFCS | INTEL_TXD_RS | (n->model->advanced ? IGB_TXD_DATA : 0);
    queue_start(n, tx, n->rings_phys + INTEL_RX_COUNT * sizeof(struct intel_rx_desc),
                INTEL_TX_COUNT * sizeof(struct intel_tx_desc));
    queue_start(n, rx, n->rings_phys, INTEL_RX_COUNT * sizeof(struct intel_rx_desc));
    // No moderation: latency is what counts here.
    if (n->model->advanced) {
        intel_write(n, IGB_EITR0, 0);
        intel_write(n, rx + IGB_SRRCTL, IGB_SRRCTL_ADVANCED | IGB_SRRCTL_KIB_2);
    } else {
        intel_write(n, INTEL_TIDV, 0);
        intel_write(n, INTEL_RDTR, 0);
        intel_write(n, INTEL_RADV, 0);
        intel_write(n, INTEL_ITR, 0);
    }
    intel_write(n, INTEL_RXCSUM, 0);
}

/// Queues of these controllers have a switch each; the tail may move only when it is on
/// (82576 4.5.9, 4.5.10).
static void queues_enable(struct intel_nic *n)
{
    uint32_t rx = n->model->rx_base + INTEL_DCTL, tx = n->model->tx_base + INTEL_DCTL;
    if (!n->model->advanced)
        return;
    intel_write(n, tx, IGB_DCTL_ENABLE | IGB_DCTL_PREFETCH); // WTHRESH 0: written back when asked to
    intel_write(n, rx, IGB_DCTL_ENABLE | IGB_DCTL_PREFETCH | 1u << IGB_DCTL_WTHRESH_SHIFT);
    if (intel_wait(n, tx, IGB_DCTL_ENABLE, IGB_DCTL_ENABLE, 10000) != OK ||
        intel_wait(n, rx, IGB_DCTL_ENABLE, IGB_DCTL_ENABLE, 10000) != OK)
        log_warn("nic", "%s: its queues do not start", n->name);
}

void intel_start(struct intel_nic *n)
{
    const uint8_t *mac = n->nic.mac;
    intel_write(n, INTEL_RAL0,
                (uint32_t)mac[0] | (uint32_t)mac[1] << 8 | (uint32_t)mac[2] << 16 | (uint32_t)mac[3] << 24);
    intel_write(n, INTEL_RAH0, (uint32_t)mac[4] | (uint32_t)mac[5] << 8 | INTEL_RAH_AV);
    for (uint32_t i = 0; i < 128; i++)
        intel_write(n, INTEL_MTA + 4 * i, 0);
    rings_start(n);

    n->nic.ops = &ops;
    // Inter-packet gap and collision values: 8254x 13.4.34 and 13.4.33, 82574 10.2.6.
    intel_write(n, INTEL_TIPG, 8u | 8u << 10 | 6u << 20);
    intel_write(n, INTEL_TCTL,
                INTEL_TCTL_EN | INTEL_TCTL_PSP | 0x0fu << INTEL_TCTL_CT_SHIFT |
                    0x40u << INTEL_TCTL_COLD_SHIFT);
    queues_enable(n);
    // Written once: QEMU's 82540EM delivers nothing for a second after each write of RCTL.
    uint32_t jumbo = n->model->largest > n->nic.mtu ? INTEL_RCTL_LPE : 0;
    if (jumbo && n->model->advanced)
        intel_write(n, IGB_RLPML, n->model->largest + NIC_HEADER_MAX + ETHERNET_FCS);
    intel_write(n, INTEL_RCTL,
                INTEL_RCTL_EN | INTEL_RCTL_BAM | INTEL_RCTL_BSIZE_2048 | INTEL_RCTL_SECRC | jumbo);
    hw_write32(n->rdt, INTEL_RX_COUNT - 1);
    n->wake_ns = time_ns() + NEGOTIATION_NS;
    check_link(n);
    if (!n->up)
        log_info("nic", "%s: waiting for the link", n->name);
}
