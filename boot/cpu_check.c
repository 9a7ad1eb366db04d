// SPDX-License-Identifier: BSD-2-Clause
// See cpu_check.h.
#include "boot/cpu_check.h"
#include <string.h>

static enum status vtx_check(const struct cpu_facts *cpu, struct refusal *why)
{
    if (strcmp(cpu->vendor, "AuthenticAMD") == 0 || strcmp(cpu->vendor, "HygonGenuine") == 0)
        return refuse(why, ERR_UNSUPPORTED,
                      "This CPU (%s) has no VT-x: role = host needs an Intel CPU so far. It can be a remote.",
                      cpu->vendor);
    if ((cpu->leaf1_ecx & CPUID_1_ECX_VMX) == 0)
        return refuse(
            why, ERR_UNSUPPORTED,
            "This CPU (%s) offers no VT-x, which role = host needs to run guests. If the CPU has VT-x, "
            "switch it on in the firmware setup; if this is a virtual machine, switch on nested "
            "virtualization; or make this node a remote.",
            cpu->vendor);
    if ((cpu->feature_control & FEATURE_CONTROL_LOCK) != 0 &&
        (cpu->feature_control & FEATURE_CONTROL_VMX_OUTSIDE_SMX) == 0)
        return refuse(
            why, ERR_DENIED,
            "VT-x is disabled in the firmware setup and locked (IA32_FEATURE_CONTROL = 0x%llx). Switch on "
            "\"VT-x\", \"VMX\" or \"Intel Virtualization Technology\" there, and start again from power off.",
            (unsigned long long)cpu->feature_control);
    return OK; // on and locked, or not locked: then the hypervisor sets and locks it
}

enum status cpu_check(const struct cpu_facts *cpu, enum boot_role role, struct refusal *why)
{
    if ((cpu->ext1_edx & CPUID_80000001_EDX_NX) == 0)
        return refuse(
            why, ERR_UNSUPPORTED,
            "This CPU (%s) has no execute-disable bit, or it is off. Switch on \"XD\", \"NX\" or \"Execute "
            "Disable\" in the firmware setup.",
            cpu->vendor);
    if ((cpu->cr4 & CR4_LA57) != 0)
        return refuse(
            why, ERR_UNSUPPORTED,
            "The firmware runs with 5-level paging, Farbus with 4 levels. Switch off \"5-level paging\" or "
            "\"LA57\" in the firmware setup.");
    return role == BOOT_ROLE_HOST ? vtx_check(cpu, why) : OK;
}
