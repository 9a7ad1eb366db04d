// SPDX-License-Identifier: BSD-2-Clause
// remote-fw/interrupts.h. Registers: PCI 3.0, 6.8 (MSI, MSI-X) and 6.2.2, 6.2.3 (Command, Status).
#include "remote-fw/interrupts.h"
#include "drivers/pci_regs.h"
#include <stdatomic.h>
#include <string.h>

#define STATUS_INTERRUPT 0x0008u
#define MSIX_MASK_ALL    0x4000u
#define ENTRY_BYTES      16u

static struct slot {
    struct function *f; // NULL: not in use
    uint16_t entry;
    const struct function *message_of;
    struct interrupt_message message;
} slots[INTERRUPT_SLOTS];
static _Atomic uint64_t raised[INTERRUPT_SLOTS / 64]; // a second message before the first was noted is one
static uint64_t noted[INTERRUPT_SLOTS / 64];          // and before the first was told
static interrupt_vector_fn *take_vector;
static unsigned able; // functions that may have messages

void interrupts_start(interrupt_vector_fn *vector)
{
    take_vector = vector;
}

void interrupts_share(unsigned functions)
{
    able = functions;
}

void interrupts_raise(unsigned slot)
{
    atomic_fetch_or(&raised[slot / 64], 1ull << slot % 64);
}

static void forget(unsigned slot)
{
    uint64_t bit = 1ull << slot % 64;
    atomic_fetch_and(&raised[slot / 64], ~bit);
    noted[slot / 64] &= ~bit;
}

static uint32_t get(const struct function *f, unsigned offset, unsigned size)
{
    return f->ops->config_read(f->device, (uint16_t)offset, size);
}

static void put(const struct function *f, unsigned offset, unsigned size, uint32_t value)
{
    f->ops->config_write(f->device, (uint16_t)offset, size, value);
}

/// Not with DMA: then it is the guest's.
static void set_bus_master(const struct function *f, bool on)
{
    if (f->dma.on)
        return;
    uint32_t was = get(f, PCI_COMMAND, 2);
    uint32_t is = on ? was | PCI_COMMAND_MASTER : was & ~PCI_COMMAND_MASTER;
    if (is != was)
        put(f, PCI_COMMAND, 2, is);
}

// --- slots ---

static struct slot *slot_of(const struct function *f, uint16_t entry)
{
    for (unsigned i = 0; i < INTERRUPT_SLOTS; i++) {
        if (slots[i].f == f && slots[i].entry == entry)
            return &slots[i];
    }
    return NULL;
}

/// How many more slots this function may have: each of the others that has none finds one.
static unsigned spare(const struct function *f)
{
    unsigned left = 0, others = 0; // others: that have one
    for (unsigned i = 0; i < INTERRUPT_SLOTS; i++) {
        unsigned k = 0;
        while (slots[k].f != slots[i].f)
            k++;
        left += !slots[i].f;
        others += slots[i].f && slots[i].f != f && k == i;
    }
    unsigned kept = able > others + 1 ? able - others - 1 : 0;
    return left > kept ? left - kept : 0;
}

static struct slot *take_slot(struct function *f, uint16_t entry)
{
    for (unsigned i = 0; i < INTERRUPT_SLOTS; i++) {
        struct slot *s = &slots[i];
        if (s->f)
            continue;
        if (s->message_of != f) {
            s->message_of = NULL;
            if (!take_vector || take_vector(i, f, &s->message) != OK)
                return NULL;
            s->message_of = f;
        }
        forget(i); // what came for whoever had it
        s->f = f;
        s->entry = entry;
        return s;
    }
    return NULL;
}

static void free_slots(const struct function *f)
{
    for (unsigned i = 0; i < INTERRUPT_SLOTS; i++) {
        if (slots[i].f != f)
            continue;
        slots[i].f = NULL;
        forget(i);
    }
}

// --- MSI ---

