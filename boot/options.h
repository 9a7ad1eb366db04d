// SPDX-License-Identifier: BSD-2-Clause
// Which configuration file? "BOOTX64.EFI other.ini" in the firmware's shell, or "other.ini" as option of a
// boot entry; else \farbus.ini. What comes as load options is text when a person wrote it and anything at all
// when the firmware did.
#pragma once
#include "boot/refusal.h"
#include "rt/boot_info.h"
#include <stddef.h>

#define OPTIONS_DEFAULT_INI "\\farbus.ini"

/// `options`: `bytes` bytes of UCS-2, or something else, or NULL. Fills `ini`. ERR_INVAL: a person wrote what
/// is no .ini file.
MUST_CHECK enum status options_ini(const void *options, size_t bytes, char ini[BOOT_PATH_MAX],
                                   struct refusal *why);
