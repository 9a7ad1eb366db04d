// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/bus/guests.c hv/bus/ports.c hv/platform/root_port.c drivers/pci_class.c
// LINK: hv/bus/assoc.c hv/bus/attach.c hv/bus/config_view.c hv/bus/remote_fn.c hv/bus/report.c
// LINK: hv/bus/mirror_slots.c hv/bus/mirror_content.c hv/bus/mirror_map.c hv/bus/mirror_sync.c
// LINK: hv/platform/iommu.c hv/platform/iommu_fault.c hv/platform/iommu_queue.c hv/platform/iommu_walk.c
// LINK: hv/bus/interrupts.c hv/bus/transact.c hv/platform/io_space.c hv/platform/pci_host.c
// LINK: net/wire.c net/link.c net/link_handshake.c net/link_reliable.c net/link_records.c @keys
// LINK: remote-fw/server.c remote-fw/completions.c remote-fw/mastering.c remote-fw/dma_slots.c
// LINK: remote-fw/dma_round.c remote-fw/dma_diff.c remote-fw/executor.c remote-fw/functions.c
// LINK: remote-fw/config_mask.c remote-fw/interrupts.c remote-fw/reset.c tests/unit/net/sim.c
// LINK: remote-fw/lending.c
//
// Both ends for real over a simulated, bad network: a guest's accesses on one side, a device made of arrays
// on the other, which notes every access. What the guest sees is what the device holds, and nothing is done
// twice.
#include "hv/bus/remote.h"
#include "remote-fw/server.h"
#include "rt/time.h"
#include "rt/trace.h"
#include "tests/unit/host/host.h"
#include "tests/unit/mock_function.h"
#include "tests/unit/net/announced.h"
#include "tests/unit/net/lock.h"
#include "tests/unit/net/sim.h"
#include <setjmp.h>
#include <stdarg.h>
// cmocka wants these first
#include <cmocka.h>

#define HOST   0
#define REMOTE 1
#define FN     (2u << 3)
#define MS     1000000ull

static struct functions functions;
static struct mock_device nvme;
static struct io_space io;
static struct guest_pci pci;
static struct bus_guest *guest;
static const struct boot_device wanted = {.node = "disk1", .at = {.devfn = 4 << 3}};

__attribute__((weak)) void trace(enum trace_event event, uint32_t arg)
{
    (void)event, (void)arg;
}

static void serve(void)
{
    sim_on(REMOTE);
    (void)server_poll();
}

unsigned net_poll(void)
{
    assert_true(net_locked);
    uint64_t before = sim_nodes[REMOTE].frames_out;
    sim_run(100000, 50000, serve);
    sim_on(HOST);
    return sim_nodes[REMOTE].frames_out != before;
}

/// The heartbeat, which the simulated network does not carry.
static void announce(void)
{
    struct announcement a = *announced;
    a.peer = sim_nodes[REMOTE].address;
    a.boot_id = 1;
    net_lock();
    sim_on(REMOTE);
    a.boot_id = link_boot_id();
    sim_on(HOST);
    link_peer_announced(a.node, a.peer, a.boot_id);
    hear(&a);
    net_unlock();
}

static void pass(uint64_t ms)
{
    net_lock();
    for (uint64_t end = time_ns() + ms * MS; time_ns() < end;)
        (void)net_poll();
    net_unlock();
}

static void start_remote(void)
{
    sim_boot(REMOTE, "disk1");
    sim_on(REMOTE);
    memset(&functions, 0, sizeof(functions));
    (void)mock_lend(&functions, &nvme, 4);
    nvme.decoding_checked = true;
    server_start(&functions, "disk1", 0);
    sim_on(HOST);
}

static bool come_up(unsigned beats)
{
    for (unsigned i = 0; i < beats && !bus_guest_ready(guest); i++) {
        announce();
        pass(500);
    }
    return bus_guest_ready(guest);
}

