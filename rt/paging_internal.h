// SPDX-License-Identifier: BSD-2-Clause
// The address space's beginnings and edges: for rt/start.c, rt/cpu.c, rt/panic.c, rt/newlib.c and
// drivers/smp.c.
#pragma once
#include "rt/boot_info.h"
#include "rt/paging.h"
#include "rt/status.h"
#include <stdbool.h>
#include <stddef.h>

/// IA32_PAT of every CPU: entry 0 WB, 1 WC (PWT), 2 UC-, 3 UC (PCD|PWT); 4-7 the same. SDM vol. 3, 11.12.
#define PAGING_PAT 0x0007010600070106ull

/// Builds our own tables from the boot map and loads them. The loader's identity map is gone afterwards.
MUST_CHECK enum status paging_init(const struct boot_info *info);
/// Loads them on another CPU.
void paging_load(void);
/// Tables for starting CPUs: the page at `page` (below 1 MiB) at its physical address, read-only and
/// executable, and our own upper half. The root is below 4 GiB (CR3 is written in 32-bit mode).
MUST_CHECK enum status paging_trampoline_make(phys_t page, phys_t *root);
/// Gives them back, when no CPU runs on them any more.
void paging_trampoline_free(phys_t root);
/// Grows the heap (one range, its start in *start at the first call) by `size` bytes, a multiple of 4096.
MUST_CHECK enum status paging_heap_grow(size_t size, uint8_t **start);
/// True when reading [addr, addr + size) does not fault. From the first instruction on.
bool paging_readable(uint64_t addr, size_t size);
/// True for an address in the stack area that no stack has.
bool paging_is_stack_guard(uint64_t addr);
