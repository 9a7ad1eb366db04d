// SPDX-License-Identifier: BSD-2-Clause
// What tests of bus mastering play: the link, the IOMMU and the function; and a host that asks. Included once
// in a test.
#pragma once
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
#include "tests/unit/net/told.h"

static struct link links[2];
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

void discovery_announce(const struct announcement *what, uint32_t unicast_to)
{
    (void)what;
    (void)unicast_to;
}

// --- the machine ---

static inline bool masters(const struct function *f)
{
    return mock_get(f->device, 4, 2) & 4;
}

static inline enum status open_space(struct function *f, void **space)
{
    struct space *s = &spaces[f - table.all];
    assert_null(s->f);
    if (no_space)
        return ERR_NOMEM;
    s->f = f;
    *space = s;
    return OK;
}

static inline void close_space(void *space)
{
    struct space *s = space;
    assert_false(masters(s->f));
    for (unsigned i = 0; i < 16; i++)
        assert_null(s->at[i].page);
    s->f = NULL;
}

static inline enum status map(void *space, uint64_t iova, void *page, unsigned access)
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

static inline void unmap(void *space, uint64_t iova, uint64_t count)
{
    struct space *s = space;
    if (count == WIRE_DMA_IOVA_END / WIRE_DMA_PAGE)
        assert_false(masters(s->f)); // it is being taken away
    for (unsigned i = 0; i < 16; i++)
        if (s->at[i].iova >= iova && (s->at[i].iova - iova) / WIRE_DMA_PAGE < count)
            s->at[i].page = NULL;
}

static inline void *table_take(size_t bytes)
{
    tables++;
    return calloc(1, bytes);
}

static inline void table_give(void *at, size_t bytes)
{
    (void)bytes;
    tables--;
    free(at);
}

static inline void *page_take(void)
{
    pages++;
    return aligned_alloc(WIRE_DMA_PAGE, WIRE_DMA_PAGE);
}

static inline void page_give(void *page)
{
    pages--;
    free(page);
}

static inline bool take_fault(struct wire_pci_address *at, struct wire_dma_fault *fault)
{
    if (!faults_left)
        return false;
    faults_left--;
    *at = (struct wire_pci_address){.devfn = 4 << 3};
    *fault = (struct wire_dma_fault){.iova = 0x1000, .write = 1, .reason = fault_reason};
    return true;
}

static unsigned waiting_message = INTERRUPT_SLOTS; // it comes as soon as interrupts are let in

static inline void breathe(void)
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
static inline void device_writes(unsigned function, unsigned page, unsigned offset, uint32_t value)
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

static inline enum status take_vector(unsigned slot, const struct function *f,
                                      struct interrupt_message *message)
{
    (void)f;
    *message = (struct interrupt_message){.address = 0xfee00000, .data = 0x40 + slot};
    return OK;
}

static inline enum status read_hook(void *device, unsigned bar, uint64_t offset, unsigned size,
                                    uint64_t *value)
{
    if (on_read)
        on_read();
    return mock_memory_read(device, bar, offset, size, value);
}

// --- the host ---

static inline struct link *connect_host(unsigned i, const char *node)
{
    const char *why = NULL;
    links[i] = (struct link){.room = 100000, .apart = true, .answers = 100000};
    assert_int_equal(accept_host(NULL, node, 0x0100000a + i, &links[i].ctx, &why), OK);
    events->up(links[i].ctx, &links[i]);
    return &links[i];
}

static inline void settle(void)
{
    for (unsigned ms = 0; ms < 400; ms++) {
        host_time_advance_ns(MS);
        server_poll();
    }
}

static inline void send_record(struct link *link, uint8_t type, uint16_t handle, uint16_t tag,
                               const void *body, size_t size)
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

static inline uint16_t attached(struct link *link, uint8_t slot)
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
static inline uint32_t start(struct link *link, uint16_t handle)
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

static inline void set_master(struct link *link, uint16_t handle, bool on)
{
    uint8_t body[sizeof(struct wire_access) + 2] = {0};
    struct wire_access a = {.size = 2, .offset = 4};
    memcpy(body, &a, sizeof a);
    body[sizeof a] = on ? 4 : 0;
    send_record(link, REC_CFG_WR, handle, 6, body, sizeof body);
    server_poll();
    sent_count = 0;
}

static inline void give_page(struct link *link, uint16_t handle, unsigned page, uint8_t access)
{
    struct wire_dma_data clear = {.slot = page, .flags = WIRE_DMA_CLEAR};
    struct wire_dma_map m = {
        .iova = IOVA + 4096 * page, .slot = page, .generation = page + 1, .access = access};
    send_record(link, REC_DMA_DATA, handle, 0, &clear, sizeof clear);
    send_record(link, REC_DMA_MAP, handle, 0, &m, sizeof m);
}

static inline void mrd(struct link *link, uint16_t handle, uint16_t tag)
{
    struct wire_access a = {.bar = 0, .size = 8};
    send_record(link, REC_MRD, handle, tag, &a, sizeof a);
}

static inline void want(struct link *link, uint16_t handle, uint8_t mode)
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

static inline int setup(void **state)
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

static inline int teardown(void **state)
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
