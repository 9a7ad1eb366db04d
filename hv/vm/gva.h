// SPDX-License-Identifier: BSD-2-Clause
// Translates a guest's linear address as its MMU would (SDM vol. 3, ch. 4): no paging, 32-bit, PAE, 4-level;
// permission checks, accessed and dirty bits. Must not know VMX. Compiles on the build machine.
#pragma once
#include "hv/vm/emulate.h"
#include <stdbool.h>
#include <stdint.h>

enum gva_access { GVA_READ, GVA_WRITE, GVA_FETCH };

struct gva_mmu {
    uint64_t cr0, cr3, cr4, efer, rflags;
    uint64_t pdpte[4]; // PAE
    bool user;         // CPL 3
    /// The page-table page at a guest-physical address (4 KiB aligned), or NULL when it is not RAM.
    void *(*table)(void *ctx, uint64_t gpa);
    /// An accessed or dirty bit was set in the page-table page that holds gpa. May be NULL.
    void (*written)(void *ctx, uint64_t gpa);
    void *ctx;
};

/// True: *gpa. False: *fault is the page fault (#PF) or the general protection fault (non-canonical address).
bool gva_translate(const struct gva_mmu *mmu, uint64_t linear, enum gva_access access, uint64_t *gpa,
                   struct emulate_fault *fault);
