// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/bus/guests.c hv/bus/ports.c hv/platform/root_port.c drivers/pci_class.c
// LINK: hv/bus/assoc.c hv/bus/attach.c hv/bus/config_view.c hv/bus/remote_fn.c hv/bus/report.c
// LINK: hv/bus/mirror_slots.c hv/bus/mirror_content.c hv/bus/mirror_map.c hv/bus/mirror_sync.c
// LINK: hv/bus/interrupts.c hv/bus/transact.c hv/platform/io_space.c hv/platform/pci_host.c net/wire.c
// LINK: net/link.c net/link_handshake.c net/link_reliable.c net/link_records.c @keys
// LINK: tests/unit/net/sim.c
// LINK: remote-fw/dma_slots.c remote-fw/dma_round.c remote-fw/dma_diff.c
// Property test of the DMA mirror (tests/unit/mirror_world.h) over two real ends of a link, on a network that
// loses, repeats and reorders frames, and whose cable is pulled. Seeds are fixed; MIRROR_SEED runs one.
#include "tests/unit/mirror_runs.h"
#include "tests/unit/net/announced.h"
#include "tests/unit/net/sim.h"
#include <setjmp.h>
#include <stdarg.h>
// cmocka wants these first
#include <cmocka.h>

#define HOST   0
#define REMOTE 1
#define MS     1000000ull

static struct link *to_host;

static enum status world_to_host(const struct wire_record *rec, const void *body, size_t size,
                                 const void *data, size_t data_size)
{
    return to_host ? link_send(to_host, rec, body, size, data, data_size) : ERR_LINK_DOWN;
}

// --- the device's machine ---

static void remote_up(void *ctx, struct link *link)
{
    (void)ctx;
    device_forget();
    to_host = link;
}

static void remote_record(void *ctx, struct link *link, const struct wire_record *rec, const void *body,
                          size_t size)
{
    (void)ctx, (void)link;
    device_record(rec, body, size);
}

static void quiet(void *ctx, struct link *link)
{
    (void)ctx, (void)link;
}

static void remote_down(void *ctx, struct link *link, const char *why)
{
    (void)ctx, (void)why;
    if (to_host != link)
        return;
    device_forget();
    to_host = NULL;
}

static const struct link_events remote_events = {remote_up, remote_record, quiet, quiet, remote_down};

static enum status accept_host(void *arg, const char *host, uint32_t peer, void **ctx, const char **why)
{
    (void)arg, (void)host, (void)peer, (void)ctx, (void)why;
    return OK;
}

static void boot_remote(void)
{
    to_host = NULL;
    device_forget();
    sim_boot(REMOTE, "disk1");
    sim_on(REMOTE);
    link_listen(&remote_events, accept_host, NULL);
    sim_on(HOST);
}

static void serve(void)
{
    sim_on(REMOTE);
    device_poll();
    if (to_host)
        link_flush(to_host);
}

static unsigned world_step(void)
{
    uint64_t before = sim_nodes[REMOTE].frames_out;
    sim_run(100000, 25000, serve);
    sim_on(HOST);
    return sim_nodes[REMOTE].frames_out != before;
}

// --- runs ---

static void announce(void)
{
    static const struct wire_function lent = {.at = {.devfn = 4u << 3}};
    struct announcement a = {.node = "disk1", .function_count = 1, .functions = &lent};
    net_lock();
    sim_on(REMOTE);
    a.boot_id = link_boot_id();
    sim_on(HOST);
    a.peer = sim_nodes[REMOTE].address;
    link_peer_announced(a.node, a.peer, a.boot_id);
    hear(&a);
    net_unlock();
}

static void attach(void)
{
    world_doing = "attaching";
    for (unsigned i = 0; i < 400 && !bus_guest_ready(w.guest); i++) {
        if (i % 8 == 0)
            announce();
        others(500);
    }
    require(bus_guest_ready(w.guest), "it never attaches");
}

static void recover(void)
{
    while (device_lost()) {
        commands_lost();
        scribble();
        attach();
        driver_starts();
    }
}

/// The guest does nothing, in steps of 10 ms.
static void idle(unsigned steps)
{
    while (steps--) {
        others(100);
        collect();
    }
}

static void run(uint64_t seed, unsigned operations, bool all_mapped, unsigned breaks)
{
    sim_start(seed);
    sim_jumbo = seed / 2 % 2 ? 8972 : 0;
    sim_boot(HOST, "host1");
    to_host = NULL;
    world_begin(seed, all_mapped);
    boot_remote();
    attach();
    bus_guest_start(w.guest);
    driver_starts();
    const struct sim_faults faults[] = {{0}, {.loss = 10}, {.loss = 50, .duplicate = 50, .reorder = 100}};
    sim_faults = faults[seed % 3];
    sim_faults.nic_full = seed % 2 * 20;
    for (world_op = 1; world_op <= operations; world_op++) {
        if (breaks && below(breaks) == 0) {
            world_doing = "breaking";
            switch (below(4)) {
            case 0: // shorter than the grace period: nobody notices but by the time it takes
                sim_nodes[REMOTE].cable = false;
                idle(below(100));
                sim_nodes[REMOTE].cable = true;
                break;
            case 1:
                sim_nodes[REMOTE].cable = false;
                idle(1000);
                sim_nodes[REMOTE].cable = true;
                break;
            case 2:
                boot_remote();
                break;
            default:
                bus_guest_reset(w.guest);
                commands_lost();
                if (bus_guest_ready(w.guest))
                    driver_starts();
                break;
            }
        }
        one_operation();
        recover();
    }
    world_doing = "ending";
    idle(300); // until both ends know what happened
    recover();
    quiesce();
    world_end();
    sim_stop();
}

static void test_random_work(void **state)
{
    (void)state;
    run_many(1000, 40, 1000, false, 0);
    assert_true(total_completed > 2000); // the test tests something
    assert_true(total_aborts > 100);
    assert_true(total_interrupts > 1000);
}

static void test_cables_and_restarts(void **state)
{
    (void)state;
    run_many(2000, 40, 800, false, 60);
}

static void test_all_of_memory(void **state)
{
    (void)state;
    run_many(3000, 15, 800, true, 0);
    run_many(4000, 15, 600, true, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_work),
        cmocka_unit_test(test_cables_and_restarts),
        cmocka_unit_test(test_all_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
