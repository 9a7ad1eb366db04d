// SPDX-License-Identifier: BSD-2-Clause
// Configuration mechanism #1 (PCI Local Bus 3.0, 3.2.2.3.2) and ECAM (PCIe Base 4.0, 7.2.2) in front of one
// table of functions, and the host bridge itself. Must not know where a function really is. Invariant: a
// function only ever sees naturally aligned accesses of 1, 2 or 4 bytes below 4096.
#include "hv/platform/pci_host.h"
#include <stdbool.h>
#include <stddef.h>

#define CONFIG_ADDRESS      0xcf8u
#define CONFIG_DATA         0xcfcu
#define CONFIG_ENABLE       0x80000000u
#define CONFIG_ADDRESS_BITS 0x80fffffcu

static uint32_t ones(unsigned size)
{
    return size >= 4 ? ~0u : (1u << (size * 8)) - 1;
}

static struct guest_pci_function *find(struct guest_pci *pci, uint8_t bus, uint8_t devfn)
{
    for (unsigned i = 0; i < pci->count; i++) {
        if (pci->functions[i].devfn == devfn && pci->functions[i].bus == bus)
            return &pci->functions[i];
    }
    return NULL;
}

/// The function that a cycle reaches; NULL: nobody. A bus that a bridge claims is behind it, whether a card
/// is there or not (PCI-to-PCI Bridge 1.2, 3.1.2.1): type 1 cycles beyond it find no further bridge.
static const struct guest_pci_function *route(struct guest_pci *pci, uint8_t bus, uint8_t devfn)
{
    for (unsigned i = 0; bus != 0 && i < pci->bus_count; i++) {
        const struct guest_pci_bus *b = pci->buses[i];
        if (b->secondary != 0 && bus >= b->secondary && bus <= b->subordinate)
            return bus == b->secondary && devfn == 0 && b->up ? &b->card : NULL;
    }
    return find(pci, bus, devfn);
}

static bool aligned(uint16_t offset, unsigned size)
{
    return (offset & (size - 1)) == 0;
}

static uint32_t config_read(struct guest_pci *pci, uint8_t bus, uint8_t devfn, uint16_t offset, unsigned size)
{
    const struct guest_pci_function *fn = route(pci, bus, devfn);
    if (!fn) {
        pci->absent_reads++;
        return ones(size);
    }
    if (aligned(offset, size))
        return fn->config_read(fn->dev, offset, size) & ones(size);
    uint32_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (fn->config_read(fn->dev, (uint16_t)(offset + i), 1) & 0xffu) << (i * 8);
    return value;
}

static void config_write(struct guest_pci *pci, uint8_t bus, uint8_t devfn, uint16_t offset, unsigned size,
                         uint32_t value)
{
    const struct guest_pci_function *fn = route(pci, bus, devfn);
    if (!fn)
        return;
    if (aligned(offset, size)) {
        fn->config_write(fn->dev, offset, size, value & ones(size));
        return;
    }
    for (unsigned i = 0; i < size; i++)
        fn->config_write(fn->dev, (uint16_t)(offset + i), 1, value >> (i * 8) & 0xffu);
}

/// Only a doubleword access is CONFIG_ADDRESS; anything narrower is an ordinary port there, and nobody's.
static uint32_t address_read(void *dev, uint16_t port, unsigned size)
{
    (void)port;
    return size == 4 ? ((struct guest_pci *)dev)->config_address : ~0u;
}

static void address_write(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    (void)port;
    if (size == 4)
        ((struct guest_pci *)dev)->config_address = value & CONFIG_ADDRESS_BITS;
}

static uint32_t data_read(void *dev, uint16_t port, unsigned size)
{
    struct guest_pci *pci = dev;
    uint32_t a = pci->config_address;
    if (!(a & CONFIG_ENABLE))
        return ~0u;
    return config_read(pci, (uint8_t)(a >> 16), (uint8_t)(a >> 8), (uint16_t)((a & 0xfc) | (port & 3u)),
                       size);
}

static void data_write(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct guest_pci *pci = dev;
    uint32_t a = pci->config_address;
    if (a & CONFIG_ENABLE)
        config_write(pci, (uint8_t)(a >> 16), (uint8_t)(a >> 8), (uint16_t)((a & 0xfc) | (port & 3u)), size,
                     value);
}

/// A piece of an ECAM access that stays inside one doubleword.
static unsigned ecam_piece(uint64_t offset, unsigned size)
{
    unsigned room = 4 - (unsigned)(offset & 3);
    return size < room ? size : room;
}

