// SPDX-License-Identifier: BSD-2-Clause
// Vectors of this machine for messages of lent functions, and what keeps those functions from writing
// anything else than messages. Must not know hosts.
#pragma once
#include "remote-fw/functions.h"

/// Gives interrupts (remote-fw/interrupts.h) the vectors of the boot CPU, and marks the functions whose DMA
/// could be blocked (WIRE_FN_MSI). On the boot CPU, before the table is announced.
void vectors_start(struct functions *functions);
/// Lets interrupts in that wait, for a moment. Interrupts are off before and after.
void vectors_breathe(void);
