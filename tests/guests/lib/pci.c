// SPDX-License-Identifier: BSD-2-Clause
// PCI configuration (PCI Local Bus 3.0, 3.2.2.3.2 and 6.2.5; PCIe Base 4.0, 7.2.2) for test guests.
#include "tests/guests/lib/pci.h"
#include "tests/guests/lib/boot.h"
#include "tests/guests/lib/cpu.h"

#define CONFIG_ADDRESS 0xcf8u
#define CONFIG_DATA    0xcfcu
#define Q35_HOST_ID    0x29c08086u
#define Q35_PCIEXBAR   0x60u

const char *const bar_kind_names[] = {"none", "io", "mem32", "mem64"};

uint32_t pci_read(pci_bdf at, uint16_t offset, unsigned size)
{
    out32(CONFIG_ADDRESS, 0x80000000u | (uint32_t)at << 8 | (offset & 0xfcu));
    uint16_t port = (uint16_t)(CONFIG_DATA + (offset & 3u));
    return size == 1 ? in8(port) : size == 2 ? in16(port) : in32(port);
}

void pci_write(pci_bdf at, uint16_t offset, unsigned size, uint32_t value)
{
    out32(CONFIG_ADDRESS, 0x80000000u | (uint32_t)at << 8 | (offset & 0xfcu));
    uint16_t port = (uint16_t)(CONFIG_DATA + (offset & 3u));
    if (size == 1)
        out8(port, (uint8_t)value);
    else if (size == 2)
        out16(port, (uint16_t)value);
    else
        out32(port, value);
}

uint32_t ecam_base(void)
{
    static uint32_t base;
    if (base == 0) {
        base = option_number("ecam", 0xe0000000u);
        if (!option_given("ecam") && pci_read(0, PCI_VENDOR, 4) == Q35_HOST_ID &&
            (pci_read(0, Q35_PCIEXBAR, 4) & 1u) != 0)
            base = pci_read(0, Q35_PCIEXBAR, 4) & 0xfc000000u;
    }
    return base;
}

uint32_t ecam_read(pci_bdf at, uint16_t offset, unsigned size)
{
    uint32_t address = ecam_base() + ((uint32_t)at << 12) + offset;
    return size == 1 ? mmio_read8(address) : size == 2 ? mmio_read16(address) : mmio_read32(address);
}

void ecam_write(pci_bdf at, uint16_t offset, unsigned size, uint32_t value)
{
    uint32_t address = ecam_base() + ((uint32_t)at << 12) + offset;
    if (size == 1)
        mmio_write8(address, (uint8_t)value);
    else if (size == 2)
        mmio_write16(address, (uint16_t)value);
    else
        mmio_write32(address, value);
}

static uint16_t bar_offset(unsigned index)
{
    return (uint16_t)(PCI_BAR0 + 4 * index);
}

