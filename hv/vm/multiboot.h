// SPDX-License-Identifier: BSD-2-Clause
// Multiboot 1 kernels (Multiboot Specification 0.6.96): ELF32 (and ELF64, entered in the same 32-bit state)
// or the header's own address fields, modules, command line. Pure: reads an image in memory, writes through a
// target. Compiles on the build machine.
#pragma once
#include "hv/vm/image.h"
#include <stdint.h>

#define MULTIBOOT_ENTRY_MAGIC 0x2badb002u // EAX at the kernel's entry

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
