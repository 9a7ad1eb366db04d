// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/bus/guests.c hv/bus/ports.c hv/platform/root_port.c drivers/pci_class.c
// LINK: hv/bus/assoc.c hv/bus/attach.c hv/bus/config_view.c hv/bus/remote_fn.c hv/bus/report.c
// LINK: hv/bus/mirror_slots.c hv/bus/mirror_content.c hv/bus/mirror_map.c hv/bus/mirror_sync.c
// LINK: hv/platform/iommu.c hv/platform/iommu_fault.c hv/platform/iommu_queue.c hv/platform/iommu_walk.c
// LINK: hv/bus/interrupts.c hv/bus/transact.c hv/platform/io_space.c hv/platform/pci_host.c net/wire.c
// Transactions: every way one can end, and what a hostile remote can try.
#include "tests/unit/bus_fixture.h"
#include <setjmp.h>
#include <stdarg.h>
// cmocka wants these first
#include <cmocka.h>

static struct remote_fn *fn;

static int setup(void **state)
{
    (void)state;
    fixture_attached();
    fn = fn_of(0);
    for (unsigned i = 0; i < 64; i++)
        fake.fns[0].bar[0][i] = (uint8_t)i;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_end();
    return 0;
}

static uint64_t read4(void)
{
    return transact_read(fn, REC_MRD, 0, 0x10, 4);
}
#define VALUE 0x13121110u

static void test_one_round_trip(void **state)
{
    (void)state;
    assert_int_equal(read4(), VALUE);
    assert_int_equal(fake.frames, 1);
    assert_int_equal(fake.polls, 1);
    struct bus_counters c = bus_counters();
    assert_int_equal(c.requests[REC_MRD], 1);
    assert_int_equal(c.completions, 1);
    assert_int_equal(c.all_ones, 0);
}

static void test_unsupported_request(void **state)
{
    (void)state;
    fake.answer_status = CPL_UR;
    assert_int_equal(read4(), 0xffffffff);
    assert_int_equal(transact_read(fn, REC_MRD, 0, 0, 8), ~0ull);
    assert_int_equal(transact_read(fn, REC_MRD, 0, 0, 1), 0xff);
    fake.answer_status = CPL_CA;
    assert_int_equal(read4(), 0xffffffff);
    assert_int_equal(bus_counters().unsupported, 4);
    assert_int_equal(bus_counters().all_ones, 4);
    assert_int_equal(fake.waits, 0);
}

static void test_retry(void **state)
{
    (void)state;
    fake.fns[0].crs = 3;
    assert_int_equal(transact_read(fn, REC_CFG_RD, 0, 0xb4, 4), 0xdeadbeef);
    assert_int_equal(bus_counters().retried, 3);
    fake.fns[0].crs = ~0u; // for ever: ends with the timeout
    assert_int_equal(transact_read(fn, REC_CFG_RD, 0, 0xb4, 4), 0xffffffff);
    assert_true(time_ns() >= BUS_COMPLETION_TIMEOUT_MS * 1000000ull);
    fake.fns[0].crs = 0;
}

static void test_timeout(void **state)
{
    (void)state;
    uint64_t start = time_ns();
    fake.silent = true;
    assert_int_equal(read4(), 0xffffffff);
    assert_in_range(time_ns() - start, BUS_COMPLETION_TIMEOUT_MS * 1000000ull,
                    (BUS_COMPLETION_TIMEOUT_MS + 10) * 1000000ull);
    assert_int_equal(bus_counters().timeouts, 1);
    assert_true(fake.hooks > 100); // the console lived
    fake.silent = false;
    assert_int_equal(read4(), VALUE);
    // the answer comes after all: nobody's
    net_lock();
    fake_deliver((struct wire_record){.type = REC_CPLD,
                                      .function = fn->handle,
                                      .tag = (uint16_t)(fn->remote->next_tag - 2)},
                 "abcd", 4);
    net_unlock();
    assert_int_equal(bus_counters().unexpected, 1);
    assert_int_equal(read4(), VALUE);
}

static void lose_link(void *who)
{
    fake_hook(who);
    if (fake.link.state == LINK_UP && fake.hooks > 5)
        fake_down("cable");
}

static void test_link_lost_while_waiting(void **state)
{
    (void)state;
    uint64_t start = time_ns();
    fake.silent = true;
    fake.hooks = 0;
    fake_wait(lose_link);
    assert_int_equal(read4(), 0xffffffff);
    assert_true(time_ns() - start < 100000000);
    assert_int_equal(bus_counters().link_lost, 1);
    assert_int_equal(bus_counters().timeouts, 0);
}

