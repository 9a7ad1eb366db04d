// SPDX-License-Identifier: BSD-2-Clause
// The machine's real PCI bus: enumeration and configuration access through MCFG (ECAM) where there is one,
// else 0xCF8/0xCFC. Must not know protocol or guests.
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
    uint8_t header_type;                         // without the multi-function bit
    uint8_t pin;                                 // 0: no INTx
    uint8_t cap_msi, cap_msix, cap_pcie, cap_pm; // offsets in configuration space, 0: absent
    struct pci_bar bars[6];
};

#define PCI_DEVICES_MAX 128

/// One entry of MCFG (PCI Firmware 3.2, 4.1.2), told before pci_scan. `base` is where bus 0 of the segment
/// would be, as in the table, also when first_bus is not 0. Without any, segment 0 is reached through
/// 0xCF8/0xCFC. ERR_NOMEM: more segments than we keep (8); ERR_INVAL: bus range or base makes no sense. The
/// rest of the machine is usable either way.
MUST_CHECK enum status pci_set_ecam(uint16_t segment, uint64_t base, uint8_t first_bus, uint8_t last_bus);

/// Scans all segments and buses (called by machine_start). BARs are sized with decoding off and restored. A
/// second call forgets the first one's devices.
void pci_scan(void);
uint32_t pci_device_count(void);
struct pci_device *pci_device_at(uint32_t index);
/// NULL: no such function.
struct pci_device *pci_find(struct pci_address at);

/// size = 1, 2, 4; offset naturally aligned, < 4096 (< 256 without MCFG). Reads of absent functions give
/// all-ones. Callable on any CPU at any time after pci_scan. Buses that did not exist at the scan read as
/// absent.
uint32_t pci_config_read(struct pci_address at, uint16_t offset, unsigned size);
void pci_config_write(struct pci_address at, uint16_t offset, unsigned size, uint32_t value);

/// Wakes the function (D0) and turns I/O and memory decoding (and bus mastering if asked) on for a driver of
/// ours.
void pci_enable(struct pci_device *dev, bool bus_master);

/// Offset of the first capability `id` (PCI_CAP_..., drivers/pci_regs.h) at the function, 0: none. Survives a
/// broken list.
uint8_t pci_find_capability(struct pci_address at, uint8_t id);
/// The next one behind the capability at `offset`, 0: no more. A broken list may give the same one again:
/// count the steps.
uint8_t pci_next_capability(struct pci_address at, uint8_t offset, uint8_t id);

/// What a function writes to interrupt this machine (drivers/vtd.h makes it).
struct pci_message {
    uint32_t address, data;
};

/// MSI is this one message. MSI-X and INTx of the function are switched off. ERR_UNSUPPORTED: no MSI
/// capability.
MUST_CHECK enum status pci_msi_enable(const struct pci_device *dev, struct pci_message message);
void pci_msi_disable(const struct pci_device *dev);

/// MSI-X on, with every entry of its table masked: what a function wants to be in before it is told which of
/// its interrupts goes to which entry. MSI and INTx are switched off. ERR_UNSUPPORTED: no MSI-X, or its table
/// is in no BAR that has an address.
MUST_CHECK enum status pci_msix_prepare(const struct pci_device *dev);
/// The same, then entry 0 is this message and may be sent; the other entries stay masked.
MUST_CHECK enum status pci_msix_enable(const struct pci_device *dev, struct pci_message message);
void pci_msix_disable(const struct pci_device *dev);

/// Size of the text "dddd:bb:dd.f" with its end.
#define PCI_ADDRESS_TEXT 13
/// Writes it; returns `text`.
const char *pci_address_text(struct pci_address at, char text[PCI_ADDRESS_TEXT]);
