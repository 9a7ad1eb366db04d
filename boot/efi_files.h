// SPDX-License-Identifier: BSD-2-Clause
// Files on the volume the loader came from. Opened first, so that all sizes are known and nothing is missing,
// then read, each with one call into pages of its own.
#pragma once
#include "boot/refusal.h"
#include <efi.h>
#include <stdint.h>

struct efi_file {
    EFI_FILE_HANDLE handle; // NULL: not open
    uint64_t size;          // bytes
};

MUST_CHECK enum status files_start(EFI_BOOT_SERVICES *services, EFI_HANDLE image, struct refusal *why);
/// Closes the volume.
void files_stop(void);

/// `path` with '/' or '\', from the root. An error names `ini` and `line` (0: no line), or `path` alone when
/// `ini` is NULL.
MUST_CHECK enum status file_open(struct efi_file *file, const char *path, const char *ini, uint32_t line,
                                 struct refusal *why);
/// Reads all of it into new pages at *phys, and closes it.
MUST_CHECK enum status file_read(struct efi_file *file, const char *path, uint64_t *phys,
                                 struct refusal *why);
void file_close(struct efi_file *file);

/// TSC ticks spent inside the firmware's file system so far.
uint64_t files_ticks(void);
