// SPDX-License-Identifier: BSD-2-Clause
// LINK: net/wire.c
// The checks of frames and records: every type, every length, every field once right and once wrong.
#include "net/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above
#include <cmocka.h>

static uint8_t buffer[WIRE_FRAME_MAX];

static struct wire_frame *make(uint8_t type, size_t body)
{
    memset(buffer, 0, sizeof buffer);
    struct wire_frame *f = (struct wire_frame *)buffer;
    *f = (struct wire_frame){
        .magic = WIRE_MAGIC, .version = 1, .type = type, .length = (uint16_t)(sizeof *f + body), .epoch = 7};
    return f;
}

/// Through a heap copy of exactly this size, so that ASan sees a byte read too far.
static enum wire_fault check(size_t size)
{
    uint8_t *copy = malloc(size != 0 ? size : 1);
    memcpy(copy, buffer, size);
    enum wire_fault fault = wire_check_frame(copy, size);
    free(copy);
    return fault;
}
static enum wire_fault check_own(void)
{
    return check(((struct wire_frame *)buffer)->length);
}

static void test_header(void **state)
{
    (void)state;
    struct wire_frame *f = make(WIRE_ACK, 0);
    assert_int_equal(check_own(), WIRE_FINE);
    for (size_t n = 0; n < sizeof *f; n++)
        assert_int_equal(check(n), WIRE_BAD_SIZE);
    assert_int_equal(check(sizeof *f + 1), WIRE_BAD_SIZE);
    f->length++;
    assert_int_equal(check(sizeof *f), WIRE_BAD_SIZE);
    f = make(WIRE_ACK, 0);
    f->magic ^= 1;
    assert_int_equal(check_own(), WIRE_BAD_MAGIC);
    f = make(WIRE_ACK, 0);
    f->version = 2;
    assert_int_equal(check_own(), WIRE_BAD_VERSION);
    for (unsigned type = 0; type < 256; type++) {
        make((uint8_t)type, 0);
        unsigned plain = type & ~WIRE_SEALED;
        if (plain == 0 || plain > WIRE_PROBE)
            assert_int_equal(check_own(), WIRE_BAD_TYPE);
        else if (type != plain)
            assert_int_equal(check_own(), WIRE_UNSEALED);
        else
            assert_true(check_own() != WIRE_BAD_TYPE);
    }
    f = make(WIRE_ACK, 0);
    f->epoch = 0;
    assert_int_equal(check_own(), WIRE_BAD_HEADER);
    f = make(WIRE_ACK, 0);
    f->sequence = 1;
    assert_int_equal(check_own(), WIRE_BAD_HEADER);
    make(WIRE_ACK, 8);
    assert_int_equal(check_own(), WIRE_BAD_SIZE);
    make(WIRE_DATA, 7);
    assert_int_equal(check_own(), WIRE_BAD_SIZE);
    make(WIRE_DATA, 8);
    assert_int_equal(check_own(), WIRE_FINE);
}

static struct wire_hello *hello(void)
{
    struct wire_hello *b = (struct wire_hello *)(make(WIRE_HELLO, sizeof *b) + 1);
    *b = (struct wire_hello){
        .boot_id = 1, .version_min = 1, .version_max = 3, .frame_max = 1472, .node = "a", .to = "b"};
    return b;
}

static void test_hello(void **state)
{
    (void)state;
    hello();
    assert_int_equal(check_own(), WIRE_FINE);
    for (size_t n = 0; n < 200; n++) {
        hello();
        ((struct wire_frame *)buffer)->length = (uint16_t)(sizeof(struct wire_frame) + n);
        assert_int_equal(check_own(), n == sizeof(struct wire_hello) ? WIRE_FINE : WIRE_BAD_BODY);
    }
    hello()->version_min = 0;
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    hello()->version_max = 0;
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    hello()->frame_max = WIRE_FRAME_MIN - 1;
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    hello()->frame_max = WIRE_FRAME_MAX + 1;
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    hello()->node[0] = 0;
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    hello()->to[5] = 'x'; // not padded with NUL
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    hello()->to[0] = '/';
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    hello()->to[0] = '\n';
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    struct wire_hello *b = hello();
    memset(b->node, 'x', sizeof b->node); // no NUL at all
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    hello();
    ((struct wire_frame *)buffer)->epoch = 0;
    assert_int_equal(check_own(), WIRE_BAD_HEADER);
    hello();
    ((struct wire_frame *)buffer)->sack = 1;
    assert_int_equal(check_own(), WIRE_BAD_HEADER);
}

