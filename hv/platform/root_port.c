// SPDX-License-Identifier: BSD-2-Clause
// The registers of a root port (hv/platform/root_port.h). Names and offsets: PCI-to-PCI Bridge 1.2 chapter 3,
// PCIe Base 4.0 chapters 6.7 and 7.5. No Command Completed events (they cost an exit for each command and
// tell nothing: commands are carried out at once), no MRL sensor, no electromechanical interlock.
#include "hv/platform/root_port.h"
#include <stddef.h>
#include <string.h>

#define COMMAND         0x04u
#define STATUS          0x06u
#define PRIMARY         0x18u
#define SECONDARY       0x19u
#define SUBORDINATE     0x1au
#define IO_BASE         0x1cu
#define IO_LIMIT        0x1du
#define MEMORY_BASE     0x20u
#define MEMORY_LIMIT    0x22u
#define PREFETCH_BASE   0x24u
#define PREFETCH_LIMIT  0x26u
#define PREFETCH_BASE_H 0x28u
#define PREFETCH_LIM_H  0x2cu
#define BRIDGE_CONTROL  0x3eu

#define MSI       0x50u
#define EXPRESS   0x60u
#define ACS       0x100u
#define MSI_CTRL  (MSI + 2)
#define MSI_LOW   (MSI + 4)
#define MSI_HIGH  (MSI + 8)
#define MSI_DATA  (MSI + 12)
#define LINK_CTRL (EXPRESS + 0x10)
#define LINK_STAT (EXPRESS + 0x12)
#define SLOT_CAP  (EXPRESS + 0x14)
#define SLOT_CTRL (EXPRESS + 0x18)
#define SLOT_STAT (EXPRESS + 0x1a)

#define COMMAND_IO        0x0001u
#define COMMAND_MEMORY    0x0002u
#define COMMAND_MASTER    0x0004u
#define COMMAND_NO_INTX   0x0400u
#define STATUS_INTERRUPT  0x0008u
#define MSI_ENABLE        0x0001u
#define SECONDARY_RESET   0x0040u
#define LINK_DISABLE      0x0010u
#define LINK_TRAINED      0x0103u // 8 GT/s, x16
#define LINK_ACTIVE       0x2000u
#define SLOT_POWER_OFF    0x0400u // Power Controller Control
#define SLOT_INTERRUPT    0x0020u // Hot-Plug Interrupt Enable
#define SLOT_BUTTON       0x0001u // Attention Button Pressed, and its enable
#define SLOT_PRESENCE     0x0008u // Presence Detect Changed, and its enable
#define SLOT_PRESENT      0x0040u // Presence Detect State
#define SLOT_LINK         0x0100u // Data Link Layer State Changed
#define SLOT_LINK_ENABLE  0x1000u
#define SLOT_NUMBER_SHIFT 19

/// A register: its value after reset, the bits that can be written, those that a written 1 clears.
struct row {
    uint16_t offset;
    uint8_t size;
    uint32_t value, write, clear;
    const char *reason;
};

