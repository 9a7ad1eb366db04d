// SPDX-License-Identifier: BSD-2-Clause
#include "hv/console.h"
#include "drivers/cmos.h"
#include "drivers/machine.h"
#include "hv/bus/bus.h"
#include "hv/memory.h"
#include "hv/vm/cpus.h"
#include "hv/vm/guest.h"
#include "hv/vm/sched.h"
#include "hv/vmx/reasons.h"
#include "net/capture.h"
#include "net/report.h"
#include "net/stack.h"
#include "rt/cpu.h"
#include "rt/log.h"
#include "rt/shell.h"
#include "rt/time.h"
#include "rt/trace.h"
#include "rt/x86.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_DETACH 0x1d // Ctrl-]

static struct guest *attached; // typed bytes go to this guest's UART

static struct guest *named(int argc, char *argv[])
{
    struct guest *g = argc > 1 ? guest_find(argv[1]) : guest_count == 1 ? guest_at(0) : NULL;
    if (!g)
        log_error("console",
                  argc > 1 ? "no guest of that name: see 'guests'" : "say which guest: see 'guests'");
    return g;
}

static void run_guests(int argc, char *argv[])
{
    static const char *const states[] = {[GUEST_WAITING] = "waiting for devices",
                                         [GUEST_RUNNING] = "running",
                                         [GUEST_PAUSED] = "paused",
                                         [GUEST_STOPPED] = "stopped"};
    (void)argc, (void)argv;
    for (uint32_t i = 0; i < guest_count; i++) {
        const struct guest *g = guest_at(i);
        if (!g)
            continue;
        char where[32];
        bool halted =
            atomic_load(&g->state) == GUEST_RUNNING && atomic_load(&g->vcpus[0].state) == VCPU_HALTED;
        log_info("guests", "%s: %s%s%s%s, %llu MiB, %u vCPU on %s, started %llu times, %llu ms of CPU time",
                 g->config->name, states[atomic_load(&g->state)], halted ? " (halted)" : "",
                 g->stop_reason[0] ? ": " : "", g->stop_reason, (unsigned long long)(g->memory >> 20),
                 (unsigned)g->config->cpus, guest_where(g, where, sizeof where),
                 (unsigned long long)g->starts, (unsigned long long)(g->used_tsc / time_ns_to_tsc(1000000)));
    }
}

static void run_exits(int argc, char *argv[])
{
    const struct guest *g = named(argc, argv);
    if (!g)
        return;
    for (uint32_t i = 0; i < sizeof g->vcpus[0].exits / sizeof *g->vcpus[0].exits; i++) {
        uint64_t count = 0; // of all its vCPUs
        for (uint32_t c = 0; c < g->config->cpus; c++)
            count += g->vcpus[c].exits[i];
        if (count)
            log_info("exits", "%s: %-24s %llu", g->config->name, vmx_reason_name(i),
                     (unsigned long long)count);
    }
    log_info("exits",
             "%s: unowned port reads %llu writes %llu, MMIO reads %llu writes %llu, absent PCI reads %llu",
             g->config->name, (unsigned long long)g->io.unowned_port_reads,
             (unsigned long long)g->io.unowned_port_writes, (unsigned long long)g->io.unowned_mmio_reads,
             (unsigned long long)g->io.unowned_mmio_writes, (unsigned long long)g->pci.absent_reads);
}

