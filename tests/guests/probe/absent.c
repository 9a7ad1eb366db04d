// SPDX-License-Identifier: BSD-2-Clause
// Where nothing is: configuration of absent functions, and (only on request: what a PC answers there differs)
// memory and ports nobody owns.
#include "tests/guests/lib/cpu.h"
#include "tests/guests/probe/probe.h"

void probe_absent(void)
{
    pci_bdf at = pci_absent();
    pci_write(at, PCI_BAR0, 4, 0x12345678);
    ecam_write(at, PCI_COMMAND, 2, 7);
    FINDING(pci_read(at, PCI_VENDOR, 4) == 0xffffffffu, "absent.config 32 = 0x%08x",
            pci_read(at, PCI_VENDOR, 4));
    FINDING(pci_read(at, PCI_COMMAND, 2) == 0xffffu, "absent.config 16 = 0x%04x",
            pci_read(at, PCI_COMMAND, 2));
    FINDING(pci_read(at, PCI_HEADER_TYPE, 1) == 0xffu, "absent.config 8 = 0x%02x",
            pci_read(at, PCI_HEADER_TYPE, 1));
    FINDING(ecam_read(at, PCI_BAR0, 4) == 0xffffffffu, "absent.ecam 32 = 0x%08x", ecam_read(at, PCI_BAR0, 4));
    FINDING(ecam_read(at, 0x100, 4) == 0xffffffffu, "absent.ecam extended = 0x%08x", ecam_read(at, 0x100, 4));
    FINDING(ecam_read(at, PCI_HEADER_TYPE, 1) == 0xffu, "absent.ecam 8 = 0x%02x",
            ecam_read(at, PCI_HEADER_TYPE, 1));
}

void probe_unowned(void)
{
    uint32_t hole = (uint32_t)bar_space(BAR_MEM32, 0x100000);
    mmio_write32(hole, 0x11223344);
    mmio_write8(hole + 5, 0x55);
    FINDING(mmio_read32(hole) == 0xffffffffu, "unowned.mmio 32 = 0x%08x", mmio_read32(hole));
    FINDING(mmio_read16(hole + 6) == 0xffffu, "unowned.mmio 16 = 0x%04x", mmio_read16(hole + 6));
    FINDING(mmio_read8(hole + 5) == 0xffu, "unowned.mmio 8 = 0x%02x", mmio_read8(hole + 5));
    uint16_t port = (uint16_t)bar_space(BAR_IO, 0x100);
    out8(port, 0x12);
    out32(port, 0x12345678);
    FINDING(in32(port) == 0xffffffffu, "unowned.port 32 = 0x%08x", in32(port));
    FINDING(in16(port) == 0xffffu, "unowned.port 16 = 0x%04x", in16(port));
    FINDING(in8(port) == 0xffu, "unowned.port 8 = 0x%02x", in8(port));
}
