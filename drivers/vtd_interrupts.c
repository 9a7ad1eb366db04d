// SPDX-License-Identifier: BSD-2-Clause
// drivers/vtd.h: interrupt remapping (chapter 5; entries 9.9, registers 11.4.4 and 11.4.23). A message names
// an entry of one table, the entry says what the processor gets; nothing else in a message counts. Must not
// know who is lent. Invariants: entry n is vector n, edge or level, to one processor, and nothing else; a
// present entry is for one source (SVT 01), so nobody sends another's interrupt; messages of the old format
// are blocked (CFI off).
#include "drivers/hw.h"
#include "drivers/vtd_internal.h"
#include "rt/paging.h"

#define REG_IRTA  0xb8u
#define IRTA_EIME (1u << 11) // identifiers of 32 bits
#define IRTA_SIZE 7u         // 2^(7+1) entries

#define ENTRY_LEVEL          (1ull << 4)
#define ENTRY_VECTOR(v)      ((uint64_t)(v) << 16)
#define ENTRY_DESTINATION(d) ((uint64_t)(d) << 32)
#define ENTRY_SOURCE(s)      (1ull << 18 | (s)) // upper half; SVT 01, SQ 00: all 16 bits

#define QUEUE_ONE(n) (1ull << 4 | (uint64_t)(n) << 32) // 6.5.2.7

#define MESSAGE              0xfee00000u
#define MESSAGE_REMAPPABLE   (1u << 4)
#define MESSAGE_HANDLE(n)    ((uint32_t)(n) << 5) // bits 14:0; no sub-handle (SHV 0)
#define MESSAGE_PROCESSOR(p) ((p) << 12)          // of the old format (SDM vol. 3, 11.11)

static volatile struct vtd_entry *table; // 256
static bool on, wide;

static enum status start_unit(struct vtd_unit *u)
{
    uint64_t irta = virt_to_phys((const void *)table) | (wide ? IRTA_EIME : 0) | IRTA_SIZE;
    hw_write32(u->regs + REG_IRTA, (uint32_t)irta);
    hw_write32(u->regs + REG_IRTA + 4, (uint32_t)(irta >> 32));
    enum status s = vtd_command(u, GCMD_SIRTP, true, true);
    if (s == OK)
        s = vtd_queue_do(u, VTD_QUEUE_INTERRUPT, 0);
    if (s == OK)
        s = vtd_command(u, GCMD_CFI, false, false);
    return s == OK ? vtd_command(u, GCMD_IRE, true, true) : s;
}

enum status vtd_start_interrupts(bool x2apic)
{
    on = false;
    if (!vtd_running() || !vtd_units.remapping)
        return ERR_UNSUPPORTED;
    table = vtd_new_table();
    if (!table)
        return ERR_NOMEM;
    vtd_flush(table, FRAME_SIZE);
    wide = x2apic && vtd_units.wide;
    enum status s = OK;
    unsigned started = 0;
    while (s == OK && started < vtd_units.count)
        s = start_unit(&vtd_units.all[started++]);
    while (s != OK && started > 0) { // as before, as far as they answer
        enum status off = vtd_command(&vtd_units.all[--started], GCMD_IRE, false, false);
        (void)off;
    }
    on = s == OK;
    return s;
}

static enum status forget(uint8_t entry)
{
    enum status s = OK;
    for (unsigned i = 0; i < vtd_units.count && s == OK; i++)
        s = vtd_queue_do(&vtd_units.all[i], VTD_QUEUE_INTERRUPT | QUEUE_ONE(entry), 0);
    return s;
}

static enum status set(uint8_t vector, uint32_t apic_id, uint16_t source, bool level)
{
    volatile struct vtd_entry *e = &table[vector];
    if (!wide && apic_id > 0xff)
        return ERR_UNSUPPORTED;
    uint64_t low = VTD_PRESENT | (level ? ENTRY_LEVEL : 0) | ENTRY_VECTOR(vector) |
                   ENTRY_DESTINATION(wide ? apic_id : apic_id << 8);
    bool was = e->low & VTD_PRESENT;
    e->low = 0; // never half of one and half of the other
    e->high = ENTRY_SOURCE(source);
    e->low = low;
    vtd_flush(e, sizeof *e);
    return was || vtd_units.caching_mode ? forget(vector) : vtd_flush_write_buffer();
}

enum status vtd_interrupt(const struct pci_device *dev, uint32_t apic_id, uint8_t vector,
                          struct pci_message *message)
{
    if (!on) {
        *message = (struct pci_message){MESSAGE | MESSAGE_PROCESSOR(apic_id), vector};
        return apic_id > 0xff ? ERR_UNSUPPORTED : OK;
    }
    *message = (struct pci_message){MESSAGE | MESSAGE_REMAPPABLE | MESSAGE_HANDLE(vector), 0};
    if (!vtd_own_name(dev))
        return ERR_UNSUPPORTED;
    return set(vector, apic_id, (uint16_t)(dev->at.bus << 8 | dev->at.devfn), false);
}

enum status vtd_interrupt_pin(uint8_t ioapic, uint32_t apic_id, uint8_t vector, bool level, uint16_t *entry)
{
    *entry = vector;
    for (unsigned i = 0; on && i < vtd_units.pin_count; i++)
        if (vtd_units.pins[i].ioapic == ioapic)
            return set(vector, apic_id, vtd_units.pins[i].source, level);
    return ERR_UNSUPPORTED;
}
