// SPDX-License-Identifier: BSD-2-Clause
// LINK: remote-fw/server.c remote-fw/completions.c remote-fw/mastering.c remote-fw/dma_slots.c
// LINK: remote-fw/dma_round.c remote-fw/dma_diff.c remote-fw/executor.c remote-fw/functions.c
// LINK: remote-fw/config_mask.c remote-fw/interrupts.c remote-fw/reset.c remote-fw/lending.c net/wire.c
//
// Bus mastering of lent functions: who gets how much, what a completion and an interrupt wait for, and that
// nothing is left mapped, enabled or taken. The link, the IOMMU and the function are played by this file.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four above
#include "remote-fw/interrupts.h"
#include "remote-fw/server.h"
#include "rt/time.h"
#include "tests/unit/host/host.h"
#include "tests/unit/mock_function.h"
#include <cmocka.h>

#define MS       1000000ull
#define SENT_MAX 512
#define PAGES    60000u // for all functions
#define IOVA     0x40000000u

struct link {
    void *ctx;
    bool closed;
    unsigned
        room; // DMA_DATA and events taken before ERR_BUSY; completions are taken while `answers` is not 0
    unsigned answers;
};

static struct sent {
    struct link *link;
    struct wire_record rec;
    uint8_t body[1500];
    size_t size;
} sent[SENT_MAX];
static unsigned sent_count;
static struct link links[2];
static const struct link_events *events;
static enum status (*accept_host)(void *arg, const char *node, uint32_t peer, void **ctx, const char **why);
static struct functions table;
static struct mock_device devices[3];
static struct function_ops hooked;

/// An IOMMU with one address space for each function.
static struct space {
    struct function *f;
    struct {
        uint64_t iova;
        uint8_t *page;
        unsigned access;
    } at[16];
} spaces[3];
static unsigned pages, tables, faults_left;
static uint8_t fault_reason;
static bool no_space;
static unsigned (*on_read)(void); // what the function does when it is read

// --- the link ---

void link_listen(const struct link_events *e,
                 enum status (*accept)(void *arg, const char *host_node, uint32_t peer, void **ctx,
                                       const char **why),
                 void *arg)
{
    (void)arg;
    events = e;
    accept_host = accept;
}

enum status link_send(struct link *link, const struct wire_record *rec, const void *body, size_t body_size,
                      const void *data, size_t data_size)
{
    assert_false(link->closed);
    unsigned *room = rec->type < REC_INTX || rec->type == REC_CREDIT ? &link->answers : &link->room;
    if (!*room)
        return ERR_BUSY;
    --*room;
    assert_true(sent_count < SENT_MAX);
    struct sent *s = &sent[sent_count++];
    s->link = link;
    s->rec = *rec;
    s->size = body_size + data_size;
    s->rec.length = (uint16_t)(sizeof *rec + s->size);
    if (body_size)
        memcpy(s->body, body, body_size);
    if (data_size)
        memcpy(s->body + body_size, data, data_size);
    struct wire_record *r = malloc(s->rec.length);
    *r = s->rec;
    memcpy(r + 1, s->body, s->size);
    assert_int_equal(wire_check_record(r, WIRE_TO_HOST), WIRE_FINE);
    free(r);
    return OK;
}

size_t link_room(const struct link *link)
{
    return link->room ? 700 : 0;
}

size_t link_room_max(const struct link *link)
{
    (void)link;
    return 1440;
}

const char *link_peer_node(const struct link *link)
{
    (void)link;
    return "alpha";
}

void link_flush(struct link *link)
{
    assert_false(link->closed);
}

void link_close(struct link *link, const char *why)
{
    assert_non_null(why);
    link->closed = true;
}

void discovery_announce(const struct announcement *what, uint32_t unicast_to)
{
    (void)what;
    (void)unicast_to;
}

// --- the machine ---

static bool masters(const struct function *f)
{
    return mock_get(f->device, 4, 2) & 4;
}

static enum status open_space(struct function *f, void **space)
{
    struct space *s = &spaces[f - table.all];
    assert_null(s->f);
    if (no_space)
        return ERR_NOMEM;
    s->f = f;
    *space = s;
    return OK;
}

static void close_space(void *space)
{
    struct space *s = space;
    assert_false(masters(s->f));
    for (unsigned i = 0; i < 16; i++)
        assert_null(s->at[i].page);
    s->f = NULL;
}

