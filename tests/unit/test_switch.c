// SPDX-License-Identifier: BSD-2-Clause
// LINK: net/switch.c net/switch_filter.c
// The virtual switch: who gets a frame, what is refused, rates, the room that is left for links.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four above
#include "net/switch.h"
#include "net/switch_filter.h"
#include "net/wire.h"
#include "tests/unit/host/host.h"
#include <cmocka.h>
#include <string.h>

static const uint8_t host_mac[6] = {2, 0, 0, 0, 0, 1}, a_mac[6] = {2, 0, 0, 0, 0, 0xa},
                     b_mac[6] = {2, 0, 0, 0, 0, 0xb}, far_mac[6] = {2, 0, 0, 0, 9, 9},
                     all_mac[6] = {255, 255, 255, 255, 255, 255};

static unsigned on_wire, in_stack, rung;
static bool promiscuous_now, ring_free;
static uint8_t last[SWITCH_FRAME_MAX];
static size_t last_size;

static enum status fake_send(struct nic *nic, const struct nic_piece *pieces, unsigned count)
{
    (void)nic;
    last_size = 0;
    for (unsigned i = 0; i < count; i++) {
        memcpy(last + last_size, pieces[i].bytes, pieces[i].size);
        last_size += pieces[i].size;
    }
    on_wire++;
    return OK;
}

static void fake_promiscuous(struct nic *nic, bool on)
{
    (void)nic;
    promiscuous_now = on;
}

static bool fake_room(struct nic *nic, unsigned frames)
{
    (void)nic;
    assert_int_equal(frames, SWITCH_RESERVE);
    return ring_free;
}

// A NIC with a wire of its own speed behind it.
#define RING     127u
#define FRAME_NS 12304ull // 1,518 bytes, FCS, preamble and gap at 1 Gb/s
static struct {
    unsigned waiting, whose[RING], sent[3];
    uint64_t since[RING], now, worst;
} wire;
enum { LINKS, PORT_A, PORT_B };

static enum status wire_send(struct nic *nic, const struct nic_piece *pieces, unsigned count)
{
    (void)nic, (void)count;
    if (wire.waiting == RING)
        return ERR_BUSY;
    uint8_t from = ((const uint8_t *)pieces[0].bytes)[11];
    wire.since[wire.waiting] = wire.now;
    wire.whose[wire.waiting++] = from == a_mac[5] ? PORT_A : from == b_mac[5] ? PORT_B : LINKS;
    return OK;
}

static bool wire_room(struct nic *nic, unsigned frames)
{
    (void)nic;
    return RING - wire.waiting >= frames;
}

static void wire_takes_one(void)
{
    wire.now += FRAME_NS;
    host_time_advance_ns(FRAME_NS);
    if (wire.waiting == 0)
        return;
    wire.sent[wire.whose[0]]++;
    if (wire.whose[0] == LINKS && wire.now - wire.since[0] > wire.worst)
        wire.worst = wire.now - wire.since[0];
    wire.waiting--;
    memmove(wire.since, wire.since + 1, wire.waiting * sizeof wire.since[0]);
    memmove(wire.whose, wire.whose + 1, wire.waiting * sizeof wire.whose[0]);
}

static const struct nic_ops ops = {.send = fake_send, .promiscuous = fake_promiscuous, .room = fake_room};
static struct nic nic = {.ops = &ops};
static struct switch_port *a, *b;

static void to_stack(const uint8_t *frame, size_t size)
{
    assert_non_null(frame);
    assert_true(size >= FRAME_MIN);
    in_stack++;
}

static void ring(void *ctx)
{
    (void)ctx;
    rung++;
}

static struct switch_port *add(const uint8_t mac[6], uint64_t rate)
{
    struct switch_config c = {.name = "port", .rate = rate, .attention = ring};
    struct switch_port *p = NULL;
    memcpy(c.mac, mac, 6);
    assert_int_equal(switch_add(&c, &p), OK);
    return p;
}

