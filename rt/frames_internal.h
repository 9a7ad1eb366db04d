// SPDX-License-Identifier: BSD-2-Clause
// How the frame allocator gets its memory: for rt/start.c and unit tests.
#pragma once
#include "rt/boot_info.h"
#include "rt/frames.h"
#include "rt/status.h"

/// Takes over the usable memory of the boot map; loader memory is known but not free yet. Needs phys_to_virt.
/// ERR_NOMEM: no room for the bitmaps; ERR_INVAL: the map is not sorted, or overlaps.
MUST_CHECK enum status frames_init(const struct boot_mem *mem, uint32_t count);
/// Takes these frames out of circulation, those of them that are free.
void frames_reserve(phys_t base, size_t count);
