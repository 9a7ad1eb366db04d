// SPDX-License-Identifier: BSD-2-Clause
// The IOMMU of this machine (Intel VT-d architecture specification 3.3), used to keep functions from memory:
// what is blocked can send interrupts (writes to FEEx_xxxxh are no DMA, 3.14) and nothing else; everything
// else passes untranslated. Must not know who is blocked, or why. Segment 0 only.
#pragma once
#include "drivers/acpi.h"
#include "drivers/pci.h"
#include "rt/status.h"

/// Makes the tables and turns translation on, in all units. ERR_NOTFOUND: no DMAR table; ERR_UNSUPPORTED: a
/// unit cannot pass requests through, or cannot be understood; ERR_TIMEOUT: a unit does not answer;
/// ERR_NOMEM. Nothing is blocked then.
MUST_CHECK enum status vtd_start(const struct acpi_info *acpi);
/// Blocks a function's DMA, for ever. ERR_UNSUPPORTED: no IOMMU was started, or the requests of this function
/// cannot be told from others' (conventional PCI behind a bridge; another segment).
MUST_CHECK enum status vtd_block(const struct pci_device *dev);
