// SPDX-License-Identifier: BSD-2-Clause
// The guest's PCI: 0xCF8/0xCFC and ECAM in front of a table of functions. Absent functions are answered here,
// locally. Must not know VMX or where a function really is.
#pragma once
#include "hv/platform/io_space.h"
#include "rt/status.h"
#include <stdint.h>

#define GUEST_ECAM_BASE 0xe0000000ull // 256 buses; reserved in the guest's memory map
#define GUEST_ECAM_SIZE 0x10000000ull
#define GUEST_MMIO_BASE                                                                                      \
    0xc0000000ull // 32-bit BARs may be placed here by the guest (or are, before it starts)
#define GUEST_MMIO_END    0xe0000000ull
#define GUEST_MMIO64_BASE 0x8000000000ull // and 64-bit ones here
#define GUEST_IO_BASE     0xc000u

struct guest_pci_function {
    uint8_t bus, devfn;
    /// size = 1, 2, 4, naturally aligned, offset < 4096.
    uint32_t (*config_read)(void *dev, uint16_t offset, unsigned size);
    void (*config_write)(void *dev, uint16_t offset, unsigned size, uint32_t value);
    void *dev;
};

#define GUEST_PCI_FUNCTIONS_MAX 32

struct guest_pci {
    struct guest_pci_function functions[GUEST_PCI_FUNCTIONS_MAX];
    unsigned count;
    uint32_t config_address; // 0xCF8
    uint64_t absent_reads;
};

/// Adds the host bridge (00:00.0) and claims ports 0xCF8-0xCFF and the ECAM window in `io`.
MUST_CHECK enum status guest_pci_init(struct guest_pci *pci, struct io_space *io);
/// Copies *fn. ERR_BUSY: address taken; ERR_NOMEM.
MUST_CHECK enum status guest_pci_add(struct guest_pci *pci, const struct guest_pci_function *fn);
void guest_pci_remove(struct guest_pci *pci, uint8_t bus, uint8_t devfn);
