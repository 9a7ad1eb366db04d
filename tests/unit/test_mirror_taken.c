// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/bus/guests.c hv/bus/ports.c hv/platform/root_port.c drivers/pci_class.c
// LINK: hv/bus/assoc.c hv/bus/attach.c hv/bus/config_view.c hv/bus/remote_fn.c hv/bus/report.c
// LINK: hv/bus/mirror_slots.c hv/bus/mirror_content.c hv/bus/mirror_map.c hv/bus/mirror_sync.c
// LINK: hv/bus/interrupts.c hv/bus/transact.c hv/platform/io_space.c hv/platform/pci_host.c net/wire.c
// The host's half of the DMA mirror: what is believed of a remote, what is refused and said about it, what a
// lost link or a reset leaves, and who may not have DMA at all.
#include "tests/unit/mirror_fixture.h"

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

static bool sees_no_ring(void)
{
    assert_int_equal(memory[4][10], 0);
    assert_int_equal(memory[4][20], 0);
    return true;
}

/// A guest with several CPUs: none of them is in it when the bytes of rings land, whoever takes them.
static void test_other_cpus(void **state)
{
    (void)state;
    map(0x5000, 3, WRITE);
    map(0x6000, 4, RW);
    flush();
    other_cpu = sees_no_ring;
    stills = 0;
    tell(0, 1, 0, 10, "data", 4); // nobody is called out for that
    tell(1, 2, WIRE_DMA_MORE, 10, "ring", 4);
    bus_guest_collect(fx.guest);
    assert_int_equal(stills, 0);
    tell(1, 2, 0, 20, "half", 4);
    assert_int_equal(stills, 0);
    bus_guest_collect(fx.guest);
    assert_int_equal(stills, 1);
    assert_memory_equal(memory[4] + 10, "ring", 4);
    assert_memory_equal(memory[4] + 20, "half", 4);
    other_cpu = NULL;
    net_lock();
    mirror_enter(fx.guest); // it waits in an access; another CPU has the network
    net_unlock();
    memory[4][10] = memory[4][20] = 0;
    other_cpu = sees_no_ring;
    tell(1, 2, 0, 10, "ring", 4);
    assert_int_equal(stills, 2);
    assert_memory_equal(memory[4] + 10, "ring", 4);
    net_lock();
    mirror_leave(fx.guest);
    net_unlock();
    assert_int_equal(stills, 2);
    other_cpu = NULL;
    flush();
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
    const struct CMUnitTest tests[] = {
        MIRROR_TEST(test_data),
        MIRROR_TEST(test_other_cpus),
        MIRROR_TEST(test_round_ends_empty),
        MIRROR_TEST(test_stale),
        MIRROR_TEST(test_violations),
        MIRROR_TEST(test_runs_outside),
        MIRROR_TEST(test_spoiled),
        MIRROR_TEST(test_faults),
        MIRROR_TEST(test_interrupt_behind_data),
        MIRROR_TEST(test_link_full),
        MIRROR_TEST(test_back_again),
        MIRROR_TEST(test_guest_reset),
        MIRROR_TEST(test_no_iommu_there),
        cmocka_unit_test(test_start_refused),
        cmocka_unit_test(test_all_of_memory),
        cmocka_unit_test(test_too_much_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
