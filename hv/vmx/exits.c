// SPDX-License-Identifier: BSD-2-Clause
// VM exits: one table indexed by the basic exit reason, one small handler a row. Handlers take what VMX says
// apart and call hv/vm. Invariant: a reason without a row stops that guest with a dump, never the machine.
#include "hv/vm/guest.h"
#include "hv/vm/sched.h"
#include "hv/vm/vm.h"
#include "hv/vmx/vmx.h"
#include "rt/irq.h"
#include "rt/trace.h"
#include "rt/trap.h"
#include "rt/x86.h"

typedef enum vm_result exit_handler(struct vcpu *v);

struct exit_row {
    exit_handler *handler;
    bool vectoring; // may come in the middle of an event's delivery (SDM vol. 3, 28.2.4)
    bool traced;    // its handler may reach a remote device
};

static inline uint64_t low32(uint64_t x)
{
    return x & 0xffffffffu;
}

static enum vm_result raise(struct vcpu *v, uint8_t vector, bool has_error)
{
    vmx_raise_vector(v, vector, has_error, 0);
    return VM_AGAIN;
}

static enum vm_result on_undefined(struct vcpu *v)
{
    return raise(v, EXC_UD, false);
}
static enum vm_result on_protected(struct vcpu *v)
{
    return raise(v, EXC_GP, true);
}

static enum vm_result on_cpuid(struct vcpu *v)
{
    vm_cpuid(v, vmread(GUEST_CR4));
    return VM_DONE;
}

static enum vm_result on_rdmsr(struct vcpu *v)
{
    uint64_t value;
    if (!vm_msr_read(v, (uint32_t)v->gpr[RCX], &value))
        return on_protected(v);
    v->gpr[RAX] = low32(value);
    v->gpr[RDX] = value >> 32;
    return VM_DONE;
}

static enum vm_result on_wrmsr(struct vcpu *v)
{
    uint64_t value = v->gpr[RDX] << 32 | low32(v->gpr[RAX]);
    if (!vm_msr_write(v, (uint32_t)v->gpr[RCX], value))
        return on_protected(v);
    if ((uint32_t)v->gpr[RCX] == IA32_TIME_STAMP_COUNTER)
        vmwrite(TSC_OFFSET, v->tsc_offset);
    return VM_DONE;
}

static enum vm_result on_xsetbv(struct vcpu *v)
{
    uint64_t value = v->gpr[RDX] << 32 | low32(v->gpr[RAX]);
    if ((vmread(GUEST_SS_ACCESS_RIGHTS) >> 5 & 3) != 0 ||
        !vm_xsetbv(v, (uint32_t)v->gpr[RCX], value, vmread(GUEST_CR4)))
        return on_protected(v);
    xsetbv(0, value);
    return VM_DONE;
}

static enum vm_result on_io(struct vcpu *v)
{
    // Exit qualification (SDM vol. 3, table 28-5)
    uint64_t q = vmread(EXIT_QUALIFICATION);
    unsigned size = (unsigned)(q & 7) + 1;
    bool in = (q & 8) != 0, string = (q & 0x10) != 0, rep = (q & 0x20) != 0;
    uint16_t port = (uint16_t)(q >> 16);

    if (!string) {
        if (in)
            vm_port_in(v, port, size);
        else
            vm_port_out(v, port, size);
        return VM_DONE;
    }
    // Instruction information (table 28-9): address size in bits 7-9, segment of OUTS in bits 15-17.
    uint32_t info = (uint32_t)vmread(VM_EXIT_INSTRUCTION_INFO);
    return vm_port_string(v, port, size, in, rep, 2u << (info >> 7 & 7),
                          in ? SEG_ES : (enum segment_index)(info >> 15 & 7));
}

