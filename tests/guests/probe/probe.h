// SPDX-License-Identifier: BSD-2-Clause
// The probe guest: what it finds on its bus, one line each, the same whether the device is in this machine or
// in another. Lines that name addresses (they may differ) begin with "probe: pci"; every other line is a
// property of the device.
#pragma once
#include "tests/guests/lib/boot.h"
#include "tests/guests/lib/console.h"
#include "tests/guests/lib/pci.h"
#include <stdbool.h>
#include <stdint.h>

/// Counts a finding and says how it went.
const char *verdict(bool ok);
#define FINDING(ok, format, ...) print("probe: " format " %s\n", __VA_ARGS__, verdict(ok))

/// Repetitions of what is repeated (cmdline `loop=`).
extern uint32_t loops;

/// Header and BARs of a device of which `name` is said.
void describe(const char *name, pci_bdf at);
/// Moves a memory BAR to two other places and back, reading 32 bits at `offset` each time, `expected`
/// everywhere.
void move_and_read(const char *name, pci_bdf at, unsigned index, uint32_t offset, uint32_t expected);

// One room per device. `at` is where it was found.
void probe_nvme(pci_bdf at);
void probe_edu(pci_bdf at);
void probe_serial(pci_bdf at);
void probe_testdev(pci_bdf at);
void probe_memory(pci_bdf at);
void probe_absent(void);
void probe_unowned(void);
void probe_frames(pci_bdf edu);
