// SPDX-License-Identifier: BSD-2-Clause
// Interrupts of remote functions, host side: MSI and MSI-X as the guest programs them (message, masks,
// pending bits: all kept here), INTx as lines of the guest's I/O APIC. The remote is told only which messages
// are wanted (REC_INTERRUPTS), and says "message n" or "line up" (PCI 3.0, 6.8 and 2.2.6). Must not know
// local APICs: what is due is handed to whoever runs the guest, on the CPU that runs it (bus_guest_collect).
// Invariant: nothing a remote sends reaches a guest unless the guest has that very interrupt enabled.
#include "hv/bus/remote.h"
#include "net/stack.h"
#include "rt/log.h"
#include <string.h>

#define COMMAND              0x04u
#define COMMAND_INTX_DISABLE 0x0400u
#define STATUS               0x06u
#define STATUS_INTERRUPT     0x08u

#define MSI_CONTROL   2u
#define MSI_ENABLE    0x0001u
#define MSI_64        0x0080u
#define MSI_MASKABLE  0x0100u
#define MSIX_CONTROL  2u
#define MSIX_ENABLE   0x8000u
#define MSIX_MASK_ALL 0x4000u
#define MSIX_SIZE     0x07ffu
#define ENTRY_MASKED  0x1u

static uint32_t view16(const struct remote_fn *fn, unsigned offset)
{
    return config_view_read(&fn->view, (uint16_t)offset, 2);
}

// --- what the guest wants ---

static bool msix_on(const struct remote_fn *fn)
{
    return fn->irq.cap_msix && (view16(fn, fn->irq.cap_msix + MSIX_CONTROL) & MSIX_ENABLE);
}

static bool msi_on(const struct remote_fn *fn)
{
    return fn->irq.cap_msi && (view16(fn, fn->irq.cap_msi + MSI_CONTROL) & MSI_ENABLE);
}

static enum wire_interrupt_mode mode_of(const struct remote_fn *fn)
{
    if (msix_on(fn))
        return INTERRUPTS_MSIX;
    if (msi_on(fn))
        return INTERRUPTS_MSI;
    return fn->info.pin && !(view16(fn, COMMAND) & COMMAND_INTX_DISABLE) ? INTERRUPTS_INTX : INTERRUPTS_OFF;
}

static uint64_t unmasked(const struct remote_fn *fn)
{
    uint64_t bits = 0;
    for (unsigned i = 0; i < fn->irq.entries; i++) {
        if (!(fn->irq.table[i].control & ENTRY_MASKED))
            bits |= 1ull << i;
    }
    return bits;
}

/// MSI: the bit of its one message, unless it is masked.
static uint64_t msi_unmasked(const struct remote_fn *fn)
{
    unsigned cap = fn->irq.cap_msi;
    uint32_t control = view16(fn, cap + MSI_CONTROL);
    unsigned mask = cap + (control & MSI_64 ? 0x10u : 0xcu);
    return control & MSI_MASKABLE && config_view_read(&fn->view, (uint16_t)mask, 1) & 1 ? 0 : 1;
}

// --- telling the remote ---

struct wanted {
    struct wire_interrupts head;
    uint8_t bits[MESSAGES_MAX / 8];
    uint16_t size;
};

/// What to tell it; false: it knows.
static bool changed(struct remote_fn *fn, bool always, struct wanted *w)
{
    struct fn_interrupts *irq = &fn->irq;
    enum wire_interrupt_mode mode = mode_of(fn);
    uint64_t wanted = mode == INTERRUPTS_MSI ? 1 : mode == INTERRUPTS_MSIX ? unmasked(fn) : 0;
    // An entry that was wanted once stays so: masking and unmasking cost no round trip.
    if (mode == INTERRUPTS_MSIX && irq->told == mode && !always)
        wanted |= irq->wanted;
    if (mode == irq->told && wanted == irq->wanted && !always)
        return false;
    if (mode != irq->told)
        irq->pending = 0;
    irq->told = mode;
    irq->wanted = wanted;
    irq->line = irq->eoi_due = false;
    *w = (struct wanted){.head = {.mode = (uint8_t)mode}};
    w->head.count = mode == INTERRUPTS_MSI ? 1 : mode == INTERRUPTS_MSIX ? irq->entries : 0;
    memcpy(w->bits, &wanted, sizeof(w->bits));
    w->size = (uint16_t)(sizeof(w->head) + (w->head.count + 7u) / 8);
    return true;
}

static void refused(struct remote_fn *fn)
{
    fn->irq.told = INTERRUPTS_OFF;
    fn->irq.wanted = 0;
    if (fn->irq.refusal_told)
        return;
    fn->irq.refusal_told = true;
    log_warn("bus", REMOTE_FN_FORMAT ": its remote does not enable the interrupts that guest \"%s\" wants",
             REMOTE_FN_ARGS(fn), fn->guest->name);
}

