// SPDX-License-Identifier: BSD-2-Clause
// What this CPU's VMX can do, and the control words computed from it (SDM vol. 3, appendix A). Pure: takes
// MSR values, so it is unit-tested on the build machine.
#pragma once
#include "rt/status.h"
#include <stdbool.h>
#include <stdint.h>

/// Values of the capability MSRs.
struct vmx_msrs {
    uint64_t basic;                 // IA32_VMX_BASIC 0x480
    uint64_t pin, cpu, exit, entry; // the TRUE_ ones (0x48D-0x490) when basic bit 55 is set, else 0x481-0x484
    uint64_t secondary;             // IA32_VMX_PROCBASED_CTLS2 0x48B
    uint64_t misc;                  // IA32_VMX_MISC 0x485
    uint64_t cr0_fixed0, cr0_fixed1; // 0x486, 0x487
    uint64_t cr4_fixed0, cr4_fixed1; // 0x488, 0x489
    uint64_t ept_vpid;               // IA32_VMX_EPT_VPID_CAP 0x48C
};

struct vmx_controls {
    uint32_t pin, cpu, secondary, exit, entry;
    bool preemption_timer, virtual_nmis, vpid;
    bool ept_2m, ept_1g, ept_dirty;
    uint8_t timer_shift; // preemption timer counts TSC >> shift
    uint8_t zero;        // in place of padding: CPUs' words are compared as bytes
};
_Static_assert(sizeof(struct vmx_controls) == 5 * 4 + 8, "no padding");

/// (wanted | must_be_1) & may_be_1 of a capability MSR (low half: allowed 0-settings, high half: allowed
/// 1-settings).
static inline uint32_t vmx_adjust(uint64_t capability, uint32_t wanted)
{
    return (wanted | (uint32_t)capability) & (uint32_t)(capability >> 32);
}

/// Computes the control words. ERR_UNSUPPORTED: *missing names the first feature that Farbus needs and the
/// CPU lacks.
MUST_CHECK enum status vmx_controls_compute(const struct vmx_msrs *msrs, struct vmx_controls *out,
                                            const char **missing);
