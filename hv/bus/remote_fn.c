// SPDX-License-Identifier: BSD-2-Clause
// A remote function as its guest meets it: configuration space through the view (hv/bus/config_view.c), BARs
// as ranges of the guest's io_space that exist while decoding is on. Must not know links. Invariant: the
// io_space changes only on the guest's side, in the access that moves a BAR or sets Command, at start or
// reset. Sizing and moving a BAR, and reading anything that cannot change, costs no round trip.
#include "hv/bus/remote.h"
#include "net/stack.h"
#include "rt/log.h"

#define COMMAND            0x04u
#define COMMAND_IO         0x0001u
#define COMMAND_MEMORY     0x0002u
#define COMMAND_BUS_MASTER 0x0004u
#define BAR0               0x10u
#define BARS_END           0x28u
#define CAP_EXPRESS        0x10u
#define CAP_AF             0x13u
#define FIRST_DEVICE       2u            // the ports' on a guest that has them (hv/bus/ports.c)
#define BAR32_LARGE        (64ull << 20) // larger 64-bit BARs do not take the room below 4 GiB

enum { BAR_NONE, BAR_IO, BAR_MEMORY32, BAR_MEMORY64 };

static unsigned kind_of(const struct remote_fn *fn, unsigned i)
{
    return fn->info.bars[i].kind & 0x7f;
}
static uint16_t bar_register(unsigned i)
{
    return (uint16_t)(BAR0 + 4 * i);
}

// --- BARs: accesses ---

static uint64_t bar_read(void *dev, uint64_t offset, unsigned size)
{
    const struct remote_bar *bar = dev;
    if (interrupts_owns(bar->fn, bar->index, offset, size))
        return interrupts_read(bar->fn, bar->index, offset, size);
    return transact_read(bar->fn, REC_MRD, bar->index, offset, size);
}

static void bar_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    const struct remote_bar *bar = dev;
    if (interrupts_owns(bar->fn, bar->index, offset, size))
        interrupts_write(bar->fn, bar->index, offset, size, value);
    else
        transact_write(bar->fn, REC_MWR, bar->index, offset, size, value);
}

static uint32_t port_read(void *dev, uint16_t port, unsigned size)
{
    const struct remote_bar *bar = dev;
    return (uint32_t)transact_read(bar->fn, REC_IO_RD, bar->index, port - bar->mapped, size);
}

static void port_write(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    const struct remote_bar *bar = dev;
    transact_write(bar->fn, REC_IO_WR, bar->index, port - bar->mapped, size, value);
}

// --- BARs: where they are ---

static uint64_t bar_address(const struct remote_fn *fn, unsigned i)
{
    uint32_t low = config_view_get(&fn->view, bar_register(i));
    switch (kind_of(fn, i)) {
    case BAR_IO:
        return low & 0xfffffffc;
    case BAR_MEMORY64:
        return (low & 0xfffffff0) | (uint64_t)config_view_get(&fn->view, bar_register(i + 1)) << 32;
    default:
        return low & 0xfffffff0;
    }
}

static void set_bar(struct remote_fn *fn, unsigned i, uint64_t address)
{
    config_view_write(&fn->view, bar_register(i), 4, (uint32_t)address);
    if (kind_of(fn, i) == BAR_MEMORY64)
        config_view_write(&fn->view, bar_register(i + 1), 4, (uint32_t)(address >> 32));
}

static void unmap(struct remote_fn *fn, struct remote_bar *bar)
{
    if (!bar->is_mapped)
        return;
    if (bar->is_io)
        io_space_remove_ports(fn->guest->io, (uint16_t)bar->mapped);
    else
        io_space_remove_mmio(fn->guest->io, bar->mapped);
    bar->is_mapped = false;
}

static enum status map(struct remote_fn *fn, struct remote_bar *bar, uint64_t address)
{
    uint64_t size = fn->info.bars[bar->index].size;
    bar->mapped = address;
    bar->is_io = kind_of(fn, bar->index) == BAR_IO;
    if (bar->is_io) {
        if (address + size > 0x10000 || size > 0xffff)
            return ERR_RANGE;
        return io_space_add_ports(fn->guest->io, &(struct port_range){.name = "remote BAR",
                                                                      .first = (uint16_t)address,
                                                                      .count = (uint16_t)size,
                                                                      .read = port_read,
                                                                      .write = port_write,
                                                                      .dev = bar});
    }
    return io_space_add_mmio(fn->guest->io, &(struct mmio_range){.name = "remote BAR",
                                                                 .base = address,
                                                                 .size = size,
                                                                 .read = bar_read,
                                                                 .write = bar_write,
                                                                 .dev = bar});
}

