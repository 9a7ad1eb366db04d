// SPDX-License-Identifier: BSD-2-Clause
// The IOMMU of this machine (Intel VT-d architecture specification 3.3), used to keep functions from memory:
// what is blocked can send interrupts (writes to FEEx_xxxxh are no DMA, 3.14) and nothing else; everything
// else passes untranslated. Must not know who is blocked, or why. Segment 0 only.
#pragma once
#include "drivers/pci.h"
#include "rt/status.h"
#include <stddef.h>

/// dmar: the ACPI table of that name, NULL: there is none. Makes the tables and turns translation on, in all
/// units of segment 0. ERR_NOTFOUND: no table, or no unit; ERR_UNSUPPORTED: a
/// unit cannot pass requests through, or cannot be understood; ERR_TIMEOUT: a unit does not answer;
/// ERR_NOMEM. Nothing is blocked then.
MUST_CHECK enum status vtd_start(const void *dmar, size_t size);
/// Blocks a function's DMA, for ever. ERR_UNSUPPORTED: no IOMMU was started, or the requests of this function
/// cannot be told from others' (conventional PCI behind a bridge; another segment).
MUST_CHECK enum status vtd_block(const struct pci_device *dev);
