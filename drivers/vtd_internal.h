// SPDX-License-Identifier: BSD-2-Clause
// What the files of drivers/vtd.h share: units (vtd_unit.c) as one, entries of tables, and who owns a context
// entry. Chapter and table numbers as in vtd.c. Must not be included elsewhere.
#pragma once
#include "drivers/vtd.h"
#include <stdint.h>

#define VTD_REG_BYTES 0x1000u
#define VTD_UNITS_MAX 16u
#define VTD_PINS_MAX  8u

struct vtd_entry {
    uint64_t low, high;
};

struct vtd_unit {
    volatile uint8_t *regs;
    uint64_t cap;
    uint32_t iotlb;                   // offset of IOTLB_REG; IVA_REG is the eight bytes before
    uint32_t faults, fault_count;     // offset and number of the fault recording registers
    uint32_t next_fault;              // after the one taken last: the registers are a circle (7.2.1)
    volatile struct vtd_entry *queue; // of invalidation (vtd_queue.c); NULL: by registers
    volatile uint32_t *done;          // written by the unit
    uint32_t tail;                    // where the next descriptor goes, in bytes
};

/// All units of segment 0. They are commanded as one, so what they can do is what all of them can.
struct vtd_units {
    unsigned count;
    struct vtd_unit all[VTD_UNITS_MAX];
    uint8_t sagaw;        // table widths (CAP.SAGAW): bit 1: 39 bits, bit 2: 48
    uint8_t address_bits; // CAP.MGAW
    uint32_t domains;     // CAP.ND: ids below this may be used
    bool caching_mode;    // one of them caches entries that are not present
    bool write_buffer;    // one of them wants its write buffer flushed
    bool coherent;        // all of them snoop the processor's caches
    bool snoop_control;   // all of them know SNP in leaf entries
    bool remapping;       // all of them, and the platform, remap interrupts
    bool wide;            // all of them know APIC identifiers of 32 bits (ECAP.EIM)
    struct {
        uint8_t ioapic; // its identifier in the MADT
        uint16_t source;
    } pins[VTD_PINS_MAX]; // in whose name I/O APICs send (8.3.1, device scope of type 3)
    unsigned pin_count;
};
extern struct vtd_units vtd_units;

/// Adds the unit with these registers. ERR_UNSUPPORTED: cannot pass requests through, or is understood by
/// other drivers only; ERR_NOMEM.
MUST_CHECK enum status vtd_unit_add(uint64_t base);
/// Root table in force, caches empty, faults forgotten, translation on. ERR_TIMEOUT, ERR_IO: as below.
MUST_CHECK enum status vtd_unit_start(struct vtd_unit *unit, phys_t root);

// Commands and their bits of GSTS_REG (11.4.4)
#define GCMD_TE    (1u << 31)
#define GCMD_SRTP  (1u << 30)
#define GCMD_WBF   (1u << 27)
#define GCMD_QIE   (1u << 26)
#define GCMD_IRE   (1u << 25)
#define GCMD_SIRTP (1u << 24)
#define GCMD_CFI   (1u << 23)
/// One command, to its end; `status`: what its bit of GSTS_REG is then. ERR_TIMEOUT.
MUST_CHECK enum status vtd_command(const struct vtd_unit *unit, uint32_t bit, bool on, bool status);

#define VTD_WAIT_US 10000u // a unit that needs longer for anything does not answer

// Invalidation descriptors (6.5.2.1 to 6.5.2.8), lower halves
#define VTD_QUEUE_CONTEXT   1u
#define VTD_QUEUE_IOTLB     2u
#define VTD_QUEUE_INTERRUPT 4u
#define VTD_QUEUE_WAIT      5u
/// Makes the unit's queue and turns it on: from now on registers of invalidation are not to be touched.
/// ERR_NOMEM, ERR_TIMEOUT.
MUST_CHECK enum status vtd_queue_start(struct vtd_unit *unit);
/// One descriptor; done on return. ERR_TIMEOUT, ERR_IO: the unit refused it.
MUST_CHECK enum status vtd_queue_do(struct vtd_unit *unit, uint64_t low, uint64_t high);

/// What was recorded before we came.
void vtd_forget_faults(const struct vtd_unit *unit);

/// Out of the processor's caches, where a unit does not snoop them. Before any of the following.
void vtd_flush(const volatile void *at, size_t bytes);

#define VTD_ALL_PAGES 64u // an `order` that means the whole domain
/// In all units, with drain of reads and writes on their way (6.5.2.3); done on return. ERR_TIMEOUT: a unit
/// does not answer; ERR_IO: it did not do it.
MUST_CHECK enum status vtd_forget_all(void);
MUST_CHECK enum status vtd_forget_context(uint16_t source, uint16_t domain);
/// 2^order pages from `iova` on, which is a multiple of that; the whole domain where a unit cannot do less.
MUST_CHECK enum status vtd_forget_pages(uint16_t domain, uint64_t iova, unsigned order);
/// Entries that were not present before are in force on return.
MUST_CHECK enum status vtd_flush_write_buffer(void);

// Root and context entries (9.1, 9.3)
#define VTD_PRESENT        1ull
#define VTD_CONTEXT_TABLE  (0ull << 2)
#define VTD_CONTEXT_PASS   (2ull << 2)
#define VTD_CONTEXT_DOMAIN 8  // shift, in the upper half
#define VTD_DOMAIN_PASS    1u // of all that passes; 0 is for units in caching mode
#define VTD_DOMAIN_FIRST   2u

/// The context entry of a function that was blocked, with its bus's own table. NULL: it was not.
volatile struct vtd_entry *vtd_context(const struct pci_device *dev);
/// Its requests carry its own name, and go to units of ours.
bool vtd_own_name(const struct pci_device *dev);
/// Between a vtd_start that returned OK and the end of time.
bool vtd_running(void);
/// A zeroed frame, or NULL.
void *vtd_new_table(void);
