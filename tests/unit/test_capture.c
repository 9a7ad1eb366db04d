// SPDX-License-Identifier: BSD-2-Clause
// LINK: net/capture.c
// What passes a NIC while it is captured: the blocks of the file, both directions, what is left out.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four above
#include "net/capture.h"
#include "net/wire.h"
#include <cmocka.h>
#include <string.h>

static unsigned sent, taken;
static enum status send_result;
static uint8_t buffer[8192];

static enum status fake_send(struct nic *nic, const struct nic_piece *pieces, unsigned count)
{
    (void)nic, (void)pieces, (void)count;
    sent++;
    return send_result;
}

static unsigned fake_poll(struct nic *nic, unsigned budget)
{
    (void)nic;
    return budget;
}

static bool fake_up(struct nic *nic)
{
    (void)nic;
    return true;
}

static void fake_irq(struct nic *nic, bool on)
{
    (void)nic, (void)on;
}

static void take(void *ctx, const uint8_t *frame, size_t size)
{
    assert_ptr_equal(ctx, &taken);
    assert_non_null(frame);
    assert_true(size > 0);
    taken++;
}

static const struct nic_ops ops = {
    .send = fake_send, .poll = fake_poll, .link_up = fake_up, .irq_enable = fake_irq};
static struct nic nic;

static int setup(void **state)
{
    (void)state;
    capture_stop();
    sent = taken = 0;
    send_result = OK;
    nic = (struct nic){.ops = &ops, .receive = take, .receive_ctx = &taken};
    return 0;
}

/// An Ethernet frame of a link: UDP from another port to ours.
static size_t udp_frame(uint8_t *f, size_t payload)
{
    memset(f, 0, 42);
    f[12] = 0x08;
    f[14] = 0x45;
    f[23] = 17;
    f[34] = 0x12;
    f[36] = WIRE_UDP_PORT >> 8;
    f[37] = WIRE_UDP_PORT & 0xff;
    memset(f + 42, 0x5a, payload);
    return 42 + payload;
}

static uint32_t u32(size_t at)
{
    uint32_t v;
    memcpy(&v, capture_file() + at, 4);
    return v;
}

/// Walks the blocks as a reader would; returns how many packets there are.
static unsigned walk(size_t *last)
{
    size_t at = 0, used = capture_state().used;
    unsigned packets = 0;
    while (at < used) {
        uint32_t type = u32(at), length = u32(at + 4);
        assert_int_equal(length % 4, 0);
        assert_true(length >= 12 && length <= used - at);
        assert_int_equal(u32(at + length - 4), length);
        if (type == 6) {
            packets++;
            *last = at;
        } else {
            assert_int_equal(type, at == 0 ? 0x0a0d0d0a : 1);
        }
        at += length;
    }
    assert_int_equal(at, used);
    return packets;
}

static void frames_go_both_ways_and_are_kept(void **state)
{
    (void)state;
    uint8_t frame[256];
    size_t size = udp_frame(frame, 3), last = 0;
    assert_int_equal(capture_start(&nic, buffer, sizeof buffer, true, 1700000000), OK);
    assert_int_equal(u32(8), 0x1a2b3c4d);
    const struct nic_piece pieces[] = {{frame, 40}, {frame + 40, size - 40}};
    assert_int_equal(nic.ops->send(&nic, pieces, 2), OK);
    assert_int_equal(walk(&last), 1);
    assert_int_equal(u32(last + 20), size);
    assert_memory_equal(capture_file() + last + 28, frame, size);
    assert_int_equal(u32(last + 28 + 48 + 4), 2); // 45 bytes are padded to 48; outbound
    uint64_t ns = (uint64_t)u32(last + 12) << 32 | u32(last + 16);
    assert_in_range(ns / 1000000000, 1700000000, 1700000001);
    nic.receive(nic.receive_ctx, frame, size);
    assert_int_equal(walk(&last), 2);
    assert_int_equal(u32(last + 28 + 48 + 4), 1);
    assert_int_equal(sent, 1);
    assert_int_equal(taken, 1);
    assert_int_equal(nic.ops->poll(&nic, 7), 7);
    capture_stop();
    assert_ptr_equal(nic.ops, &ops);
    assert_ptr_equal(nic.receive, take);
    nic.receive(nic.receive_ctx, frame, size);
    assert_int_equal(capture_state().frames, 2);
}

static void only_links_unless_all_is_asked_for(void **state)
{
    (void)state;
    uint8_t frame[128], arp[60] = {0};
    size_t size = udp_frame(frame, 10);
    arp[12] = 0x08;
    arp[13] = 0x06;
    assert_int_equal(capture_start(&nic, buffer, sizeof buffer, true, 0), OK);
    nic.receive(nic.receive_ctx, arp, sizeof arp);
    frame[36] ^= 1; // another port
    nic.receive(nic.receive_ctx, frame, size);
    nic.receive(nic.receive_ctx, frame, 13); // not even a header
    assert_int_equal(capture_state().frames, 0);
    arp[12] = WIRE_ETHERTYPE >> 8;
    arp[13] = WIRE_ETHERTYPE & 0xff;
    nic.receive(nic.receive_ctx, arp, sizeof arp);
    assert_int_equal(capture_state().frames, 1);
    assert_int_equal(capture_start(&nic, buffer, sizeof buffer, true, 0), ERR_BUSY);
    capture_stop();
    assert_int_equal(capture_start(&nic, buffer, sizeof buffer, false, 0), OK);
    nic.receive(nic.receive_ctx, frame, size);
    assert_int_equal(capture_state().frames, 1);
    assert_int_equal(taken, 5);
}

static void a_full_buffer_keeps_what_it_has(void **state)
{
    (void)state;
    uint8_t frame[1500];
    size_t size = udp_frame(frame, 1400), last;
    assert_int_equal(capture_start(&nic, buffer, CAPTURE_MIN - 1, true, 0), ERR_RANGE);
    assert_int_equal(capture_start(&nic, buffer, CAPTURE_MIN, true, 0), OK);
    for (unsigned i = 0; i < 5; i++)
        nic.receive(nic.receive_ctx, frame, size);
    assert_int_equal(capture_state().frames, 2);
    assert_int_equal(capture_state().missed, 3);
    assert_int_equal(taken, 5);
    assert_int_equal(walk(&last), 2);
}

static void a_frame_that_was_not_sent_is_not_in_it(void **state)
{
    (void)state;
    uint8_t frame[128];
    size_t size = udp_frame(frame, 10);
    send_result = ERR_BUSY;
    assert_int_equal(capture_start(&nic, buffer, sizeof buffer, true, 0), OK);
    assert_int_equal(nic.ops->send(&nic, &(struct nic_piece){frame, size}, 1), ERR_BUSY);
    assert_int_equal(capture_state().frames, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(frames_go_both_ways_and_are_kept, setup),
        cmocka_unit_test_setup(only_links_unless_all_is_asked_for, setup),
        cmocka_unit_test_setup(a_full_buffer_keeps_what_it_has, setup),
        cmocka_unit_test_setup(a_frame_that_was_not_sent_is_not_in_it, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