static int setup(void **state)
{
    (void)state;
    on_wire = in_stack = rung = 0;
    ring_free = true;
    promiscuous_now = false;
    switch_start(&nic, host_mac);
    switch_to_stack(to_stack);
    a = add(a_mac, 0);
    b = add(b_mac, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (const struct switch_port *p; (p = switch_get(0)) != NULL;)
        switch_remove((struct switch_port *)(uintptr_t)p);
    return 0;
}

static size_t make(uint8_t *f, const uint8_t *to, const uint8_t *from, unsigned type, size_t payload)
{
    memcpy(f, to, 6);
    memcpy(f + 6, from, 6);
    f[12] = (uint8_t)(type >> 8);
    f[13] = (uint8_t)type;
    memset(f + 14, 0x77, payload);
    return 14 + payload;
}

static enum status send(struct switch_port *p, const uint8_t *f, size_t size)
{
    const struct nic_piece pieces[] = {{f, 10}, {f + 10, size - 10}}; // in two, as a driver would
    return switch_send(p, pieces, 2);
}

static unsigned waiting(struct switch_port *p)
{
    size_t size;
    unsigned n = 0;
    for (; switch_first(p, &size); n++)
        switch_drop(p);
    return n;
}

static void frames_go_where_they_are_meant_to(void **state)
{
    (void)state;
    uint8_t f[256];
    size_t got = 0, size = make(f, b_mac, a_mac, 0x88cc, 50);
    assert_true(promiscuous_now);
    assert_int_equal(send(a, f, size), OK);
    assert_memory_equal(switch_first(b, &got), f, size);
    assert_int_equal(got, size);
    assert_int_equal(waiting(b), 1);
    assert_int_equal(waiting(a) + on_wire + in_stack, 0);
    size = make(f, far_mac, a_mac, 0x88cc, 50);
    assert_int_equal(send(a, f, size), OK);
    assert_int_equal(on_wire, 1);
    assert_memory_equal(last, f, size);
    assert_int_equal(waiting(b) + in_stack, 0);
    make(f, host_mac, a_mac, 0x88cc, 50);
    assert_int_equal(send(a, f, size), OK);
    assert_int_equal(in_stack, 1);
    assert_int_equal(on_wire, 1);
    make(f, all_mac, a_mac, 0x88cc, 50);
    assert_int_equal(send(a, f, size), OK);
    assert_int_equal(in_stack, 2);
    assert_int_equal(on_wire, 2);
    assert_int_equal(waiting(b), 1);
    assert_int_equal(waiting(a), 0); // not its own
    assert_int_equal(switch_stats(a).sent, 4);
}

static void from_the_wire_only_what_is_for_a_port(void **state)
{
    (void)state;
    uint8_t f[256];
    size_t size = make(f, a_mac, far_mac, 0x88cc, 50);
    assert_false(switch_from_wire(f, size));
    assert_int_equal(waiting(a), 1);
    assert_int_equal(waiting(b), 0);
    make(f, all_mac, far_mac, 0x88cc, 50);
    assert_true(switch_from_wire(f, size));
    assert_int_equal(waiting(a) + waiting(b), 2);
    make(f, host_mac, far_mac, 0x88cc, 50);
    assert_true(switch_from_wire(f, size));
    make(f, far_mac, host_mac, 0x88cc, 50); // somebody else's, seen because the NIC takes all
    assert_false(switch_from_wire(f, size));
    make(f, b_mac, a_mac, 0x88cc, 50); // with the address of a guest of ours
    assert_false(switch_from_wire(f, size));
    assert_false(switch_from_wire(f, 13));
    assert_int_equal(waiting(a) + waiting(b), 0);
    assert_int_equal(on_wire, 0);
}

static void from_the_stack_to_guests_and_the_wire(void **state)
{
    (void)state;
    uint8_t f[256];
    size_t size = make(f, a_mac, host_mac, 0x88cc, 50);
    const struct nic_piece piece = {f, size};
    assert_false(switch_from_stack(&piece, 1));
    assert_int_equal(waiting(a), 1);
    make(f, all_mac, host_mac, 0x88cc, 50);
    assert_true(switch_from_stack(&piece, 1));
    assert_int_equal(waiting(a) + waiting(b), 2);
    make(f, far_mac, host_mac, 0x88cc, 50);
    assert_true(switch_from_stack(&piece, 1));
    assert_int_equal(waiting(a) + waiting(b), 0);
}

static void nobody_speaks_in_anothers_name(void **state)
{
    (void)state;
    uint8_t f[256];
    size_t size = make(f, far_mac, b_mac, 0x88cc, 50);
    assert_int_equal(send(a, f, size), OK);
    make(f, far_mac, host_mac, 0x88cc, 50);
    assert_int_equal(send(a, f, size), OK);
    size = make(f, all_mac, a_mac, 0x0806, 28); // an ARP that says: I am b
    memcpy(f + 22, b_mac, 6);
    assert_int_equal(send(a, f, size), OK);
    assert_int_equal(switch_stats(a).spoofed, 3);
    memcpy(f + 22, a_mac, 6);
    assert_int_equal(send(a, f, size), OK);
    assert_int_equal(send(a, f, size - 1), OK); // half an ARP
    assert_int_equal(switch_stats(a).malformed, 1);
    assert_int_equal(on_wire, 1);
}

/// The host's own address and a remote's: 10.0.0.1 and 10.0.0.2.
static bool links_use(uint32_t address)
{
    return address == 0x0100000au || address == 0x0200000au;
}

static size_t arp(uint8_t *f, const uint8_t *to, const uint8_t *from, uint8_t last_byte)
{
    size_t size = make(f, to, from, 0x0806, 28);
    memcpy(f + 14, (const uint8_t[]){0, 1, 8, 0, 6, 4, 0, 1}, 8);
    memcpy(f + 22, from, 6);
    memcpy(f + 28, (const uint8_t[]){10, 0, 0, last_byte}, 4);
    return size;
}

static void nobody_calls_links_away(void **state)
{
    (void)state;
    uint8_t f[256];
    switch_protect(links_use);
    for (unsigned tags = 0; tags < 3; tags++) {
        for (uint8_t who = 1; who <= 2; who++) {
            size_t size = arp(f, tags ? far_mac : all_mac, a_mac, who);
            for (unsigned n = 0; n < tags; n++, size += 4) {
                memmove(f + 16, f + 12, size - 12);
                memcpy(f + 12, (const uint8_t[]){0x81, 0x00, 0x00, 0x07}, 4);
            }
            assert_int_equal(send(a, f, size), OK);
            assert_int_equal(switch_stats(a).spoofed, 2 * tags + who);
        }
    }
    assert_int_equal(on_wire + in_stack + waiting(b), 0);
    size_t size = arp(f, all_mac, a_mac, 3); // its own
    assert_int_equal(send(a, f, size), OK);
    memset(f + 28, 0, 4); // and when it asks whether that is free
    assert_int_equal(send(a, f, size), OK);
    assert_int_equal(on_wire, 2);
    assert_int_equal(in_stack, 2);
    assert_int_equal(waiting(b), 2);
    switch_protect(NULL);
}

/// Each ARP may take an entry from our table.
static void few_arps_reach_the_stack(void **state)
{
    (void)state;
    uint8_t f[256];
    size_t size = 0;
    host_time_advance_ns(10000000000ull);
    for (unsigned i = 0; i < 20000; i++) {
        size = arp(f, host_mac, i % 2 ? a_mac : b_mac, (uint8_t)i);
        assert_int_equal(send(i % 2 ? a : b, f, size), OK);
        host_time_advance_ns(1000000);
    }
    assert_in_range(in_stack, 40, 48); // in 20 s
    in_stack = 0;
    make(f, host_mac, a_mac, 0x0800, 60);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(send(a, f, 74), OK);
    assert_int_equal(in_stack, 100);
}

static size_t udp(uint8_t *f, const uint8_t *to, const uint8_t *from, unsigned port, unsigned tags)
{
    size_t size = make(f, to, from, 0x0800, 60);
    memset(f + 14, 0, 60);
    f[14] = 0x46; // 24 bytes of header
    f[23] = 17;
    f[38] = 1;
    f[40] = (uint8_t)(port >> 8);
    f[41] = (uint8_t)port;
    for (; tags; tags--, size += 4) {
        memmove(f + 16, f + 12, size - 12);
        memcpy(f + 12, (const uint8_t[]){0x81, 0x00, 0x00, 0x07}, 4);
    }
    return size;
}

static void no_guest_gives_us_an_address(void **state)
{
    (void)state;
    uint8_t f[256];
    size_t size = udp(f, all_mac, a_mac, 68, 0);
    assert_int_equal(send(a, f, size), OK);
    assert_int_equal(on_wire, 1); // others may ask a guest
    assert_int_equal(waiting(b), 1);
    assert_int_equal(in_stack, 0);
    udp(f, host_mac, a_mac, 68, 0);
    assert_int_equal(send(a, f, size), OK);
    assert_int_equal(in_stack, 0);
    udp(f, host_mac, a_mac, 67, 0);
    assert_int_equal(send(a, f, size), OK);
    assert_int_equal(in_stack, 1);
}

static void frames_of_links_never_pass(void **state)
{
    (void)state;
    uint8_t f[256];
    for (unsigned tags = 0; tags < 3; tags++) {
        size_t size = udp(f, far_mac, a_mac, WIRE_UDP_PORT, tags);
        assert_int_equal(send(a, f, size), OK);
        assert_int_equal(switch_stats(a).forbidden, tags + 1);
        udp(f, a_mac, far_mac, WIRE_UDP_PORT, tags);
        (void)switch_from_wire(f, size);
        assert_int_equal(waiting(a), 0);
        assert_int_equal(on_wire, tags);
        size = udp(f, far_mac, a_mac, WIRE_UDP_PORT + 1, tags);
        assert_int_equal(send(a, f, size), OK); // an ordinary datagram does, tags and all
        assert_int_equal(on_wire, tags + 1);
        assert_memory_equal(last, f, size);
    }
    size_t size = make(f, all_mac, a_mac, WIRE_ETHERTYPE, 60);
    assert_int_equal(send(a, f, size), OK);
    size = make(f, far_mac, a_mac, 0x86dd, 60);
    memset(f + 14, 0, 60);
    f[20] = 17;
    f[56] = WIRE_UDP_PORT >> 8;
    f[57] = WIRE_UDP_PORT & 0xff;
    assert_int_equal(send(a, f, size), OK);
    make(f, (const uint8_t[]){1, 0x80, 0xc2, 0, 0, 0}, a_mac, 0x0026, 60); // spanning tree
    assert_int_equal(send(a, f, size), OK);
    assert_int_equal(switch_stats(a).forbidden, 6);
    assert_int_equal(on_wire, 3);
}

static void a_full_queue_drops_and_says_so(void **state)
{
    (void)state;
    uint8_t f[256];
    size_t size = make(f, b_mac, a_mac, 0x88cc, 50);
    for (unsigned i = 0; i < SWITCH_QUEUE + 5; i++)
        assert_int_equal(send(a, f, size), OK);
    assert_int_equal(switch_stats(b).dropped, 5);
    assert_int_equal(rung, 1);
    assert_int_equal(waiting(b), SWITCH_QUEUE);
    assert_int_equal(send(a, f, size), OK);
    assert_int_equal(rung, 2);
}

static void links_keep_room_in_the_ring(void **state)
{
    (void)state;
    uint8_t f[256];
    size_t size = make(f, all_mac, a_mac, 0x88cc, 50);
    ring_free = false;
    assert_int_equal(send(a, f, size), ERR_BUSY);
    assert_int_equal(waiting(b) + in_stack + on_wire, 0); // all of it waits, none of it twice
    ring_free = true;
    assert_int_equal(send(a, f, size), OK);
    assert_int_equal(waiting(b), 1);
    assert_int_equal(switch_stats(a).held, 1);
}

/// Two guests send whatever is taken from them, all the time, and a link half of what the wire carries.
static void links_go_before_guests(void **state)
{
    (void)state;
    static const struct nic_ops on_wire_ops = {
        .send = wire_send, .promiscuous = fake_promiscuous, .room = wire_room};
    static struct nic gigabit = {.ops = &on_wire_ops, .places = RING};
    static uint8_t f[SWITCH_FRAME_MAX], own[SWITCH_FRAME_MAX];
    const struct nic_piece of_link = {own, sizeof own};
    make(own, far_mac, host_mac, WIRE_ETHERTYPE, sizeof own - 14);
    memset(&wire, 0, sizeof wire);
    switch_start(&gigabit, host_mac);
    for (unsigned n = 0; n < 100000; n++) {
        struct switch_port *p = n % 2 ? b : a;
        make(f, far_mac, p == a ? a_mac : b_mac, 0x88cc, sizeof f - 14);
        while (send(p, f, sizeof f) == OK)
            ;
        if (n % 16 == 0) {
            for (unsigned burst = 0; burst < 8; burst++)
                assert_int_equal(gigabit.ops->send(&gigabit, &of_link, 1), OK); // as l2 does: never refused
        }
        wire_takes_one();
    }
    assert_in_range(wire.worst / FRAME_NS, 1, SWITCH_AHEAD + 8);
    assert_in_range(wire.sent[LINKS], 49900, 50000);
    assert_in_range(wire.sent[PORT_A] + wire.sent[PORT_B], 49900, 50100); // and the wire was never idle
    assert_true(wire.sent[PORT_A] > 20000 && wire.sent[PORT_B] > 20000);
    switch_start(&nic, host_mac);
}

static void a_rate_is_kept(void **state)
{
    (void)state;
    static uint8_t f[SWITCH_FRAME_MAX];
    const uint8_t c_mac[6] = {2, 0, 0, 0, 0, 0xc};
    struct switch_port *c = add(c_mac, 1000000);
    size_t size = make(f, far_mac, c_mac, 0x88cc, 986), sent = 0;
    for (unsigned ms = 0; ms < 100; ms++) {
        while (send(c, f, size) == OK)
            sent += size;
        host_time_advance_ns(1000000);
    }
    assert_in_range(sent, 99000, 111000); // a tenth of a second of it, and what may go at once
    assert_true(switch_stats(c).held > 0);
}

/// Bytes that both ports get onto the wire in so many ms, sending without end.
static size_t crowd(unsigned ms)
{
    static uint8_t f[SWITCH_FRAME_MAX];
    unsigned before = on_wire;
    for (unsigned i = 0; i < 10 * ms; i++) {
        for (unsigned n = 0; n < 2; n++) {
            make(f, far_mac, n ? b_mac : a_mac, 0x88cc, sizeof f - 14);
            for (unsigned at_once = 0; at_once < 100 && send(n ? b : a, f, sizeof f) == OK; at_once++)
                ;
        }
        host_time_advance_ns(100000);
    }
    return (on_wire - before) * sizeof f;
}

/// A wire that loses what is more than 20 MB/s, of whoever it is.
static void guests_send_less_where_links_lose_frames(void **state)
{
    (void)state;
    switch_give_way(); // nothing of the guests' was there
    assert_int_equal(switch_wire_rate(), 0);
    assert_int_equal(crowd(1), 10 * 200 * SWITCH_FRAME_MAX); // as much as they like
    switch_give_way();
    switch_give_way(); // the same loss
    assert_int_equal(switch_wire_rate(), 62500000);
    assert_in_range(crowd(10), 600000, 700000);
    assert_int_equal(switch_stats(a).sent + switch_stats(b).sent, on_wire);
    size_t sum = 0;
    unsigned losses = 0;
    for (unsigned i = 0; i < 500; i++) {
        size_t bytes = crowd(10);
        sum += bytes;
        if (bytes > 200000) {
            switch_give_way();
            losses++;
        }
    }
    assert_in_range(sum / 5, 12000000, 20000000); // bytes a second: they use what there is
    assert_in_range(losses, 2, 8);
    for (unsigned i = 0; i < 20; i++) {
        host_time_advance_ns(25000000);
        (void)crowd(5);
        switch_give_way();
    }
    assert_int_equal(switch_wire_rate(), 1500000); // and never nothing
    host_time_advance_ns(20000000000ull);
    assert_int_equal(switch_wire_rate(), 0);
    assert_true(crowd(1) > 1000000);
}

static void addresses_are_one_ports(void **state)
{
    (void)state;
    struct switch_config c = {.name = "again", .attention = ring};
    struct switch_port *p;
    memcpy(c.mac, a_mac, 6);
    assert_int_equal(switch_add(&c, &p), ERR_BUSY);
    memcpy(c.mac, host_mac, 6);
    assert_int_equal(switch_add(&c, &p), ERR_BUSY);
    c.mac[0] |= 1;
    assert_int_equal(switch_add(&c, &p), ERR_INVAL);
    c.mac[0] = 6;
    for (unsigned i = 2; i < SWITCH_PORTS_MAX; i++) {
        c.mac[5] = (uint8_t)i;
        assert_int_equal(switch_add(&c, &p), OK);
    }
    c.mac[4] = 1;
    assert_int_equal(switch_add(&c, &p), ERR_NOMEM);
    teardown(NULL);
    assert_false(promiscuous_now);
    assert_true(switch_from_wire(c.mac, 6)); // without ports all is the stack's
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(frames_go_where_they_are_meant_to, setup, teardown),
        cmocka_unit_test_setup_teardown(from_the_wire_only_what_is_for_a_port, setup, teardown),
        cmocka_unit_test_setup_teardown(from_the_stack_to_guests_and_the_wire, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_speaks_in_anothers_name, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_calls_links_away, setup, teardown),
        cmocka_unit_test_setup_teardown(few_arps_reach_the_stack, setup, teardown),
        cmocka_unit_test_setup_teardown(no_guest_gives_us_an_address, setup, teardown),
        cmocka_unit_test_setup_teardown(frames_of_links_never_pass, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_queue_drops_and_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(links_keep_room_in_the_ring, setup, teardown),
        cmocka_unit_test_setup_teardown(links_go_before_guests, setup, teardown),
        cmocka_unit_test_setup_teardown(a_rate_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(guests_send_less_where_links_lose_frames, setup, teardown),
        cmocka_unit_test_setup_teardown(addresses_are_one_ports, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