/// What is rare with an EPT violation (SDM vol. 3, 28.2.4, 28.2.3). False: the guest was stopped.
static __attribute__((noinline, cold)) bool violation_aside(struct vcpu *v, uint64_t q)
{
    if (!v->event.valid) {
        if (q & EPT_NMI_UNBLOCK) // by an IRET that will be executed again, and unblocks them then
            vmwrite(GUEST_INTERRUPTIBILITY, vmread(GUEST_INTERRUPTIBILITY) | BLOCKING_BY_NMI);
        return true;
    }
    // Not an instruction's access but an event's delivery: there is nothing at RIP to emulate.
    uint64_t gpa = vmread(GUEST_PHYSICAL_ADDRESS);
    if (guest_memory_contains(v->guest, gpa))
        return true;
    (void)vm_stop(v, "delivering vector %u needed guest-physical 0x%llx, which is not memory",
                  (unsigned)(v->event.info & INTR_INFO_VECTOR), (unsigned long long)gpa);
    return false;
}

static enum vm_result on_ept_violation(struct vcpu *v)
{
    // Exit qualification (SDM vol. 3, table 28-7)
    uint64_t q = vmread(EXIT_QUALIFICATION);
    if (__builtin_expect(v->event.valid || (q & EPT_NMI_UNBLOCK), 0) && !violation_aside(v, q))
        return VM_STOP;
    bool is_operand = (q & 0x80) && (q & 0x100); // the linear address is valid, and it is the access itself
    return vm_memory_fault(v, vmread(GUEST_PHYSICAL_ADDRESS), (q & 2) != 0, (q & 4) != 0,
                           is_operand ? vmread(GUEST_LINEAR_ADDRESS) : 0, is_operand);
}

static enum vm_result on_ept_misconfiguration(struct vcpu *v)
{
    return vm_stop(v, "EPT misconfiguration at guest-physical 0x%llx: a defect of Farbus",
                   (unsigned long long)vmread(GUEST_PHYSICAL_ADDRESS));
}

static enum vm_result on_hlt(struct vcpu *v)
{
    v->halt_interruptible = (vmread(GUEST_RFLAGS) & RFLAGS_IF) != 0;
    uint32_t running = VCPU_RUNNABLE; // or another CPU's INIT was first
    (void)atomic_compare_exchange_strong(&v->state, &running, VCPU_HALTED);
    return VM_LEAVE;
}

static enum vm_result on_external_interrupt(struct vcpu *v)
{
    uint8_t vector = (uint8_t)vmread(VM_EXIT_INTERRUPTION_INFO);
    if (!v->vmx->aside) // else it is done already
        irq_dispatch(vector);
    return sched_is_kick(vector) ? VM_AGAIN : VM_LEAVE; // `attention` says what a kick was for
}

static enum vm_result on_leave(struct vcpu *v)
{
    (void)v;
    return VM_LEAVE;
}

static enum vm_result on_window(struct vcpu *v)
{
    atomic_fetch_or(&v->attention, ATTENTION_EVENT);
    return VM_AGAIN;
}

static enum vm_result on_exception(struct vcpu *v)
{
    uint32_t info = (uint32_t)vmread(VM_EXIT_INTERRUPTION_INFO);
    uint8_t vector = (uint8_t)info;
    if (info & INTR_INFO_NMI_UNBLOCK && !(vmread(IDT_VECTORING_INFO) & INTR_INFO_VALID) && vector != EXC_DF)
        vmwrite(GUEST_INTERRUPTIBILITY, vmread(GUEST_INTERRUPTIBILITY) | BLOCKING_BY_NMI);
    if ((info & INTR_INFO_TYPE) == INTR_TYPE_NMI) {
        trap_nmi(); // another CPU's panic stops this one
        return VM_LEAVE;
    }
    switch (vector) {
    case EXC_MC:
        return vm_stop(v, "machine check while it was running");
    case EXC_DB:
        // DR6 is not updated by a #DB that exits (SDM vol. 3, 28.1); the qualification holds the new bits.
        // Nor is DR7.GD cleared, which would keep the handler from its own debug registers.
        write_dr6((read_dr6() & ~0xfull) | (vmread(EXIT_QUALIFICATION) & 0x600f) | 0xffff0ff0);
        vmwrite(GUEST_DR7, vmread(GUEST_DR7) & ~(uint64_t)DR7_GD);
        if ((info & INTR_INFO_TYPE) == INTR_TYPE_PRIV_SW) { // ICEBP
            v->event.valid = true;
            v->event.info = INTR_INFO_VALID | INTR_TYPE_PRIV_SW | EXC_DB;
            v->event.has_error = false;
            v->event.length = (uint32_t)vmread(VM_EXIT_INSTRUCTION_LENGTH);
            atomic_fetch_or(&v->attention, ATTENTION_EVENT);
            return VM_AGAIN;
        }
        vmx_raise_vector(v, EXC_DB, false, 0);
        return VM_AGAIN;
    default:
        vmx_raise_vector(v, vector, (info & INTR_INFO_ERROR_CODE) != 0,
                         (uint32_t)vmread(VM_EXIT_INTERRUPTION_ERROR_CODE));
        return VM_AGAIN;
    }
}

