// SPDX-License-Identifier: BSD-2-Clause
// The one CPU that a test runs on.
#include "rt/cpu.h"

__attribute__((weak)) struct cpu *cpu_self(void)
{
    static struct cpu self;
    return &self;
}

__attribute__((weak)) uint32_t cpu_count(void)
{
    return 1;
}