static unsigned woken;
static int waiter;

static void *one_who_waits(void)
{
    return &waiter;
}

static void count_wake(void *who)
{
    assert_true(!who || who == &waiter);
    woken += who ? 1 : 100;
}

/// Another CPU polls the network, and the answer is there.
static void answer_elsewhere(void *who)
{
    assert_ptr_equal(who, &waiter);
    assert_int_equal(woken, 0);
    net_lock();
    fake_deliver((struct wire_record){.type = REC_CPLD,
                                      .function = fn->handle,
                                      .tag = (uint16_t)(fn->remote->next_tag - 1)},
                 "abcd", 4);
    net_unlock();
}

/// The guest gives way; who takes the completion calls it, and what the others ran is no waiting.
static void test_others_run_meanwhile(void **state)
{
    (void)state;
    static const struct bus_waits waits = {
        .who = one_who_waits, .wait = answer_elsewhere, .wake = count_wake};
    fake.silent = true;
    bus_set_waits(&waits);
    woken = 0;
    uint64_t waited = bus_counters().waited_ns;
    assert_int_equal(read4(), 0x64636261);
    assert_int_equal(woken, 1);
    assert_int_equal(bus_counters().waited_ns, waited);
    net_lock();
    bus_polled(1); // nobody waits any more
    net_unlock();
    assert_int_equal(woken, 1);
    fake_wait(fake_hook);
}

static void credit_elsewhere(void *who)
{
    struct wire_credit c = {.count = 1};
    assert_ptr_equal(who, &waiter);
    net_lock();
    bus_polled(0);
    assert_int_equal(woken, 0); // nothing came
    bus_polled(1);
    bus_polled(1); // not for each frame
    assert_int_equal(woken, 100);
    fake_deliver((struct wire_record){.type = REC_CREDIT, .function = fn->handle}, &c, sizeof c);
    net_unlock();
}

static void test_whoever_polls_calls_those_who_wait_for_credit(void **state)
{
    (void)state;
    static const struct bus_waits waits = {
        .who = one_who_waits, .wait = credit_elsewhere, .wake = count_wake};
    host_time_advance_ns(1000000);
    woken = 0;
    net_lock();
    bus_polled(1);
    net_unlock();
    assert_int_equal(woken, 0); // nobody waits
    fake.keep_credits = true;
    while (fn->credits)
        transact_write(fn, REC_MWR, 0, 0, 4, 1);
    bus_set_waits(&waits);
    uint64_t dropped = bus_counters().posted_dropped;
    transact_write(fn, REC_MWR, 0, 0, 4, 2);
    assert_int_equal(woken, 100);
    assert_int_equal(bus_counters().posted_dropped, dropped);
    fake_wait(fake_hook);
    fake.keep_credits = false;
}

static void return_link(void *who)
{
    fake_hook(who);
    if (fake.hooks == 3)
        fake_down("cable");
    if (fake.hooks == 3) {
        fake.silent = false;
        fake_up();
    }
}

static void test_link_lost_and_back_while_waiting(void **state)
{
    (void)state;
    fake.silent = true;
    fake.hooks = 0;
    fake_wait(return_link);
    assert_int_equal(read4(), 0xffffffff); // of an epoch that is over: never completed by the new one
    fake_wait(fake_hook);
    fake_settle();
    assert_int_equal(read4(), VALUE);
}

static void test_queue_full(void **state)
{
    (void)state;
    fake.busy = 5;
    assert_int_equal(read4(), VALUE);
    assert_int_equal(bus_counters().queue_stalls, 1);
    fake.busy = 3;
    transact_write(fn, REC_MWR, 0, 0x20, 4, 0x55667788);
    fake_settle();
    assert_memory_equal(&fake.fns[0].bar[0][0x20], "\x88\x77\x66\x55", 4);
    fake.busy = ~0u;
    assert_int_equal(read4(), 0xffffffff);
    assert_int_equal(bus_counters().completions, 1);
    fake.busy = 0;
}

