// SPDX-License-Identifier: BSD-2-Clause
// The transitional page tables: identity map (writable and executable: it holds the loader's last
// instructions and is dropped by the ELF at once) and the ELF's image, page by page with its own permissions.
// 4-level paging (SDM vol. 3A, 4.5). Works on memory given to it, of which it knows the physical address;
// touches no control register.
#pragma once
#include "boot/elf.h"
#include "boot/memmap.h"
#include <stdbool.h>
#include <stdint.h>

#define PTE_P  (1ull << 0)
#define PTE_W  (1ull << 1)
#define PTE_PS (1ull << 7)
#define PTE_NX (1ull << 63)

struct tables {
    uint64_t *pages;      // zeroed, page aligned; the first becomes the PML4
    uint64_t phys;        // physical address of `pages`: goes to CR3
    uint32_t count, used; // pages
    bool page1gb;         // the CPU has 1 GiB pages
};

/// What the identity map covers, in whole GiB: the first 4 GiB, everything in `map` that is not MMIO, and the
/// framebuffer. `identity` has room of its own, as `map`. ERR_NOMEM: it is full.
MUST_CHECK enum status tables_identity(const struct memmap *map, const struct boot_framebuffer *fb,
                                       struct memmap *identity);

/// Pages that tables_build will need at most.
uint32_t tables_needed(const struct memmap *identity, uint64_t image_size, bool page1gb);

/// Maps `identity`'s ranges at their own addresses, and `plan`'s image, which lies at physical `image`, at
/// its virtual ones. ERR_NOMEM: not enough pages.
MUST_CHECK enum status tables_build(struct tables *t, const struct memmap *identity,
                                    const struct elf_plan *plan, uint64_t image);