static enum wire_status set_msi(struct function *f, unsigned count, bool wanted)
{
    unsigned cap = f->cap_msi;
    if (!cap || count != 1)
        return CPL_UR;
    struct slot *s = wanted && spare(f) ? take_slot(f, 0) : NULL;
    if (wanted && !s)
        return CPL_CA;
    uint32_t control = get(f, cap + PCI_MSI_CONTROL, 2) & ~(PCI_MSI_ENABLE | PCI_MSI_MULTIPLE_MASK);
    put(f, cap + PCI_MSI_CONTROL, 2, control);
    if (!s)
        return CPL_SC;
    put(f, cap + PCI_MSI_ADDRESS, 4, s->message.address);
    unsigned data = cap + PCI_MSI_ADDRESS + 4;
    if (control & PCI_MSI_64) {
        put(f, data, 4, 0);
        data += 4;
    }
    put(f, data, 2, s->message.data);
    set_bus_master(f, true);
    put(f, cap + PCI_MSI_CONTROL, 2, control | PCI_MSI_ENABLE);
    return CPL_SC;
}

// --- MSI-X ---

static enum status put_entry(const struct function *f, unsigned entry, const struct interrupt_message *m)
{
    uint64_t at = f->msix_offset + entry * ENTRY_BYTES;
    const uint32_t words[4] = {m ? m->address : 0, 0, m ? m->data : 0, m ? 0 : 1}; // last: Vector Control
    for (unsigned i = 0; i < 4; i++) {
        enum status s = f->ops->memory_write(f->device, f->msix_bar, at + 4 * i, 4, words[i]);
        if (s != OK)
            return s;
    }
    return OK;
}

/// All entries masked, with the whole function masked meanwhile.
static enum status begin_msix(const struct function *f)
{
    unsigned control = f->cap_msix + PCI_MSIX_CONTROL;
    put(f, control, 2, get(f, control, 2) | PCI_MSIX_ENABLE | MSIX_MASK_ALL);
    for (unsigned i = 0; i < f->msix_size / ENTRY_BYTES; i++) {
        enum status s = put_entry(f, i, NULL);
        if (s != OK)
            return s;
    }
    set_bus_master(f, true);
    put(f, control, 2, (get(f, control, 2) | PCI_MSIX_ENABLE) & ~MSIX_MASK_ALL);
    return OK;
}

static enum wire_status set_msix(struct function *f, unsigned count, const uint8_t *wanted)
{
    const struct wire_bar *bar = f->cap_msix && f->msix_bar < 6 ? &f->info.bars[f->msix_bar] : NULL;
    if (!bar || (bar->kind & 0x7f) < 2 || f->msix_offset + f->msix_size > bar->size ||
        count > f->msix_size / ENTRY_BYTES)
        return CPL_UR;
    if (f->interrupts.mode != INTERRUPTS_MSIX && begin_msix(f) != OK)
        return CPL_CA;
    for (uint16_t i = 0; i < count; i++) { // what is not wanted any more makes room
        struct slot *s = slot_of(f, i);
        if (!s || wanted[i / 8] >> i % 8 & 1)
            continue;
        if (put_entry(f, i, NULL) != OK)
            return CPL_CA;
        s->f = NULL;
    }
    unsigned left = spare(f);
    for (uint16_t i = 0; i < count; i++) {
        struct slot *s;
        if (!(wanted[i / 8] >> i % 8 & 1) || slot_of(f, i))
            continue;
        if (left-- == 0 || !(s = take_slot(f, i)) || put_entry(f, i, &s->message) != OK)
            return CPL_CA;
    }
    return CPL_SC;
}

// --- all ---

void interrupts_off(struct function *f)
{
    struct function_interrupts *irq = &f->interrupts;
    if (irq->mode == INTERRUPTS_MSI || irq->mode == INTERRUPTS_MSIX) {
        set_bus_master(f, false);
        if (f->cap_msi)
            put(f, f->cap_msi + PCI_MSI_CONTROL, 2,
                get(f, f->cap_msi + PCI_MSI_CONTROL, 2) & ~PCI_MSI_ENABLE);
        if (f->cap_msix)
            put(f, f->cap_msix + PCI_MSIX_CONTROL, 2,
                get(f, f->cap_msix + PCI_MSIX_CONTROL, 2) & ~PCI_MSIX_ENABLE);
    }
    free_slots(f);
    irq->mode = INTERRUPTS_OFF;
    irq->asserted = irq->ended = irq->intx_noted = false;
}

