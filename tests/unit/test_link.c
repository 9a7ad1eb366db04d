// SPDX-License-Identifier: BSD-2-Clause
// LINK: net/wire.c net/link.c net/link_handshake.c net/link_reliable.c net/link_records.c @keys
// LINK: tests/unit/net/sim.c tests/unit/net/pair.c
//
// The link over a bad network: every record exactly once and in order, whatever is lost, repeated, reordered;
// what it costs in frames; what it refuses. Fixed seeds, simulated clock.
#include "rt/time.h"
#include "tests/unit/host/host.h"
#include "tests/unit/net/pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
// cmocka needs the four above
#include <cmocka.h>

/// Both ends of test_flood_of_reads.
static void flood_record(void *ctx, struct link *l, const struct wire_record *rec, const void *body,
                         size_t size)
{
    (void)ctx;
    (void)body;
    if (rec->type == REC_CPLD) {
        assert_int_equal(rec->tag, (uint16_t)t.answered);
        assert_int_equal(size, 256);
        t.answered++;
        return;
    }
    static const uint8_t data[256];
    struct wire_record cpl = {.type = REC_CPLD, .function = 1, .tag = rec->tag};
    assert_int_equal(link_send(l, &cpl, data, sizeof data, NULL, 0), OK);
    t.executed++;
}

static void count_events(void *ctx, struct link *l, const struct wire_record *rec, const void *body,
                         size_t size)
{
    (void)ctx, (void)l, (void)body, (void)size;
    assert_int_equal(rec->type, REC_MSI);
    t.answered++;
}

static void test_clean(void **state)
{
    (void)state;
    pair_begin(1);
    t.limit = 5000;
    sim_run(3000 * MS, 1 * MS, pair_traffic);
    pair_all_arrived();
    assert_int_equal(t.ups, 1);
    assert_int_equal(t.remote_ups, 1);
    struct link_stats h = link_stats(t.host), r = link_stats(t.remote);
    assert_int_equal(h.retransmitted, 0);
    assert_int_equal(r.retransmitted, 0);
    assert_int_equal(r.duplicates, 0);
    assert_int_equal(h.records_sent, 5000);
    assert_int_equal(r.records_received, 5000);
    assert_in_range(h.srtt_ns, 2 * sim_delay_ns, 2 * sim_delay_ns + 3 * MS);
    sim_stop();
}

/// One read, alone: a request, its completion with the acknowledgement in it, and one late acknowledgement.
/// No other frame.
static void test_frames_of_one_read(void **state)
{
    (void)state;
    pair_begin(2);
    sim_run(10 * MS, MS, NULL);
    assert_int_equal(t.ups, 1);
    uint64_t h = sim_nodes[HOST].frames_out, r = sim_nodes[REMOTE].frames_out;
    t.executed = t.answered = 1;
    struct wire_access a = {.size = 4, .offset = 1};
    struct wire_record rec = {.type = REC_MRD, .function = 1, .tag = 1};
    sim_on(HOST);
    assert_int_equal(link_send(t.host, &rec, &a, sizeof a, NULL, 0), OK);
    link_flush(t.host);
    assert_int_equal(sim_nodes[HOST].frames_out, h + 1); // at once
    sim_run(1 * MS, MS, NULL);
    assert_int_equal(t.answered, 2);
    assert_int_equal(sim_nodes[REMOTE].frames_out, r + 1); // no ACK beside the completion
    assert_int_equal(sim_nodes[HOST].frames_out, h + 1);
    sim_run(5 * MS, MS, NULL);
    assert_int_equal(sim_nodes[REMOTE].frames_out, r + 1);
    assert_int_equal(sim_nodes[HOST].frames_out, h + 2);
    sim_stop();
}

static void test_posted_write_is_not_delayed(void **state)
{
    (void)state;
    pair_begin(3);
    sim_run(10 * MS, MS, NULL);
    uint64_t h = sim_nodes[HOST].frames_out;
    for (unsigned i = 0; i < 10; i++) {
        uint8_t data[256] = {0};
        memcpy(data, &i, 4);
        struct wire_access a = {.size = (uint16_t)pair_payload_size(i)};
        struct wire_record rec = {.type = REC_MWR, .function = 1};
        sim_on(HOST);
        assert_int_equal(link_send(t.host, &rec, &a, sizeof a, data, a.size), OK);
        link_flush(t.host);
        assert_int_equal(sim_nodes[HOST].frames_out, h + i + 1);
    }
    sim_run(1 * MS, MS, NULL);
    assert_int_equal(t.writes_seen, 10);
    sim_stop();
}

