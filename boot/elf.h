// SPDX-License-Identifier: BSD-2-Clause
// What to do with hv.elf or remote-fw.elf: the whole file is checked and turned into a plan of copies before
// a byte is loaded. Knows nothing of where the image will lie. After OK every copy of the plan stays inside
// the file and inside the image, no two segments share a page, and none is both writable and executable.
#pragma once
#include "boot/refusal.h"
#include "rt/boot_info.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ELF_PAGE         4096ull
#define ELF_SEGMENTS_MAX 16
#define ELF_IMAGE_MAX    (64ull << 20) // bytes, so that a wrong linker script is not taken for a big program
#define ELF_VIRT_MIN     0xffffffff80000000ull // the last 2 GiB, -mcmodel=kernel
#define ELF_VIRT_LAST    0xffffffffffffefffull // the last page stays empty: no end of a range wraps to 0

struct elf_segment {
    uint64_t file_offset, file_size; // bytes to copy
    uint64_t image_offset;           // to here, from the start of the image
    uint64_t mem_size;               // what follows file_size is zero
    bool writable, executable;
};

struct elf_plan {
    uint64_t entry;      // virtual address
    uint64_t image_virt; // of the image's first byte, page aligned
    uint64_t image_size; // bytes, whole pages
    unsigned count;
    struct elf_segment segments[ELF_SEGMENTS_MAX]; // rising, each beginning on a page of its own
};

/// Checks the ELF of `size` bytes at `file` (any alignment) for this loader and `role`. `path` is its name in
/// sentences. (System V ABI, gABI 4.1 chapters 4 and 5; x86-64 psABI.)
MUST_CHECK enum status elf_plan(const char *path, const void *file, uint64_t size, enum boot_role role,
                                struct elf_plan *plan, struct refusal *why);