static struct wire_hello_ack *hello_ack(void)
{
    struct wire_hello_ack *b = (struct wire_hello_ack *)(make(WIRE_HELLO_ACK, sizeof *b) + 1);
    *b = (struct wire_hello_ack){.boot_id = 1, .version = 1, .frame_max = 1472, .node = "disk1"};
    return b;
}

static void test_hello_ack_and_bye(void **state)
{
    (void)state;
    hello_ack();
    assert_int_equal(check_own(), WIRE_FINE);
    hello_ack()->status = HELLO_STATUS_COUNT;
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    hello_ack()->reserved = 1;
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    hello_ack()->frame_max = 0;
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    struct wire_hello_ack *b = hello_ack();
    b->status = HELLO_FULL;
    b->frame_max = 0; // nothing was agreed
    assert_int_equal(check_own(), WIRE_FINE);
    memset(b->why, 'x', sizeof b->why);
    assert_int_equal(check_own(), WIRE_BAD_BODY);

    struct wire_bye *bye = (struct wire_bye *)(make(WIRE_BYE, sizeof *bye) + 1);
    assert_int_equal(check_own(), WIRE_FINE);
    bye->reason = BYE_REASON_COUNT;
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    bye->reason = 0;
    bye->reserved[2] = 1;
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    make(WIRE_BYE, sizeof *bye + 1);
    assert_int_equal(check_own(), WIRE_BAD_BODY);
}

static struct wire_announce *announce(unsigned count)
{
    size_t size = sizeof(struct wire_announce) + count * sizeof(struct wire_function);
    make(WIRE_ANNOUNCE, size)->epoch = 0;
    struct wire_announce *a = (struct wire_announce *)(buffer + sizeof(struct wire_frame));
    *a = (struct wire_announce){.node = "disk1",
                                .boot_id = 9,
                                .generation = 1,
                                .total = (uint16_t)count,
                                .parts = 1,
                                .count = (uint16_t)count};
    struct wire_function *f = (struct wire_function *)(a + 1);
    for (unsigned i = 0; i < count; i++)
        f[i] = (struct wire_function){.vendor = 0x8086,
                                      .device = 0x10d3,
                                      .pin = 1,
                                      .bars = {{.size = 0x4000, .kind = 3}, {0}, {.size = 32, .kind = 1}}};
    return a;
}
static struct wire_function *function(void)
{
    return (struct wire_function *)(announce(2) + 1);
}

static void test_announce(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 15; n++) {
        announce(n);
        assert_int_equal(check_own(), WIRE_FINE);
    }
    announce(2)->boot_id = 0;
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    announce(2)->parts = 0;
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    announce(2)->part = 1;
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    announce(2)->count = 1;
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    announce(2)->count = 0xffff;
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    announce(2)->first = 1;
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    announce(2)->first = 0xffff;
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    announce(2)->reserved = 1;
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    announce(0)->total = 1; // an empty part of something
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    announce(2);
    ((struct wire_frame *)buffer)->epoch = 1;
    assert_int_equal(check_own(), WIRE_BAD_HEADER);
    announce(1);
    ((struct wire_frame *)buffer)->length = sizeof(struct wire_frame) + sizeof(struct wire_announce) - 1;
    assert_int_equal(check_own(), WIRE_BAD_BODY);

    function()[1].vendor = 0xffff;
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    function()[1].pin = 5;
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    function()[1].flags = 0x80;
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    function()[1].reserved = 1;
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    function()[1].bars[0].size = 3; // not a power of two
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    function()[1].bars[0].size = 0; // a kind, but no size
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    function()[1].bars[0].kind = 4;
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    function()[1].bars[3].size = 16; // a size, but no kind
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    function()[1].bars[1] = (struct wire_bar){.size = 16, .kind = 2}; // where the upper half must be
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    function()[1].bars[5] = (struct wire_bar){.size = 16, .kind = 3}; // no upper half
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    function()[1].bars[2].size = 0x20000; // more than there are ports
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    function()[1].bars[5].reserved[2] = 1;
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    function()[1].bars[4] = (struct wire_bar){.size = 1ull << 31, .kind = 0x82};
    assert_int_equal(check_own(), WIRE_FINE);
    function()[1].flags = WIRE_FN_BUSY | WIRE_FN_FLR | WIRE_FN_MSI | WIRE_FN_DMA;
    assert_int_equal(check_own(), WIRE_FINE);
    function()[1].flags = 0x10;
    assert_int_equal(check_own(), WIRE_BAD_BODY);
    function()[1].bars[4] = (struct wire_bar){.size = 1ull << 32, .kind = 0x82};
    assert_int_equal(check_own(), WIRE_BAD_BODY);
}