static enum vm_result on_triple_fault(struct vcpu *v)
{
    return vm_stop(v, "triple fault at rip 0x%llx", (unsigned long long)vmread(GUEST_RIP));
}

static enum vm_result on_task_switch(struct vcpu *v)
{
    return vm_stop(v, "hardware task switch at rip 0x%llx: Farbus does not emulate task gates",
                   (unsigned long long)vmread(GUEST_RIP));
}

static enum vm_result on_entry_failure(struct vcpu *v)
{
    return vm_stop(v, "VM entry refused by the CPU (%s): the guest reached a state that VT-x does not allow",
                   vmx_reason_name((uint32_t)vmread(EXIT_REASON) & 0xffff));
}

static enum vm_result on_nothing(struct vcpu *v)
{
    (void)v;
    return VM_DONE;
}

/// MOV to CR0 or LMSW that changes a bit we keep (NE, CD, NW, reserved): what the CPU would do (SDM vol.
/// 3, 2.5, 4.1.2, 10.8.5).
static enum vm_result write_guest_cr0(struct vcpu *v, uint64_t value)
{
    uint64_t old = vmread(GUEST_CR0), cr4 = vmread(GUEST_CR4), efer = vmread(GUEST_IA32_EFER);
    bool was_pg = (old & CR0_PG) != 0;

    if (!(efer & EFER_LMA) || !(vmread(GUEST_CS_ACCESS_RIGHTS) & 0x2000)) // CS.L: else a 32-bit operand
        value = low32(value);
    bool pg = (value & CR0_PG) != 0;
    value |= CR0_ET;
    if (value >> 32 || (pg && !(value & CR0_PE)) || ((value & CR0_NW) && !(value & CR0_CD)) ||
        (!pg && was_pg && (cr4 & CR4_PCIDE)))
        return on_protected(v);
    if (pg && !was_pg && (efer & EFER_LME)) {
        if (!(cr4 & CR4_PAE) || (vmread(GUEST_CS_ACCESS_RIGHTS) & 0x2000)) // CS.L
            return on_protected(v);
        vmwrite(GUEST_IA32_EFER, efer | EFER_LMA);
        vmwrite(VM_ENTRY_CONTROLS, vmread(VM_ENTRY_CONTROLS) | ENTRY_IA32E);
    } else if (!pg && was_pg && (efer & EFER_LMA)) {
        if (vmread(GUEST_CS_ACCESS_RIGHTS) & 0x2000)
            return on_protected(v);
        vmwrite(GUEST_IA32_EFER, efer & ~EFER_LMA);
        vmwrite(VM_ENTRY_CONTROLS, vmread(VM_ENTRY_CONTROLS) & ~(uint64_t)ENTRY_IA32E);
    } else if (pg && !(efer & EFER_LME) && (cr4 & CR4_PAE)) {
        uint64_t room;
        const uint64_t *pdpt = guest_memory_at(v->guest, vmread(GUEST_CR3) & 0xffffffe0u, &room);
        if (!pdpt || room < 32)
            return on_protected(v);
        for (unsigned i = 0; i < 4; i++) {
            uint64_t entry = __atomic_load_n(&pdpt[i], __ATOMIC_RELAXED); // other vCPUs may be writing it
            if ((entry & 1) && (entry & 0x1e6))
                return on_protected(v);
            vmwrite((enum vmcs_field)(GUEST_PDPTE0 + 2 * i), entry);
        }
    }
    uint64_t forced = vmx_msrs.cr0_fixed0 & ~(CR0_PE | CR0_PG);
    vmwrite(CR0_READ_SHADOW, value);
    vmwrite(GUEST_CR0, ((value & ~(CR0_CD | CR0_NW)) | forced) & vmx_msrs.cr0_fixed1);
    if (vmx_controls.vpid)
        invvpid(1, v->vmx->vpid);
    return VM_DONE;
}

