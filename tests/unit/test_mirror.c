// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/bus/guests.c hv/bus/ports.c hv/platform/root_port.c drivers/pci_class.c
// LINK: hv/bus/assoc.c hv/bus/attach.c hv/bus/config_view.c hv/bus/remote_fn.c hv/bus/report.c
// LINK: hv/bus/mirror_slots.c hv/bus/mirror_content.c hv/bus/mirror_map.c hv/bus/mirror_sync.c
// LINK: hv/bus/interrupts.c hv/bus/transact.c hv/platform/io_space.c hv/platform/pci_host.c net/wire.c
// The host's half of the DMA mirror, record by record: what is sent, in how many frames; what is believed,
// refused, and said about it. (Both halves at work: test_mirror_channel.c, test_mirror_link.c.)
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

static void *page(void *ctx, uint64_t gpa)
{
    (void)ctx;
    return gpa / PAGE < PAGES ? memory[gpa / PAGE] : NULL;
}
static bool watch(void *ctx, uint64_t gpa)
{
    (void)ctx, (void)gpa;
    return true;
}
static bool is_dirty(void *ctx, uint64_t gpa)
{
    (void)ctx;
    bool was = dirty[gpa / PAGE];
    dirty[gpa / PAGE] = false;
    return was;
}
static void settle(void *ctx)
{
    (void)ctx;
    settles++;
}
static bool range(void *ctx, unsigned index, uint64_t *gpa, uint64_t *size)
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

static void say(uint64_t iova, uint64_t pages)
{
    const struct iommu_scope scope = {
        .kind = IOMMU_SCOPE_PAGES, .domain = 1, .first_page = iova / PAGE, .pages = pages};
    bus_guest_mappings(fx.guest, &scope);
}

static void map_quietly(uint64_t iova, unsigned gpa_page, unsigned access)
{
    table[table_count++] = (struct table){iova, (uint64_t)gpa_page * PAGE, access};
}
static void map(uint64_t iova, unsigned gpa_page, unsigned access)
{
    map_quietly(iova, gpa_page, access);
    say(iova, 1);
}
static void forget(uint64_t iova)
{
    for (unsigned i = 0; i < table_count; i++) {
        if (table[i].iova == iova)
            table[i] = table[--table_count];
    }
}
static void unmap(uint64_t iova)
{
    forget(iova);
    say(iova, 1);
}
static void store(unsigned at_page, unsigned at, uint8_t value)
{
    memory[at_page][at] = value;
    dirty[at_page] = true;
}
static void doorbell(void)
{
    io_space_mmio_write(&fx.io, BAR + 0x100, 4, 1);
}
/// Has the remote executed everything?
static void flush(void)
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
static struct wire_dma_map next_map(void)
{
    struct wire_dma_map m;
    memcpy(&m, next_seen(REC_DMA_MAP)->body, sizeof(m));
    return m;
}
static struct wire_dma_unmap next_unmap(void)
{
    struct wire_dma_unmap u;
    memcpy(&u, next_seen(REC_DMA_UNMAP)->body, sizeof(u));
    return u;
}
/// The next record is DATA with these flags; its runs are put into `into`. Returns their bytes.
static unsigned next_data(unsigned flags, uint8_t *into, struct wire_dma_data *head)
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
static void only_doorbell(void)
{
    (void)next_seen(REC_MWR);
    assert_int_equal(seen_at, fake.seen_count);
    seen_at = fake.seen_count = 0;
}

/// DATA from the remote: one run.
static void tell(uint32_t slot, uint32_t generation, unsigned flags, unsigned offset, const void *bytes,
                 unsigned size)
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
static void tell_spoiled(uint32_t slot, uint32_t generation)
{
    const struct wire_dma_spoiled s = {.slot = slot, .generation = generation};
    net_lock();
    fake_deliver((struct wire_record){.type = REC_DMA_SPOILED, .function = fake.fns[0].handle}, &s,
                 sizeof(s));
    net_unlock();
}

// --- set-up ---

static int unit;

