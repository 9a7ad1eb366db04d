// SPDX-License-Identifier: BSD-2-Clause
// LINK: drivers/e1000.c drivers/e1000e.c drivers/igb.c drivers/intel_nic.c drivers/intel_ring.c
// Frames of the e1000 family's drivers, out and in, against a mock controller (fake_intel.h).
#include "tests/unit/fake_intel.h"

// ---- Sending

static void pieces_are_joined(void **state)
{
    (void)state;
    uint8_t frame[1514], *pieces[4];
    // Every size of piece from 0 up, each in a block of its own so that ASan sees a byte too many.
    for (size_t first = 0; first < 40; first++) {
        size_t sizes[4] = {first, 14, 3 * first, 1 + first};
        struct nic_piece p[4];
        size_t size = 0;
        for (unsigned i = 0; i < 4; i++) {
            pieces[i] = malloc(sizes[i] ? sizes[i] : 1);
            pattern(pieces[i], sizes[i], i + (unsigned)first);
            memcpy(frame + size, pieces[i], sizes[i]);
            p[i] = (struct nic_piece){pieces[i], sizes[i]};
            size += sizes[i];
        }
        unsigned before = chip.doorbells;
        assert_int_equal(nic->ops->send(nic, p, 4), OK);
        assert_int_equal(chip.doorbells, before + 1);
        unsigned last = chip.sent_count - 1;
        assert_int_equal(chip.sent_size[last], size < 60 ? 60 : size);
        assert_memory_equal(chip.sent[last], frame, size);
        for (unsigned i = 0; i < 4; i++)
            free(pieces[i]);
    }
    assert_int_equal(nic->stats.tx_frames, 40);
}

static void short_frames_are_padded_with_zeroes(void **state)
{
    (void)state;
    uint8_t secret[1514], zeroes[60] = {0}, arp[42];
    memset(secret, 0xaa, sizeof secret);
    for (unsigned i = 0; i < INTEL_TX_COUNT; i++)
        assert_int_equal(send(secret, sizeof secret), OK);
    pattern(arp, sizeof arp, 1);
    assert_int_equal(send(arp, sizeof arp), OK);
    unsigned last = chip.sent_count - 1;
    assert_int_equal(chip.sent_size[last], 60);
    assert_memory_equal(chip.sent[last], arp, sizeof arp);
    assert_memory_equal(chip.sent[last] + 42, zeroes, 18);
}

static void lengths_that_are_no_frame_are_refused(void **state)
{
    (void)state;
    static uint8_t frame[9019];
    size_t most = nic_largest(nic) + NIC_HEADER_MAX;
    assert_int_equal(send(frame, most), OK);
    assert_int_equal(send(frame, most + 1), ERR_RANGE);
    assert_int_equal(send(frame, 13), ERR_RANGE);
    assert_int_equal(send(frame, SIZE_MAX), ERR_RANGE);
    struct nic_piece wraps[2] = {{frame, 100}, {frame, SIZE_MAX - 50}};
    assert_int_equal(nic->ops->send(nic, wraps, 2), ERR_RANGE);
    assert_int_equal(nic->ops->send(nic, NULL, 0), ERR_RANGE);
    assert_int_equal(chip.doorbells, 1 + 1); // the one of the start, the one frame
    assert_int_equal(nic->stats.tx_frames, 1);
}

static void a_full_ring_is_busy_and_recovers(void **state)
{
    (void)state;
    uint8_t frame[100];
    chip.stuck = true;
    unsigned sent = 0;
    for (;; sent++) {
        pattern(frame, sizeof frame, sent);
        if (send(frame, sizeof frame) != OK)
            break;
    }
    assert_int_equal(sent, INTEL_TX_COUNT - 1);
    assert_int_equal(send(frame, sizeof frame), ERR_BUSY);
    assert_int_equal(nic->stats.tx_busy, 2);
    chip.stuck = false;
    transmit();
    // Several times around the ring, every frame in order and whole.
    for (; sent < 1000; sent++) {
        pattern(frame, sizeof frame, sent);
        assert_int_equal(send(frame, sizeof frame), OK);
    }
    assert_int_equal(chip.sent_count, 1000);
    for (unsigned i = 1000 - 512; i < 1000; i++) {
        pattern(frame, sizeof frame, i);
        assert_memory_equal(chip.sent[i % 512], frame, sizeof frame);
    }
    assert_int_equal(nic->stats.tx_frames, 1000);
    assert_int_equal(nic->stats.tx_bytes, 100000);
}

// ---- Receiving

