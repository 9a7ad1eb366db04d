// SPDX-License-Identifier: BSD-2-Clause
// LINK: net/wire.c net/link.c net/link_handshake.c net/link_reliable.c net/link_records.c @keys
// LINK: net/discovery.c net/stack.c net/switch.c net/switch_filter.c net/udp.c net/l2.c net/neighbour.c @lwip
//
// The stack on a fake NIC, the test playing the rest of the LAN byte by byte: ARP, DHCP, datagrams right and
// wrong. One program is one machine, so the tests run in this order and build on each other.
#include "net/discovery.h"
#include "net/link_node.h"
#include "net/stack.h"
#include "net/switch.h"
#include "net/wire.h"
#include "rt/time.h"
#include "rt/trace.h"
#include "tests/unit/host/host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above
#include <cmocka.h>

#define MS 1000000ull

static const uint8_t own_mac[6] = {2, 0, 0, 0, 0, 1}, peer_mac[6] = {2, 0, 0, 0, 0, 2},
                     all_mac[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t own_ip[4] = {10, 0, 0, 1}, peer_ip[4] = {10, 0, 0, 2}, zero_ip[4],
                     all_ip[4] = {255, 255, 255, 255};

static unsigned doorbells;
void trace(enum trace_event event, uint32_t arg)
{
    doorbells += event == TRACE_DOORBELL;
    assert_in_range(arg, 1, 1514);
}

// --- the NIC and the LAN ---

static struct {
    uint8_t bytes[64][2048];
    size_t size[64];
    unsigned out, looked; // frames sent by the stack; looked at by the test
    uint8_t in[2048];
    size_t in_size;
    bool cable, full;
} lan;

static enum status nic_send(struct nic *nic, const struct nic_piece *pieces, unsigned count)
{
    if (lan.full)
        return ERR_BUSY;
    if (!lan.cable)
        return ERR_LINK_DOWN;
    assert_true(lan.out < 64);
    size_t n = 0;
    for (unsigned i = 0; i < count; i++) {
        memcpy(lan.bytes[lan.out] + n, pieces[i].bytes, pieces[i].size);
        n += pieces[i].size;
    }
    assert_true(n <= nic->mtu + 14u);
    lan.size[lan.out++] = n;
    return OK;
}
static unsigned nic_poll(struct nic *nic, unsigned budget)
{
    assert_true(budget >= 1);
    if (lan.in_size == 0)
        return 0;
    size_t n = lan.in_size;
    lan.in_size = 0;
    uint8_t *exact = malloc(n);
    memcpy(exact, lan.in, n);
    nic->receive(nic->receive_ctx, exact, n);
    free(exact);
    return 1;
}
static bool nic_link_up(struct nic *nic)
{
    (void)nic;
    return lan.cable;
}
static unsigned armed;
static void nic_irq(struct nic *nic, bool on)
{
    nic->irq_on = on;
    armed += on;
}
static const struct nic_ops ops = {
    .send = nic_send, .poll = nic_poll, .link_up = nic_link_up, .irq_enable = nic_irq};
static struct nic nic = {.ops = &ops, .name = "fake", .mac = {2, 0, 0, 0, 0, 1}, .mtu = 1500};

/// The next frame that the stack sent, NULL: none.
static uint8_t *sent(size_t *size)
{
    if (lan.looked == lan.out) {
        lan.looked = lan.out = 0;
        return NULL;
    }
    *size = lan.size[lan.looked];
    return lan.bytes[lan.looked++];
}
static void poll_after(uint64_t ns)
{
    host_time_advance_ns(ns);
    net_lock();
    (void)net_poll();
    net_unlock();
}
static void receive(const void *frame, size_t size)
{
    memcpy(lan.in, frame, size);
    lan.in_size = size;
    poll_after(0);
}

// --- a second opinion about checksums and headers, in the plainest way ---

static uint16_t be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}
static void set16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static uint32_t sum16(uint32_t s, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        s += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
    return s;
}
static uint16_t fold(uint32_t s)
{
    while (s >> 16 != 0)
        s = (s & 0xffff) + (s >> 16);
    return (uint16_t)s;
}
static uint16_t udp_sum(const uint8_t *f)
{
    uint16_t length = be16(f + 38);
    return fold(sum16(sum16(17u + length, f + 26, 8), f + 34, length));
}

