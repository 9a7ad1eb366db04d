// SPDX-License-Identifier: BSD-2-Clause
// Physical memory in 4 KiB frames. Only memory the boot map calls usable (or loader memory, once given back)
// is here.
#pragma once
#include "rt/status.h"
#include <stddef.h>
#include <stdint.h>

typedef uint64_t phys_t;
#define FRAME_SIZE 4096ull
#define FRAME_NONE ((phys_t)-1)

/// `count` contiguous zeroed frames, aligned to `align` bytes (power of two >= 4096), below `limit` (0:
/// anywhere). FRAME_NONE when there is none.
MUST_CHECK phys_t frames_alloc(size_t count, uint64_t align, phys_t limit);
/// As frames_alloc, but the frames hold whatever was there: for callers that overwrite or zero them
/// themselves (zeroing costs one instruction per 8 bytes on an emulated CPU).
MUST_CHECK phys_t frames_alloc_dirty(size_t count, uint64_t align, phys_t limit);
/// Gives frames back. Must be what frames_alloc returned, or a part of it.
void frames_free(phys_t base, size_t count);

struct frames_stats {
    uint64_t total, free; // frames
};
struct frames_stats frames_stats(void);
