// SPDX-License-Identifier: BSD-2-Clause
// A guest's virtual NICs: joins virtio-net (hv/platform), the virtual switch (net) and the guest's memory.
// The switch calls from any CPU with the net lock held and only leaves a note; frames move on the CPU that
// runs the guest.
#include "hv/platform/virtio_net.h"
#include "hv/vm/guest.h"
#include "net/stack.h"
#include "net/switch.h"
#include "rt/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_DEVICE 27u // on bus 0; functions and ports of the bus extension come from the other end

struct guest_nic {
    struct guest *guest;
    char name[BOOT_NAME_MAX + 16];
    struct switch_port *port;
    struct virtio_net device;
    _Atomic bool waiting; // frames wait in the port's queue
};

// --- between the device and the switch ---

static void on_attention(void *ctx)
{
    struct guest_nic *n = ctx;
    atomic_store(&n->waiting, true);
    guest_attention(n->guest);
}

static enum status on_send(void *ctx, const uint8_t *frame, size_t size)
{
    struct guest_nic *n = ctx;
    net_lock();
    enum status s = switch_send(n->port, &(struct nic_piece){frame, size}, 1);
    net_unlock();
    return s;
}

/// The frame stays where it is until on_drop: nobody else takes from this port.
static const uint8_t *on_first(void *ctx, size_t *size)
{
    struct guest_nic *n = ctx;
    net_lock();
    const uint8_t *frame = switch_first(n->port, size);
    net_unlock();
    return frame;
}

static void on_drop(void *ctx)
{
    struct guest_nic *n = ctx;
    net_lock();
    switch_drop(n->port);
    net_unlock();
}

// --- the guest's memory ---

static void *on_memory(void *ctx, uint64_t gpa, uint64_t *contiguous)
{
    return guest_memory_at(ctx, gpa, contiguous);
}

static void on_written(void *ctx, uint64_t gpa, uint64_t size)
{
    struct guest *g = ctx;
    if (!g->watched)
        return;
    for (uint64_t page = gpa & ~(FRAME_SIZE - 1); page < gpa + size; page += FRAME_SIZE)
        guest_memory_written(g, page);
}

// --- life ---

/// An address of its own (IEEE 802, locally administered): out of the NIC's, the guest's name and the index,
/// so that it is the same at every start. FNV-1a.
static void make_address(const struct guest *g, unsigned index, uint8_t mac[6])
{
    uint64_t hash = 0xcbf29ce484222325ull;
    const struct nic *nic = net_nic();
    for (unsigned i = 0; nic && i < 6; i++)
        hash = (hash ^ nic->mac[i]) * 0x100000001b3ull;
    for (const char *c = g->config->name; *c; c++)
        hash = (hash ^ (uint8_t)*c) * 0x100000001b3ull;
    hash = (hash ^ index) * 0x100000001b3ull;
    mac[0] = 0x02;
    for (unsigned i = 1; i < 6; i++)
        mac[i] = (uint8_t)(hash >> i * 8);
}

static enum status create(struct guest *g, unsigned index)
{
    const struct boot_vnic *config = &g->config->nics[index];
    struct guest_nic *n = calloc(1, sizeof *n);
    if (!n)
        return ERR_NOMEM;
    g->nics[index] = n;
    n->guest = g;
    snprintf(n->name, sizeof n->name, "%s, NIC %u", g->config->name, index);
    struct switch_config port = {
        .name = n->name, .rate = config->rate / 8, .attention = on_attention, .ctx = n};
    memcpy(port.mac, config->mac, sizeof port.mac);
    if (!config->has_mac)
        make_address(g, index, port.mac);
    net_lock();
    enum status s = switch_add(&port, &n->port);
    net_unlock();
    if (s != OK) {
        log_error(g->config->name, "virtual NIC %u (line %u): %s", index, config->ini_line,
                  s == ERR_BUSY ? "its address is in use on this host" : status_name(s));
        return s;
    }
    n->device.message = guest_message;
    n->device.message_ctx = g;
    n->device.pci.memory = (struct virtqueue_memory){.at = on_memory, .written = on_written, .ctx = g};
    n->device.pci.io = &g->io;
    n->device.pci.home = GUEST_MMIO_OURS + index * VIRTIO_BAR_SIZE;
    s = virtio_net_init(
        &n->device, &g->pci, (uint8_t)((FIRST_DEVICE + index) << 3), port.mac,
        &(struct virtio_net_ops){.send = on_send, .first = on_first, .drop = on_drop, .ctx = n});
    if (s == OK)
        log_info(g->config->name, "virtual NIC %u: %02x:%02x:%02x:%02x:%02x:%02x%s", index, port.mac[0],
                 port.mac[1], port.mac[2], port.mac[3], port.mac[4], port.mac[5],
                 config->rate ? ", with a limit" : "");
    return s;
}

enum status guest_nics_create(struct guest *g)
{
    for (unsigned i = 0; i < g->config->nic_count; i++) {
        enum status s = create(g, i);
        if (s != OK)
            return s;
    }
    return OK;
}

void guest_nics_destroy(struct guest *g)
{
    for (unsigned i = 0; i < BOOT_NICS_MAX; i++) {
        struct guest_nic *n = g->nics[i];
        if (n && n->port) {
            net_lock();
            switch_remove(n->port);
            net_unlock();
        }
        free(n);
        g->nics[i] = NULL;
    }
}

void guest_nics_reset(struct guest *g)
{
    for (unsigned i = 0; i < g->config->nic_count; i++)
        virtio_net_reset(&g->nics[i]->device);
}

void guest_nics_tend(struct guest *g)
{
    for (unsigned i = 0; i < g->config->nic_count; i++) {
        struct guest_nic *n = g->nics[i];
        if (!atomic_load_explicit(&n->waiting, memory_order_relaxed) && !n->device.held)
            continue;
        atomic_store(&n->waiting,
                     false); // before it is looked: what comes now is seen, or notes itself again
        (void)virtio_net_poll(&n->device);
    }
}

void guest_nics_print(void)
{
    const struct switch_port *p;
    net_lock();
    for (unsigned i = 0; (p = switch_get(i)) != NULL; i++) {
        struct switch_stats s = switch_stats(p);
        log_info(
            "nics",
            "%s: sent %llu frames %llu bytes, received %llu frames %llu bytes, dropped %llu, spoofed %llu, "
            "forbidden %llu, malformed %llu, held %llu",
            switch_name(p), (unsigned long long)s.sent, (unsigned long long)s.sent_bytes,
            (unsigned long long)s.received, (unsigned long long)s.received_bytes,
            (unsigned long long)s.dropped, (unsigned long long)s.spoofed, (unsigned long long)s.forbidden,
            (unsigned long long)s.malformed, (unsigned long long)s.held);
    }
    if (!switch_get(0))
        log_info("nics", "no guest has a virtual NIC");
    if (switch_wire_rate())
        log_info("nics", "links lose frames: guests send %llu KB/s to the wire at most",
                 (unsigned long long)switch_wire_rate() / 1000);
    net_unlock();
}