static size_t datagram(uint8_t *f, const uint8_t *mac, const uint8_t *from, const uint8_t *to,
                       unsigned from_port, unsigned to_port, const void *payload, size_t size)
{
    memset(f, 0, 42);
    memcpy(f, mac, 6);
    memcpy(f + 6, peer_mac, 6);
    set16(f + 12, 0x0800);
    f[14] = 0x45;
    set16(f + 16, (unsigned)size + 28);
    f[22] = 64;
    f[23] = 17;
    memcpy(f + 26, from, 4);
    memcpy(f + 30, to, 4);
    set16(f + 24, 0xffffu ^ fold(sum16(0, f + 14, 20)));
    set16(f + 34, from_port);
    set16(f + 36, to_port);
    set16(f + 38, (unsigned)size + 8);
    memcpy(f + 42, payload, size);
    set16(f + 40, 0xffffu ^ udp_sum(f));
    size_t total = size + 42;
    while (total < 60)
        f[total++] = 0; // Ethernet pads
    return total;
}

// --- DHCP, as far as a test needs it (RFC 2131) ---

static uint8_t dhcp_type(const uint8_t *payload)
{
    const uint8_t *o = payload + 240;
    while (*o != 255) {
        if (*o == 53)
            return o[2];
        o += *o == 0 ? 1 : 2 + o[1];
    }
    return 0;
}
static void dhcp_reply(const uint8_t *request, uint8_t type)
{
    uint8_t p[300] = {2, 1, 6, 0}, f[400];
    memcpy(p + 4, request + 4, 4); // xid
    memcpy(p + 16, own_ip, 4);
    memcpy(p + 28, own_mac, 6);
    memcpy(p + 236, "\x63\x82\x53\x63", 4);
    static const uint8_t options[] = {54, 4, 10,  0,   0,   254, 51, 4, 0,  0, 14, 16,
                                      1,  4, 255, 255, 255, 0,   3,  4, 10, 0, 0,  254};
    uint8_t *o = p + 240;
    *o++ = 53;
    *o++ = 1;
    *o++ = type;
    memcpy(o, options, sizeof options);
    o[sizeof options] = 255;
    static const uint8_t server[4] = {10, 0, 0, 254};
    receive(f, datagram(f, own_mac, server, own_ip, 67, 68, p, sizeof p));
}

static void test_configuration(void **state)
{
    static const struct boot_info info = {
        .entry_tsc = 1000,
        .exit_tsc = 2000,
        .node = {.name = "disk1", .prefix = 24, .address = {10, 0, 0, 2}, .gateway = {10, 0, 0, 254}}};
    (void)state;
    struct net_config a = net_config_of(&info, 5000), b = net_config_of(&info, 5001);
    assert_string_equal(a.node, "disk1");
    assert_false(a.dhcp);
    assert_int_equal(a.prefix, 24);
    assert_memory_equal(a.address, info.node.address, 4);
    assert_memory_equal(a.gateway, info.node.gateway, 4);
    assert_int_not_equal(a.seed, b.seed);
    assert_int_not_equal(net_config_of(&(struct boot_info){0}, 0).seed, 0);
}

static void test_start_and_dhcp(void **state)
{
    (void)state;
    host_time_set_ns(1000 * MS);
    lan.cable = true;
    struct net_config config = {.node = "host1", .dhcp = true, .seed = 99, .carrier = BOOT_CARRIER_UDP};
    assert_int_equal(net_start(&nic, &config), OK);
    assert_int_equal(net_start(&nic, &config), ERR_BUSY);
    assert_false(net_ready());
    size_t size;
    uint8_t *f = NULL, *g;
    for (unsigned i = 0; i < 200 && f == NULL; i++) {
        poll_after(50 * MS);
        while ((g = sent(&size)) != NULL)
            if (size > 282 && be16(g + 36) == 67)
                f = g;
    }
    assert_non_null(f);
    assert_int_equal(dhcp_type(f + 42), 1); // DISCOVER
    dhcp_reply(f + 42, 2);                  // OFFER
    for (f = NULL; (g = sent(&size)) != NULL;)
        if (size > 282 && be16(g + 36) == 67)
            f = g;
    assert_non_null(f);
    assert_int_equal(dhcp_type(f + 42), 3); // REQUEST
    dhcp_reply(f + 42, 5);                  // ACK
    for (unsigned i = 0; i < 200 && !net_ready(); i++) {
        poll_after(50 * MS); // lwIP asks by ARP whether the address is free
        lan.out = lan.looked = 0;
    }
    assert_true(net_ready());
    uint32_t own;
    memcpy(&own, own_ip, 4);
    assert_int_equal(net_address(), own);
    assert_string_equal(host_log_last(), "net: address 10.0.0.1/24");
}

