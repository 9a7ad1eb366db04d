// SPDX-License-Identifier: BSD-2-Clause
// A guest's root ports and the remote functions in their slots: what firmware would set up, and arrival and
// loss as hot-plug events. Must not know links. Locks: a port (hv/platform/root_port.c) is touched on its
// guest's CPU only; what it calls back here takes the net lock, so no port function that calls back may be
// called with it held.
#include "hv/bus/remote.h"
#include "net/stack.h"
#include "rt/log.h"
#include "rt/time.h"

#define FIRST_DEVICE                                                                                         \
    2u // of the ports, on bus 0: the host bridge is 0, and 1 is a graphics adapter's on most PCs
#define FIRST_BUS        1u
#define MIB              (1ull << 20)
#define UNKNOWN_MEMORY   (32 * MIB) // windows for whatever may come
#define UNKNOWN_PREFETCH (1024 * MIB)
#define LARGE            (64 * MIB)
#define LEAST_MEMORY     (2 * MIB)
#define IO_WINDOW        0x1000u
#define LETTING_GO_MS    20000u // a guest's answer to the attention button; Linux waits 5 s for a second thought

// --- what a port calls, on the guest's CPU ---

static void on_forwarding(void *ctx)
{
    struct bus_port *p = ctx;
    net_lock();
    if (p->fn && p->fn->known)
        remote_fn_decode(p->fn);
    net_unlock();
}

static void on_card_reset(void *ctx)
{
    struct bus_port *p = ctx;
    if (p->fn)
        remote_fn_reset(p->fn);
    net_lock();
    ports_attention(p->guest); // who waits for the slot to be switched off looks again
    net_unlock();
}

static void on_message(void *ctx, uint64_t address, uint32_t data)
{
    interrupts_send(((struct bus_port *)ctx)->guest, address, data);
}

static void on_line(void *ctx)
{
    net_lock();
    interrupts_drive(((struct bus_port *)ctx)->guest);
    net_unlock();
}

enum status ports_build(struct bus_guest *guest, unsigned devices)
{
    enum status s = OK;
    for (unsigned i = 0; i < devices + PORTS_SPARE && i < PORTS_MAX && s == OK; i++) {
        struct bus_port *p = &guest->ports[i];
        const struct root_port_ops ops = {.forwarding = on_forwarding,
                                          .card_reset = on_card_reset,
                                          .message = on_message,
                                          .line = on_line,
                                          .ctx = p};
        *p = (struct bus_port){.guest = guest};
        s = root_port_init(&p->port, guest->pci, (uint8_t)((FIRST_DEVICE + i) << 3), (uint8_t)(i + 1), &ops);
        guest->port_count += s == OK;
    }
    return s;
}

struct bus_port *ports_spare(struct bus_guest *guest, unsigned slot)
{
    return slot < guest->port_count && !guest->ports[slot].fn ? &guest->ports[slot] : NULL;
}

uint8_t ports_lines(const struct bus_guest *guest)
{
    uint8_t lines = 0;
    for (unsigned i = 0; i < guest->port_count; i++) {
        const struct root_port *port = &guest->ports[i].port;
        if (port->line)
            lines |= (uint8_t)(1u << (port->devfn >> 3) % INTX_GSIS);
    }
    return lines;
}

// --- as firmware leaves it ---

/// A window and the BARs in it.
struct window {
    uint64_t size, align;
};

static uint64_t up(uint64_t value, uint64_t align)
{
    return (value + align - 1) & ~(align - 1);
}

/// Does it go into the 64-bit window? Prefetchable ones do (PCI-to-PCI Bridge 1.2, 3.2.5.9), and large ones:
/// behind PCIe ports nobody prefetches (PCIe Base 4.0, 7.5.1.2.1, implementation note).
static bool is_far(const struct wire_bar *bar)
{
    return (bar->kind & 0x7f) == 3 && (bar->kind & 0x80 || bar->size > LARGE);
}

/// BARs share no page, for the sake of guests that map them.
static uint64_t room_of(const struct wire_bar *bar)
{
    return bar->kind == 1 || bar->size >= 4096 ? bar->size : 4096;
}

enum { IO, MEMORY, PREFETCH, WINDOWS };

static int window_of(const struct wire_bar *bar)
{
    return (bar->kind & 0x7f) == 0 ? -1 : bar->kind == 1 ? IO : is_far(bar) ? PREFETCH : MEMORY;
}

