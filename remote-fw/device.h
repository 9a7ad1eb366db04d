// SPDX-License-Identifier: BSD-2-Clause
// A lent function on this machine's real bus: function_ops over drivers/pci.h, port instructions and MMIO
// windows. Must not know owners or records. Invariant: at most DEVICE_WINDOW_TOTAL bytes of BARs are ever
// mapped, in windows of at most DEVICE_WINDOW_SIZE, each mapped once (mappings are never undone).
#pragma once
#include "remote-fw/function.h"

#define DEVICE_WINDOW_SIZE  (2ull << 20)
#define DEVICE_WINDOWS_MAX  512u // for BARs larger than one window, all functions together
#define DEVICE_WINDOW_TOTAL (DEVICE_WINDOWS_MAX * DEVICE_WINDOW_SIZE)

/// Fills `f` (ops, device, info) for a function of this machine. A BAR that the firmware left without an
/// address is said on the log and becomes absent. ERR_NOMEM: more functions than DISCOVERY_FUNCTIONS_MAX.
MUST_CHECK enum status device_open(struct function *f, struct pci_device *pci);
