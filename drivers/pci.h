// SPDX-License-Identifier: BSD-2-Clause
// The machine's real PCI bus: enumeration and configuration access through MCFG (ECAM) where there is one, else 0xCF8/0xCFC.
// Must not know protocol or guests.
#pragma once
#include "rt/status.h"
#include <stdbool.h>
#include <stdint.h>

struct pci_address {
    uint16_t segment;
    uint8_t bus;
    uint8_t devfn; // device << 3 | function
};

enum pci_bar_kind { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEM32, PCI_BAR_MEM64 };

struct pci_bar {
    enum pci_bar_kind kind;
    bool prefetchable;
    uint64_t base, size; // bytes; for MEM64 the following BAR is PCI_BAR_NONE
};

struct pci_device {
    struct pci_address at;
    uint16_t vendor, device, subsystem_vendor, subsystem;
    uint8_t class_code, subclass, prog_if, revision;
    uint8_t header_type; // without the multi-function bit
    uint8_t pin;         // 0: no INTx
    uint8_t cap_msi, cap_msix, cap_pcie, cap_pm; // offsets in configuration space, 0: absent
    struct pci_bar bars[6];
};

#define PCI_DEVICES_MAX 128

/// Scans all segments and buses (called by machine_start). BARs are sized with decoding off and restored.
void pci_scan(void);
uint32_t pci_device_count(void);
struct pci_device *pci_device_at(uint32_t index);
/// NULL: no such function.
struct pci_device *pci_find(struct pci_address at);

/// size = 1, 2, 4; offset naturally aligned, < 4096 (< 256 without MCFG). Reads of absent functions give all-ones.
uint32_t pci_config_read(struct pci_address at, uint16_t offset, unsigned size);
void pci_config_write(struct pci_address at, uint16_t offset, unsigned size, uint32_t value);

/// Turns I/O and memory decoding (and bus mastering if asked) on for a driver of ours.
void pci_enable(struct pci_device *dev, bool bus_master);
