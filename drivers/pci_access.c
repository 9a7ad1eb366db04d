// SPDX-License-Identifier: BSD-2-Clause
// How configuration space is reached: by ECAM windows (PCIe 4.0, 7.2.2), 1 MiB per bus and mapped only for
// the buses the scan meets, or by 0xCF8/0xCFC (PCI 3.0, 3.2.2.3.2) where there is no MCFG. Must not know what
// is in configuration space. Invariant: windows are opened during the scan, on one CPU, and never closed;
// afterwards a read takes no lock.
#include "drivers/pci_access.h"
#include "drivers/hw.h"
#include "drivers/pci.h"
#include "rt/log.h"
#include "rt/paging.h"
#include "rt/spinlock.h"

#define SEGMENTS_MAX 8
#define BUS_WINDOW   (1ull << 20)
#define CF8          0xcf8
#define CFC          0xcfc
#define CF8_ENABLE   0x80000000u

static struct segment {
    struct pci_segment is;
    uint64_t base;                 // of bus 0
    volatile uint8_t *window[256]; // by bus; NULL: not opened
} segments[SEGMENTS_MAX];
static unsigned segment_count;

static bool cf8_bus_open[256];
static struct spinlock cf8_lock;

enum status pci_set_ecam(uint16_t segment, uint64_t base, uint8_t first_bus, uint8_t last_bus)
{
    if (first_bus > last_bus || base == 0 || (base & (BUS_WINDOW - 1)) != 0)
        return ERR_INVAL;
    if (segment_count == SEGMENTS_MAX)
        return ERR_NOMEM;
    segments[segment_count++] = (struct segment){
        .is = {.number = segment, .first_bus = first_bus, .last_bus = last_bus, .ecam = true}, .base = base};
    return OK;
}

unsigned pci_segment_count(void)
{
    return segment_count ? segment_count : 1;
}

struct pci_segment pci_segment_at(unsigned index)
{
    if (segment_count == 0)
        return (struct pci_segment){.number = 0, .first_bus = 0, .last_bus = 255, .ecam = false};
    return segments[index].is;
}

static struct segment *segment_of(uint16_t number, uint8_t bus)
{
    for (unsigned i = 0; i < segment_count; i++) {
        struct segment *s = &segments[i];
        if (s->is.number == number && bus >= s->is.first_bus && bus <= s->is.last_bus)
            return s;
    }
    return NULL;
}

bool pci_bus_open(uint16_t number, uint8_t bus)
{
    if (segment_count == 0) {
        if (number != 0)
            return false;
        cf8_bus_open[bus] = true;
        return true;
    }
    struct segment *s = segment_of(number, bus);
    if (!s)
        return false;
    if (!s->window[bus])
        s->window[bus] = mmio_map(s->base + bus * BUS_WINDOW, BUS_WINDOW);
    if (!s->window[bus])
        log_error("pci", "%04x:%02x: no address space left for the bus's configuration window", number, bus);
    return s->window[bus] != NULL;
}

static uint32_t cf8_address(uint8_t bus, uint8_t devfn, uint16_t offset)
{
    return CF8_ENABLE | (uint32_t)bus << 16 | (uint32_t)devfn << 8 | (offset & 0xfcu);
}

static uint32_t cf8_read(uint8_t bus, uint8_t devfn, uint16_t offset, unsigned size)
{
    uint16_t port = (uint16_t)(CFC + (offset & 3u));
    spin_lock(&cf8_lock);
    hw_out32(CF8, cf8_address(bus, devfn, offset));
    uint32_t value = size == 4 ? hw_in32(port) : size == 2 ? hw_in16(port) : hw_in8(port);
    spin_unlock(&cf8_lock);
    return value;
}

static void cf8_write(uint8_t bus, uint8_t devfn, uint16_t offset, unsigned size, uint32_t value)
{
    uint16_t port = (uint16_t)(CFC + (offset & 3u));
    spin_lock(&cf8_lock);
    hw_out32(CF8, cf8_address(bus, devfn, offset));
    if (size == 4)
        hw_out32(port, value);
    else if (size == 2)
        hw_out16(port, (uint16_t)value);
    else
        hw_out8(port, (uint8_t)value);
    spin_unlock(&cf8_lock);
}

uint32_t pci_cf8_probe(uint8_t bus, uint8_t devfn)
{
    return cf8_read(bus, devfn, 0, 4);
}

static bool aligned(uint16_t offset, unsigned size)
{
    return (size == 1 || size == 2 || size == 4) && (offset & (size - 1)) == 0;
}

/// The function's 4 KiB of configuration space, NULL when nobody opened its bus.
static volatile uint8_t *ecam(struct pci_address at, uint16_t offset)
{
    struct segment *s = segment_of(at.segment, at.bus);
    if (!s || !s->window[at.bus] || offset >= 4096)
        return NULL;
    return s->window[at.bus] + ((uint32_t)at.devfn << 12 | offset);
}

uint32_t pci_config_read(struct pci_address at, uint16_t offset, unsigned size)
{
    uint32_t absent = size >= 4 ? 0xffffffffu : (1u << size * 8) - 1;
    if (!aligned(offset, size))
        return absent;
    if (segment_count == 0) {
        if (at.segment != 0 || offset >= 256 || !cf8_bus_open[at.bus])
            return absent;
        return cf8_read(at.bus, at.devfn, offset, size);
    }
    volatile uint8_t *p = ecam(at, offset);
    if (!p)
        return absent;
    return size == 4 ? hw_read32(p) : size == 2 ? hw_read16(p) : hw_read8(p);
}

void pci_config_write(struct pci_address at, uint16_t offset, unsigned size, uint32_t value)
{
    if (!aligned(offset, size))
        return;
    if (segment_count == 0) {
        if (at.segment == 0 && offset < 256 && cf8_bus_open[at.bus])
            cf8_write(at.bus, at.devfn, offset, size, value);
        return;
    }
    volatile uint8_t *p = ecam(at, offset);
    if (!p)
        return;
    if (size == 4)
        hw_write32(p, value);
    else if (size == 2)
        hw_write16(p, (uint16_t)value);
    else
        hw_write8(p, (uint8_t)value);
}
