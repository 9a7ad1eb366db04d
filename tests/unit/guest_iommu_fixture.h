// SPDX-License-Identifier: BSD-2-Clause
// A guest's IOMMU with two megabytes of RAM around it (at 0, and a little at 4 GiB), a log of what it says,
// and the moves of a driver. For tests/unit/test_guest_iommu*.c. cmocka.h comes before.
#pragma once
#include "hv/platform/iommu.h"
#include <string.h>

enum {
    VER = 0x00,
    CAP = 0x08,
    ECAP = 0x10,
    GCMD = 0x18,
    GSTS = 0x1c,
    RTADDR = 0x20,
    CCMD = 0x28,
    FSTS = 0x34,
    FECTL = 0x38,
    FEDATA = 0x3c,
    FEADDR = 0x40,
    FEUADDR = 0x44,
    IQH = 0x80,
    IQT = 0x88,
    IQA = 0x90,
    ICS = 0x9c,
    IECTL = 0xa0,
    IEDATA = 0xa4,
    IEADDR = 0xa8,
};
#define TE        0x80000000u
#define SRTP      0x40000000u
#define QIE       0x04000000u
#define RAM_SIZE  0x200000ull
#define HOLE      0x80000ull // one page that is not RAM
#define HIGH_RAM  0x100000000ull
#define HIGH_SIZE 0x10000ull
#define QUEUE     0x10000u
#define ROOT      0x20000u
#define CONTEXT   0x21000u
#define TABLE_3   0x22000u
#define TABLE_2   0x23000u
#define TABLE_1   0x24000u
#define STATUS    0x30000u
#define SOURCE    0x0018u // 00:03.0
#define DOMAIN    7u
#define CALLS_MAX 64

static struct io_space io;
static struct guest_iommu *unit;
static _Alignas(4096) uint8_t ram[RAM_SIZE], high_ram[HIGH_SIZE];
static struct iommu_scope told[CALLS_MAX];
static unsigned told_count, sent_count, written_count;
static struct {
    uint64_t address;
    uint32_t data;
} sent[CALLS_MAX];

static void *memory(void *ctx, uint64_t gpa, uint64_t *contiguous)
{
    (void)ctx;
    if (gpa >= HIGH_RAM && gpa < HIGH_RAM + HIGH_SIZE) {
        *contiguous = HIGH_RAM + HIGH_SIZE - gpa;
        return high_ram + (gpa - HIGH_RAM);
    }
    if (gpa >= RAM_SIZE || (gpa >= HOLE && gpa < HOLE + 4096))
        return NULL;
    *contiguous = (gpa < HOLE ? HOLE : RAM_SIZE) - gpa;
    return ram + gpa;
}

#define UNTOUCHED 0x100000ull // from here on RAM is zero until something is written there
static bool touched;
static const void *peek(void *ctx, uint64_t gpa, uint64_t *contiguous)
{
    if (gpa >= UNTOUCHED && gpa < RAM_SIZE && !touched)
        return NULL;
    const void *at = memory(ctx, gpa, contiguous);
    if (gpa < UNTOUCHED && at && *contiguous > UNTOUCHED - gpa)
        *contiguous = UNTOUCHED - gpa;
    return at;
}

static void written(void *ctx, uint64_t gpa)
{
    (void)ctx, (void)gpa;
    written_count++;
    touched |= gpa >= UNTOUCHED && gpa < RAM_SIZE;
}

static uint32_t told_early; // the status when scopes were told
static void changed(void *ctx, const struct iommu_scope *scope)
{
    (void)ctx;
    memcpy(&told_early, ram + STATUS, sizeof told_early);
    if (told_count < CALLS_MAX)
        told[told_count] = *scope;
    told_count++;
}

static void message(void *ctx, uint64_t address, uint32_t data)
{
    (void)ctx;
    sent[sent_count % CALLS_MAX].address = address;
    sent[sent_count++ % CALLS_MAX].data = data;
}