static void test_credits(void **state)
{
    (void)state;
    // 8 credits, given back by fours: a hundred writes all arrive, in order
    for (unsigned i = 0; i < 100; i++)
        transact_write(fn, REC_MWR, 0, 0x40 + i, 1, i);
    fake_settle();
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(fake.fns[0].bar[0][0x40 + i], i);
    assert_true(bus_counters().credit_stalls > 0);
    assert_int_equal(bus_counters().posted_dropped, 0);
    assert_int_equal(fake.waits, 0); // stalls end with the answer, not with time
}

static void test_no_credit_ever(void **state)
{
    (void)state;
    fake.keep_credits = true;
    for (unsigned i = 0; i < 8; i++)
        transact_write(fn, REC_MWR, 0, 0x40, 1, i);
    uint64_t start = time_ns();
    transact_write(fn, REC_MWR, 0, 0x40, 1, 0);
    assert_true(time_ns() - start >= BUS_COMPLETION_TIMEOUT_MS * 1000000ull);
    start = time_ns();
    transact_write(fn, REC_MWR, 0, 0x40, 1, 0); // from now on at once
    assert_int_equal(time_ns(), start);
    assert_int_equal(bus_counters().posted_dropped, 2);
    assert_int_equal(read4(), VALUE); // reads need none
    fake.keep_credits = false;
    net_lock();
    fake_return_credits();
    net_unlock();
    fake_forget_counts();
    transact_write(fn, REC_MWR, 0, 0x40, 1, 0x77);
    assert_int_equal(fake.records[REC_MWR], 1);
}

static void test_too_many_credits(void **state)
{
    (void)state;
    struct wire_credit c = {.count = 0xffff};
    net_lock();
    fake_deliver((struct wire_record){.type = REC_CREDIT, .function = fn->handle}, &c, sizeof(c));
    net_unlock();
    assert_int_equal(fn->credits, 8);
    assert_int_equal(bus_counters().malformed, 1);
}

// --- a remote that lies ---

static bool other_size(struct wire_record *rec, uint8_t *body, size_t *size)
{
    (void)rec;
    memset(body, 0x41, 256);
    *size = 256;
    return true;
}

static bool short_size(struct wire_record *rec, uint8_t *body, size_t *size)
{
    (void)rec, (void)body;
    *size = 1;
    return true;
}

static bool no_data(struct wire_record *rec, uint8_t *body, size_t *size)
{
    (void)body;
    rec->type = REC_CPL;
    *size = 0;
    return true;
}

static bool wrong_tag(struct wire_record *rec, uint8_t *body, size_t *size)
{
    (void)body, (void)size;
    rec->tag = (uint16_t)(rec->tag + TAGS); // same slot, another generation
    return true;
}

static bool wrong_function(struct wire_record *rec, uint8_t *body, size_t *size)
{
    (void)body, (void)size;
    rec->function++;
    return true;
}

static bool odd_status(struct wire_record *rec, uint8_t *body, size_t *size)
{
    (void)body;
    rec->type = REC_CPL;
    rec->status = 0x7f;
    *size = 0;
    return true;
}

static void test_lies(void **state)
{
    (void)state;
    static const struct {
        bool (*mutate)(struct wire_record *, uint8_t *, size_t *);
        uint64_t malformed, unexpected, unsupported, timeouts;
    } cases[] = {
        {other_size, 1, 0, 0, 0}, {short_size, 1, 0, 0, 0},     {no_data, 1, 0, 0, 0},
        {wrong_tag, 1, 0, 0, 1},  {wrong_function, 1, 0, 0, 1}, {odd_status, 0, 0, 1, 0},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memset(&bus_counts, 0, sizeof(bus_counts));
        fake.mutate = cases[i].mutate;
        assert_int_equal(read4(), 0xffffffff);
        struct bus_counters c = bus_counters();
        assert_int_equal(c.malformed, cases[i].malformed);
        assert_int_equal(c.unexpected, cases[i].unexpected);
        assert_int_equal(c.unsupported, cases[i].unsupported);
        assert_int_equal(c.timeouts, cases[i].timeouts);
        fake.mutate = NULL;
        assert_int_equal(read4(), VALUE);
    }
}

static void test_twice_completed(void **state)
{
    (void)state;
    assert_int_equal(read4(), VALUE);
    uint16_t tag = (uint16_t)(fn->remote->next_tag - 1);
    net_lock();
    fake_deliver((struct wire_record){.type = REC_CPLD, .function = fn->handle, .tag = tag}, "abcd", 4);
    net_unlock();
    assert_int_equal(bus_counters().malformed, 1);
}

