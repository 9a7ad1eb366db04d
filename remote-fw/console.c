// SPDX-License-Identifier: BSD-2-Clause
// The remote's console (remote-fw/console.h).
#include "remote-fw/console.h"
#include "drivers/cmos.h"
#include "drivers/machine.h"
#include "net/capture.h"
#include "net/report.h"
#include "net/stack.h"
#include "remote-fw/load.h"
#include "remote-fw/reset.h"
#include "remote-fw/server.h"
#include "rt/frames.h"
#include "rt/log.h"
#include "rt/shell.h"
#include "rt/time.h"
#include <stdio.h>
#include <string.h>

#define IP_FORMAT "%u.%u.%u.%u"
#define IP_ARGS(ip)                                                                                          \
    (unsigned)((ip)&0xff), (unsigned)((ip) >> 8 & 0xff), (unsigned)((ip) >> 16 & 0xff), (unsigned)((ip) >> 24)

static const struct nic *nic;
static const char *node_name;

typedef unsigned long long ull; // what %llu takes

/// "BAR0 16 KiB mem64 prefetchable"
static int bar_text(char *to, size_t size, unsigned i, const struct wire_bar *bar)
{
    static const char *const kinds[] = {"", "I/O", "mem32", "mem64"};
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    unsigned unit = 0;
    uint64_t n = bar->size;
    while (n >= 1024 && unit < 4) {
        n /= 1024;
        unit++;
    }
    return snprintf(to, size, ", BAR%u %llu %s %s%s", i, (ull)n, units[unit], kinds[bar->kind & 3],
                    bar->kind & 0x80 ? " prefetchable" : "");
}

/// ", to host1 host2"
static void terms_text(char *to, size_t size, const struct boot_lend *terms)
{
    size_t used = 0;
    to[0] = '\0';
    for (uint32_t i = 0; terms && i < terms->to_count && used < size; i++) {
        int n = snprintf(to + used, size - used, "%s%s", i == 0 ? ", to " : " ", terms->to[i]);
        used += n > 0 ? (size_t)n : 0;
    }
}

