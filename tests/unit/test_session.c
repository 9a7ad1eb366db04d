// SPDX-License-Identifier: BSD-2-Clause
// LINK: net/wire.c net/link.c net/link_handshake.c net/link_reliable.c net/link_records.c @keys
// LINK: tests/unit/net/sim.c tests/unit/net/pair.c
//
// Sessions of a link: both start orders, restarts, cut cables, refusals, the pool. Fixed seeds, simulated
// clock.
#include "rt/log.h"
#include "rt/time.h"
#include "tests/unit/host/host.h"
#include "tests/unit/net/pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
// cmocka needs the four above
#include <cmocka.h>

static void test_both_start_orders(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    sim_start(5);
    pair_boot_host(); // nobody there yet
    sim_run(4000 * MS, 10 * MS, NULL);
    assert_int_equal(t.ups, 0);
    assert_int_equal(link_state(t.host), LINK_CONNECTING);
    pair_boot_remote();
    sim_run(600 * MS, 10 * MS, NULL);
    assert_int_equal(t.ups, 1);
    assert_int_equal(t.remote_ups, 1);
    sim_stop();

    pair_begin(6); // remote first
    sim_run(5 * MS, MS, NULL);
    assert_int_equal(t.ups, 1);
    sim_stop();
}

static void test_hello_is_repeated(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 40; seed++) {
        pair_begin(seed);
        sim_faults.loss = 500;
        sim_faults.duplicate = 300;
        sim_faults.reorder = 300;
        sim_run(10000 * MS, 10 * MS, NULL);
        assert_true(t.ups >= 1);
        sim_faults = (struct sim_faults){0};
        sim_run(3000 * MS, 10 * MS, NULL);
        assert_int_equal(link_state(t.host), LINK_UP);
        assert_non_null(t.remote);
        sim_stop();
    }
}

static void test_remote_restarts(void **state)
{
    (void)state;
    // With keys nothing is said about sessions that are not known: only the announcement tells.
    for (unsigned silent = sim_sealed; silent < 2; silent++) {
        pair_begin(7 + silent);
        t.limit = 100;
        sim_run(200 * MS, MS, pair_traffic);
        pair_all_arrived();
        uint32_t epoch = t.host->epoch;
        pair_boot_remote();
        uint64_t start = time_ns();
        if (silent == 0) { // the next keepalive or request is answered by BYE
            sim_run(700 * MS, MS, NULL);
        } else { // or an announcement, when the old session has been silent for a while
            for (unsigned i = 0; i < 3; i++) {
                if (sim_sealed) // else the next keepalive is answered by BYE
                    assert_int_equal(t.downs, 0);
                sim_on(HOST);
                link_peer_announced("disk1", REMOTE + 1, sim_nodes[REMOTE].link->boot_id);
                sim_run((i < 2 ? 450 : 60) * MS, MS, NULL);
            }
        }
        assert_int_equal(t.downs, 1);
        assert_int_equal(t.ups, 2);
        assert_int_not_equal(t.host->epoch, epoch);
        assert_int_equal(link_state(t.host), LINK_UP);
        assert_true(time_ns() - start < 1000 * MS);
        t.limit = 100;
        sim_run(200 * MS, MS, pair_traffic);
        assert_int_equal(t.answered, t.asked);
        assert_int_equal(t.writes_seen, t.writes_sent);
        sim_stop();
    }
}

/// Somebody announces our remote with the boot_id of an earlier life, or of none, while its session is heard.
static void test_announced_in_its_name(void **state)
{
    (void)state;
    pair_begin(12);
    sim_run(200 * MS, MS, pair_traffic);
    uint32_t epoch = t.host->epoch;
    for (unsigned i = 0; i < 200; i++) {
        sim_on(HOST);
        link_peer_announced("disk1", REMOTE + 1, 1000 + i);
        sim_run(20 * MS, MS, NULL);
    }
    assert_int_equal(t.downs, 0);
    assert_int_equal(t.ups, 1);
    assert_int_equal(t.host->epoch, epoch);
    assert_int_equal(link_state(t.host), LINK_UP);
    sim_stop();
}

static void test_host_restarts(void **state)
{
    (void)state;
    pair_begin(9);
    t.limit = 100;
    sim_run(200 * MS, MS, pair_traffic);
    pair_boot_host();
    sim_run(20 * MS, MS, NULL);
    assert_int_equal(t.remote_downs, 1);
    assert_int_equal(t.remote_ups, 2);
    assert_int_equal(link_state(t.host), LINK_UP);
    assert_int_equal(link_state(t.remote), LINK_UP);
    sim_run(200 * MS, MS, pair_traffic);
    assert_int_equal(t.answered, t.asked);
    sim_stop();
}

