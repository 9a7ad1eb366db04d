// SPDX-License-Identifier: BSD-2-Clause
// The interrupt controllers of this machine: local APICs (x2APIC where there is one, else xAPIC), I/O APICs;
// the 8259 pair is silenced. SDM vol. 3, chapter 10; Intel 82093AA data sheet. Must not know who uses an
// interrupt.
#pragma once
#include "drivers/acpi.h"
#include "rt/status.h"
#include <stdbool.h>
#include <stdint.h>

/// On the boot CPU, once: local APIC on, I/O APICs found and all their pins masked, EOI and panic hooks told
/// to the runtime. ERR_UNSUPPORTED: no local APIC. `acpi` may be all zero (no tables): then no interrupt can
/// be routed, the rest works.
MUST_CHECK enum status apic_start(const struct acpi_info *acpi);
/// On each other CPU.
void apic_start_cpu(void);
/// "x2APIC" or "xAPIC".
const char *apic_mode(void);
uint32_t apic_ioapic_count(void);
bool apic_is_x2apic(void);
/// This CPU's identifier.
uint32_t apic_id(void);

/// One fixed interrupt to another CPU.
void apic_send(uint32_t id, uint8_t vector);
/// INIT, and STARTUP at physical address page << 12 (SDM vol. 3, 8.4.4).
void apic_send_init(uint32_t id);
void apic_send_startup(uint32_t id, uint8_t page);

/// Routes a global system interrupt to `vector` on the boot CPU and unmasks it. ERR_NOTFOUND: no I/O APIC has
/// that pin.
MUST_CHECK enum status apic_route_gsi(uint32_t gsi, uint8_t vector, bool level, bool active_low);
/// The same for an ISA interrupt (0..15), with the MADT's overrides: edge and active high unless one says
/// otherwise.
MUST_CHECK enum status apic_route_isa(uint8_t irq, uint8_t vector);

/// Interrupt remapping's entry for an I/O APIC's interrupt (drivers/vtd.h: vtd_interrupt_pin).
typedef enum status apic_remap_fn(uint8_t ioapic, uint32_t apic_id, uint8_t vector, bool level,
                                  uint16_t *entry);
/// From now on pins are routed through such entries; those routed before are so now. A pin that gets no entry
/// stays masked. An edge that comes meanwhile is lost: look at the devices afterwards.
void apic_remap(apic_remap_fn *remap);

/// One interrupt `vector` on this CPU after `ns` nanoseconds; 0 stops the timer.
void apic_timer(uint8_t vector, uint64_t ns);