/// Large ones first, each is aligned by itself: no gaps. Calls place (if not NULL) with the offset of each.
static struct window pack(const struct remote_fn *fn, int which, uint64_t offsets[6])
{
    struct window w = {0, 1};
    for (uint64_t size = 1ull << 63; size; size >>= 1) {
        for (unsigned i = 0; i < 6; i++) {
            const struct wire_bar *bar = &fn->info.bars[i];
            if (window_of(bar) != which || room_of(bar) != size)
                continue;
            offsets[i] = w.size;
            w.align = size > w.align ? size : w.align;
            w.size += size;
        }
    }
    return w;
}

/// The address space that is left for windows.
struct room {
    uint64_t io, io_end, memory, prefetch;
};

/// Takes `size` bytes from [*next, end). 0: no room.
static uint64_t take(uint64_t *next, uint64_t end, uint64_t size, uint64_t align)
{
    uint64_t at = up(*next, align);
    if (size == 0 || at < *next || at >= end || end - at < size)
        return 0;
    *next = at + size;
    return at;
}

static void open_io(struct room *room, struct root_port_setup *s)
{
    uint64_t at = take(&room->io, room->io_end, IO_WINDOW, IO_WINDOW);
    if (!at && room->io_end == GUEST_IO_HIGH_END) {
        room->io = GUEST_IO_LOW;
        room->io_end = GUEST_IO_LOW_END;
        at = take(&room->io, room->io_end, IO_WINDOW, IO_WINDOW);
    }
    s->io = (uint16_t)at;
    s->io_size = at ? IO_WINDOW : 0;
}

/// Memory windows of at least what the function (NULL: unknown) needs; smaller than that is of no use.
static void open_memory(struct room *room, struct root_port_setup *s, const struct remote_fn *fn)
{
    uint64_t offsets[6];
    struct window memory = {0, 1}, prefetch = {0, 1};
    if (fn) {
        memory = pack(fn, MEMORY, offsets);
        prefetch = pack(fn, PREFETCH, offsets);
    }
    uint64_t size = fn ? up(memory.size, MIB) : UNKNOWN_MEMORY;
    uint64_t align = memory.align > MIB ? memory.align : MIB;
    size = size < LEAST_MEMORY ? LEAST_MEMORY : size;
    do {
        s->memory = (uint32_t)take(&room->memory, GUEST_MMIO_END, size, align);
        s->memory_size = s->memory ? (uint32_t)size : 0;
        size /= 2; // for what is not known, less is better than nothing
    } while (!fn && !s->memory_size && size >= LEAST_MEMORY);
    size = up(prefetch.size, MIB);
    size = size < UNKNOWN_PREFETCH ? UNKNOWN_PREFETCH : size;
    align = prefetch.align > MIB ? prefetch.align : MIB;
    s->prefetchable = take(&room->prefetch, GUEST_MMIO64_BASE << 1, size, align);
    s->prefetchable_size = s->prefetchable ? size : 0;
}

/// Gives its BARs addresses in the windows.
static void place(struct remote_fn *fn, const struct root_port_setup *s)
{
    const struct {
        uint64_t base, size;
    } windows[WINDOWS] = {[IO] = {s->io, s->io_size},
                          [MEMORY] = {s->memory, s->memory_size},
                          [PREFETCH] = {s->prefetchable, s->prefetchable_size}};
    for (int which = 0; which < WINDOWS; which++) {
        uint64_t offsets[6];
        bool fits = pack(fn, which, offsets).size <= windows[which].size;
        for (unsigned i = 0; i < 6; i++) {
            if (window_of(&fn->info.bars[i]) != which)
                continue;
            fn->bars[i].home = fits ? windows[which].base + offsets[i] : 0;
            if (!fits)
                log_warn("bus", REMOTE_FN_FORMAT ": BAR %u of 0x%llx bytes finds no room in guest \"%s\"",
                         REMOTE_FN_ARGS(fn), i, (unsigned long long)fn->info.bars[i].size, fn->guest->name);
        }
    }
}

static bool in_slot(const struct remote_fn *fn)
{
    return fn && fn->state == ASSOC_ATTACHED && !fn->leaving;
}

