// SPDX-License-Identifier: BSD-2-Clause
// The network of one machine: sorts what the NIC receives (frames of links and announcements to net/link and
// net/discovery, the rest to lwIP), keeps lwIP's addresses and timers, and owns the net lock. Must not know
// guests or PCI. Invariant: whatever runs here runs with the lock held and never twice at once; net_poll
// inside a callback does nothing.
#include "net/stack.h"
#include "net/discovery_node.h"
#include "net/l2.h"
#include "net/limit.h"
#include "net/link_node.h"
#include "net/lwip/headers.h"
#include "net/neighbour.h"
#include "net/switch.h"
#include "net/udp.h"
#include "rt/frames.h"
#include "rt/log.h"
#include "rt/paging.h"
#include "rt/spinlock.h"
#include "rt/time.h"
#include "rt/trace.h"

#define MS           1000000ull
#define ROOM         "net"
#define IRQ_INTERVAL 20000u // ns, between interrupts of the NIC, in the long run
#define IRQ_BURST    100u
#define RX_BUDGET    64u        // frames taken by one net_poll
#define CABLE_LOOK   (100 * MS) // between looks at the NIC's link state

#define IP_FORMAT   "%u.%u.%u.%u"
#define IP_ARGS(ip) (ip) & 0xff, (ip) >> 8 & 0xff, (ip) >> 16 & 0xff, (ip) >> 24

static struct {
    struct spinlock lock;
    bool polling;
    struct nic *nic;
    struct netif netif;
    struct link_node node;
    char name[32];
    uint32_t address;
    enum boot_carrier carrier;
    uint64_t lwip_due, cable_due;
    uint64_t retransmitted; // as of the last poll
    struct limit interrupts;
    uint64_t poll_ns; // what the last poll that found something took
    struct net_stats stats;
} net;

u32_t sys_now(void);
u32_t sys_now(void)
{
    return (u32_t)(time_ns() / MS);
}

uint32_t net_random(void);
uint32_t net_random(void)
{
    return (uint32_t)link_random(&net.node);
}

void net_lock(void)
{
    spin_lock(&net.lock);
}

void net_unlock(void)
{
    spin_unlock(&net.lock);
}

// --- lwIP's interface ---

static err_t output(struct netif *netif, struct pbuf *p)
{
    (void)netif;
    struct nic_piece pieces[8];
    unsigned n = 0;
    for (struct pbuf *q = p; q != NULL; q = q->next) {
        if (n == sizeof pieces / sizeof pieces[0])
            return ERR_BUF;
        pieces[n++] = (struct nic_piece){q->payload, q->len};
    }
    if (!switch_from_stack(pieces, n))
        return ERR_OK;
    enum status s = net.nic->ops->send(net.nic, pieces, n);
    return s == OK ? ERR_OK : s == ERR_BUSY ? ERR_MEM : ERR_IF;
}

static void address_changed(struct netif *netif)
{
    uint32_t address = netif_is_up(netif) ? ip4_addr_get_u32(netif_ip4_addr(netif)) : 0;
    uint32_t mask = ip4_addr_get_u32(netif_ip4_netmask(netif));
    neighbour_own(address, mask);
    if (address == net.address)
        return;
    net.address = address;
    if (address != 0)
        log_info(ROOM, "address " IP_FORMAT "/%u", IP_ARGS(address),
                 mask == 0 ? 0 : 32u - (unsigned)__builtin_ctz(lwip_ntohl(mask)));
    else
        log_warn(ROOM, "no address any more");
}

static err_t interface(struct netif *netif)
{
    netif->name[0] = 'e';
    netif->name[1] = 'n';
    netif->hostname = net.name;
    netif->mtu = net.nic->mtu;
    netif->hwaddr_len = 6;
    memcpy(netif->hwaddr, net.nic->mac, 6);
    netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET;
    netif->output = etharp_output;
    netif->linkoutput = output;
    return ERR_OK;
}

static void to_lwip(const uint8_t *frame, size_t size)
{
    struct pbuf *p = size <= PBUF_POOL_BUFSIZE ? pbuf_alloc(PBUF_RAW, (u16_t)size, PBUF_POOL) : NULL;
    if (p == NULL) {
        net.stats.dropped++;
        return;
    }
    if (pbuf_take(p, frame, (u16_t)size) != ERR_OK || net.netif.input(p, &net.netif) != ERR_OK)
        pbuf_free(p);
    else
        net.stats.to_lwip++;
}

// --- frames in ---