/// Each record type: the one direction and the lengths that are right.
static const struct {
    uint8_t type;
    bool to_remote, to_host, access, write;
    uint16_t min, max; // bytes behind the header
} kinds[] = {
    {REC_CFG_RD, true, false, true, false, 12, 12},     {REC_CFG_WR, true, false, true, true, 13, 16},
    {REC_IO_RD, true, false, true, false, 12, 12},      {REC_IO_WR, true, false, true, true, 13, 16},
    {REC_MRD, true, false, true, false, 12, 12},        {REC_MWR, true, false, true, true, 13, 268},
    {REC_CPL, false, true, false, false, 0, 0},         {REC_CPLD, false, true, false, false, 1, 256},
    {REC_ATTACH, true, false, false, false, 4, 4},      {REC_DETACH, true, false, false, false, 0, 0},
    {REC_RESET, true, false, false, false, 0, 0},       {REC_INTX, false, true, false, false, 4, 4},
    {REC_MSI, false, true, false, false, 4, 4},         {REC_GONE, false, true, false, false, 0, 0},
    {REC_ERROR, false, true, false, false, 4, 4},       {REC_CREDIT, true, true, false, false, 4, 4},
    {REC_EOI, true, false, false, false, 0, 0},         {REC_INTERRUPTS, true, false, false, false, 4, 260},
    {REC_DMA_START, true, false, false, false, 0, 0},   {REC_DMA_MAP, true, false, false, false, 24, 24},
    {REC_DMA_UNMAP, true, false, false, false, 16, 16}, {REC_DMA_SPOILED, false, true, false, false, 8, 8},
    {REC_DMA_FAULT, false, true, false, false, 16, 16},
};
#define KINDS (sizeof kinds / sizeof kinds[0])

static struct wire_record *record(unsigned kind, unsigned size)
{
    memset(buffer, 0, sizeof buffer);
    struct wire_record *r = (struct wire_record *)buffer;
    *r = (struct wire_record){.type = kinds[kind].type, .length = (uint16_t)(sizeof *r + size)};
    r->function = r->type == REC_ATTACH ? 0 : 5;
    if (kinds[kind].access)
        ((struct wire_access *)(r + 1))->size = kinds[kind].write ? (uint16_t)(size - 12) : 4;
    if (r->type == REC_INTX || r->type == REC_CREDIT)
        buffer[sizeof *r] = 1;
    if (r->type == REC_INTERRUPTS && size > 4)
        *(struct wire_interrupts *)(r + 1) =
            (struct wire_interrupts){.mode = INTERRUPTS_MSIX, .count = (uint16_t)((size - 4) * 8)};
    if (r->type == REC_DMA_MAP)
        ((struct wire_dma_map *)(r + 1))->access = WIRE_DMA_READ;
    if (r->type == REC_DMA_UNMAP)
        ((struct wire_dma_unmap *)(r + 1))->pages = 1;
    return r;
}
static enum wire_fault rcheck(enum wire_direction d)
{
    uint16_t size = ((struct wire_record *)buffer)->length;
    uint8_t *copy = malloc(size);
    memcpy(copy, buffer, size);
    enum wire_fault fault = wire_check_records(copy, size, d);
    free(copy);
    return fault;
}

