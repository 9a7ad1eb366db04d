// SPDX-License-Identifier: BSD-2-Clause
// The ELF's own address space: higher-half image (W^X), a direct map of all RAM (RW, NX), device windows (RW,
// NX, uncached), stacks with guard pages. No mapping is ever writable and executable.
#pragma once
#include "rt/frames.h"
#include <stdbool.h>

/// Where physical RAM is visible to us. Valid for every frame of the boot memory map except BOOT_MEM_MMIO.
void *phys_to_virt(phys_t phys);
/// For direct-map and image addresses only.
phys_t virt_to_phys(const void *virt);
/// Maps device registers, uncached. Never unmapped. NULL when address space or memory is exhausted.
MUST_CHECK volatile void *mmio_map(phys_t phys, size_t size);
/// As mmio_map, write-combining (framebuffers).
MUST_CHECK volatile void *mmio_map_wc(phys_t phys, size_t size);
/// A stack of `size` bytes (multiple of 4096) with an unmapped page below and above; returns its top. NULL:
/// no memory.
MUST_CHECK void *stack_alloc(size_t size);

struct paging_audit {
    uint64_t leaves, writable, executable, both; // `both` must be 0
};
/// Walks the live page tables (CR3).
struct paging_audit paging_audit(void);
