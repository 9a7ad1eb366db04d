// SPDX-License-Identifier: BSD-2-Clause
// What hv/vm asks of a CPU's virtualization extension. hv/vmx is the one that exists; AMD-V would be a
// second. The exit path is not here: it belongs to the extension, which calls the vm_* functions below with
// plain values.
#pragma once
#include "hv/vm/vcpu.h"
#include "rt/frames.h"
#include "rt/status.h"
#include <stdbool.h>
#include <stdint.h>

struct segment {
    uint16_t selector;
    uint32_t limit;
    uint32_t access_rights; // VMX format (SDM vol. 3, table 25-2): type, S, DPL, P, AVL, L, D/B, G, unusable
                            // = bit 16
    uint64_t base;
};

enum segment_index { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, SEG_COUNT };

/// Everything a vCPU starts with.
struct vcpu_start {
    uint64_t gpr[GPR_COUNT];
    uint64_t rip, rflags, cr0, cr3, cr4, efer;
    struct segment segments[SEG_COUNT];
    struct {
        uint64_t base;
        uint32_t limit;
    } gdtr, idtr;
};

/// What instruction emulation and address translation need to see.
struct vcpu_view {
    uint64_t rip, rflags, cr0, cr3, cr4, efer;
    uint64_t segment_base[6];
    uint64_t pdpte[4]; // PAE paging only
    uint32_t cs_rights, ss_rights;
};

enum run_result {
    RUN_SLICE,  // its time is over, or something wants the scheduler
    RUN_HALTED, // HLT
    RUN_FAILED, // stopped; the reason has been reported
};

struct nested_map; // a guest's nested page tables (EPT)

struct virt_ops {
    const char *name;
    /// Turns the extension on, on this CPU. The reason for a failure is logged.
    MUST_CHECK enum status (*cpu_start)(void);
    /// Instructions that guests may be offered only if the extension lets them run. After cpu_start.
    void (*offers)(bool *rdtscp, bool *invpcid);
    MUST_CHECK enum status (*map_create)(struct nested_map **map);
    void (*map_destroy)(struct nested_map *map);
    /// Takes everything out of the map. On the CPU that runs the guest; no vCPU is running.
    void (*map_clear)(struct nested_map *map);
    /// Maps gpa -> hpa, read/write/execute, write-back. size = 4 KiB or 2 MiB, everything aligned to it.
    MUST_CHECK enum status (*map_ram)(struct nested_map *map, uint64_t gpa, phys_t hpa, uint64_t size);
    // Which pages were written (SDM vol. 3, 29.3.5). All on the CPU that runs the guest, between an exit and
    // the next entry; watch and dirty while no other vCPU is inside it, either.
    /// From now on the 4 KiB page that holds gpa is told from its neighbours. False: it is not mapped, or
    /// this machine has no dirty bits, or no memory for tables: take it as always written.
    bool (*map_watch)(struct nested_map *map, uint64_t gpa);
    /// Was it written by the guest, or map_mark()ed, since the last call (the first: since it was mapped)?
    /// Clears that. True also for whatever is not watched.
    bool (*map_dirty)(struct nested_map *map, uint64_t gpa);
    /// Of a watched page: the word and the bit in which the CPU notes that it was written. NULL: there is
    /// none. Good until map_clear.
    const volatile uint64_t *(*map_note)(struct nested_map *map, uint64_t gpa, uint64_t *mask);
    /// We wrote it ourselves, for the guest.
    void (*map_mark)(struct nested_map *map, uint64_t gpa);
    /// Must come between a map_dirty() that said true and the next entry of any vCPU. Costs one load when
    /// nothing is to do.
    void (*map_settle)(struct nested_map *map);
    MUST_CHECK enum status (*vcpu_create)(struct vcpu *v, struct nested_map *map);
    void (*vcpu_destroy)(struct vcpu *v);
    /// Puts the vCPU into a start state. The vCPU is not running.
    void (*vcpu_reset)(struct vcpu *v, const struct vcpu_start *start);
    /// Runs the vCPU on this CPU until v->slice_end_tsc or until something wants the scheduler.
    enum run_result (*run)(struct vcpu *v);
    // The following: only on the CPU that runs the vCPU, between its exit and its next entry.
    /// Other vCPUs have run on this CPU meanwhile: it goes on with this one's exit.
    void (*go_on)(struct vcpu *v);
    void (*view)(struct vcpu *v, struct vcpu_view *view); // fills gpr[RSP] too
    void (*finish)(struct vcpu *v, uint64_t rip,
                   uint64_t rflags); // an emulated instruction is done; writes gpr[RSP] back
    void (*raise)(struct vcpu *v, const struct emulate_fault *fault); // exception at the next entry
    /// Registers, control structure and last events on the console.
    void (*dump)(struct vcpu *v);
};

extern const struct virt_ops vmx_virt_ops;