static int setup(void **state)
{
    (void)state;
    sim_start(7);
    sim_boot(HOST, "host1");
    start_remote();
    memset(&io, 0, sizeof(io));
    memset(&bus_counts, 0, sizeof(bus_counts));
    assert_int_equal(guest_pci_init(&pci, &io), OK);
    bus_start("host1");
    assert_int_equal(bus_guest_add("g", BOOT_BUS_FLAT, &wanted, 1, &io, &pci, &guest), OK);
    assert_true(come_up(10));
    bus_guest_start(guest);
    nvme.trace_count = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    bus_guest_remove(guest);
    pass(100);
    sim_stop();
    return 0;
}

static uint32_t cfg_read(unsigned offset, unsigned size)
{
    io_space_port_write(&io, 0xcf8, 4, 0x80000000u | FN << 8 | (offset & 0xfc));
    return io_space_port_read(&io, (uint16_t)(0xcfc + (offset & 3)), size);
}

static void cfg_write(unsigned offset, unsigned size, uint32_t value)
{
    io_space_port_write(&io, 0xcf8, 4, 0x80000000u | FN << 8 | (offset & 0xfc));
    io_space_port_write(&io, (uint16_t)(0xcfc + (offset & 3)), size, value);
}

static uint64_t bar0(void)
{
    return cfg_read(0x10, 4) & ~0xfull;
}

static void test_one_access(void **state)
{
    (void)state;
    uint32_t value = 0x10203040;
    memcpy(&nvme.bar0[0x1c], &value, 4);
    assert_int_equal(cfg_read(0, 4), 0x00101b36);
    assert_int_equal(cfg_read(0x3d, 1) & 0xff, 1);
    pass(100); // acknowledgements of the attachment come to rest
    uint64_t out = sim_nodes[HOST].frames_out, in = sim_nodes[REMOTE].frames_out;
    assert_int_equal(io_space_mmio_read(&io, bar0() + 0x1c, 4), value);
    assert_int_equal(sim_nodes[HOST].frames_out - out, 1);  // one there
    assert_int_equal(sim_nodes[REMOTE].frames_out - in, 1); // one back
    assert_int_equal(nvme.trace_count, 1);
}

static void test_enumeration_and_sizing_are_silent(void **state)
{
    (void)state;
    pass(100);
    uint64_t before = time_ns(), out = sim_nodes[HOST].frames_out;
    for (unsigned offset = 0; offset < 0x40; offset += 4)
        (void)cfg_read(offset, 4);
    uint32_t bar = cfg_read(0x10, 4);
    cfg_write(0x10, 4, 0xffffffff);
    assert_int_equal(cfg_read(0x10, 4), 0xffffc004);
    cfg_write(0x10, 4, bar);
    io_space_mmio_write(&io, bar0() + 8, 4, 1); // posted: a frame, and nobody waits
    assert_int_equal(time_ns(), before);
    assert_int_equal(sim_nodes[HOST].frames_out - out, 1);
}

/// Ports, memory, configuration, all widths, against a model, over a network that loses, repeats and
/// reorders.
static void exercise(unsigned rounds)
{
    uint8_t model[256], ports[32];
    uint64_t base = bar0() + 0x100;
    uint16_t io_base = (uint16_t)(cfg_read(0x18, 4) & ~3u);
    memcpy(model, &nvme.bar0[0x100], sizeof(model));
    memcpy(ports, nvme.bar2, sizeof(ports));
    for (unsigned i = 0; i < rounds; i++) {
        unsigned size = 1u << sim_random() % 4, at = (unsigned)(sim_random() % (sizeof(model) / size)) * size;
        uint64_t value = sim_random(), expected = 0;
        nvme.trace_count = 0;
        switch (sim_random() % 5) {
        case 0:
        case 1:
            memcpy(&expected, model + at, size);
            assert_int_equal(io_space_mmio_read(&io, base + at, size), expected);
            break;
        case 2:
            io_space_mmio_write(&io, base + at, size, value);
            memcpy(model + at, &value, size);
            continue; // it may not have arrived yet
        case 3:
            size = size > 4 ? 4 : size;
            at %= sizeof(ports) / 4 * 4;
            at &= ~(size - 1);
            io_space_port_write(&io, (uint16_t)(io_base + at), size, (uint32_t)value);
            memcpy(ports + at, &value, size);
            break;
        default:
            at = at % sizeof(ports) & ~3u;
            memcpy(&expected, ports + at, 4);
            assert_int_equal(io_space_port_read(&io, (uint16_t)(io_base + at), 4), expected);
            break;
        }
    }
    (void)io_space_mmio_read(&io, base, 1); // behind everything
    assert_memory_equal(&nvme.bar0[0x100], model, sizeof(model));
    assert_memory_equal(nvme.bar2, ports, sizeof(ports));
}