// --- a link over it ---

static struct link *link_of_test;
static unsigned ups, records;
static void on_up(void *ctx, struct link *l)
{
    (void)ctx;
    (void)l;
    ups++;
    assert_int_equal(net_poll(), 0); // allowed, does nothing
}
static void on_record(void *ctx, struct link *l, const struct wire_record *rec, const void *body, size_t size)
{
    (void)ctx;
    (void)l;
    (void)body;
    assert_int_equal(rec->type, REC_CPLD);
    assert_int_equal(size, 4);
    records++;
}
static void on_change(void *ctx, struct link *l)
{
    (void)ctx;
    (void)l;
}
static void on_down(void *ctx, struct link *l, const char *why)
{
    (void)ctx;
    (void)l;
    (void)why;
}
static const struct link_events events = {on_up, on_record, on_change, on_change, on_down};

static void arp_reply(const uint8_t *mac)
{
    uint8_t f[60] = {0};
    memcpy(f, own_mac, 6);
    memcpy(f + 6, mac, 6);
    memcpy(f + 12, "\x08\x06\x00\x01\x08\x00\x06\x04\x00\x02", 10);
    memcpy(f + 22, mac, 6);
    memcpy(f + 28, peer_ip, 4);
    memcpy(f + 32, own_mac, 6);
    memcpy(f + 38, own_ip, 4);
    receive(f, sizeof f);
}

static void check_datagram(const uint8_t *f, size_t size, const uint8_t *mac)
{
    assert_memory_equal(f, mac, 6);
    assert_memory_equal(f + 6, own_mac, 6);
    assert_int_equal(be16(f + 12), 0x0800);
    assert_int_equal(be16(f + 16), size - 14);
    assert_int_equal(fold(sum16(0, f + 14, 20)), 0xffff);
    assert_memory_equal(f + 26, own_ip, 4);
    assert_memory_equal(f + 30, peer_ip, 4);
    assert_int_equal(be16(f + 34), WIRE_UDP_PORT);
    assert_int_equal(be16(f + 36), WIRE_UDP_PORT);
    assert_int_equal(be16(f + 38), size - 34);
    assert_int_not_equal(be16(f + 40), 0);
    assert_int_equal(udp_sum(f), 0xffff);
}

static uint32_t epoch;

