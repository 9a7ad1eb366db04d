// SPDX-License-Identifier: BSD-2-Clause
// Where the fixed devices of the guest's machine are: the one place for addresses that its ACPI tables, its
// devices and its image loaders must agree on.
#pragma once

#define GUEST_PM1_EVENT   0x600u // 4 bytes: status, enable
#define GUEST_PM1_CONTROL 0x604u // 2 bytes
#define GUEST_PM_TIMER    0x608u // 4 bytes
#define GUEST_SCI         9u     // its interrupt
#define GUEST_IOAPIC_BASE 0xfec00000u
#define GUEST_IOAPIC_PINS 24u
#define GUEST_UART_IRQ    4u
#define GUEST_RTC_IRQ     8u
#define GUEST_PIT_PIN     2u       // of the I/O APIC; ISA IRQ 0
#define GUEST_INTX_FIRST  16u      // GSIs 16-19: INTA..INTD of bus 0, swizzled by device number
#define GUEST_ACPI_BASE   0xf0000u // RSDP and all tables
#define GUEST_ACPI_SIZE   0x10000u
