// SPDX-License-Identifier: BSD-2-Clause
// LINK: net/wire.c net/link.c net/link_handshake.c net/link_reliable.c net/link_records.c @keys
// LINK: tests/unit/net/sim.c tests/unit/net/pair.c
//
// Jumbo frames of a link: used when a frame of that size passed both ways, and never otherwise. Fixed seeds,
// simulated clock; each test without keys and with them.
#include "rt/time.h"
#include "tests/unit/host/host.h"
#include "tests/unit/net/pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
// cmocka needs the four above
#include <cmocka.h>

static size_t largest[2]; // frame that each node sent, probes excepted
static unsigned probes;

static void tap(uint32_t from, uint32_t to, const void *frame, size_t size)
{
    const struct wire_frame *f = frame;
    (void)to;
    if ((f->type & ~WIRE_SEALED) == WIRE_PROBE)
        probes++;
    else if (size > largest[from - 1])
        largest[from - 1] = size;
}

static void begin(uint64_t seed, size_t host, size_t remote)
{
    memset(&t, 0, sizeof t);
    memset(largest, 0, sizeof largest);
    probes = 0;
    sim_start(seed);
    sim_tap = tap;
    sim_jumbo = remote;
    pair_boot_remote();
    sim_jumbo = host;
    pair_boot_host();
}

/// As much as the link takes, in frames as full as can be.
static void bulk(void)
{
    if (t.host == NULL || link_state(t.host) == LINK_CONNECTING)
        return;
    sim_on(HOST);
    while (t.asked + t.writes_sent < t.limit) {
        struct wire_access a = {.size = (uint16_t)pair_payload_size(t.asked)};
        struct wire_record r = {.type = REC_MRD, .function = 1, .tag = (uint16_t)t.asked};
        uint8_t data[256] = {0};
        enum status s;
        if (t.asked <= t.writes_sent) {
            a.offset = t.asked;
            s = link_send(t.host, &r, &a, sizeof a, NULL, 0);
            t.asked += s == OK;
        } else {
            memcpy(data, &t.writes_sent, 4);
            r = (struct wire_record){.type = REC_MWR, .function = 1};
            a.size = (uint16_t)pair_payload_size(t.writes_sent);
            s = link_send(t.host, &r, &a, sizeof a, data, a.size);
            t.writes_sent += s == OK;
        }
        if (s == ERR_BUSY)
            break;
        assert_int_equal(s, OK);
    }
    link_flush(t.host);
}

static void traffic_arrives(unsigned limit)
{
    t.limit = limit;
    sim_run(4000 * MS, MS, bulk);
    pair_all_arrived();
    assert_int_equal(t.asked + t.writes_sent, limit);
    assert_int_equal(t.downs, 0);
}

static void the_least_of_both_when_it_passes(void **state)
{
    (void)state;
    static const size_t sizes[][2] = {{8972, 8972}, {4000, 8972}, {8972, 2000}, {1473, 8972}};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t least = sizes[i][0] < sizes[i][1] ? sizes[i][0] : sizes[i][1];
        size_t seal = sim_sealed ? WIRE_SEAL_BYTES : 0;
        begin(30 + i, sizes[i][0], sizes[i][1]);
        sim_run(10 * MS, MS, NULL);
        assert_int_equal(t.ups, 1);
        assert_int_equal(t.host->frame_max, least - seal);
        assert_int_equal(t.remote->frame_max, least - seal);
        assert_non_null(strstr(host_log_last(), "pass both ways and are used from now on"));
        sim_run(200 * MS, MS, NULL);
        unsigned count = probes;
        assert_int_equal(count, 2 + 3); // one each way, and three times that it is so
        traffic_arrives(4000);
        assert_int_equal(probes, count);
        for (unsigned n = 0; n < 2; n++)
            assert_in_range(largest[n], least - 300, least);
        sim_stop();
    }
}

static void what_only_one_takes_is_not_tried(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        begin(40 + i, i ? 8972 : 0, i ? 0 : 8972);
        traffic_arrives(1000);
        assert_int_equal(probes, 0);
        assert_in_range(largest[HOST], 1000, LINK_FRAME_BYTES);
        assert_in_range(largest[REMOTE], 1000, LINK_FRAME_BYTES);
        sim_stop();
    }
}

static void a_smaller_limit_than_usual_is_kept(void **state)
{
    (void)state;
    begin(42, 8972, 700);
    traffic_arrives(1000);
    assert_int_equal(probes, 0);
    assert_in_range(largest[HOST], 500, 700);
    assert_in_range(largest[REMOTE], 500, 700);
    sim_stop();
}