static bool received_l2(const uint8_t *bytes, size_t size)
{
    struct l2_frame frame;
    switch (l2_carrier_claim(bytes, size, &frame)) {
    case L2_NOT_OURS:
        return false;
    case L2_FOREIGN:
        net.stats.foreign++;
        return true;
    case L2_DAMAGED:
        net.stats.damaged++;
        return true;
    case L2_OURS:
        break;
    }
    if (net.carrier == BOOT_CARRIER_UDP) {
        net.stats.unwanted++;
        return true;
    }
    net.stats.to_links++;
    net.stats.l2++;
    link_input(&l2_carrier, frame.peer, frame.bytes, frame.size);
    return true;
}

static void received(void *ctx, const uint8_t *frame, size_t size)
{
    (void)ctx;
    trace(TRACE_FRAME, (uint32_t)size);
    if (received_l2(frame, size))
        return;
    struct udp_datagram dgram;
    switch (udp_carrier_claim(frame, size, &dgram)) {
    case UDP_NOT_OURS:
        if (switch_from_wire(frame, size))
            to_lwip(frame, size);
        return;
    case UDP_DAMAGED:
        net.stats.damaged++;
        return;
    case UDP_OURS:
        break;
    }
    net.stats.to_links++;
    if (dgram.size >= sizeof(struct wire_frame) &&
        (((const struct wire_frame *)dgram.bytes)->type & ~WIRE_SEALED) == WIRE_ANNOUNCE)
        discovery_input(dgram.peer, dgram.bytes, dgram.size);
    else if (dgram.broadcast)
        link_count_fault(WIRE_BAD_TYPE); // only announcements are for everybody
    else if (net.carrier == BOOT_CARRIER_L2)
        net.stats.unwanted++;
    else
        link_input(&udp_carrier, dgram.peer, dgram.bytes, dgram.size);
}

// --- guests' ports ---

#define HEARD_NS (30000 * MS) // what announced itself since then may be called soon

/// No guest may say that it has this address.
static bool links_use(uint32_t address)
{
    struct announcement a;
    uint64_t when;
    const struct link *l;
    if (address == 0)
        return false;
    if (address == net.address)
        return true;
    for (unsigned i = 0; (l = link_get(i)) != NULL; i++)
        if (address == l->path.peer || address == neighbour_hop(l->path.peer))
            return true;
    for (unsigned i = 0; discovery_heard(i, &a, &when); i++)
        if (address == a.peer && time_ns() - when < HEARD_NS)
            return true;
    return false;
}

// --- start and run ---

static void look_at_cable(void)
{
    bool up = net.nic->ops->link_up(net.nic);
    if (up == (bool)netif_is_link_up(&net.netif))
        return;
    log_info(ROOM, "%s: cable %s", net.nic->name, up ? "connected" : "disconnected");
    if (up)
        netif_set_link_up(&net.netif);
    else
        netif_set_link_down(&net.netif);
}

static void run_lwip(uint64_t now)
{
    sys_check_timeouts();
    net.lwip_due = now + sys_timeouts_sleeptime() * MS;
}

/// Never 0. The finalizer of MurmurHash3 spreads the few bits that differ between two starts.
static uint32_t seed_of(uint64_t x)
{
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdull;
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ull;
    uint32_t seed = (uint32_t)(x ^ x >> 33);
    return seed ? seed : 1;
}

struct net_config net_config_of(const struct boot_info *info, uint64_t tsc)
{
    const struct boot_node *node = &info->node;
    struct net_config config = {.dhcp = node->dhcp,
                                .prefix = node->prefix,
                                .carrier = node->carrier,
                                .frame = node->frame,
                                .seed = seed_of(tsc ^ info->entry_tsc << 32 ^ info->exit_tsc << 7)};
    memcpy(config.node, node->name, sizeof config.node);
    memcpy(config.address, node->address, sizeof config.address);
    memcpy(config.gateway, node->gateway, sizeof config.gateway);
    return config;
}

/// How large frames may be. Jumbo frames take memory; without it they are done without.
static void choose_frames(const struct nic *nic, uint16_t wanted)
{
    size_t most = nic_largest(nic) - 28; // IPv4 and UDP headers
    size_t bytes = wanted != 0 ? wanted : WIRE_FRAME_MAX;
    bytes = bytes > most ? most : bytes;
    bytes = bytes > WIRE_FRAME_MAX ? WIRE_FRAME_MAX : bytes;
    if (bytes <= LINK_FRAME_BYTES) {
        link_frames(NULL, bytes);
        return;
    }
    size_t count = (link_frames_memory(bytes) + FRAME_SIZE - 1) / FRAME_SIZE;
    phys_t memory = frames_alloc_dirty(count, FRAME_SIZE, 0);
    if (memory == FRAME_NONE)
        log_warn(ROOM, "no %u KiB for frames of %u bytes: they have %u",
                 (unsigned)(count * FRAME_SIZE / 1024), (unsigned)bytes, LINK_FRAME_BYTES);
    else
        link_frames(phys_to_virt(memory), bytes);
}

