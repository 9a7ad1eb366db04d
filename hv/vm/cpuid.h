// SPDX-License-Identifier: BSD-2-Clause
// What CPUID tells a guest: the CPU's own answer under a table of masks; the table says why.
#pragma once
#include <stdbool.h>
#include <stdint.h>

/// Reads the CPU once. Call before any vCPU is made. rdtscp, invpcid: whether the CPU lets guests use them.
void cpuid_start(bool rdtscp, bool invpcid);
struct vcpu;
/// Works out the answers that do not change while a vCPU runs. Call when it is made.
void cpuid_reset(struct vcpu *v);
/// Leaf 1 says that there is a local APIC as long as IA32_APIC_BASE enables it (SDM vol. 3, 10.4.3). Call
/// when that has changed.
void cpuid_follow_apic(struct vcpu *v);
/// XCR0 bits a guest may set; 0: no XSAVE.
uint64_t cpuid_xcr0_mask(void);
/// CR4 bits a guest may set.
uint64_t cpuid_cr4_mask(void);
/// Width of a guest-physical address (MAXPHYADDR).
uint32_t cpuid_address_bits(void);
