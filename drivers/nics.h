// SPDX-License-Identifier: BSD-2-Clause
// Finds the first NIC one of our drivers knows (or the one named) and starts it.
#pragma once
#include "drivers/pci.h"
#include "rt/nic.h"

/// `at`: only that function, or NULL for the first supported one. On OK *nic is running (link may still be
/// down) and *dev is its PCI function. ERR_NOTFOUND: none that we can drive; the log names what was found.
MUST_CHECK enum status nics_start(const struct pci_address *at, struct nic **nic, struct pci_device **dev);