enum status net_start(struct nic *nic, const struct net_config *config)
{
    ip4_addr_t address = {0}, mask = {0}, gateway = {0};
    if (net.nic != NULL)
        return ERR_BUSY;
    if (nic->mtu < 576)
        return ERR_UNSUPPORTED;
    if (!config->dhcp) {
        if (config->prefix > 32)
            return ERR_INVAL;
        memcpy(&address, config->address, 4);
        memcpy(&gateway, config->gateway, 4);
        ip4_addr_set_u32(&mask, lwip_htonl(config->prefix == 0 ? 0 : ~0u << (32 - config->prefix)));
    }
    memcpy(net.name, config->node, sizeof net.name - 1);
    if (!wire_name_valid(net.name))
        return ERR_INVAL;

    uint64_t seed =
        (uint64_t)config->seed << 32 ^ time_ns() ^ (uint64_t)nic->mac[5] << 24 ^ (uint64_t)nic->mac[4] << 16;
    net.nic = nic;
    net.carrier = config->carrier;
    l2_carrier_start(nic);
    link_start(&net.node, net.name, 1, seed, net.carrier == BOOT_CARRIER_L2 ? &l2_carrier : &udp_carrier);
    choose_frames(nic, config->frame);
    link_prefer(net.carrier == BOOT_CARRIER_AUTO ? &l2_carrier : NULL);
    link_set_boot_id((uint32_t)link_random(&net.node) | 1);
    lwip_init();
    if (netif_add(&net.netif, &address, &mask, &gateway, NULL, interface, ethernet_input) == NULL)
        return ERR_NOMEM;
    netif_set_default(&net.netif);
    netif_set_status_callback(&net.netif, address_changed);
    enum status s = udp_carrier_start(nic);
    if (s != OK)
        return s;
    discovery_start(&udp_carrier, UDP_CARRIER_BROADCAST);
    switch_start(nic, nic->mac);
    switch_to_stack(to_lwip);
    switch_protect(links_use);
    nic->receive = received;
    nic->receive_ctx = NULL;
    netif_set_up(&net.netif);
    look_at_cable();
    if (config->dhcp && dhcp_start(&net.netif) != ERR_OK)
        return ERR_NOMEM;
    address_changed(&net.netif);
    run_lwip(time_ns());
    return OK;
}

struct nic *net_nic(void)
{
    return net.nic;
}

bool net_ready(void)
{
    return net.address != 0;
}

uint32_t net_address(void)
{
    return net.address;
}

struct net_memory net_memory(void)
{
    struct net_memory m = {.heap = (uint32_t)lwip_stats.mem.used, .heap_max = (uint32_t)lwip_stats.mem.max};
    for (unsigned i = 0; i < MEMP_MAX && lwip_stats.memp[i]; i++) { // NULL: net_start() was not called
        m.pooled += lwip_stats.memp[i]->used;
        m.pooled_max += lwip_stats.memp[i]->max;
    }
    return m;
}

struct net_stats net_stats(void)
{
    return net.stats;
}

unsigned net_poll(void)
{
    if (net.nic == NULL || net.polling)
        return 0;
    net.polling = true;
    uint64_t began = time_ns();
    unsigned n = net.nic->ops->poll(net.nic, RX_BUDGET);
    uint64_t now = time_ns();
    if (n)
        net.poll_ns = now - began;
    link_poll(now);
    if (net.retransmitted != net.node.stats.retransmitted) {
        net.retransmitted = net.node.stats.retransmitted;
        switch_give_way();
    }
    if (now >= discovery_next())
        discovery_poll(now, net.address != 0);
    if (now >= net.lwip_due)
        run_lwip(now);
    if (now >= net.cable_due) {
        net.cable_due = now + CABLE_LOOK;
        look_at_cable();
    }
    net.polling = false;
    return n;
}

unsigned net_interrupt(void)
{
    if (!net.nic || net.nic->irq_on || !limit_take(&net.interrupts, time_ns(), IRQ_INTERVAL, IRQ_BURST))
        return 0;
    net.interrupts.due += 4 * net.poll_ns; // the rest is for CPU 0's guests
    net.nic->ops->irq_enable(net.nic, true);
    return net_poll();
}

uint64_t net_next_ns(void)
{
    if (net.nic == NULL)
        return ~0ull;
    uint64_t now = time_ns(), next = net.lwip_due < net.cable_due ? net.lwip_due : net.cable_due;
    if (link_next() < next)
        next = link_next();
    if (discovery_next() < next)
        next = discovery_next();
    return next > now ? next - now : 0;
}
