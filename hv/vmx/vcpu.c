// SPDX-License-Identifier: BSD-2-Clause
// A vCPU's VMCS: its controls, its host half, its start state; and what changes hands when another vCPU gets
// the CPU.
#include "hv/vm/cpuid.h"
#include "hv/vm/guest.h"
#include "hv/vm/msr.h"
#include "hv/vmx/vmx.h"
#include "rt/cpu.h"
#include "rt/log.h"
#include "rt/paging.h"
#include "rt/panic.h"
#include "rt/x86.h"
#include <stdlib.h>
#include <string.h>

#define XSAVE_MXCSR_OFFSET 24
#define MXCSR_RESET        0x1f80u
#define FCW_RESET          0x37fu

// Shared by all vCPUs: every port exits; MSRs pass or exit as hv/vm/msr.c says.
static phys_t io_bitmap = FRAME_NONE, msr_bitmap = FRAME_NONE;
static uint16_t next_vpid = 1;
static struct vcpu *loaded[CPU_MAX]; // whose state a CPU holds

static void build_msr_bitmap(uint8_t *bitmap)
{
    // SDM vol. 3, 25.6.9: read low, read high, write low, write high, 1 KiB each; a set bit exits.
    static const uint32_t first[2] = {0, 0xc0000000u};
    memset(bitmap, 0xff, FRAME_SIZE);
    for (unsigned half = 0; half < 2; half++) {
        for (uint32_t i = 0; i < 8192; i++) {
            uint32_t msr = first[half] + i;
            uint8_t mask = (uint8_t) ~(1u << (i & 7));
            if (msr == IA32_TSC_AUX && !(vmx_controls.secondary & SEC_RDTSCP))
                continue; // guests are not told of it, and it is not switched
            if (msr_passes(msr, false))
                bitmap[half * 1024 + i / 8] &= mask;
            if (msr_passes(msr, true))
                bitmap[2048 + half * 1024 + i / 8] &= mask;
        }
    }
}

static enum status build_bitmaps(void)
{
    if (msr_bitmap != FRAME_NONE)
        return OK;
    io_bitmap = frames_alloc(2, FRAME_SIZE, 0);
    phys_t bitmap = frames_alloc(1, FRAME_SIZE, 0);
    if (io_bitmap == FRAME_NONE || bitmap == FRAME_NONE)
        return ERR_NOMEM;
    memset(phys_to_virt(io_bitmap), 0xff, 2 * FRAME_SIZE);
    build_msr_bitmap(phys_to_virt(bitmap));
    msr_bitmap = bitmap;
    return OK;
}

enum status vmx_vcpu_create(struct vcpu *v, struct nested_map *map)
{
    if (build_bitmaps() != OK)
        return ERR_NOMEM;
    struct vmx_vcpu *x = calloc(1, sizeof *x);
    phys_t vmcs = frames_alloc(1, FRAME_SIZE, 0);
    phys_t xsave = frames_alloc(1, FRAME_SIZE, 0);
    if (!x || vmcs == FRAME_NONE || xsave == FRAME_NONE) {
        if (vmcs != FRAME_NONE)
            frames_free(vmcs, 1);
        if (xsave != FRAME_NONE)
            frames_free(xsave, 1);
        free(x);
        return ERR_NOMEM;
    }
    *(uint32_t *)phys_to_virt(vmcs) = (uint32_t)(vmx_msrs.basic & 0x7fffffff);
    x->vmcs = vmcs;
    x->xsave = phys_to_virt(xsave);
    x->vpid = next_vpid++;
    x->map = map;
    v->vmx = x;
    return OK;
}

void vmx_vcpu_destroy(struct vcpu *v)
{
    struct vmx_vcpu *x = v->vmx;
    if (loaded[v->cpu] == v)
        loaded[v->cpu] = NULL;
    (void)vmclear(x->vmcs);
    frames_free(x->vmcs, 1);
    frames_free(virt_to_phys(x->xsave), 1);
    free(x);
    v->vmx = NULL;
}