static void begin(uint32_t slots, bool iommu, uint64_t bytes)
{
    fixture_clear();
    memory = aligned_alloc(PAGE, PAGES * PAGE);
    memset(memory, 0, PAGES * PAGE);
    memset(dirty, 0, sizeof(dirty));
    table_count = settles = faults = seen_at = 0;
    ram_bytes = bytes;
    fake.fns[0].info.flags |= WIRE_FN_DMA | WIRE_FN_MSI;
    fake.fns[0].slots = slots;
    fixture_guest();
    const struct bus_memory m = {page, watch, is_dirty, settle, NULL, range, NULL};
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

static int setup(void **state)
{
    (void)state;
    begin(16, true, PAGES * PAGE);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_end();
    free(memory);
    assert_int_equal(host_frames_in_use(), 0);
    return 0;
}

// --- content ---

static void test_map_change_doorbell(void **state)
{
    (void)state;
    uint8_t remote[PAGE] = {0};
    struct wire_dma_data head;
    store(3, 100, 7);
    map(0x5000, 3, READ);
    store(3, 200, 8);
    assert_int_equal(fake.frames, 0); // nothing left yet
    doorbell();
    assert_int_equal(fake.frames, 1); // all of it in one frame
    fake_settle();
    assert_int_equal(next_data(WIRE_DMA_CLEAR, remote, &head), 64); // a line, of a page of zeroes
    struct wire_dma_map m = next_map();
    assert_int_equal(m.iova, 0x5000);
    assert_int_equal(m.slot, head.slot);
    assert_int_equal(m.access, READ);
    assert_int_equal(next_data(0, remote, &head), 64);
    assert_memory_equal(remote, memory[3], PAGE);
    only_doorbell();
    assert_true(settles > 0);
    flush(); // nothing has changed
    only_doorbell();
}

static void test_a_page_again(void **state)
{
    (void)state;
    uint8_t remote[PAGE] = {0};
    for (unsigned i = 0; i < PAGE; i++)
        store(3, i, (uint8_t)(i * 7 + 1));
    map(0x5000, 3, WRITE);
    flush();
    unsigned bytes = next_data(WIRE_DMA_CLEAR, remote, NULL);
    while (fake.seen[seen_at].rec.type == REC_DMA_DATA)
        bytes += next_data(0, remote, NULL);
    assert_int_equal(bytes, PAGE);
    assert_memory_equal(remote, memory[3], PAGE);
    uint32_t slot = next_map().slot;
    only_doorbell();
    unmap(0x5000);
    flush();
    assert_int_equal(next_unmap().iova, 0x5000);
    only_doorbell();
    map(0x9000, 3, WRITE); // unchanged: no content
    flush();
    struct wire_dma_map m = next_map();
    assert_int_equal(m.slot, slot);
    assert_int_equal(m.iova, 0x9000);
    only_doorbell();
    unmap(0x9000);
    store(3, 1000, (uint8_t)~memory[3][1000]);
    map(0x9000, 3, READ); // one line of it
    flush();
    (void)next_unmap();
    assert_int_equal(next_data(0, remote, NULL), 64);
    assert_memory_equal(remote, memory[3], PAGE);
    assert_int_equal(next_map().slot, slot);
    only_doorbell();
    assert_int_equal(bus_counters().dma_cache_hits, 2);
}

/// While the function may write the page, a byte that did not change is never sent.
static void test_bytes_beside(void **state)
{
    (void)state;
    uint8_t remote[PAGE];
    map(0x5000, 3, RW);
    flush();
    (void)next_data(WIRE_DMA_CLEAR, remote, NULL);
    (void)next_map();
    only_doorbell();
    store(3, 5, 1);
    store(3, 7, 1);
    store(3, 63, 1);
    store(3, 64, 1);
    for (unsigned i = 130; i < 147; i++)
        store(3, i, 0xff);
    flush();
    memset(remote, 0xee, PAGE);
    assert_int_equal(next_data(0, remote, NULL), 4 + 17);
    for (unsigned i = 0; i < PAGE; i++)
        assert_int_equal(remote[i], memory[3][i] ? memory[3][i] : 0xee);
    only_doorbell();
}

static void test_write_only_pages_stay_quiet(void **state)
{
    (void)state;
    map(0x5000, 3, WRITE);
    flush();
    seen_at = fake.seen_count = 0;
    store(3, 5, 1);
    flush();
    only_doorbell();
}

static void test_two_places(void **state)
{
    (void)state;
    uint8_t remote[2][PAGE] = {0};
    map(0x5000, 3, READ);
    map(0x6000, 3, RW);
    flush();
    seen_at = fake.seen_count = 0;
    store(3, 10, 1);
    flush();
    struct wire_dma_data a, b;
    (void)next_data(0, remote[0], &a);
    (void)next_data(0, remote[1], &b);
    assert_int_not_equal(a.slot, b.slot);
    only_doorbell();
    tell(1, 2, 0, 20, "x", 1); // what is written through one is seen through the other
    bus_guest_collect(fx.guest);
    flush();
    (void)next_data(0, remote[0], &a);
    assert_int_equal(a.slot, 0);
    assert_int_equal(remote[0][20], 'x');
    only_doorbell();
}

// --- mappings ---

static void test_unmaps_grow_together(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6; i++)
        map(0x10000 + i * PAGE, i, READ);
    map(0x20000, 7, READ);
    flush();
    seen_at = fake.seen_count = 0;
    table_count = 0;
    const struct iommu_scope all = {.kind = IOMMU_SCOPE_DOMAIN, .domain = 1};
    bus_guest_mappings(fx.guest, &all);
    flush();
    unsigned pages = next_unmap().pages + next_unmap().pages;
    assert_int_equal(pages, 7);
    only_doorbell();
    assert_int_equal(bus_counters().dma_mapped, 0);
    const struct iommu_scope other = {.kind = IOMMU_SCOPE_SOURCE, .source = 0x55};
    map_quietly(0x5000, 1, READ);
    bus_guest_mappings(fx.guest, &other); // not about this function
    flush();
    only_doorbell();
}