static void post(uint32_t *number)
{
    uint8_t data[256] = {0};
    memcpy(data, number, 4);
    struct wire_access a = {.size = (uint16_t)pair_payload_size((*number)++)};
    struct wire_record rec = {.type = REC_MWR, .function = 1};
    sim_on(HOST);
    assert_int_equal(link_send(t.host, &rec, &a, sizeof a, data, a.size), OK);
    link_flush(t.host);
}

/// A doorbell, and 17 ms later the next one, which is answered by an event: two frames there, one back,
/// although the first one asked for nothing. Without the second one, one acknowledgement. Nothing is sent
/// twice meanwhile.
static void test_frames_of_posted_writes(void **state)
{
    (void)state;
    pair_begin(5);
    sim_run(10 * MS, MS, NULL);
    t.host->events =
        &(struct link_events){pair_host_up, count_events, pair_on_frozen, pair_on_resumed, pair_host_down};
    uint64_t r = sim_nodes[REMOTE].frames_out;
    uint32_t n = 0;
    for (unsigned turn = 0; turn < 5; turn++) {
        post(&n);
        sim_run(17 * MS, MS, NULL);
        post(&n);
        sim_run(1 * MS, MS, NULL);
        assert_int_equal(t.writes_seen, n);
        assert_int_equal(sim_nodes[REMOTE].frames_out, r + turn);
        struct wire_record event = {.type = REC_MSI, .function = 1};
        sim_on(REMOTE);
        assert_int_equal(link_send(t.remote, &event, &(struct wire_msi){0}, sizeof(struct wire_msi), NULL, 0),
                         OK);
        link_flush(t.remote);
        sim_run(2 * MS, MS, NULL);
        assert_int_equal(sim_nodes[REMOTE].frames_out, r + turn + 1);
    }
    assert_int_equal(t.answered, 5);
    post(&n);
    sim_run(30 * MS, MS, NULL);
    assert_int_equal(sim_nodes[REMOTE].frames_out, r + 6);
    assert_int_equal(link_stats(t.host).retransmitted, 0);
    assert_int_equal(link_stats(t.host).rto_ns, LINK_RTO_MIN_MS * MS);
    sim_stop();
}

/// What was lost at the end of all that was sent comes again: after the longer time-out if it asked for
/// nothing, else after the shorter one, also when it leaves behind frames that did not ask.
static void test_loss_of_the_last_frame(void **state)
{
    (void)state;
    pair_begin(6);
    sim_run(10 * MS, MS, NULL);
    uint32_t n = 0;
    post(&n);
    sim_run(30 * MS, MS, NULL); // measured
    sim_drop = 1;
    post(&n);
    sim_run((LINK_RTO_POSTED_MS - 5) * MS, MS, NULL);
    assert_int_equal(t.writes_seen, n - 1);
    sim_run(10 * MS, MS, NULL);
    assert_int_equal(t.writes_seen, n);
    sim_run(30 * MS, MS, NULL);
    for (unsigned behind = 0; behind < 2; behind++) {
        post(&n); // one that is sent once: the time-outs are the short ones again
        sim_run(30 * MS, MS, NULL);
        uint64_t before = link_stats(t.host).retransmitted;
        t.executed = t.answered = 1;
        sim_nodes[HOST].cable = false;
        if (behind)
            post(&n);
        struct wire_access a = {.size = 4, .offset = 1};
        struct wire_record rec = {.type = REC_MRD, .function = 1, .tag = 1};
        sim_on(HOST);
        assert_int_equal(link_send(t.host, &rec, &a, sizeof a, NULL, 0), OK);
        link_flush(t.host);
        sim_nodes[HOST].cable = true;
        sim_run((LINK_RTO_MIN_MS - 5) * MS, MS, NULL);
        assert_int_equal(t.answered, 1);
        sim_run((behind ? 30 : 10) * MS, MS, NULL); // after a time-out the window is one frame
        assert_int_equal(t.answered, 2);
        assert_int_equal(t.writes_seen, n);
        assert_int_equal(link_stats(t.host).retransmitted, before + 1 + behind);
        sim_run(40 * MS, MS, NULL);
    }
    sim_stop();
}

