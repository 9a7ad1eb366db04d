// SPDX-License-Identifier: BSD-2-Clause
// LINK: remote-fw/server.c remote-fw/completions.c remote-fw/mastering.c remote-fw/dma_slots.c
// LINK: remote-fw/dma_round.c remote-fw/dma_diff.c remote-fw/executor.c remote-fw/functions.c
//
// LINK: remote-fw/config_mask.c remote-fw/interrupts.c remote-fw/reset.c remote-fw/lending.c net/wire.c
//
// Claims, releases, credits and completions of the remote, over a link that is played by this file.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four above
#include "remote-fw/server.h"
#include "rt/boot_info.h"
#include "tests/unit/host/host.h"
#include "tests/unit/mock_function.h"
#include <cmocka.h>

#define MS       1000000ull
#define SENT_MAX 1024
#include "tests/unit/net/told.h"

static unsigned announced;
static struct link links[16];
static const struct announcement *announcement;
static struct functions table;
static struct mock_device nvme, edu;

void discovery_announce(const struct announcement *what, uint32_t unicast_to)
{
    assert_int_equal(unicast_to, 0x01020304);
    announcement = what;
    announced++;
}

// --- helpers ---

static struct link *connect_host(unsigned i, const char *node)
{
    const char *why = NULL;
    links[i] = (struct link){.room = 100000};
    assert_int_equal(accept_host(NULL, node, 0x0100000a + i, &links[i].ctx, &why), OK);
    events->up(links[i].ctx, &links[i]);
    return &links[i];
}

static void settle(void)
{
    for (unsigned ms = 0; ms < 400; ms++) {
        host_time_advance_ns(MS);
        server_poll();
    }
}

static void send_record(struct link *link, uint8_t type, uint16_t handle, uint16_t tag, const void *body,
                        size_t size)
{
    struct wire_record rec = {
        .type = type, .function = handle, .tag = tag, .length = (uint16_t)(sizeof rec + size)};
    events->record(link->ctx, link, &rec, body, size);
}

static void ask_attach(struct link *link, uint8_t slot, uint16_t tag)
{
    struct wire_attach a = {{0, 0, (uint8_t)(slot << 3)}};
    send_record(link, REC_ATTACH, 0, tag, &a, sizeof a);
}

static void expect(unsigned i, struct link *link, uint8_t type, uint8_t status, uint16_t tag)
{
    assert_true(i < sent_count);
    assert_ptr_equal(sent[i].link, link);
    assert_int_equal(sent[i].rec.type, type);
    assert_int_equal(sent[i].rec.status, status);
    assert_int_equal(sent[i].rec.tag, tag);
}

static uint16_t attached(struct link *link, uint8_t slot)
{
    struct wire_attached a;
    sent_count = 0;
    ask_attach(link, slot, 77);
    settle();
    expect(0, link, REC_CPLD, CPL_SC, 77);
    assert_int_equal(sent[0].size, sizeof a);
    memcpy(&a, sent[0].body, sizeof a);
    assert_int_equal(a.credits, FUNCTION_CREDITS);
    assert_int_equal(a.info.at.devfn, slot << 3);
    sent_count = 0;
    return a.handle;
}

static void mrd(struct link *link, uint16_t handle, uint16_t tag)
{
    struct wire_access a = {.bar = 0, .size = 8};
    send_record(link, REC_MRD, handle, tag, &a, sizeof a);
}

static void mwr(struct link *link, uint16_t handle)
{
    uint8_t body[sizeof(struct wire_access) + 4] = {0};
    struct wire_access a = {.bar = 3, .size = 4};
    memcpy(body, &a, sizeof a);
    send_record(link, REC_MWR, handle, 0, body, sizeof body);
}

static int setup(void **state)
{
    (void)state;
    memset(&table, 0, sizeof table);
    host_time_set_ns(0);
    mock_lend(&table, &nvme, 4);
    mock_lend(&table, &edu, 5);
    nvme.decoding_checked = edu.decoding_checked = true;
    sent_count = flushes = announced = 0;
    server_start(&table, "disk1", 0x01020304);
    return 0;
}

// --- tests ---

static void start_resets_and_announces(void **state)
{
    (void)state;
    assert_int_equal(announced, 1);
    assert_string_equal(announcement->node, "disk1");
    assert_int_equal(announcement->function_count, 2);
    assert_int_equal(mock_get(&nvme, 4, 2) & 7, 0); // whatever the firmware left running is off at once
    settle();
    assert_int_equal(nvme.resets, 1);
    assert_int_equal(table.all[0].state, FUNCTION_FREE);
    assert_int_equal(announced, 1);
}

