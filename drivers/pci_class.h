// SPDX-License-Identifier: BSD-2-Clause
// What a PCI function is, in words, by its class code: as `lspci` says it. Must not know devices.
#pragma once
#include <stdint.h>

/// Never NULL: what is not in the table is named by its class alone, or "Unknown device".
const char *pci_class_name(uint8_t class_code, uint8_t subclass);