void bus_attention(struct bus_guest *guest)
{
    if (!atomic_exchange(&guest->attention, true) && guest->interrupts.attention)
        guest->interrupts.attention(guest->interrupts.ctx);
}

void interrupts_sync(struct remote_fn *fn, bool always)
{
    struct wanted w;
    net_lock();
    bool tell = fn->state == ASSOC_ATTACHED && changed(fn, always, &w);
    bus_attention(fn->guest); // a line may have fallen, a message may have been unmasked
    net_unlock();
    if (!tell || transact_control(fn, REC_INTERRUPTS, &w, w.size))
        return;
    net_lock();
    if (fn->state == ASSOC_ATTACHED)
        refused(fn);
    net_unlock();
}

static void told(struct remote_fn *fn, uint16_t arg, const struct wire_record *rec, const void *body,
                 size_t size)
{
    (void)arg, (void)body, (void)size;
    if (rec && rec->status != CPL_SC)
        refused(fn);
}

void interrupts_attached(struct remote_fn *fn)
{
    struct wanted w;
    interrupts_lost(fn);
    if (!changed(fn, false, &w))
        return;
    if (!transact_async(fn, REC_INTERRUPTS, &w, w.size, NULL, 0, told, 0))
        refused(fn);
}

void interrupts_lost(struct remote_fn *fn)
{
    struct fn_interrupts *irq = &fn->irq;
    irq->told = INTERRUPTS_OFF;
    irq->wanted = irq->pending = 0;
    irq->line = irq->eoi_due = false;
    bus_attention(fn->guest);
}

void interrupts_reset(struct remote_fn *fn)
{
    struct fn_interrupts *irq = &fn->irq;
    interrupts_lost(fn);
    for (unsigned i = 0; i < MESSAGES_MAX; i++)
        irq->table[i] = (struct msix_entry){.control = ENTRY_MASKED};
    if (irq->cap_msi)
        config_view_write(&fn->view, (uint16_t)(irq->cap_msi + MSI_CONTROL), 2, 0);
    for (unsigned at = 4; irq->cap_msi && at < 0x18; at += 4) { // only what is writable changes
        if (at >= irq->msi_size)
            break;
        config_view_write(&fn->view, (uint16_t)(irq->cap_msi + at), 4, 0);
    }
    if (irq->cap_msix)
        config_view_write(&fn->view, (uint16_t)(irq->cap_msix + MSIX_CONTROL), 2, 0);
}

bool interrupts_configured(const struct remote_fn *fn, uint16_t offset, unsigned size)
{
    const struct fn_interrupts *irq = &fn->irq;
    unsigned end = offset + size;
    return (offset < COMMAND + 2 && end > COMMAND) ||
           (irq->cap_msi && offset < irq->cap_msi + irq->msi_size && end > irq->cap_msi) ||
           (irq->cap_msix && offset < irq->cap_msix + 4u && end > irq->cap_msix);
}

// --- MSI-X table and pending bits ---

void interrupts_learn(struct remote_fn *fn)
{
    struct fn_interrupts *irq = &fn->irq;
    const struct snapshot *s = &fn->snapshot;
    irq->cap_msi = irq->cap_msix = irq->msi_size = 0;
    irq->entries = 0;
    if (!(fn->info.flags & WIRE_FN_MSI))
        return;
    for (unsigned i = 0; i < s->cap_count; i++) {
        const struct config_capability *cap = &s->caps[i];
        if (cap->id == CONFIG_CAP_MSI && !irq->cap_msi && cap->length >= 12) {
            irq->cap_msi = cap->offset;
            irq->msi_size = cap->length;
        } else if (cap->id == CONFIG_CAP_MSIX && !irq->cap_msix && cap->length == 12) {
            uint32_t table = config_view_get(&fn->view, (uint16_t)(cap->offset + 4u));
            uint32_t pba = config_view_get(&fn->view, (uint16_t)(cap->offset + 8u));
            irq->cap_msix = cap->offset;
            uint32_t real = s->raw[cap->offset + 2u] | (uint32_t)s->raw[cap->offset + 3u] << 8;
            irq->table_bytes = ((real & MSIX_SIZE) + 1) * sizeof(struct msix_entry);
            irq->entries = (uint16_t)((view16(fn, cap->offset + MSIX_CONTROL) & MSIX_SIZE) + 1);
            irq->table_bar = table & 7;
            irq->table_at = table & ~7u;
            irq->pba_bar = pba & 7;
            irq->pba_at = pba & ~7u;
        }
    }
}

static bool inside(uint64_t offset, unsigned size, uint64_t first, uint64_t bytes)
{
    return offset < first + bytes && offset + size > first;
}

