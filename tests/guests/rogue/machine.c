// SPDX-License-Identifier: BSD-2-Clause
// Devices that are not the guest's to touch so: ports, memory nobody owns, LAPIC, ECAM, ROM, PCI
// configuration. All survived.
#include "tests/guests/lib/long_mode.h"
#include "tests/guests/lib/pci.h"
#include "tests/guests/lib/text.h"
#include "tests/guests/rogue/rogue.h"

#define LAPIC 0xfee00000u
#define ROM   0x000f0000u
#define BIOS  0xfffff000u

/// Ports whose writing ends or resets the machine, or takes the console away.
static bool deadly(uint32_t port)
{
    return port == 0x64 || port == 0x92 || (port >= 0xcf8 && port <= 0xcff) ||
           (port >= 0x600 && port <= 0x607) || (port >= 0x3f8 && port <= 0x3ff) || port == 0x8900 ||
           (port >= 0xf4 && port <= 0xf7) || (port >= 0xb0 && port <= 0xb3);
}

void rogue_ports(void)
{
    uint32_t ones = 0, read = 0, written = 0;
    for (uint32_t port = 0; port < 0x10000; port++) {
        uint32_t v8 = in8((uint16_t)port);
        read += 3;
        ones += v8 == 0xffu;
        ones += in16((uint16_t)port) == 0xffffu;
        ones += in32((uint16_t)port) == 0xffffffffu;
        if (deadly(port) || deadly(port + 1) || deadly(port + 2) || deadly(port + 3))
            continue;
        out8((uint16_t)port, 0xa5);
        out16((uint16_t)port, 0x5aa5);
        out32((uint16_t)port, 0xdeadbeef);
        written += 3;
    }
    print("rogue: ports read %u times, %u all-ones, written %u times\n", read, ones, written);
}

void rogue_mmio(void)
{
    uint32_t places = 0, ones = 0;
    for (uint32_t at = 0xc8000000; at < 0xe0000000; at += 0x3ff000) {
        ones += mmio_read8(at + 1) == 0xff;
        ones += mmio_read16(at + 0xfff) == 0xffff; // over the page's end
        ones += mmio_read32(at + 0xffd) == 0xffffffffu;
        mmio_write8(at + 3, 1);
        mmio_write16(at + 0xfff, 2);
        mmio_write32(at + 0xffe, 3);
        places += 3;
    }
    if (long_mode_present())
        for (uint64_t at = 0x8000000000ull; at < 0x9000000000ull; at += 0x123456000ull) {
            ones += mmio_read_long(at, 8) == ~0ull;
            mmio_write_long(at + 0xffc, 8, 4);
            places++;
        }
    print("rogue: memory nobody owns read %u times, %u all-ones\n", places, ones);
}

/// Odd widths and places of what a PC has there.
void rogue_odd(void)
{
    static const uint32_t pages[] = {LAPIC, 0xfec00000u, ROM, BIOS, 0xfed00000u, 0xfed40000u};
    uint32_t sum = 0, touched = 0;
    for (unsigned p = 0; p < sizeof pages / sizeof pages[0]; p++)
        for (uint32_t offset = 0; offset < 0xff0; offset += 7) {
            sum += mmio_read8(pages[p] + offset);
            sum += mmio_read16(pages[p] + offset);
            sum += mmio_read32(pages[p] + offset);
            touched += 3;
        }
    for (uint32_t offset = 0; offset < 0xff0; offset += 5) {
        mmio_write8(ROM + offset, 0x5a);
        mmio_write32(BIOS + offset, 0x5a5a5a5a);
        touched += 2;
    }
    // ECAM: unaligned, across functions' ends, 8 bytes at once
    uint32_t ecam = ecam_base();
    for (uint32_t offset = 0; offset < 0x20000; offset += 0x3fd) {
        sum += mmio_read16(ecam + offset);
        sum += mmio_read32(ecam + offset);
        if (long_mode_present() && offset < 0x2000)
            sum += (uint32_t)mmio_read_long(ecam + offset, 8);
        mmio_write8(ecam + 0x8000 * 31 + offset, 0xff);
        touched += 4;
    }
    print("rogue: %u odd accesses, sum 0x%08x\n", touched, sum);
}

