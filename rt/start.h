// SPDX-License-Identifier: BSD-2-Clause
// What the start of the runtime offers to those that come after it.
#pragma once

/// Notes that the part of the start called `name` (kept by reference) ends here. At most 16.
void start_phase(const char *name);
/// Logs the TSC ticks of each phase at debug level.
void start_log_phases(void);
/// Gives all loader memory back to the frame allocator except the ELF's symbols: guest images and modules are
/// gone afterwards. Once.
void start_release_loader_memory(void);
/// Wipes the keys of farbus.ini in the runtime's copy of the boot information and in the loader's. Once they
/// are in use.
void start_forget_keys(void);