bool interrupts_owns(const struct remote_fn *fn, unsigned bar, uint64_t offset, unsigned size)
{
    const struct fn_interrupts *irq = &fn->irq;
    if (!irq->cap_msix)
        return false;
    return (bar == irq->table_bar && inside(offset, size, irq->table_at, irq->table_bytes)) ||
           (bar == irq->pba_bar && inside(offset, size, irq->pba_at, MESSAGES_MAX / 8));
}

/// The byte of the table or of the pending bits at `offset` of the BAR, for reading; NULL: neither.
static const uint8_t *byte_at(const struct fn_interrupts *irq, unsigned bar, uint64_t offset)
{
    if (bar == irq->table_bar && offset >= irq->table_at &&
        offset - irq->table_at < irq->entries * sizeof(struct msix_entry))
        return (const uint8_t *)irq->table + (offset - irq->table_at);
    if (bar == irq->pba_bar && offset >= irq->pba_at && offset - irq->pba_at < sizeof(irq->pending))
        return (const uint8_t *)&irq->pending + (offset - irq->pba_at);
    return NULL;
}

uint64_t interrupts_read(struct remote_fn *fn, unsigned bar, uint64_t offset, unsigned size)
{
    uint64_t value = 0;
    net_lock();
    bool here = remote_fn_answers(fn);
    mirror_enter(fn->guest); // who polls the pending bits finds the data there, too
    mirror_leave(fn->guest);
    for (unsigned i = 0; i < size; i++) {
        const uint8_t *byte = here ? byte_at(&fn->irq, bar, offset + i) : NULL;
        value |= (uint64_t)(here ? byte ? *byte : 0 : 0xff) << (i * 8);
    }
    net_unlock();
    return value;
}

void interrupts_write(struct remote_fn *fn, unsigned bar, uint64_t offset, unsigned size, uint64_t value)
{
    struct fn_interrupts *irq = &fn->irq;
    net_lock();
    for (unsigned i = 0; i < size && bar == irq->table_bar && remote_fn_answers(fn); i++) {
        uint64_t at = offset + i - irq->table_at;
        if (offset + i < irq->table_at || at >= irq->entries * sizeof(struct msix_entry))
            continue;
        uint8_t byte = (uint8_t)(value >> (i * 8));
        unsigned in_entry = at % sizeof(struct msix_entry);
        if (in_entry == 12)
            byte &= ENTRY_MASKED;
        else if (in_entry > 12)
            byte = 0;
        ((uint8_t *)irq->table)[at] = byte;
    }
    net_unlock();
    interrupts_sync(fn, false);
}

// --- what the remote says ---

void interrupts_record(struct remote_fn *fn, const struct wire_record *rec, const void *body, size_t size)
{
    struct fn_interrupts *irq = &fn->irq;
    struct wire_intx intx;
    struct wire_msi msi;
    if (rec->type == REC_INTX && size == sizeof(intx)) {
        memcpy(&intx, body, sizeof(intx));
        if (irq->told == INTERRUPTS_INTX && intx.pin == fn->info.pin) {
            bus_counts.interrupts += !irq->line && intx.asserted;
            irq->line = intx.asserted != 0;
            bus_attention(fn->guest);
            return;
        }
    } else if (rec->type == REC_MSI && size == sizeof(msi)) {
        memcpy(&msi, body, sizeof(msi));
        if ((irq->told == INTERRUPTS_MSI || irq->told == INTERRUPTS_MSIX) && msi.vector < MESSAGES_MAX &&
            irq->wanted >> msi.vector & 1) {
            bus_counts.interrupts++;
            irq->pending |= 1ull << msi.vector;
            bus_attention(fn->guest);
            return;
        }
    }
    bus_counts.interrupts_dropped++;
}

// --- what is due, on the CPU that runs the guest ---

void interrupts_send(const struct bus_guest *guest, uint64_t address, uint32_t data)
{
    struct interrupt_message m;
    if (!interrupt_message_from(address, data, &m)) { // a write to memory, not an interrupt
        bus_counts.interrupts_dropped++;
        return;
    }
    if (guest->interrupts.message)
        guest->interrupts.message(guest->interrupts.ctx, &m);
}