/// Every LAPIC register gets random values; IPIs to processors that are not there.
void rogue_lapic(void)
{
    uint32_t seed = option_number("seed", 1), written = 0;
    for (unsigned i = 0; i < 2000; i++) {
        uint32_t offset = (next_random(&seed) & 0x3fu) << 4, value = next_random(&seed);
        if (offset == 0x20) // the id: this processor would be one of those below
            continue;
        if (offset == 0x300) // an INIT, SIPI or NMI to itself is no rogue's survival
            value = (value & ~0x000c0700u) | 0x00040000u;
        if (offset == 0x320 || (offset >= 0x350 && offset <= 0x370) || offset == 0x2f0)
            value |= 0x10000; // masked: nothing handles these vectors
        mmio_write32(LAPIC + offset, value);
        (void)mmio_read32(LAPIC + offset);
        written++;
    }
    // 255 is everybody, this processor included
    for (uint32_t id = 1; id < 255; id++) {
        mmio_write32(LAPIC + 0x310, id << 24);
        mmio_write32(LAPIC + 0x300, 0x4500); // INIT
        mmio_write32(LAPIC + 0x310, id << 24);
        mmio_write32(LAPIC + 0x300, 0x4608); // STARTUP
    }
    uint64_t base = 0;
    uint32_t version = mmio_read32(LAPIC + 0x30);
    (void)try_rdmsr(0x1b, &base);
    bool moves = try_wrmsr(0x1b, (base & 0xfff) | 0xfed40000u) && mmio_read32(0xfed40030u) == version &&
                 mmio_read32(LAPIC + 0x30) == 0xffffffffu;
    (void)try_wrmsr(0x1b, base);
    moves &= mmio_read32(LAPIC + 0x30) == version;
    print("rogue: %u LAPIC writes, INIT and STARTUP to 254 processors; its page %s\n", written,
          moves ? "moves" : "DOES NOT MOVE");
}

static bool scribble(void *ctx, pci_bdf at, uint32_t id)
{
    uint32_t *seed = ctx;
    // BARs over memory, over the LAPIC, over ECAM, over each other, while they decode
    static const uint32_t places[] = {0x00000000, 0x00100000, 0xfee00000, 0xe0000000,
                                      0xd0000000, 0xffffffff, 0xd0000008};
    (void)id;
    if (at == 0)
        return false; // the host bridge holds QEMU's own windows
    for (unsigned p = 0; p < sizeof places / sizeof places[0]; p++) {
        pci_write(at, PCI_COMMAND, 2, 3);
        for (uint16_t bar = 0; bar < 6; bar++)
            pci_write(at, (uint16_t)(PCI_BAR0 + 4 * bar), 4, places[p]);
        (void)mmio_read32(0xd0000000);
        (void)in32(0xcff0);
    }
    for (unsigned i = 0; i < 200; i++) {
        uint16_t offset = (uint16_t)(next_random(seed) & 0xfffu);
        unsigned size = 1u << (next_random(seed) % 3u);
        // bus mastering stays off: a device that writes memory would be no test of the guest
        if ((offset & ~3u) == PCI_COMMAND)
            continue;
        ecam_write(at, (uint16_t)(offset & ~(size - 1)), size, next_random(seed));
        (void)ecam_read(at, (uint16_t)(offset & ~(size - 1)), size);
    }
    pci_write(at, PCI_COMMAND, 2, 0);
    return false;
}

void rogue_pci(void)
{
    uint32_t seed = option_number("seed", 1);
    pci_walk(scribble, &seed);
    for (unsigned i = 0; i < 5000; i++) {
        // 0xCF8 with every width and offset
        uint16_t port = (uint16_t)(0xcf8 + (next_random(&seed) & 7u));
        if (port == 0xcf9)
            continue; // reset
        (void)in8(port);
        (void)in16(port);
        (void)in32(port);
    }
    print("rogue: configuration space written at random\n");
}

void rogue_movs(void)
{
    uint32_t count = option_number("count", 0x1000000);
    const void *from = (const void *)0xd0000000u;
    void *to = (void *)0xd8000000u;
    __asm__ volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(count)::"memory");
    print("rogue: REP MOVSB over memory nobody owns, %u left\n", count);
}