// clang-format off
static const struct row rows[] = {
    { 0x00, 4, 0x000c1b36, 0,          0,      "a generic PCIe root port that kernels have no quirk for" },
    { 0x04, 2, 0,          0x0547,     0,      "Command: decoding, bus mastering, parity, SERR#, INTx disable" },
    { 0x06, 2, 0x0010,     0,          0,      "Status: capabilities; Interrupt Status is kept by interrupts()" },
    { 0x08, 4, 0x06040000, 0,          0,      "PCI-to-PCI bridge" },
    { 0x0c, 1, 0,          0xff,       0,      "Cache Line Size: no effect" },
    { 0x0e, 1, 0x01,       0,          0,      "Header Type 1" },
    { 0x18, 4, 0,          0x00ffffff, 0,      "bus numbers; the latency timer is not PCIe's" },
    { 0x1c, 2, 0x00f0,     0xf0f0,     0,      "I/O window, 16-bit addresses; closed at reset" },
    { 0x20, 4, 0x0000fff0, 0xfff0fff0, 0,      "memory window; closed at reset" },
    { 0x24, 4, 0x0001fff1, 0xfff0fff0, 0,      "prefetchable window, 64-bit addresses; closed at reset" },
    { 0x28, 4, 0,          0xffffffff, 0,      "its base, upper half" },
    { 0x2c, 4, 0,          0xffffffff, 0,      "its limit, upper half" },
    { 0x34, 1, MSI,        0,          0,      "Capabilities Pointer" },
    { 0x3c, 1, 0xff,       0xff,       0,      "Interrupt Line: a note of the guest's" },
    { 0x3d, 1, 0x01,       0,          0,      "Interrupt Pin: INTA" },
    { 0x3e, 2, 0,          0x0043,     0,      "Bridge Control: parity, SERR#, Secondary Bus Reset" },

    { MSI,          2, 0x0005 | EXPRESS << 8, 0, 0, "MSI" },
    { MSI_CTRL,     2, 0x0080,     0x0001,     0,   "one message, 64-bit address" },
    { MSI_LOW,      4, 0,          0xfffffffc, 0,   "Message Address" },
    { MSI_HIGH,     4, 0,          0xffffffff, 0,   "its upper half" },
    { MSI_DATA,     2, 0,          0xffff,     0,   "Message Data" },

    { EXPRESS,      4, 0x01420010, 0,          0,   "PCI Express, version 2: root port, slot implemented; last in the list" },
    { EXPRESS + 4,  4, 0x00008005, 0,          0,   "Device Capabilities: payloads up to 4096 bytes, role-based errors" },
    { EXPRESS + 8,  2, 0x2810,     0x7fff,     0,   "Device Control: relaxed order, no snoop, 512-byte reads" },
    { EXPRESS + 12, 4, 0x00100103, 0,          0,   "Link Capabilities: 8 GT/s, x16, Data Link Layer Link Active reporting; port number: root_port_reset" },
    { LINK_CTRL,    2, 0,          0x00db,     0,   "Link Control: of these, Link Disable has an effect" },
    { LINK_STAT,    2, 0,          0,          0,   "Link Status: link()" },
    { SLOT_CAP,     4, 0x0004007b, 0,          0,   "attention button, power controller, both indicators, surprise, hot-plug, no Command Completed; number: root_port_reset" },
    { SLOT_CTRL,    2, 0x01c0,     0x17ff,     0,   "Slot Control: power on, its indicator on, attention indicator off" },
    { SLOT_STAT,    2, 0,          0,          0x010b, "Slot Status: button, power fault, presence and link changes" },
    { EXPRESS + 28, 2, 0,          0x000f,     0,   "Root Control: errors are none, PME# either" },
    { EXPRESS + 40, 2, 0,          0x001f,     0,   "Device Control 2: completion timeout" },
    { EXPRESS + 44, 4, 0x0000000e, 0,          0,   "Link Capabilities 2: 2.5, 5, 8 GT/s" },
    { EXPRESS + 48, 2, 0x0003,     0x000f,     0,   "Link Control 2: target speed" },

    { ACS,          4, 0x0001000d, 0,          0,   "Access Control Services: nothing passes between ports, so an IOMMU can tell cards apart" },
    { ACS + 4,      2, 0x001d,     0,          0,   "source validation, request and completion redirect, upstream forwarding" },
    { ACS + 6,      2, 0,          0x001d,     0,   "their enables" },
};
// clang-format on

static uint32_t get(const struct root_port *p, unsigned at, unsigned size)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < size && at + i < ROOT_PORT_CONFIG; i++)
        value |= (uint32_t)p->image[at + i] << (i * 8);
    return value;
}

static void put(struct root_port *p, unsigned at, unsigned size, uint32_t value)
{
    for (unsigned i = 0; i < size && at + i < ROOT_PORT_CONFIG; i++)
        p->image[at + i] = (uint8_t)(value >> (i * 8));
}

static void set_bits(struct root_port *p, unsigned at, uint32_t bits, bool on)
{
    uint32_t value = get(p, at, 2);
    put(p, at, 2, on ? value | bits : value & ~bits);
}

// --- events ---

/// Raised and enabled events make one interrupt: a message when the first of them comes, the line as long as
/// there is one (6.7.3.4).
static void interrupts(struct root_port *p)
{
    uint32_t control = get(p, SLOT_CTRL, 2), status = get(p, SLOT_STAT, 2), command = get(p, COMMAND, 2);
    uint32_t enabled = control & (SLOT_BUTTON | SLOT_PRESENCE);
    if (control & SLOT_LINK_ENABLE)
        enabled |= SLOT_LINK;
    bool wanted = control & SLOT_INTERRUPT && status & enabled, had = p->wanted;
    bool msi = get(p, MSI_CTRL, 2) & MSI_ENABLE;
    bool line = wanted && !msi && !(command & COMMAND_NO_INTX);
    p->wanted = wanted;
    set_bits(p, STATUS, STATUS_INTERRUPT, wanted && !msi);
    if (wanted && !had && msi && command & COMMAND_MASTER && p->ops.message)
        p->ops.message(p->ops.ctx, get(p, MSI_LOW, 4) | (uint64_t)get(p, MSI_HIGH, 4) << 32,
                       get(p, MSI_DATA, 2));
    if (line == p->line)
        return;
    p->line = line;
    if (p->ops.line)
        p->ops.line(p->ops.ctx);
}