static void test_changed_without_unmap(void **state)
{
    (void)state;
    map(0x5000, 3, READ);
    flush();
    seen_at = fake.seen_count = 0;
    forget(0x5000);
    map(0x5000, 4, WRITE);
    flush();
    uint8_t remote[PAGE];
    assert_int_equal(next_unmap().iova, 0x5000);
    (void)next_data(WIRE_DMA_CLEAR, remote, NULL);
    assert_int_equal(next_map().access, WRITE);
    only_doorbell();
}

static void test_refused(void **state)
{
    (void)state;
    table[table_count++] = (struct table){0x5000, 0x100000000ull, RW}; // not its memory
    say(0x5000, 1);
    assert_non_null(strstr(host_log_last(), "outside the guest's memory"));
    unsigned lines = host_log_count();
    map(0xfee00000, 3, WRITE);
    assert_int_equal(host_log_count(), lines); // said once
    assert_int_equal(bus_counters().dma_refused, 2);
    for (unsigned i = 0; i < 20; i++)
        map(0x10000 + i * PAGE, i, RW);
    assert_non_null(strstr(host_log_last(), "no more pages to lend"));
    assert_int_equal(bus_counters().dma_mapped, 16);
    assert_int_equal(bus_counters().dma_refused, 2 + 4);
    unmap(0x10000);
    map(0x80000, 30, RW); // there is room again
    assert_int_equal(bus_counters().dma_mapped, 16);
    flush();
}

static void test_no_twins(void **state)
{
    (void)state;
    map(0x5000, 3, RW); // takes a frame of slots, too
    flush();
    fx.guest->dma.frames_limit = fx.guest->dma.frames_used;
    map(0x6000, 4, RW);
    assert_non_null(strstr(host_log_last(), "no memory is left to mirror it"));
    assert_int_equal(bus_counters().dma_mapped, 1);
    store(5, 0, 1);
    map(0x7000, 5, READ);
    map(0x8000, 6, WRITE);
    assert_int_equal(bus_counters().dma_mapped, 3);
    flush();
    seen_at = fake.seen_count = 0;
    store(5, 100, 9);
    flush();
    uint8_t remote[PAGE];
    unsigned bytes = 0;
    while (fake.seen[seen_at].rec.type == REC_DMA_DATA)
        bytes += next_data(0, remote, NULL);
    assert_int_equal(bytes, PAGE); // all of it, for want of a twin
    assert_memory_equal(remote, memory[5], PAGE);
    only_doorbell();
    unmap(0x5000); // its twin is free again
    map(0x6000, 4, RW);
    assert_int_equal(bus_counters().dma_mapped, 3);
    flush();
}

// --- from the remote ---

