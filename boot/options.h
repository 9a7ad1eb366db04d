// SPDX-License-Identifier: BSD-2-Clause
// Which configuration file? "BOOTX64.EFI other.ini" in the firmware's shell, or "other.ini" as option of a
// boot entry; else \farbus.ini. What comes as load options is text when a person wrote it and anything at all
// when the firmware did.
#pragma once
#include "boot/refusal.h"
#include "rt/boot_info.h"
#include <stdbool.h>
#include <stddef.h>

#define OPTIONS_DEFAULT_INI "\\farbus.ini"

struct options {
    char ini[BOOT_PATH_MAX];
    bool shell; // started by a person in the firmware's shell, not by its boot manager
};

/// `bytes` bytes of UCS-2 at `given`, or something else, or NULL. ERR_INVAL, ERR_RANGE: a person wrote what
/// is no .ini file.
MUST_CHECK enum status options_read(const void *given, size_t bytes, struct options *options,
                                    struct refusal *why);
