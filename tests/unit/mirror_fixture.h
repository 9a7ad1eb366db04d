// SPDX-License-Identifier: BSD-2-Clause
// What tests of the host's half of the DMA mirror have in common: a guest of some pages whose IOMMU is a
// table, a remote that is played (fake_remote.h), and the records that it saw. Included once in a test.
#pragma once
#include "hv/platform/iommu.h"
#include "tests/unit/bus_fixture.h"
#include <setjmp.h>
#include <stdarg.h>
// cmocka wants these first
#include <cmocka.h>

#define PAGE    4096u
#define PAGES   64u
#define READ    WIRE_DMA_READ
#define WRITE   WIRE_DMA_WRITE
#define RW      (WIRE_DMA_READ | WIRE_DMA_WRITE)
#define BAR     (fn_of(0)->bars[0].mapped)
#define COMMAND 4u

static uint8_t (*memory)[PAGE];
static bool dirty[PAGES];
static uint64_t ram_bytes;
static unsigned settles, faults;
static struct table {
    uint64_t iova, gpa;
    unsigned access;
} table[PAGES * 2];
static unsigned table_count;

// --- the guest ---

static inline void *page(void *ctx, uint64_t gpa)
{
    (void)ctx;
    return gpa / PAGE < PAGES ? memory[gpa / PAGE] : NULL;
}
static inline bool watch(void *ctx, uint64_t gpa)
{
    (void)ctx, (void)gpa;
    return true;
}
static inline bool is_dirty(void *ctx, uint64_t gpa)
{
    (void)ctx;
    bool was = dirty[gpa / PAGE];
    dirty[gpa / PAGE] = false;
    return was;
}
static inline void settle(void *ctx)
{
    (void)ctx;
    settles++;
}
static unsigned stills;
/// What another CPU of the guest does before it is out of it; true: it was in. NULL: there is none.
static bool (*other_cpu)(void);
static inline bool still(void *ctx)
{
    (void)ctx;
    stills++;
    return other_cpu && other_cpu();
}
static inline bool range(void *ctx, unsigned index, uint64_t *gpa, uint64_t *size)
{
    (void)ctx;
    *gpa = 0;
    *size = ram_bytes;
    return index == 0;
}

enum iommu_state iommu_state(struct guest_iommu *u, uint16_t source, uint16_t *domain)
{
    (void)u, (void)source;
    *domain = 1;
    return IOMMU_TRANSLATED;
}
bool iommu_walk(struct guest_iommu *u, uint16_t source, uint64_t first_page, uint64_t pages,
                bool (*each)(void *ctx, uint64_t iova_page, uint64_t gpa, unsigned access), void *ctx)
{
    (void)u;
    for (unsigned i = 0; i < table_count && source == fn_of(0)->devfn;
         i++) { // the other function maps nothing
        uint64_t at = table[i].iova / PAGE;
        if (at - first_page < pages && !each(ctx, at, table[i].gpa, table[i].access))
            return false;
    }
    return true;
}
void iommu_fault(struct guest_iommu *u, uint16_t source, uint64_t iova, bool write, uint8_t reason)
{
    (void)u;
    assert_int_equal(source, fn_of(0)->devfn);
    assert_int_equal(iova, 0xabc000);
    assert_true(write);
    assert_int_equal(reason, 5);
    faults++;
}

static inline void say(uint64_t iova, uint64_t pages)
{
    const struct iommu_scope scope = {
        .kind = IOMMU_SCOPE_PAGES, .domain = 1, .first_page = iova / PAGE, .pages = pages};
    bus_guest_mappings(fx.guest, &scope);
}

static inline void map_quietly(uint64_t iova, unsigned gpa_page, unsigned access)
{
    table[table_count++] = (struct table){iova, (uint64_t)gpa_page * PAGE, access};
}
static inline void map(uint64_t iova, unsigned gpa_page, unsigned access)
{
    map_quietly(iova, gpa_page, access);
    say(iova, 1);
}
static inline void forget(uint64_t iova)
{
    for (unsigned i = 0; i < table_count; i++) {
        if (table[i].iova == iova)
            table[i] = table[--table_count];
    }
}
static inline void unmap(uint64_t iova)
{
    forget(iova);
    say(iova, 1);
}
static inline void store(unsigned at_page, unsigned at, uint8_t value)
{
    memory[at_page][at] = value;
    dirty[at_page] = true;
}
static inline void doorbell(void)
{
    io_space_mmio_write(&fx.io, BAR + 0x100, 4, 1);
}
/// Has the remote executed everything?
static inline void flush(void)
{
    doorbell();
    fake_settle();
}