static void save(struct vmx_vcpu *x, struct vcpu *v)
{
    x->cr2 = read_cr2();
    x->dr0 = read_dr0();
    x->dr1 = read_dr1();
    x->dr2 = read_dr2();
    x->dr3 = read_dr3();
    x->dr6 = read_dr6();
    x->kernel_gs_base = rdmsr(IA32_KERNEL_GS_BASE);
    x->star = rdmsr(IA32_STAR);
    x->lstar = rdmsr(IA32_LSTAR);
    x->cstar = rdmsr(IA32_CSTAR);
    x->fmask = rdmsr(IA32_FMASK);
    if (vmx_controls.secondary & SEC_RDTSCP)
        x->tsc_aux = rdmsr(IA32_TSC_AUX);
    if (cpuid_xcr0_mask()) {
        v->xcr0 = xgetbv(0);
        xsetbv(0, cpuid_xcr0_mask());
        __asm__ volatile("xsave64 (%0)" : : "r"(x->xsave), "a"(-1), "d"(-1) : "memory");
    } else {
        __asm__ volatile("fxsave64 (%0)" : : "r"(x->xsave) : "memory");
    }
}

static void restore(const struct vmx_vcpu *x, const struct vcpu *v)
{
    write_cr2(x->cr2);
    write_dr0(x->dr0);
    write_dr1(x->dr1);
    write_dr2(x->dr2);
    write_dr3(x->dr3);
    write_dr6(x->dr6);
    wrmsr(IA32_KERNEL_GS_BASE, x->kernel_gs_base);
    wrmsr(IA32_STAR, x->star);
    wrmsr(IA32_LSTAR, x->lstar);
    wrmsr(IA32_CSTAR, x->cstar);
    wrmsr(IA32_FMASK, x->fmask);
    if (vmx_controls.secondary & SEC_RDTSCP)
        wrmsr(IA32_TSC_AUX, x->tsc_aux);
    if (cpuid_xcr0_mask()) {
        xsetbv(0, cpuid_xcr0_mask());
        __asm__ volatile("xrstor64 (%0)" : : "r"(x->xsave), "a"(-1), "d"(-1) : "memory");
        xsetbv(0, v->xcr0);
    } else {
        __asm__ volatile("fxrstor64 (%0)" : : "r"(x->xsave) : "memory");
    }
}

void vmx_vcpu_load(struct vcpu *v)
{
    struct vcpu **slot = &loaded[cpu_self()->index];
    if (*slot == v)
        return;
    if (*slot)
        save((*slot)->vmx, *slot);
    if (!vmptrld(v->vmx->vmcs))
        panic("VMPTRLD of vCPU %u failed", (unsigned)v->index);
    restore(v->vmx, v);
    *slot = v;
}

void vmx_vcpu_settled(const struct nested_map *map)
{
    struct vcpu *v = loaded[cpu_self()->index];
    if (v && v->vmx->map == map)
        v->vmx->epoch = map->epoch;
}

/// Does another vCPU of its guest run on its CPU?
static bool shares_cpu(const struct vcpu *v)
{
    for (uint32_t i = 0; i < v->guest->config->cpus; i++) {
        if (i != v->index && v->guest->vcpus[i].cpu == v->cpu)
            return true;
    }
    return false;
}