static void test_data(void **state)
{
    (void)state;
    map(0x5000, 3, WRITE); // slot 0, generation 1
    map(0x6000, 4, RW);    // slot 1, generation 2
    flush();
    tell(0, 1, 0, 10, "data", 4);
    assert_memory_equal(memory[3] + 10, "data", 4); // at once
    tell(1, 2, 0, 10, "ring", 4);
    assert_int_equal(memory[4][10], 0); // the guest runs
    bus_guest_collect(fx.guest);
    assert_memory_equal(memory[4] + 10, "ring", 4);
    tell(1, 2, WIRE_DMA_MORE, 20, "half", 4);
    bus_guest_collect(fx.guest);
    assert_int_equal(memory[4][20], 0);
    tell(1, 2, 0, 30, "other", 5);
    bus_guest_collect(fx.guest);
    assert_memory_equal(memory[4] + 20, "half", 4);
    assert_memory_equal(memory[4] + 30, "other", 5);
    seen_at = fake.seen_count = 0;
    flush(); // what came from there is not sent back
    only_doorbell();
}

static void test_round_ends_empty(void **state)
{
    (void)state;
    map(0x6000, 4, RW);
    flush();
    tell(0, 1, WIRE_DMA_MORE, 20, "half", 4);
    tell(0, 0, 0, 0, NULL, 0);
    bus_guest_collect(fx.guest);
    assert_memory_equal(memory[4] + 20, "half", 4);
    assert_int_equal(bus_counters().malformed, 0);
}

static void test_stale(void **state)
{
    (void)state;
    map(0x5000, 3, WRITE);
    map(0x6000, 4, RW);
    flush();
    tell(1, 2, WIRE_DMA_MORE, 0, "late", 4); // waits for the end of its round
    seen_at = fake.seen_count = 0;
    unmap(0x5000);
    tell(0, 1, 0, 10, "data", 4);
    assert_int_equal(memory[3][10], 0);
    unmap(0x6000);
    tell(1, 2, 0, 20, "x", 1);
    bus_guest_collect(fx.guest);
    assert_int_equal(memory[4][20], 0);
    flush();
    assert_int_equal(next_unmap().seen, 0); // the one that waits was not taken
    assert_int_equal(next_unmap().seen, 2);
    only_doorbell();
    map(0x5000, 3, WRITE);
    tell(0, 1, 0, 10, "data", 4); // of the mapping before
    assert_int_equal(memory[3][10], 0);
    assert_int_equal(bus_counters().dma_stale, 3);
    assert_int_equal(bus_counters().malformed, 0);
    flush();
}

static void test_violations(void **state)
{
    (void)state;
    map(0x5000, 3, READ);
    flush();
    tell(0, 1, 0, 10, "data", 4); // read-only
    tell(0, 2, 0, 10, "data", 4); // a mapping that was never made
    tell(0, 0, 0, 10, "data", 4);
    assert_int_equal(memory[3][10], 0);
    assert_int_equal(bus_counters().dma_stale, 0);
    assert_int_equal(bus_counters().malformed, 3);
    for (unsigned i = 0; i < 300 && !fake.cuts; i++)
        tell(99, 1, 0, 0, "x", 1);
    assert_int_equal(fake.cuts, 1);
    assert_int_equal(bus_counters().malformed, MIRROR_OFFENCES_MAX);
    assert_int_equal(bus_counters().dma_mapped, 0);
    assert_false(bus_guest_ready(fx.guest));
}

static void test_runs_outside(void **state)
{
    (void)state;
    map(0x5000, 3, WRITE);
    flush();
    struct {
        struct wire_dma_data d;
        struct wire_dma_run run;
        uint8_t bytes[8];
    } __attribute__((packed)) r = {.d = {.slot = 0, .generation = 1}, .run = {.offset = 4092, .size = 8}};
    const struct wire_record rec = {.type = REC_DMA_DATA, .function = fake.fns[0].handle};
    net_lock();
    fake_deliver(rec, &r, sizeof(r)); // over the end of the page
    r.run = (struct wire_dma_run){.offset = 0, .size = 200};
    fake_deliver(rec, &r, sizeof(r)); // more than the record has
    fake_deliver(rec, &r, sizeof(r.d) + 2);
    fake_deliver(rec, &r, 3);
    net_unlock();
    assert_int_equal(bus_counters().malformed, 4);
}