static int setup(void **state)
{
    (void)state;
    const struct guest_iommu_ops ops = {
        .memory = memory, .peek = peek, .written = written, .changed = changed, .message = message};
    memset(&io, 0, sizeof io);
    memset(ram, 0, sizeof ram);
    memset(high_ram, 0, sizeof high_ram);
    touched = false;
    told_count = sent_count = written_count = 0;
    return guest_iommu_create(&unit, &io, &ops) == OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    guest_iommu_destroy(unit);
    return 0;
}

static inline uint32_t get32(unsigned offset)
{
    return (uint32_t)io_space_mmio_read(&io, GUEST_IOMMU_BASE + offset, 4);
}

static inline uint64_t get64(unsigned offset)
{
    return io_space_mmio_read(&io, GUEST_IOMMU_BASE + offset, 8);
}

static inline void set32(unsigned offset, uint32_t value)
{
    io_space_mmio_write(&io, GUEST_IOMMU_BASE + offset, 4, value);
}

static inline void set64(unsigned offset, uint64_t value)
{
    io_space_mmio_write(&io, GUEST_IOMMU_BASE + offset, 8, value);
}

static inline void put64(uint64_t gpa, uint64_t value)
{
    uint64_t room;
    uint8_t *at = memory(NULL, gpa, &room);
    assert_non_null(at);
    memcpy(at, &value, 8);
}

static inline uint32_t peek32(uint64_t gpa)
{
    uint64_t room;
    uint32_t value;
    memcpy(&value, memory(NULL, gpa, &room), 4);
    return value;
}

/// Descriptor behind the tail; the tail is not moved.
static unsigned queue_at;
static inline void descriptor(uint64_t low, uint64_t high)
{
    put64(QUEUE + queue_at, low);
    put64(QUEUE + queue_at + 8, high);
    queue_at = (queue_at + 16) % 4096;
}

static inline void submit(void)
{
    set32(IQT, queue_at);
}

#define CONTEXT_GLOBAL       0x11ull
#define CONTEXT_DOMAIN(d)    (0x21ull | (uint64_t)(d) << 16)
#define CONTEXT_DEVICE(s, f) (0x31ull | (uint64_t)(s) << 32 | (uint64_t)(f) << 48)
#define IOTLB_GLOBAL         0xd2ull // with DR, DW
#define IOTLB_DOMAIN(d)      (0xe2ull | (uint64_t)(d) << 16)
#define IOTLB_PAGES(d)       (0xf2ull | (uint64_t)(d) << 16)
#define WAIT_WRITE(v)        (0x25ull | (uint64_t)(v) << 32)
#define WAIT_INTERRUPT       0x15ull

/// The entry of SOURCE: tables of 39 bits, DOMAIN.
static inline void give_context(void)
{
    put64(ROOT + (SOURCE >> 8) * 16u, CONTEXT | 1);
    put64(CONTEXT + (SOURCE & 0xff) * 16u, TABLE_3 | 1);
    put64(CONTEXT + (SOURCE & 0xff) * 16u + 8, DOMAIN << 8 | 1);
}

/// What a driver does at start (TESTBENCH's order), translation on at the end.
static inline void turn_on(void)
{
    queue_at = 0;
    set32(IQT, 0);
    set64(IQA, QUEUE);
    set32(GCMD, QIE);
    assert_int_equal(get32(GSTS), QIE);
    set64(RTADDR, ROOT);
    set32(GCMD, QIE | SRTP);
    assert_int_equal(get32(GSTS), QIE | SRTP);
    descriptor(CONTEXT_GLOBAL, 0);
    descriptor(WAIT_WRITE(2), STATUS);
    submit();
    descriptor(IOTLB_GLOBAL, 0);
    descriptor(WAIT_WRITE(2), STATUS + 4);
    submit();
    set32(GCMD, QIE | TE);
    assert_int_equal(get32(GSTS), QIE | SRTP | TE);
}