void console_print_lent(const struct function *f)
{
    char bars[192] = "", terms[BOOT_LEND_TO_MAX * BOOT_NAME_MAX + 8];
    size_t used = 0;
    for (unsigned i = 0; i < 6; i++) {
        if (!f->info.bars[i].kind || used >= sizeof bars)
            continue;
        int n = bar_text(bars + used, sizeof bars - used, i, &f->info.bars[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    terms_text(terms, sizeof terms, f->terms);
    log_info("lend", "lent " PCI_FORMAT " [%02x%02x]: %04x:%04x rev %02x%s, reset: %s%s",
             PCI_ARGS(f->info.at), f->info.class_code, f->info.subclass, f->info.vendor, f->info.device,
             f->info.revision, bars, reset_method_name(f->reset.method), terms);
}

void console_print_kept(const struct pci_device *dev, const char *why)
{
    log_info("lend", "kept " PCI_FORMAT " [%02x%02x]: %04x:%04x rev %02x: %s", PCI_ARGS(dev->at),
             dev->class_code, dev->subclass, dev->vendor, dev->device, dev->revision, why);
}

static const char *state_text(const struct function *f)
{
    switch (f->state) {
    case FUNCTION_RESETTING:
        return "resetting";
    case FUNCTION_LENT:
        return "attached";
    case FUNCTION_FREE:
        break;
    }
    return f->clean ? "free" : "free, last reset failed";
}

static void run_status(int argc, char *argv[])
{
    const struct functions *t = server_functions();
    uint32_t ip = net_address();
    (void)argc;
    (void)argv;
    log_info("status", "node \"%s\", %s, " IP_FORMAT ", link of the NIC %s, up %llu s, %u functions lent",
             node_name, nic->name, IP_ARGS(ip),
             nic->ops->link_up((struct nic *)(uintptr_t)nic) ? "up" : "down", (ull)(time_ns() / 1000000000u),
             t->count);
    for (unsigned i = 0; i < t->count; i++) {
        const struct function *f = &t->all[i];
        const uint64_t *e = f->counters.executed;
        uint64_t refused = 0;
        for (unsigned r = 0; r < REFUSAL_COUNT; r++)
            refused += f->counters.refused[r];
        log_info("status",
                 PCI_FORMAT " %04x:%04x %s%s%s handle %u: CfgRd %llu CfgWr %llu IORd %llu IOWr %llu MRd %llu "
                            "MWr %llu refused %llu resets "
                            "%llu failed %llu",
                 PCI_ARGS(f->info.at), f->info.vendor, f->info.device, state_text(f), f->owner ? " by " : "",
                 server_owner(f), f->handle, (ull)e[REC_CFG_RD], (ull)e[REC_CFG_WR], (ull)e[REC_IO_RD],
                 (ull)e[REC_IO_WR], (ull)e[REC_MRD], (ull)e[REC_MWR], (ull)refused, (ull)f->reset.count,
                 (ull)f->reset.failed);
    }
}

static void print_dma(const struct function *f)
{
    const struct dma *d = &f->dma.engine;
    const struct dma_stats *s = &d->stats;
    uint64_t refused = 0;
    for (unsigned r = 0; r < DMA_REFUSALS; r++)
        refused += s->refused[r];
    log_info("dma",
             PCI_FORMAT " %s%s: slots %u, with content %u, mapped %u (rings %u, data %u, only read %u), "
                        "maps %llu unmaps %llu",
             PCI_ARGS(f->info.at), f->dma.on ? "on" : "off", f->dma.master ? ", bus master" : "", d->slots,
             d->taken, d->mapped, d->count[DMA_RINGS], d->count[DMA_WRITES], d->count[DMA_READS],
             (ull)s->maps, (ull)s->unmaps);
    log_info("dma",
             PCI_FORMAT " bytes in %llu out %llu, records in %llu out %llu, rounds %llu pages %llu restless "
                        "%llu, undone %llu spoiled %llu faults %llu refused %llu messages stopped %llu",
             PCI_ARGS(f->info.at), (ull)s->bytes_in, (ull)s->bytes_out, (ull)s->records_in,
             (ull)s->records_out, (ull)s->rounds, (ull)s->pages, (ull)s->restless, (ull)s->undone,
             (ull)s->spoiled, (ull)f->dma.faults, (ull)refused, (ull)f->dma.messages);
}

static void run_dma(int argc, char *argv[])
{
    const struct functions *t = server_functions();
    struct mastering_memory memory = mastering_memory();
    (void)argc;
    (void)argv;
    log_info("dma", "%u slots for all functions, %u granted", memory.slots, memory.granted);
    for (unsigned i = 0; i < t->count; i++)
        if (t->all[i].dma.on || t->all[i].dma.engine.begun || t->all[i].dma.faults || t->all[i].dma.messages)
            print_dma(&t->all[i]);
    for (unsigned r = 0; r < DMA_REFUSALS; r++) {
        uint64_t refused = 0;
        for (unsigned i = 0; i < t->count; i++)
            refused += t->all[i].dma.engine.stats.refused[r];
        if (refused)
            log_info("dma", "refused, %s: %llu", dma_refusal_name(r), (ull)refused);
    }
}

static void run_links(int argc, char *argv[])
{
    unsigned n = 0;
    (void)argc;
    (void)argv;
    for (unsigned i = 0; i < SERVER_HOSTS_MAX; i++) {
        const struct server_host *h = server_host_at(i);
        if (!h)
            continue;
        char peer[WIRE_NAME_MAX + 32];
        snprintf(peer, sizeof peer, "host \"%s\" " IP_FORMAT, h->node, IP_ARGS(h->peer));
        link_report(h->link, peer);
        log_info("links", "%s completions waiting %u (most %llu), attached %llu refused %llu", peer,
                 h->completions.count, (ull)h->completions.peak, (ull)h->attaches, (ull)h->refused);
        n++;
    }
    if (!n)
        log_info("links", "no host is connected");
}

static void run_capture(int argc, char *argv[])
{
    capture_command(argc, argv, net_nic(), cmos_unix_time());
}

static void run_counters(int argc, char *argv[])
{
    static const char *const requests[] = {
        [REC_CFG_RD] = "CfgRd", [REC_CFG_WR] = "CfgWr", [REC_IO_RD] = "IORd",
        [REC_IO_WR] = "IOWr",   [REC_MRD] = "MRd",      [REC_MWR] = "MWr"};
    const struct executor_counters *c = &server_functions()->counters;
    (void)argc;
    (void)argv;
    for (unsigned i = REC_CFG_RD; i <= REC_MWR; i++)
        log_info("counters", "executed %s: %llu", requests[i], (ull)c->executed[i]);
    log_info("counters", "bytes read: %llu, written: %llu", (ull)c->bytes_read, (ull)c->bytes_written);
    for (unsigned i = 0; i < REFUSAL_COUNT; i++)
        log_info("counters", "refused, %s: %llu", refusal_name(i), (ull)c->refused[i]);
    net_print_counters();
    log_info(
        "counters",
        "NIC: frames sent %llu received %llu, bytes sent %llu received %llu, errors %llu, ring full %llu",
        (ull)nic->stats.tx_frames, (ull)nic->stats.rx_frames, (ull)nic->stats.tx_bytes,
        (ull)nic->stats.rx_bytes, (ull)nic->stats.rx_errors, (ull)nic->stats.tx_busy);
}

static void run_memory(int argc, char *argv[])
{
    const struct frames_stats frames = frames_stats();
    const struct net_memory net = net_memory();
    (void)argc;
    (void)argv;
    log_info("memory", "%llu KiB, free %llu KiB; network: %u buffers in use of at most %u so far, %u bytes",
             (ull)(frames.total * FRAME_SIZE >> 10), (ull)(frames.free * FRAME_SIZE >> 10),
             (unsigned)net.pooled, (unsigned)net.pooled_max, (unsigned)net.heap);
}

static void run_log(int argc, char *argv[])
{
    static const struct {
        const char *name;
        enum log_level level;
    } levels[] = {{"error", LOG_ERROR}, {"warn", LOG_WARN}, {"info", LOG_INFO}, {"debug", LOG_DEBUG}};
    for (unsigned i = 0; argc == 2 && i < sizeof levels / sizeof levels[0]; i++) {
        if (!strcmp(argv[1], levels[i].name)) {
            log_set_level(levels[i].level);
            return;
        }
    }
    log_error("shell", "usage: log error|warn|info|debug");
}

static void run_reset(int argc, char *argv[])
{
    (void)argc;
    (void)argv;
    server_stop("remote is restarted from its console");
    machine_reset();
}

static void run_power_off(int argc, char *argv[])
{
    (void)argc;
    (void)argv;
    server_stop("remote is powered off from its console");
    machine_power_off();
}

static const struct shell_command commands[] = {
    {"status", "functions: state, owner, what was executed", run_status},
    {"links", "hosts: frames, round-trip time, retransmissions", run_links},
    {"counters", "requests executed and refused, frames", run_counters},
    {"capture", "[start [MiB] [all] | stop | show]  the network as a pcapng file", run_capture},
    {"dma", "functions that master the bus: slots, bytes, rounds, faults, refusals", run_dma},
    {"memory", "what is free, and lwIP's", run_memory},
    {"load", "how much of the CPU was used since it was asked last", load_command},
    {"log", "error|warn|info|debug  what is printed", run_log},
    {"reset", "ends all links and restarts this machine", run_reset},
    {"poweroff", "ends all links and switches this machine off", run_power_off},
};

void console_start(const struct nic *of, const char *node)
{
    nic = of;
    node_name = node;
    shell_start("remote> ", commands, sizeof commands / sizeof commands[0]);
}
