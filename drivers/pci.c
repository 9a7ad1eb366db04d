// SPDX-License-Identifier: BSD-2-Clause
// What is on the PCI buses: finds every function, sizes its BARs and notes its capabilities, once, at the
// start. Must not know how configuration space is reached (drivers/pci_access.c) nor what any function is
// for. Invariant: the scan leaves every register it sized as it found it, and ends whatever the functions
// answer.
#include "drivers/pci.h"
#include "drivers/pci_access.h"
#include "drivers/pci_regs.h"
#include "rt/log.h"
#include "rt/time.h"
#include <stddef.h>

static struct pci_device devices[PCI_DEVICES_MAX];
static uint32_t device_count, left_out;

/// Buses of one segment that were met, and those that still wait to be scanned, in the order they were met.
static struct {
    bool met[256];
    uint8_t waiting[256];
    unsigned head, tail;
} buses;

static void bus_meet(uint16_t segment, uint8_t bus)
{
    if (buses.met[bus])
        return; // also what ends the scan of bridges that point at each other
    buses.met[bus] = true;
    if (pci_bus_open(segment, bus))
        buses.waiting[buses.tail++] = bus;
}

/// Sizes one BAR; decoding is off. Returns how many registers it takes.
static unsigned size_bar(struct pci_device *dev, unsigned index, unsigned count)
{
    uint16_t at = (uint16_t)(PCI_BAR0 + 4 * index);
    struct pci_bar *bar = &dev->bars[index];
    uint32_t old = pci_config_read(dev->at, at, 4);
    pci_config_write(dev->at, at, 4, 0xffffffffu);
    uint32_t mask = pci_config_read(dev->at, at, 4);
    pci_config_write(dev->at, at, 4, old);
    if (mask == 0 || mask == 0xffffffffu)
        return 1; // no such register: the lowest bits of a real one are fixed and never all ones

    if (mask & PCI_BAR_IS_IO) {
        // The upper half may be hard-wired to 0 (PCI 3.0, 6.2.5.1): an I/O BAR is at most 64 KiB there.
        uint32_t bits = mask & PCI_BAR_IO_MASK;
        bits |= bits & 0xffff0000u ? 0 : 0xffff0000u;
        *bar = (struct pci_bar){
            .kind = PCI_BAR_IO, .base = old & PCI_BAR_IO_MASK, .size = (uint32_t)(~bits + 1)};
        return 1;
    }
    uint64_t bits = mask & PCI_BAR_MEM_MASK;
    uint64_t base = old & PCI_BAR_MEM_MASK;
    bool wide = (mask & PCI_BAR_MEM_TYPE) == PCI_BAR_MEM_64 && index + 1 < count;
    if (wide) {
        uint16_t high = (uint16_t)(at + 4);
        uint32_t old_high = pci_config_read(dev->at, high, 4);
        pci_config_write(dev->at, high, 4, 0xffffffffu);
        bits |= (uint64_t)pci_config_read(dev->at, high, 4) << 32;
        pci_config_write(dev->at, high, 4, old_high);
        base |= (uint64_t)old_high << 32;
    } else {
        bits |= 0xffffffffull << 32;
    }
    if (bits == 0)
        return wide ? 2 : 1;
    *bar = (struct pci_bar){.kind = wide ? PCI_BAR_MEM64 : PCI_BAR_MEM32,
                            .prefetchable = (mask & PCI_BAR_MEM_PREFETCH) != 0,
                            .base = base,
                            .size = bits & (~bits + 1)};
    return wide ? 2 : 1;
}

