// SPDX-License-Identifier: BSD-2-Clause
// Brings the machine up, in order, for either role: UART and framebuffer console, ACPI, time, APIC, PCI, all
// CPUs.
#pragma once
#include "drivers/acpi.h"
#include "rt/boot_info.h"
#include "rt/status.h"
#include <stddef.h>

/// Called once on the boot CPU, first thing in the role's main. `role` is what the banner says ("host",
/// "remote"). Every problem is reported on the console; returns an error only when the role cannot go on.
MUST_CHECK enum status machine_start(const struct boot_info *info, const char *role);
/// What the ACPI tables say, for who needs more of it. Valid after machine_start; all zero without tables.
const struct acpi_info *machine_acpi(void);
/// [phys, phys + size) of a table that machine_acpi names, readable for ever. NULL: it cannot be reached.
const void *machine_table(uint64_t phys, size_t size);
/// Ends the machine: ACPI S5 where it is possible, else the emulators' ports, else halts. Waits for the
/// console to drain.
_Noreturn void machine_power_off(void);
/// Resets the machine (ACPI reset register, 0xCF9, triple fault).
_Noreturn void machine_reset(void);
