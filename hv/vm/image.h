// SPDX-License-Identifier: BSD-2-Clause
// What image loaders (Multiboot, Linux) share: guest memory as they see it, and the files they are given.
#pragma once
#include "rt/status.h"
#include <stdint.h>

/// Guest memory as a loader sees it.
struct image_target {
    enum status (*write)(void *ctx, uint64_t gpa, const void *from, uint64_t size);
    enum status (*fill)(void *ctx, uint64_t gpa, uint8_t byte, uint64_t size);
    void *ctx;
    uint64_t low_end;  // RAM is [0, low_end) below 4 GiB (video hole apart) ...
    uint64_t high_end; // ... and [4 GiB, high_end), when that is more
};

struct image_module {
    const void *bytes;
    uint64_t size;
    const char *args; // "path arguments"
};
