// SPDX-License-Identifier: BSD-2-Clause
// The guest's ACPI tables (ACPI 6.4): RSDP, XSDT, FADT, MADT, MCFG, DMAR, DSDT. The DSDT's AML is compiled
// from dsdt.asl by iasl. Pure: fills a buffer. Compiles on the build machine.
#pragma once
#include "rt/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct acpi_machine {
    uint32_t cpus;
    bool iommu;       // there is one: DMAR
    const void *dsdt; // AML, header included
    size_t dsdt_size;
};

/// Writes all tables for guest-physical `base` into `buffer`; the RSDP comes first. *used: bytes. ERR_RANGE:
/// no room.
MUST_CHECK enum status acpi_tables_build(const struct acpi_machine *machine, uint64_t base, void *buffer,
                                         size_t size, size_t *used);