/// Do accesses to this BAR come to the function? Never at address 0, as with most kernels and bridges.
static bool decodes(const struct remote_fn *fn, unsigned i, uint64_t address)
{
    bool io = kind_of(fn, i) == BAR_IO;
    if (address == 0 || !(config_view_read(&fn->view, COMMAND, 2) & (io ? COMMAND_IO : COMMAND_MEMORY)))
        return false;
    if (!fn->port)
        return true;
    const struct root_port *port = &fn->port->port;
    uint64_t size = fn->info.bars[i].size;
    return io ? root_port_passes_io(port, address, size) : root_port_passes_memory(port, address, size);
}

/// A BAR that meets something else there, or that holds the ones of a sizing in progress, is not decoded.
void remote_fn_decode(struct remote_fn *fn)
{
    for (unsigned i = 0; i < 6; i++) {
        struct remote_bar *bar = &fn->bars[i];
        unsigned kind = kind_of(fn, i);
        uint64_t address = kind == BAR_NONE ? 0 : bar_address(fn, i);
        bool on = kind != BAR_NONE && decodes(fn, i, address);
        if (bar->is_mapped && (!on || bar->mapped != address || bar->is_io != (kind == BAR_IO)))
            unmap(fn, bar);
        if (!on || bar->is_mapped)
            continue;
        bar->is_mapped = map(fn, bar, address) == OK;
        if (!bar->is_mapped)
            bus_counts.bar_conflicts++;
    }
}

/// Takes `size` bytes, naturally aligned, from [*next, end). 0: no room.
static uint64_t take(uint64_t *next, uint64_t end, uint64_t size)
{
    uint64_t at = (*next + size - 1) & ~(size - 1);
    if (at < *next || at >= end || end - at < size)
        return 0;
    *next = at + size;
    return at;
}

static uint64_t find_home(struct bus_guest *guest, unsigned kind, uint64_t size)
{
    const uint64_t end64 = GUEST_MMIO64_BASE << 1;
    if (kind == BAR_IO) {
        uint64_t next = guest->next_io, at = take(&next, 0x10000, size);
        guest->next_io = (uint32_t)next;
        return at;
    }
    uint64_t page =
        size < 4096 ? 4096 : size; // BARs do not share pages, for the sake of guests that map them
    if (kind == BAR_MEMORY32 || page <= BAR32_LARGE) {
        uint64_t at = take(&guest->next_mmio, GUEST_MMIO_END, page);
        if (at || kind == BAR_MEMORY32)
            return at;
    }
    return take(&guest->next_mmio64, end64, page);
}

void remote_fn_place(struct remote_fn *fn)
{
    for (unsigned i = 0; i < 6; i++) {
        unsigned kind = kind_of(fn, i);
        if (kind == BAR_NONE)
            continue;
        fn->bars[i].home = find_home(fn->guest, kind, fn->info.bars[i].size);
        if (!fn->bars[i].home)
            log_warn("bus", REMOTE_FN_FORMAT ": BAR %u of 0x%llx bytes finds no room in guest \"%s\"",
                     REMOTE_FN_ARGS(fn), i, (unsigned long long)fn->info.bars[i].size, fn->guest->name);
        set_bar(fn, i, fn->bars[i].home);
    }
    fn->placed = true;
}

void remote_fn_power_on(struct remote_fn *fn)
{
    if (!fn->known)
        return;
    for (unsigned i = 0; i < 6; i++) {
        if (kind_of(fn, i) != BAR_NONE)
            set_bar(fn, i, fn->bars[i].home);
    }
    config_view_write(&fn->view, COMMAND, 2, COMMAND_IO | COMMAND_MEMORY);
    config_view_write(&fn->view, 0x3c, 1, 0xff); // no interrupt line
    for (unsigned i = 0; i < sizeof(fn->restore) / sizeof(fn->restore[0]); i++)
        fn->restore[i].set = false;
    fn->bus_master_told = false;
    interrupts_reset(fn);
    remote_fn_decode(fn);
}