static void test_record_lengths(void **state)
{
    (void)state;
    for (unsigned k = 0; k < KINDS; k++)
        for (unsigned size = 0; size < 400; size++) {
            record(k, size);
            bool right = size >= kinds[k].min && size <= kinds[k].max;
            enum wire_fault fault = rcheck(kinds[k].to_remote ? WIRE_TO_REMOTE : WIRE_TO_HOST);
            if (kinds[k].type == REC_CFG_WR || kinds[k].type == REC_IO_WR)
                right = right && size != 15; // three bytes
            if (right)
                assert_int_equal(fault, WIRE_FINE);
            else
                assert_true(fault == WIRE_BAD_LENGTH || fault == WIRE_BAD_FIELD);
            fault = rcheck(kinds[k].to_remote ? WIRE_TO_HOST : WIRE_TO_REMOTE);
            if (!(kinds[k].to_remote && kinds[k].to_host))
                assert_int_equal(fault, WIRE_BAD_RECORD);
        }
}

static void test_record_types(void **state)
{
    (void)state;
    for (unsigned type = 0; type < 256; type++) {
        bool known = false;
        for (unsigned k = 0; k < KINDS; k++)
            known |= kinds[k].type == type || type == REC_DMA_DATA;
        memset(buffer, 0, sizeof buffer);
        *(struct wire_record *)buffer =
            (struct wire_record){.type = (uint8_t)type, .length = 8, .function = 1};
        if (!known) {
            assert_int_equal(rcheck(WIRE_TO_REMOTE), WIRE_BAD_RECORD);
            assert_int_equal(rcheck(WIRE_TO_HOST), WIRE_BAD_RECORD);
        }
    }
}

static enum wire_fault interrupts(uint8_t mode, uint8_t reserved, uint16_t count, unsigned size, uint8_t last)
{
    struct wire_record *r = (struct wire_record *)buffer;
    memset(buffer, 0, sizeof buffer);
    *r = (struct wire_record){
        .type = REC_INTERRUPTS, .length = (uint16_t)(sizeof *r + 4 + size), .function = 5};
    *(struct wire_interrupts *)(r + 1) =
        (struct wire_interrupts){.mode = mode, .reserved = reserved, .count = count};
    if (size)
        buffer[sizeof *r + 4 + size - 1] = last;
    return rcheck(WIRE_TO_REMOTE);
}

static void test_interrupts(void **state)
{
    (void)state;
    assert_int_equal(interrupts(INTERRUPTS_OFF, 0, 0, 0, 0), WIRE_FINE);
    assert_int_equal(interrupts(INTERRUPTS_INTX, 0, 0, 0, 0), WIRE_FINE);
    assert_int_equal(interrupts(INTERRUPTS_MSI, 0, 1, 1, 1), WIRE_FINE);
    assert_int_equal(interrupts(INTERRUPTS_MSI, 0, 32, 4, 0xff), WIRE_FINE);
    assert_int_equal(interrupts(INTERRUPTS_MSIX, 0, 9, 2, 1), WIRE_FINE);
    assert_int_equal(interrupts(INTERRUPTS_MSIX, 0, 2048, 256, 0x80), WIRE_FINE);
    assert_int_equal(interrupts(4, 0, 0, 0, 0), WIRE_BAD_FIELD);               // no such mode
    assert_int_equal(interrupts(INTERRUPTS_OFF, 1, 0, 0, 0), WIRE_BAD_FIELD);  // reserved
    assert_int_equal(interrupts(INTERRUPTS_INTX, 0, 1, 1, 1), WIRE_BAD_FIELD); // INTx has no messages
    assert_int_equal(interrupts(INTERRUPTS_MSI, 0, 0, 0, 0), WIRE_BAD_FIELD);  // MSI has at least one
    assert_int_equal(interrupts(INTERRUPTS_MSI, 0, 33, 5, 0), WIRE_BAD_FIELD); // and at most 32
    assert_int_equal(interrupts(INTERRUPTS_MSIX, 0, 2049, 257, 0), WIRE_BAD_LENGTH);
    assert_int_equal(interrupts(INTERRUPTS_MSIX, 0, 9, 1, 0), WIRE_BAD_FIELD); // a byte too few
    assert_int_equal(interrupts(INTERRUPTS_MSIX, 0, 9, 3, 0), WIRE_BAD_FIELD); // too many
    assert_int_equal(interrupts(INTERRUPTS_MSIX, 0, 9, 2, 2), WIRE_BAD_FIELD); // message 9 of 9
}