static void write_controls(struct vcpu *v)
{
    struct vmx_vcpu *x = v->vmx;
    x->cpu_controls = vmx_controls.cpu;
    vmwrite(PIN_BASED_CONTROLS, vmx_controls.pin);
    vmwrite(PROCESSOR_BASED_CONTROLS, x->cpu_controls);
    // A vCPU that spins waits for another of its guest's, which may need this very CPU. Gaps and the whole,
    // in ticks, as other hypervisors have them.
    bool spins = shares_cpu(v) && (vmx_controls.secondary & SEC_PAUSE_LOOP);
    vmwrite(SECONDARY_CONTROLS,
            spins ? vmx_controls.secondary : vmx_controls.secondary & ~(uint64_t)SEC_PAUSE_LOOP);
    if (spins) {
        vmwrite(PLE_GAP, 128);
        vmwrite(PLE_WINDOW, 4096);
    }
    vmwrite(VM_EXIT_CONTROLS, vmx_controls.exit);
    vmwrite(VM_ENTRY_CONTROLS, vmx_controls.entry & ~ENTRY_IA32E);
    // #DB and #AC can repeat for ever inside the CPU without a chance for the preemption timer; #MC is the
    // machine's.
    vmwrite(EXCEPTION_BITMAP, 1u << EXC_DB | 1u << EXC_AC | 1u << EXC_MC);
    vmwrite(PAGE_FAULT_ERROR_CODE_MASK, 0);
    vmwrite(PAGE_FAULT_ERROR_CODE_MATCH, 0);
    vmwrite(CR3_TARGET_COUNT, 0);
    vmwrite(VM_EXIT_MSR_STORE_COUNT, 0);
    vmwrite(VM_EXIT_MSR_LOAD_COUNT, 0);
    vmwrite(VM_ENTRY_MSR_LOAD_COUNT, 0);
    vmwrite(VM_ENTRY_INTERRUPTION_INFO, 0);
    vmwrite(IO_BITMAP_A, io_bitmap);
    vmwrite(IO_BITMAP_B, io_bitmap + FRAME_SIZE);
    vmwrite(MSR_BITMAP, msr_bitmap);
    vmwrite(TSC_OFFSET, v->tsc_offset);
    vmwrite(VMCS_LINK_POINTER, ~0ull);
    if (vmx_controls.vpid)
        vmwrite(VIRTUAL_PROCESSOR_ID, x->vpid);
}

static void write_host(struct vcpu *v)
{
    struct cpu *cpu = cpu_self();
    vmwrite(HOST_CR0, read_cr0());
    vmwrite(HOST_CR3, read_cr3());
    vmwrite(HOST_CR4, read_cr4());
    vmwrite(HOST_CS_SELECTOR, SEL_CODE64);
    vmwrite(HOST_SS_SELECTOR, SEL_DATA);
    vmwrite(HOST_DS_SELECTOR, SEL_DATA);
    vmwrite(HOST_ES_SELECTOR, SEL_DATA);
    vmwrite(HOST_FS_SELECTOR, 0);
    vmwrite(HOST_GS_SELECTOR, 0);
    vmwrite(HOST_TR_SELECTOR, SEL_TSS);
    vmwrite(HOST_FS_BASE, 0);
    vmwrite(HOST_GS_BASE, (uint64_t)(uintptr_t)cpu);
    vmwrite(HOST_TR_BASE, cpu->tss_base);
    vmwrite(HOST_GDTR_BASE, cpu->gdt_base);
    vmwrite(HOST_IDTR_BASE, sidt().base);
    vmwrite(HOST_SYSENTER_CS, 0);
    vmwrite(HOST_SYSENTER_ESP, 0);
    vmwrite(HOST_SYSENTER_EIP, 0);
    vmwrite(HOST_IA32_PAT, rdmsr(IA32_PAT));
    vmwrite(HOST_IA32_EFER, rdmsr(IA32_EFER));
    vmwrite(HOST_RSP, (uint64_t)(uintptr_t)&v->gpr[GPR_COUNT]);
    vmwrite(HOST_RIP, (uint64_t)(uintptr_t)vmx_exit_entry);
}

static void write_segment(unsigned i, const struct segment *s)
{
    // The eight segment groups are laid out alike in the VMCS: selector, limit, rights and base, two apart.
    vmwrite((enum vmcs_field)(GUEST_ES_SELECTOR + 2 * i), s->selector);
    vmwrite((enum vmcs_field)(GUEST_ES_LIMIT + 2 * i), s->limit);
    vmwrite((enum vmcs_field)(GUEST_ES_ACCESS_RIGHTS + 2 * i), s->access_rights);
    vmwrite((enum vmcs_field)(GUEST_ES_BASE + 2 * i), s->base);
}

