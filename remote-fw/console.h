// SPDX-License-Identifier: BSD-2-Clause
// The remote's console: what is lent and kept, as lspci -nn would say it, and the command table for
// rt/shell.h. Reads the server's state; changes nothing but the log level and the machine's power.
#pragma once
#include "drivers/pci.h"
#include "remote-fw/function.h"
#include "rt/nic.h"

/// Prints one line: "lent 0000:00:04.0 [0108]: 1b36:0010 rev 02, BAR0 16 KiB mem64, reset: FLR".
void console_print_lent(const struct function *f);
/// Prints one line: "kept 0000:00:1f.0 [0601]: 8086:2918 rev 02: why".
void console_print_kept(const struct pci_device *dev, const char *why);
/// Starts the command line. `nic` and `node` are kept. Commands run from shell_poll with the net lock held.
void console_start(const struct nic *nic, const char *node);