static enum wire_fault dma_map(struct wire_dma_map m)
{
    struct wire_record *r = (struct wire_record *)buffer;
    *r = (struct wire_record){.type = REC_DMA_MAP, .length = sizeof *r + sizeof m, .function = 5};
    memcpy(r + 1, &m, sizeof m);
    return rcheck(WIRE_TO_REMOTE);
}

static enum wire_fault dma_unmap(uint64_t iova, uint32_t pages)
{
    struct wire_record *r = (struct wire_record *)buffer;
    struct wire_dma_unmap u = {.iova = iova, .pages = pages};
    *r = (struct wire_record){.type = REC_DMA_UNMAP, .length = sizeof *r + sizeof u, .function = 5};
    memcpy(r + 1, &u, sizeof u);
    return rcheck(WIRE_TO_REMOTE);
}

static void test_dma_mappings(void **state)
{
    (void)state;
    const struct wire_dma_map good = {.iova = 0xfedff000, .slot = 65535, .generation = ~0u, .access = 3};
    struct wire_dma_map m = good;
    assert_int_equal(dma_map(m), WIRE_FINE);
    static const uint64_t bad[] = {0x1001, 1ull << 39, 0xfee00000, 0xfeeff000, ~0xfffull}, //
        right[] = {0, 0xfef00000, (1ull << 39) - 4096};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        m.iova = bad[i];
        assert_int_equal(dma_map(m), WIRE_BAD_FIELD);
    }
    for (unsigned i = 0; i < sizeof right / sizeof right[0]; i++) {
        m.iova = right[i];
        assert_int_equal(dma_map(m), WIRE_FINE);
    }
    m = good;
    m.slot = WIRE_DMA_SLOTS_MAX;
    assert_int_equal(dma_map(m), WIRE_BAD_FIELD);
    m = good;
    for (unsigned access = 0; access < 256; access++) {
        m.access = (uint8_t)access;
        assert_int_equal(dma_map(m), access >= 1 && access <= 3 ? WIRE_FINE : WIRE_BAD_FIELD);
    }
    for (unsigned i = 0; i < sizeof m.reserved; i++) {
        m = good;
        m.reserved[i] = 1;
        assert_int_equal(dma_map(m), WIRE_BAD_FIELD);
    }
    assert_int_equal(dma_unmap(0, 1), WIRE_FINE);
    assert_int_equal(dma_unmap(0, 1u << 27), WIRE_FINE); // all there is
    assert_int_equal(dma_unmap(4096, 1u << 27), WIRE_BAD_FIELD);
    assert_int_equal(dma_unmap((1ull << 39) - 4096, 1), WIRE_FINE);
    assert_int_equal(dma_unmap((1ull << 39) - 4096, 2), WIRE_BAD_FIELD);
    assert_int_equal(dma_unmap(0, ~0u), WIRE_BAD_FIELD);
    assert_int_equal(dma_unmap(0, 0), WIRE_BAD_FIELD);
    assert_int_equal(dma_unmap(1ull << 39, 1), WIRE_BAD_FIELD);
    assert_int_equal(dma_unmap(1, 1), WIRE_BAD_FIELD);
}

/// DMA_DATA with these runs (pairs of offset and size, bytes follow each), `cut` bytes too few.
static enum wire_fault dma_data(enum wire_direction d, struct wire_dma_data head, const unsigned (*runs)[2],
                                unsigned count, unsigned cut)
{
    struct wire_record *r = (struct wire_record *)buffer;
    memset(buffer, 0, sizeof buffer);
    uint8_t *at = (uint8_t *)(r + 1) + sizeof head;
    memcpy(r + 1, &head, sizeof head);
    for (unsigned i = 0; i < count; i++) {
        struct wire_dma_run run = {.offset = (uint16_t)runs[i][0], .size = (uint16_t)runs[i][1]};
        memcpy(at, &run, sizeof run);
        at += sizeof run + run.size;
    }
    *r = (struct wire_record){.type = REC_DMA_DATA, .length = (uint16_t)(at - buffer - cut), .function = 5};
    return rcheck(d);
}

