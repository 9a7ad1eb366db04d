// SPDX-License-Identifier: BSD-2-Clause
// The IOMMU of this machine (Intel VT-d architecture specification 3.3), used to keep functions from memory:
// what is blocked can send interrupts (writes to FEEx_xxxxh are no DMA, 3.14) and nothing else; a function
// with a domain reaches what is mapped there; everything else passes untranslated. With remapping, the
// interrupts a function can send are those that it was given, too. Must not know who is
// confined, or why. Segment 0 only. One CPU at a time.
#pragma once
#include "drivers/pci.h"
#include "rt/frames.h"
#include "rt/status.h"
#include <stdbool.h>
#include <stddef.h>

/// dmar: the ACPI table of that name, NULL: there is none. Makes the tables and turns translation on, in all
/// units of segment 0. ERR_NOTFOUND: no table, or no unit; ERR_UNSUPPORTED: a
/// unit cannot pass requests through, or cannot be understood; ERR_TIMEOUT: a unit does not answer;
/// ERR_NOMEM. Nothing is blocked then.
MUST_CHECK enum status vtd_start(const void *dmar, size_t size);
/// Blocks a function's DMA, until it gets a domain. ERR_UNSUPPORTED: no IOMMU was started, or the requests of
/// this function cannot be told from others' (conventional PCI behind a bridge; another segment).
MUST_CHECK enum status vtd_block(const struct pci_device *dev);

/// Interrupt remapping on, in all units: from now on nothing interrupts this machine but by what the two
/// functions below gave (interrupts between processors and local ones are no matter of it). `x2apic`: the
/// processors' mode. ERR_UNSUPPORTED: not started, or a unit or the platform cannot; ERR_NOMEM, ERR_TIMEOUT,
/// ERR_IO. It is off then.
MUST_CHECK enum status vtd_start_interrupts(bool x2apic);
/// What `dev` has to write (MSI, MSI-X) to raise `vector`, edge, on that processor; from now on no one else
/// can. A later call for the same vector takes it away from `dev`. Without remapping: the message anybody can
/// write. ERR_UNSUPPORTED: APIC identifier too wide, or this function's requests cannot be told from others';
/// ERR_TIMEOUT, ERR_IO.
MUST_CHECK enum status vtd_interrupt(const struct pci_device *dev, uint32_t apic_id, uint8_t vector,
                                     struct pci_message *message);
/// The same for pins of an I/O APIC (identifier of the MADT): `*entry` goes into its redirection entry
/// (5.1.5). Also ERR_UNSUPPORTED: no remapping, or the DMAR table does not say in whose name it sends.
MUST_CHECK enum status vtd_interrupt_pin(uint8_t ioapic, uint32_t apic_id, uint8_t vector, bool level,
                                         uint16_t *entry);

#define VTD_READ  0x1u
#define VTD_WRITE 0x2u

struct vtd_domain;
/// An address space of its own for a blocked function, empty; the function is in it from now on.
/// ERR_UNSUPPORTED: not blocked, or no table width that this driver knows; ERR_NOMEM.
MUST_CHECK enum status vtd_domain_create(const struct pci_device *dev, struct vtd_domain **domain);
/// The function is blocked again; tables are freed.
void vtd_domain_destroy(struct vtd_domain *domain);
/// Maps one 4 KiB page: iova < 2^39. In force on return. ERR_BUSY: something is mapped there; ERR_NOMEM.
MUST_CHECK enum status vtd_map(struct vtd_domain *domain, uint64_t iova, phys_t page, unsigned access);
/// Unmaps `pages` pages from iova on, mapped or not. On return no access of the function can reach them any
/// more: the caches are invalidated and writes on their way have arrived (drain).
void vtd_unmap(struct vtd_domain *domain, uint64_t iova, uint64_t pages);

struct vtd_fault {
    uint8_t bus, devfn;
    bool write;
    uint8_t reason; // 7.1.3; from VTD_FAULT_INTERRUPT on a message was stopped, not an access to memory
    uint64_t iova;  // of a message: the table's entry that it named, where that was looked at
};
#define VTD_FAULT_INTERRUPT 0x20u
/// Takes one recorded fault from any unit; false: none. `*lost` (may be NULL): faults were lost since the
/// last call.
bool vtd_take_fault(struct vtd_fault *fault, bool *lost);