uint16_t remote_fn_source(const struct remote_fn *fn)
{
    return (uint16_t)(fn->port ? fn->port->port.bus.secondary << 8 : fn->devfn);
}

void remote_fn_reset_begins(struct remote_fn *fn)
{
    interrupts_lost(fn);
    mirror_forget(fn);
}

/// The guest's own registers as a reset leaves them; nothing is decoded.
static void forget_registers(struct remote_fn *fn)
{
    for (unsigned i = 0; i < CONFIG_VIEW_SIZE; i++)
        fn->view.image[i] = (uint8_t)(fn->view.image[i] & ~fn->view.writable[i]);
    for (unsigned i = 0; i < sizeof(fn->restore) / sizeof(fn->restore[0]); i++)
        fn->restore[i].set = false;
    fn->bus_master_told = false;
    interrupts_reset(fn);
    remote_fn_decode(fn);
}

static void reset_answered(struct remote_fn *fn, uint16_t arg, const struct wire_record *rec,
                           const void *body, size_t size)
{
    (void)arg, (void)body, (void)size;
    fn->resetting = false;
    if (!rec) // the link went down: assoc.c has seen to the rest
        return;
    if (rec->status == CPL_SC)
        remote_fn_reset_done(fn);
    else
        log_warn("bus", REMOTE_FN_FORMAT ": its remote could not reset it for guest \"%s\"",
                 REMOTE_FN_ARGS(fn), fn->guest->name);
    ports_attention(fn->guest);
}

void remote_fn_reset(struct remote_fn *fn)
{
    net_lock();
    bool begin = fn->state == ASSOC_ATTACHED && !fn->resetting;
    if (begin) {
        remote_fn_reset_begins(fn);
        forget_registers(fn);
        fn->resetting = true;
    }
    net_unlock();
    if (begin && !transact_begin(fn, REC_RESET, reset_answered)) {
        net_lock();
        fn->resetting = false;
        ports_attention(fn->guest);
        net_unlock();
    }
}

void remote_fn_reset_done(struct remote_fn *fn)
{
    mirror_start(fn);
}

// --- configuration space ---

static uint32_t ones(unsigned size)
{
    return size >= 4 ? ~0u : (1u << size * 8) - 1;
}

/// The bits of an access whose bytes the remote answers.
static uint32_t remote_bits(const struct config_view *view, uint16_t offset, unsigned size)
{
    uint32_t bits = 0;
    for (unsigned i = 0; i < size; i++) {
        if (!config_view_local(view, (uint16_t)(offset + i), 1))
            bits |= 0xffu << (i * 8);
    }
    return bits;
}

static uint32_t config_read(void *dev, uint16_t offset, unsigned size)
{
    struct remote_fn *fn = dev;
    uint32_t value = ones(size), remote = 0;
    net_lock();
    bool here = remote_fn_answers(fn);
    if (here) {
        value = config_view_read(&fn->view, offset, size);
        remote = remote_bits(&fn->view, offset, size);
        bus_counts.config_local += remote == 0;
    } else {
        bus_counts.absent++;
        bus_counts.all_ones++;
    }
    net_unlock();
    if (remote)
        value |= (uint32_t)transact_read(fn, REC_CFG_RD, 0, offset, size) & remote;
    return value;
}

/// Registers that are set again when the remote comes back: what the guest wrote last.
static void note_restore(struct remote_fn *fn, uint16_t offset, unsigned size, uint32_t value)
{
    for (unsigned i = 0; i < sizeof(fn->restore) / sizeof(fn->restore[0]); i++) {
        uint16_t at = fn->view.restore[i];
        if (at == 0 || at < offset || at + 2u > offset + size)
            continue;
        fn->restore[i].offset = at;
        fn->restore[i].value = (uint16_t)(value >> (at - offset) * 8);
        fn->restore[i].set = true;
    }
}

static bool touches(uint16_t offset, unsigned size, unsigned first, unsigned end)
{
    return offset < end && offset + size > first;
}