static void frames_arrive_in_order_around_the_ring(void **state)
{
    (void)state;
    uint8_t frame[1514];
    unsigned seed = 0;
    for (unsigned round = 0; round < 100; round++) {
        unsigned burst = 1 + round % 37;
        for (unsigned i = 0; i < burst; i++) {
            pattern(frame, sizeof frame, seed + i);
            assert_true(arrive(frame, 60 + (seed + i) % 1455));
        }
        for (unsigned i = 0; i < burst; i++, seed++) {
            unsigned before = chip.tail_writes;
            assert_int_equal(nic->ops->poll(nic, 1), 1);
            assert_int_equal(chip.tail_writes, before + 1);
            pattern(frame, sizeof frame, seed);
            assert_int_equal(got_size, 60 + seed % 1455);
            assert_memory_equal(got, frame, got_size);
        }
        assert_int_equal(nic->ops->poll(nic, 1), 0);
    }
    assert_true(seed > 3 * INTEL_RX_COUNT);
    assert_int_equal(nic->stats.rx_frames, seed);
    assert_int_equal(nic->stats.rx_errors, 0);
}

static void one_poll_one_tail_write_within_the_budget(void **state)
{
    (void)state;
    uint8_t frame[64] = {0};
    unsigned arrived = 0;
    while (arrive(frame, sizeof frame))
        arrived++;
    assert_int_equal(arrived, INTEL_RX_COUNT - 1);
    chip.tail_writes = 0;
    assert_int_equal(nic->ops->poll(nic, 0), 0);
    assert_int_equal(chip.tail_writes, 0);
    assert_int_equal(nic->ops->poll(nic, 10), 10);
    assert_int_equal(chip.tail_writes, 1);
    assert_int_equal(nic->ops->poll(nic, 1000), arrived - 10);
    assert_int_equal(chip.tail_writes, 2);
    assert_int_equal(nic->ops->poll(nic, 1000), 0);
    assert_int_equal(chip.tail_writes, 2);
    host_time_advance_ns(20000000);
    nic->ops->poll(nic, 1);
    assert_int_equal(nic->stats.rx_errors, 1); // the frame that found no descriptor
    for (unsigned i = 0; i < 1000; i++) {      // the ring goes on
        assert_true(arrive(frame, sizeof frame));
        assert_int_equal(nic->ops->poll(nic, 4), 1);
    }
}

static void lengths_from_the_device_are_not_trusted(void **state)
{
    (void)state;
    uint8_t frame[64] = {0};
    static const uint32_t lengths[] = {0,      1,    13,  2049,
                                       0xffff, 1519, 2048}; // the last two if they are not jumbo
    unsigned bad = nic_largest(nic) == 1500 ? 7 : 5;
    for (unsigned i = 0; i < bad; i++)
        assert_true(arrive_as(frame, sizeof frame, lengths[i] | INTEL_RXD_DD | INTEL_RXD_EOP));
    assert_int_equal(nic->ops->poll(nic, 100), 0);
    assert_int_equal(got_count, 0);
    assert_int_equal(nic->stats.rx_errors, bad);
    assert_true(arrive_as(frame, sizeof frame, 14u | INTEL_RXD_DD | INTEL_RXD_EOP));
    assert_true(arrive_as(frame, sizeof frame, 1518u | INTEL_RXD_DD | INTEL_RXD_EOP));
    assert_int_equal(nic->ops->poll(nic, 100), 2);
    assert_int_equal(got_size, 1518);
}

static void damaged_frames_are_counted(void **state)
{
    (void)state;
    uint8_t frame[64] = {0};
    static const uint64_t errors[] = {INTEL_RXD_CE, INTEL_RXD_SE, INTEL_RXD_SEQ, INTEL_RXD_CXE,
                                      INTEL_RXD_RXE};
    for (unsigned i = 0; i < 5; i++)
        assert_true(arrive_as(frame, sizeof frame, 64u | INTEL_RXD_DD | INTEL_RXD_EOP | errors[i]));
    assert_int_equal(nic->ops->poll(nic, 100), 0);
    assert_int_equal(nic->stats.rx_errors, 5);
    // a wrong IP or TCP checksum is no business of the NIC's
    assert_true(arrive_as(frame, sizeof frame, 64u | INTEL_RXD_DD | INTEL_RXD_EOP | 0x60ull << 40));
    assert_int_equal(nic->ops->poll(nic, 100), 1);
}

static void jumbo_frames_pass_around_the_rings(void **state)
{
    (void)state;
    static uint8_t frame[9014];
    assert_int_equal(nic->mtu, 1500);
    assert_int_equal(nic_largest(nic), 9000);
    for (unsigned i = 0; i < 2000; i++) {
        size_t size = i % 3 == 0 ? sizeof frame : 60 + i * 37 % (sizeof frame - 60);
        pattern(frame, sizeof frame, i);
        assert_int_equal(send(frame, size), OK);
        assert_int_equal(chip.sent_count, i + 1);
        assert_int_equal(chip.sent_size[i % 512], size);
        assert_memory_equal(chip.sent[i % 512], frame, size);
        got_size = 0;
        assert_true(arrive(frame, size));
        if (i % 2) { // its buffers are found filled one at a time
            unsigned frames = 0;
            for (unsigned k = 0; k < (size + 2047) / 2048; k++)
                frames += nic->ops->poll(nic, 1);
            assert_int_equal(frames, 1);
        } else {
            assert_int_equal(nic->ops->poll(nic, 8), 1);
        }
        assert_int_equal(got_size, size);
        assert_memory_equal(got, frame, size);
        assert_int_equal(nic->ops->poll(nic, 8), 0);
    }
    assert_int_equal(nic->stats.rx_errors, 0);
}