static void attach_read_detach(void **state)
{
    struct link *h = connect_host(0, "alpha");
    (void)state;
    settle();
    uint16_t handle = attached(h, 4);
    assert_int_equal(nvme.resets, 1); // it was clean
    assert_int_equal(announced, 2);
    assert_int_equal(announcement->functions[0].flags & WIRE_FN_BUSY, WIRE_FN_BUSY);
    nvme.bar0[0] = 0x5a;
    mrd(h, handle, 9);
    expect(0, h, REC_CPLD, CPL_SC, 9);
    assert_int_equal(sent[0].size, 8);
    assert_int_equal(sent[0].body[0], 0x5a);
    send_record(h, REC_DETACH, handle, 10, NULL, 0);
    expect(1, h, REC_CPL, CPL_SC, 10);
    assert_int_equal(mock_get(&nvme, 4, 2) & 7, 0);
    mrd(h, handle, 11);
    expect(2, h, REC_CPL, CPL_UR, 11);
    settle();
    assert_int_equal(nvme.resets, 2);
    assert_int_equal(announcement->functions[0].flags & WIRE_FN_BUSY, 0);
    assert_true(flushes > 0);
}

/// A host that takes a function and gives it back, for ever: others do not wait for our console.
static void few_words_for_much_ado(void **state)
{
    struct link *h = connect_host(0, "alpha");
    (void)state;
    settle();
    unsigned before = host_log_count();
    uint64_t since = time_ns();
    for (unsigned i = 0; i < 300; i++)
        send_record(h, REC_DETACH, attached(h, 4), 10, NULL, 0);
    assert_in_range(host_log_count() - before, 17, 18 + (time_ns() - since) / 1000000000);
}

static void attach_during_reset_waits_for_it(void **state)
{
    struct link *h = connect_host(0, "alpha");
    (void)state;
    ask_attach(h, 4, 1); // right after the start: the first reset still runs
    assert_int_equal(sent_count, 0);
    settle();
    expect(0, h, REC_CPLD, CPL_SC, 1);
    assert_int_equal(nvme.resets, 1);
    assert_int_equal(mock_get(&nvme, 4, 2) & 7, 3);
}

static void second_host_hears_the_owner(void **state)
{
    struct link *a = connect_host(0, "alpha"), *b = connect_host(1, "beta");
    (void)state;
    settle();
    uint16_t handle = attached(a, 4);
    ask_attach(b, 4, 5);
    expect(0, b, REC_CPLD, CPL_OWNED, 5);
    assert_int_equal(sent[0].size, 5);
    assert_memory_equal(sent[0].body, "alpha", 5);
    mrd(b, handle, 6); // guessed
    expect(1, b, REC_CPL, CPL_UR, 6);
    send_record(b, REC_RESET, handle, 7, NULL, 0);
    expect(2, b, REC_CPL, CPL_UR, 7);
    send_record(b, REC_DETACH, handle, 8, NULL, 0);
    expect(3, b, REC_CPL, CPL_UR, 8);
    mrd(a, handle, 9);
    expect(4, a, REC_CPLD, CPL_SC, 9);
    (void)attached(b, 5); // another function is free
    ask_attach(a, 4, 10); // the owner itself
    expect(0, a, REC_CPLD, CPL_OWNED, 10);
}

static void what_is_not_lent_is_not_attached(void **state)
{
    struct link *h = connect_host(0, "alpha");
    struct wire_attach wanted = {{1, 0, 0x20}};
    (void)state;
    ask_attach(h, 9, 1);
    expect(0, h, REC_CPL, CPL_NOT_LENT, 1);
    send_record(h, REC_ATTACH, 0, 2, &wanted, sizeof wanted); // another segment
    expect(1, h, REC_CPL, CPL_NOT_LENT, 2);
    send_record(h, REC_ATTACH, 0, 3, &wanted, sizeof wanted - 1);
    expect(2, h, REC_CPL, CPL_UR, 3);
}

static void lent_to_some_hosts_only(void **state)
{
    static const struct boot_lend terms = {.to_count = 2, .to = {"beta", "gamma"}};
    (void)state;
    table.all[0].terms = &terms;
    struct link *a = connect_host(0, "alpha"), *b = connect_host(1, "beta");
    settle();
    ask_attach(a, 4, 1);
    expect(0, a, REC_CPL, CPL_DENIED, 1);
    assert_non_null(
        strstr(host_log_last(), "asked for by host \"alpha\": its 'lend' line names other hosts"));
    assert_null(table.all[0].owner);
    (void)attached(a, 5); // of the other one nothing is said
    (void)attached(b, 4);
    ask_attach(a, 4, 2); // not even who has it
    expect(0, a, REC_CPL, CPL_DENIED, 2);
    assert_int_equal(sent[0].size, 0);
    events->down(b->ctx, b, "gone");
    settle();
    ask_attach(a, 4, 3);
    expect(1, a, REC_CPL, CPL_DENIED, 3);
}

