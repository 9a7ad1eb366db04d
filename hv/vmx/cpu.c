// SPDX-License-Identifier: BSD-2-Clause
// Turns VMX on, on each CPU (SDM vol. 3, 24.7, 24.8 and appendix A).
#include "rt/cpu.h"
#include "hv/vmx/vmx.h"
#include "rt/log.h"
#include "rt/paging.h"
#include "rt/x86.h"
#include <string.h>

#define IA32_VMX_BASIC          0x480u
#define IA32_VMX_PINBASED       0x481u
#define IA32_VMX_PROCBASED      0x482u
#define IA32_VMX_EXIT           0x483u
#define IA32_VMX_ENTRY          0x484u
#define IA32_VMX_MISC           0x485u
#define IA32_VMX_CR0_FIXED0     0x486u
#define IA32_VMX_CR0_FIXED1     0x487u
#define IA32_VMX_CR4_FIXED0     0x488u
#define IA32_VMX_CR4_FIXED1     0x489u
#define IA32_VMX_PROCBASED2     0x48bu
#define IA32_VMX_EPT_VPID       0x48cu
#define IA32_VMX_TRUE_PINBASED  0x48du
#define IA32_VMX_TRUE_PROCBASED 0x48eu
#define IA32_VMX_TRUE_EXIT      0x48fu
#define IA32_VMX_TRUE_ENTRY     0x490u

#define FEATURE_CONTROL_LOCK 0x1ull
#define FEATURE_CONTROL_VMX  0x4ull // VMX outside SMX
#define BASIC_TRUE_CONTROLS  (1ull << 55)
#define CPUID1_ECX_VMX       (1u << 5)

struct vmx_controls vmx_controls;
struct vmx_msrs vmx_msrs;

static struct vmx_msrs read_msrs(void)
{
    struct vmx_msrs m = {.basic = rdmsr(IA32_VMX_BASIC)};
    bool true_controls = (m.basic & BASIC_TRUE_CONTROLS) != 0;

    m.pin = rdmsr(true_controls ? IA32_VMX_TRUE_PINBASED : IA32_VMX_PINBASED);
    m.cpu = rdmsr(true_controls ? IA32_VMX_TRUE_PROCBASED : IA32_VMX_PROCBASED);
    m.exit = rdmsr(true_controls ? IA32_VMX_TRUE_EXIT : IA32_VMX_EXIT);
    m.entry = rdmsr(true_controls ? IA32_VMX_TRUE_ENTRY : IA32_VMX_ENTRY);
    m.misc = rdmsr(IA32_VMX_MISC);
    m.cr0_fixed0 = rdmsr(IA32_VMX_CR0_FIXED0);
    m.cr0_fixed1 = rdmsr(IA32_VMX_CR0_FIXED1);
    m.cr4_fixed0 = rdmsr(IA32_VMX_CR4_FIXED0);
    m.cr4_fixed1 = rdmsr(IA32_VMX_CR4_FIXED1);
    if (m.cpu >> 32 & CPU_SECONDARY)
        m.secondary = rdmsr(IA32_VMX_PROCBASED2);
    if (m.secondary >> 32 & (SEC_EPT | SEC_VPID))
        m.ept_vpid = rdmsr(IA32_VMX_EPT_VPID);
    return m;
}

enum status vmx_cpu_start(void)
{
    uint32_t index = cpu_self()->index;

    if (!(cpuid(1, 0).ecx & CPUID1_ECX_VMX)) {
        log_error("vmx", "CPU %u has no VT-x: Farbus needs an Intel CPU with VT-x and EPT", (unsigned)index);
        return ERR_UNSUPPORTED;
    }
    uint64_t feature = rdmsr(IA32_FEATURE_CONTROL);
    if (!(feature & FEATURE_CONTROL_LOCK)) {
        feature |= FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX;
        wrmsr(IA32_FEATURE_CONTROL, feature);
    }
    if (!(feature & FEATURE_CONTROL_VMX)) {
        log_error("vmx", "VT-x is disabled in the firmware setup (CPU %u): enable it there and start again",
                  (unsigned)index);
        return ERR_DENIED;
    }

    struct vmx_msrs msrs = read_msrs();
    struct vmx_controls controls;
    const char *missing = "";
    if (vmx_controls_compute(&msrs, &controls, &missing) != OK) {
        log_error("vmx", "this CPU's VT-x lacks %s, which Farbus needs", missing);
        return ERR_UNSUPPORTED;
    }
    if (index == 0) {
        vmx_msrs = msrs;
        vmx_controls = controls;
    } else if (memcmp(&controls, &vmx_controls, sizeof controls) != 0) {
        log_error("vmx", "CPU %u's VT-x differs from CPU 0's: it will run no guests", (unsigned)index);
        return ERR_UNSUPPORTED;
    }

    phys_t region = frames_alloc(1, FRAME_SIZE, 0);
    if (region == FRAME_NONE)
        return ERR_NOMEM;
    *(uint32_t *)phys_to_virt(region) = (uint32_t)(msrs.basic & 0x7fffffff); // VMCS revision identifier
    write_cr0((read_cr0() | msrs.cr0_fixed0) & msrs.cr0_fixed1);
    write_cr4((read_cr4() | msrs.cr4_fixed0 | CR4_VMXE) & msrs.cr4_fixed1);
    if (!vmxon(region)) {
        frames_free(region, 1);
        log_error("vmx", "VMXON failed on CPU %u", (unsigned)index);
        return ERR_IO;
    }
    // Translations cached before a warm reset must not survive into our guests.
    invept(2, 0);
    if (controls.vpid)
        invvpid(2, 0);
    if (index == 0)
        log_info("vmx", "on: EPT%s%s%s%s, unrestricted guest, preemption timer TSC/%u",
                 controls.ept_2m ? " 2M" : "", controls.ept_1g ? " 1G" : "", controls.ept_dirty ? " A/D" : "",
                 controls.vpid ? ", VPID" : "", 1u << controls.timer_shift);
    return OK;
}