static void test_dma_data(void **state)
{
    (void)state;
    const struct wire_dma_data plain = {.slot = 65535}, clear = {.flags = WIRE_DMA_CLEAR},
                               more = {.flags = WIRE_DMA_MORE, .generation = 7}, to_host = {.generation = 7};
    static const unsigned good[][2] = {{0, 1}, {2, 8}, {4095, 1}}, whole[][2] = {{0, 4096}};
    const enum wire_direction remote = WIRE_TO_REMOTE, host = WIRE_TO_HOST;
    assert_int_equal(dma_data(remote, plain, good, 3, 0), WIRE_FINE);
    assert_int_equal(dma_data(remote, clear, good, 3, 0), WIRE_FINE);
    assert_int_equal(dma_data(remote, clear, NULL, 0, 0), WIRE_FINE); // a page of zeroes
    assert_int_equal(dma_data(remote, plain, NULL, 0, 0), WIRE_BAD_FIELD);
    assert_int_equal(dma_data(remote, more, good, 3, 0), WIRE_BAD_FIELD);
    assert_int_equal(dma_data(remote, to_host, good, 3, 0), WIRE_BAD_FIELD); // a generation
    assert_int_equal(dma_data(remote, plain, whole, 1, 0), WIRE_FINE);
    assert_int_equal(dma_data(host, to_host, whole, 1, 0), WIRE_FINE);
    assert_int_equal(dma_data(host, more, good, 3, 0), WIRE_FINE);
    assert_int_equal(dma_data(host, to_host, NULL, 0, 0), WIRE_FINE); // nothing, and the end
    assert_int_equal(dma_data(host, more, NULL, 0, 0), WIRE_BAD_FIELD);
    assert_int_equal(dma_data(host, clear, good, 3, 0), WIRE_BAD_FIELD);
    struct wire_dma_data wrong = plain;
    wrong.slot = 65536;
    assert_int_equal(dma_data(remote, wrong, good, 3, 0), WIRE_BAD_FIELD);
    wrong = plain;
    wrong.reserved[2] = 1;
    assert_int_equal(dma_data(remote, wrong, good, 3, 0), WIRE_BAD_FIELD);
    wrong = plain;
    wrong.flags = 4;
    assert_int_equal(dma_data(remote, wrong, good, 3, 0), WIRE_BAD_FIELD);
    assert_int_equal(dma_data(host, wrong, good, 3, 0), WIRE_BAD_FIELD);

    static const unsigned bad[][2][2] = {
        {{0, 4}, {4, 4}}, {{0, 4}, {3, 4}},    {{8, 4}, {0, 4}},    {{0, 0}, {4, 4}},
        {{0, 4}, {8, 0}}, {{0, 4}, {4095, 2}}, {{0, 4}, {4096, 1}}, {{0, 4}, {65535, 4}},
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(dma_data(remote, plain, bad[i], 2, 0), WIRE_BAD_FIELD);
    for (unsigned cut = 1; cut < 22; cut++) // 5 + 12 + 5 bytes of runs: whole ones are fine
        assert_int_equal(dma_data(remote, plain, good, 3, cut),
                         cut == 5 || cut == 17 ? WIRE_FINE : WIRE_BAD_FIELD);
    assert_int_equal(dma_data(remote, plain, good, 3, 23), WIRE_BAD_LENGTH);
}

static void test_dma_tells(void **state)
{
    (void)state;
    struct wire_record *r = (struct wire_record *)buffer;
    struct wire_dma_fault fault = {.iova = ~0xfffull, .write = 1, .reason = 255};
    struct wire_dma_spoiled spoiled = {.slot = 65535};
    *r = (struct wire_record){.type = REC_DMA_FAULT, .length = sizeof *r + sizeof fault, .function = 5};
    memcpy(r + 1, &fault, sizeof fault);
    assert_int_equal(rcheck(WIRE_TO_HOST), WIRE_FINE);
    for (unsigned i = 0; i < sizeof fault; i++) {
        if ((i >= 2 && i < 8) || i == 9)
            continue; // address, reason
        memcpy(r + 1, &fault, sizeof fault);
        ((uint8_t *)(r + 1))[i] = 2;
        assert_int_equal(rcheck(WIRE_TO_HOST), WIRE_BAD_FIELD);
    }
    *r = (struct wire_record){.type = REC_DMA_SPOILED, .length = sizeof *r + sizeof spoiled, .function = 5};
    memcpy(r + 1, &spoiled, sizeof spoiled);
    assert_int_equal(rcheck(WIRE_TO_HOST), WIRE_FINE);
    for (unsigned i = 2; i < 4; i++) { // the slot's upper half
        memcpy(r + 1, &spoiled, sizeof spoiled);
        ((uint8_t *)(r + 1))[i] = 2;
        assert_int_equal(rcheck(WIRE_TO_HOST), WIRE_BAD_FIELD);
    }
}

static struct wire_access *access_of(unsigned kind)
{
    return (struct wire_access *)(record(kind, kinds[kind].write ? 16 : 12) + 1);
}

static void test_record_fields(void **state)
{
    (void)state;
    for (unsigned k = 0; k < KINDS; k++) {
        enum wire_direction d = kinds[k].to_remote ? WIRE_TO_REMOTE : WIRE_TO_HOST;
        unsigned size = kinds[k].write ? 16 : kinds[k].min;
        bool completion = kinds[k].type == REC_CPL || kinds[k].type == REC_CPLD;
        for (unsigned status = 0; status < 256; status++) {
            record(k, size)->status = (uint8_t)status;
            bool right = status == 0;
            if (completion)
                right =
                    status == CPL_SC || status == CPL_OWNED ||
                    (kinds[k].type == REC_CPL && (status == CPL_UR || status == CPL_CRS || status == CPL_CA ||
                                                  status == CPL_NOT_LENT || status == CPL_DENIED));
            assert_int_equal(rcheck(d), right ? WIRE_FINE : WIRE_BAD_FIELD);
        }
        record(k, size)->function = kinds[k].type == REC_ATTACH ? 1 : 0;
        assert_int_equal(rcheck(d), completion ? WIRE_FINE : WIRE_BAD_FIELD);
        record(k, size)->function = WIRE_HANDLE_MAX + 1;
        assert_int_equal(rcheck(d), completion ? WIRE_FINE : WIRE_BAD_FIELD);
        if (!kinds[k].access)
            continue;
        access_of(k)->reserved = 1;
        assert_int_equal(rcheck(d), WIRE_BAD_FIELD);
        access_of(k)->bar = 6;
        assert_int_equal(rcheck(d), WIRE_BAD_FIELD);
        access_of(k)->size = 0;
        assert_int_equal(rcheck(d), WIRE_BAD_FIELD);
        access_of(k)->size = 257;
        assert_int_equal(rcheck(d), WIRE_BAD_FIELD);
        access_of(k)->offset_high = 1;
        bool memory = kinds[k].type == REC_MRD || kinds[k].type == REC_MWR;
        assert_int_equal(rcheck(d), memory ? WIRE_FINE : WIRE_BAD_FIELD);
        struct wire_access *a = access_of(k);
        a->offset_high = a->offset = 0xffffffff;
        assert_int_equal(rcheck(d), WIRE_BAD_FIELD); // wraps
        bool config = kinds[k].type == REC_CFG_RD || kinds[k].type == REC_CFG_WR;
        access_of(k)->bar = 1;
        assert_int_equal(rcheck(d), config ? WIRE_BAD_FIELD : WIRE_FINE);
        access_of(k)->offset = 4092;
        assert_int_equal(rcheck(d), WIRE_FINE);
        access_of(k)->offset = 4093;
        assert_int_equal(rcheck(d), config ? WIRE_BAD_FIELD : WIRE_FINE);
        access_of(k)->offset = 0xfffd;
        assert_int_equal(rcheck(d), memory ? WIRE_FINE : WIRE_BAD_FIELD);
    }
    static const struct {
        unsigned kind, byte;
        uint8_t value;
    } wrong[] = {{11, 0, 0}, {11, 0, 5}, {11, 1, 2}, {11, 2, 1}, {11, 3, 1}, {12, 1, 8},
                 {12, 2, 1}, {14, 0, 3}, {14, 3, 1}, {15, 0, 0}, {15, 2, 1}};
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        record(wrong[i].kind, 4);
        buffer[sizeof(struct wire_record) + wrong[i].byte] = wrong[i].value;
        assert_int_equal(rcheck(WIRE_TO_HOST), WIRE_BAD_FIELD);
    }
}

