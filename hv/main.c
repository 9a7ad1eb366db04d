// SPDX-License-Identifier: BSD-2-Clause
// hv.elf: the host. Brings the machine up, turns virtualization on, makes the guests and runs them for ever.
// Only this file joins drivers, network, bus and guests.
#include "drivers/cmos.h"
#include "drivers/machine.h"
#include "drivers/nics.h"
#include "hv/bus/bus.h"
#include "hv/console.h"
#include "hv/memory.h"
#include "hv/vm/cpuid.h"
#include "hv/vm/guest.h"
#include "hv/vm/msr.h"
#include "hv/vm/sched.h"
#include "hv/vm/virt.h"
#include "net/secure.h"
#include "net/stack.h"
#include "rt/cpu.h"
#include "rt/log.h"
#include "rt/role.h"
#include "rt/start.h"
#include "rt/time.h"
#include "rt/x86.h"
#include <stdatomic.h>

static bool have_network;
static _Atomic uint32_t cpus_failed;

/// Says the last word and leaves it to be read.
static _Noreturn void stop(const char *why)
{
    log_error("host", "%s; no guest is run and this machine waits to be switched off", why);
    for (;;)
        wait_interrupt();
}

static void start_network(const struct boot_info *info)
{
    const struct boot_node *node = &info->node;
    struct pci_address at = {node->nic.segment, node->nic.bus, node->nic.devfn};
    struct net_config config = net_config_of(info, rdtsc());
    struct pci_device *dev;
    struct nic *nic;

    enum status s = nics_start(node->nic_set ? &at : NULL, &nic, &dev);
    if (s == OK)
        s = net_start(nic, &config);
    have_network = s == OK;
    if (!have_network)
        log_error("host", "no network (%s): guests run without remote devices", status_name(s));
    else if (net_secure(info))
        bus_start(node->name);
    else
        log_info("host", "no keys in farbus.ini: no remote devices");
    start_forget_keys();
}

static void start_virtualization(void *ops)
{
    const struct virt_ops *virt = ops;
    if (virt->cpu_start() != OK)
        atomic_fetch_add(&cpus_failed, 1);
}

static void start_all_cpus(const struct virt_ops *virt)
{
    start_virtualization((void *)(uintptr_t)virt);
    for (uint32_t i = 1; i < cpu_count(); i++) {
        if (cpu_run(i, start_virtualization, (void *)(uintptr_t)virt) != OK)
            atomic_fetch_add(&cpus_failed, 1);
    }
    for (uint32_t i = 1; i < cpu_count(); i++) {
        while (!cpu_idle(i))
            cpu_pause();
    }
    if (atomic_load(&cpus_failed))
        stop("virtualization could not be turned on, on every CPU");
}

/// Between CPU 0's slices: network, console.
static void keep_house(void)
{
    if (have_network) {
        net_lock();
        uint64_t began = rdtsc();
        unsigned frames = net_poll();
        bus_polled(frames);
        if (frames)
            sched_house(rdtsc() - began);
        net_unlock();
    }
    console_poll();
}

static void *on_who(void)
{
    return sched_waiter();
}

static void on_wake(void *who)
{
    sched_wake(who);
}

/// An access of a guest waits for a remote.
static void on_wait(void *who)
{
    sched_alone(console_poll);
    if (who)
        sched_wait();
}

static void run_guests(void *none)
{
    (void)none;
    sched_run(NULL);
}

static void create_guests(const struct boot_info *info, const struct virt_ops *virt)
{
    uint32_t made = 0;
    for (uint32_t i = 0; i < info->guest_count; i++)
        made += guest_create(&info->guests[i], i, virt) == OK;
    if (made == 0)
        log_warn("host", "no guest to run: add a [guest NAME] section to \\farbus.ini");
}

_Noreturn void role_main(const struct boot_info *info)
{
    if (machine_start(info, "host") != OK)
        stop("this machine could not be brought up");
    const struct virt_ops *virt = &vmx_virt_ops;
    bool rdtscp, invpcid;
    cmos_start();
    memory_start(info);
    start_all_cpus(virt);
    virt->offers(&rdtscp, &invpcid);
    cpuid_start(rdtscp, invpcid);
    msr_start();
    sched_start();
    start_network(info);
    create_guests(info, virt);
    memory_report();
    log_info("host", "up; EFI entry was at TSC %llu, the firmware's file reads took %llu ticks",
             (unsigned long long)info->entry_tsc, (unsigned long long)info->files_tsc);
    console_start(info->node.name);
    static const struct bus_waits waits = {.who = on_who, .wait = on_wait, .wake = on_wake};
    bus_set_waits(&waits);
    for (uint32_t i = 1; i < cpu_count(); i++) {
        if (cpu_run(i, run_guests, NULL) != OK)
            log_error("host", "CPU %u does not take guests", (unsigned)i);
    }
    sched_run(keep_house);
}