static void a_host_that_asks_for_ever_is_not_heard_for_ever(void **state)
{
    struct link *h = connect_host(0, "alpha");
    (void)state;
    settle();
    unsigned before = host_log_count();
    for (unsigned i = 0; i < 1000; i++) {
        sent_count = 0;
        ask_attach(h, 9, 1);
        expect(0, h, REC_CPL, CPL_NOT_LENT, 1);
    }
    assert_int_equal(host_log_count() - before, 16 + 5); // and the 32nd to the 512th
    assert_int_equal(server_host_at(0)->refused, 1000);
}

static void link_down_frees_and_resets(void **state)
{
    struct link *a = connect_host(0, "alpha"), *b = connect_host(1, "beta");
    (void)state;
    settle();
    uint16_t handle = attached(a, 4);
    events->down(a->ctx, a, "grace period ran out");
    assert_int_equal(mock_get(&nvme, 4, 2) & 7, 0);
    ask_attach(b, 4, 5);
    assert_int_equal(sent_count, 0); // not before it is reset
    settle();
    assert_int_equal(nvme.resets, 2);
    expect(0, b, REC_CPLD, CPL_SC, 5);
    assert_true(table.all[0].handle != handle);
    assert_null(server_host_at(0));
    a = connect_host(0, "alpha");
    mrd(a, handle, 6);
    expect(1, a, REC_CPL, CPL_UR, 6);
}

static void reset_is_completed_when_done(void **state)
{
    struct link *h = connect_host(0, "alpha");
    (void)state;
    settle();
    uint16_t handle = attached(h, 4);
    send_record(h, REC_RESET, handle, 20, NULL, 0);
    assert_int_equal(sent_count, 0);
    send_record(h, REC_RESET, handle, 21, NULL, 0);
    expect(0, h, REC_CPL, CPL_CRS, 21);
    mrd(h, handle, 22);
    expect(1, h, REC_CPL, CPL_UR, 22);
    settle();
    expect(2, h, REC_CPL, CPL_SC, 20);
    assert_int_equal(nvme.resets, 2);
    mrd(h, handle, 23);
    expect(3, h, REC_CPLD, CPL_SC, 23);
}

static void detach_ends_a_reset_that_is_waited_for(void **state)
{
    struct link *h = connect_host(0, "alpha");
    (void)state;
    settle();
    uint16_t handle = attached(h, 4);
    send_record(h, REC_RESET, handle, 20, NULL, 0);
    send_record(h, REC_DETACH, handle, 21, NULL, 0);
    expect(0, h, REC_CPL, CPL_CA, 20);
    expect(1, h, REC_CPL, CPL_SC, 21);
    settle();
    assert_int_equal(sent_count, 2);
    assert_int_equal(table.all[0].state, FUNCTION_FREE);
}

static void function_that_does_not_come_back(void **state)
{
    struct link *h = connect_host(0, "alpha");
    (void)state;
    settle();
    uint16_t handle = attached(h, 4);
    nvme.away = 1000000;
    send_record(h, REC_RESET, handle, 30, NULL, 0);
    for (unsigned i = 0; i < 5; i++)
        settle();
    expect(0, h, REC_CPL, CPL_CA, 30);
    expect(1, h, REC_GONE, 0, 0);
    assert_int_equal(sent[1].rec.function, handle);
    ask_attach(h, 4, 31); // tries again
    for (unsigned i = 0; i < 5; i++)
        settle();
    expect(2, h, REC_CPL, CPL_CA, 31);
    nvme.away = 0;
    (void)attached(h, 4);
}

