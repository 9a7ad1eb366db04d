// SPDX-License-Identifier: BSD-2-Clause
// The parts of a panic that the runtime's own files and drivers/ share. Everybody else needs rt/panic.h only.
#pragma once
#include "rt/trap.h"
#include <stdbool.h>

/// An exception nobody expected: as panic(), with the registers of `frame`.
_Noreturn void panic_trap(const struct trap_frame *frame);
/// True from the first panic on: locks may be held by CPUs that have been stopped, consoles must not wait for
/// interrupts.
bool panic_active(void);
/// Ends this CPU without a word.
_Noreturn void panic_stop_this_cpu(void);
/// How all other CPUs are stopped (an NMI to each): told once by drivers/apic.
void panic_set_stop_others(void (*stop)(void));

/// A panic before there is a console calls these, to get one: `static void f(void)` that adds a console sink.
#define PANIC_CONSOLE(f)                                                                                     \
    static void (*const panic_console_##f)(void) __attribute__((used, section("rt_panic_consoles"))) = (f)