static void completion_of_nothing(void)
{
    fake_deliver((struct wire_record){.type = REC_CPLD, .function = fn->handle, .tag = 77}, "abcd", 4);
}

/// A completion may come after its timeout: as many as there were timeouts, and no more.
static void test_late_completions(void **state)
{
    (void)state;
    fake.silent = true;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(read4(), 0xffffffff);
    fake.silent = false;
    net_lock();
    for (unsigned i = 0; i < 4; i++)
        completion_of_nothing();
    net_unlock();
    assert_int_equal(bus_counters().unexpected, 3);
    assert_int_equal(bus_counters().malformed, 1);
    assert_int_equal(read4(), VALUE);
}

static void credits_of_nothing(void)
{
    struct wire_credit c = {.count = 3};
    fake_deliver((struct wire_record){.type = REC_CREDIT, .function = fn->handle}, &c, sizeof(c));
}

static void credits_cut_short(void)
{
    fake_deliver((struct wire_record){.type = REC_CREDIT, .function = fn->handle}, "ab", 2);
}

static void request_of_a_remote(void)
{
    const struct wire_access access = {.size = 4};
    fake_deliver((struct wire_record){.type = REC_MRD, .function = fn->handle}, &access, sizeof(access));
}

static void wrong_size_answer(void)
{
    fake.mutate = short_size;
    net_unlock();
    assert_int_equal(read4(), 0xffffffff);
    net_lock();
    fake.mutate = NULL;
}

/// One lie is counted; who goes on lying is cut off, with a reason, and gets nothing of the guest any more.
static void test_liar_is_cut_off(void **state)
{
    (void)state;
    static void (*const lies[])(void) = {completion_of_nothing, credits_of_nothing, credits_cut_short,
                                         request_of_a_remote, wrong_size_answer};
    for (unsigned lie = 0; lie < sizeof(lies) / sizeof(lies[0]); lie++) {
        fixture_end();
        fixture_attached();
        fn = fn_of(0);
        net_lock();
        for (unsigned i = 0; i + 1 < REMOTE_OFFENCES_MAX; i++)
            lies[lie]();
        assert_int_equal(fake.cuts, 0);
        assert_int_equal(fn->state, ASSOC_ATTACHED);
        lies[lie]();
        net_unlock();
        assert_int_equal(fake.cuts, 1);
        assert_int_equal(bus_counters().malformed, REMOTE_OFFENCES_MAX);
        assert_int_equal(fn->state, ASSOC_LOST);
        assert_int_equal(fn->remote->offences, 0); // it may do better in another session
        assert_int_equal(read4(), 0xffffffff);
    }
}

static void test_tags_do_not_run_out(void **state)
{
    (void)state;
    fake.silent = true;
    host_time_set_ns(0);
    for (unsigned i = 0; i < 3 * TAGS; i++)
        assert_int_equal(read4(), 0xffffffff);
    fake.silent = false;
    assert_int_equal(read4(), VALUE);
}

static void test_events(void **state)
{
    (void)state;
    struct wire_msi msi = {.vector = 3};
    struct wire_error error = {.severity = 2};
    net_lock();
    fake_deliver((struct wire_record){.type = REC_MSI, .function = fn->handle}, &msi, sizeof(msi));
    fake_deliver((struct wire_record){.type = REC_ERROR, .function = fn->handle}, &error, sizeof(error));
    fake_deliver((struct wire_record){.type = REC_MSI, .function = 200}, &msi, sizeof(msi));
    fake_deliver((struct wire_record){.type = REC_MRD, .function = fn->handle}, NULL, 0);
    net_unlock();
    assert_int_equal(bus_counters().interrupts, 0); // not enabled
    assert_int_equal(bus_counters().interrupts_dropped, 1);
    assert_int_equal(bus_counters().errors, 1);
    assert_int_equal(bus_counters().unexpected, 1);
    assert_int_equal(bus_counters().malformed, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_one_round_trip),
        T(test_unsupported_request),
        T(test_retry),
        T(test_timeout),
        T(test_link_lost_while_waiting),
        T(test_link_lost_and_back_while_waiting),
        T(test_others_run_meanwhile),
        T(test_whoever_polls_calls_those_who_wait_for_credit),
        T(test_queue_full),
        T(test_credits),
        T(test_no_credit_ever),
        T(test_too_many_credits),
        T(test_lies),
        T(test_twice_completed),
        T(test_late_completions),
        T(test_liar_is_cut_off),
        T(test_tags_do_not_run_out),
        T(test_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
