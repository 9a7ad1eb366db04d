// SPDX-License-Identifier: BSD-2-Clause
// What a guest was started with (Multiboot 1: memory, command line, modules), and how it ends.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// The guest's own program. What it returns is the exit code of shutdown().
int guest_main(void);

struct guest_module {
    uint32_t start, end; // physical addresses
    const char *args;
};
extern unsigned module_count;
/// NULL: no such module.
const struct guest_module *module_at(unsigned index);
/// Command line without the kernel's own name in front.
extern const char *command_line;
/// KiB of memory above 1 MiB, 0: not told.
extern uint32_t memory_upper_kib;

/// Value of `name=` on the command line (decimal or 0x...), else `otherwise`.
uint32_t option_number(const char *name, uint32_t otherwise);
/// Is `item` in the comma-separated list `name=`? An absent option has no items.
bool option_lists(const char *name, const char *item);
bool option_given(const char *name);

/// Ends the machine: 0x604 (S5 of QEMU and of our hypervisor), "Shutdown" to 0x8900 (Bochs), 0xF4
/// (isa-debug-exit).
_Noreturn void shutdown(int code);