static void deliver(struct remote_fn *fn)
{
    struct fn_interrupts *irq = &fn->irq;
    if (irq->told == INTERRUPTS_MSI && msi_on(fn)) {
        uint64_t due = irq->pending & msi_unmasked(fn);
        unsigned cap = irq->cap_msi;
        bool wide = view16(fn, cap + MSI_CONTROL) & MSI_64;
        if (due)
            interrupts_send(fn->guest,
                            config_view_get(&fn->view, (uint16_t)(cap + 4)) |
                                (uint64_t)(wide ? config_view_get(&fn->view, (uint16_t)(cap + 8)) : 0) << 32,
                            view16(fn, cap + (wide ? 0xcu : 8u)));
        irq->pending &= ~due;
        unsigned pending = cap + (wide ? 0x14u : 0x10u);
        if (view16(fn, cap + MSI_CONTROL) & MSI_MASKABLE && pending < CONFIG_VIEW_SIZE)
            fn->view.image[pending] = irq->pending & 1;
    } else if (irq->told == INTERRUPTS_MSIX && msix_on(fn) &&
               !(view16(fn, irq->cap_msix + MSIX_CONTROL) & MSIX_MASK_ALL)) {
        uint64_t due = irq->pending & unmasked(fn);
        irq->pending &= ~due;
        for (; due; due &= due - 1) {
            const struct msix_entry *e = &irq->table[__builtin_ctzll(due)];
            interrupts_send(fn->guest, e->address | (uint64_t)e->address_high << 32, e->data);
        }
    }
}

/// INTx as the _PRT of hv/platform/dsdt.asl routes it: by the device on bus 0. A port passes INTA of its card
/// (device 0) on as its own INTA (PCI-to-PCI Bridge 1.2, 9.1).
static unsigned gsi_of(const struct remote_fn *fn)
{
    unsigned devfn = fn->port ? fn->port->port.devfn : fn->devfn;
    return INTX_GSI_FIRST + ((devfn >> 3) + fn->info.pin - 1u) % INTX_GSIS;
}

static void send_eoi(struct remote_fn *fn)
{
    const struct wire_record rec = {.type = REC_EOI, .function = fn->handle};
    fn->irq.eoi_due = link_send(fn->remote->link, &rec, NULL, 0, NULL, 0) == ERR_BUSY;
    link_flush(fn->remote->link);
    if (fn->irq.eoi_due) // the link is full: again at the next look
        atomic_store(&fn->guest->attention, true);
}

/// Drives the lines: each is the OR of the functions on it.
void interrupts_drive(struct bus_guest *guest)
{
    uint8_t lines = ports_lines(guest);
    for (unsigned i = 0; i < assoc_count(); i++) {
        struct remote_fn *fn = assoc_get(i);
        if (fn->state == ASSOC_FREE || fn->guest != guest || !fn->known)
            continue;
        fn->view.image[STATUS] =
            (uint8_t)((fn->view.image[STATUS] & ~STATUS_INTERRUPT) | (fn->irq.line ? STATUS_INTERRUPT : 0));
        if (fn->irq.line)
            lines |= (uint8_t)(1u << (gsi_of(fn) - INTX_GSI_FIRST));
    }
    uint8_t moved = lines ^ guest->lines;
    guest->lines = lines;
    for (unsigned i = 0; i < INTX_GSIS; i++) {
        if (moved >> i & 1 && guest->interrupts.line)
            guest->interrupts.line(guest->interrupts.ctx, INTX_GSI_FIRST + i, lines >> i & 1);
    }
}

void bus_guest_interrupts(struct bus_guest *guest, const struct bus_interrupts *interrupts)
{
    net_lock();
    guest->interrupts = *interrupts;
    net_unlock();
}

void interrupts_collect(struct bus_guest *guest)
{
    for (unsigned i = 0; i < assoc_count(); i++) {
        struct remote_fn *fn = assoc_get(i);
        if (fn->state != ASSOC_ATTACHED || fn->guest != guest)
            continue;
        if (fn->irq.eoi_due)
            send_eoi(fn);
        deliver(fn);
    }
    interrupts_drive(guest);
}

void bus_guest_collect(struct bus_guest *guest)
{
    if (!atomic_load_explicit(&guest->attention, memory_order_relaxed) ||
        !atomic_exchange(&guest->attention, false))
        return;
    ports_collect(guest);
    net_lock();
    mirror_collect(guest); // data before the interrupts that announce it
    interrupts_collect(guest);
    net_unlock();
    mirror_report_faults(guest);
}

void bus_guest_rest(struct bus_guest *guest)
{
    if (atomic_load_explicit(&guest->attention, memory_order_relaxed) &&
        atomic_exchange(&guest->attention, false))
        ports_collect(guest);
}

void bus_guest_eoi(struct bus_guest *guest, unsigned gsi)
{
    if (gsi < INTX_GSI_FIRST || gsi >= INTX_GSI_FIRST + INTX_GSIS ||
        !(guest->lines >> (gsi - INTX_GSI_FIRST) & 1))
        return;
    net_lock();
    for (unsigned i = 0; i < assoc_count(); i++) {
        struct remote_fn *fn = assoc_get(i);
        if (fn->state != ASSOC_ATTACHED || fn->guest != guest || !fn->irq.line || gsi_of(fn) != gsi)
            continue;
        fn->irq.line = false;
        send_eoi(fn);
    }
    mirror_enter(guest);
    mirror_leave(guest);
    interrupts_drive(guest);
    net_unlock();
}
