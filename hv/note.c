// SPDX-License-Identifier: BSD-2-Clause
// hv.elf is the host.
#include "rt/boot_note.h"

BOOT_NOTE(BOOT_ROLE_HOST);