static enum status map(void *space, uint64_t iova, void *page, unsigned access)
{
    struct space *s = space;
    for (unsigned i = 0; i < 16; i++)
        if (!s->at[i].page) {
            s->at[i].iova = iova;
            s->at[i].page = page;
            s->at[i].access = access;
            return OK;
        }
    return ERR_NOMEM;
}

static void unmap(void *space, uint64_t iova, uint64_t count)
{
    struct space *s = space;
    if (count == WIRE_DMA_IOVA_END / WIRE_DMA_PAGE)
        assert_false(masters(s->f)); // it is being taken away
    for (unsigned i = 0; i < 16; i++)
        if (s->at[i].iova >= iova && (s->at[i].iova - iova) / WIRE_DMA_PAGE < count)
            s->at[i].page = NULL;
}

static void *table_take(size_t bytes)
{
    tables++;
    return calloc(1, bytes);
}

static void table_give(void *at, size_t bytes)
{
    (void)bytes;
    tables--;
    free(at);
}

static void *page_take(void)
{
    pages++;
    return aligned_alloc(WIRE_DMA_PAGE, WIRE_DMA_PAGE);
}

static void page_give(void *page)
{
    pages--;
    free(page);
}

static bool take_fault(struct wire_pci_address *at, struct wire_dma_fault *fault)
{
    if (!faults_left)
        return false;
    faults_left--;
    *at = (struct wire_pci_address){.devfn = 4 << 3};
    *fault = (struct wire_dma_fault){.iova = 0x1000, .write = 1, .reason = fault_reason};
    return true;
}

static unsigned waiting_message = INTERRUPT_SLOTS; // it comes as soon as interrupts are let in

static void breathe(void)
{
    if (waiting_message < INTERRUPT_SLOTS)
        interrupts_raise(waiting_message);
    waiting_message = INTERRUPT_SLOTS;
}

static const struct mastering_machine machine = {
    .open = open_space,
    .close = close_space,
    .map = map,
    .unmap = unmap,
    .table_take = table_take,
    .table_give = table_give,
    .page_take = page_take,
    .page_give = page_give,
    .take_fault = take_fault,
    .breathe = breathe,
};

/// The function writes; page i stands at IOVA + 4096 i.
static void device_writes(unsigned function, unsigned page, unsigned offset, uint32_t value)
{
    struct space *s = &spaces[function];
    assert_true(masters(s->f));
    for (unsigned i = 0; i < 16; i++)
        if (s->at[i].page && s->at[i].iova == IOVA + 4096 * page) {
            memcpy(s->at[i].page + offset, &value, 4);
            return;
        }
    fail();
}

static enum status take_vector(unsigned slot, const struct function *f, struct interrupt_message *message)
{
    (void)f;
    *message = (struct interrupt_message){.address = 0xfee00000, .data = 0x40 + slot};
    return OK;
}

static enum status read_hook(void *device, unsigned bar, uint64_t offset, unsigned size, uint64_t *value)
{
    if (on_read)
        on_read();
    return mock_memory_read(device, bar, offset, size, value);
}

// --- the host ---

static struct link *connect_host(unsigned i, const char *node)
{
    const char *why = NULL;
    links[i] = (struct link){.room = 100000, .answers = 100000};
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
    struct wire_record *rec = malloc(sizeof *rec + size);
    *rec = (struct wire_record){
        .type = type, .function = handle, .tag = tag, .length = (uint16_t)(sizeof *rec + size)};
    if (size)
        memcpy(rec + 1, body, size);
    assert_int_equal(wire_check_record(rec, WIRE_TO_REMOTE), WIRE_FINE);
    events->record(link->ctx, link, rec, rec + 1, size);
    free(rec);
}

static uint16_t attached(struct link *link, uint8_t slot)
{
    struct wire_attach a = {{0, 0, (uint8_t)(slot << 3)}};
    sent_count = 0;
    send_record(link, REC_ATTACH, 0, 77, &a, sizeof a);
    settle();
    assert_int_equal(sent[0].rec.type, REC_CPLD);
    assert_int_equal(sent[0].rec.status, CPL_SC);
    sent_count = 0;
    return (uint16_t)(sent[0].body[0] | sent[0].body[1] << 8);
}