struct bar bar_size(pci_bdf at, unsigned index)
{
    uint16_t low = bar_offset(index), high = bar_offset(index + 1);
    uint32_t command = pci_read(at, PCI_COMMAND, 2), was = pci_read(at, low, 4);
    pci_write(at, PCI_COMMAND, 2, command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
    pci_write(at, low, 4, 0xffffffffu);
    uint32_t mask = pci_read(at, low, 4);
    pci_write(at, low, 4, was);
    struct bar bar = {BAR_NONE, false, 0, 0};
    if (mask != 0 && (mask & 1u) != 0) {
        // 16-bit decoders leave the upper half 0
        bar = (struct bar){BAR_IO, false, was & 0xfffcu, (uint16_t)(~(mask & 0xfffcu) + 1u)};
    } else if (mask != 0) {
        bar.prefetchable = (mask & 8u) != 0;
        uint64_t sizes = 0xffffffff00000000ull | (mask & ~15u);
        bar.kind = BAR_MEM32;
        bar.base = was & ~15u;
        if ((mask & 6u) == 4u) {
            bar.kind = BAR_MEM64;
            uint32_t was_high = pci_read(at, high, 4);
            pci_write(at, high, 4, 0xffffffffu);
            sizes = (uint64_t)pci_read(at, high, 4) << 32 | (mask & ~15u);
            pci_write(at, high, 4, was_high);
            bar.base |= (uint64_t)was_high << 32;
        }
        bar.size = ~sizes + 1;
    }
    pci_write(at, PCI_COMMAND, 2, command);
    return bar;
}

void bar_move(pci_bdf at, unsigned index, const struct bar *bar, uint64_t to)
{
    uint32_t command = pci_read(at, PCI_COMMAND, 2);
    pci_write(at, PCI_COMMAND, 2, command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
    pci_write(at, bar_offset(index), 4, (uint32_t)to);
    if (bar->kind == BAR_MEM64)
        pci_write(at, bar_offset(index + 1), 4, (uint32_t)(to >> 32));
    pci_write(at, PCI_COMMAND, 2, command);
}

uint64_t bar_space(enum bar_kind kind, uint64_t size)
{
    // below what our hypervisor and firmware place themselves: upper half of the 32-bit hole, upper half of
    // the I/O ports
    static uint64_t next[] = {
        [BAR_NONE] = 0, [BAR_IO] = 0xe000, [BAR_MEM32] = 0xd0000000, [BAR_MEM64] = 0x8100000000};
    if (size < 0x1000 && kind != BAR_IO)
        size = 0x1000;
    uint64_t at = (next[kind] + size - 1) & ~(size - 1);
    next[kind] = at + size;
    return at;
}

struct bar bar_use(pci_bdf at, unsigned index, bool low)
{
    struct bar bar = bar_size(at, index);
    if (bar.kind == BAR_NONE)
        return bar;
    if (bar.base == 0 || (low && bar.base >= 0x100000000ull)) {
        bar.base = bar_space(bar.kind == BAR_IO ? BAR_IO : BAR_MEM32, bar.size);
        bar_move(at, index, &bar, bar.base);
    }
    uint32_t want = bar.kind == BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
    uint32_t command = pci_read(at, PCI_COMMAND, 2);
    if ((command & want) == 0)
        pci_write(at, PCI_COMMAND, 2, command | want);
    return bar;
}

static pci_bdf walk_bus(uint8_t bus, bool (*each)(void *, pci_bdf, uint32_t), void *ctx)
{
    for (uint32_t device = 0; device < 32; device++) {
        uint32_t functions = 1;
        for (uint32_t function = 0; function < functions; function++) {
            pci_bdf at = PCI_BDF(bus, device, function);
            uint32_t id = pci_read(at, PCI_VENDOR, 4);
            if ((id & 0xffffu) == 0xffffu)
                continue;
            uint32_t header = pci_read(at, PCI_HEADER_TYPE, 1);
            if ((header & 0x80u) != 0)
                functions = 8;
            if (each(ctx, at, id))
                return at;
            uint8_t behind = (header & 0x7fu) == 1 ? (uint8_t)pci_read(at, PCI_SECONDARY_BUS, 1) : 0;
            if (behind > bus) { // numbered by firmware, deeper than this one: no loops
                pci_bdf found = walk_bus(behind, each, ctx);
                if (found != PCI_NONE)
                    return found;
            }
        }
    }
    return PCI_NONE;
}

pci_bdf pci_walk(bool (*each)(void *ctx, pci_bdf at, uint32_t id), void *ctx)
{
    return walk_bus(0, each, ctx);
}

static bool has_id(void *ctx, pci_bdf at, uint32_t id)
{
    (void)at;
    return id == *(const uint32_t *)ctx;
}
static bool has_class(void *ctx, pci_bdf at, uint32_t id)
{
    (void)id;
    return pci_read(at, PCI_REVISION + 2, 2) == *(const uint32_t *)ctx;
}

pci_bdf pci_find_id(uint16_t vendor, uint16_t device)
{
    uint32_t id = (uint32_t)device << 16 | vendor;
    return pci_walk(has_id, &id);
}
pci_bdf pci_find_class(uint16_t class_subclass)
{
    uint32_t c = class_subclass;
    return pci_walk(has_class, &c);
}

pci_bdf pci_absent(void)
{
    // last device on bus 0 whose function 0 does not answer
    for (uint32_t device = 31; device > 0; device--)
        if (pci_read(PCI_BDF(0, device, 0), PCI_VENDOR, 2) == 0xffffu)
            return PCI_BDF(0, device, 0);
    return PCI_BDF(0xfe, 0, 0);
}

uint16_t pci_capability(pci_bdf at, uint8_t id)
{
    if (!(pci_read(at, PCI_COMMAND + 2, 2) & 0x10))
        return 0;
    for (uint16_t c = (uint16_t)pci_read(at, PCI_CAPABILITIES, 1), n = 0; c >= 0x40 && n < 48; n++) {
        if (pci_read(at, c, 1) == id)
            return c;
        c = (uint16_t)pci_read(at, (uint16_t)(c + 1), 1);
    }
    return 0;
}

void pci_msi_message(pci_bdf at, uint16_t cap, uint32_t address, uint8_t vector)
{
    bool wide = (pci_read(at, (uint16_t)(cap + 2), 2) & 0x80) != 0;
    pci_write(at, (uint16_t)(cap + 4), 4, address);
    if (wide)
        pci_write(at, (uint16_t)(cap + 8), 4, 0);
    pci_write(at, (uint16_t)(cap + (wide ? 12 : 8)), 2, vector);
}