static void test_arp_then_hello(void **state)
{
    (void)state;
    uint32_t peer;
    memcpy(&peer, peer_ip, 4);
    lan.out = lan.looked = 0;
    net_lock();
    assert_int_equal(link_connect(peer, "disk1", &events, NULL, &link_of_test), OK);
    net_unlock();
    size_t size;
    uint8_t *f = sent(&size);
    assert_non_null(f);
    assert_memory_equal(f, all_mac, 6);
    assert_memory_equal(f + 12, "\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01", 10); // who has...
    assert_memory_equal(f + 38, peer_ip, 4);
    assert_null(sent(&size));
    arp_reply(peer_mac); // what waited goes out through lwIP
    f = sent(&size);
    assert_non_null(f);
    check_datagram(f, size, peer_mac);
    const struct wire_frame *w = (const struct wire_frame *)(f + 42);
    assert_int_equal(wire_check_frame(w, size - 42), WIRE_FINE);
    assert_int_equal(w->type, WIRE_HELLO);
    epoch = w->epoch;
    struct wire_hello hello;
    memcpy(&hello, w + 1, sizeof hello);
    assert_string_equal(hello.node, "host1");
    assert_string_equal(hello.to, "disk1");
    assert_int_equal(hello.frame_max, 1472);
    poll_after(LINK_HELLO_MIN_MS * MS); // repeated, now with the header of our own
    f = sent(&size);
    assert_non_null(f);
    check_datagram(f, size, peer_mac);
    assert_memory_equal(f + 42 + sizeof *w, &hello, sizeof hello);
    lan.out = lan.looked = 0;

    struct {
        struct wire_frame frame;
        struct wire_hello_ack body;
    } __attribute__((packed)) ack = {{WIRE_MAGIC, 1, WIRE_HELLO_ACK, sizeof ack, epoch, 0, 0, 0},
                                     {.boot_id = 5, .version = 1, .frame_max = 1472, .node = "disk1"}};
    uint8_t out[300];
    receive(out, datagram(out, own_mac, peer_ip, own_ip, WIRE_UDP_PORT, WIRE_UDP_PORT, &ack, sizeof ack));
    assert_int_equal(ups, 1);
    assert_int_equal(link_state(link_of_test), LINK_UP);
    lan.out = lan.looked = 0;
}

/// Every length, odd ones too, has a right checksum in our own header.
static void test_datagrams_of_every_length(void **state)
{
    (void)state;
    size_t size;
    doorbells = 0;
    for (uint16_t n = 1; n <= 256; n++) {
        struct wire_access a = {.size = n};
        struct wire_record r = {.type = REC_MWR, .function = 1};
        uint8_t data[256];
        for (unsigned i = 0; i < n; i++)
            data[i] = (uint8_t)(i * 7 + n);
        net_lock();
        assert_int_equal(link_send(link_of_test, &r, &a, sizeof a, data, n), OK);
        link_flush(link_of_test);
        net_unlock();
        uint8_t *f = sent(&size);
        assert_non_null(f);
        assert_int_equal(size, 42 + 24 + 8 + 12 + n);
        check_datagram(f, size, peer_mac);
        assert_memory_equal(f + size - n, data, n);
        assert_null(sent(&size));
        struct wire_frame ack = {WIRE_MAGIC, 1, WIRE_ACK, sizeof ack, epoch, 0, n, 0};
        uint8_t out[100];
        receive(out, datagram(out, own_mac, peer_ip, own_ip, WIRE_UDP_PORT, WIRE_UDP_PORT, &ack, sizeof ack));
    }
    assert_int_equal(link_stats(link_of_test).malformed, 0);
    assert_int_equal(doorbells, 256);
}

static uint32_t remote_sequence;
static size_t completion(uint8_t *out)
{
    struct {
        struct wire_frame frame;
        struct wire_record rec;
        uint32_t data;
    } __attribute__((packed)) c = {{WIRE_MAGIC, 1, WIRE_DATA, sizeof c, epoch, remote_sequence + 1, 256, 0},
                                   {REC_CPLD, CPL_SC, 12, 1, 1},
                                   0x12345678};
    return datagram(out, own_mac, peer_ip, own_ip, WIRE_UDP_PORT, WIRE_UDP_PORT, &c, sizeof c);
}

static void test_damage(void **state)
{
    (void)state;
    uint8_t f[200];
    size_t size = completion(f), used = 14 + be16(f + 16);
    struct net_stats before = net_stats();
    for (size_t i = 14; i < used; i++) // one bit in every byte behind the Ethernet header
        for (unsigned bit = 0; bit < 8; bit += 3) {
            completion(f);
            f[i] ^= (uint8_t)(1u << bit);
            receive(f, size);
        }
    for (size_t n = 1; n < used; n++) { // every length
        completion(f);
        receive(f, n);
    }
    completion(f);
    f[40] = f[41] = 0; // no checksum
    receive(f, size);
    completion(f);
    f[20] = 0x20; // more fragments
    f[24] = f[25] = 0;
    set16(f + 24, 0xffffu ^ fold(sum16(0, f + 14, 20)));
    receive(f, size);
    assert_int_equal(records, 0);
    struct net_stats after = net_stats();
    assert_true(after.damaged > before.damaged + 100);
    assert_int_equal(after.to_links, before.to_links);
    completion(f);
    receive(f, size); // and unharmed
    remote_sequence++;
    assert_int_equal(records, 1);
    assert_int_equal(net_stats().to_links, before.to_links + 1);
    completion(f);
    memcpy(f, all_mac, 6);
    memcpy(f + 30, all_ip, 4); // to everybody: not for a link
    uint8_t g[200];
    size = datagram(g, all_mac, peer_ip, all_ip, WIRE_UDP_PORT, WIRE_UDP_PORT, f + 42, used - 42);
    receive(g, size);
    assert_int_equal(records, 1);
    lan.out = lan.looked = 0;
}

