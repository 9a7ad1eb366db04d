// SPDX-License-Identifier: BSD-2-Clause
// What only the firmware can tell of the machine: the ACPI tables, the framebuffer, how we were started.
#pragma once
#include "boot/options.h"
#include "boot/refusal.h"
#include "rt/boot_info.h"
#include <efi.h>
#include <stdbool.h>
#include <stdint.h>

/// Physical address of the ACPI 2.0 RSDP, 0: none.
uint64_t machine_rsdp(const EFI_SYSTEM_TABLE *system);
/// The framebuffer of the current graphics mode; size 0 when there is none we can write to (32 bits a pixel).
struct boot_framebuffer machine_framebuffer(EFI_BOOT_SERVICES *services);
/// The PCI function the loader was read through (disk controller, USB controller, NIC). False: none, or it
/// cannot be told.
bool machine_boot_device(EFI_BOOT_SERVICES *services, EFI_HANDLE image, struct boot_pci_address *at);
/// How we were started (options.h).
MUST_CHECK enum status machine_options(EFI_BOOT_SERVICES *services, EFI_HANDLE image, struct options *options,
                                       struct refusal *why);
