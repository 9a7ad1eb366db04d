// SPDX-License-Identifier: BSD-2-Clause
// Which MSRs a guest may use, and how: one table, a reason per row.
#pragma once
#include <stdbool.h>
#include <stdint.h>

/// Builds the look-up. Call before any vCPU is made.
void msr_start(void);
/// True if a guest's RDMSR (WRMSR) of it needs no exit.
bool msr_passes(uint32_t msr, bool write);

struct vcpu;
/// Start values of the MSRs that are only remembered.
void msr_reset(struct vcpu *v);