static bool held(const struct root_port *p)
{
    return !root_port_powered(p) || get(p, BRIDGE_CONTROL, 2) & SECONDARY_RESET ||
           get(p, LINK_CTRL, 2) & LINK_DISABLE;
}

/// Brings the link in line with what it depends on. True: it changed.
static bool link(struct root_port *p)
{
    bool up = p->present && p->ready && !held(p);
    if (up == p->bus.up)
        return false;
    p->bus.up = up;
    put(p, LINK_STAT, 2, up ? LINK_ACTIVE | LINK_TRAINED : 0);
    set_bits(p, SLOT_STAT, SLOT_LINK, true);
    return true;
}

static void forwarding(struct root_port *p)
{
    if (p->ops.forwarding)
        p->ops.forwarding(p->ops.ctx);
}

/// After anything but a register access: link, then events.
static void settle(struct root_port *p)
{
    if (link(p))
        forwarding(p);
    interrupts(p);
}

void root_port_insert(struct root_port *p, const struct guest_pci_function *card)
{
    p->bus.card = *card;
    p->present = p->ready = true;
    set_bits(p, SLOT_STAT, SLOT_PRESENT | SLOT_PRESENCE, true);
    if (!root_port_powered(p))
        set_bits(p, SLOT_STAT, SLOT_BUTTON, true);
    settle(p);
}

void root_port_remove(struct root_port *p)
{
    if (!p->present)
        return;
    p->present = p->ready = false;
    set_bits(p, SLOT_STAT, SLOT_PRESENT, false);
    set_bits(p, SLOT_STAT, SLOT_PRESENCE, true);
    settle(p);
}

void root_port_ready(struct root_port *p, bool ready)
{
    p->ready = ready && p->present;
    settle(p);
}

void root_port_press(struct root_port *p)
{
    set_bits(p, SLOT_STAT, SLOT_BUTTON, true);
    settle(p);
}

bool root_port_managed(const struct root_port *p)
{
    return get(p, SLOT_CTRL, 2) & SLOT_INTERRUPT;
}

bool root_port_powered(const struct root_port *p)
{
    return !(get(p, SLOT_CTRL, 2) & SLOT_POWER_OFF);
}

// --- what passes ---

static bool within(uint64_t base, uint64_t size, uint64_t first, uint64_t last)
{
    return size != 0 && base >= first && base <= last && size - 1 <= last - base;
}

bool root_port_passes_memory(const struct root_port *p, uint64_t base, uint64_t size)
{
    if (!p->bus.up || !(get(p, COMMAND, 2) & COMMAND_MEMORY))
        return false;
    uint64_t first = (uint64_t)(get(p, MEMORY_BASE, 2) & 0xfff0) << 16;
    uint64_t last = (uint64_t)(get(p, MEMORY_LIMIT, 2) & 0xfff0) << 16 | 0xfffff;
    if (within(base, size, first, last))
        return true;
    first = (uint64_t)(get(p, PREFETCH_BASE, 2) & 0xfff0) << 16 | (uint64_t)get(p, PREFETCH_BASE_H, 4) << 32;
    last = (uint64_t)(get(p, PREFETCH_LIMIT, 2) & 0xfff0) << 16 | 0xfffff |
           (uint64_t)get(p, PREFETCH_LIM_H, 4) << 32;
    return within(base, size, first, last);
}

bool root_port_passes_io(const struct root_port *p, uint64_t base, uint64_t size)
{
    if (!p->bus.up || !(get(p, COMMAND, 2) & COMMAND_IO))
        return false;
    return within(base, size, (get(p, IO_BASE, 1) & 0xf0) << 8, (get(p, IO_LIMIT, 1) & 0xf0) << 8 | 0xfff);
}

// --- configuration space ---