static void credits_come_back_in_batches(void **state)
{
    struct link *h = connect_host(0, "alpha");
    struct wire_credit credit;
    unsigned returned = 0;
    (void)state;
    settle();
    uint16_t handle = attached(h, 4);
    for (unsigned i = 0; i < FUNCTION_CREDITS_BATCH - 1; i++)
        mwr(h, handle);
    server_poll();
    assert_int_equal(sent_count, 0);
    h->room = 0; // the link is full when the batch is
    mwr(h, handle);
    mwr(h, handle);
    assert_int_equal(sent_count, 0);
    h->room = 100000;
    server_poll();
    assert_int_equal(sent_count, 1);
    for (unsigned i = 0; i < 1000; i++)
        mwr(h, handle);
    for (unsigned i = 0; i < sent_count; i++) {
        assert_int_equal(sent[i].rec.type, REC_CREDIT);
        assert_int_equal(sent[i].rec.function, handle);
        memcpy(&credit, sent[i].body, sizeof credit);
        returned += credit.count;
    }
    assert_int_equal(returned + table.all[0].credits_used, 1000 + FUNCTION_CREDITS_BATCH + 1);
    assert_true(sent_count <= 1 + 1000 / FUNCTION_CREDITS_BATCH + 1);
    assert_int_equal(table.counters.executed[REC_MWR], 1000 + FUNCTION_CREDITS_BATCH + 1);
    // half a batch goes with what leaves anyway, and causes no frame
    while (table.all[0].credits_used)
        mwr(h, handle);
    server_poll();
    sent_count = 0;
    for (unsigned i = 0; i < FUNCTION_CREDITS_BATCH / 2; i++)
        mwr(h, handle);
    server_poll();
    assert_int_equal(sent_count, 0);
    mrd(h, handle, 7);
    server_poll();
    assert_int_equal(sent_count, 2);
    assert_int_equal(sent[1].rec.type, REC_CREDIT);
    assert_int_equal(table.all[0].credits_used, 0);
}

static void full_link_loses_no_completion(void **state)
{
    struct link *h = connect_host(0, "alpha");
    (void)state;
    settle();
    uint16_t handle = attached(h, 4);
    h->room = 3;
    for (uint16_t tag = 0; tag < 40; tag++)
        mrd(h, handle, tag);
    assert_int_equal(sent_count, 3);
    h->room = 2;
    mrd(h, handle, 40); // must not overtake
    server_poll();
    assert_int_equal(sent_count, 5);
    h->room = 100;
    server_poll();
    assert_int_equal(sent_count, 41);
    for (uint16_t tag = 0; tag < 41; tag++)
        expect(tag, h, REC_CPLD, CPL_SC, tag);
    assert_int_equal(server_host_at(0)->completions.peak, 38);
}

static void host_that_takes_no_completions_is_dropped(void **state)
{
    struct link *h = connect_host(0, "alpha");
    (void)state;
    settle();
    uint16_t handle = attached(h, 4);
    h->room = 0;
    for (uint16_t tag = 0; tag < COMPLETIONS_MAX + 10; tag++)
        mrd(h, handle, tag);
    assert_false(h->closed); // not inside the link's own callback
    server_poll();
    assert_true(h->closed);
    assert_null(server_host_at(0));
    assert_null(table.all[0].owner);
    server_poll();
}

static void hosts_beyond_the_limit_are_refused(void **state)
{
    const char *why = NULL;
    void *ctx;
    (void)state;
    for (unsigned i = 0; i < SERVER_HOSTS_MAX; i++)
        connect_host(i, "host");
    assert_int_equal(accept_host(NULL, "late", 1, &ctx, &why), ERR_NOMEM);
    assert_non_null(why);
    events->down(links[3].ctx, &links[3], "gone");
    connect_host(3, "late");
}

static void power_off_ends_all_links(void **state)
{
    struct link *a = connect_host(0, "alpha"), *b = connect_host(1, "beta");
    (void)state;
    settle();
    (void)attached(b, 5);
    server_stop("off");
    assert_true(a->closed && b->closed);
    assert_null(table.all[1].owner);
    assert_int_equal(mock_get(&edu, 4, 2) & 7, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(start_resets_and_announces, setup),
        cmocka_unit_test_setup(attach_read_detach, setup),
        cmocka_unit_test_setup(few_words_for_much_ado, setup),
        cmocka_unit_test_setup(attach_during_reset_waits_for_it, setup),
        cmocka_unit_test_setup(second_host_hears_the_owner, setup),
        cmocka_unit_test_setup(what_is_not_lent_is_not_attached, setup),
        cmocka_unit_test_setup(lent_to_some_hosts_only, setup),
        cmocka_unit_test_setup(a_host_that_asks_for_ever_is_not_heard_for_ever, setup),
        cmocka_unit_test_setup(link_down_frees_and_resets, setup),
        cmocka_unit_test_setup(reset_is_completed_when_done, setup),
        cmocka_unit_test_setup(detach_ends_a_reset_that_is_waited_for, setup),
        cmocka_unit_test_setup(function_that_does_not_come_back, setup),
        cmocka_unit_test_setup(credits_come_back_in_batches, setup),
        cmocka_unit_test_setup(full_link_loses_no_completion, setup),
        cmocka_unit_test_setup(host_that_takes_no_completions_is_dropped, setup),
        cmocka_unit_test_setup(hosts_beyond_the_limit_are_refused, setup),
        cmocka_unit_test_setup(power_off_ends_all_links, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
