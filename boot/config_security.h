// SPDX-License-Identifier: BSD-2-Clause
// The rules of farbus.ini about keys that need the whole file: what belongs together, and who could speak
// with whom. Knows no syntax. Never shows a key.
#pragma once
#include "boot/refusal.h"
#include "rt/boot_info.h"

/// Where these stand; 0: nowhere.
struct config_lines {
    uint32_t node, key, psk, security;
};

/// Sets info->node.security; everything else in `info` must be there.
MUST_CHECK enum status config_check_security(const char *path, struct boot_info *info,
                                             const struct config_lines *lines, struct refusal *why);
