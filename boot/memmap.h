// SPDX-License-Identifier: BSD-2-Clause
// The firmware's memory map as the ELF gets it: sorted, merged, without overlaps, in our types. Also: is it
// enough? Knows the layout of an EFI memory descriptor (UEFI 2.10, section 7.2.3) but calls no firmware.
#pragma once
#include "boot/refusal.h"
#include "rt/boot_info.h"
#include <stddef.h>
#include <stdint.h>

struct memmap {
    struct boot_mem *mem; // BOOT_MEM_MAX of them, `count` in use
    uint32_t count;
};

/// Makes base..base+size (page aligned) `type`, whatever it was. Neighbours of one type become one. A range
/// that wraps or is empty changes nothing. ERR_NOMEM: more than BOOT_MEM_MAX ranges; the map is as before.
MUST_CHECK enum status memmap_set(struct memmap *map, uint64_t base, uint64_t size, uint32_t type);

/// Converts `bytes` of EFI memory descriptors, `stride` bytes apart. Where they overlap the type that forbids
/// more wins. ERR_NOMEM: more than BOOT_MEM_MAX ranges; the map then lacks some, and what it lacks is what
/// may be used (safe to go on). ERR_INVAL: `stride` is smaller than a descriptor.
MUST_CHECK enum status memmap_from_efi(struct memmap *map, const void *descriptors, size_t bytes,
                                       size_t stride);

/// Bytes the ELF can have in the end: usable, and what the loader took.
uint64_t memmap_available(const struct memmap *map);

/// What Farbus keeps for itself: 16 MiB and 1 % of the guests' memory (DESIGN.md, section 15).
uint64_t memory_reserve(uint64_t guests);

/// Is there room for the files (`files`: bytes with the ELF), the guests and the reserve? `ini` names the
/// file in the sentence.
MUST_CHECK enum status memory_check(const struct memmap *map, const struct boot_info *info, uint64_t files,
                                    const char *ini, struct refusal *why);