static void a_ring_without_room_for_a_jumbo_frame_is_busy(void **state)
{
    (void)state;
    static uint8_t frame[9014];
    unsigned sent = 0;
    chip.stuck = true;
    while (send(frame, sizeof frame) == OK)
        sent++;
    assert_int_equal(sent, (INTEL_TX_COUNT - 1) / 5);
    assert_int_equal(send(frame, 2049), OK); // there are two left
    assert_int_equal(send(frame, 60), ERR_BUSY);
    chip.stuck = false;
    transmit();
    assert_int_equal(chip.sent_count, sent + 1);
    assert_int_equal(send(frame, sizeof frame), OK);
}

static void jumbo_frames_that_cannot_be_are_dropped(void **state)
{
    (void)state;
    static uint8_t frame[2048];
    for (unsigned i = 0; i < 300; i++) { // one that does not end, and is longer than the ring
        assert_true(arrive_as(frame, 2048, 2048u | INTEL_RXD_DD));
        assert_int_equal(nic->ops->poll(nic, 8), 0);
    }
    assert_true(arrive(frame, 64));
    assert_int_equal(nic->ops->poll(nic, 8), 0); // its end
    assert_int_equal(nic->stats.rx_errors, 1);
    assert_true(arrive_as(frame, 2048, 100u | INTEL_RXD_DD)); // goes on, though its buffer is not full
    assert_true(arrive(frame, 64));
    assert_true(arrive_as(frame, 2048, 2048u | INTEL_RXD_DD)); // 9019 bytes
    assert_true(arrive_as(frame, 2048, 2048u | INTEL_RXD_DD));
    assert_true(arrive_as(frame, 2048, 2048u | INTEL_RXD_DD));
    assert_true(arrive_as(frame, 2048, 2048u | INTEL_RXD_DD));
    assert_true(arrive(frame, 827));
    assert_int_equal(nic->ops->poll(nic, 100), 0);
    assert_int_equal(nic->stats.rx_errors, 3);
    assert_true(arrive(frame, 64));
    assert_int_equal(nic->ops->poll(nic, 100), 1);
    for (unsigned i = 0; i < 1000; i++) {
        assert_true(arrive(frame, sizeof frame));
        assert_int_equal(nic->ops->poll(nic, 4), 1);
    }
}

static void frames_of_several_buffers_are_dropped_once(void **state)
{
    (void)state;
    uint8_t frame[2048] = {0};
    assert_true(arrive_as(frame, sizeof frame, 2048u | INTEL_RXD_DD));
    assert_true(arrive_as(frame, sizeof frame, 2048u | INTEL_RXD_DD));
    assert_int_equal(nic->ops->poll(nic, 2), 0); // the end of it is not there yet
    assert_true(arrive_as(frame, 64, 64u | INTEL_RXD_DD | INTEL_RXD_EOP));
    assert_true(arrive(frame, 64));
    assert_int_equal(nic->ops->poll(nic, 100), 1);
    assert_int_equal(nic->stats.rx_errors, 1);
}

static void polls_again(void *ctx, const uint8_t *frame, size_t size)
{
    receive(ctx, frame, size);
    assert_int_equal(nic->ops->poll(nic, 100), 0);
    assert_int_equal(send(frame, size), OK); // answering from there is usual
}

static void receive_may_send_but_not_receive(void **state)
{
    (void)state;
    uint8_t frame[64];
    nic->receive = polls_again;
    for (unsigned i = 0; i < 3; i++) {
        pattern(frame, sizeof frame, i);
        assert_true(arrive(frame, sizeof frame));
    }
    assert_int_equal(nic->ops->poll(nic, 100), 3);
    assert_int_equal(got_count, 3);
    for (unsigned i = 0; i < 3; i++) {
        pattern(frame, sizeof frame, i);
        assert_memory_equal(chip.sent[i], frame, sizeof frame);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALL(pieces_are_joined),
        ALL(short_frames_are_padded_with_zeroes),
        ALL(lengths_that_are_no_frame_are_refused),
        ALL(a_full_ring_is_busy_and_recovers),
        ALL(frames_arrive_in_order_around_the_ring),
        ALL(one_poll_one_tail_write_within_the_budget),
        ALL(lengths_from_the_device_are_not_trusted),
        ALL(damaged_frames_are_counted),
        cmocka_unit_test_setup_teardown(frames_of_several_buffers_are_dropped_once, e1000, done),
        JUMBO(jumbo_frames_pass_around_the_rings),
        JUMBO(a_ring_without_room_for_a_jumbo_frame_is_busy),
        JUMBO(jumbo_frames_that_cannot_be_are_dropped),
        ALL(receive_may_send_but_not_receive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
