// SPDX-License-Identifier: BSD-2-Clause
// The drivers drivers/nics.c knows, one per controller model. See drivers/intel_nic.h for what they share.
#pragma once
#include "drivers/pci.h"
#include "rt/nic.h"

/// Intel 82540EM (QEMU "e1000", Bochs "e1000"): resets it and starts its rings; the link may still be down.
/// ERR_UNSUPPORTED, ERR_NOMEM, ERR_IO (no station address), ERR_TIMEOUT (the reset does not end); each is
/// logged.
MUST_CHECK enum status e1000_start(struct pci_device *dev, struct nic **nic);
/// Intel 82574L (QEMU "e1000e"), likewise.
MUST_CHECK enum status e1000e_start(struct pci_device *dev, struct nic **nic);
/// Intel 82576 and its kin (QEMU "igb"), likewise.
MUST_CHECK enum status igb_start(struct pci_device *dev, struct nic **nic);