static void a_way_that_does_not_pass_them_either_way(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        begin(50 + i, 8972, 8972);
        sim_passes[HOST] = i != 1 ? 1500 : 0;
        sim_passes[REMOTE] = i != 0 ? 4000 : 0;
        traffic_arrives(4000);                    // nothing waits for the probes
        assert_int_equal(probes, i == 1 ? 6 : 0); // those that were lost were not heard here either
        assert_in_range(largest[HOST], 1000, LINK_FRAME_BYTES);
        assert_in_range(largest[REMOTE], 1000, LINK_FRAME_BYTES);
        assert_int_equal(t.remote->frame_max, LINK_FRAME_BYTES - (sim_sealed ? WIRE_SEAL_BYTES : 0));
        assert_non_null(strstr(host_log_last(),
                               "8972 bytes do not pass, though both ends take them: it stays "
                               "at 1472"));
        sim_stop();
    }
}

static void loss_does_not_stop_them(void **state)
{
    (void)state;
    unsigned jumbo = 0;
    for (uint64_t seed = 1; seed < 30; seed++) {
        begin(seed, 8972, 8972);
        sim_faults = (struct sim_faults){.loss = 100, .duplicate = 100, .reorder = 300, .nic_full = 100};
        sim_run(2000 * MS, MS, NULL);
        t.limit = 1000;
        sim_run(10000 * MS, MS, bulk);
        sim_faults = (struct sim_faults){0};
        sim_run(2000 * MS, MS, bulk);
        pair_all_arrived();
        assert_int_equal(t.host->frame_max, t.remote->frame_max);
        jumbo += t.remote->agreed == 8972 && t.remote->frame_max > LINK_FRAME_BYTES;
        sim_stop();
    }
    assert_true(jumbo >= 28);
}

static void a_large_frame_says_it_too(void **state)
{
    (void)state;
    begin(60, 8972, 8972);
    sim_run(200 * MS, MS, NULL);
    t.remote->frame_goal = t.remote->frame_max; // as if none of the three words of it had arrived
    t.remote->frame_max = 1000;
    traffic_arrives(1000);
    assert_int_equal(t.remote->frame_max, t.host->frame_max);
    sim_stop();
}

static void who_cannot_probe_gets_none_and_must_not_send_any(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    sim_start(65);
    sim_jumbo = 8972;
    pair_boot_remote();
    sim_nodes[REMOTE].link->capabilities &= ~WIRE_CAP_PROBE;
    pair_boot_host();
    sim_run(20 * MS, MS, NULL);
    assert_int_equal(t.ups, 1);
    assert_int_equal(t.host->agreed, LINK_FRAME_BYTES);
    assert_int_equal(t.host->frame_goal | t.remote->frame_goal, 0);
    assert_int_equal(t.host->frame_max, t.remote->frame_max);
    t.host->frame_max = 4000; // a host that does so all the same
    t.limit = 300;
    sim_run(100 * MS, MS, bulk);
    assert_int_equal(t.executed + t.writes_seen, 0);
    assert_true(sim_nodes[REMOTE].link->stats.malformed[WIRE_BAD_SIZE] > 0);
    assert_int_equal(t.remote->stats.malformed, sim_nodes[REMOTE].link->stats.malformed[WIRE_BAD_SIZE]);
    sim_stop();
}

static void a_way_that_changes_ends_the_session_and_the_next_one_knows(void **state)
{
    (void)state;
    begin(70, 8972, 8972);
    sim_run(50 * MS, MS, NULL);
    assert_true(t.host->frame_max > LINK_FRAME_BYTES);
    sim_passes[HOST] = sim_passes[REMOTE] = 1518;
    t.limit = 4000;
    sim_run(60000 * MS, MS, bulk);
    assert_int_equal(t.downs, 1);
    assert_int_equal(t.ups, 2);
    assert_int_equal(t.answered + t.writes_seen, 4000);
    assert_int_equal(t.host->frame_max, LINK_FRAME_BYTES - (sim_sealed ? WIRE_SEAL_BYTES : 0));
    sim_stop();
}

#define TESTS                                                                                                \
    cmocka_unit_test(the_least_of_both_when_it_passes), cmocka_unit_test(what_only_one_takes_is_not_tried),  \
        cmocka_unit_test(a_smaller_limit_than_usual_is_kept),                                                \
        cmocka_unit_test(a_way_that_does_not_pass_them_either_way),                                          \
        cmocka_unit_test(loss_does_not_stop_them), cmocka_unit_test(a_large_frame_says_it_too),              \
        cmocka_unit_test(who_cannot_probe_gets_none_and_must_not_send_any),                                  \
        cmocka_unit_test(a_way_that_changes_ends_the_session_and_the_next_one_knows)

int main(void)
{
    const struct CMUnitTest plain[] = {TESTS}, sealed[] = {TESTS};
    int failed = cmocka_run_group_tests_name("plain", plain, NULL, NULL);
    sim_sealed = true;
    return failed + cmocka_run_group_tests_name("sealed", sealed, NULL, NULL);
}
