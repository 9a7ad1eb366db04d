// SPDX-License-Identifier: BSD-2-Clause
// LINK: net/wire.c net/link.c net/link_handshake.c net/link_reliable.c net/link_records.c
// LINK: tests/unit/net/sim.c
//
// The link over a bad network: every record exactly once and in order, whatever is lost, repeated, reordered;
// sessions through restarts and cut cables. Fixed seeds, simulated clock.
#include "rt/time.h"
#include "tests/unit/host/host.h"
#include "tests/unit/net/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
// cmocka needs the four above
#include <cmocka.h>

#define MS     1000000ull
#define HOST   0
#define REMOTE 1

/// What both users saw.
static struct {
    struct link *host, *remote;
    unsigned ups, downs, frozen, resumed, remote_ups, remote_downs;
    char why[80];
    uint32_t asked, answered; // host: next request number to send; next completion number expected
    uint32_t executed;        // remote: next request number expected: nothing executed twice, or out of order
    uint32_t writes_sent, writes_seen;
    uint32_t limit;
    bool refuse;
    unsigned batch;
} t;

static uint32_t payload_size(uint32_t n)
{
    return n % 7 == 0 ? 256 : n % 3 == 0 ? 8 : 4;
}

static void remote_record(void *ctx, struct link *l, const struct wire_record *rec, const void *body,
                          size_t size)
{
    assert_ptr_equal(ctx, &t);
    const struct wire_access *a = body;
    uint8_t data[256];
    if (rec->type == REC_MWR) {
        uint32_t n;
        memcpy(&n, (const uint8_t *)body + sizeof *a, 4);
        assert_int_equal(n, t.writes_seen);
        t.writes_seen++;
        assert_int_equal(size, sizeof *a + payload_size(n));
        return;
    }
    assert_int_equal(rec->type, REC_MRD);
    assert_int_equal(a->offset, t.executed);
    memset(data, (int)(t.executed & 0xff), sizeof data);
    t.executed++;
    struct wire_record cpl = {.type = REC_CPLD, .function = rec->function, .tag = rec->tag};
    assert_int_equal(link_send(l, &cpl, data, a->size, NULL, 0), OK);
}

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

static void host_record(void *ctx, struct link *l, const struct wire_record *rec, const void *body,
                        size_t size)
{
    assert_ptr_equal(ctx, &t);
    (void)l;
    assert_int_equal(rec->type, REC_CPLD);
    assert_int_equal(rec->tag, (uint16_t)t.answered);
    assert_int_equal(size, payload_size(t.answered));
    for (size_t i = 0; i < size; i++)
        assert_int_equal(((const uint8_t *)body)[i], t.answered & 0xff);
    t.answered++;
}

static void host_up(void *ctx, struct link *l)
{
    (void)ctx;
    t.ups++;
    t.host = l;
    t.asked = t.answered = t.writes_sent = 0;
}
static void remote_up(void *ctx, struct link *l)
{
    (void)ctx;
    t.remote_ups++;
    t.remote = l;
    t.executed = t.writes_seen = 0;
}
static void on_frozen(void *ctx, struct link *l)
{
    (void)ctx;
    (void)l;
    t.frozen++;
}
static void on_resumed(void *ctx, struct link *l)
{
    (void)ctx;
    (void)l;
    t.resumed++;
}
static void host_down(void *ctx, struct link *l, const char *why)
{
    (void)ctx;
    (void)l;
    t.downs++;
    snprintf(t.why, sizeof t.why, "%s", why);
}
static void remote_down(void *ctx, struct link *l, const char *why)
{
    (void)ctx;
    (void)why;
    assert_ptr_equal(l, t.remote);
    t.remote_downs++;
    t.remote = NULL;
}

static const struct link_events host_events = {host_up, host_record, on_frozen, on_resumed, host_down};
static const struct link_events remote_events = {remote_up, remote_record, on_frozen, on_resumed,
                                                 remote_down};

static enum status accept_host(void *arg, const char *host_node, uint32_t peer, void **ctx, const char **why)
{
    assert_ptr_equal(arg, &t);
    assert_true(strcmp(host_node, "host1") == 0 || strcmp(host_node, "host2") == 0);
    assert_int_not_equal(peer, REMOTE + 1);
    *ctx = &t;
    *why = "not today";
    return t.refuse ? ERR_DENIED : OK;
}