static void write_guest(const struct vcpu_start *s)
{
    for (unsigned i = 0; i < SEG_COUNT; i++)
        write_segment(i, &s->segments[i]);
    vmwrite(GUEST_GDTR_BASE, s->gdtr.base);
    vmwrite(GUEST_GDTR_LIMIT, s->gdtr.limit);
    vmwrite(GUEST_IDTR_BASE, s->idtr.base);
    vmwrite(GUEST_IDTR_LIMIT, s->idtr.limit);
    vmwrite(GUEST_RIP, s->rip);
    vmwrite(GUEST_RSP, s->gpr[RSP]);
    vmwrite(GUEST_RFLAGS, s->rflags | RFLAGS_ONE);
    vmwrite(GUEST_CR3, s->cr3);
    // The guest sees what it wrote (read shadow); NE stays on, caches stay on, VMXE stays on and hidden.
    uint64_t cr0_forced = vmx_msrs.cr0_fixed0 & ~(CR0_PE | CR0_PG);
    vmwrite(CR0_GUEST_HOST_MASK, cr0_forced | CR0_CD | CR0_NW);
    vmwrite(CR0_READ_SHADOW, s->cr0);
    vmwrite(GUEST_CR0, ((s->cr0 & ~(CR0_CD | CR0_NW)) | cr0_forced) & vmx_msrs.cr0_fixed1);
    vmwrite(CR4_GUEST_HOST_MASK, ~cpuid_cr4_mask());
    vmwrite(CR4_READ_SHADOW, s->cr4);
    vmwrite(GUEST_CR4, (s->cr4 | vmx_msrs.cr4_fixed0) & vmx_msrs.cr4_fixed1);
    vmwrite(GUEST_IA32_EFER, s->efer);
    if (s->efer & EFER_LMA)
        vmwrite(VM_ENTRY_CONTROLS, vmread(VM_ENTRY_CONTROLS) | ENTRY_IA32E);
    vmwrite(GUEST_IA32_PAT, 0x0007040600070406ull);
    vmwrite(GUEST_IA32_DEBUGCTL, 0);
    vmwrite(GUEST_DR7, 0x400);
    vmwrite(GUEST_SYSENTER_CS, 0);
    vmwrite(GUEST_SYSENTER_ESP, 0);
    vmwrite(GUEST_SYSENTER_EIP, 0);
    vmwrite(GUEST_INTERRUPTIBILITY, 0);
    vmwrite(GUEST_ACTIVITY_STATE, ACTIVITY_ACTIVE);
    vmwrite(GUEST_PENDING_DEBUG_EXCEPTIONS, 0);
}

void vmx_vcpu_reset(struct vcpu *v, const struct vcpu_start *start)
{
    struct vmx_vcpu *x = v->vmx;
    struct vcpu **slot = &loaded[cpu_self()->index];

    if (*slot && *slot != v)
        save((*slot)->vmx, *slot);
    *slot = NULL;
    if (!vmclear(x->vmcs) || !vmptrld(x->vmcs))
        panic("VMCLEAR/VMPTRLD of vCPU %u failed", (unsigned)v->index);
    memcpy(v->gpr, start->gpr, sizeof v->gpr);
    v->launched = 0;
    v->event.valid = false;
    v->nmi_pending = false;
    v->xcr0 = cpuid_xcr0_mask() ? 1 : 0;
    *x = (struct vmx_vcpu){.vmcs = x->vmcs,
                           .map = x->map,
                           .vpid = x->vpid,
                           .xsave = x->xsave,
                           .dr6 = 0xffff0ff0,
                           .epoch = x->map->epoch};
    memset(x->xsave, 0, FRAME_SIZE);
    *(uint16_t *)x->xsave = FCW_RESET;
    *(uint32_t *)(x->xsave + XSAVE_MXCSR_OFFSET) = MXCSR_RESET;

    write_controls(v);
    write_host(v);
    write_guest(start);
    vmwrite(EPT_POINTER, x->map->eptp);
    invept(1, x->map->eptp);
    if (vmx_controls.vpid)
        invvpid(1, x->vpid);
    restore(x, v);
    *slot = v;
}
