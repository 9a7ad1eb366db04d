// SPDX-License-Identifier: BSD-2-Clause
// The association table and the bus counters on the console. Changes nothing.
#include "hv/bus/remote.h"
#include "net/stack.h"
#include "rt/log.h"

struct bus_counters bus_counters(void)
{
    net_lock();
    struct bus_counters copy = bus_counts;
    net_unlock();
    return copy;
}

static void print_function(const struct remote_fn *fn)
{
    char place[GUEST_PLACE_MAX];
    log_info("bus", REMOTE_FN_FORMAT "  guest \"%s\" %s  %s%s%s", REMOTE_FN_ARGS(fn), fn->guest->name,
             assoc_place(fn, place), assoc_state_name(fn->state),
             fn->state == ASSOC_REFUSED && fn->refused_by[0] ? " by " : "",
             fn->state == ASSOC_REFUSED ? fn->refused_by : "");
    if (!fn->known)
        return;
    log_info("bus", "    %04x:%04x class %02x%02x%02x handle %u credits %u/%u", fn->info.vendor,
             fn->info.device, fn->info.class_code, fn->info.subclass, fn->info.prog_if, fn->handle,
             fn->credits, fn->credits_granted);
    for (unsigned i = 0; i < 6; i++) {
        if (!fn->info.bars[i].kind)
            continue;
        log_info("bus", "    BAR %u: 0x%llx bytes %s%s 0x%llx", i, (unsigned long long)fn->info.bars[i].size,
                 (fn->info.bars[i].kind & 0x7f) == 1 ? "I/O" : "memory",
                 fn->bars[i].is_mapped ? " decoded at" : " placed at",
                 (unsigned long long)(fn->bars[i].is_mapped ? fn->bars[i].mapped : fn->bars[i].home));
    }
}

void bus_print_devices(void)
{
    unsigned shown = 0;
    net_lock();
    for (unsigned i = 0; i < assoc_count(); i++) {
        const struct remote_fn *fn = assoc_get(i);
        if (fn->state == ASSOC_FREE)
            continue;
        print_function(fn);
        shown++;
    }
    net_unlock();
    if (!shown)
        log_info("bus", "no guest names a remote function");
}

void bus_print_counters(void)
{
    const struct bus_counters c = bus_counters();
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"CfgRd", c.requests[REC_CFG_RD]},
        {"CfgWr", c.requests[REC_CFG_WR]},
        {"IORd", c.requests[REC_IO_RD]},
        {"IOWr", c.requests[REC_IO_WR]},
        {"MRd", c.requests[REC_MRD]},
        {"MWr", c.requests[REC_MWR]},
        {"control", c.control},
        {"completions", c.completions},
        {"configuration answered here", c.config_local},
        {"UR or CA", c.unsupported},
        {"CRS, asked again", c.retried},
        {"timeouts", c.timeouts},
        {"link lost while waiting", c.link_lost},
        {"reads answered all-ones", c.all_ones},
        {"accesses to an absent function", c.absent},
        {"posted writes dropped", c.posted_dropped},
        {"credit stalls", c.credit_stalls},
        {"queue stalls", c.queue_stalls},
        {"unexpected records", c.unexpected},
        {"malformed completions", c.malformed},
        {"interrupts", c.interrupts},
        {"interrupts nobody wanted", c.interrupts_dropped},
        {"errors reported by functions", c.errors},
        {"BARs not decoded", c.bar_conflicts},
        {"DMA: pages mapped now", c.dma_mapped},
        {"DMA: twins in use now", c.dma_twins},
        {"DMA: maps", c.dma_maps},
        {"DMA: unmaps", c.dma_unmaps},
        {"DMA: maps of cached pages", c.dma_cache_hits},
        {"DMA: bytes to remotes", c.dma_pushed},
        {"DMA: bytes from remotes", c.dma_pulled},
        {"DMA: stale records dropped", c.dma_stale},
        {"DMA: slots spoiled", c.dma_spoiled},
        {"DMA: faults", c.dma_faults},
        {"DMA: pages refused", c.dma_refused},
        {"DMA: rounds seen in pieces", c.dma_overruns},
    };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].value || i < REC_MWR)
            log_info("bus", "%-32s %llu", rows[i].name, (unsigned long long)rows[i].value);
    }
}