static unsigned heard;
static void on_heard(void *ctx, const struct announcement *a)
{
    (void)ctx;
    assert_string_equal(a->node, "disk9");
    uint32_t peer;
    memcpy(&peer, peer_ip, 4);
    assert_int_equal(a->peer, peer);
    assert_int_equal(a->function_count, 1);
    heard++;
}

static void test_announcements(void **state)
{
    (void)state;
    struct {
        struct wire_frame frame;
        struct wire_announce body;
        struct wire_function f;
    } __attribute__((packed)) a = {
        {WIRE_MAGIC, 1, WIRE_ANNOUNCE, sizeof a, 0, 0, 0, 0},
        {.node = "disk9", .boot_id = 3, .total = 1, .parts = 1, .count = 1},
        {.vendor = 0x1234, .device = 0x11e8},
    };
    uint8_t f[300];
    size_t size = datagram(f, all_mac, peer_ip, all_ip, WIRE_UDP_PORT, WIRE_UDP_PORT, &a, sizeof a);
    receive(f, size);
    assert_int_equal(heard, 0);
    net_lock();
    discovery_listen(on_heard, NULL);
    net_unlock();
    receive(f, size);
    assert_int_equal(heard, 1);
    receive(f, datagram(f, own_mac, peer_ip, own_ip, WIRE_UDP_PORT, WIRE_UDP_PORT, &a, sizeof a));
    assert_int_equal(heard, 2);
    receive(f,
            datagram(f, own_mac, peer_ip, zero_ip, WIRE_UDP_PORT, WIRE_UDP_PORT, &a, sizeof a)); // not to us
    assert_int_equal(heard, 2);

    // and ours, to everybody
    static const struct wire_function function = {.vendor = 0x8086};
    static const struct announcement own = {.node = "host1", .function_count = 1, .functions = &function};
    lan.out = lan.looked = 0;
    net_lock();
    discovery_announce(&own, 0);
    (void)net_poll();
    net_unlock();
    uint8_t *g = sent(&size);
    assert_non_null(g);
    assert_memory_equal(g, all_mac, 6);
    assert_memory_equal(g + 30, all_ip, 4);
    assert_int_equal(udp_sum(g), 0xffff);
    assert_int_equal(wire_check_frame(g + 42, size - 42), WIRE_FINE);
}

static void test_peer_moves(void **state)
{
    (void)state;
    static const uint8_t new_mac[6] = {2, 0, 0, 0, 0, 9};
    arp_reply(new_mac);
    lan.out = lan.looked = 0;
    size_t size;
    uint8_t *f;
    bool seen = false;
    for (unsigned i = 0; i < 30; i++) { // within a second or so
        poll_after(50 * MS);
        while ((f = sent(&size)) != NULL)
            if (be16(f + 12) == 0x0800 && memcmp(f, new_mac, 6) == 0)
                seen = true;
    }
    assert_true(seen);
}

static void no_attention(void *ctx)
{
    (void)ctx;
}