static uint64_t read_gpr(struct vcpu *v, unsigned n)
{
    return n == RSP ? vmread(GUEST_RSP) : v->gpr[n];
}

static enum vm_result on_cr_access(struct vcpu *v)
{
    // Exit qualification (SDM vol. 3, table 28-3)
    uint64_t q = vmread(EXIT_QUALIFICATION);
    unsigned cr = q & 15, type = q >> 4 & 3, reg = q >> 8 & 15;
    enum { MOV_TO, MOV_FROM, CLTS, LMSW };
    uint64_t now = vm_guest_tsc(v, rdtsc());

    if (cr == 0 && type == MOV_TO)
        return write_guest_cr0(v, read_gpr(v, reg));
    if (cr == 0 && type == LMSW) {
        uint64_t shadow = (vmread(GUEST_CR0) & ~vmread(CR0_GUEST_HOST_MASK)) |
                          (vmread(CR0_READ_SHADOW) & vmread(CR0_GUEST_HOST_MASK));
        uint64_t word = q >> 16 & 0xf;
        return write_guest_cr0(v, (shadow & ~0xeull) | word | (shadow & CR0_PE));
    }
    if (cr == 4 && type == MOV_TO)
        return on_protected(v); // only bits that this guest's CPUID does not offer are kept from it
    if (cr == 8 && type == MOV_TO) {
        uint64_t value = read_gpr(v, reg);
        if (value > 15)
            return on_protected(v);
        lapic_write(&v->lapic, 0x80, (uint32_t)value << 4, now);
        atomic_fetch_or(&v->attention, ATTENTION_EVENT);
        return VM_DONE;
    }
    if (cr == 8 && type == MOV_FROM) {
        uint64_t value = lapic_read(&v->lapic, 0x80, now) >> 4 & 15;
        if (reg == RSP)
            vmwrite(GUEST_RSP, value);
        else
            v->gpr[reg] = value;
        return VM_DONE;
    }
    return vm_stop(v, "control-register exit that was not asked for (qualification 0x%llx)",
                   (unsigned long long)q);
}

