// SPDX-License-Identifier: BSD-2-Clause
// Inside hv/vmx: what its files share. Nothing outside hv/vmx includes this.
#pragma once
#include "hv/vm/virt.h"
#include "hv/vmx/caps.h"
#include "hv/vmx/insn.h"
#include "hv/vmx/reasons.h"
#include "rt/frames.h"

/// The control words all CPUs run with (the same on every CPU: checked at start).
extern struct vmx_controls vmx_controls;
extern struct vmx_msrs vmx_msrs;

struct nested_map {
    phys_t root; // EPT PML4
    uint64_t eptp;
    uint64_t last_region, *last_table; // gpa >> 21, and the page table there, where one was looked at last
    bool stale;                        // cached translations may say otherwise than the tables
    uint32_t epoch;                    // of the tables: every CPU drops what it has cached of an earlier one
};

/// CPU state that neither the VMCS nor struct vcpu holds while another vCPU has the CPU.
struct vmx_vcpu {
    phys_t vmcs;
    struct nested_map *map;
    uint16_t vpid;
    uint8_t *xsave; // one frame, in our address space
    uint64_t cr2, dr0, dr1, dr2, dr3, dr6;
    uint64_t kernel_gs_base, star, lstar, cstar, fmask, tsc_aux;
    uint32_t cpu_controls; // as last written to PROCESSOR_BASED_CONTROLS
    bool aside;            // HOST_RIP is vmx_exit_entry_aside
    uint32_t epoch;        // of the map, when this vCPU's CPU last dropped what it had cached
};

enum status vmx_cpu_start(void);

enum status ept_create(struct nested_map **map);
void ept_destroy(struct nested_map *map);
void ept_clear(struct nested_map *map);
enum status ept_map(struct nested_map *map, uint64_t gpa, phys_t hpa, uint64_t size);
bool ept_watch(struct nested_map *map, uint64_t gpa);
bool ept_dirty(struct nested_map *map, uint64_t gpa);
const volatile uint64_t *ept_note(struct nested_map *map, uint64_t gpa, uint64_t *mask);
void ept_mark(struct nested_map *map, uint64_t gpa);

enum status vmx_vcpu_create(struct vcpu *v, struct nested_map *map);
void vmx_vcpu_destroy(struct vcpu *v);
void vmx_vcpu_reset(struct vcpu *v, const struct vcpu_start *start);
/// Makes v the vCPU whose VMCS and registers this CPU holds.
void vmx_vcpu_load(struct vcpu *v);
/// This CPU has just dropped what it had cached of a map.
void vmx_vcpu_settled(const struct nested_map *map);

enum run_result vmx_run(struct vcpu *v);
void vmx_view(struct vcpu *v, struct vcpu_view *view);
void vmx_finish(struct vcpu *v, uint64_t rip, uint64_t rflags);
void vmx_raise(struct vcpu *v, const struct emulate_fault *fault);
void vmx_raise_vector(struct vcpu *v, uint8_t vector, bool has_error, uint32_t error);
void vmx_dump(struct vcpu *v);

/// Decides what the next VM entry injects, from v->event, NMIs and the local APIC.
void vmx_prepare_entry(struct vcpu *v);
/// Keeps an event that was being delivered when the exit came, to be delivered again (SDM vol. 3, 28.2.4).
void vmx_keep_vectoring(struct vcpu *v);

/// Did RIP leave the first 4 GiB with this instruction? Outside of 64-bit mode it is at 0 then: VM entry
/// refuses anything else (SDM vol. 3, 27.3.1.4), and who runs there may be no more than a user's program.
static inline bool vmx_passes_4g(uint64_t rip, uint64_t next)
{
    return ((rip ^ next) >> 31) == 3;
}

// run.S
bool vmx_enter(struct vcpu *v);
void vmx_exit_entry(void);
void vmx_exit_entry_aside(void);
/// Called by run.S on every VM exit. True: enter again at once.
bool vmx_exit(struct vcpu *v);
/// The same for vCPUs that need more: whose time is counted, or whose guest is spread over CPUs.
bool vmx_exit_aside(struct vcpu *v);
/// The last thing before an entry with what vmx_exit_aside() is for.
void vmx_entry_aside(struct vcpu *v);
