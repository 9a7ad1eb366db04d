// SPDX-License-Identifier: BSD-2-Clause
// Between drivers/pci.c (what is on the bus) and drivers/pci_access.c (how configuration space is reached).
// For these two only; everybody else uses drivers/pci.h.
#pragma once
#include <stdbool.h>
#include <stdint.h>

/// A segment with the buses that its MCFG entry, or 0xCF8, can reach.
struct pci_segment {
    uint16_t number;
    uint8_t first_bus, last_bus;
    bool ecam;
};

/// Segments in the order told; without MCFG one, number 0, buses 0..255 through 0xCF8.
unsigned pci_segment_count(void);
struct pci_segment pci_segment_at(unsigned index);

/// Makes the bus reachable by pci_config_read. False: not in the segment's range, or no address space for its
/// window.
bool pci_bus_open(uint16_t segment, uint8_t bus);
/// Vendor and device ID through 0xCF8, which reaches every bus of segment 0 without a window. All-ones:
/// nobody.
uint32_t pci_cf8_probe(uint8_t bus, uint8_t devfn);