static void test_cable(void **state)
{
    (void)state;
    pair_begin(10);
    t.limit = 1000000;
    sim_run(100 * MS, MS, pair_traffic);
    sim_nodes[REMOTE].cable = false;
    sim_run(1000 * MS, MS, pair_traffic); // shorter than the grace period: nothing is lost
    assert_int_equal(t.frozen, 1);
    assert_int_equal(link_state(t.host), LINK_FROZEN);
    assert_int_equal(link_state(t.remote), LINK_UP);
    sim_nodes[REMOTE].cable = true;
    sim_run(1000 * MS, MS, pair_traffic);
    assert_int_equal(t.downs, 0);
    assert_true(t.resumed >= 1);
    t.limit = t.asked + t.writes_sent;
    sim_run(1000 * MS, MS, pair_traffic);
    pair_all_arrived();

    // longer: down within silence + grace, and up again when it is back
    t.limit = 1000000;
    sim_nodes[REMOTE].cable = false;
    sim_run((LINK_SILENCE_WAITING_MS + LINK_GRACE_MS + 50) * MS, MS, pair_traffic);
    assert_int_equal(t.downs, 1);
    assert_string_equal(t.why, "silent for longer than the grace period");
    assert_int_equal(link_state(t.host), LINK_CONNECTING);
    struct wire_access a = {.size = 4};
    struct wire_record r = {.type = REC_MRD, .function = 1};
    assert_int_equal(link_send(t.host, &r, &a, sizeof a, NULL, 0), ERR_LINK_DOWN);
    sim_run(LINK_SILENCE_MS * MS, 10 * MS, pair_traffic);
    assert_int_equal(t.remote_downs, 1);
    sim_nodes[REMOTE].cable = true;
    sim_run(600 * MS, MS, NULL);
    assert_int_equal(t.ups, 2);
    assert_int_equal(t.remote_ups, 2);
    assert_int_equal(link_state(t.host), LINK_UP);
    sim_stop();
}

static void test_idle_link_lives(void **state)
{
    (void)state;
    pair_begin(11);
    sim_run(20 * MS, MS, NULL);
    uint64_t frames = sim_nodes[HOST].frames_out;
    sim_run(60000 * MS, 100 * MS, NULL);
    assert_int_equal(t.frozen, 0);
    assert_int_equal(t.downs, 0);
    assert_in_range(sim_nodes[HOST].frames_out - frames, 140, 160); // one per LINK_KEEPALIVE_MS
    sim_nodes[HOST].cable = false;                                  // idle, and silent: noticed, too
    sim_run((LINK_SILENCE_MS + LINK_GRACE_MS + 500) * MS, 10 * MS, NULL);
    assert_int_equal(t.downs, 1);
    assert_int_equal(t.remote_downs, 1);
    sim_stop();
}

static void test_refused(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    t.refuse = true;
    sim_start(14);
    pair_boot_remote();
    pair_boot_host();
    sim_run(3000 * MS, 10 * MS, NULL);
    assert_int_equal(t.ups, 0);
    assert_string_equal(host_log_last(),
                        "link: disk1 (2.0.0.0) refuses the link: not today"); // once, not every second
    assert_in_range(sim_nodes[HOST].link->stats.refused, 2, 4);
    t.refuse = false;
    sim_run(1100 * MS, 10 * MS, NULL);
    assert_int_equal(t.ups, 1);
    sim_stop();

    sim_start(15); // the wrong name
    sim_boot(REMOTE, "disk2");
    sim_on(REMOTE);
    link_listen(&pair_remote_events, pair_accept_host, &t);
    t.ups = 0;
    pair_boot_host();
    sim_run(100 * MS, 10 * MS, NULL);
    assert_int_equal(t.ups, 0);
    assert_string_equal(host_log_last(), "link: disk1 (2.0.0.0) refuses the link: this is another node");
    sim_stop();
}

static void test_two_hosts_of_one_name(void **state)
{
    (void)state;
    pair_begin(16);
    sim_run(20 * MS, MS, NULL);
    sim_boot(2, "host1");
    sim_on(2);
    struct link *second;
    assert_int_equal(link_connect(REMOTE + 1, "disk1", &pair_host_events, &t, &second), OK);
    sim_run(3000 * MS, 10 * MS, NULL);
    assert_int_equal(t.ups, 1);
    assert_int_equal(t.downs, 0);
    assert_int_equal(link_state(second), LINK_CONNECTING);
    assert_string_equal(
        host_log_last(),
        "link: disk1 (2.0.0.0) refuses the link: a host of this name is connected from another address");
    sim_nodes[HOST].cable = false; // the first one is gone: then the second may
    sim_run(3000 * MS, 10 * MS, NULL);
    assert_int_equal(link_state(second), LINK_UP);
    sim_stop();
}

