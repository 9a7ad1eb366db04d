// SPDX-License-Identifier: BSD-2-Clause
// LINK: remote-fw/server.c remote-fw/completions.c remote-fw/mastering.c remote-fw/dma_slots.c
// LINK: remote-fw/dma_round.c remote-fw/dma_diff.c remote-fw/executor.c remote-fw/functions.c
// LINK: remote-fw/config_mask.c remote-fw/interrupts.c remote-fw/reset.c remote-fw/lending.c net/wire.c
//
// Bus mastering of lent functions: who gets how much, what a completion and an interrupt wait for, and that
// nothing is left mapped, enabled or taken. The link, the IOMMU and the function are played by
// mastering_fixture.h.
#include "tests/unit/mastering_fixture.h"

static void who_may(void **state)
{
    struct link *a = connect_host(0, "alpha"), *b = connect_host(1, "beta");
    (void)state;
    uint16_t first = attached(a, 4), second = attached(b, 5), third = attached(a, 6);
    set_master(a, first, true);
    assert_false(masters(&table.all[0])); // before DMA_START
    assert_int_equal(table.all[0].counters.refused[REFUSED_BUS_MASTER], 1);
    send_record(a, REC_DMA_START, third, 5, NULL, 0); // VT-d cannot confine it
    assert_int_equal(sent[0].rec.status, CPL_UR);
    sent_count = 0;
    send_record(b, REC_DMA_START, first, 5, NULL, 0); // not this host's
    assert_int_equal(sent[0].rec.status, CPL_UR);
    no_space = true;
    assert_int_equal(start(a, first), 0);
    assert_int_equal(sent[0].rec.status, CPL_CA);
    no_space = false;
    uint32_t got = start(a, first), rest = start(b, second);
    assert_int_equal(got, 1024 + (PAGES / 2 - 2 * 1024) / 2);
    assert_int_equal(rest, 1024 + (PAGES / 2 - got - 1024) / 2);
    assert_int_equal(mastering_memory().granted, got + rest);
    assert_true(start(a, first) > 0); // again: what it had comes back first
    assert_int_equal(tables, 2);
    set_master(a, first, true);
    assert_true(masters(&table.all[0]));
    want(a, first, INTERRUPTS_MSI);
    want(a, first, INTERRUPTS_OFF);
    assert_true(masters(&table.all[0])); // the guest's bit now
    set_master(a, first, false);
    assert_false(masters(&table.all[0]));
    want(a, first, INTERRUPTS_MSI);
    assert_false(masters(&table.all[0]));
}

static void reset_ends_it(void **state)
{
    struct link *a = connect_host(0, "alpha");
    (void)state;
    uint16_t handle = attached(a, 4);
    assert_true(start(a, handle) > 0);
    give_page(a, handle, 0, 3);
    set_master(a, handle, true);
    mrd(a, handle, 9);
    send_record(a, REC_RESET, handle, 10, NULL, 0);
    assert_null(spaces[0].f);
    assert_false(masters(&table.all[0]));
    assert_int_equal(pages, 0);
    send_record(a, REC_DMA_START, handle, 11, NULL, 0);
    settle();
    assert_int_equal(sent_count, 3); // the read, although no round came; CRS; the reset
    assert_int_equal(sent[0].rec.tag, 9);
    assert_int_equal(sent[1].rec.status, CPL_CRS);
    assert_int_equal(sent[2].rec.tag, 10);
    give_page(a, handle, 0, 3); // belongs to nothing
    assert_int_equal(table.all[0].dma.engine.stats.refused[DMA_NOT_STARTED], 2);
    assert_int_equal(pages, 0);
    assert_true(start(a, handle) > 0);
    give_page(a, handle, 0, 3);
    events->down(a->ctx, a, "cable");
    assert_int_equal(pages, 0);
    assert_null(spaces[0].f);
}

static unsigned writes_when_read(void)
{
    static uint32_t n;
    device_writes(0, 1, 8, ++n); // data
    device_writes(0, 0, 8, n);   // then the ring that speaks of it
    return n;
}

static void completion_is_behind_the_data(void **state)
{
    struct link *a = connect_host(0, "alpha");
    (void)state;
    uint16_t handle = attached(a, 4), other = attached(a, 5);
    assert_true(start(a, handle) > 0);
    give_page(a, handle, 0, 3);
    give_page(a, handle, 1, 2);
    set_master(a, handle, true);
    on_read = writes_when_read;
    mrd(a, handle, 1);
    server_poll();
    assert_string_equal(story(), "DDC"); // the first time: data, and then something that proves to be a ring
    mrd(a, handle, 1);
    server_poll();
    assert_string_equal(story(), "dDC");
    mrd(a, handle, 1);
    mrd(a, handle, 2);
    server_poll();
    assert_string_equal(story(), "dDCC"); // one round for both
    // a full link: nothing overtakes, not even another function's
    a->room = 1;
    mrd(a, handle, 3);
    on_read = NULL;
    mrd(a, other, 4);
    server_poll();
    assert_string_equal(story(), "d");
    server_poll();
    assert_string_equal(story(), "");
    on_read = writes_when_read;
    mrd(a, handle, 5); // executed in a round: waits for the next one
    a->room = 1;
    server_poll();
    assert_string_equal(story(), "DCC");
    a->room = 100;
    server_poll();
    assert_string_equal(story(), "dDC");
    // far more than are kept
    for (uint16_t tag = 0; tag < 100; tag++)
        mrd(a, handle, tag);
    server_poll();
    unsigned completions = 0;
    for (const char *c = story(); *c; c++)
        completions += *c == 'C';
    assert_int_equal(completions, 100);
    assert_false(a->closed);
}