static void test_bad_networks(void **state)
{
    (void)state;
    static const struct sim_faults kinds[] = {
        {.loss = 50},
        {.duplicate = 100},
        {.reorder = 200},
        {.loss = 50, .duplicate = 50, .reorder = 100, .damage = 10},
        {.loss = 200, .duplicate = 200, .reorder = 300, .damage = 50, .nic_full = 50},
        {.nic_full = 700},
    };
    for (unsigned k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        for (uint64_t seed = 10; seed < 25; seed++) {
            pair_begin(seed + k * 100);
            sim_faults = kinds[k];
            sim_nodes[HOST].frame_max = seed % 3 == 0 ? WIRE_FRAME_MIN : LINK_FRAME_BYTES;
            sim_nodes[REMOTE].frame_max = seed % 4 == 0 ? 900 : LINK_FRAME_BYTES;
            sim_delay_ns = seed % 2 == 0 ? 100000 : 2 * MS;
            t.limit = 2000;
            t.batch = 1 + (unsigned)(seed % 5) * 30;
            for (unsigned s = 0; s < 240 && (t.answered != t.asked || t.asked + t.writes_sent != t.limit ||
                                             t.writes_seen != t.writes_sent);
                 s++)
                sim_run(500 * MS, 1 * MS, pair_traffic);
            pair_all_arrived();
            sim_stop();
        }
    }
}

static void test_completion_comes_from_the_cache(void **state)
{
    (void)state;
    pair_begin(4);
    sim_run(10 * MS, MS, NULL);
    t.executed = t.answered = 1;
    struct wire_access a = {.size = 4, .offset = 1};
    struct wire_record rec = {.type = REC_MRD, .function = 1, .tag = 1};
    sim_on(HOST);
    assert_int_equal(link_send(t.host, &rec, &a, sizeof a, NULL, 0), OK);
    link_flush(t.host);
    sim_nodes[REMOTE].cable = true;
    sim_run(sim_delay_ns * 5 / 4, MS, NULL); // the request is there, the completion on its way...
    assert_int_equal(t.executed, 2);
    sim_nodes[HOST].cable = false; // ...to nowhere
    sim_run(2 * MS, MS, NULL);
    assert_int_equal(t.answered, 1);
    sim_nodes[HOST].cable = true;
    sim_run(LINK_RTO_FIRST_MS * MS, MS, NULL);
    assert_int_equal(t.answered, 2);
    assert_int_equal(t.executed, 2);
    assert_true(link_stats(t.remote).retransmitted >= 1);
    sim_stop();
}

/// Frames of one flush leave in the same instant; one that is lost is missed without waiting for a time-out.
static void test_loss_within_one_flush(void **state)
{
    (void)state;
    pair_begin(22);
    sim_run(10 * MS, MS, NULL);
    for (unsigned lost = 0; lost < 3; lost++) {
        unsigned first = t.writes_sent;
        sim_on(HOST);
        while (t.writes_sent < first + 4) {
            uint8_t data[256] = {0};
            memcpy(data, &t.writes_sent, 4);
            struct wire_access a = {.size = (uint16_t)pair_payload_size(t.writes_sent)};
            struct wire_record r = {.type = REC_MWR, .function = 1};
            assert_int_equal(link_send(t.host, &r, &a, sizeof a, data, a.size), OK);
            t.writes_sent++;
            link_close_frame(t.host);
        }
        sim_drop = lost + 1; // of the 4 frames that leave now, this one
        link_flush(t.host);
        sim_run(8 * MS, MS, NULL);
        assert_int_equal(t.writes_seen, t.writes_sent);
        assert_int_equal(link_stats(t.host).retransmitted, lost + 1);
    }
    sim_stop();
}