enum wire_status interrupts_set(struct function *f, const void *body, size_t size)
{
    struct wire_interrupts w;
    if (size < sizeof w)
        return CPL_UR;
    memcpy(&w, body, sizeof w);
    const uint8_t *bits = (const uint8_t *)body + sizeof w;
    if (size != sizeof w + (w.count + 7u) / 8)
        return CPL_UR;
    if (w.mode != INTERRUPTS_MSIX || f->interrupts.mode != INTERRUPTS_MSIX)
        interrupts_off(f);
    enum wire_status s = CPL_UR;
    if (f->state != FUNCTION_LENT)
        return s;
    if (w.mode == INTERRUPTS_OFF || (w.mode == INTERRUPTS_INTX && f->info.pin))
        s = CPL_SC;
    else if (f->info.flags & WIRE_FN_MSI && w.mode == INTERRUPTS_MSI && w.count > 0)
        s = set_msi(f, w.count, bits[0] & 1);
    else if (f->info.flags & WIRE_FN_MSI && w.mode == INTERRUPTS_MSIX && w.count > 0)
        s = set_msix(f, w.count, bits);
    f->interrupts.mode = w.mode; // also of what was only begun: interrupts_off undoes it
    if (s != CPL_SC)
        interrupts_off(f);
    return s;
}

void interrupts_eoi(struct function *f)
{
    f->interrupts.asserted = f->interrupts.intx_noted = false;
    f->interrupts.ended = true; // look at once
}

void interrupts_intx_note(struct function *f, uint64_t now_ns)
{
    struct function_interrupts *irq = &f->interrupts;
    if (irq->round == ROUND_RUNS || (!irq->ended && now_ns - irq->looked_ns < INTX_LOOK_NS))
        return;
    irq->looked_ns = now_ns;
    irq->ended = false;
    // The line itself stays disabled: Interrupt Status tells the same, and no pin of this machine is driven.
    uint32_t status = get(f, PCI_STATUS, 2);
    irq->intx_value = status != 0xffff && status & STATUS_INTERRUPT;
    irq->intx_noted = irq->intx_value != irq->asserted;
    if (irq->intx_noted && irq->round == ROUND_IDLE)
        irq->round = ROUND_WANTED;
}

bool interrupts_intx(struct function *f, bool *asserted)
{
    struct function_interrupts *irq = &f->interrupts;
    *asserted = irq->intx_value;
    return irq->intx_noted && irq->round <= ROUND_IDLE;
}

void interrupts_intx_told(struct function *f, bool asserted)
{
    f->interrupts.asserted = asserted;
    f->interrupts.intx_noted = false;
}

/// Not with a round under way: it may have passed what this message speaks of.
static bool note(unsigned slot)
{
    struct function *f = slots[slot].f;
    if (f && f->interrupts.round == ROUND_RUNS)
        return false;
    if (f && f->interrupts.round == ROUND_IDLE)
        f->interrupts.round = ROUND_WANTED;
    return true;
}

void interrupts_note(void)
{
    for (unsigned w = 0; w < INTERRUPT_SLOTS / 64; w++) {
        uint64_t came = atomic_load_explicit(&raised[w], memory_order_relaxed), take = 0;
        for (; came; came &= came - 1) {
            unsigned bit = (unsigned)__builtin_ctzll(came);
            if (note(64 * w + bit))
                take |= 1ull << bit;
        }
        if (take)
            noted[w] |= atomic_fetch_and(&raised[w], ~take) & take;
    }
}

bool interrupts_take(unsigned *slot, struct function **f, uint16_t *entry)
{
    for (unsigned i = *slot; i < INTERRUPT_SLOTS; i++) {
        if (i % 64 == 0 && !noted[i / 64]) {
            i += 63;
            continue;
        }
        if (!(noted[i / 64] >> i % 64 & 1) || !slots[i].f || slots[i].f->interrupts.round > ROUND_IDLE)
            continue;
        noted[i / 64] &= ~(1ull << i % 64);
        *slot = i;
        *f = slots[i].f;
        *entry = slots[i].entry;
        return true;
    }
    return false;
}

void interrupts_keep(unsigned slot)
{
    if (slots[slot].f)
        noted[slot / 64] |= 1ull << slot % 64;
}