static void write_byte(struct root_port *p, unsigned at, uint8_t byte)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *r = &rows[i];
        if (at < r->offset || at >= (unsigned)r->offset + r->size)
            continue;
        unsigned shift = (at - r->offset) * 8;
        uint8_t write = (uint8_t)(r->write >> shift), clear = (uint8_t)(r->clear >> shift);
        p->image[at] = (uint8_t)((p->image[at] & ~write & ~(byte & clear)) | (byte & write));
        return;
    }
}

static bool touches(uint16_t offset, unsigned size, unsigned first, unsigned end)
{
    return offset < end && offset + size > first;
}

static uint32_t config_read(void *dev, uint16_t offset, unsigned size)
{
    return get(dev, offset, size);
}

static void config_write(void *dev, uint16_t offset, unsigned size, uint32_t value)
{
    struct root_port *p = dev;
    bool was_held = held(p);
    for (unsigned i = 0; i < size && offset + i < ROOT_PORT_CONFIG; i++)
        write_byte(p, offset + i, (uint8_t)(value >> (i * 8)));
    p->bus.secondary = p->image[SECONDARY];
    p->bus.subordinate = p->image[SUBORDINATE];
    if (held(p) && !was_held && p->present) {
        p->ready = false;
        p->ops.card_reset(p->ops.ctx);
    }
    if (link(p) || touches(offset, size, COMMAND, STATUS) || touches(offset, size, IO_BASE, 0x30))
        forwarding(p);
    interrupts(p);
}

static void clear_events(struct root_port *p)
{
    put(p, SLOT_STAT, 2, p->present ? SLOT_PRESENT : 0);
    p->wanted = p->line = false;
}

void root_port_reset(struct root_port *p)
{
    memset(p->image, 0, sizeof(p->image));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        put(p, rows[i].offset, rows[i].size, rows[i].value);
    put(p, SLOT_CAP, 4, get(p, SLOT_CAP, 4) | (uint32_t)p->slot << SLOT_NUMBER_SHIFT);
    p->image[EXPRESS + 15] = p->slot; // Port Number
    p->bus.secondary = p->bus.subordinate = 0;
    p->bus.up = p->present = p->ready = false;
    clear_events(p);
}

void root_port_setup(struct root_port *p, const struct root_port_setup *s,
                     const struct guest_pci_function *card)
{
    put(p, PRIMARY, 4, (uint32_t)s->bus << 8 | (uint32_t)s->bus << 16);
    p->bus.secondary = p->bus.subordinate = s->bus;
    if (s->io_size) {
        put(p, IO_BASE, 1, s->io >> 8 & 0xf0);
        put(p, IO_LIMIT, 1, (uint32_t)(s->io + s->io_size - 1) >> 8 & 0xf0);
    }
    if (s->memory_size) {
        put(p, MEMORY_BASE, 2, s->memory >> 16 & 0xfff0);
        put(p, MEMORY_LIMIT, 2, (s->memory + s->memory_size - 1) >> 16 & 0xfff0);
    }
    if (s->prefetchable_size) {
        uint64_t last = s->prefetchable + s->prefetchable_size - 1;
        put(p, PREFETCH_BASE, 2, ((uint32_t)s->prefetchable >> 16 & 0xfff0) | 1);
        put(p, PREFETCH_LIMIT, 2, ((uint32_t)last >> 16 & 0xfff0) | 1);
        put(p, PREFETCH_BASE_H, 4, (uint32_t)(s->prefetchable >> 32));
        put(p, PREFETCH_LIM_H, 4, (uint32_t)(last >> 32));
    }
    put(p, COMMAND, 2, COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER);
    p->present = p->ready = card != NULL;
    if (card)
        p->bus.card = *card;
    (void)link(p);
    clear_events(p);
}

enum status root_port_init(struct root_port *p, struct guest_pci *pci, uint8_t devfn, uint8_t slot,
                           const struct root_port_ops *ops)
{
    *p = (struct root_port){.ops = *ops, .devfn = devfn, .slot = slot};
    root_port_reset(p);
    enum status s = guest_pci_add(
        pci,
        &(struct guest_pci_function){
            .bus = 0, .devfn = devfn, .config_read = config_read, .config_write = config_write, .dev = p});
    if (s != OK)
        return s;
    s = guest_pci_add_bus(pci, &p->bus);
    if (s != OK)
        guest_pci_remove(pci, 0, devfn);
    return s;
}
