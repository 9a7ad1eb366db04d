// SPDX-License-Identifier: BSD-2-Clause
// Starts the other CPUs. Afterwards each sits in the runtime's idle loop and can be given work with cpu_run.
#pragma once
#include "drivers/acpi.h"
#include <stdint.h>

/// Starts every CPU of the MADT, one after the other, through the page at `trampoline` (below 1 MiB; 0: none,
/// nothing is started). apic_start and time must be there. A CPU that does not come is reported and left
/// alone.
void smp_start(const struct acpi_info *acpi, uint64_t trampoline);
