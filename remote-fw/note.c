// SPDX-License-Identifier: BSD-2-Clause
// remote-fw.elf is the remote.
#include "rt/boot_note.h"

BOOT_NOTE(BOOT_ROLE_REMOTE);