static void test_spoiled(void **state)
{
    (void)state;
    uint8_t remote[PAGE] = {0};
    store(3, 1, 9);
    map(0x5000, 3, RW); // generation 1
    flush();
    unmap(0x5000);
    map(0x6000, 3, RW); // the same slot; the remote will not have it
    flush();
    seen_at = fake.seen_count = 0;
    tell_spoiled(0, 1);
    bus_guest_collect(fx.guest);
    fake_settle();
    assert_int_equal(next_unmap().iova, 0x6000);
    assert_int_equal(next_data(WIRE_DMA_CLEAR, remote, NULL), 64);
    assert_int_equal(next_map().iova, 0x6000); // generation 3
    assert_int_equal(seen_at, fake.seen_count);
    assert_memory_equal(remote, memory[3], PAGE);
    seen_at = fake.seen_count = 0;
    tell_spoiled(0, 1); // old news
    bus_guest_collect(fx.guest);
    flush();
    only_doorbell();
    unmap(0x6000);
    tell_spoiled(0, 3); // not mapped: all of it next time
    map(0x6000, 3, RW);
    flush();
    (void)next_unmap();
    assert_int_equal(next_data(WIRE_DMA_CLEAR, remote, NULL), 64);
    uint32_t generation = next_map().generation;
    only_doorbell();
    unmap(0x6000);
    map(0x6000, 3, RW);
    tell_spoiled(0, generation);
    unmap(0x6000); // before anything was done about it
    map(0x6000, 3, RW);
    flush();
    (void)next_unmap();
    (void)next_map();
    (void)next_unmap();
    assert_int_equal(next_data(WIRE_DMA_CLEAR, remote, NULL), 64);
    (void)next_map();
    only_doorbell();
}

static void test_faults(void **state)
{
    (void)state;
    const struct wire_dma_fault fault = {.iova = 0xabc000, .write = 1, .reason = 5};
    const struct wire_record rec = {.type = REC_DMA_FAULT, .function = fake.fns[0].handle};
    unsigned lines = host_log_count();
    net_lock();
    fake_deliver(rec, &fault, sizeof(fault));
    fake_deliver(rec, &fault, sizeof(fault));
    net_unlock();
    bus_guest_collect(fx.guest);
    assert_int_equal(faults, 2);
    assert_int_equal(host_log_count(), lines + 1);
    assert_int_equal(bus_counters().dma_faults, 2);
}

/// An interrupt behind DATA reaches the guest behind it.
static bool message_came;
static void on_message(void *ctx, const struct interrupt_message *m)
{
    (void)ctx, (void)m;
    assert_memory_equal(memory[4], "ring", 4);
    message_came = true;
}

static void test_interrupt_behind_data(void **state)
{
    (void)state;
    const struct bus_interrupts interrupts = {on_message, NULL, NULL, NULL};
    bus_guest_interrupts(fx.guest, &interrupts);
    unsigned cap = fn_of(0)->irq.cap_msi;
    cfg_write(SLOT(2), cap + 4, 4, 0xfee00000);
    cfg_write(SLOT(2), cap + 2, 2, 1);
    map(0x6000, 4, RW);
    flush();
    tell(0, 1, 0, 0, "ring", 4);
    net_lock();
    fake_deliver((struct wire_record){.type = REC_MSI, .function = fake.fns[0].handle}, &(struct wire_msi){0},
                 sizeof(struct wire_msi));
    net_unlock();
    message_came = false;
    bus_guest_collect(fx.guest);
    assert_true(message_came);
}

// --- links ---

static void test_link_full(void **state)
{
    (void)state;
    fake.busy = 40;
    for (unsigned i = 0; i < PAGE; i++)
        store(3, i, (uint8_t)(i | 1));
    map(0x5000, 3, RW);
    flush();
    assert_int_equal(fake.cuts, 0);
    assert_true(bus_counters().queue_stalls > 0);
    assert_int_equal(bus_counters().dma_mapped, 1);
    store(3, 9, 77);
    fake.busy = ~0u; // for ever
    doorbell();
    assert_int_equal(fake.cuts, 1); // rather than two ends that disagree
    fake.busy = 0;
    assert_int_equal(bus_counters().dma_mapped, 0);
}