static void boot_host(void)
{
    sim_boot(HOST, "host1");
    sim_on(HOST);
    assert_int_equal(link_connect(REMOTE + 1, "disk1", &host_events, &t, &t.host), OK);
}
static void boot_remote(void)
{
    t.remote = NULL;
    sim_boot(REMOTE, "disk1");
    sim_on(REMOTE);
    link_listen(&remote_events, accept_host, &t);
}
static void begin(uint64_t seed)
{
    memset(&t, 0, sizeof t);
    t.batch = 4;
    sim_start(seed);
    boot_remote();
    boot_host();
}

/// Asks and writes as long as the link takes it, at random.
static void traffic(void)
{
    if (t.host == NULL || link_state(t.host) == LINK_CONNECTING)
        return;
    for (unsigned i = 0; i < t.batch && t.asked + t.writes_sent < t.limit; i++) {
        struct wire_access a = {.size = 4};
        struct wire_record r = {.function = 1};
        enum status s;
        sim_on(HOST);
        if (sim_random() % 2 == 0) {
            r.type = REC_MRD;
            r.tag = (uint16_t)t.asked;
            a.size = (uint16_t)payload_size(t.asked);
            a.offset = t.asked;
            s = link_send(t.host, &r, &a, sizeof a, NULL, 0);
            t.asked += s == OK;
        } else {
            uint8_t data[256] = {0};
            memcpy(data, &t.writes_sent, 4);
            r.type = REC_MWR;
            a.size = (uint16_t)payload_size(t.writes_sent);
            s = link_send(t.host, &r, &a, sizeof a, data, a.size);
            t.writes_sent += s == OK;
        }
        assert_true(s == OK || s == ERR_BUSY);
        if (s == ERR_BUSY)
            break;
        if (sim_random() % 3 == 0)
            link_flush(t.host);
    }
    link_flush(t.host);
}

static void all_arrived(void)
{
    assert_int_equal(t.asked + t.writes_sent, t.limit);
    assert_int_equal(t.answered, t.asked);
    assert_int_equal(t.executed, t.asked);
    assert_int_equal(t.writes_seen, t.writes_sent);
    assert_int_equal(t.downs, 0);
}

static void test_clean(void **state)
{
    (void)state;
    begin(1);
    t.limit = 5000;
    sim_run(3000 * MS, 1 * MS, traffic);
    all_arrived();
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
    begin(2);
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
    begin(3);
    sim_run(10 * MS, MS, NULL);
    uint64_t h = sim_nodes[HOST].frames_out;
    for (unsigned i = 0; i < 10; i++) {
        uint8_t data[256] = {0};
        memcpy(data, &i, 4);
        struct wire_access a = {.size = (uint16_t)payload_size(i)};
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
            begin(seed + k * 100);
            sim_faults = kinds[k];
            sim_nodes[HOST].frame_max = seed % 3 == 0 ? WIRE_FRAME_MIN : LINK_FRAME_BYTES;
            sim_nodes[REMOTE].frame_max = seed % 4 == 0 ? 900 : LINK_FRAME_BYTES;
            sim_delay_ns = seed % 2 == 0 ? 100000 : 2 * MS;
            t.limit = 2000;
            t.batch = 1 + (unsigned)(seed % 5) * 30;
            for (unsigned s = 0; s < 240 && (t.answered != t.asked || t.asked + t.writes_sent != t.limit ||
                                             t.writes_seen != t.writes_sent);
                 s++)
                sim_run(500 * MS, 1 * MS, traffic);
            all_arrived();
            sim_stop();
        }
    }
}

static void test_completion_comes_from_the_cache(void **state)
{
    (void)state;
    begin(4);
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
    sim_run(60 * MS, MS, NULL);
    assert_int_equal(t.answered, 2);
    assert_int_equal(t.executed, 2);
    assert_true(link_stats(t.remote).retransmitted >= 1);
    sim_stop();
}

