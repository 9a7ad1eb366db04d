// SPDX-License-Identifier: BSD-2-Clause
// remote-fw/mastering.h.
#include "remote-fw/mastering.h"
#include "drivers/pci_regs.h"
#include "remote-fw/interrupts.h"
#include "rt/log.h"
#include "rt/time.h"
#include <string.h>

#define FLOOR_SLOTS 1024u // kept for each function that has not begun

static struct {
    struct functions *functions;
    const struct mastering_machine *machine;
    const struct mastering_link *link;
    struct mastering_memory memory;
    uint64_t looked_ns; // for faults
    unsigned first;     // function whose turn it is
} all;

struct mastering_memory mastering_memory(void)
{
    return all.memory;
}

// --- what the engine needs; ctx is the function ---

static void *table_take(void *ctx, size_t bytes)
{
    (void)ctx;
    return all.machine->table_take(bytes);
}

static void table_give(void *ctx, void *table, size_t bytes)
{
    (void)ctx;
    all.machine->table_give(table, bytes);
}

static void *page_take(void *ctx)
{
    (void)ctx;
    return all.machine->page_take();
}

static void page_give(void *ctx, void *page)
{
    (void)ctx;
    all.machine->page_give(page);
}

static enum status map(void *ctx, uint64_t iova, void *page, unsigned access)
{
    return all.machine->map(((struct function *)ctx)->dma.space, iova, page, access);
}

static void unmap(void *ctx, uint64_t iova, uint64_t pages)
{
    all.machine->unmap(((struct function *)ctx)->dma.space, iova, pages);
}

static enum status send(void *ctx, uint8_t type, const void *body, size_t size, const void *data,
                        size_t data_size)
{
    return all.link->send(ctx, type, body, size, data, data_size);
}

static size_t room(void *ctx)
{
    return all.link->room(ctx);
}

static const struct dma_ops ops = {
    .table_take = table_take,
    .table_give = table_give,
    .page_take = page_take,
    .page_give = page_give,
    .map = map,
    .unmap = unmap,
    .send = send,
    .room = room,
};

// --- begin and end ---

static unsigned count_not_begun(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < all.functions->count; i++) {
        const struct function *f = &all.functions->all[i];
        n += f->info.flags & WIRE_FN_DMA && !f->dma.on;
    }
    return n;
}

void mastering_start(struct functions *functions, const struct mastering_machine *machine,
                     const struct mastering_link *link, uint64_t pages)
{
    memset(&all, 0, sizeof all);
    all.functions = functions;
    all.machine = machine;
    all.link = link;
    uint64_t slots = pages / DMA_SLOT_PAGES;
    all.memory.slots = machine ? slots < UINT32_MAX ? (uint32_t)slots : UINT32_MAX : 0;
}

/// Half of what nobody has a right to, and what this function has a right to.
static uint32_t fair_share(void)
{
    uint32_t left = all.memory.slots - all.memory.granted, others = count_not_begun();
    if (others == 0)
        return 0;
    uint32_t right = left / others < FLOOR_SLOTS ? left / others : FLOOR_SLOTS;
    uint32_t share = right + (left - right * others) / 2;
    return share < DMA_SLOTS_MOST ? share : DMA_SLOTS_MOST;
}

static void set_bus_master(const struct function *f, bool on)
{
    uint32_t was = f->ops->config_read(f->device, PCI_COMMAND, 2);
    uint32_t is = on ? was | PCI_COMMAND_MASTER : was & ~PCI_COMMAND_MASTER;
    if (is != was)
        f->ops->config_write(f->device, PCI_COMMAND, 2, is);
}

static enum wire_status refused(struct function *f, enum wire_status status, const char *why)
{
    if (function_may_say(f))
        log_warn("lend", PCI_FORMAT ": bus mastering refused: %s", PCI_ARGS(f->info.at), why);
    return status;
}

enum wire_status mastering_begin(struct function *f, uint32_t *slots)
{
    mastering_end(f);
    if (!all.machine || !(f->info.flags & WIRE_FN_DMA))
        return refused(f, CPL_UR,
                       "no IOMMU of this machine confines the function; it would write into this machine's "
                       "memory");
    *slots = fair_share();
    if (*slots == 0)
        return refused(f, CPL_CA, "the memory of this machine is granted to other functions");
    if (all.machine->open(f, &f->dma.space) != OK)
        return refused(f, CPL_CA, "the IOMMU has no address space left for it");
    if (dma_start(&f->dma.engine, &ops, f, *slots, all.link->room_max(f)) != OK) {
        all.machine->close(f->dma.space);
        return refused(f, CPL_CA, "no memory for its tables");
    }
    all.memory.granted += *slots;
    f->dma.on = true;
    f->dma.master = f->interrupts.mode == INTERRUPTS_MSI || f->interrupts.mode == INTERRUPTS_MSIX;
    f->dma.interval_ns = MASTERING_SOON_NS;
    f->interrupts.round = ROUND_IDLE;
    if (function_may_say(f))
        log_info("lend", PCI_FORMAT ": may master the bus, within %u pages", PCI_ARGS(f->info.at), *slots);
    return CPL_SC;
}

void mastering_end(struct function *f)
{
    if (!f->dma.on)
        return;
    set_bus_master(f, false);
    all.memory.granted -= f->dma.engine.slots;
    dma_stop(&f->dma.engine);
    all.machine->close(f->dma.space);
    f->dma.on = f->dma.master = false;
    f->dma.wanted = 0;
    f->interrupts.round = ROUND_OFF;
}

