// SPDX-License-Identifier: BSD-2-Clause
// See pair.h.
#include "tests/unit/net/pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
// cmocka needs the four above
#include <cmocka.h>

struct pair_state t;

uint32_t pair_payload_size(uint32_t n)
{
    return n % 7 == 0 ? 256 : n % 3 == 0 ? 8 : 4;
}

void pair_remote_record(void *ctx, struct link *l, const struct wire_record *rec, const void *body,
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
        assert_int_equal(size, sizeof *a + pair_payload_size(n));
        return;
    }
    assert_int_equal(rec->type, REC_MRD);
    assert_int_equal(a->offset, t.executed);
    memset(data, (int)(t.executed & 0xff), sizeof data);
    t.executed++;
    struct wire_record cpl = {.type = REC_CPLD, .function = rec->function, .tag = rec->tag};
    assert_int_equal(link_send(l, &cpl, data, a->size, NULL, 0), OK);
}

void pair_host_record(void *ctx, struct link *l, const struct wire_record *rec, const void *body, size_t size)
{
    assert_ptr_equal(ctx, &t);
    (void)l;
    assert_int_equal(rec->type, REC_CPLD);
    assert_int_equal(rec->tag, (uint16_t)t.answered);
    assert_int_equal(size, pair_payload_size(t.answered));
    for (size_t i = 0; i < size; i++)
        assert_int_equal(((const uint8_t *)body)[i], t.answered & 0xff);
    t.answered++;
}

void pair_host_up(void *ctx, struct link *l)
{
    (void)ctx;
    t.ups++;
    t.host = l;
    t.asked = t.answered = t.writes_sent = 0;
}
void pair_remote_up(void *ctx, struct link *l)
{
    (void)ctx;
    t.remote_ups++;
    t.remote = l;
    t.executed = t.writes_seen = 0;
}
void pair_on_frozen(void *ctx, struct link *l)
{
    (void)ctx;
    (void)l;
    t.frozen++;
}
void pair_on_resumed(void *ctx, struct link *l)
{
    (void)ctx;
    (void)l;
    t.resumed++;
}
void pair_host_down(void *ctx, struct link *l, const char *why)
{
    (void)ctx;
    (void)l;
    t.downs++;
    snprintf(t.why, sizeof t.why, "%s", why);
}
void pair_remote_down(void *ctx, struct link *l, const char *why)
{
    (void)ctx;
    (void)why;
    assert_ptr_equal(l, t.remote);
    t.remote_downs++;
    t.remote = NULL;
}

const struct link_events pair_host_events = {pair_host_up, pair_host_record, pair_on_frozen, pair_on_resumed,
                                             pair_host_down};
const struct link_events pair_remote_events = {pair_remote_up, pair_remote_record, pair_on_frozen,
                                               pair_on_resumed, pair_remote_down};

enum status pair_accept_host(void *arg, const char *host_node, uint32_t peer, void **ctx, const char **why)
{
    assert_ptr_equal(arg, &t);
    assert_true(strcmp(host_node, "host1") == 0 || strcmp(host_node, "host2") == 0);
    assert_int_not_equal(peer, REMOTE + 1);
    *ctx = &t;
    *why = "not today";
    return t.refuse ? ERR_DENIED : OK;
}

void pair_boot_host(void)
{
    sim_boot(HOST, "host1");
    sim_on(HOST);
    assert_int_equal(link_connect(REMOTE + 1, "disk1", &pair_host_events, &t, &t.host), OK);
}
void pair_boot_remote(void)
{
    t.remote = NULL;
    sim_boot(REMOTE, "disk1");
    sim_on(REMOTE);
    link_listen(&pair_remote_events, pair_accept_host, &t);
}
void pair_begin(uint64_t seed)
{
    memset(&t, 0, sizeof t);
    t.batch = 4;
    sim_start(seed);
    pair_boot_remote();
    pair_boot_host();
}

/// Asks and writes as long as the link takes it, at random.
void pair_traffic(void)
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
            a.size = (uint16_t)pair_payload_size(t.asked);
            a.offset = t.asked;
            s = link_send(t.host, &r, &a, sizeof a, NULL, 0);
            t.asked += s == OK;
        } else {
            uint8_t data[256] = {0};
            memcpy(data, &t.writes_sent, 4);
            r.type = REC_MWR;
            a.size = (uint16_t)pair_payload_size(t.writes_sent);
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

void pair_all_arrived(void)
{
    assert_int_equal(t.asked + t.writes_sent, t.limit);
    assert_int_equal(t.answered, t.asked);
    assert_int_equal(t.executed, t.asked);
    assert_int_equal(t.writes_seen, t.writes_sent);
    assert_int_equal(t.downs, 0);
}
