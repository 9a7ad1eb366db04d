// SPDX-License-Identifier: BSD-2-Clause
// remote-fw.elf: the remote firmware. Brings the machine up, decides what is lent, and serves it until it is
// switched off. Only this file joins drivers, network and lending.
#include "drivers/apic.h"
#include "drivers/cmos.h"
#include "drivers/machine.h"
#include "drivers/nics.h"
#include "net/secure.h"
#include "net/stack.h"
#include "remote-fw/console.h"
#include "remote-fw/device.h"
#include "remote-fw/lending.h"
#include "remote-fw/load.h"
#include "remote-fw/server.h"
#include "remote-fw/spaces.h"
#include "remote-fw/vectors.h"
#include "rt/frames.h"
#include "rt/irq.h"
#include "rt/log.h"
#include "rt/role.h"
#include "rt/shell.h"
#include "rt/start.h"
#include "rt/time.h"
#include "rt/x86.h"
#include <string.h>

static struct functions functions;

/// Says the last word and leaves it to be read.
static _Noreturn void stop(const char *why)
{
    log_error("remote", "%s; this machine lends nothing and waits to be switched off", why);
    for (;;)
        wait_interrupt();
}

static struct nic *start_network(const struct boot_info *info, struct pci_device **dev)
{
    const struct boot_node *node = &info->node;
    struct pci_address at = {node->nic.segment, node->nic.bus, node->nic.devfn};
    struct net_config config = net_config_of(info, rdtsc());
    struct nic *nic;

    enum status s = nics_start(node->nic_set ? &at : NULL, &nic, dev);
    if (s != OK) {
        log_error("remote", "no NIC: %s", status_name(s));
        stop("a remote needs a network");
    }
    s = net_start(nic, &config);
    if (s != OK) {
        log_error("remote", "network: %s", status_name(s));
        stop("a remote needs a network");
    }
    if (!net_secure(info))
        stop("neither keys nor 'security = none' in farbus.ini");
    start_forget_keys();
    return nic;
}

static void choose_functions(const struct boot_info *info, const struct pci_device *nic)
{
    struct lending_context context = {
        .node = &info->node,
        .boot_device = info->boot_device_set ? &info->boot_device : NULL,
        .nic = &nic->at,
    };
    for (uint32_t i = 0; i < pci_device_count(); i++) {
        struct pci_device *dev = pci_device_at(i);
        struct lending_decision d = lending_decide(dev, &context);
        if (!d.lend) {
            console_print_kept(dev, d.reason);
            continue;
        }
        struct function *f = functions_add(&functions);
        if (!f || device_open(f, dev) != OK) {
            console_print_kept(dev, "more functions than a remote announces");
            continue;
        }
        f->terms = lending_terms(&info->node, dev->at);
        function_prepare(f);
        console_print_lent(f);
    }
    for (uint32_t i = 0; i < info->node.lend_count && i < BOOT_DEVICES_MAX; i++) {
        const struct boot_pci_address *a = &info->node.lend[i].at;
        if (!pci_find((struct pci_address){a->segment, a->bus, a->devfn}))
            log_error("remote", "lend = " PCI_FORMAT ": there is no such function in this machine",
                      PCI_ARGS(*a));
    }
    if (functions.count == 0)
        log_warn("remote", "nothing in this machine can be lent");
}

// A completion takes a round trip away from a guest, so the CPU polls. When nothing came for IDLE_AFTER_NS it
// halts until the NIC, the UART or the timer interrupts; IDLE_MOST_NS bounds what a lost interrupt could
// cost.
#define IDLE_AFTER_NS 5000000ull
#define IDLE_MOST_NS  10000000ull

static void wake(void *ctx, uint8_t vector)
{
    (void)ctx;
    (void)vector;
}

/// Halts once, unless there is something to do. Interrupts are off outside wait_interrupt, and frames are
/// looked for again after the NIC's is on: none is slept over. Net lock held.
static void sleep(struct nic *nic, uint8_t timer)
{
    nic->ops->irq_enable(nic, true);
    uint64_t next = net_poll() ? 0 : net_next_ns();
    if (next) {
        uint64_t most = server_looks_ns(IDLE_MOST_NS);
        apic_timer(timer, next < most ? next : most);
        wait_interrupt();
        apic_timer(timer, 0);
    }
    nic->ops->irq_enable(nic, false);
}

/// One CPU does everything, the others stay in the runtime's idle loop; so the lock is never given away.
static _Noreturn void serve(struct nic *nic)
{
    uint8_t timer = 0;
    if (nic->irq_vector == 0 || irq_alloc(wake, NULL, &timer) != OK)
        log_info("remote", "no interrupt to wake up by: polling always");
    net_lock();
    for (uint64_t last = time_ns();;) {
        vectors_breathe(); // messages of lent functions
        uint64_t began = rdtsc();
        unsigned frames = net_poll();
        bool busy = server_poll(), typed = shell_poll();
        uint64_t now = time_ns();
        if (frames || busy || typed) {
            last = now;
            load_worked(rdtsc() - began);
        } else if (timer && now - last >= IDLE_AFTER_NS) {
            sleep(nic, timer);
        } else {
            cpu_pause();
        }
    }
}

_Noreturn void role_main(const struct boot_info *info)
{
    if (machine_start(info, "remote") != OK)
        stop("this machine could not be brought up");
    cmos_start();

    struct pci_device *nic_device;
    uint32_t unicast_to;
    vectors_confine(info->node.unsafe_interrupts);
    struct nic *nic = start_network(info, &nic_device);
    choose_functions(info, nic_device);
    vectors_start(&functions);
    const struct mastering_machine *machine = spaces_start(&functions);
    mastering_start(&functions, machine, &server_mastering_link, frames_stats().free / 4 * 3);
    memcpy(&unicast_to, info->node.peer, sizeof unicast_to);

    net_lock();
    server_start(&functions, info->node.name, unicast_to);
    net_unlock();
    log_info("remote", "node \"%s\" lends %u function%s", info->node.name, functions.count,
             functions.count == 1 ? "" : "s");
    console_start(nic, info->node.name);

    serve(nic);
}