static uint8_t capability(const struct remote_fn *fn, uint8_t id)
{
    for (unsigned i = 0; i < fn->snapshot.cap_count; i++) {
        if (fn->snapshot.caps[i].id == id)
            return fn->snapshot.caps[i].offset;
    }
    return 0;
}

/// Does this write reset the function: Initiate Function Level Reset of a function that has it (PCIe
/// Base 4.0, 7.5.3.4; Advanced Capabilities ECN, 3.2.4)?
static bool starts_reset(const struct remote_fn *fn, uint16_t offset, unsigned size, uint32_t value)
{
    const struct {
        unsigned ability, able, control, start;
    } ways[] = {
        {capability(fn, CAP_EXPRESS) + 7u, 0x10, capability(fn, CAP_EXPRESS) + 9u, 0x80},
        {capability(fn, CAP_AF) + 3u, 0x02, capability(fn, CAP_AF) + 4u, 0x01},
    };
    for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        unsigned at = ways[i].control;
        if (at >= 0x40 && at >= offset && at < offset + size && value >> (at - offset) * 8 & ways[i].start &&
            config_view_read(&fn->view, (uint16_t)ways[i].ability, 1) & ways[i].able)
            return true;
    }
    return false;
}

static void config_write(void *dev, uint16_t offset, unsigned size, uint32_t value)
{
    struct remote_fn *fn = dev;
    net_lock();
    bool here = remote_fn_answers(fn), remote = false, bus_master = false, tell = false, irq = false;
    bool reset = here && starts_reset(fn, offset, size, value);
    if (here && !reset) {
        bool mastered = config_view_read(&fn->view, COMMAND, 2) & COMMAND_BUS_MASTER;
        config_view_write(&fn->view, offset, size, value);
        remote = remote_bits(&fn->view, offset, size) != 0;
        note_restore(fn, offset, size, value);
        bool wanted = value & COMMAND_BUS_MASTER;
        if (offset == COMMAND && fn->info.flags & WIRE_FN_DMA) {
            bus_master = wanted != mastered;
        } else if (offset == COMMAND) {
            bus_master = wanted;
            tell = wanted && !fn->bus_master_told;
            fn->bus_master_told |= wanted;
        }
        irq = interrupts_configured(fn, offset, size);
        bus_counts.config_local += !remote && !bus_master;
        if (touches(offset, size, COMMAND, COMMAND + 2) || touches(offset, size, BAR0, BARS_END))
            remote_fn_decode(fn);
    } else if (!here) {
        bus_counts.absent++;
    }
    net_unlock();
    if (reset)
        remote_fn_reset(fn);
    if (tell)
        log_warn("bus",
                 "guest \"%s\" asks that " REMOTE_FN_FORMAT
                 " may master the bus: its remote has no IOMMU to confine its DMA, and refuses it",
                 fn->guest->name, REMOTE_FN_ARGS(fn));
    if (remote || bus_master)
        transact_write(fn, REC_CFG_WR, 0, offset, size, value);
    if (irq)
        interrupts_sync(fn, false);
}

struct guest_pci_function remote_fn_card(struct remote_fn *fn)
{
    return (struct guest_pci_function){.config_read = config_read, .config_write = config_write, .dev = fn};
}

enum status remote_fn_plug(struct remote_fn *fn, unsigned slot)
{
    if (fn->guest->layout == BOOT_BUS_PORTS) {
        fn->port = ports_spare(fn->guest, slot);
        if (fn->port)
            fn->port->fn = fn;
        return fn->port ? OK : ERR_NOMEM;
    }
    for (unsigned device = FIRST_DEVICE; device < 31; device++) {
        struct guest_pci_function f = {.bus = 0,
                                       .devfn = (uint8_t)(device << 3),
                                       .config_read = config_read,
                                       .config_write = config_write,
                                       .dev = fn};
        enum status s = guest_pci_add(fn->guest->pci, &f);
        if (s == ERR_BUSY)
            continue;
        fn->devfn = f.devfn;
        return s;
    }
    return ERR_NOMEM;
}

void remote_fn_unplug(struct remote_fn *fn)
{
    for (unsigned i = 0; i < 6; i++)
        unmap(fn, &fn->bars[i]);
    if (!fn->port)
        guest_pci_remove(fn->guest->pci, 0, fn->devfn);
    else
        fn->port->fn = NULL;
}