/// The link goes to 10.0.0.2 still: no guest has that address, nor ours.
static void test_guests_claim_addresses(void **state)
{
    (void)state;
    const uint8_t mac[6] = {2, 0, 0, 0, 0, 9};
    struct switch_config config = {.name = "guest", .mac = {2, 0, 0, 0, 0, 9}, .attention = no_attention};
    struct switch_port *port;
    static const uint8_t claims[][4] = {{10, 0, 0, 1}, {10, 0, 0, 2}, {10, 0, 0, 5}, {0, 0, 0, 0}};
    net_lock();
    assert_int_equal(switch_add(&config, &port), OK);
    for (unsigned i = 0; i < sizeof claims / sizeof *claims; i++) {
        uint8_t f[42];
        memcpy(f, all_mac, 6);
        memcpy(f + 6, mac, 6);
        memcpy(f + 12, (const uint8_t[]){8, 6, 0, 1, 8, 0, 6, 4, 0, 2}, 10);
        memcpy(f + 22, mac, 6);
        memcpy(f + 28, claims[i], 4);
        memcpy(f + 32, own_mac, 6);
        memcpy(f + 38, own_ip, 4);
        const struct nic_piece piece = {f, sizeof f};
        assert_int_equal(switch_send(port, &piece, 1), OK);
        assert_int_equal(switch_stats(port).spoofed, i < 2 ? i + 1 : 2);
    }
    switch_remove(port);
    net_unlock();
}

static void test_ping_and_closed_ports(void **state)
{
    (void)state;
    uint8_t f[100] = {0};
    datagram(f, own_mac, peer_ip, own_ip, 1, 2, f, 16);
    f[23] = 1; // ICMP echo request
    memset(f + 34, 0, 24);
    f[34] = 8;
    set16(f + 24, 0);
    set16(f + 24, 0xffffu ^ fold(sum16(0, f + 14, 20)));
    set16(f + 36, 0xffffu ^ fold(sum16(0, f + 34, 24)));
    lan.out = lan.looked = 0;
    receive(f, 60);
    size_t size;
    uint8_t *g = sent(&size);
    assert_non_null(g);
    assert_int_equal(g[34], 0); // echo reply
}

static void test_full_nic_and_cut_cable(void **state)
{
    (void)state;
    struct link *l = link_of_test;
    assert_true(link_state(l) == LINK_UP || link_state(l) == LINK_FROZEN || link_state(l) == LINK_CONNECTING);
    lan.full = true;
    lan.out = lan.looked = 0;
    poll_after(600 * MS);
    assert_int_equal(lan.out, 0);
    assert_int_equal(net_next_ns(), 0); // to be tried again at once
    lan.full = false;
    poll_after(0);
    assert_true(lan.out >= 1);
    lan.cable = false;
    poll_after(200 * MS);
    assert_true(net_ready());
    for (unsigned i = 0; i < 100; i++)
        poll_after(50 * MS);
    assert_int_equal(link_state(l), LINK_CONNECTING);
    lan.cable = true;
    lan.out = lan.looked = 0;
    poll_after(600 * MS);
    assert_true(lan.out >= 1);
}

/// Nothing was started: whoever looks all the same finds nothing.
static void test_before_the_start(void **state)
{
    (void)state;
    struct net_memory m = net_memory();
    assert_int_equal(m.pooled + m.pooled_max + m.heap + m.heap_max, 0);
    assert_false(net_ready());
}

static void test_interrupts_are_limited(void **state)
{
    (void)state;
    net_lock();
    net_interrupt();
    net_interrupt();
    assert_int_equal(armed, 1); // one is enough
    for (unsigned i = 0; i < 1000; i++) {
        nic.irq_on = false; // it has interrupted
        net_interrupt();
    }
    assert_in_range(armed, 50, 200); // then it is polled
    unsigned before = armed;
    for (unsigned i = 0; i < 1000; i++) { // every 10 us
        host_time_advance_ns(10000);
        nic.irq_on = false;
        net_interrupt();
    }
    assert_in_range(armed - before, 490, 510);
    net_unlock();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_before_the_start),
        cmocka_unit_test(test_configuration),
        cmocka_unit_test(test_start_and_dhcp),
        cmocka_unit_test(test_arp_then_hello),
        cmocka_unit_test(test_datagrams_of_every_length),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_announcements),
        cmocka_unit_test(test_peer_moves),
        cmocka_unit_test(test_guests_claim_addresses),
        cmocka_unit_test(test_ping_and_closed_ports),
        cmocka_unit_test(test_full_nic_and_cut_cable),
        cmocka_unit_test(test_interrupts_are_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
