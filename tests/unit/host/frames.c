// SPDX-License-Identifier: BSD-2-Clause
// Frames on the build machine: aligned heap memory, physical = virtual address, so that the sanitizers watch
// every frame. `limit` cannot be honoured and is ignored.
#include "rt/frames.h"
#include "rt/paging.h"
#include "tests/unit/host/host.h"
#include <stdlib.h>
#include <string.h>

#define BLOCKS_MAX 4096

static struct {
    phys_t base;
    size_t count;
} blocks[BLOCKS_MAX];
static uint64_t in_use;
static int fail_after = -1;

uint64_t host_frames_in_use(void)
{
    return in_use;
}

void host_frames_fail_after(int n)
{
    fail_after = n;
}

__attribute__((weak)) phys_t frames_alloc_dirty(size_t count, uint64_t align, phys_t limit)
{
    (void)limit;
    if (fail_after == 0) {
        fail_after = -1;
        return FRAME_NONE;
    }
    if (fail_after > 0)
        fail_after--;
    for (unsigned i = 0; i < BLOCKS_MAX; i++) {
        if (blocks[i].count != 0)
            continue;
        void *p = aligned_alloc(align < FRAME_SIZE ? FRAME_SIZE : align, count * FRAME_SIZE);
        if (!p)
            return FRAME_NONE;
        memset(p, 0xa5, count * FRAME_SIZE);
        blocks[i].base = (phys_t)p;
        blocks[i].count = count;
        in_use += count;
        return (phys_t)p;
    }
    return FRAME_NONE;
}

__attribute__((weak)) phys_t frames_alloc(size_t count, uint64_t align, phys_t limit)
{
    phys_t p = frames_alloc_dirty(count, align, limit);
    if (p != FRAME_NONE)
        memset((void *)p, 0, count * FRAME_SIZE);
    return p;
}

/// A part of a block that is given back is only counted; the block's memory goes when its first frame does
/// with all of it.
__attribute__((weak)) void frames_free(phys_t base, size_t count)
{
    in_use -= count;
    for (unsigned i = 0; i < BLOCKS_MAX; i++) {
        if (blocks[i].base != base || blocks[i].count != count)
            continue;
        free((void *)base);
        blocks[i].base = 0;
        blocks[i].count = 0;
        return;
    }
}

__attribute__((weak)) struct frames_stats frames_stats(void)
{
    return (struct frames_stats){.total = in_use, .free = 0};
}

__attribute__((weak)) void *phys_to_virt(phys_t phys)
{
    return (void *)phys;
}

__attribute__((weak)) phys_t virt_to_phys(const void *virt)
{
    return (phys_t)virt;
}
