// SPDX-License-Identifier: BSD-2-Clause
// LINK: drivers/virtio_net.c drivers/virtio_device.c drivers/virtio_queue.c
// The real driver against the device of fake_virtio.h, which does as it is told, or lies.
#include "drivers/virtio_net.h"
#include "tests/unit/fake_virtio.h"
#include "tests/unit/nic_fixture.h"

#define RX_COUNT 256u
#define TX_COUNT 128u

static int fresh(void **state)
{
    (void)state;
    fake_start();
    dev = fake_device();
    got_count = 0;
    nic = NULL;
    return 0;
}

static int started(void **state)
{
    fresh(state);
    assert_int_equal(virtio_net_start(&dev, &nic), OK);
    listen();
    return 0;
}

static int done(void **state)
{
    (void)state;
    fake.reset_hangs = false;
    if (nic)
        virtio_net_stop(nic);
    assert_int_equal(host_frames_in_use(), 0);
    return 0;
}

static void later(void)
{
    host_time_advance_ns(20000000);
    nic->ops->poll(nic, 1);
}

// ---- Start

static void starts_a_device_the_firmware_left_running(void **state)
{
    (void)state;
    static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
    assert_memory_equal(nic->mac, mac, 6);
    assert_int_equal(fake.resets, 1);
    assert_int_equal(fake.status, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |
                                      VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
    assert_int_equal(fake.accepted, FAKE_OFFERS & ~(1ull << 15));
    assert_int_equal(nic->mtu, 1500);
    assert_true(nic->places >= 64);
    assert_true(nic->ops->room(nic, nic->places));
    assert_false(nic->ops->room(nic, nic->places + 1u));
    assert_int_equal(nic->irq_vector, 0);
    assert_true(nic->ops->link_up(nic));
    assert_int_equal(fake.prepared, 1);
    for (unsigned i = 0; i < VIRTIO_NET_QUEUES; i++) {
        assert_int_equal(fake.queues[i].enable, 1);
        assert_int_equal(fake.queues[i].vector, 0);
        assert_int_equal(fake.queues[i].desc % 16 | fake.queues[i].driver % 2 | fake.queues[i].device % 4, 0);
    }
    assert_int_equal(fake.config_vector, 0);
    assert_int_equal(fake_avail(VIRTIO_NET_RX)->idx, RX_COUNT);
    assert_false(fake.promiscuous); // it was told
    assert_int_equal(fake.commands, 1);
    assert_int_equal(fake.interrupts, 0);
}

static void what_cannot_be_used_is_refused(void **state)
{
    (void)state;
    fake.offers &= ~VIRTIO_F_VERSION_1;
    assert_int_equal(virtio_net_start(&dev, &nic), ERR_UNSUPPORTED);
    assert_non_null(strstr(host_log_last(), "not virtio 1.0"));
    fake.offers = FAKE_OFFERS & ~VIRTIO_NET_F_MAC;
    assert_int_equal(virtio_net_start(&dev, &nic), ERR_UNSUPPORTED);
    fake.offers = FAKE_OFFERS;
    fake.refuses_features = true;
    assert_int_equal(virtio_net_start(&dev, &nic), ERR_UNSUPPORTED);
    fake.refuses_features = false;
    fake.no_vectors = true;
    assert_int_equal(virtio_net_start(&dev, &nic), ERR_UNSUPPORTED);
    fake.no_vectors = false;
    fake.cap_types[3] = 9; // no ISR
    assert_int_equal(virtio_net_start(&dev, &nic), ERR_UNSUPPORTED);
    assert_non_null(strstr(host_log_last(), "no registers of virtio 1.0"));
    fake.cap_types[3] = 3;
    dev.bars[4].size = 0x2000;
    assert_int_equal(virtio_net_start(&dev, &nic), ERR_UNSUPPORTED);
    dev.bars[4].size = sizeof fake.regs;
    fake.regs[0x2000] |= 1;
    assert_int_equal(virtio_net_start(&dev, &nic), ERR_UNSUPPORTED);
    fake.regs[0x2000] &= 0xfe;
    assert_null(nic);
    assert_int_equal(host_frames_in_use(), 0);
    for (int i = 0; i < 7; i++) {
        host_frames_fail_after(i);
        assert_int_equal(virtio_net_start(&dev, &nic), ERR_NOMEM);
        assert_int_equal(host_frames_in_use(), 0);
    }
    host_frames_fail_after(-1);
    assert_int_equal(virtio_net_start(&dev, &nic), OK);
}

static void a_device_without_extras_is_polled_and_open(void **state)
{
    (void)state;
    fake.offers = VIRTIO_F_VERSION_1 | VIRTIO_NET_F_MAC;
    dev.cap_msix = 0;
    *fake_config16(VIRTIO_NET_CONFIG_STATUS) = 0;
    assert_int_equal(virtio_net_start(&dev, &nic), OK);
    assert_true(nic->ops->link_up(nic)); // it has no such register
    assert_int_equal(fake.prepared, 0);
    assert_int_equal(fake.queues[VIRTIO_NET_CTRL].enable, 0);
    nic->ops->promiscuous(nic, true);
    virtio_net_provoke(nic);
    virtio_net_interrupt(nic, 0x31);
    assert_int_equal(fake.commands + fake.interrupts, 0);
}

static void a_smaller_mtu_is_obeyed(void **state)
{
    (void)state;
    uint8_t frame[1518] = {0};
    fake.offers |= VIRTIO_NET_F_MTU;
    *fake_config16(VIRTIO_NET_CONFIG_MTU) = 1400;
    assert_int_equal(virtio_net_start(&dev, &nic), OK);
    assert_int_equal(nic->mtu, 1400);
    assert_int_equal(send(frame, 1418), OK);
    assert_int_equal(send(frame, 1419), ERR_RANGE);
}

static void jumbo_frames_where_the_device_says_so(void **state)
{
    (void)state;
    static uint8_t frame[9019];
    static const struct {
        uint16_t says, largest;
    } rows[] = {{1500, 1500}, {4000, 4000}, {9000, 9000}, {65535, 9000}};
    for (unsigned i = 0; i < 4; i++) {
        fresh(NULL);
        fake.offers |= VIRTIO_NET_F_MTU;
        *fake_config16(VIRTIO_NET_CONFIG_MTU) = rows[i].says;
        assert_int_equal(virtio_net_start(&dev, &nic), OK);
        nic->receive = receive;
        nic->receive_ctx = &got_count;
        assert_int_equal(nic->mtu, 1500);
        assert_int_equal(nic->largest, rows[i].largest);
        size_t most = rows[i].largest + 18u;
        for (unsigned n = 0; n < 600; n++) {
            pattern(frame, most, n);
            assert_int_equal(send(frame, most), OK);
            assert_int_equal(fake.sent_size[n % FAKE_SENT_MAX], most);
            assert_memory_equal(fake.sent[n % FAKE_SENT_MAX], frame, most);
            assert_true(fake_arrive(frame, most));
            assert_int_equal(nic->ops->poll(nic, 8), 1);
            assert_int_equal(got_size, most);
            assert_memory_equal(got, frame, most);
        }
        assert_int_equal(send(frame, most + 1), ERR_RANGE);
        fake_use(VIRTIO_NET_RX, (uint32_t)fake_next(VIRTIO_NET_RX), (uint32_t)(12 + most + 1));
        assert_int_equal(nic->ops->poll(nic, 8), 0);
        assert_int_equal(nic->stats.rx_errors, 1);
        virtio_net_stop(nic);
        nic = NULL;
    }
}

// ---- Sending

static void pieces_are_joined_and_short_frames_padded(void **state)
{
    (void)state;
    uint8_t frame[200] = {0}, zeroes[60] = {0};
    for (size_t first = 0; first < 40; first++) {
        struct nic_piece p[3];
        size_t sizes[3] = {first, 14, 2 * first}, size = 0;
        for (unsigned i = 0; i < 3; i++) {
            uint8_t *bytes = malloc(sizes[i] ? sizes[i] : 1);
            pattern(bytes, sizes[i], i + (unsigned)first);
            memcpy(frame + size, bytes, sizes[i]);
            p[i] = (struct nic_piece){bytes, sizes[i]};
            size += sizes[i];
        }
        assert_int_equal(nic->ops->send(nic, p, 3), OK);
        unsigned last = fake.sent_count - 1;
        assert_int_equal(fake.sent_size[last], size < 60 ? 60 : size);
        assert_memory_equal(fake.sent[last], frame, size);
        if (size < 60)
            assert_memory_equal(fake.sent[last] + size, zeroes, 60 - size);
        for (unsigned i = 0; i < 3; i++)
            free((void *)p[i].bytes);
    }
    assert_int_equal(nic->stats.tx_frames, 40);
}

static void lengths_that_are_no_frame_are_refused(void **state)
{
    (void)state;
    uint8_t frame[1519] = {0};
    assert_int_equal(send(frame, 1518), OK); // with a VLAN tag
    assert_int_equal(send(frame, 1519), ERR_RANGE);
    assert_int_equal(send(frame, 13), ERR_RANGE);
    assert_int_equal(send(frame, SIZE_MAX), ERR_RANGE);
    struct nic_piece wraps[2] = {{frame, 100}, {frame, SIZE_MAX - 50}};
    assert_int_equal(nic->ops->send(nic, wraps, 2), ERR_RANGE);
    assert_int_equal(nic->stats.tx_frames, 1);
    assert_true(nic->ops->room(nic, TX_COUNT)); // what was refused holds no buffer
}

static void a_full_ring_is_busy_and_recovers(void **state)
{
    (void)state;
    uint8_t frame[100];
    unsigned sent = 0;
    fake.deaf = true;
    for (;; sent++) {
        assert_int_equal(nic->ops->room(nic, TX_COUNT - sent), true);
        assert_int_equal(nic->ops->room(nic, TX_COUNT - sent + 1), false);
        pattern(frame, sizeof frame, sent);
        if (send(frame, sizeof frame) != OK)
            break;
    }
    assert_int_equal(sent, TX_COUNT);
    assert_int_equal(send(frame, sizeof frame), ERR_BUSY);
    assert_int_equal(nic->stats.tx_busy, 2);
    fake.deaf = false;
    fake_transmit();
    for (; sent < 70000; sent++) { // around the 16 bits of the index, too
        pattern(frame, sizeof frame, sent);
        assert_int_equal(send(frame, sizeof frame), OK);
    }
    assert_int_equal(fake.sent_count, 70000);
    for (unsigned i = 70000 - 512; i < 70000; i++) {
        pattern(frame, sizeof frame, i);
        assert_memory_equal(fake.sent[i % FAKE_SENT_MAX], frame, sizeof frame);
    }
    assert_int_equal(nic->stats.tx_bytes, 7000000);
}

static void no_doorbell_for_a_device_that_wants_none(void **state)
{
    (void)state;
    uint8_t frame[60] = {0};
    unsigned before = fake.doorbells;
    assert_int_equal(send(frame, sizeof frame), OK);
    assert_int_equal(fake.doorbells, before + 1);
    fake_used(VIRTIO_NET_TX)->flags = VIRTQ_USED_F_NO_NOTIFY;
    assert_int_equal(send(frame, sizeof frame), OK);
    assert_int_equal(fake.doorbells, before + 1);
    assert_int_equal(fake_avail(VIRTIO_NET_TX)->idx, 2);
    fake_transmit();
}

// ---- Receiving

static void frames_arrive_in_order_around_the_ring(void **state)
{
    (void)state;
    uint8_t frame[1514];
    unsigned seed = 0;
    while (seed < 70000) {
        unsigned burst = 1 + seed % 37;
        for (unsigned i = 0; i < burst; i++) {
            pattern(frame, sizeof frame, seed + i);
            assert_true(fake_arrive(frame, 60 + (seed + i) % 1455));
        }
        for (unsigned i = 0; i < burst; i++, seed++) {
            assert_int_equal(nic->ops->poll(nic, 1), 1);
            pattern(frame, sizeof frame, seed);
            assert_int_equal(got_size, 60 + seed % 1455);
            assert_memory_equal(got, frame, got_size);
        }
        assert_int_equal(nic->ops->poll(nic, 1), 0);
    }
    assert_int_equal(nic->stats.rx_frames, seed);
    assert_int_equal(nic->stats.rx_errors, 0);
}

static void one_poll_one_doorbell_within_the_budget(void **state)
{
    (void)state;
    uint8_t frame[64] = {0};
    unsigned arrived = 0;
    while (fake_arrive(frame, sizeof frame))
        arrived++;
    assert_int_equal(arrived, RX_COUNT);
    unsigned before = fake.doorbells;
    assert_int_equal(nic->ops->poll(nic, 0), 0);
    assert_int_equal(nic->ops->poll(nic, 10), 10);
    assert_int_equal(fake.doorbells, before + 1);
    assert_int_equal(nic->ops->poll(nic, 1000), RX_COUNT - 10);
    assert_int_equal(fake.doorbells, before + 2);
    assert_int_equal(nic->ops->poll(nic, 1000), 0);
    assert_int_equal(fake.doorbells, before + 2);
}

static void polls_again(void *ctx, const uint8_t *frame, size_t size)
{
    receive(ctx, frame, size);
    assert_int_equal(nic->ops->poll(nic, 100), 0);
    assert_int_equal(send(frame, size), OK);
}

static void receive_may_send_but_not_receive(void **state)
{
    (void)state;
    uint8_t frame[64];
    nic->receive = polls_again;
    for (unsigned i = 0; i < 3; i++) {
        pattern(frame, sizeof frame, i);
        assert_true(fake_arrive(frame, sizeof frame));
    }
    assert_int_equal(nic->ops->poll(nic, 100), 3);
    for (unsigned i = 0; i < 3; i++) {
        pattern(frame, sizeof frame, i);
        assert_memory_equal(fake.sent[i], frame, sizeof frame);
    }
}

static void lengths_from_the_device_are_not_trusted(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {0, 11, 12, 25, 12 + 1519, 2048, 2049, 0x10000, 0xffffffff};
    unsigned bad = sizeof lengths / sizeof lengths[0];
    for (unsigned i = 0; i < bad; i++)
        fake_use(VIRTIO_NET_RX, (uint32_t)fake_next(VIRTIO_NET_RX), lengths[i]);
    assert_int_equal(nic->ops->poll(nic, 100), 0);
    assert_int_equal(got_count, 0);
    assert_int_equal(nic->stats.rx_errors, bad);
    fake_use(VIRTIO_NET_RX, (uint32_t)fake_next(VIRTIO_NET_RX), 12 + 14);
    fake_use(VIRTIO_NET_RX, (uint32_t)fake_next(VIRTIO_NET_RX), 12 + 1518);
    assert_int_equal(nic->ops->poll(nic, 100), 2);
    assert_int_equal(got_size, 1518);
}

// ---- A device that lies is reset, and started again

static void comes_back(void)
{
    uint8_t frame[64] = {0};
    unsigned resets = fake.resets;
    assert_false(nic->ops->link_up(nic));
    assert_int_equal(send(frame, sizeof frame), ERR_LINK_DOWN);
    assert_false(nic->ops->room(nic, 1));
    assert_false(fake.status & VIRTIO_STATUS_DRIVER_OK);
    assert_int_equal(nic->ops->poll(nic, 10), 0);
    nic->ops->irq_enable(nic, true);
    nic->ops->promiscuous(nic, true);
    assert_int_equal(fake.resets, resets);
    host_time_advance_ns(1100000000);
    nic->ops->poll(nic, 10);
    assert_int_equal(fake.resets, resets + 1);
    assert_true(nic->ops->link_up(nic));
    assert_true(fake.promiscuous); // what was wished meanwhile
    assert_int_equal(send(frame, sizeof frame), OK);
    unsigned before = got_count;
    assert_true(fake_arrive(frame, sizeof frame));
    assert_int_equal(nic->ops->poll(nic, 10), 1);
    assert_int_equal(got_count, before + 1);
    nic->ops->promiscuous(nic, false);
}

static void comes_back_hearing(void)
{
    fake.deaf = false;
    comes_back();
}

static void used_entries_nobody_gave(void **state)
{
    (void)state;
    uint8_t frame[64] = {0};
    fake_use(VIRTIO_NET_RX, 256, 100);
    nic->ops->poll(nic, 10);
    assert_non_null(strstr(host_log_last(), "receive queue makes no sense; it is reset"));
    comes_back();
    fake_use(VIRTIO_NET_RX, 0xffffffff, 100);
    nic->ops->poll(nic, 10);
    comes_back();
    fake_used(VIRTIO_NET_RX)->idx += 257;
    nic->ops->poll(nic, 10);
    comes_back();
    fake.deaf = true;
    assert_int_equal(send(frame, sizeof frame), OK);
    fake_use(VIRTIO_NET_TX, 77, 0);
    assert_false(nic->ops->room(nic, TX_COUNT));
    assert_non_null(strstr(host_log_last(), "transmit queue makes no sense"));
    comes_back_hearing();
    fake.deaf = true;
    assert_int_equal(send(frame, sizeof frame), OK);
    int id = fake_next(VIRTIO_NET_TX);
    fake_use(VIRTIO_NET_TX, (uint32_t)id, 0); // once is right, and then it is not the device's any more
    fake_use(VIRTIO_NET_TX, (uint32_t)id, 0);
    assert_false(nic->ops->room(nic, TX_COUNT));
    comes_back_hearing();
    fake.deaf = true;
    nic->ops->promiscuous(nic, true);
    later();
    fake_use(VIRTIO_NET_CTRL, 1, 1);
    later();
    assert_non_null(strstr(host_log_last(), "control queue makes no sense"));
    comes_back_hearing();
}

static void a_device_that_asks_for_a_reset_gets_it(void **state)
{
    (void)state;
    fake.status |= VIRTIO_STATUS_NEEDS_RESET;
    later();
    assert_non_null(strstr(host_log_last(), "it lost its state"));
    comes_back();
}

static void a_device_that_does_not_come_back_is_tried_again(void **state)
{
    (void)state;
    fake.status |= VIRTIO_STATUS_NEEDS_RESET;
    later();
    fake.refuses_features = true;
    for (unsigned i = 0; i < 3; i++) {
        unsigned resets = fake.resets;
        host_time_advance_ns(1100000000);
        nic->ops->poll(nic, 10);
        assert_int_equal(fake.resets, resets + 1);
        assert_false(nic->ops->link_up(nic));
        assert_true(fake.status & VIRTIO_STATUS_FAILED);
    }
    fake.refuses_features = false;
    comes_back();
}

// ---- Link, interrupts, promiscuous mode

static void carrier_lost_and_found(void **state)
{
    (void)state;
    uint8_t frame[64] = {0};
    *fake_config16(VIRTIO_NET_CONFIG_STATUS) = 0;
    assert_int_equal(send(frame, sizeof frame), OK); // not noticed yet
    later();
    assert_non_null(strstr(host_log_last(), "link down"));
    assert_int_equal(send(frame, sizeof frame), ERR_LINK_DOWN);
    *fake_config16(VIRTIO_NET_CONFIG_STATUS) = VIRTIO_NET_S_LINK_UP;
    host_time_advance_ns(20000000);
    assert_true(nic->ops->link_up(nic));
    assert_int_equal(send(frame, sizeof frame), OK);
}

static void interrupts_are_one_shot(void **state)
{
    (void)state;
    uint8_t frame[64] = {0};
    nic->ops->irq_enable(nic, true);
    assert_true(fake_arrive(frame, sizeof frame));
    assert_int_equal(fake.interrupts, 0); // not routed
    nic->irq_vector = 0x31;
    nic->ops->irq_enable(nic, true);
    assert_true(fake_arrive(frame, sizeof frame));
    assert_int_equal(fake.interrupts, 1);
    virtio_net_interrupt(nic, 0x31);
    assert_false(fake.level);
    assert_true(fake_arrive(frame, sizeof frame));
    assert_int_equal(fake.interrupts, 1);
    nic->ops->irq_enable(nic, true);
    nic->ops->irq_enable(nic, false);
    assert_true(fake_arrive(frame, sizeof frame));
    assert_int_equal(send(frame, sizeof frame), OK); // what is sent never interrupts
    assert_int_equal(fake.interrupts, 1);
    assert_int_equal(nic->ops->poll(nic, 10), 4);
}

static void a_trial_interrupt_is_sent(void **state)
{
    (void)state;
    virtio_net_provoke(nic);
    assert_int_equal(fake.interrupts, 1);
    virtio_net_interrupt(nic, 0x31);
    later();
    nic->ops->promiscuous(nic, true);
    assert_true(fake.promiscuous);
    assert_int_equal(fake.interrupts, 1); // commands do not interrupt otherwise
}

static void promiscuous_mode_follows_the_last_wish(void **state)
{
    (void)state;
    later();
    fake.deaf = true;
    nic->ops->promiscuous(nic, true);
    nic->ops->promiscuous(nic, false);
    nic->ops->promiscuous(nic, true);
    assert_false(fake.promiscuous);
    fake.deaf = false;
    fake_obey();
    assert_true(fake.promiscuous);
    nic->ops->promiscuous(nic, false);
    assert_false(fake.promiscuous);
    fake.answer = 1;
    nic->ops->promiscuous(nic, true);
    later();
    assert_non_null(strstr(host_log_last(), "does not switch promiscuous mode on"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, started, done)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(starts_a_device_the_firmware_left_running),
        cmocka_unit_test_setup_teardown(what_cannot_be_used_is_refused, fresh, done),
        cmocka_unit_test_setup_teardown(a_device_without_extras_is_polled_and_open, fresh, done),
        cmocka_unit_test_setup_teardown(a_smaller_mtu_is_obeyed, fresh, done),
        cmocka_unit_test_setup_teardown(jumbo_frames_where_the_device_says_so, fresh, done),
        TEST(pieces_are_joined_and_short_frames_padded),
        TEST(lengths_that_are_no_frame_are_refused),
        TEST(a_full_ring_is_busy_and_recovers),
        TEST(no_doorbell_for_a_device_that_wants_none),
        TEST(frames_arrive_in_order_around_the_ring),
        TEST(one_poll_one_doorbell_within_the_budget),
        TEST(receive_may_send_but_not_receive),
        TEST(lengths_from_the_device_are_not_trusted),
        TEST(used_entries_nobody_gave),
        TEST(a_device_that_asks_for_a_reset_gets_it),
        TEST(a_device_that_does_not_come_back_is_tried_again),
        TEST(carrier_lost_and_found),
        TEST(interrupts_are_one_shot),
        TEST(a_trial_interrupt_is_sent),
        TEST(promiscuous_mode_follows_the_last_wish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
