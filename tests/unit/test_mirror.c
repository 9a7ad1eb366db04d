// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/bus/guests.c hv/bus/ports.c hv/platform/root_port.c drivers/pci_class.c
// LINK: hv/bus/assoc.c hv/bus/attach.c hv/bus/config_view.c hv/bus/remote_fn.c hv/bus/report.c
// LINK: hv/bus/mirror_slots.c hv/bus/mirror_content.c hv/bus/mirror_map.c hv/bus/mirror_sync.c
// LINK: hv/bus/interrupts.c hv/bus/transact.c hv/platform/io_space.c hv/platform/pci_host.c net/wire.c
// The host's half of the DMA mirror, record by record: what is sent, and in how many frames, when the guest
// maps, writes and unmaps. (What it takes from a remote: test_mirror_taken.c. Both halves at work:
// test_mirror_channel.c, test_mirror_link.c.)
#include "tests/unit/mirror_fixture.h"

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

static unsigned wrote;
static uint64_t notes[PAGES]; // where nested paging notes it
static void store_noted(unsigned at_page, uint8_t value)
{
    store(at_page, 64, value);
    notes[at_page] = 1;
}
static bool writes_data_then_index(void)
{
    if (wrote++ != 0)
        return false;
    store_noted(9, 1); // one of them was looked at already
    store_noted(3, 1);
    store_noted(6, 2);
    return true;
}

/// Another CPU of the guest writes while the pages are looked at: what it wrote first is not left behind.
static void test_other_cpu_writes(void **state)
{
    (void)state;
    uint8_t remote[PAGE] = {0};
    map(0x5000, 3, READ);
    map(0x6000, 6, READ);
    map(0x7000, 9, READ);
    flush();
    seen_at = fake.seen_count = 0;
    memset(notes, 0, sizeof(notes));
    const unsigned pages[] = {3, 6, 9};
    for (unsigned i = 0; i < 3; i++)
        mirror_mapped_at(fn_of(0)->mirror, 0x5000 + i * PAGE)->note = &notes[pages[i]];
    fx.guest->dma.note_mask = 1;
    wrote = 1;
    other_cpu = writes_data_then_index;
    flush();
    only_doorbell();
    notes[6] = 1;
    store(6, 0, 9); // so that somebody has to be called out
    wrote = 0;
    flush();
    unsigned bytes = 0;
    for (unsigned i = 0; i < 4; i++) // two lines of page 6
        bytes += fake.seen[seen_at].rec.type == REC_DMA_DATA ? next_data(0, remote, NULL) : 0;
    assert_int_equal(bytes, 4 * 64);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        MIRROR_TEST(test_map_change_doorbell),
        MIRROR_TEST(test_other_cpu_writes),
        MIRROR_TEST(test_a_page_again),
        MIRROR_TEST(test_bytes_beside),
        MIRROR_TEST(test_write_only_pages_stay_quiet),
        MIRROR_TEST(test_two_places),
        MIRROR_TEST(test_unmaps_grow_together),
        MIRROR_TEST(test_changed_without_unmap),
        MIRROR_TEST(test_refused),
        MIRROR_TEST(test_no_twins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
