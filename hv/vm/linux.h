// SPDX-License-Identifier: BSD-2-Clause
// Linux kernels (bzImage), and what else is packed as one, by the 64-bit boot protocol, or the 32-bit one if
// they have no 64-bit entry (Linux, Documentation/x86/boot.rst), with an initrd and a command line. Pure:
// reads an image in memory, writes through a target. Compiles on the build machine.
#pragma once
#include "hv/vm/image.h"
#include <stdbool.h>

struct linux_image {
    const void *kernel;
    uint64_t kernel_size;
    const void *initrd; // NULL: none
    uint64_t initrd_size;
    const char *cmdline;
    uint64_t rsdp; // where the guest's ACPI tables begin
};

/// Where the first vCPU begins: long mode with an identity map of the first 4 GiB, or protected mode without
/// paging; flat segments of selectors CODE and DATA.
struct linux_entry {
    bool long_mode;
    uint64_t rip, rsi, cr3, gdt;
    uint16_t gdt_limit;
};

#define LINUX_CODE_SELECTOR 0x10u
#define LINUX_DATA_SELECTOR 0x18u

/// True if the file is a bzImage.
bool linux_is_image(const void *kernel, uint64_t size);
/// ERR_PROTOCOL, ERR_UNSUPPORTED, ERR_RANGE: *why is a sentence without subject.
MUST_CHECK enum status linux_load(const struct linux_image *image, const struct image_target *target,
                                  struct linux_entry *entry, const char **why);
