// SPDX-License-Identifier: BSD-2-Clause
// The loader takes selftest.elf for remote firmware.
#include "rt/boot_note.h"

BOOT_NOTE(BOOT_ROLE_REMOTE);
