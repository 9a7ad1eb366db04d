// SPDX-License-Identifier: BSD-2-Clause
// What the hypervisor keeps for itself.
#pragma once
#include "rt/boot_info.h"

void memory_start(const struct boot_info *info);
/// Logs: RAM of the machine, of guests, and kept from them (ours: image, tables, pools, loaded files).
void memory_report(void);
