// SPDX-License-Identifier: BSD-2-Clause
// What the files of drivers/vtd.h share: units (vtd_unit.c) as one, entries of tables, and who owns a context
// entry. Chapter and table numbers as in vtd.c. Must not be included elsewhere.
#pragma once
#include "drivers/vtd.h"
#include <stdint.h>

#define VTD_REG_BYTES 0x1000u
#define VTD_UNITS_MAX 16u

struct vtd_unit {
    volatile uint8_t *regs;
    uint64_t cap;
    uint32_t iotlb;               // offset of IOTLB_REG; IVA_REG is the eight bytes before
    uint32_t faults, fault_count; // offset and number of the fault recording registers
    uint32_t next_fault;          // after the one taken last: the registers are a circle (7.2.1)
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
};
extern struct vtd_units vtd_units;

/// Adds the unit with these registers. ERR_UNSUPPORTED: cannot pass requests through, or is understood by
/// other drivers only; ERR_NOMEM.
MUST_CHECK enum status vtd_unit_add(uint64_t base);
/// Root table in force, caches empty, faults forgotten, translation on. ERR_TIMEOUT, ERR_IO: as below.
MUST_CHECK enum status vtd_unit_start(const struct vtd_unit *unit, phys_t root);

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

struct vtd_entry {
    uint64_t low, high;
};
/// The context entry of a function that was blocked, with its bus's own table. NULL: it was not.
volatile struct vtd_entry *vtd_context(const struct pci_device *dev);
/// Between a vtd_start that returned OK and the end of time.
bool vtd_running(void);
/// A zeroed frame, or NULL.
void *vtd_new_table(void);