static void size_bars(struct pci_device *dev)
{
    static const unsigned bars_of[] = {
        [PCI_HEADER_NORMAL] = 6, [PCI_HEADER_BRIDGE] = 2, [PCI_HEADER_CARDBUS] = 1};
    // A host bridge's decoding carries everybody's memory: it is never switched off, and such BARs stay
    // unknown.
    bool host = dev->class_code == PCI_CLASS_BRIDGE && dev->subclass == PCI_SUBCLASS_BRIDGE_HOST;
    if (host || dev->header_type > PCI_HEADER_CARDBUS)
        return;
    unsigned count = bars_of[dev->header_type];
    uint32_t command = pci_config_read(dev->at, PCI_COMMAND, 2);
    uint32_t decoding = command & (PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
    if (decoding)
        pci_config_write(dev->at, PCI_COMMAND, 2, command & ~decoding);
    for (unsigned i = 0; i < count;)
        i += size_bar(dev, i, count);
    if (decoding)
        pci_config_write(dev->at, PCI_COMMAND, 2, command);
}

/// Calls for each capability until `visit` returns true. At most 48 fit between 0x40 and 0xff, so a loop
/// ends.
static uint8_t walk_capabilities(struct pci_address at, uint8_t header_type, uint8_t wanted,
                                 struct pci_device *note)
{
    if (!(pci_config_read(at, PCI_STATUS, 2) & PCI_STATUS_CAPABILITIES))
        return 0;
    uint16_t pointer = header_type == PCI_HEADER_CARDBUS ? PCI_CARDBUS_CAPABILITIES : PCI_CAPABILITIES;
    uint8_t offset = (uint8_t)(pci_config_read(at, pointer, 1) & 0xfcu);
    for (unsigned steps = 0; offset >= 0x40 && steps < 48; steps++) {
        uint32_t header = pci_config_read(at, offset, 2);
        uint8_t id = (uint8_t)header;
        if (id == 0xff)
            return 0;
        if (wanted != 0 && id == wanted)
            return offset;
        uint8_t *slot = !note                ? NULL
                        : id == PCI_CAP_PM   ? &note->cap_pm
                        : id == PCI_CAP_MSI  ? &note->cap_msi
                        : id == PCI_CAP_PCIE ? &note->cap_pcie
                        : id == PCI_CAP_MSIX ? &note->cap_msix
                                             : NULL;
        if (slot && *slot == 0)
            *slot = offset;
        offset = (uint8_t)(header >> 8 & 0xfcu);
    }
    return 0;
}

static void add_function(struct pci_address at, uint32_t id, uint8_t header_type)
{
    if (header_type == PCI_HEADER_BRIDGE) {
        uint32_t numbers = pci_config_read(at, PCI_PRIMARY_BUS, 4);
        uint8_t secondary = (uint8_t)(numbers >> 8);
        if (secondary != 0)
            bus_meet(at.segment, secondary);
    }
    if (device_count == PCI_DEVICES_MAX) {
        left_out++;
        return;
    }
    struct pci_device *dev = &devices[device_count++];
    uint32_t class = pci_config_read(at, PCI_REVISION_ID, 4);
    *dev = (struct pci_device){.at = at,
                               .vendor = (uint16_t)id,
                               .device = (uint16_t)(id >> 16),
                               .revision = (uint8_t) class,
                               .prog_if = (uint8_t)(class >> 8),
                               .subclass = (uint8_t)(class >> 16),
                               .class_code = (uint8_t)(class >> 24),
                               .header_type = header_type,
                               .pin = (uint8_t)pci_config_read(at, PCI_INTERRUPT_PIN, 1)};
    if (header_type == PCI_HEADER_NORMAL) {
        uint32_t subsystem = pci_config_read(at, PCI_SUBSYSTEM_VENDOR_ID, 4);
        dev->subsystem_vendor = (uint16_t)subsystem;
        dev->subsystem = (uint16_t)(subsystem >> 16);
    }
    if (dev->pin > 4)
        dev->pin = 0;
    walk_capabilities(at, header_type, 0, dev);
    size_bars(dev);
}

static bool absent(uint32_t id)
{
    uint16_t vendor = (uint16_t)id;
    return vendor == 0xffff || vendor == 0; // 0: some bridges answer so for an empty slot
}

static void scan_bus(uint16_t segment, uint8_t bus)
{
    for (unsigned device = 0; device < 32; device++) {
        unsigned functions = 1;
        for (unsigned function = 0; function < functions; function++) {
            struct pci_address at = {
                .segment = segment, .bus = bus, .devfn = (uint8_t)(device << 3 | function)};
            uint32_t id = pci_config_read(at, PCI_VENDOR_ID, 4);
            if (absent(id))
                continue; // function 0 is always there when others are (PCI 3.0, 3.2.2.3.4)
            uint8_t header = (uint8_t)pci_config_read(at, PCI_HEADER_TYPE, 1);
            if (function == 0 && (header & PCI_HEADER_MULTI))
                functions = 8;
            add_function(at, id, header & PCI_HEADER_MASK);
        }
    }
}

static void scan_waiting(uint16_t segment)
{
    while (buses.head < buses.tail)
        scan_bus(segment, buses.waiting[buses.head++]);
}

/// Root buses that no bridge leads to (other sockets, QEMU's pxb) are named in AML only. Where there is an
/// MCFG, and so perhaps such buses, every bus not met is asked for its functions 0: 0xCF8 needs no window for
/// that.
static void scan_other_roots(struct pci_segment s)
{
    for (unsigned bus = s.first_bus; bus <= s.last_bus; bus++) {
        for (unsigned device = 0; device < 32 && !buses.met[bus]; device++) {
            if (absent(pci_cf8_probe((uint8_t)bus, (uint8_t)(device << 3))))
                continue;
            bus_meet(s.number, (uint8_t)bus);
            scan_waiting(s.number);
        }
    }
}

void pci_scan(void)
{
    device_count = left_out = 0;
    for (unsigned i = 0; i < pci_segment_count(); i++) {
        struct pci_segment s = pci_segment_at(i);
        buses.head = buses.tail = 0;
        for (unsigned b = 0; b < 256; b++)
            buses.met[b] = false;
        bus_meet(s.number, s.first_bus);
        scan_waiting(s.number);
        if (s.ecam && s.number == 0)
            scan_other_roots(s);
    }
    log_debug("pci", "%u functions, configuration through %s", (unsigned)device_count,
              pci_segment_at(0).ecam ? "MCFG" : "0xCF8");
    if (left_out)
        log_warn("pci", "%u more functions are ignored: only %u are kept", (unsigned)left_out,
                 PCI_DEVICES_MAX);
}

uint32_t pci_device_count(void)
{
    return device_count;
}

struct pci_device *pci_device_at(uint32_t index)
{
    return index < device_count ? &devices[index] : NULL;
}

struct pci_device *pci_find(struct pci_address at)
{
    for (uint32_t i = 0; i < device_count; i++) {
        struct pci_device *d = &devices[i];
        if (d->at.segment == at.segment && d->at.bus == at.bus && d->at.devfn == at.devfn)
            return d;
    }
    return NULL;
}

void pci_enable(struct pci_device *dev, bool bus_master)
{
    if (dev->cap_pm) {
        uint16_t at = (uint16_t)(dev->cap_pm + PCI_PM_CONTROL);
        uint32_t control = pci_config_read(dev->at, at, 2);
        if (control & PCI_PM_STATE_MASK) {
            pci_config_write(dev->at, at, 2, control & ~PCI_PM_STATE_MASK);
            time_delay_us(10000); // D3hot to D0 (PM 1.2, table 5-6)
        }
    }
    uint32_t command = pci_config_read(dev->at, PCI_COMMAND, 2) | (bus_master ? PCI_COMMAND_MASTER : 0);
    for (unsigned i = 0; i < 6; i++) {
        if (dev->bars[i].kind == PCI_BAR_IO)
            command |= PCI_COMMAND_IO;
        else if (dev->bars[i].kind != PCI_BAR_NONE)
            command |= PCI_COMMAND_MEMORY;
    }
    pci_config_write(dev->at, PCI_COMMAND, 2, command);
}

uint8_t pci_find_capability(struct pci_address at, uint8_t id)
{
    if (absent(pci_config_read(at, PCI_VENDOR_ID, 4)))
        return 0;
    uint8_t header = (uint8_t)(pci_config_read(at, PCI_HEADER_TYPE, 1) & PCI_HEADER_MASK);
    return walk_capabilities(at, header, id, NULL);
}

uint8_t pci_next_capability(struct pci_address at, uint8_t offset, uint8_t id)
{
    for (unsigned steps = 0; steps < 48; steps++) {
        offset = (uint8_t)(pci_config_read(at, (uint16_t)(offset + 1), 1) & 0xfcu);
        uint8_t found = offset < 0x40 ? 0xff : (uint8_t)pci_config_read(at, offset, 1);
        if (found == 0xff)
            return 0;
        if (found == id)
            return offset;
    }
    return 0;
}

enum status pci_msi_enable(const struct pci_device *dev, struct pci_message message)
{
    if (!dev->cap_msi)
        return ERR_UNSUPPORTED;
    uint16_t cap = dev->cap_msi;
    uint32_t control = pci_config_read(dev->at, (uint16_t)(cap + PCI_MSI_CONTROL), 2);
    control &= ~(PCI_MSI_ENABLE | PCI_MSI_MULTIPLE_MASK);
    pci_config_write(dev->at, (uint16_t)(cap + PCI_MSI_CONTROL), 2, control);
    if (dev->cap_msix) {
        uint16_t at = (uint16_t)(dev->cap_msix + PCI_MSIX_CONTROL);
        pci_config_write(dev->at, at, 2, pci_config_read(dev->at, at, 2) & ~PCI_MSIX_ENABLE);
    }
    pci_config_write(dev->at, (uint16_t)(cap + PCI_MSI_ADDRESS), 4, message.address);
    uint16_t data = (uint16_t)(cap + PCI_MSI_ADDRESS + 4);
    if (control & PCI_MSI_64) {
        pci_config_write(dev->at, data, 4, 0);
        data = (uint16_t)(data + 4);
    }
    pci_config_write(dev->at, data, 2, message.data & 0xffff);
    uint32_t command = pci_config_read(dev->at, PCI_COMMAND, 2);
    pci_config_write(dev->at, PCI_COMMAND, 2, command | PCI_COMMAND_INTX_OFF);
    pci_config_write(dev->at, (uint16_t)(cap + PCI_MSI_CONTROL), 2, control | PCI_MSI_ENABLE);
    return OK;
}

void pci_msi_disable(const struct pci_device *dev)
{
    if (!dev->cap_msi)
        return;
    uint16_t at = (uint16_t)(dev->cap_msi + PCI_MSI_CONTROL);
    pci_config_write(dev->at, at, 2, pci_config_read(dev->at, at, 2) & ~PCI_MSI_ENABLE);
}

static char *hex_text(char *text, unsigned value, unsigned digits)
{
    for (unsigned i = digits; i-- > 0;)
        *text++ = "0123456789abcdef"[value >> 4 * i & 15];
    return text;
}

const char *pci_address_text(struct pci_address at, char text[PCI_ADDRESS_TEXT])
{
    char *p = hex_text(text, at.segment, 4);
    *p++ = ':';
    p = hex_text(p, at.bus, 2);
    *p++ = ':';
    p = hex_text(p, at.devfn >> 3, 2);
    *p++ = '.';
    p = hex_text(p, at.devfn & 7, 1);
    *p = 0;
    return text;
}