/// Records one after another: what runs over the end is refused, the iterator visits each once.
static void test_many_records(void **state)
{
    (void)state;
    uint8_t frame[sizeof(struct wire_frame) + 3 * 20 + 8];
    uint8_t *at = frame + sizeof(struct wire_frame);
    for (unsigned i = 0; i < 3; i++, at += 20) {
        record(4, 12)->tag = (uint16_t)i;
        memcpy(at, buffer, 20);
    }
    record(9, 0);
    memcpy(at, buffer, 8);
    for (size_t cut = 1; cut < 68; cut++) {
        bool boundary = cut == 20 || cut == 40 || cut == 60;
        uint8_t *copy = malloc(cut);
        memcpy(copy, frame + sizeof(struct wire_frame), cut);
        assert_int_equal(wire_check_records(copy, cut, WIRE_TO_REMOTE),
                         boundary ? WIRE_FINE : WIRE_BAD_LENGTH);
        free(copy);
    }
    assert_int_equal(wire_check_records(frame + sizeof(struct wire_frame), 68, WIRE_TO_REMOTE), WIRE_FINE);
    struct wire_iter it = wire_records(frame, sizeof frame);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(wire_next(&it)->tag, i);
    assert_int_equal(wire_next(&it)->type, REC_DETACH);
    assert_null(wire_next(&it));
}

