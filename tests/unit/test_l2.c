// SPDX-License-Identifier: BSD-2-Clause
// LINK: net/wire.c net/link.c net/link_handshake.c net/link_reliable.c net/link_records.c @keys
// LINK: net/discovery.c net/stack.c net/switch.c net/switch_filter.c net/udp.c net/l2.c net/neighbour.c @lwip
//
// The l2 carrier in a whole stack on a fake NIC: what is in a frame, byte by byte, which frames are taken,
// which carrier a session ends up on. One program is one machine, so the tests run in this order.
#include "net/link_node.h"
#include "net/stack.h"
#include "rt/time.h"
#include "rt/trace.h"
#include "tests/unit/host/host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above
#include <cmocka.h>

#define MS     1000000ull
#define HEADER 18u

static const uint8_t own_mac[6] = {2, 0, 0, 0, 0, 1}, peer_mac[6] = {2, 0, 0, 0, 0, 2},
                     host_mac[6] = {2, 0, 0, 0, 0, 3}, all_mac[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t own_ip[4] = {10, 0, 0, 1}, peer_ip[4] = {10, 0, 0, 2}, host_ip[4] = {10, 0, 0, 3},
                     far_ip[4] = {10, 0, 1, 2}, all_ip[4] = {10, 0, 0, 255};

static unsigned doorbells;
void trace(enum trace_event event, uint32_t arg)
{
    doorbells += event == TRACE_DOORBELL;
    assert_in_range(arg, 1, 1514);
}

static struct {
    uint8_t bytes[64][2048];
    size_t size[64];
    unsigned out, looked;
} lan;

static enum status nic_send(struct nic *nic, const struct nic_piece *pieces, unsigned count)
{
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
    (void)nic;
    (void)budget;
    return 0;
}
static bool nic_link_up(struct nic *nic)
{
    (void)nic;
    return true;
}
static void nic_irq(struct nic *nic, bool on)
{
    (void)nic;
    (void)on;
}
static const struct nic_ops ops = {
    .send = nic_send, .poll = nic_poll, .link_up = nic_link_up, .irq_enable = nic_irq};
static struct nic nic = {.ops = &ops, .name = "fake", .mac = {2, 0, 0, 0, 0, 1}, .mtu = 1500};

/// The next frame of this EtherType that the stack sent, NULL: none.
static uint8_t *sent(unsigned type, size_t *size)
{
    while (lan.looked != lan.out) {
        uint8_t *f = lan.bytes[lan.looked];
        *size = lan.size[lan.looked++];
        if ((f[12] << 8 | f[13]) == (int)type)
            return f;
    }
    lan.looked = lan.out = 0;
    return NULL;
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
    uint8_t *exact = malloc(size); // ASan sees every byte read too far
    memcpy(exact, frame, size);
    net_lock();
    nic.receive(nic.receive_ctx, exact, size);
    net_unlock();
    free(exact);
}

static size_t l2_frame(uint8_t *f, const uint8_t *mac, const uint8_t *ip, const void *frame, size_t size)
{
    memcpy(f, own_mac, 6);
    memcpy(f + 6, mac, 6);
    f[12] = 0x88;
    f[13] = 0xb5;
    memcpy(f + 14, ip, 4);
    memcpy(f + HEADER, frame, size);
    for (size += HEADER; size < 60; size++)
        f[size] = 0xee; // Ethernet pads, with anything
    return size;
}

static void arp_reply(void)
{
    uint8_t f[60] = {0};
    memcpy(f, own_mac, 6);
    memcpy(f + 6, peer_mac, 6);
    memcpy(f + 12, "\x08\x06\x00\x01\x08\x00\x06\x04\x00\x02", 10);
    memcpy(f + 22, peer_mac, 6);
    memcpy(f + 28, peer_ip, 4);
    memcpy(f + 32, own_mac, 6);
    memcpy(f + 38, own_ip, 4);
    receive(f, sizeof f);
}

static struct link *host_link, *remote_link;
static unsigned ups, records;
static void on_up(void *ctx, struct link *l)
{
    if (ctx == &remote_link)
        remote_link = l;
    ups++;
}
static void on_record(void *ctx, struct link *l, const struct wire_record *rec, const void *body, size_t size)
{
    (void)ctx, (void)l, (void)rec, (void)body, (void)size;
    records++;
}
static void on_change(void *ctx, struct link *l)
{
    (void)ctx, (void)l;
}
static void on_down(void *ctx, struct link *l, const char *why)
{
    (void)ctx, (void)l, (void)why;
}
static const struct link_events events = {on_up, on_record, on_change, on_change, on_down};

static uint32_t epoch;

static void start(void **state)
{
    (void)state;
    host_time_set_ns(1000 * MS);
    struct net_config config = {.node = "node", .prefix = 24, .seed = 99, .carrier = BOOT_CARRIER_AUTO};
    memcpy(config.address, own_ip, 4);
    assert_int_equal(net_start(&nic, &config), OK);
    assert_true(net_ready());
}

struct hello_ack {
    struct wire_frame frame;
    struct wire_hello_ack body;
} __attribute__((packed));

/// An address first; then one HELLO by l2 alone; then by both.
static void test_hello(void **state)
{
    (void)state;
    uint32_t peer;
    size_t size;
    memcpy(&peer, peer_ip, 4);
    lan.out = lan.looked = 0;
    net_lock();
    assert_int_equal(link_connect(peer, "disk1", &events, NULL, &host_link), OK);
    net_unlock();
    assert_non_null(sent(0x0806, &size));
    assert_null(sent(0x88b5, &size));
    arp_reply();
    poll_after(2 * MS);
    uint8_t *f = sent(0x88b5, &size);
    assert_non_null(f);
    assert_memory_equal(f, peer_mac, 6);
    assert_memory_equal(f + 6, own_mac, 6);
    assert_memory_equal(f + 14, own_ip, 4);
    const struct wire_frame *w = (const struct wire_frame *)(f + HEADER);
    assert_int_equal(wire_check_frame(w, size - HEADER), WIRE_FINE);
    assert_int_equal(w->type, WIRE_HELLO);
    epoch = w->epoch;
    assert_int_equal(((const struct wire_hello *)(w + 1))->frame_max, 1472);
    assert_null(sent(0x0800, &size));
    poll_after(LINK_HELLO_MIN_MS * MS);
    unsigned by_l2 = 0, by_udp = 0;
    for (; lan.looked != lan.out; lan.looked++) {
        by_l2 += lan.bytes[lan.looked][12] == 0x88;
        by_udp += memcmp(lan.bytes[lan.looked] + 12, "\x08\x00", 2) == 0;
    }
    assert_int_equal(by_l2, 1);
    assert_int_equal(by_udp, 1);
    lan.out = lan.looked = 0;
    struct hello_ack ack = {{WIRE_MAGIC, 1, WIRE_HELLO_ACK, sizeof ack, epoch, 0, 0, 0},
                            {.boot_id = 5, .version = 1, .frame_max = 1472, .node = "disk1"}};
    uint8_t out[300];
    receive(out, l2_frame(out, peer_mac, peer_ip, &ack, sizeof ack));
    assert_int_equal(ups, 1);
    assert_string_equal(link_carrier(host_link), "l2");
    f = sent(0x88b5, &size);
    assert_non_null(f);
    assert_int_equal(size, HEADER + sizeof(struct wire_frame)); // the ACK; the NIC pads
    assert_null(sent(0x0800, &size));
}

static void test_every_length(void **state)
{
    (void)state;
    size_t size;
    doorbells = 0;
    for (uint16_t n = 1; n <= 256; n++) {
        struct wire_access a = {.size = n};
        struct wire_record r = {.type = REC_MWR, .function = 1};
        uint8_t data[256];
        memset(data, n, sizeof data);
        net_lock();
        assert_int_equal(link_send(host_link, &r, &a, sizeof a, data, n), OK);
        link_flush(host_link);
        net_unlock();
        uint8_t *f = sent(0x88b5, &size);
        lan.out = lan.looked = 0;
        assert_non_null(f);
        assert_int_equal(size, HEADER + 24 + 8 + 12 + n);
        assert_int_equal(wire_check_frame(f + HEADER, size - HEADER), WIRE_FINE);
        struct wire_frame ack = {WIRE_MAGIC, 1, WIRE_ACK, sizeof ack, epoch, 0, n, 0};
        uint8_t out[100];
        receive(out, l2_frame(out, peer_mac, peer_ip, &ack, sizeof ack)); // padded
    }
    assert_int_equal(link_stats(host_link).malformed, 0);
    assert_int_equal(doorbells, 256);
}

/// What is not from a neighbour, to us, and as long as it says, is dropped; padding is not.
static void test_what_is_taken(void **state)
{
    (void)state;
    struct {
        struct wire_frame frame;
        struct wire_record rec;
        uint32_t data;
    } __attribute__((packed))
    c = {{WIRE_MAGIC, 1, WIRE_DATA, sizeof c, epoch, 1, 256, 0}, {REC_CPLD, CPL_SC, 12, 1, 1}, 0x12345678};
    uint8_t f[200];
    struct net_stats before = net_stats();
    size_t size = l2_frame(f, peer_mac, peer_ip, &c, sizeof c);
    assert_int_equal(size, 60);
    for (size_t n = 1; n < HEADER + sizeof c; n++)
        receive(f, n);
    struct net_stats after = net_stats();
    assert_int_equal(after.damaged - before.damaged, sizeof c); // below that it is not ours at all
    for (unsigned length = 0; length < 0x10000; length += length < 80 ? 1 : 97) {
        memcpy(f + HEADER + 6, &length, 2);
        if (length != sizeof c)
            receive(f, size); // too short for its records, or too long for the frame
    }
    assert_int_equal(records, 0);
    l2_frame(f, peer_mac, peer_ip, &c, sizeof c);
    memset(f + size, 0, 10);
    receive(f, size + 10); // more than padding
    before = net_stats();
    memcpy(f, all_mac, 6);
    receive(f, size);
    memcpy(f, host_mac, 6);
    receive(f, size); // somebody else's
    l2_frame(f, all_mac, peer_ip, &c, sizeof c);
    receive(f, size);
    l2_frame(f, peer_mac, own_ip, &c, sizeof c);
    receive(f, size);
    l2_frame(f, peer_mac, far_ip, &c, sizeof c);
    receive(f, size);
    l2_frame(f, peer_mac, all_ip, &c, sizeof c);
    receive(f, size);
    assert_int_equal(net_stats().foreign - before.foreign, 6);
    l2_frame(f, host_mac, host_ip, &c, sizeof c);
    receive(f, size); // another neighbour, who has no such session
    assert_int_equal(records, 0);
    l2_frame(f, peer_mac, peer_ip, &c, sizeof c);
    receive(f, size + 4); // with the FCS that some NICs leave
    assert_int_equal(records, 1);
    assert_int_equal(link_stats(host_link).duplicates, 0);
    lan.out = lan.looked = 0;
}

static enum status accept_host(void *arg, const char *node, uint32_t peer, void **ctx, const char **why)
{
    (void)arg, (void)node, (void)peer, (void)why;
    *ctx = &remote_link;
    return OK;
}

/// At a remote: the answer goes by the carrier of the HELLO, at once, and the host chooses.
static void test_remote(void **state)
{
    (void)state;
    struct {
        struct wire_frame frame;
        struct wire_hello body;
    } __attribute__((packed)) hello = {{WIRE_MAGIC, 1, WIRE_HELLO, sizeof hello, 77, 0, 0, 0},
                                       {.boot_id = 9,
                                        .attempt = 1,
                                        .version_min = 1,
                                        .version_max = 1,
                                        .frame_max = 1472,
                                        .node = "host1",
                                        .to = "node"}};
    size_t size;
    uint8_t out[300];
    net_lock();
    link_listen(&events, accept_host, NULL);
    net_unlock();
    size_t n = l2_frame(out, host_mac, host_ip, &hello, sizeof hello);
    receive(out, n);
    uint8_t *f = sent(0x88b5, &size); // though ARP knows nothing of that host
    assert_non_null(f);
    assert_memory_equal(f, host_mac, 6);
    assert_int_equal(((const struct wire_frame *)(f + HEADER))->type, WIRE_HELLO_ACK);
    assert_non_null(remote_link);
    assert_string_equal(link_carrier(remote_link), "l2");
    lan.out = lan.looked = 0;
    receive(out, n); // again
    assert_non_null(sent(0x88b5, &size));
    assert_int_equal(link_node_stats().opened, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(start),
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_every_length),
        cmocka_unit_test(test_what_is_taken),
        cmocka_unit_test(test_remote),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