/// Frames full of requests whose answers are many times larger: the remote takes them as it has room, nobody
/// stands still.
static void test_flood_of_reads(void **state)
{
    (void)state;
    pair_begin(23);
    sim_run(10 * MS, MS, NULL);
    t.host->events =
        &(struct link_events){pair_host_up, flood_record, pair_on_frozen, pair_on_resumed, pair_host_down};
    t.remote->events = &(struct link_events){pair_remote_up, flood_record, pair_on_frozen, pair_on_resumed,
                                             pair_remote_down};
    unsigned asked = 0;
    enum status s;
    do {
        struct wire_access a = {.size = 256};
        struct wire_record r = {.type = REC_MRD, .function = 1, .tag = (uint16_t)asked};
        sim_on(HOST);
        s = link_send(t.host, &r, &a, sizeof a, NULL, 0);
        asked += s == OK;
        if (s == ERR_BUSY)
            sim_run(MS, MS, NULL);
    } while (asked < 10000);
    link_flush(t.host);
    sim_run(200 * MS, MS, NULL);
    assert_int_equal(t.executed, asked);
    assert_int_equal(t.answered, asked);
    assert_int_equal(t.frozen, 0);
    sim_stop();
}

static void test_window_full(void **state)
{
    (void)state;
    pair_begin(12);
    sim_run(20 * MS, MS, NULL);
    sim_nodes[HOST].cable = false;
    uint8_t data[256] = {0};
    struct wire_access a = {.size = 256};
    struct wire_record r = {.type = REC_MWR, .function = 1};
    unsigned n = 0;
    enum status s;
    sim_on(HOST);
    do {
        uint32_t number = n;
        memcpy(data, &number, 4);
        s = link_send(t.host, &r, &a, sizeof a, data, 256);
        link_flush(t.host);
        n += s == OK;
    } while (s == OK && n < 10000);
    assert_int_equal(s, ERR_BUSY);
    assert_in_range(n, LINK_TX_SLOTS, LINK_TX_SLOTS * 5);
    assert_true(link_stats(t.host).window_stalls > 0);
    assert_int_equal(t.host->cwnd, t.host->in_flight);
    sim_stop();
}

static void test_sizes_and_nonsense(void **state)
{
    (void)state;
    pair_begin(13);
    sim_run(20 * MS, MS, NULL);
    sim_on(HOST);
    uint8_t data[2000] = {0};
    struct wire_access a = {.size = 4};
    struct wire_record r = {.type = REC_MWR, .function = 1};
    assert_int_equal(link_send(t.host, &r, &a, sizeof a, data, 1600), ERR_RANGE);
    assert_int_equal(link_send(t.host, &r, &a, sizeof a, data, 3), ERR_PROTOCOL); // says 4
    r.function = 0;
    assert_int_equal(link_send(t.host, &r, &a, sizeof a, data, 4), ERR_PROTOCOL);
    r = (struct wire_record){.type = REC_CPL};
    assert_int_equal(link_send(t.host, &r, NULL, 0, NULL, 0), ERR_PROTOCOL); // wrong way
    uint64_t frames = sim_nodes[HOST].frames_out;
    link_flush(t.host);
    assert_int_equal(sim_nodes[HOST].frames_out, frames);
    sim_stop();
}

/// Sequence numbers wrap like any counter.
static void test_sequence_wraps(void **state)
{
    (void)state;
    pair_begin(19);
    sim_run(20 * MS, MS, NULL);
    struct link *ends[2] = {t.host, t.remote};
    for (unsigned i = 0; i < 2; i++) {
        ends[i]->una = ends[i]->nxt = ends[i]->tail = ends[i]->rcv_nxt = 0xfffffff0u;
        ends[i]->recover = 0xfffffff0u;
        link_open_frame(ends[i]);
    }
    sim_faults = (struct sim_faults){.loss = 50, .duplicate = 50, .reorder = 100};
    t.limit = 3000;
    t.batch = 8;
    sim_run(20000 * MS, MS, pair_traffic);
    pair_all_arrived();
    assert_true(t.host->una < 0x10000);
    sim_stop();
}