static void test_names(void **state)
{
    (void)state;
    for (unsigned i = 0; i < WIRE_FAULTS; i++)
        assert_string_not_equal(wire_fault_name((enum wire_fault)i), "?");
    assert_string_equal(wire_fault_name(WIRE_FAULTS), "?");
    char name[WIRE_NAME_MAX];
    wire_text_set(name, sizeof name, "a-name-that-is-much-too-long-for-the-wire");
    assert_int_equal(strlen(name), WIRE_NAME_MAX - 1);
    assert_true(wire_name_valid(name));
}

static void test_probe(void **state)
{
    (void)state;
    for (uint8_t kind = 0; kind < 6; kind++) {
        struct wire_frame *f = make(WIRE_PROBE, 1000);
        struct wire_probe *p = (struct wire_probe *)(f + 1);
        memset(p, 0, 1000);
        p->kind = kind;
        bool fine = kind == PROBE_ASK || kind == PROBE_ANSWER; // DONE is not padded
        assert_int_equal(check_own(), fine ? WIRE_FINE : WIRE_BAD_BODY);
        ((uint8_t *)p)[999] = 1;
        assert_int_equal(check_own(), WIRE_BAD_BODY);
        f = make(WIRE_PROBE, sizeof *p);
        memset(f + 1, 0, sizeof *p);
        ((struct wire_probe *)(f + 1))->kind = kind;
        assert_int_equal(check_own(), fine || kind == PROBE_DONE ? WIRE_FINE : WIRE_BAD_BODY);
        f->sequence = 1;
        assert_int_equal(check_own(), WIRE_BAD_HEADER);
        f = make(WIRE_PROBE, sizeof *p - 1);
        memset(f + 1, 0, sizeof *p - 1);
        ((uint8_t *)(f + 1))[0] = kind;
        assert_int_equal(check_own(), WIRE_BAD_BODY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),         cmocka_unit_test(test_probe),
        cmocka_unit_test(test_hello),          cmocka_unit_test(test_hello_ack_and_bye),
        cmocka_unit_test(test_announce),       cmocka_unit_test(test_record_types),
        cmocka_unit_test(test_interrupts),     cmocka_unit_test(test_dma_mappings),
        cmocka_unit_test(test_dma_data),       cmocka_unit_test(test_dma_tells),
        cmocka_unit_test(test_record_lengths), cmocka_unit_test(test_record_fields),
        cmocka_unit_test(test_many_records),   cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
