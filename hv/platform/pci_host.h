// SPDX-License-Identifier: BSD-2-Clause
// The guest's PCI: 0xCF8/0xCFC and ECAM in front of a table of functions. Absent functions are answered here,
// locally. Must not know VMX or where a function really is.
#pragma once
#include "hv/platform/io_space.h"
#include "rt/status.h"
#include <stdbool.h>
#include <stdint.h>

#define GUEST_ECAM_BASE 0xe0000000ull // 256 buses; reserved in the guest's memory map
#define GUEST_ECAM_SIZE 0x10000000ull
#define GUEST_MMIO_BASE                                                                                      \
    0xc0000000ull // 32-bit BARs may be placed here by the guest (or are, before it starts)
#define GUEST_MMIO_END    0xdff00000ull // what is above is for BARs of virtual devices of this machine
#define GUEST_MMIO_OURS   0xdff00000ull
#define GUEST_MMIO64_BASE 0x8000000000ull // and 64-bit ones here
#define GUEST_IO_BASE     0xc000u         // I/O BARs of functions on bus 0
// and windows of ports: what hv/platform/dsdt.asl gives to PCI, around the emulators' shutdown port
#define GUEST_IO_LOW      0x1000u
#define GUEST_IO_LOW_END  0x8000u
#define GUEST_IO_HIGH     0x9000u
#define GUEST_IO_HIGH_END 0x10000u

struct guest_pci_function {
    uint8_t bus, devfn;
    /// size = 1, 2, 4, naturally aligned, offset < 4096.
    uint32_t (*config_read)(void *dev, uint16_t offset, unsigned size);
    void (*config_write)(void *dev, uint16_t offset, unsigned size, uint32_t value);
    void *dev;
};

/// A bus behind a bridge with one card on it (device 0, function 0), as far as configuration cycles go. The
/// bridge's owner keeps it.
struct guest_pci_bus {
    uint8_t secondary, subordinate; // as the guest numbered them; secondary 0: no cycle passes
    bool up;                        // the card answers
    struct guest_pci_function card; // its bus and devfn are not looked at
};

#define GUEST_PCI_FUNCTIONS_MAX 32
#define GUEST_PCI_BUSES_MAX     16

struct guest_pci {
    struct guest_pci_function functions[GUEST_PCI_FUNCTIONS_MAX];
    unsigned count;
    const struct guest_pci_bus *buses[GUEST_PCI_BUSES_MAX];
    unsigned bus_count;
    uint32_t config_address; // 0xCF8
    uint64_t absent_reads;
};

/// Adds the host bridge (00:00.0) and claims ports 0xCF8-0xCFF and the ECAM window in `io`.
MUST_CHECK enum status guest_pci_init(struct guest_pci *pci, struct io_space *io);
/// Copies *fn. ERR_BUSY: address taken; ERR_NOMEM.
MUST_CHECK enum status guest_pci_add(struct guest_pci *pci, const struct guest_pci_function *fn);
void guest_pci_remove(struct guest_pci *pci, uint8_t bus, uint8_t devfn);
/// Cycles to other buses than 0 look at these. Keeps `bus` for ever. ERR_NOMEM.
MUST_CHECK enum status guest_pci_add_bus(struct guest_pci *pci, const struct guest_pci_bus *bus);