static void interrupt_is_behind_the_data(void **state)
{
    struct link *a = connect_host(0, "alpha");
    (void)state;
    uint16_t handle = attached(a, 4);
    assert_true(start(a, handle) > 0);
    give_page(a, handle, 0, 3);
    give_page(a, handle, 1, 2);
    set_master(a, handle, true);
    want(a, handle, INTERRUPTS_MSI);
    unsigned slot = (unsigned)mock_get(&devices[0], MOCK_MSI + 12, 2) - 0x40;
    device_writes(0, 0, 4, 1);
    mrd(a, handle, 1);
    server_poll();
    assert_string_equal(story(), "DC"); // a ring from now on
    device_writes(0, 1, 0, 1);
    device_writes(0, 0, 0, 1);
    interrupts_raise(slot);
    server_poll();
    assert_string_equal(story(), "dDM");
    // one that came while a round ran has its own, before anything leaves; with what was written meanwhile
    device_writes(0, 1, 0, 7);
    waiting_message = slot;
    mrd(a, handle, 2);
    server_poll();
    assert_string_equal(story(), "DCM");
    // the link is full in the middle; what comes meanwhile belongs to the next round, and is not lost in the
    // first
    device_writes(0, 1, 0, 2);
    device_writes(0, 0, 0, 2);
    interrupts_raise(slot);
    a->room = 1;
    server_poll();
    assert_string_equal(story(), "d");
    device_writes(0, 1, 0, 3);
    device_writes(0, 0, 0, 3);
    interrupts_raise(slot);
    a->room = 1;
    server_poll();
    assert_string_equal(story(), "D");
    a->room = 1;
    server_poll(); // the second is noted, the first waits with it; nothing is told before the data
    assert_string_equal(story(), "d");
    a->room = 100;
    server_poll();
    assert_string_equal(story(), "DM"); // both
    server_poll();
    assert_string_equal(story(), "");
    // an interrupt without data, and one with a completion that cannot go: completions were earlier
    interrupts_raise(slot);
    server_poll();
    assert_string_equal(story(), "M");
    a->answers = 0;
    mrd(a, handle, 1);
    interrupts_raise(slot);
    server_poll();
    assert_string_equal(story(), "");
    a->answers = 10;
    server_poll();
    assert_string_equal(story(), "CM");
}

static void intx_is_behind_the_data(void **state)
{
    struct link *a = connect_host(0, "alpha");
    (void)state;
    uint16_t handle = attached(a, 4);
    assert_true(start(a, handle) > 0);
    give_page(a, handle, 0, 3);
    set_master(a, handle, true);
    want(a, handle, INTERRUPTS_INTX);
    device_writes(0, 0, 0, 1);
    mock_put(&devices[0], 6, 2, 0x18);
    host_time_advance_ns(INTX_LOOK_NS);
    a->room = 1;
    server_poll();
    assert_string_equal(story(), "D");
    mock_put(&devices[0], 6, 2, 0x10); // gone again before it could be told
    a->room = 100;
    server_poll();
    const char *told = story();
    assert_true(!strcmp(told, "I") || !strcmp(told, ""));
    host_time_advance_ns(INTX_LOOK_NS);
    server_poll();
    mock_put(&devices[0], 6, 2, 0x18);
    device_writes(0, 0, 0, 2);
    host_time_advance_ns(INTX_LOOK_NS);
    sent_count = 0;
    server_poll();
    assert_int_equal(sent[sent_count - 1].rec.type, REC_INTX);
    assert_int_equal(sent[sent_count - 1].body[1], 1);
    assert_string_equal(story(), "DI");
}

