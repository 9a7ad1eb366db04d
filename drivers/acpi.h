// SPDX-License-Identifier: BSD-2-Clause
// What we need of the ACPI tables (ACPI 6.4 chapter 5; PCI Firmware 3.2, 4.1.2; IA-PC HPET 1.0a, 3.2.4). Pure
// and bounds-checked: tables come through a function, so that tests and fuzzers give their own. Firmware is
// not trusted with our memory.
#pragma once
#include "rt/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ACPI_CPUS_MAX      64
#define ACPI_IOAPICS_MAX   8
#define ACPI_OVERRIDES_MAX 16
#define ACPI_SEGMENTS_MAX  8

/// Generic address structure, the part that is used (ACPI 6.4, 5.2.3.2). address 0: absent.
struct acpi_register {
    uint8_t space; // 0: memory, 1: I/O port, 2: PCI configuration
    uint8_t bits;
    uint64_t address;
};
#define ACPI_SPACE_MEMORY 0u
#define ACPI_SPACE_IO     1u
#define ACPI_SPACE_PCI    2u

struct acpi_info {
    // MADT
    uint64_t lapic_address;               // 0: no MADT
    uint32_t cpu_apic_ids[ACPI_CPUS_MAX]; // usable CPUs, in table order
    uint32_t cpu_count, cpus_dropped;     // dropped: more than fit
    struct {
        uint32_t id;
        uint64_t address;
        uint32_t gsi_base;
    } ioapics[ACPI_IOAPICS_MAX];
    uint32_t ioapic_count;
    struct {
        uint8_t isa_irq;
        bool level, active_low;
        uint32_t gsi;
    } overrides[ACPI_OVERRIDES_MAX];
    uint32_t override_count;
    // MCFG
    struct {
        uint64_t base; // of bus 0 of the segment
        uint16_t segment;
        uint8_t first_bus, last_bus;
    } segments[ACPI_SEGMENTS_MAX];
    uint32_t segment_count;
    // HPET: 0: none
    uint64_t hpet_address;
    // FADT
    bool fadt;
    struct acpi_register pm1a_control, pm1b_control, pm_timer, reset;
    bool pm_timer_32; // else 24 bits wide
    uint8_t reset_value;
    uint32_t smi_command;
    uint8_t acpi_enable;
    // \_S5 of the DSDT or an SSDT
    bool s5;
    uint8_t s5_type_a, s5_type_b; // SLP_TYP values
    // DMAR: where it lies, for who reads it; 0: none
    uint64_t dmar;
    uint32_t dmar_size;
    uint32_t tables, bad_tables; // good, and refused for length or checksum
};

/// Gives [phys, phys + size) as readable memory, or NULL. The bytes must stay until acpi_read returns.
typedef const void *acpi_map_fn(void *ctx, uint64_t phys, size_t size);

/// Reads all tables from the RSDP at `rsdp`. ERR_NOTFOUND: no RSDP there; ERR_PROTOCOL: it, or both root
/// tables, are damaged. A damaged single table is left out and counted.
MUST_CHECK enum status acpi_read(uint64_t rsdp, acpi_map_fn *map, void *ctx, struct acpi_info *info);

/// Finds \_S5 in AML bytes: a careful scan for the name and a package of constants, not an interpreter.
/// False: not there.
bool acpi_find_s5(const uint8_t *aml, size_t size, uint8_t *type_a, uint8_t *type_b);