// --- what the remote saw ---

static unsigned seen_at; // read so far

static const struct fake_record *next_seen(unsigned type)
{
    assert_true(seen_at < fake.seen_count);
    assert_int_equal(fake.seen[seen_at].rec.type, type);
    return &fake.seen[seen_at++];
}
static inline struct wire_dma_map next_map(void)
{
    struct wire_dma_map m;
    memcpy(&m, next_seen(REC_DMA_MAP)->body, sizeof(m));
    return m;
}
static inline struct wire_dma_unmap next_unmap(void)
{
    struct wire_dma_unmap u;
    memcpy(&u, next_seen(REC_DMA_UNMAP)->body, sizeof(u));
    return u;
}
/// The next record is DATA with these flags; its runs are put into `into`. Returns their bytes.
static inline unsigned next_data(unsigned flags, uint8_t *into, struct wire_dma_data *head)
{
    const struct fake_record *r = next_seen(REC_DMA_DATA);
    struct wire_dma_data d;
    unsigned bytes = 0;
    memcpy(&d, r->body, sizeof(d));
    assert_int_equal(d.flags, flags);
    assert_int_equal(d.generation, 0);
    for (size_t at = sizeof(d); at < r->size;) {
        struct wire_dma_run run;
        memcpy(&run, r->body + at, sizeof(run));
        memcpy(into + run.offset, r->body + at + sizeof(run), run.size);
        bytes += run.size;
        at += sizeof(run) + run.size;
    }
    if (head)
        *head = d;
    return bytes;
}
static inline void only_doorbell(void)
{
    (void)next_seen(REC_MWR);
    assert_int_equal(seen_at, fake.seen_count);
    seen_at = fake.seen_count = 0;
}

/// DATA from the remote: one run.
static inline void tell(uint32_t slot, uint32_t generation, unsigned flags, unsigned offset,
                        const void *bytes, unsigned size)
{
    uint8_t body[sizeof(struct wire_dma_data) + sizeof(struct wire_dma_run) + 64];
    struct wire_dma_data d = {.slot = slot, .generation = generation, .flags = (uint8_t)flags};
    struct wire_dma_run run = {.offset = (uint16_t)offset, .size = (uint16_t)size};
    memcpy(body, &d, sizeof(d));
    memcpy(body + sizeof(d), &run, sizeof(run));
    if (size)
        memcpy(body + sizeof(d) + sizeof(run), bytes, size);
    net_lock();
    fake_deliver((struct wire_record){.type = REC_DMA_DATA, .function = fake.fns[0].handle}, body,
                 sizeof(d) + (size ? sizeof(run) + size : 0));
    net_unlock();
}
static inline void tell_spoiled(uint32_t slot, uint32_t generation)
{
    const struct wire_dma_spoiled s = {.slot = slot, .generation = generation};
    net_lock();
    fake_deliver((struct wire_record){.type = REC_DMA_SPOILED, .function = fake.fns[0].handle}, &s,
                 sizeof(s));
    net_unlock();
}

// --- set-up ---

static int unit;

static inline void begin(uint32_t slots, bool iommu, uint64_t bytes)
{
    fixture_clear();
    memory = aligned_alloc(PAGE, PAGES * PAGE);
    memset(memory, 0, PAGES * PAGE);
    memset(dirty, 0, sizeof(dirty));
    table_count = settles = faults = seen_at = stills = 0;
    other_cpu = NULL;
    ram_bytes = bytes;
    fake.fns[0].info.flags |= WIRE_FN_DMA | WIRE_FN_MSI;
    fake.fns[0].slots = slots;
    fixture_guest();
    const struct bus_memory m = {
        .still = still, .page = page, .watch = watch, .dirty = is_dirty, .settle = settle, .range = range};
    bus_guest_dma(fx.guest, &m, iommu ? (struct guest_iommu *)(void *)&unit : NULL);
    fake_announce(PEER, BOOT_ID, 2);
    fake_up();
    fake_settle();
    assert_true(bus_guest_ready(fx.guest));
    bus_guest_start(fx.guest);
    bus_guest_collect(fx.guest);
    flush();
    fake.seen_count = 0;
    fake_forget_counts();
    memset(&bus_counts, 0, sizeof(bus_counts));
}

static inline int setup(void **state)
{
    (void)state;
    begin(16, true, PAGES * PAGE);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    fixture_end();
    free(memory);
    assert_int_equal(host_frames_in_use(), 0);
    return 0;
}

#define MIRROR_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