static void rounds_by_time(void **state)
{
    struct link *a = connect_host(0, "alpha");
    (void)state;
    uint16_t handle = attached(a, 4);
    assert_true(start(a, handle) > 0);
    assert_int_equal(server_looks_ns(10 * MS), 10 * MS); // nothing to look at
    give_page(a, handle, 0, 2);
    assert_int_equal(server_looks_ns(10 * MS), 10 * MS); // nor may it write
    set_master(a, handle, true);
    settle();
    sent_count = 0;
    uint64_t before = table.all[0].dma.engine.stats.rounds;
    for (unsigned us = 0; us < 100000; us += 50) {
        host_time_advance_ns(50000);
        server_poll();
    }
    uint64_t idle = table.all[0].dma.engine.stats.rounds - before;
    assert_in_range(idle, 100 / 8, 100 / 8 + 1); // it got quiet around it
    assert_in_range(server_looks_ns(100 * MS), 0, MASTERING_LATE_NS);
    device_writes(0, 0, 4, 9);
    for (unsigned us = 0; us < 8100 && !sent_count; us += 50) {
        host_time_advance_ns(50000);
        server_poll();
    }
    assert_string_equal(story(), "D");
    device_writes(0, 0, 4, 10); // at work: soon again
    host_time_advance_ns(MASTERING_SOON_NS);
    server_poll();
    assert_string_equal(story(), "D");
    settle();
    assert_true(server_looks_ns(100 * MS) > MASTERING_SOON_NS);
    mastering_touched(&table.all[0], time_ns()); // as is a guest that is there
    assert_in_range(server_looks_ns(100 * MS), 0, MASTERING_SOON_NS);
    set_master(a, handle, false);
    assert_int_equal(server_looks_ns(10 * MS), 10 * MS);
}

/// A function that has much to say does not keep another one from saying little.
static void functions_take_turns(void **state)
{
    struct link *a = connect_host(0, "alpha");
    (void)state;
    uint16_t one = attached(a, 4), two = attached(a, 5);
    assert_true(start(a, one) > 0 && start(a, two) > 0);
    give_page(a, two, 0, 2);
    set_master(a, two, true);
    for (unsigned i = 0; i < 12; i++)
        give_page(a, one, i, 2);
    set_master(a, one, true);
    uint32_t value = 0;
    bool seen = false;
    device_writes(1, 0, 0, 77);
    for (unsigned turn = 0; turn < 8 && !seen; turn++) {
        value++;
        for (unsigned i = 0; i < 12; i++)
            device_writes(0, i, 0, value);
        mrd(a, one, 1);
        a->room = 4;
        host_time_advance_ns(MS);
        server_poll();
        for (unsigned i = 0; i < sent_count; i++)
            seen |= sent[i].rec.type == REC_DMA_DATA && sent[i].rec.function == two;
        sent_count = 0;
    }
    assert_true(seen);
    a->room = 1000;
}

static void faults_are_told_not_flooded(void **state)
{
    struct link *a = connect_host(0, "alpha");
    (void)state;
    uint16_t handle = attached(a, 4);
    faults_left = 3; // nobody wants to know
    host_time_advance_ns(2 * MS);
    server_poll();
    assert_string_equal(story(), "");
    assert_true(start(a, handle) > 0);
    faults_left = 1000;
    unsigned told = 0;
    for (unsigned ms = 0; ms < 100; ms++) {
        host_time_advance_ns(MS);
        server_poll();
        told += (unsigned)strlen(story());
    }
    assert_in_range(told, MASTERING_FAULTS, 2 * MASTERING_FAULTS);
    assert_int_equal(faults_left, 0);
    assert_int_equal(table.all[0].dma.faults, 1003);
    assert_non_null(strstr(host_log_last(), "may master")); // one line for the first, none for the others
}

static void stopped_messages_are_counted_here(void **state)
{
    (void)state;
    struct link *a = connect_host(0, "alpha");
    uint16_t handle = attached(a, 4);
    assert_true(start(a, handle) > 0);
    fault_reason = MASTERING_MESSAGE + 6;
    faults_left = 20;
    for (unsigned ms = 0; ms < 10; ms++) {
        host_time_advance_ns(MS);
        server_poll();
    }
    assert_string_equal(story(), ""); // the host is told nothing: its guest has no such thing
    assert_int_equal(table.all[0].dma.messages, 20);
    assert_int_equal(table.all[0].dma.faults, 0);
    assert_non_null(strstr(host_log_last(), "0000:00:04.0: an interrupt message that is not its own"));
}

static void none_without_a_machine(void **state)
{
    (void)state;
    mastering_start(&table, NULL, &server_mastering_link, PAGES);
    struct link *a = connect_host(0, "alpha");
    uint16_t handle = attached(a, 4);
    send_record(a, REC_DMA_START, handle, 5, NULL, 0);
    assert_int_equal(sent[0].rec.status, CPL_UR);
    assert_non_null(strstr(host_log_last(), "bus mastering refused"));
    server_poll();
    assert_int_equal(server_looks_ns(10 * MS), 10 * MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_may, setup, teardown),
        cmocka_unit_test_setup_teardown(reset_ends_it, setup, teardown),
        cmocka_unit_test_setup_teardown(completion_is_behind_the_data, setup, teardown),
        cmocka_unit_test_setup_teardown(interrupt_is_behind_the_data, setup, teardown),
        cmocka_unit_test_setup_teardown(intx_is_behind_the_data, setup, teardown),
        cmocka_unit_test_setup_teardown(rounds_by_time, setup, teardown),
        cmocka_unit_test_setup_teardown(functions_take_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(faults_are_told_not_flooded, setup, teardown),
        cmocka_unit_test_setup_teardown(stopped_messages_are_counted_here, setup, teardown),
        cmocka_unit_test_setup_teardown(none_without_a_machine, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
