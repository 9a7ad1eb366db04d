// SPDX-License-Identifier: BSD-2-Clause
// LINK: remote-fw/server.c remote-fw/completions.c remote-fw/mastering.c remote-fw/dma_slots.c
// LINK: remote-fw/dma_round.c remote-fw/dma_diff.c remote-fw/executor.c remote-fw/functions.c
// LINK: remote-fw/config_mask.c remote-fw/interrupts.c remote-fw/reset.c remote-fw/lending.c net/wire.c
//
// Interrupts on the remote's side: what is programmed into the function, what is told to its host and in what
// order, and that nothing stays enabled for the next one.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four above
#include "remote-fw/interrupts.h"
#include "remote-fw/server.h"
#include "tests/unit/host/host.h"
#include "tests/unit/mock_function.h"
#include <cmocka.h>

#define MS       1000000ull
#define SENT_MAX 256
#include "tests/unit/net/told.h"

static unsigned vectors_left;
static struct link the_link;
static struct functions table;
static struct mock_device device;
static struct function *f;
static uint16_t handle;

void discovery_announce(const struct announcement *what, uint32_t unicast_to)
{
    (void)what, (void)unicast_to;
}

static unsigned asked;
static const struct function *asked_for;

static enum status vector(unsigned slot, const struct function *who, struct interrupt_message *message)
{
    asked++;
    asked_for = who;
    if (!vectors_left)
        return ERR_NOMEM;
    vectors_left--;
    *message = (struct interrupt_message){.address = 0xfee00000, .data = 0x40 + slot};
    return OK;
}

static void pass(unsigned ms)
{
    for (unsigned i = 0; i < ms; i++) {
        host_time_advance_ns(MS);
        server_poll();
    }
}

/// Gives a record to the server; returns the status of its completion (0xff: none came).
static unsigned ask(uint8_t type, const void *body, size_t size)
{
    struct wire_record rec = {.type = type,
                              .function = type == REC_ATTACH ? 0 : handle,
                              .tag = 77,
                              .length = (uint16_t)(sizeof rec + size)};
    unsigned first = sent_count;
    void *exact = malloc(size ? size : 1);
    if (size)
        memcpy(exact, body, size);
    events->record(the_link.ctx, &the_link, &rec, exact, size);
    free(exact);
    pass(400);
    for (unsigned i = first; i < sent_count; i++) {
        if (sent[i].rec.type == REC_CPL || sent[i].rec.type == REC_CPLD) {
            if (type == REC_ATTACH)
                handle = sent[i].rec.function;
            return sent[i].rec.status;
        }
    }
    return 0xff;
}

static unsigned want(uint8_t mode, uint16_t count, uint64_t bits)
{
    uint8_t body[4 + 8] = {mode, 0, (uint8_t)count, (uint8_t)(count >> 8)};
    memcpy(body + 4, &bits, 8);
    return ask(REC_INTERRUPTS, body, 4 + (count + 7u) / 8);
}

static void attach(void)
{
    struct wire_attach a = {.at = f->info.at};
    assert_int_equal(ask(REC_ATTACH, &a, sizeof a), CPL_SC);
}

/// The table of the mock's BAR 0.
static uint32_t table_word(unsigned entry, unsigned word)
{
    uint32_t value;
    memcpy(&value, device.bar0 + MOCK_MSIX_TABLE + 16 * entry + 4 * word, 4);
    return value;
}

static unsigned told(uint8_t type)
{
    unsigned n = 0;
    for (unsigned i = 0; i < sent_count; i++)
        n += sent[i].rec.type == type;
    return n;
}

static int setup(void **state)
{
    const char *why;
    (void)state;
    memset(&table, 0, sizeof table);
    sent_count = 0;
    vectors_left = 1000;
    interrupts_start(vector);
    f = mock_lend(&table, &device, 4);
    device.table_is_ours = true;
    f->info.flags |= WIRE_FN_MSI;
    server_start(&table, "remote1", 0);
    pass(400);
    the_link.room = 100000;
    assert_int_equal(accept_host(NULL, "host1", 1, &the_link.ctx, &why), OK);
    events->up(the_link.ctx, &the_link);
    attach();
    sent_count = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    events->down(the_link.ctx, &the_link, "end of test");
    return 0;
}