static void test_bad_network(void **state)
{
    (void)state;
    sim_faults = (struct sim_faults){.loss = 50, .duplicate = 50, .reorder = 50, .nic_full = 20};
    exercise(3000);
    assert_int_equal(bus_counters().all_ones, 0);
    assert_int_equal(bus_counters().unexpected, 0);
}

/// A register with a side effect: as many writes as the guest made, in its order, none twice.
static void test_exactly_once(void **state)
{
    (void)state;
    sim_faults = (struct sim_faults){.loss = 100, .duplicate = 200, .reorder = 100};
    uint64_t base = bar0();
    for (unsigned round = 0; round < 20; round++) {
        nvme.trace_count = 0;
        for (unsigned i = 0; i < 100; i++)
            io_space_mmio_write(&io, base + 0x40, 4, i);
        assert_int_equal(io_space_mmio_read(&io, base + 0x40, 4), 99);
        assert_int_equal(nvme.trace_count, 101);
        for (unsigned i = 0; i < 100; i++)
            assert_int_equal(nvme.trace[i].value, i);
    }
}

static void test_cable_pulled(void **state)
{
    (void)state;
    nvme.bar0[0x20] = 0x5a;
    uint64_t base = bar0();
    sim_nodes[REMOTE].cable = false;
    uint64_t before = time_ns();
    assert_int_equal(io_space_mmio_read(&io, base + 0x20, 4), 0xffffffff);
    assert_true(time_ns() - before <= (BUS_COMPLETION_TIMEOUT_MS + 10) * MS);
    pass(4000);
    before = time_ns();
    assert_int_equal(io_space_mmio_read(&io, base + 0x20, 4), 0xffffffff);
    assert_int_equal(cfg_read(0, 4), 0xffffffff);
    assert_int_equal(time_ns(), before); // at once
    sim_nodes[REMOTE].cable = true;
    assert_true(come_up(20));
    assert_int_equal(bar0(), base);
    assert_int_equal(io_space_mmio_read(&io, base + 0x20, 1), 0x5a);
    exercise(200);
}

static void test_short_break(void **state)
{
    (void)state;
    nvme.bar0[0x20] = 0x5a;
    sim_nodes[REMOTE].cable = false;
    pass(1000); // less than the grace period
    sim_nodes[REMOTE].cable = true;
    assert_int_equal(io_space_mmio_read(&io, bar0() + 0x20, 1), 0x5a);
    assert_int_equal(bus_counters().link_lost, 0);
    exercise(100);
}

static void test_remote_restarts(void **state)
{
    (void)state;
    uint64_t base = bar0();
    cfg_write(MOCK_PCIE + 8, 2, 0x5810); // Device Control: the guest's setting
    start_remote();
    assert_true(come_up(20) || come_up(20));
    announce();
    pass(2000);
    assert_true(come_up(20));
    assert_int_equal(bar0(), base);
    nvme.bar0[0x30] = 0x77;
    assert_int_equal(io_space_mmio_read(&io, base + 0x30, 1), 0x77);
    assert_int_equal(mock_get(&nvme, MOCK_PCIE + 8, 2) & 0x7810, 0x5810);
    exercise(200);
}

static void test_guest_reset(void **state)
{
    (void)state;
    unsigned resets = nvme.resets;
    uint64_t base = bar0();
    cfg_write(0x10, 4, 0xd0000000);
    bus_guest_reset(guest);
    assert_int_equal(nvme.resets, resets + 1);
    assert_int_equal(bar0(), base);
    exercise(100);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_one_access),      T(test_enumeration_and_sizing_are_silent),
        T(test_bad_network),     T(test_exactly_once),
        T(test_cable_pulled),    T(test_short_break),
        T(test_remote_restarts), T(test_guest_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