static const struct exit_row exit_table[EXIT_REASON_COUNT] = {
    [REASON_EXCEPTION_OR_NMI] = {on_exception, .vectoring = true},
    [REASON_EXTERNAL_INTERRUPT] = {on_external_interrupt},
    [REASON_TRIPLE_FAULT] = {on_triple_fault},
    [REASON_INIT_SIGNAL] = {on_leave},
    [REASON_INTERRUPT_WINDOW] = {on_window},
    [REASON_NMI_WINDOW] = {on_window},
    [REASON_TASK_SWITCH] = {on_task_switch, .vectoring = true},
    [REASON_CPUID] = {on_cpuid},
    [REASON_GETSEC] = {on_undefined},
    [REASON_HLT] = {on_hlt},
    [REASON_INVD] = {on_nothing},   // caches are coherent, and others' data is in them
    [REASON_WBINVD] = {on_nothing}, // the same; and it would stall every other guest
    [REASON_RDPMC] = {on_protected},
    [REASON_VMCALL] = {on_undefined},
    [REASON_VMCLEAR] = {on_undefined},
    [REASON_VMLAUNCH] = {on_undefined},
    [REASON_VMPTRLD] = {on_undefined},
    [REASON_VMPTRST] = {on_undefined},
    [REASON_VMREAD] = {on_undefined},
    [REASON_VMRESUME] = {on_undefined},
    [REASON_VMWRITE] = {on_undefined},
    [REASON_VMXOFF] = {on_undefined},
    [REASON_VMXON] = {on_undefined},
    [REASON_INVEPT] = {on_undefined},
    [REASON_INVVPID] = {on_undefined},
    [REASON_VMFUNC] = {on_undefined},
    [REASON_CR_ACCESS] = {on_cr_access},
    [REASON_IO_INSTRUCTION] = {on_io},
    [REASON_RDMSR] = {on_rdmsr},
    [REASON_WRMSR] = {on_wrmsr},
    [REASON_ENTRY_FAILURE_GUEST_STATE] = {on_entry_failure},
    [REASON_ENTRY_FAILURE_MSR_LOADING] = {on_entry_failure},
    [REASON_ENTRY_FAILURE_MACHINE_CHECK] = {on_entry_failure},
    [REASON_MWAIT] = {on_undefined},
    [REASON_MONITOR] = {on_undefined},
    [REASON_PAUSE] = {on_leave}, // it spins: the guest's other vCPUs have their turn
    [REASON_EPT_VIOLATION] = {on_ept_violation, .vectoring = true, .traced = true},
    [REASON_EPT_MISCONFIGURATION] = {on_ept_misconfiguration},
    [REASON_PREEMPTION_TIMER] = {on_leave},
    [REASON_XSETBV] = {on_xsetbv},
    // On CPUs with TDX anybody in a guest can make these two exit: no CPL is looked at before.
    [REASON_SEAMCALL] = {on_undefined},
    [REASON_TDCALL] = {on_undefined},
};

const char *vmx_reason_name(uint32_t basic_reason)
{
    static const char *const names[EXIT_REASON_COUNT] = {
#define X(name, number) [number] = #name,
        EXIT_REASONS(X)
#undef X
    };
    return basic_reason < EXIT_REASON_COUNT && names[basic_reason] ? names[basic_reason] : "?";
}

/// The instruction is done: RIP past it, STI/MOV SS shadow over, single-step trap due (SDM vol.
/// 3, 27.3.1.5, 28.5.1).
static inline void skip_instruction(struct vcpu *v)
{
    uint64_t rip = vmread(GUEST_RIP), next = rip + vmread(VM_EXIT_INSTRUCTION_LENGTH);
    if (__builtin_expect(vmx_passes_4g(rip, next), 0) &&
        (!(vmread(GUEST_IA32_EFER) & EFER_LMA) || !(vmread(GUEST_CS_ACCESS_RIGHTS) & 0x2000))) // CS.L
        next = low32(next);
    vmwrite(GUEST_RIP, next);
    uint64_t blocking = vmread(GUEST_INTERRUPTIBILITY);
    if (__builtin_expect((blocking & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS)) != 0, 0))
        vmwrite(GUEST_INTERRUPTIBILITY, blocking & ~(uint64_t)(BLOCKING_BY_STI | BLOCKING_BY_MOV_SS));
    if (__builtin_expect((vmread(GUEST_RFLAGS) & RFLAGS_TF) != 0, 0)) {
        write_dr6(read_dr6() | 0x4000); // BS
        vmx_raise_vector(v, EXC_DB, false, 0);
    }
}