static void test_msi(void **state)
{
    (void)state;
    interrupts_raise(0); // nobody's
    pass(1);
    assert_int_equal(told(REC_MSI), 0);
    assert_int_equal(want(INTERRUPTS_MSI, 1, 1), CPL_SC);
    assert_int_equal(mock_get(&device, MOCK_MSI + 2, 2) & 0x71, 0x01); // one message, enabled
    assert_int_equal(mock_get(&device, MOCK_MSI + 4, 4), 0xfee00000);
    assert_int_equal(mock_get(&device, MOCK_MSI + 8, 4), 0);
    uint32_t data = mock_get(&device, MOCK_MSI + 12, 2);
    assert_int_equal(mock_get(&device, 4, 2) & 0x404, 0x404); // a message is a write; INTx is off
    interrupts_raise(data - 0x40);
    pass(1);
    assert_int_equal(told(REC_MSI), 1);
    assert_int_equal(sent[sent_count - 1].rec.function, handle);
    assert_int_equal(sent[sent_count - 1].body[0], 0);
    pass(10);
    assert_int_equal(told(REC_MSI), 1);
    interrupts_raise(data - 0x40); // twice before it was told is once
    interrupts_raise(data - 0x40);
    pass(10);
    assert_int_equal(told(REC_MSI), 2);
    assert_int_equal(want(INTERRUPTS_OFF, 0, 0), CPL_SC);
    assert_int_equal(mock_get(&device, MOCK_MSI + 2, 2) & 1, 0);
    assert_int_equal(mock_get(&device, 4, 2) & 4, 0);
    interrupts_raise(data - 0x40); // one that was on its way
    assert_int_equal(want(INTERRUPTS_MSI, 1, 1), CPL_SC);
    assert_int_equal(told(REC_MSI), 2);
}

/// A slot that another function had is asked for again: the message must be void for that one.
static void test_slot_changes_hands(void **state)
{
    (void)state;
    static struct mock_device second;
    struct function *g = mock_lend(&table, &second, 5);
    g->info.flags |= WIRE_FN_MSI;
    g->state = FUNCTION_LENT;
    const struct wire_interrupts w = {.mode = INTERRUPTS_MSI, .count = 1};
    uint8_t body[sizeof w + 1] = {0};
    memcpy(body, &w, sizeof w);
    body[sizeof w] = 1;
    assert_int_equal(interrupts_set(g, body, sizeof body), CPL_SC);
    assert_ptr_equal(asked_for, g);
    interrupts_off(g);
    unsigned before = asked;
    assert_int_equal(interrupts_set(g, body, sizeof body), CPL_SC); // its own again
    assert_int_equal(asked, before);
    interrupts_off(g);
    assert_int_equal(want(INTERRUPTS_MSI, 1, 1), CPL_SC);
    assert_int_equal(asked, before + 1);
    assert_ptr_equal(asked_for, f);
    assert_int_equal(want(INTERRUPTS_OFF, 0, 0), CPL_SC);
    vectors_left = 0;
    assert_int_equal(interrupts_set(g, body, sizeof body), CPL_CA);
    vectors_left = 1000;
    assert_int_equal(want(INTERRUPTS_MSI, 1, 1), CPL_SC); // whose it was before does not count
    assert_ptr_equal(asked_for, f);
}