void mastering_input(struct function *f, uint8_t type, const void *body, size_t size)
{
    dma_input(&f->dma.engine, type, body, size);
}

/// Who interrupts will say so; a round before that costs a frame and tells nothing that matters.
static uint64_t soon_ns(const struct function *f)
{
    return f->interrupts.mode == INTERRUPTS_OFF ? MASTERING_SOON_NS : MASTERING_HEARD_NS;
}

void mastering_touched(struct function *f, uint64_t now)
{
    f->dma.interval_ns = soon_ns(f);
    uint64_t soon = now + f->dma.interval_ns;
    if (soon < f->dma.rest_ns)
        soon = f->dma.rest_ns;
    if (f->dma.due_ns > soon)
        f->dma.due_ns = soon;
}

// --- rounds ---

uint64_t mastering_want(struct function *f)
{
    if (!f->dma.on)
        return 0;
    return f->dma.wanted = f->dma.engine.begun + 1;
}

/// There are pages to look at although nobody says so.
static bool by_time(const struct function *f)
{
    const struct dma *d = &f->dma.engine;
    return f->dma.on && f->dma.master && d->count[DMA_RINGS] + d->count[DMA_WRITES] > 0;
}

/// True: call again at once.
static bool advance(struct function *f, uint64_t now)
{
    struct dma *d = &f->dma.engine;
    bool more = dma_poll(d);
    if (!dma_round_active(d)) {
        if (f->interrupts.round != ROUND_WANTED && f->dma.wanted <= d->begun &&
            !(by_time(f) && now >= f->dma.due_ns))
            return more;
        dma_round_begin(d);
        f->dma.sent_before = d->sent;
        f->dma.begun_ns = now;
        f->interrupts.round = ROUND_RUNS;
    }
    if (!dma_round_go(d, &more))
        return more;
    f->interrupts.round = ROUND_IDLE;
    if (d->sent != f->dma.sent_before)
        f->dma.interval_ns = soon_ns(f);
    uint64_t end = time_ns(), rest = (end - f->dma.begun_ns) * MASTERING_REST;
    rest = rest < MASTERING_LATE_NS ? rest : MASTERING_LATE_NS;
    f->dma.rest_ns = end + rest;
    f->dma.due_ns = end + (rest > f->dma.interval_ns ? rest : f->dma.interval_ns);
    if (f->dma.interval_ns < MASTERING_LATE_NS)
        f->dma.interval_ns *= 2;
    return f->dma.wanted > d->begun;
}

/// A message that came during the round belongs to the next one. That follows at once, before what the first
/// one found has left, so both are one frame.
static bool poll(struct function *f, uint64_t now)
{
    uint64_t done = f->dma.engine.done;
    bool again = advance(f, now);
    if (f->dma.engine.done == done)
        return again;
    all.machine->breathe();
    interrupts_note();
    return f->interrupts.round == ROUND_WANTED ? advance(f, time_ns()) : again;
}

/// Its guest has no interrupt remapping that could tell it.
static void stopped_message(struct function *f, struct wire_pci_address at,
                            const struct wire_dma_fault *fault)
{
    static bool others;
    bool said = f ? f->dma.messages++ > 0 : others;
    others |= !f;
    if (!said)
        log_warn("lend",
                 PCI_FORMAT ": an interrupt message that is not its own was stopped (reason %#x, entry %llu)",
                 PCI_ARGS(at), fault->reason, (unsigned long long)fault->iova);
}

static void poll_faults(uint64_t now)
{
    struct wire_pci_address at;
    struct wire_dma_fault fault;
    if (now - all.looked_ns < MASTERING_LOOK_NS)
        return;
    all.looked_ns = now;
    for (unsigned n = 0; n < MASTERING_FAULTS && all.machine->take_fault(&at, &fault); n++) {
        struct function *f = functions_at(all.functions, at);
        if (fault.reason >= MASTERING_MESSAGE) {
            stopped_message(f, at, &fault);
            continue;
        }
        if (!f)
            continue;
        if (f->dma.faults++ == 0)
            log_warn("lend", PCI_FORMAT ": a %s at %#llx, where nothing is mapped for it, was stopped",
                     PCI_ARGS(f->info.at), fault.write ? "write" : "read", (unsigned long long)fault.iova);
        if (!f->dma.on)
            continue;
        if (now - f->dma.faults_ns >= MASTERING_FAULT_NS) {
            f->dma.faults_ns = now;
            f->dma.faults_told = 0;
        }
        if (f->dma.faults_told < MASTERING_FAULTS &&
            all.link->send(f, REC_DMA_FAULT, &fault, sizeof fault, NULL, 0) == OK)
            f->dma.faults_told++;
    }
}

bool mastering_poll(uint64_t now)
{
    bool again = false;
    if (!all.machine)
        return false;
    poll_faults(now);
    unsigned count = all.functions->count, first = all.first;
    for (unsigned i = 0; i < count; i++) {
        unsigned index = (first + i) % count;
        struct function *f = &all.functions->all[index];
        if (!f->dma.on)
            continue;
        again |= poll(f, now);
        if (dma_round_active(&f->dma.engine) && all.first == first)
            all.first = (index + 1) % count; // it filled the link: somebody else is first next time
    }
    return again;
}

uint64_t mastering_next_ns(uint64_t now, uint64_t most)
{
    for (unsigned i = 0; all.machine && i < all.functions->count; i++) {
        const struct function *f = &all.functions->all[i];
        if (!by_time(f))
            continue;
        uint64_t left = f->dma.due_ns > now ? f->dma.due_ns - now : 0;
        if (left < most)
            most = left;
    }
    return most;
}
