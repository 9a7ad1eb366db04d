// SPDX-License-Identifier: BSD-2-Clause
// Running a vCPU for a slice, looking at its registers, and the dump when it fails. The table at the end is
// what hv/vm sees of VMX.
#include "hv/vm/guest.h"
#include "hv/vm/vm.h"
#include "hv/vmx/vmx.h"
#include "rt/log.h"
#include "rt/x86.h"

enum run_result vmx_run(struct vcpu *v)
{
    vmx_vcpu_load(v);
    uint64_t now = rdtsc();
    uint64_t left = v->slice_end_tsc > now ? v->slice_end_tsc - now : 0;
    uint64_t ticks = (left >> vmx_controls.timer_shift) + 1;
    vmwrite(TSC_OFFSET, v->tsc_offset); // a pause changes it
    vmwrite(VMX_PREEMPTION_TIMER_VALUE, ticks > UINT32_MAX ? UINT32_MAX : ticks);
    vmx_prepare_entry(v);
    bool aside = v->timed || v->guest->spread;
    if (aside != v->vmx->aside) {
        v->vmx->aside = aside;
        vmwrite(HOST_RIP, (uint64_t)(uintptr_t)(aside ? vmx_exit_entry_aside : vmx_exit_entry));
    }
    v->entries++;
    vmx_entry_aside(v);
    if (!vmx_enter(v)) {
        vm_outside(v);
        (void)vm_stop(v, "VM entry failed with VM-instruction error %u",
                      (unsigned)vmread(VM_INSTRUCTION_ERROR));
        return RUN_FAILED;
    }
    v->launched = 1;
    switch (atomic_load(&v->state)) {
    case VCPU_HALTED:
        return RUN_HALTED;
    case VCPU_STOPPED:
        return RUN_FAILED;
    default:
        return RUN_SLICE;
    }
}

void vmx_view(struct vcpu *v, struct vcpu_view *view)
{
    v->gpr[RSP] = vmread(GUEST_RSP);
    view->rip = vmread(GUEST_RIP);
    view->rflags = vmread(GUEST_RFLAGS);
    view->cr0 = vmread(GUEST_CR0);
    view->cr3 = vmread(GUEST_CR3);
    view->cr4 = vmread(GUEST_CR4);
    view->efer = vmread(GUEST_IA32_EFER);
    for (unsigned i = 0; i < 6; i++)
        view->segment_base[i] = vmread((enum vmcs_field)(GUEST_ES_BASE + 2 * i));
    view->cs_rights = (uint32_t)vmread(GUEST_CS_ACCESS_RIGHTS);
    view->ss_rights = (uint32_t)vmread(GUEST_SS_ACCESS_RIGHTS);
    if ((view->cr4 & CR4_PAE) && (view->cr0 & CR0_PG) && !(view->efer & EFER_LMA)) {
        for (unsigned i = 0; i < 4; i++)
            view->pdpte[i] = vmread((enum vmcs_field)(GUEST_PDPTE0 + 2 * i));
    }
}

void vmx_finish(struct vcpu *v, uint64_t rip, uint64_t rflags)
{
    vmwrite(GUEST_RIP, rip);
    vmwrite(GUEST_RFLAGS, rflags);
    vmwrite(GUEST_RSP, v->gpr[RSP]);
    uint64_t blocking = vmread(GUEST_INTERRUPTIBILITY);
    if (blocking & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS))
        vmwrite(GUEST_INTERRUPTIBILITY, blocking & ~(uint64_t)(BLOCKING_BY_STI | BLOCKING_BY_MOV_SS));
    if (rflags & RFLAGS_TF) {
        write_dr6(read_dr6() | 0x4000); // BS
        vmx_raise_vector(v, EXC_DB, false, 0);
    }
}

static void dump_registers(const struct vcpu *v, const char *who)
{
    static const char *const names[GPR_COUNT] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                                 "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    for (unsigned i = 0; i < GPR_COUNT; i += 4)
        log_error(who, "  %-3s %016llx  %-3s %016llx  %-3s %016llx  %-3s %016llx", names[i],
                  (unsigned long long)v->gpr[i], names[i + 1], (unsigned long long)v->gpr[i + 1],
                  names[i + 2], (unsigned long long)v->gpr[i + 2], names[i + 3],
                  (unsigned long long)v->gpr[i + 3]);
}

void vmx_dump(struct vcpu *v)
{
    static const struct {
        const char *name;
        enum vmcs_field field;
    } fields[] = {
#define X(name, encoding) {#name, name},
        VMCS_FIELDS(X)
#undef X
    };
    const char *who = v->guest->config->name;

    v->gpr[RSP] = vmread(GUEST_RSP);
    log_error(who, "vCPU %u on CPU %u, last exit: %s", (unsigned)v->index, (unsigned)v->cpu,
              vmx_reason_name((uint32_t)vmread(EXIT_REASON) & 0xffff));
    dump_registers(v, who);
    const unsigned count = sizeof fields / sizeof *fields;
    for (unsigned i = 0; i < count; i += 2) {
        bool pair = i + 1 < count;
        log_error(who, "  %-30s %016llx  %-30s %016llx", fields[i].name,
                  (unsigned long long)vmread(fields[i].field), pair ? fields[i + 1].name : "",
                  pair ? (unsigned long long)vmread(fields[i + 1].field) : 0);
    }
}

static void vmx_offers(bool *rdtscp, bool *invpcid)
{
    *rdtscp = (vmx_controls.secondary & SEC_RDTSCP) != 0;
    *invpcid = (vmx_controls.secondary & SEC_INVPCID) != 0;
}

static void map_settle(struct nested_map *map)
{
    if (!map->stale)
        return;
    invept(1, map->eptp);
    map->stale = false;
    map->epoch++; // the other CPUs do it before their next entry
    vmx_vcpu_settled(map);
}

static void map_clear(struct nested_map *map)
{
    ept_clear(map);
    map_settle(map);
}

const struct virt_ops vmx_virt_ops = {
    .name = "VT-x",
    .cpu_start = vmx_cpu_start,
    .offers = vmx_offers,
    .map_create = ept_create,
    .map_destroy = ept_destroy,
    .map_clear = map_clear,
    .map_ram = ept_map,
    .map_watch = ept_watch,
    .map_dirty = ept_dirty,
    .map_note = ept_note,
    .map_mark = ept_mark,
    .map_settle = map_settle,
    .vcpu_create = vmx_vcpu_create,
    .vcpu_destroy = vmx_vcpu_destroy,
    .vcpu_reset = vmx_vcpu_reset,
    .run = vmx_run,
    .go_on = vmx_vcpu_load,
    .view = vmx_view,
    .finish = vmx_finish,
    .raise = vmx_raise,
    .dump = vmx_dump,
};