/// What is rare: not simply "instruction done, enter again". False: back to the scheduler.
static bool finish_exit(struct vcpu *v, enum vm_result result)
{
    if (result == VM_DONE || result == VM_LEAVE) {
        uint32_t reason = (uint32_t)vmread(EXIT_REASON) & 0xffff;
        bool instruction = reason != REASON_EXTERNAL_INTERRUPT && reason != REASON_PREEMPTION_TIMER &&
                           reason != REASON_EXCEPTION_OR_NMI && reason != REASON_INIT_SIGNAL;
        if (instruction)
            skip_instruction(v);
    }
    if (result == VM_LEAVE || result == VM_STOP)
        return false;
    uint32_t attention = atomic_load_explicit(&v->attention, memory_order_relaxed);
    // Before anything is accepted for injection: what has been accepted must enter, for the next
    // vmx_prepare_entry() would write over it.
    if ((attention & ATTENTION_LEAVE) || rdtsc() >= v->slice_end_tsc)
        return false;
    if (attention & ATTENTION_EVENT)
        vmx_prepare_entry(v);
    return true;
}

void vmx_entry_aside(struct vcpu *v)
{
    struct nested_map *map = v->vmx->map;
    if (v->guest->spread && v->vmx->epoch != map->epoch) {
        invept(1, map->eptp);
        v->vmx->epoch = map->epoch;
    }
    v->entered_tsc = rdtsc();
    vm_inside(v);
}

/// Another vCPU's INIT came while this one was on its way out: it is as after INIT already, and what it
/// wanted would be done by a processor that is not there any more. (Interrupts of this machine's own are seen
/// to.)
static bool was_initialized(const struct vcpu *v)
{
    if (__builtin_expect(atomic_load_explicit(&v->state, memory_order_relaxed) == VCPU_RUNNABLE, 1))
        return false;
    uint32_t reason = (uint32_t)vmread(EXIT_REASON) & 0xffff;
    return reason != REASON_EXTERNAL_INTERRUPT && reason != REASON_EXCEPTION_OR_NMI;
}

/// What this machine's own interrupt was for, and its EOI: before the guest's lock is waited for, because
/// others run here meanwhile, and they are called by interrupts.
static void take_interrupt(void)
{
    uint32_t reason = (uint32_t)vmread(EXIT_REASON) & 0xffff;
    if (__builtin_expect(reason != REASON_EXTERNAL_INTERRUPT && reason != REASON_EXCEPTION_OR_NMI, 1))
        return;
    uint32_t info = (uint32_t)vmread(VM_EXIT_INTERRUPTION_INFO);
    if (reason == REASON_EXTERNAL_INTERRUPT)
        irq_dispatch((uint8_t)info);
    else if ((info & INTR_INFO_TYPE) == INTR_TYPE_NMI)
        trap_nmi();
}

bool vmx_exit_aside(struct vcpu *v)
{
    if (v->timed)
        v->guest_tsc += rdtsc() - v->entered_tsc;
    take_interrupt();
    vm_outside(v);
    bool again = !was_initialized(v) && vmx_exit(v);
    if (again)
        vmx_entry_aside(v);
    return again;
}

bool vmx_exit(struct vcpu *v)
{
    uint32_t reason = (uint32_t)vmread(EXIT_REASON) & 0xffff;
    if (__builtin_expect(reason >= EXIT_REASON_COUNT || !exit_table[reason].handler, 0)) {
        (void)vm_stop(v, "VM exit for a reason Farbus does not know (%u, %s)", (unsigned)reason,
                      vmx_reason_name(reason));
        return false;
    }
    const struct exit_row *row = &exit_table[reason];
    v->exits[reason]++;
    if (row->vectoring)
        vmx_keep_vectoring(v);
    if (row->traced)
        trace(TRACE_EXIT, reason);

    enum vm_result result = row->handler(v);
    if (__builtin_expect(result == VM_DONE, 1)) {
        skip_instruction(v);
        if (__builtin_expect(atomic_load_explicit(&v->attention, memory_order_relaxed) == 0, 1)) {
            if (row->traced)
                trace(TRACE_ENTRY, reason);
            return rdtsc() < v->slice_end_tsc;
        }
        result = VM_AGAIN;
    }
    if (!finish_exit(v, result))
        return false;
    if (row->traced)
        trace(TRACE_ENTRY, reason);
    return true;
}