/// A peer that acknowledges what was never sent, or sends records that are none, is counted and changes
/// nothing.
static void test_lies(void **state)
{
    (void)state;
    pair_begin(20);
    sim_run(20 * MS, MS, NULL);
    uint32_t epoch = t.host->epoch;
    struct {
        struct wire_frame f;
        struct wire_record r;
    } __attribute__((packed)) lie = {
        .f = {WIRE_MAGIC, WIRE_VERSION, WIRE_ACK, sizeof lie.f, epoch, 0, 1, 0},
    };
    sim_on(HOST);
    link_input(&sim_nodes[HOST].carrier, REMOTE + 1, &lie, sizeof lie.f);
    lie.f.ack = 0;
    lie.f.sack = 1;
    link_input(&sim_nodes[HOST].carrier, REMOTE + 1, &lie, sizeof lie.f);
    assert_int_equal(link_node_stats().malformed[WIRE_BAD_HEADER], 2);
    assert_int_equal(link_stats(t.host).malformed, 2);
    lie.f = (struct wire_frame){WIRE_MAGIC, WIRE_VERSION, WIRE_DATA, sizeof lie, epoch, 1, 0, 0};
    lie.r = (struct wire_record){.type = REC_MRD, .length = sizeof lie.r}; // a request to a host
    link_input(&sim_nodes[HOST].carrier, REMOTE + 1, &lie, sizeof lie);
    assert_int_equal(link_node_stats().malformed[WIRE_BAD_RECORD], 1);
    assert_int_equal(t.host->rcv_nxt, 1);
    link_input(&sim_nodes[HOST].carrier, 9, &lie, sizeof lie); // right epoch, wrong address
    assert_int_equal(link_node_stats().strangers, 1);
    sim_stop();
}

/// Which carrier a session is on: the preferred one when it works both ways, and nobody is stuck when not.
static void test_carriers(void **state)
{
    (void)state;
    for (sim_second = SIM_NONE; sim_second <= SIM_UNKNOWN; sim_second++) {
        bool second = sim_second == SIM_GOOD || sim_second == SIM_UNKNOWN;
        pair_begin(77);
        t.limit = 500;
        sim_run(3000 * MS, MS, pair_traffic);
        pair_all_arrived();
        assert_int_equal(t.ups, 1);
        assert_string_equal(link_carrier(t.host), second ? "second" : "sim");
        assert_string_equal(link_carrier(t.remote), second ? "second" : "sim");
        assert_int_equal(t.remote_ups, 1);
        if (sim_second == SIM_GOOD) { // it ends while the other one goes on: the next session is there
            sim_second = SIM_CUT;
            sim_run(9000 * MS, MS, NULL);
            assert_int_equal(t.ups, 2);
            assert_string_equal(link_carrier(t.host), "sim");
            sim_second = SIM_GOOD;
            pair_boot_remote();
            sim_run(9000 * MS, MS, NULL);
            assert_int_equal(t.ups, 3);
            assert_string_equal(link_carrier(t.host), "second");
        }
        sim_stop();
    }
    sim_second = SIM_NONE;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),
        cmocka_unit_test(test_frames_of_one_read),
        cmocka_unit_test(test_posted_write_is_not_delayed),
        cmocka_unit_test(test_frames_of_posted_writes),
        cmocka_unit_test(test_loss_of_the_last_frame),
        cmocka_unit_test(test_bad_networks),
        cmocka_unit_test(test_completion_comes_from_the_cache),
        cmocka_unit_test(test_loss_within_one_flush),
        cmocka_unit_test(test_flood_of_reads),
        cmocka_unit_test(test_window_full),
        cmocka_unit_test(test_sizes_and_nonsense),
        cmocka_unit_test(test_sequence_wraps),
        cmocka_unit_test(test_lies),
    };
    const struct CMUnitTest with_keys[] = {
        cmocka_unit_test(test_clean),
        cmocka_unit_test(test_frames_of_one_read),
        cmocka_unit_test(test_posted_write_is_not_delayed),
        cmocka_unit_test(test_frames_of_posted_writes),
        cmocka_unit_test(test_loss_of_the_last_frame),
        cmocka_unit_test(test_bad_networks),
        cmocka_unit_test(test_completion_comes_from_the_cache),
        cmocka_unit_test(test_loss_within_one_flush),
        cmocka_unit_test(test_flood_of_reads),
        cmocka_unit_test(test_window_full),
        cmocka_unit_test(test_sizes_and_nonsense),
        cmocka_unit_test(test_sequence_wraps),
    };
    const struct CMUnitTest carriers[] = {cmocka_unit_test(test_carriers)};
    int failed = cmocka_run_group_tests_name("plain", tests, NULL, NULL);
    sim_second = SIM_GOOD;
    failed += cmocka_run_group_tests_name("two carriers", tests, NULL, NULL);
    failed += cmocka_run_group_tests_name("choice", carriers, NULL, NULL);
    sim_sealed = true;
    failed += cmocka_run_group_tests_name("choice, with keys", carriers, NULL, NULL);
    return failed + cmocka_run_group_tests_name("with keys", with_keys, NULL, NULL);
}
