// SPDX-License-Identifier: BSD-2-Clause
// For rt/start.c only: when time begins.
#pragma once
#include <stdint.h>

/// TSC at the ELF's entry: time_ns() is 0 there.
void time_start(uint64_t tsc);