/// Slots granted; 0: refused, the status is sent[0]'s.
static uint32_t start(struct link *link, uint16_t handle)
{
    struct wire_dma_started s = {0};
    sent_count = 0;
    send_record(link, REC_DMA_START, handle, 5, NULL, 0);
    server_poll();
    assert_int_equal(sent_count, 1);
    if (sent[0].rec.type == REC_CPLD)
        memcpy(&s, sent[0].body, sizeof s);
    sent_count = 0;
    return s.slots;
}

static void set_master(struct link *link, uint16_t handle, bool on)
{
    uint8_t body[sizeof(struct wire_access) + 2] = {0};
    struct wire_access a = {.size = 2, .offset = 4};
    memcpy(body, &a, sizeof a);
    body[sizeof a] = on ? 4 : 0;
    send_record(link, REC_CFG_WR, handle, 6, body, sizeof body);
    server_poll();
    sent_count = 0;
}

static void give_page(struct link *link, uint16_t handle, unsigned page, uint8_t access)
{
    struct wire_dma_data clear = {.slot = page, .flags = WIRE_DMA_CLEAR};
    struct wire_dma_map m = {
        .iova = IOVA + 4096 * page, .slot = page, .generation = page + 1, .access = access};
    send_record(link, REC_DMA_DATA, handle, 0, &clear, sizeof clear);
    send_record(link, REC_DMA_MAP, handle, 0, &m, sizeof m);
}

static void mrd(struct link *link, uint16_t handle, uint16_t tag)
{
    struct wire_access a = {.bar = 0, .size = 8};
    send_record(link, REC_MRD, handle, tag, &a, sizeof a);
}

static void want(struct link *link, uint16_t handle, uint8_t mode)
{
    uint8_t body[sizeof(struct wire_interrupts) + 1] = {0};
    struct wire_interrupts w = {.mode = mode, .count = mode == INTERRUPTS_MSI};
    memcpy(body, &w, sizeof w);
    body[sizeof w] = 1;
    send_record(link, REC_INTERRUPTS, handle, 8, body, sizeof w + w.count);
    server_poll();
    assert_int_equal(sent[sent_count - 1].rec.status, CPL_SC);
    sent_count = 0;
}

/// Types of what was sent, as text: D data, d data with MORE, C completion, M message, I INTx, F fault, S
/// spoiled.
static const char *story(void)
{
    static char text[SENT_MAX + 1];
    for (unsigned i = 0; i < sent_count; i++) {
        const struct wire_dma_data *d = (const struct wire_dma_data *)sent[i].body;
        switch (sent[i].rec.type) {
        case REC_DMA_DATA:
            text[i] = d->flags & WIRE_DMA_MORE ? 'd' : 'D';
            break;
        case REC_CPL:
        case REC_CPLD:
            text[i] = 'C';
            break;
        case REC_MSI:
            text[i] = 'M';
            break;
        case REC_INTX:
            text[i] = 'I';
            break;
        case REC_DMA_FAULT:
            text[i] = 'F';
            break;
        default:
            text[i] = '?';
        }
    }
    text[sent_count] = 0;
    sent_count = 0;
    return text;
}

static int setup(void **state)
{
    (void)state;
    memset(&table, 0, sizeof table);
    memset(spaces, 0, sizeof spaces);
    host_time_set_ns(0);
    hooked = *mock_ops();
    hooked.memory_read = read_hook;
    on_read = NULL;
    no_space = false;
    faults_left = 0;
    fault_reason = 5;
    for (unsigned i = 0; i < 3; i++) {
        struct function *f = mock_lend(&table, &devices[i], (uint8_t)(4 + i));
        f->ops = &hooked;
        f->info.flags |= WIRE_FN_MSI | (i < 2 ? WIRE_FN_DMA : 0);
    }
    sent_count = 0;
    interrupts_start(take_vector);
    mastering_start(&table, &machine, &server_mastering_link, PAGES);
    server_start(&table, "disk1", 0);
    settle();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    server_stop("end of the test");
    server_poll();
    assert_int_equal(pages, 0);
    assert_int_equal(tables, 0);
    assert_int_equal(mastering_memory().granted, 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_null(spaces[i].f);
        assert_false(masters(&table.all[i]));
    }
    return 0;
}

// --- tests ---

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