/// All but two messages are other functions'.
static void test_each_gets_one(void **state)
{
    (void)state;
    static struct mock_device second;
    struct function *g = mock_lend(&table, &second, 5);
    g->info.flags |= WIRE_FN_MSI;
    g->state = FUNCTION_LENT;
    const struct wire_interrupts w = {.mode = INTERRUPTS_MSI, .count = 1};
    uint8_t body[sizeof w + 1] = {0};
    memcpy(body, &w, sizeof w);
    body[sizeof w] = 1;
    interrupts_share(INTERRUPT_SLOTS - 1);
    assert_int_equal(want(INTERRUPTS_MSIX, 4, 0x7), CPL_CA); // two are nobody's by right
    assert_int_equal(want(INTERRUPTS_MSIX, 4, 0x3), CPL_SC);
    assert_int_equal(interrupts_set(g, body, sizeof body), CPL_SC);
    assert_int_equal(want(INTERRUPTS_MSIX, 4, 0x7), CPL_CA);
    assert_int_equal(want(INTERRUPTS_MSIX, 4, 0x5), CPL_SC); // one for another
    assert_int_equal(want(INTERRUPTS_MSIX, 4, 0xa), CPL_SC);
    assert_int_equal(want(INTERRUPTS_MSIX, 4, 0x5), CPL_SC); // given back first, then taken
    interrupts_off(g);
    assert_int_equal(want(INTERRUPTS_MSI, 1, 1), CPL_SC);
    interrupts_share(2);
    assert_int_equal(want(INTERRUPTS_MSIX, 4, 0xf), CPL_SC);
    interrupts_share(0);
}

static void test_refusals(void **state)
{
    (void)state;
    assert_int_equal(want(INTERRUPTS_MSI, 2, 3), CPL_UR);
    assert_int_equal(want(INTERRUPTS_MSIX, 5, 1), CPL_UR); // it has four
    assert_int_equal(ask(REC_INTERRUPTS, "\3\0\4", 3), CPL_UR);
    assert_int_equal(ask(REC_INTERRUPTS, "\3\0\4\0", 4), CPL_UR);
    assert_int_equal(ask(REC_INTERRUPTS, "\11\0\0\0", 4), CPL_UR);
    vectors_left = 1;
    // slots keep their vectors for ever: use those that earlier tests took, then the last one
    (void)want(INTERRUPTS_MSIX, 4, 15);
    f->info.flags = 0; // not confined
    assert_int_equal(want(INTERRUPTS_MSI, 1, 1), CPL_UR);
    assert_int_equal(want(INTERRUPTS_MSIX, 4, 1), CPL_UR);
    assert_int_equal(mock_get(&device, 4, 2) & 4, 0);
    assert_int_equal(mock_get(&device, MOCK_MSIX + 2, 2) & 0x8000, 0);
    f->info.pin = 0;
    assert_int_equal(want(INTERRUPTS_INTX, 0, 0), CPL_UR);
    handle++;
    assert_int_equal(want(INTERRUPTS_OFF, 0, 0), CPL_UR); // not this host's
    assert_int_equal(ask(REC_EOI, NULL, 0), 0xff);
}

static void test_msix(void **state)
{
    (void)state;
    assert_int_equal(want(INTERRUPTS_MSIX, 4, 0), CPL_SC);
    assert_int_equal(mock_get(&device, MOCK_MSIX + 2, 2), 0x8003);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(table_word(i, 3), 1);
    assert_int_equal(want(INTERRUPTS_MSIX, 4, 0xa), CPL_SC);
    assert_int_equal(table_word(0, 3), 1);
    assert_int_equal(table_word(1, 3), 0);
    assert_int_equal(table_word(1, 0), 0xfee00000);
    assert_int_equal(table_word(1, 1), 0);
    uint32_t one = table_word(1, 2), three = table_word(3, 2);
    assert_int_not_equal(one, three);
    interrupts_raise(three - 0x40);
    interrupts_raise(one - 0x40);
    pass(1);
    assert_int_equal(told(REC_MSI), 2);
    uint8_t entries = sent[sent_count - 1].body[0] | sent[sent_count - 2].body[0];
    assert_int_equal(entries, 3);
    assert_int_equal(want(INTERRUPTS_MSIX, 4, 0xb), CPL_SC); // one more: the others stay as they are
    assert_int_equal(table_word(1, 2), one);
    assert_int_equal(table_word(3, 2), three);
    assert_int_equal(table_word(0, 3), 0);
    assert_int_equal(want(INTERRUPTS_MSIX, 4, 0x8), CPL_SC);
    assert_int_equal(table_word(1, 3), 1);
    assert_int_equal(table_word(3, 3), 0);
}

