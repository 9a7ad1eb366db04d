// SPDX-License-Identifier: BSD-2-Clause
// 4-level page tables as data (SDM vol. 3, 4.5): making, looking up, auditing. Loads nothing into CR3;
// compiles on the build machine. Tables come from frames_alloc and are reached through phys_to_virt.
#pragma once
#include "rt/paging.h"
#include "rt/status.h"

#define PTE_P    (1ull << 0)
#define PTE_W    (1ull << 1)
#define PTE_U    (1ull << 2)
#define PTE_PWT  (1ull << 3)
#define PTE_PCD  (1ull << 4)
#define PTE_A    (1ull << 5)
#define PTE_D    (1ull << 6)
#define PTE_PS   (1ull << 7)
#define PTE_G    (1ull << 8)
#define PTE_NX   (1ull << 63)
#define PTE_ADDR 0x000ffffffffff000ull

/// Maps [virt, virt + size) to [phys, ...) with `flags` (PTE_W, PTE_NX, PTE_PWT, PTE_PCD), all multiples of
/// 4096, with the largest pages that fit, none above `largest` (4 KiB, 2 MiB or 1 GiB). ERR_BUSY: something
/// is mapped there (what came before it stays mapped); ERR_NOMEM: no frame for a table; ERR_INVAL: alignment,
/// or writable and executable at once.
MUST_CHECK enum status pagetable_map(phys_t root, uint64_t virt, phys_t phys, uint64_t size, uint64_t flags,
                                     uint64_t largest);
/// The leaf that maps `virt`: its entry with the rights of all levels folded in (PTE_W only if all have it,
/// PTE_NX if one has it); 0: not mapped.
uint64_t pagetable_lookup(phys_t root, uint64_t virt);
struct paging_audit pagetable_audit(phys_t root);
