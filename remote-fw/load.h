// SPDX-License-Identifier: BSD-2-Clause
// How much of this machine's CPU is used: ticks of the passes of its loop that found something to do.
#pragma once
#include <stdint.h>

/// One pass that did something took so many TSC ticks.
void load_worked(uint64_t ticks);
/// The console command: what was used since it was asked last.
void load_command(int argc, char *argv[]);