static void test_pool(void **state)
{
    (void)state;
    pair_begin(17);
    struct link *l[LINK_POOL];
    sim_on(HOST);
    for (unsigned i = 1; i < LINK_POOL; i++)
        assert_int_equal(link_connect(77, "elsewhere", &pair_host_events, &t, &l[i]), OK);
    assert_int_equal(link_connect(77, "elsewhere", &pair_host_events, &t, &l[0]), ERR_NOMEM);
    link_close(l[3], "not needed");
    assert_int_equal(link_connect(77, "elsewhere", &pair_host_events, &t, &l[0]), OK);
    assert_ptr_equal(l[0], l[3]);
    assert_non_null(link_get(LINK_POOL - 1));
    assert_null(link_get(LINK_POOL));
    sim_stop();
}

static void test_close_and_again(void **state)
{
    (void)state;
    pair_begin(18);
    sim_run(20 * MS, MS, NULL);
    sim_on(HOST);
    log_set_level(LOG_WARN);
    unsigned warnings = host_log_count();
    link_close(t.host, "done");
    sim_run(20 * MS, MS, NULL);
    assert_int_equal(t.remote_downs, 1);
    assert_int_equal(host_log_count(), warnings); // it was meant
    log_set_level(LOG_DEBUG);
    assert_int_equal(t.downs, 0);
    sim_on(HOST);
    assert_int_equal(link_connect(REMOTE + 1, "disk1", &pair_host_events, &t, &t.host), OK);
    sim_run(20 * MS, MS, NULL);
    assert_int_equal(t.ups, 2);
    // without a BYE, as if it had been lost: the remote still has the old session
    link_give(t.host);
    sim_on(HOST);
    assert_int_equal(link_connect(REMOTE + 1, "disk1", &pair_host_events, &t, &t.host), OK);
    sim_run(20 * MS, MS, NULL);
    assert_int_equal(t.ups, 3);
    assert_int_equal(t.remote_downs, 2);
    sim_stop();
}

static void closing_record(void *ctx, struct link *l, const struct wire_record *rec, const void *body,
                           size_t size)
{
    (void)ctx;
    (void)rec;
    (void)body;
    (void)size;
    t.executed++;
    link_close(l, "had enough");
    t.remote = NULL;
}
/// A user may close the link while a frame with more records is being delivered.
static void test_close_in_callback(void **state)
{
    (void)state;
    static const struct link_events closing = {pair_remote_up, closing_record, pair_on_frozen,
                                               pair_on_resumed, pair_remote_down};
    pair_begin(21);
    sim_on(REMOTE);
    link_listen(&closing, pair_accept_host, &t);
    sim_run(20 * MS, MS, NULL);
    struct wire_access a = {.size = 4};
    struct wire_record r = {.type = REC_MRD, .function = 1};
    sim_on(HOST);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(link_send(t.host, &r, &a, sizeof a, NULL, 0), OK);
    link_flush(t.host);
    sim_run(1 * MS, MS, NULL);
    assert_int_equal(t.executed, 1);
    assert_int_equal(t.downs, 1);
    sim_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_start_orders),     cmocka_unit_test(test_hello_is_repeated),
        cmocka_unit_test(test_remote_restarts),       cmocka_unit_test(test_announced_in_its_name),
        cmocka_unit_test(test_host_restarts),         cmocka_unit_test(test_cable),
        cmocka_unit_test(test_idle_link_lives),       cmocka_unit_test(test_refused),
        cmocka_unit_test(test_two_hosts_of_one_name), cmocka_unit_test(test_pool),
        cmocka_unit_test(test_close_and_again),       cmocka_unit_test(test_close_in_callback),
    };
    const struct CMUnitTest with_keys[] = {
        cmocka_unit_test(test_both_start_orders), cmocka_unit_test(test_hello_is_repeated),
        cmocka_unit_test(test_remote_restarts),   cmocka_unit_test(test_announced_in_its_name),
        cmocka_unit_test(test_host_restarts),     cmocka_unit_test(test_cable),
        cmocka_unit_test(test_idle_link_lives),   cmocka_unit_test(test_pool),
        cmocka_unit_test(test_close_and_again),   cmocka_unit_test(test_close_in_callback),
    };
    int failed = cmocka_run_group_tests_name("plain", tests, NULL, NULL);
    sim_sealed = true;
    return failed + cmocka_run_group_tests_name("with keys", with_keys, NULL, NULL);
}