static uint64_t ecam_read(void *dev, uint64_t offset, unsigned size)
{
    uint64_t value = 0;
    for (unsigned done = 0; done < size;) {
        uint64_t at = offset + done;
        unsigned piece = ecam_piece(at, size - done);
        if (piece == 3) // never a single bus access of a PC's root complex: byte enables, one byte at a time
            piece = 1;
        uint32_t part = config_read(dev, (uint8_t)(at >> 20), (uint8_t)(at >> 12), at & 0xfff, piece);
        value |= (uint64_t)part << (done * 8);
        done += piece;
    }
    return value;
}

static void ecam_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    for (unsigned done = 0; done < size;) {
        uint64_t at = offset + done;
        unsigned piece = ecam_piece(at, size - done);
        if (piece == 3)
            piece = 1;
        config_write(dev, (uint8_t)(at >> 20), (uint8_t)(at >> 12), at & 0xfff, piece,
                     (uint32_t)(value >> (done * 8)));
        done += piece;
    }
}

/// Intel Q35 (82G33) host bridge: kernels know it and load nothing for it. Read-only.
/// PCIEXBAR (Intel 3 Series Express Chipset data sheet, 5.1.14) tells where ECAM is.
static uint32_t bridge_register(uint16_t offset)
{
    switch (offset) {
    case 0x00:
        return 0x29c08086; // device, vendor
    case 0x04:
        return 0x00000006; // memory and bus master enabled, no capabilities
    case 0x08:
        return 0x06000000; // host bridge, revision 0
    case 0x60:
        return (uint32_t)GUEST_ECAM_BASE | 1; // 256 MiB, enabled
    default:
        return 0;
    }
}

static uint32_t bridge_read(void *dev, uint16_t offset, unsigned size)
{
    (void)dev, (void)size;
    return bridge_register(offset & 0xffc) >> (offset & 3) * 8;
}

static void bridge_write(void *dev, uint16_t offset, unsigned size, uint32_t value)
{
    (void)dev, (void)offset, (void)size, (void)value;
}

enum status guest_pci_add(struct guest_pci *pci, const struct guest_pci_function *fn)
{
    if (find(pci, fn->bus, fn->devfn))
        return ERR_BUSY;
    if (pci->count == GUEST_PCI_FUNCTIONS_MAX)
        return ERR_NOMEM;
    pci->functions[pci->count++] = *fn;
    return OK;
}

void guest_pci_remove(struct guest_pci *pci, uint8_t bus, uint8_t devfn)
{
    struct guest_pci_function *fn = find(pci, bus, devfn);
    if (fn)
        *fn = pci->functions[--pci->count];
}

enum status guest_pci_add_bus(struct guest_pci *pci, const struct guest_pci_bus *bus)
{
    if (pci->bus_count == GUEST_PCI_BUSES_MAX)
        return ERR_NOMEM;
    pci->buses[pci->bus_count++] = bus;
    return OK;
}

enum status guest_pci_init(struct guest_pci *pci, struct io_space *io)
{
    *pci = (struct guest_pci){0};
    enum status s = guest_pci_add(
        pci, &(struct guest_pci_function){
                 .bus = 0, .devfn = 0, .config_read = bridge_read, .config_write = bridge_write, .dev = pci});
    if (s != OK)
        return s;
    // 0xCF9 lies inside CONFIG_ADDRESS and is the reset control register for bytes (hv/platform/power.c).
    s = io_space_add_ports(io, &(struct port_range){.name = "CONFIG_ADDRESS",
                                                    .first = CONFIG_ADDRESS,
                                                    .count = 1,
                                                    .overhang = 3,
                                                    .read = address_read,
                                                    .write = address_write,
                                                    .dev = pci});
    if (s != OK)
        return s;
    s = io_space_add_ports(io, &(struct port_range){.name = "CONFIG_DATA",
                                                    .first = CONFIG_DATA,
                                                    .count = 4,
                                                    .read = data_read,
                                                    .write = data_write,
                                                    .dev = pci});
    if (s != OK)
        return s;
    return io_space_add_mmio(io, &(struct mmio_range){.name = "ECAM",
                                                      .base = GUEST_ECAM_BASE,
                                                      .size = GUEST_ECAM_SIZE,
                                                      .read = ecam_read,
                                                      .write = ecam_write,
                                                      .dev = pci});
}