/// "load on" starts the account anew; "load" prints it.
static void run_load(int argc, char *argv[])
{
    static struct sched_load start;
    static uint64_t start_tsc, start_waited_ns;
    if (argc > 1 && strcmp(argv[1], "on") != 0 && strcmp(argv[1], "off") != 0) {
        log_error("load", "'%s' is neither on nor off", argv[1]);
        return;
    }
    if (argc > 1) {
        start = sched_load();
        start_tsc = rdtsc();
        start_waited_ns = bus_counters().waited_ns;
        const bool on = strcmp(argv[1], "on") == 0;
        sched_account(on);
        log_info("load", "%s", on ? "counted from here on" : "no longer counted");
        return;
    }
    const struct sched_load now = sched_load();
    if (!now.on) {
        log_info("load", "nothing is being counted: `load on` begins (and costs each VM exit two RDTSC)");
        return;
    }
    uint64_t all = (rdtsc() - start_tsc) * cpu_count(), guests = now.guests - start.guests;
    uint64_t waited = time_ns_to_tsc(bus_counters().waited_ns - start_waited_ns);
    uint64_t work = now.for_guests - start.for_guests, house = now.house - start.house;
    waited = waited < work ? waited : work;
    work -= waited;
    // CPU 0 keeps the house while it waits for a guest's lock, in that guest's turn: counted as both.
    uint64_t busy = guests + work + house + waited;
    const struct {
        const char *what;
        uint64_t ticks;
    } rows[] = {{"in guests", guests},
                {"work for guests", work},
                {"network", house},
                {"waiting for remotes", waited},
                {"idle", all > busy ? all - busy : 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        log_info("load", "%-19s %3llu.%llu %% %15llu ticks", rows[i].what,
                 (unsigned long long)(rows[i].ticks * 100 / all),
                 (unsigned long long)(rows[i].ticks * 1000 / all % 10), (unsigned long long)rows[i].ticks);
}

static void run_stop(int argc, char *argv[])
{
    struct guest *g = named(argc, argv);
    if (g)
        guest_stop(g, "stopped from the console");
}

static void run_reset(int argc, char *argv[])
{
    struct guest *g = named(argc, argv);
    if (g)
        guest_reset(g);
}

static void run_start(int argc, char *argv[])
{
    struct guest *g = named(argc, argv);
    if (g && guest_power_on(g) != OK)
        log_error("console", "%s is not stopped", g->config->name);
}

static void run_pause(int argc, char *argv[])
{
    struct guest *g = named(argc, argv);
    if (g && guest_pause(g) != OK)
        log_error("console", "%s is not running", g->config->name);
}

static void run_resume(int argc, char *argv[])
{
    struct guest *g = named(argc, argv);
    if (g && guest_resume(g) != OK)
        log_error("console", "%s is not paused", g->config->name);
}

/// NODE/dddd:bb:dd.f, hexadecimal as in farbus.ini.
static bool parse_device(const char *text, struct boot_device *d)
{
    const char *slash = strchr(text, '/');
    size_t length = slash ? (size_t)(slash - text) : 0;
    if (length == 0 || length >= sizeof d->node)
        return false;
    *d = (struct boot_device){0};
    memcpy(d->node, text, length);
    const struct {
        unsigned long most;
        char end;
    } fields[] = {{0xffff, ':'}, {0xff, ':'}, {0x1f, '.'}, {7, '\0'}};
    unsigned long values[4];
    const char *at = slash + 1;
    for (unsigned i = 0; i < 4; i++) {
        char *end;
        values[i] = strtoul(at, &end, 16);
        if (end == at || *end != fields[i].end || values[i] > fields[i].most)
            return false;
        at = end + 1;
    }
    d->at = (struct boot_pci_address){.segment = (uint16_t)values[0],
                                      .bus = (uint8_t)values[1],
                                      .devfn = (uint8_t)(values[2] << 3 | values[3])};
    return true;
}

/// attach or detach GUEST DEVICE.
static void hand_over(char *argv[], const char *what,
                      enum status (*act)(struct bus_guest *, const struct boot_device *))
{
    struct boot_device device;
    struct guest *g = guest_find(argv[1]);
    if (!g) {
        log_error("console", "no guest of that name: see 'guests'");
        return;
    }
    if (!parse_device(argv[2], &device)) {
        log_error("console", "'%s' is not a remote function like disk1/0000:00:04.0: see 'devices'", argv[2]);
        return;
    }
    enum status s = act(g->bus, &device);
    const char *why = s == ERR_BUSY          ? "another guest has it, or this one already"
                      : s == ERR_NOMEM       ? "no slot is free"
                      : s == ERR_UNSUPPORTED ? "a guest with 'bus = flat' has no hot-plug slots"
                      : s == ERR_INVAL       ? "it is not this guest's"
                      : s == ERR_DENIED      ? "the guest is stopped: it has no devices until it starts"
                                             : status_name(s);
    if (s == OK)
        log_info("console", "%s %s %s", argv[2], what, g->config->name);
    else
        log_error("console", "%s: %s", argv[2], why);
}

static void run_attach(int argc, char *argv[])
{
    if (argc > 2) {
        hand_over(argv, "goes to", bus_guest_attach);
        return;
    }
    attached = named(argc, argv);
    if (attached)
        log_info("console", "keys go to %s; Ctrl-] comes back", attached->config->name);
}

static void run_detach(int argc, char *argv[])
{
    if (argc > 2)
        hand_over(argv, "is asked back from", bus_guest_detach);
    else
        log_error("console", "say which guest and which function: detach GUEST NODE/dddd:bb:dd.f");
}

static void run_trace(int argc, char *argv[])
{
    uint32_t want = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 0) : 32;
    for (uint32_t c = 0; c < cpu_count(); c++) {
        struct trace_record r;
        uint32_t have = 0;
        while (have < want && trace_get(c, have, &r))
            have++;
        // Taken first, printed afterwards: printing must not push out what is to be printed.
        struct trace_record *copy = calloc(have + 1, sizeof *copy);
        if (!copy)
            return;
        for (uint32_t i = 0; i < have; i++)
            (void)trace_get(c, have - 1 - i, &copy[i]);
        for (uint32_t i = 0; i < have; i++)
            log_info("trace", "cpu %u %llu %s %u", (unsigned)c, (unsigned long long)copy[i].tsc,
                     trace_name(copy[i].event), (unsigned)copy[i].arg);
        free(copy);
    }
}

static void run_devices(int argc, char *argv[])
{
    (void)argc, (void)argv;
    bus_print_devices();
}

static void run_counters(int argc, char *argv[])
{
    (void)argc, (void)argv;
    bus_print_counters();
    net_print_counters();
}

static void run_nics(int argc, char *argv[])
{
    (void)argc, (void)argv;
    guest_nics_print();
}

static void run_links(int argc, char *argv[])
{
    const struct link *l;
    unsigned n = 0;
    (void)argc, (void)argv;
    net_lock();
    for (; (l = link_get(n)) != NULL; n++) {
        char peer[WIRE_NAME_MAX + 16];
        snprintf(peer, sizeof peer, "remote \"%s\"", link_peer_node(l));
        link_report(l, peer);
    }
    net_unlock();
    if (n == 0)
        log_info("links", "no link: no guest's device has announced itself");
}

static void run_capture(int argc, char *argv[])
{
    net_lock();
    capture_command(argc, argv, net_nic(), cmos_unix_time());
    net_unlock();
}

static void run_memory(int argc, char *argv[])
{
    (void)argc, (void)argv;
    memory_report();
}

static void run_poweroff(int argc, char *argv[])
{
    (void)argc, (void)argv;
    bus_end("its host is switched off");
    machine_power_off();
}

static void run_reboot(int argc, char *argv[])
{
    (void)argc, (void)argv;
    bus_end("its host starts again");
    machine_reset();
}

static void run_log(int argc, char *argv[])
{
    log_set_level(argc > 1 && strcmp(argv[1], "debug") == 0 ? LOG_DEBUG : LOG_INFO);
}

static const struct shell_command commands[] = {
    {"guests", "what the guests do", run_guests},
    {"devices", "remote functions: node, address, owner, state", run_devices},
    {"counters", "transactions, and frames that were dropped", run_counters},
    {"links", "remotes: frames, round-trip time, retransmissions", run_links},
    {"capture", "[start [MiB] [all] | stop | show]  the network as a pcapng file", run_capture},
    {"nics", "virtual NICs: frames, and what was refused", run_nics},
    {"exits", "[GUEST]  VM exits by reason", run_exits},
    {"load", "[on | off]  where the CPUs' time goes, since it was switched on", run_load},
    {"trace", "[N]  the last N events of each CPU", run_trace},
    {"memory", "what is used, by whom", run_memory},
    {"start", "[GUEST]  start one that is stopped, with its devices", run_start},
    {"stop", "[GUEST]  stop it; its devices are reset, and anybody's", run_stop},
    {"reset", "[GUEST]  power-on state, image loaded again", run_reset},
    {"pause", "[GUEST]  its processors and its time stand still", run_pause},
    {"resume", "[GUEST]  it goes on", run_resume},
    {"attach",
     "[GUEST]  give it the keyboard (Ctrl-] comes back); GUEST NODE/dddd:bb:dd.f  plug that function in, "
     "whenever it runs",
     run_attach},
    {"detach", "GUEST NODE/dddd:bb:dd.f  unplug a function; a 'device =' line's is back when it starts again",
     run_detach},
    {"log", "debug|info  how much is said", run_log},
    {"poweroff", "switch this machine off", run_poweroff},
    {"reboot", "start this machine again", run_reboot},
};

void console_start(const char *node)
{
    static char prompt[BOOT_NAME_MAX + 4];
    snprintf(prompt, sizeof prompt, "%s> ", node);
    shell_start(prompt, commands, sizeof commands / sizeof *commands);
}

static void take_typed(void)
{
    if (!attached) {
        shell_poll();
        return;
    }
    (void)shell_step();
    for (int byte = console_read(); byte >= 0; byte = console_read()) {
        if (byte == KEY_DETACH) {
            log_info("console", "back from %s", attached->config->name);
            attached = NULL;
            return;
        }
        if (guest_console_type(attached, (uint8_t)byte) != OK)
            return; // too many wait: the byte is lost, as on a wire
    }
}

void console_poll(void)
{
    static bool inside; // a command that waits for a remote comes back here
    if (cpu_self()->index != 0 || inside)
        return;
    inside = true;
    take_typed();
    inside = false;
}
