// SPDX-License-Identifier: BSD-2-Clause
// Can this CPU be a host or a remote? Decided from values read elsewhere (cpu_read.c), so that it is the same
// code on the build machine. What the hypervisor needs beyond VT-x itself (EPT, unrestricted guest) it checks
// and names itself.
#pragma once
#include "boot/refusal.h"
#include "rt/boot_info.h"
#include <stdbool.h>
#include <stdint.h>

struct cpu_facts {
    char vendor[13];          // CPUID 0: EBX, EDX, ECX
    uint32_t leaf1_ecx;       // CPUID 1
    uint32_t ext1_edx;        // CPUID 0x80000001
    uint64_t feature_control; // IA32_FEATURE_CONTROL (0x3A); 0 when there is no VMX, which is when it may not
                              // exist
    uint64_t cr4;
};

#define CPUID_1_ECX_VMX                 (1u << 5) // SDM vol. 2A, CPUID, table 3-10
#define CPUID_80000001_EDX_NX           (1u << 20)
#define CPUID_80000001_EDX_PAGE1GB      (1u << 26)
#define FEATURE_CONTROL_LOCK            (1ull << 0) // SDM vol. 4, table 2-2, IA32_FEATURE_CONTROL
#define FEATURE_CONTROL_VMX_OUTSIDE_SMX (1ull << 2)
#define CR4_LA57                        (1ull << 12)

MUST_CHECK enum status cpu_check(const struct cpu_facts *cpu, enum boot_role role, struct refusal *why);
