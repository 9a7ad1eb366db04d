// SPDX-License-Identifier: BSD-2-Clause
// Vectors of this machine for messages of lent functions, and what keeps those functions from writing
// anything else than messages. Must not know hosts.
#pragma once
#include "remote-fw/functions.h"

/// Starts this machine's VT-d, with interrupt remapping, and leads through it what interrupts already. On the
/// boot CPU, before the NIC has an interrupt. `unsafe`: lent functions may have messages and DMA although no
/// remapping keeps them from forging interrupts.
void vectors_confine(bool unsafe);
/// Gives interrupts (remote-fw/interrupts.h) the vectors of the boot CPU, and marks the functions whose DMA
/// could be blocked (WIRE_FN_MSI). After vectors_confine, before the table is announced.
void vectors_start(struct functions *functions);
/// Lets interrupts in that wait, for a moment. Interrupts are off before and after.
void vectors_breathe(void);