static void test_back_again(void **state)
{
    (void)state;
    cfg_write(SLOT(2), COMMAND, 2, 6);
    store(3, 1, 9);
    map(0x5000, 3, RW);
    flush();
    fake_down("cable");
    assert_int_equal(bus_counters().dma_mapped, 0);
    unmap(0x5000); // while it is away
    map(0x6000, 3, RW);
    seen_at = fake.seen_count = 0;
    fake_announce(PEER, BOOT_ID, 2);
    fake_up();
    fake_settle();
    assert_int_equal(fake.fns[0].config[COMMAND] & 4, 4); // it masters the bus again
    bus_guest_collect(fx.guest);
    fake_settle();
    uint8_t remote[PAGE] = {0};
    assert_int_equal(next_data(WIRE_DMA_CLEAR, remote, NULL), 64);
    assert_int_equal(next_map().iova, 0x6000);
    assert_int_equal(seen_at, fake.seen_count);
}

static void test_guest_reset(void **state)
{
    (void)state;
    unsigned starts = fake.fns[0].starts;
    map(0x5000, 3, RW);
    flush();
    table_count = 0;
    bus_guest_reset(fx.guest);
    assert_int_equal(fake.fns[0].starts, starts + 1);
    assert_int_equal(bus_counters().dma_mapped, 0);
    tell(0, 1, 0, 0, "late", 4);
    bus_guest_collect(fx.guest);
    assert_int_equal(memory[3][0], 0);
    seen_at = fake.seen_count = 0;
    flush();
    only_doorbell();
}

// --- who may not ---

static void test_no_iommu_there(void **state)
{
    (void)state;
    unsigned lines = host_log_count();
    cfg_write(SLOT(3), COMMAND, 2, 6); // the other function's remote has none
    assert_int_equal(host_log_count(), lines + 1);
    assert_non_null(strstr(host_log_last(), "its remote has no IOMMU"));
    assert_int_equal(cfg_read(SLOT(3), COMMAND, 2), 2);
    assert_int_equal(fake.fns[1].starts, 0);
    cfg_write(SLOT(2), COMMAND, 2, 6);
    assert_int_equal(host_log_count(), lines + 1);
    assert_int_equal(cfg_read(SLOT(2), COMMAND, 2), 6);
}

static void test_start_refused(void **state)
{
    (void)state;
    begin(0, true, PAGES * PAGE);
    map(0x5000, 3, RW);
    flush();
    only_doorbell();
    fixture_end();
    free(memory);
    assert_int_equal(host_frames_in_use(), 0);
}

static void test_all_of_memory(void **state)
{
    (void)state;
    begin(PAGES, false, PAGES * PAGE);
    uint8_t remote[PAGE] = {0};
    assert_int_equal(fn_of(0)->mirror->mapped, PAGES);
    store(3, 10, 1);
    flush();
    struct wire_dma_data head;
    assert_int_equal(next_data(0, remote, &head), 1);
    assert_int_equal(head.slot, 3);
    only_doorbell();
    tell(7, 8, 0, 4, "x", 1);
    bus_guest_collect(fx.guest);
    assert_int_equal(memory[7][4], 'x');
    fixture_end();
    free(memory);
    assert_int_equal(host_frames_in_use(), 0);
}

static void test_too_much_memory(void **state)
{
    (void)state;
    begin(PAGES - 1, false, PAGES * PAGE); // the remote lends one page less
    assert_int_equal(fn_of(0)->mirror->state, MIRROR_OFF);
    fixture_end();
    free(memory);
    begin(PAGES, false, MIRROR_MEMORY_LIMIT + PAGE);
    assert_null(fn_of(0)->mirror);
    fixture_end();
    free(memory);
    assert_int_equal(host_frames_in_use(), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_map_change_doorbell),
        T(test_a_page_again),
        T(test_bytes_beside),
        T(test_write_only_pages_stay_quiet),
        T(test_two_places),
        T(test_unmaps_grow_together),
        T(test_changed_without_unmap),
        T(test_refused),
        T(test_no_twins),
        T(test_data),
        T(test_round_ends_empty),
        T(test_stale),
        T(test_violations),
        T(test_runs_outside),
        T(test_spoiled),
        T(test_faults),
        T(test_interrupt_behind_data),
        T(test_link_full),
        T(test_back_again),
        T(test_guest_reset),
        T(test_no_iommu_there),
        cmocka_unit_test(test_start_refused),
        cmocka_unit_test(test_all_of_memory),
        cmocka_unit_test(test_too_much_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
