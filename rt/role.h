// SPDX-License-Identifier: BSD-2-Clause
// The one function a role gives the runtime: hv/main.c or remote-fw/main.c defines it.
#pragma once
#include "rt/boot_info.h"

/// Called once on the boot CPU with our own page tables, GDT, IDT and stack, interrupts off, no console yet
/// (log lines are kept until there is one). `info` is the runtime's own copy and lives for ever; what it
/// points to (ELF file, guest files) lives until the role gives loader memory back.
_Noreturn void role_main(const struct boot_info *info);