/// Frames of one flush leave in the same instant; one that is lost is missed without waiting for a time-out.
static void test_loss_within_one_flush(void **state)
{
    (void)state;
    begin(22);
    sim_run(10 * MS, MS, NULL);
    for (unsigned lost = 0; lost < 3; lost++) {
        unsigned first = t.writes_sent;
        sim_on(HOST);
        while (t.writes_sent < first + 4) {
            uint8_t data[256] = {0};
            memcpy(data, &t.writes_sent, 4);
            struct wire_access a = {.size = (uint16_t)payload_size(t.writes_sent)};
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
    begin(23);
    sim_run(10 * MS, MS, NULL);
    t.host->events = &(struct link_events){host_up, flood_record, on_frozen, on_resumed, host_down};
    t.remote->events = &(struct link_events){remote_up, flood_record, on_frozen, on_resumed, remote_down};
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

static void test_both_start_orders(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    sim_start(5);
    boot_host(); // nobody there yet
    sim_run(4000 * MS, 10 * MS, NULL);
    assert_int_equal(t.ups, 0);
    assert_int_equal(link_state(t.host), LINK_CONNECTING);
    boot_remote();
    sim_run(600 * MS, 10 * MS, NULL);
    assert_int_equal(t.ups, 1);
    assert_int_equal(t.remote_ups, 1);
    sim_stop();

    begin(6); // remote first
    sim_run(5 * MS, MS, NULL);
    assert_int_equal(t.ups, 1);
    sim_stop();
}

static void test_hello_is_repeated(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 40; seed++) {
        begin(seed);
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
    for (unsigned silent = 0; silent < 2; silent++) {
        begin(7 + silent);
        t.limit = 100;
        sim_run(200 * MS, MS, traffic);
        all_arrived();
        uint32_t epoch = t.host->epoch;
        boot_remote();
        uint64_t start = time_ns();
        if (silent == 0) { // the next keepalive or request is answered by BYE
            sim_run(700 * MS, MS, NULL);
        } else { // or its announcement comes first
            sim_on(HOST);
            link_peer_announced("disk1", REMOTE + 1, sim_nodes[REMOTE].link->boot_id);
            sim_run(60 * MS, MS, NULL);
        }
        assert_int_equal(t.downs, 1);
        assert_int_equal(t.ups, 2);
        assert_int_not_equal(t.host->epoch, epoch);
        assert_int_equal(link_state(t.host), LINK_UP);
        assert_true(time_ns() - start < 1000 * MS);
        t.limit = 100;
        sim_run(200 * MS, MS, traffic);
        assert_int_equal(t.answered, t.asked);
        assert_int_equal(t.writes_seen, t.writes_sent);
        sim_stop();
    }
}

static void test_host_restarts(void **state)
{
    (void)state;
    begin(9);
    t.limit = 100;
    sim_run(200 * MS, MS, traffic);
    boot_host();
    sim_run(20 * MS, MS, NULL);
    assert_int_equal(t.remote_downs, 1);
    assert_int_equal(t.remote_ups, 2);
    assert_int_equal(link_state(t.host), LINK_UP);
    assert_int_equal(link_state(t.remote), LINK_UP);
    sim_run(200 * MS, MS, traffic);
    assert_int_equal(t.answered, t.asked);
    sim_stop();
}

static void test_cable(void **state)
{
    (void)state;
    begin(10);
    t.limit = 1000000;
    sim_run(100 * MS, MS, traffic);
    sim_nodes[REMOTE].cable = false;
    sim_run(1000 * MS, MS, traffic); // shorter than the grace period: nothing is lost
    assert_int_equal(t.frozen, 1);
    assert_int_equal(link_state(t.host), LINK_FROZEN);
    assert_int_equal(link_state(t.remote), LINK_UP);
    sim_nodes[REMOTE].cable = true;
    sim_run(1000 * MS, MS, traffic);
    assert_int_equal(t.downs, 0);
    assert_true(t.resumed >= 1);
    t.limit = t.asked + t.writes_sent;
    sim_run(1000 * MS, MS, traffic);
    all_arrived();

    // longer: down within silence + grace, and up again when it is back
    t.limit = 1000000;
    sim_nodes[REMOTE].cable = false;
    sim_run((LINK_SILENCE_WAITING_MS + LINK_GRACE_MS + 50) * MS, MS, traffic);
    assert_int_equal(t.downs, 1);
    assert_string_equal(t.why, "silent for longer than the grace period");
    assert_int_equal(link_state(t.host), LINK_CONNECTING);
    struct wire_access a = {.size = 4};
    struct wire_record r = {.type = REC_MRD, .function = 1};
    assert_int_equal(link_send(t.host, &r, &a, sizeof a, NULL, 0), ERR_LINK_DOWN);
    sim_run(LINK_SILENCE_MS * MS, 10 * MS, traffic);
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
    begin(11);
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

static void test_window_full(void **state)
{
    (void)state;
    begin(12);
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
    begin(13);
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

static void test_refused(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    t.refuse = true;
    sim_start(14);
    boot_remote();
    boot_host();
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
    link_listen(&remote_events, accept_host, &t);
    t.ups = 0;
    boot_host();
    sim_run(100 * MS, 10 * MS, NULL);
    assert_int_equal(t.ups, 0);
    assert_string_equal(host_log_last(), "link: disk1 (2.0.0.0) refuses the link: this is another node");
    sim_stop();
}

static void test_two_hosts_of_one_name(void **state)
{
    (void)state;
    begin(16);
    sim_run(20 * MS, MS, NULL);
    sim_boot(2, "host1");
    sim_on(2);
    struct link *second;
    assert_int_equal(link_connect(REMOTE + 1, "disk1", &host_events, &t, &second), OK);
    sim_run(3000 * MS, 10 * MS, NULL);
    assert_int_equal(t.ups, 1);
    assert_int_equal(t.downs, 0);
    assert_int_equal(link_state(second), LINK_CONNECTING);
    sim_nodes[HOST].cable = false; // the first one is gone: then the second may
    sim_run(3000 * MS, 10 * MS, NULL);
    assert_int_equal(link_state(second), LINK_UP);
    sim_stop();
}

static void test_pool(void **state)
{
    (void)state;
    begin(17);
    struct link *l[LINK_POOL];
    sim_on(HOST);
    for (unsigned i = 1; i < LINK_POOL; i++)
        assert_int_equal(link_connect(77, "elsewhere", &host_events, &t, &l[i]), OK);
    assert_int_equal(link_connect(77, "elsewhere", &host_events, &t, &l[0]), ERR_NOMEM);
    link_close(l[3], "not needed");
    assert_int_equal(link_connect(77, "elsewhere", &host_events, &t, &l[0]), OK);
    assert_ptr_equal(l[0], l[3]);
    assert_non_null(link_get(LINK_POOL - 1));
    assert_null(link_get(LINK_POOL));
    sim_stop();
}

static void test_close_and_again(void **state)
{
    (void)state;
    begin(18);
    sim_run(20 * MS, MS, NULL);
    sim_on(HOST);
    link_close(t.host, "done");
    sim_run(20 * MS, MS, NULL);
    assert_int_equal(t.remote_downs, 1);
    assert_int_equal(t.downs, 0);
    sim_on(HOST);
    assert_int_equal(link_connect(REMOTE + 1, "disk1", &host_events, &t, &t.host), OK);
    sim_run(20 * MS, MS, NULL);
    assert_int_equal(t.ups, 2);
    // without a BYE, as if it had been lost: the remote still has the old session
    link_give(t.host);
    sim_on(HOST);
    assert_int_equal(link_connect(REMOTE + 1, "disk1", &host_events, &t, &t.host), OK);
    sim_run(20 * MS, MS, NULL);
    assert_int_equal(t.ups, 3);
    assert_int_equal(t.remote_downs, 2);
    sim_stop();
}

/// Sequence numbers wrap like any counter.
static void test_sequence_wraps(void **state)
{
    (void)state;
    begin(19);
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
    sim_run(20000 * MS, MS, traffic);
    all_arrived();
    assert_true(t.host->una < 0x10000);
    sim_stop();
}

/// A peer that acknowledges what was never sent, or sends records that are none, is counted and changes
/// nothing.
static void test_lies(void **state)
{
    (void)state;
    begin(20);
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
    static const struct link_events closing = {remote_up, closing_record, on_frozen, on_resumed, remote_down};
    begin(21);
    sim_on(REMOTE);
    link_listen(&closing, accept_host, &t);
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
        cmocka_unit_test(test_clean),
        cmocka_unit_test(test_frames_of_one_read),
        cmocka_unit_test(test_posted_write_is_not_delayed),
        cmocka_unit_test(test_bad_networks),
        cmocka_unit_test(test_completion_comes_from_the_cache),
        cmocka_unit_test(test_loss_within_one_flush),
        cmocka_unit_test(test_flood_of_reads),
        cmocka_unit_test(test_both_start_orders),
        cmocka_unit_test(test_hello_is_repeated),
        cmocka_unit_test(test_remote_restarts),
        cmocka_unit_test(test_host_restarts),
        cmocka_unit_test(test_cable),
        cmocka_unit_test(test_idle_link_lives),
        cmocka_unit_test(test_window_full),
        cmocka_unit_test(test_sizes_and_nonsense),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_two_hosts_of_one_name),
        cmocka_unit_test(test_pool),
        cmocka_unit_test(test_close_and_again),
        cmocka_unit_test(test_sequence_wraps),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_close_in_callback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
