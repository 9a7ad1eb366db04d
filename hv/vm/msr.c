// SPDX-License-Identifier: BSD-2-Clause
#include "hv/vm/msr.h"
#include "hv/vm/cpuid.h"
#include "hv/vm/guest.h"
#include "hv/vm/vm.h"
#include "rt/panic.h"
#include "rt/x86.h"
#include <stddef.h>
#include <string.h>

enum policy {
    PASS,     // the CPU's own register, switched with the vCPU: no exit
    CONSTANT, // reads `value`; a write is ignored when it changes nothing outside `write_mask`, else #GP
    STORED,   // reads what was written; `value` at start; bits outside write_mask: #GP
    LAPIC,    // the vCPU's local APIC
    TSC,      // write moves the guest's TSC
};

struct row {
    uint32_t first, last;
    enum policy policy;
    uint64_t value, write_mask;
    const char *reason;
};

// In order of number. What is not here: #GP, as for an MSR that does not exist.
static const struct row rows[] = {
    {0x010, 0x010, TSC, 0, ~0ull, "TSC: reads go through TSC offsetting"},
    {0x017, 0x017, CONSTANT, 0, 0, "IA32_PLATFORM_ID: one socket type"},
    {0x01b, 0x01b, LAPIC, 0, 0, "IA32_APIC_BASE"},
    {0x03a, 0x03a, CONSTANT, 1, 0, "IA32_FEATURE_CONTROL: locked, VMX off: guests do not nest"},
    {0x079, 0x079, CONSTANT, 0, ~0ull, "IA32_BIOS_UPDT_TRIG: guests do not load microcode; ignored"},
    {0x08b, 0x08b, CONSTANT, 0, ~0ull, "IA32_BIOS_SIGN_ID: no microcode revision is told"},
    {0x0fe, 0x0fe, CONSTANT, 0x508, 0, "IA32_MTRRCAP: WC, fixed, 8 variable; EPT decides memory types"},
    {0x174, 0x176, PASS, 0, 0, "IA32_SYSENTER_*: in the VMCS"},
    {0x179, 0x179, CONSTANT, 0, 0, "IA32_MCG_CAP: no machine-check banks"},
    {0x17a, 0x17a, STORED, 0, 0, "IA32_MCG_STATUS"},
    {0x1a0, 0x1a0, STORED, 0x1801, 0x400d51809ull,
     "IA32_MISC_ENABLE: fast strings; no BTS, no PEBS; what it switches is remembered and stays as it is"},
    {0x1d9, 0x1d9, CONSTANT, 0, 0, "IA32_DEBUGCTL: no branch records"},
    {0x200, 0x20f, STORED, 0, ~0ull, "variable MTRRs: remembered, EPT decides"},
    {0x250, 0x250, STORED, 0x0606060606060606ull, ~0ull, "fixed MTRRs"},
    {0x258, 0x259, STORED, 0x0606060606060606ull, ~0ull, "fixed MTRRs"},
    {0x268, 0x26f, STORED, 0x0606060606060606ull, ~0ull, "fixed MTRRs"},
    {0x277, 0x277, PASS, 0, 0, "IA32_PAT: in the VMCS"},
    {0x2ff, 0x2ff, STORED, 0xc06, 0xcff, "IA32_MTRR_DEF_TYPE: enabled, write-back"},
    {0x6e0, 0x6e0, LAPIC, 0, 0, "IA32_TSC_DEADLINE"},
    {0x800, 0x8ff, LAPIC, 0, 0, "x2APIC registers"},
    {0xc0000080, 0xc0000080, PASS, 0, 0, "IA32_EFER: in the VMCS; the CPU checks reserved bits"},
    {0xc0000081, 0xc0000084, PASS, 0, 0, "STAR, LSTAR, CSTAR, FMASK: switched with the vCPU"},
    {0xc0000100, 0xc0000102, PASS, 0, 0, "FS, GS base in the VMCS, KERNEL_GS_BASE switched with the vCPU"},
    {0xc0000103, 0xc0000103, PASS, 0, 0, "TSC_AUX: switched with the vCPU"},
};

#define ROWS (sizeof rows / sizeof *rows)

// MSRs are found by number in one step: those from 0 and those from 0xc0000000 on.
#define LOW_MSRS  0x900u
#define HIGH_BASE 0xc0000000u
#define HIGH_MSRS 0x200u
static uint8_t row_of[LOW_MSRS + HIGH_MSRS]; // index into rows + 1; 0: no such MSR
static uint8_t slot_of[ROWS];                // first place of a STORED row in vcpu.msr_store

void msr_start(void)
{
    size_t slots = 0;
    for (size_t i = 0; i < ROWS; i++) {
        uint32_t count = rows[i].last - rows[i].first + 1;
        uint32_t at = rows[i].first >= HIGH_BASE ? rows[i].first - HIGH_BASE + LOW_MSRS : rows[i].first;
        for (uint32_t n = 0; n < count; n++)
            row_of[at + n] = (uint8_t)(i + 1);
        slot_of[i] = (uint8_t)slots;
        if (rows[i].policy == STORED)
            slots += count;
    }
    ASSERT(slots <= MSR_STORE_MAX);
}

static const struct row *find(uint32_t msr)
{
    uint32_t at = msr;
    if (msr >= LOW_MSRS) {
        if (msr - HIGH_BASE >= HIGH_MSRS)
            return NULL;
        at = msr - HIGH_BASE + LOW_MSRS;
    }
    return row_of[at] ? &rows[row_of[at] - 1] : NULL;
}

static size_t store_index(const struct row *row, uint32_t msr)
{
    return slot_of[row - rows] + (msr - row->first);
}

bool msr_passes(uint32_t msr, bool write)
{
    const struct row *row = find(msr);
    return row && (row->policy == PASS || (!write && row->policy == TSC));
}

void msr_reset(struct vcpu *v)
{
    memset(v->msr_store, 0, sizeof v->msr_store);
    for (const struct row *r = rows; r < rows + ROWS; r++) {
        for (uint32_t msr = r->first; r->policy == STORED && msr <= r->last; msr++)
            v->msr_store[store_index(r, msr)] = r->value;
    }
}

bool vm_msr_read(struct vcpu *v, uint32_t msr, uint64_t *value)
{
    const struct row *row = find(msr);
    if (!row)
        return false;
    switch (row->policy) {
    case CONSTANT:
        *value = row->value;
        return true;
    case STORED:
        *value = v->msr_store[store_index(row, msr)];
        return true;
    case LAPIC:
        return lapic_msr_read(&v->lapic, msr, vm_guest_tsc(v, rdtsc()), value);
    case TSC:
        *value = vm_guest_tsc(v, rdtsc());
        return true;
    default:
        return false;
    }
}

bool vm_msr_write(struct vcpu *v, uint32_t msr, uint64_t value)
{
    const struct row *row = find(msr);
    if (!row)
        return false;
    switch (row->policy) {
    case CONSTANT:
        return ((value ^ row->value) & ~row->write_mask) == 0;
    case STORED: {
        uint64_t *slot = &v->msr_store[store_index(row, msr)];
        if ((value ^ *slot) & ~row->write_mask)
            return false;
        *slot = value;
        return true;
    }
    case LAPIC:
        if (!lapic_msr_write(&v->lapic, msr, value, vm_guest_tsc(v, rdtsc())))
            return false;
        cpuid_follow_apic(v);
        vm_lapic_written(v);
        return true;
    case TSC:
        v->tsc_offset = value - rdtsc();
        return true;
    default:
        return false;
    }
}
