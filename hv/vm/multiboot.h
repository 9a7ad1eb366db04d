// SPDX-License-Identifier: BSD-2-Clause
// Multiboot 1 kernels (Multiboot Specification 0.6.96): ELF32 or the header's own address fields, modules,
// command line. Pure: reads an image in memory, writes through a target. Compiles on the build machine.
#pragma once
#include "rt/status.h"
#include <stddef.h>
#include <stdint.h>

#define MULTIBOOT_ENTRY_MAGIC 0x2badb002u // EAX at the kernel's entry

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

struct multiboot_image {
    const void *kernel;
    uint64_t kernel_size;
    const char *cmdline;
    const struct image_module *modules;
    uint32_t module_count;
};

struct multiboot_entry {
    uint32_t eip, ebx; // entry point; physical address of the boot information
};

/// ERR_PROTOCOL, ERR_UNSUPPORTED, ERR_RANGE: *why is a sentence without subject ("has no Multiboot header
/// ...").
MUST_CHECK enum status multiboot_load(const struct multiboot_image *image, const struct image_target *target,
                                      struct multiboot_entry *entry, const char **why);
