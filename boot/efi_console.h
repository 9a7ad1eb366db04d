// SPDX-License-Identifier: BSD-2-Clause
// Lines on the firmware's console, until boot services are left.
#pragma once
#include <efi.h>

/// Must be called first.
void console_start(EFI_SYSTEM_TABLE *system);
/// One line; no newline in fmt. What is not printable ASCII is shown as '?'.
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/// Waits for a key, but not longer than `seconds`.
void console_pause(unsigned seconds);
