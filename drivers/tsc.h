// SPDX-License-Identifier: BSD-2-Clause
// How fast the TSC ticks: from CPUID where it says so, else measured against HPET, ACPI PM timer or PIT, in
// that order.
#pragma once
#include "drivers/acpi.h"
#include "rt/x86.h"
#include <stdint.h>

/// Frequency in Hz from CPUID leaves 0x15 and 0x16 (all zero when absent); 0: they do not say.
uint64_t tsc_hz_from_cpuid(struct cpuid leaf15, struct cpuid leaf16);

/// Finds the frequency and tells rt/time. Returns the source's name for the banner ("CPUID 0x15", "HPET",
/// ...).
const char *tsc_start(const struct acpi_info *acpi);
