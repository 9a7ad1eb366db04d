// SPDX-License-Identifier: BSD-2-Clause
// The association table and the bus counters on the console. Changes nothing.
#include "drivers/pci_class.h"
#include "hv/bus/remote.h"
#include "net/stack.h"
#include "rt/log.h"
#include "rt/time.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct bus_counters bus_counters(void)
{
    net_lock();
    struct bus_counters copy = bus_counts;
    net_unlock();
    return copy;
}

// --- the table ---
// A row is made with the net lock held and printed without: a console is slow, and links do not wait for it.

#define ROW_LINES 9u // itself, handle and credits, BARs, and what is needed to end

struct rows {
    unsigned count;
    char text[ROW_LINES][224];
};

__attribute__((format(printf, 2, 3))) static void add(struct rows *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (r->count < ROW_LINES)
        vsnprintf(r->text[r->count++], sizeof(r->text[0]), fmt, ap);
    va_end(ap);
}

static void print(struct rows *r)
{
    for (unsigned i = 0; i < r->count; i++)
        log_info("bus", "%s", r->text[i]);
    r->count = 0;
}

/// Whose it is, and who else is to have it. info NULL: not announced; fn NULL: no guest's that runs.
static void owner_text(char *text, size_t size, const struct boot_device *d, const struct wire_function *info,
                       const struct remote_fn *fn)
{
    char place[GUEST_PLACE_MAX];
    const char *wishing, *told = fn && fn->state == ASSOC_REFUSED ? fn->told : NULL;
    bool waits;
    int n;
    if (fn)
        n = snprintf(text, size, "guest \"%s\" %s  %s%s%s%s%s%s", fn->guest->name, assoc_place(fn, place),
                     assoc_state_name(fn->state), fn->leaving ? ", leaving" : "", told ? ": " : "",
                     told ? told : "", told && fn->refused_by[0] ? ": " : "", told ? fn->refused_by : "");
    else
        n = snprintf(text, size, "%s",
                     !info                        ? "not announced"
                     : info->flags & WIRE_FN_BUSY ? "another host's"
                                                  : "free");
    for (unsigned i = 0; (size_t)n < size && (wishing = guests_wishing(d, i, &waits)) != NULL; i++) {
        if (!fn || fn->guest->name != wishing)
            n += snprintf(text + n, size - (size_t)n, "; guest \"%s\" %s", wishing,
                          waits ? "waits for it" : "when it starts");
    }
}

/// As `lspci -nn`, with node and owner. Lock held.
static void add_function(struct rows *r, const struct boot_device *d, const struct wire_function *info)
{
    char owner[160];
    const struct remote_fn *fn = assoc_find(d);
    if (!info && fn && fn->known)
        info = &fn->info;
    owner_text(owner, sizeof(owner), d, info, fn);
    if (info)
        add(r, REMOTE_FN_FORMAT " %s [%02x%02x]: [%04x:%04x] (rev %02x)  %s", REMOTE_DEVICE_ARGS(d),
            pci_class_name(info->class_code, info->subclass), info->class_code, info->subclass, info->vendor,
            info->device, info->revision, owner);
    else
        add(r, REMOTE_FN_FORMAT "  %s", REMOTE_DEVICE_ARGS(d), owner);
    if (!fn || !fn->known)
        return;
    add(r, "    handle %u credits %u/%u", fn->handle, fn->credits, fn->credits_granted);
    for (unsigned i = 0; i < 6; i++) {
        if (fn->info.bars[i].kind)
            add(r, "    BAR %u: 0x%llx bytes %s%s 0x%llx", i, (unsigned long long)fn->info.bars[i].size,
                (fn->info.bars[i].kind & 0x7f) == 1 ? "I/O" : "memory",
                fn->bars[i].is_mapped ? " decoded at" : " placed at",
                (unsigned long long)(fn->bars[i].is_mapped ? fn->bars[i].mapped : fn->bars[i].home));
    }
}

static struct boot_device device_of(const char *node, const struct wire_pci_address *at)
{
    struct boot_device d = {.at = {.segment = at->segment, .bus = at->bus, .devfn = at->devfn}};
    wire_text_set(d.node, sizeof(d.node), node);
    return d;
}

static void add_remote(struct rows *r, const struct announcement *a, uint64_t when_ns)
{
    const struct remote *remote = assoc_remote(a->node);
    const char *state = !remote                                   ? "no guest that runs needs it"
                        : !remote->link                           ? "no link yet"
                        : link_state(remote->link) == LINK_UP     ? "link up"
                        : link_state(remote->link) == LINK_FROZEN ? "link frozen"
                                                                  : "link connecting";
    add(r, "remote \"%s\" %u.%u.%u.%u: %s, heard %llu ms ago, lends %u functions", a->node, a->peer & 0xff,
        a->peer >> 8 & 0xff, a->peer >> 16 & 0xff, a->peer >> 24, state,
        (unsigned long long)(time_ns() - when_ns) / 1000000, a->function_count);
}

/// The row of function i of the n-th remote that was heard of, i = 0: of the remote itself. False: no more.
static bool heard_row(struct rows *r, unsigned n, unsigned i)
{
    struct announcement a;
    uint64_t when_ns;
    bool is_there = discovery_heard(n, &a, &when_ns) && i <= a.function_count;
    if (is_there && i == 0) {
        add_remote(r, &a, when_ns);
    } else if (is_there) {
        struct boot_device d = device_of(a.node, &a.functions[i - 1].at);
        add_function(r, &d, &a.functions[i - 1]);
    }
    return is_there;
}

static bool is_heard(const struct boot_device *d)
{
    struct announcement a;
    uint64_t when_ns;
    for (unsigned n = 0; discovery_heard(n, &a, &when_ns); n++) {
        for (unsigned i = 0; i < a.function_count; i++) {
            struct boot_device other = device_of(a.node, &a.functions[i].at);
            if (strncmp(other.node, d->node, sizeof(other.node)) == 0 &&
                memcmp(&other.at, &d->at, sizeof(other.at)) == 0)
                return true;
        }
    }
    return false;
}

/// A function that a guest has or wants and nobody announces.
static void add_unheard(struct rows *r, const struct boot_device *d)
{
    if (!is_heard(d))
        add_function(r, d, NULL);
}

void bus_print_devices(void)
{
    struct rows r = {0};
    unsigned shown = 0;
    for (unsigned n = 0, i = 0;; i++) {
        net_lock();
        bool more = heard_row(&r, n, i);
        net_unlock();
        if (!more && i == 0)
            break;
        if (!more) {
            n++;
            i = ~0u; // the next one is 0
        }
        shown += r.count;
        print(&r);
    }
    for (unsigned i = 0; i < assoc_count(); i++) {
        net_lock();
        const struct remote_fn *fn = assoc_get(i);
        if (fn->state != ASSOC_FREE) {
            struct boot_device d = {.at = fn->at};
            wire_text_set(d.node, sizeof(d.node), fn->remote->node);
            add_unheard(&r, &d);
        }
        net_unlock();
        shown += r.count;
        print(&r);
    }
    for (unsigned i = 0; i < GUESTS_WISHES; i++) { // of guests that are stopped
        net_lock();
        const struct boot_device *d = guests_wish(i);
        if (d && !assoc_find(d))
            add_unheard(&r, d);
        net_unlock();
        shown += r.count;
        print(&r);
    }
    if (!shown)
        log_info("bus", "no remote was heard of, and no guest names a function of one");
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