/// Functions that are there take what they need; then the empty slots share what is left.
static void lay_out(struct bus_guest *guest, struct root_port_setup setups[PORTS_MAX])
{
    struct room room = {GUEST_IO_HIGH, GUEST_IO_HIGH_END, GUEST_MMIO_BASE, GUEST_MMIO64_BASE};
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < guest->port_count; i++) {
            struct remote_fn *fn = guest->ports[i].fn;
            if (in_slot(fn) != (pass == 0))
                continue;
            setups[i].bus = (uint8_t)(FIRST_BUS + i);
            open_io(&room, &setups[i]);
            open_memory(&room, &setups[i], pass == 0 ? fn : NULL);
        }
    }
}

void ports_start(struct bus_guest *guest)
{
    struct root_port_setup setups[PORTS_MAX] = {0};
    lay_out(guest, setups);
    for (unsigned i = 0; i < guest->port_count; i++) {
        struct bus_port *p = &guest->ports[i];
        struct remote_fn *fn = p->fn;
        root_port_reset(&p->port);
        if (!in_slot(fn)) {
            root_port_setup(&p->port, &setups[i], NULL);
            if (fn && fn->known)
                remote_fn_decode(fn);
            continue;
        }
        const struct guest_pci_function card = remote_fn_card(fn);
        root_port_setup(&p->port, &setups[i], &card);
        fn->inserted = true;
        place(fn, &setups[i]);
        remote_fn_power_on(fn);
    }
}

// --- arrival and loss ---

/// What is to be told to the port; the lock is held while it is found out, and not while it is told.
enum news { NEWS_NONE, NEWS_GONE, NEWS_CAME, NEWS_READY, NEWS_BUTTON };

/// A function that is being detached leaves when the guest has switched its slot off, or does not care for
/// it, or takes too long.
static bool has_let_go(const struct bus_port *p)
{
    const struct root_port *port = &p->port;
    return !port->present || !root_port_powered(port) || !root_port_managed(port) ||
           time_ns() - p->fn->leaving_since > LETTING_GO_MS * 1000000ull;
}

static enum news news_of(struct bus_port *p)
{
    struct remote_fn *fn = p->fn;
    if (p->port.present && (!fn || !fn->inserted))
        return NEWS_GONE;
    if (!fn)
        return NEWS_NONE;
    if (fn->leaving) {
        if (has_let_go(p)) {
            if (p->port.present && root_port_powered(&p->port) && root_port_managed(&p->port))
                log_warn("bus", REMOTE_FN_FORMAT " is pulled: guest \"%s\" did not switch its slot off",
                         REMOTE_FN_ARGS(fn), fn->guest->name);
            fn->inserted = false;
            return NEWS_GONE;
        }
        if (!fn->asked_to_leave) {
            fn->asked_to_leave = true;
            return NEWS_BUTTON;
        }
    } else if (fn->state == ASSOC_ATTACHED && !p->port.present) {
        fn->inserted = true;
        return NEWS_CAME;
    }
    return p->port.present && p->port.ready == fn->resetting ? NEWS_READY : NEWS_NONE;
}

static void tell(struct bus_port *p, enum news news)
{
    struct remote_fn *fn = p->fn;
    switch (news) {
    case NEWS_GONE:
        root_port_remove(&p->port);
        break;
    case NEWS_CAME: {
        const struct guest_pci_function card = remote_fn_card(fn);
        root_port_insert(&p->port, &card);
        break;
    }
    case NEWS_READY:
        root_port_ready(&p->port, !p->port.ready);
        break;
    case NEWS_BUTTON:
        root_port_press(&p->port);
        break;
    case NEWS_NONE:
        break;
    }
}

void ports_attention(struct bus_guest *guest)
{
    atomic_store(&guest->ports_due, true);
    bus_attention(guest);
}

void ports_collect(struct bus_guest *guest)
{
    if (!atomic_load_explicit(&guest->ports_due, memory_order_relaxed) ||
        !atomic_exchange(&guest->ports_due, false))
        return;
    for (unsigned i = 0; i < guest->port_count; i++) {
        struct bus_port *p = &guest->ports[i];
        for (enum news news = NEWS_BUTTON; news != NEWS_NONE;) {
            net_lock();
            news = news_of(p);
            net_unlock();
            tell(p, news);
            net_lock();
            if (p->fn && p->fn->leaving && !p->port.present) {
                log_info("bus", REMOTE_FN_FORMAT " is not guest \"%s\"'s any more", REMOTE_FN_ARGS(p->fn),
                         guest->name);
                assoc_release(p->fn);
                guests_serve(NULL);
            }
            net_unlock();
        }
    }
}
