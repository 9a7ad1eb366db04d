// SPDX-License-Identifier: BSD-2-Clause
// PCI as a guest sees it: configuration through 0xCF8/0xCFC or ECAM, BAR sizing, placing and moving.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define PCI_VENDOR         0x00u
#define PCI_COMMAND        0x04u
#define PCI_COMMAND_IO     0x1u
#define PCI_COMMAND_MEMORY 0x2u
#define PCI_COMMAND_MASTER 0x4u
#define PCI_COMMAND_NOINTX 0x400u
#define PCI_REVISION       0x08u
#define PCI_HEADER_TYPE    0x0eu
#define PCI_BAR0           0x10u
#define PCI_SECONDARY_BUS  0x19u
#define PCI_SUBSYSTEM      0x2cu
#define PCI_CAPABILITIES   0x34u
#define PCI_INTERRUPT_LINE 0x3cu

/// bus << 8 | device << 3 | function
typedef uint16_t pci_bdf;
#define PCI_BDF(bus, device, function) ((pci_bdf)((bus) << 8 | (device) << 3 | (function)))
#define PCI_NONE                       ((pci_bdf)0xffff)

/// size = 1, 2, 4; naturally aligned. offset < 256.
uint32_t pci_read(pci_bdf at, uint16_t offset, unsigned size);
void pci_write(pci_bdf at, uint16_t offset, unsigned size, uint32_t value);
/// The same through memory; offset < 4096. Where the window is: cmdline `ecam=`, else a Q35's PCIEXBAR, else
/// 0xe0000000.
uint32_t ecam_base(void);
uint32_t ecam_read(pci_bdf at, uint16_t offset, unsigned size);
void ecam_write(pci_bdf at, uint16_t offset, unsigned size, uint32_t value);

enum bar_kind { BAR_NONE, BAR_IO, BAR_MEM32, BAR_MEM64 };
extern const char *const bar_kind_names[];
struct bar {
    enum bar_kind kind;
    bool prefetchable;
    uint64_t base, size;
};
/// Sizes a BAR with decoding off and puts everything back (PCI Local Bus 3.0, 6.2.5.1).
struct bar bar_size(pci_bdf at, unsigned index);
void bar_move(pci_bdf at, unsigned index, const struct bar *bar, uint64_t to);
/// Gives an unplaced BAR (or a 64-bit one, when `low`, above 4 GiB) an address, turns decoding on. Returns it
/// as it is now.
struct bar bar_use(pci_bdf at, unsigned index, bool low);
/// Free addresses of that kind, aligned to `size`; never given twice.
uint64_t bar_space(enum bar_kind kind, uint64_t size);

#define PCI_CAP_MSI  0x05u
#define PCI_CAP_MSIX 0x11u
/// Offset of a capability; 0: none.
uint16_t pci_capability(pci_bdf at, uint8_t id);
/// Writes address and data of MSI; `cap` is where the capability is. Does not enable it.
void pci_msi_message(pci_bdf at, uint16_t cap, uint32_t address, uint8_t vector);

/// Calls `each` for every function behind bus 0 and its bridges; stops and returns the address when it
/// returns true.
pci_bdf pci_walk(bool (*each)(void *ctx, pci_bdf at, uint32_t id), void *ctx);
/// First function with that vendor (low half) and device (high half), or class (class << 8 | subclass) when
/// by_class.
pci_bdf pci_find_id(uint16_t vendor, uint16_t device);
pci_bdf pci_find_class(uint16_t class_subclass);
/// Functions that answer on bus 0 and behind its bridges have been counted: an address nobody answers at.
pci_bdf pci_absent(void);