static void test_intx(void **state)
{
    (void)state;
    mock_put(&device, 6, 2, mock_get(&device, 6, 2) | 8);
    pass(5);
    assert_int_equal(told(REC_INTX), 0); // not enabled
    assert_int_equal(want(INTERRUPTS_INTX, 0, 0), CPL_SC);
    assert_int_equal(told(REC_INTX), 1);
    assert_int_equal(sent[sent_count - 1].body[0], 1);
    assert_int_equal(sent[sent_count - 1].body[1], 1);
    assert_int_equal(ask(REC_EOI, NULL, 0), 0xff);
    assert_int_equal(told(REC_INTX), 2); // still asserted
    mock_put(&device, 6, 2, mock_get(&device, 6, 2) & ~8u);
    pass(5);
    assert_int_equal(told(REC_INTX), 3);
    assert_int_equal(sent[sent_count - 1].body[1], 0);
    assert_int_equal(ask(REC_EOI, NULL, 0), 0xff);
    assert_int_equal(told(REC_INTX), 3);
    mock_put(&device, 6, 2, mock_get(&device, 6, 2) | 8);
    pass(5);
    assert_int_equal(told(REC_INTX), 4);
    assert_int_equal(want(INTERRUPTS_INTX, 0, 0), CPL_SC); // begins anew
    assert_int_equal(told(REC_INTX), 5);
    assert_int_equal(mock_get(&device, 4, 2) & 0x404, 0x400); // the real line is never driven
}

static void test_full_link(void **state)
{
    (void)state;
    assert_int_equal(want(INTERRUPTS_MSI, 1, 1), CPL_SC);
    uint32_t data = mock_get(&device, MOCK_MSI + 12, 2);
    struct wire_access read = {.size = 4};
    struct wire_record rec = {
        .type = REC_CFG_RD, .function = handle, .tag = 5, .length = sizeof rec + sizeof read};
    the_link.room = 0;
    events->record(the_link.ctx, &the_link, &rec, &read, sizeof read);
    interrupts_raise(data - 0x40);
    pass(3);
    sent_count = 0;
    the_link.room = 100;
    pass(1);
    assert_int_equal(sent_count, 2); // the completion first
    assert_int_equal(sent[0].rec.type, REC_CPLD);
    assert_int_equal(sent[1].rec.type, REC_MSI);
}

static void test_next_owner(void **state)
{
    (void)state;
    assert_int_equal(want(INTERRUPTS_MSIX, 4, 0xf), CPL_SC);
    uint32_t data = table_word(2, 2);
    interrupts_raise(data - 0x40);
    events->down(the_link.ctx, &the_link, "test");
    assert_int_equal(mock_get(&device, 4, 2) & 4, 0);
    assert_int_equal(mock_get(&device, MOCK_MSIX + 2, 2) & 0x8000, 0);
    interrupts_raise(data - 0x40);
    pass(400);
    const char *why;
    sent_count = 0;
    assert_int_equal(accept_host(NULL, "host2", 2, &the_link.ctx, &why), OK);
    events->up(the_link.ctx, &the_link);
    attach();
    assert_int_equal(want(INTERRUPTS_MSIX, 4, 0xf), CPL_SC);
    assert_int_equal(told(REC_MSI), 0);
    interrupts_raise(table_word(2, 2) - 0x40);
    pass(1);
    assert_int_equal(told(REC_MSI), 1);
    assert_int_equal(ask(REC_RESET, NULL, 0), CPL_SC);
    assert_int_equal(f->interrupts.mode, INTERRUPTS_OFF);
    assert_int_equal(mock_get(&device, 4, 2) & 4, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_msi),
        T(test_refusals),
        T(test_msix),
        T(test_intx),
        T(test_full_link),
        T(test_next_owner),
        T(test_slot_changes_hands),
        T(test_each_gets_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
