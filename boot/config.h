// SPDX-License-Identifier: BSD-2-Clause
// farbus.ini to struct boot_node and struct boot_guest: every rule about what the file may say is here or in
// config.c's tables. Knows no firmware and no file system: whether the files named exist is found out later,
// with the lines kept here.
#pragma once
#include "boot/refusal.h"
#include "rt/boot_info.h"
#include <stddef.h>

#define CONFIG_GUEST_MEMORY_MIN  (4ull << 20)
#define CONFIG_GUEST_MEMORY_MAX  (64ull << 30)
#define CONFIG_GUEST_MEMORY_STEP (2ull << 20)
#define CONFIG_MIRROR_MAX        (64ull << 20) // of a guest with `dma = mirror`
#define CONFIG_WAIT_DEFAULT_S    10u
#define CONFIG_WAIT_MAX_S        86400u

/// Reads `size` bytes of text (need not end in NUL) into info->node, info->guests and info->guest_count,
/// which must be zero. `path` is how the file is called in sentences. On an error `why` holds "PATH line N:
/// ...", and info is of no use.
MUST_CHECK enum status config_parse(const char *path, const char *text, size_t size, struct boot_info *info,
                                    struct refusal *why);
