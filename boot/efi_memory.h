// SPDX-License-Identifier: BSD-2-Clause
// Pages from the firmware, its memory map, and the way out of boot services.
// Every page taken here is given back by memory_release when nothing is started after all.
#pragma once
#include "boot/memmap.h"
#include "boot/refusal.h"
#include <efi.h>
#include <stdint.h>

void memory_start(EFI_BOOT_SERVICES *services, EFI_HANDLE image);

/// `bytes` rounded up to whole pages, contiguous, anywhere (limit 0) or ending at or below `limit`. Not
/// zeroed. ERR_NOMEM, with a sentence that says what it was for.
MUST_CHECK enum status memory_pages(uint64_t bytes, uint64_t limit, const char *what, uint64_t *phys,
                                    struct refusal *why);
/// As memory_pages, zeroed.
MUST_CHECK enum status memory_zeroed(uint64_t bytes, const char *what, uint64_t *phys, struct refusal *why);
/// Gives everything back.
void memory_release(void);

/// The map as it is now. Refused when it is so long that the one at the end might not fit.
MUST_CHECK enum status memory_map(struct memmap *map, struct refusal *why);
/// Leaves boot services. After OK no boot service may be called, so nothing can be printed or given back.
MUST_CHECK enum status memory_exit_boot_services(struct refusal *why);
/// After memory_exit_boot_services: the map that was left behind, with `image` set to BOOT_MEM_IMAGE.
MUST_CHECK enum status memory_final_map(struct memmap *map, uint64_t image, uint64_t image_size);

/// Fills and copies eight bytes at a time where it can: on the bench every repetition counts as an
/// instruction.
void fill_zero(void *to, uint64_t bytes);
void copy(void *to, const void *from, uint64_t bytes);
