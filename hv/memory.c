// SPDX-License-Identifier: BSD-2-Clause
#include "hv/memory.h"
#include "hv/vm/guest.h"
#include "net/stack.h"
#include "rt/frames.h"
#include "rt/log.h"

static uint64_t machine_bytes;

void memory_start(const struct boot_info *info)
{
    for (uint32_t i = 0; i < info->mem_count; i++) {
        uint32_t type = info->mem[i].type;
        if (type == BOOT_MEM_USABLE || type == BOOT_MEM_LOADER || type == BOOT_MEM_IMAGE)
            machine_bytes += info->mem[i].size;
    }
}

void memory_report(void)
{
    uint64_t guests = 0, free = frames_stats().free * FRAME_SIZE;
    for (uint32_t i = 0; i < guest_count; i++) {
        if (guest_at(i))
            guests += guest_at(i)->memory;
    }
    log_info("memory", "%llu KiB usable: guests %llu KiB, free %llu KiB, kept from guests %llu KiB",
             (unsigned long long)(machine_bytes >> 10), (unsigned long long)(guests >> 10),
             (unsigned long long)(free >> 10), (unsigned long long)((machine_bytes - guests - free) >> 10));
    net_lock();
    struct net_memory net = net_memory();
    net_unlock();
    log_info("memory", "network: %u buffers in use of at most %u so far, %u bytes in use of at most %u",
             (unsigned)net.pooled, (unsigned)net.pooled_max, (unsigned)net.heap, (unsigned)net.heap_max);
}
