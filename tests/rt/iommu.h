// SPDX-License-Identifier: BSD-2-Clause
// Commands of selftest.elf about VT-d, in files of their own, and the device that tries. Knows nothing else.
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct pci_device;
/// NULL: the machine has no edu.
struct pci_device *edu_find(void);
/// One transfer between edu's buffer and its address `iova` (32 bits of it), to its end. `regs`: its BAR 0.
void edu_transfer(volatile uint8_t *regs, uint64_t iova, uint32_t bytes, bool write);

/// Tries drivers/vtd.h with an edu device; says what it saw. Once.
void run_iommu(int argc, char *argv[]);
/// The same for interrupts. Once.
void run_messages(int argc, char *argv[]);
