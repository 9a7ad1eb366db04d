// SPDX-License-Identifier: BSD-2-Clause
// Address spaces of lent functions on this machine: its VT-d and its memory, for mastering.
#pragma once
#include "remote-fw/mastering.h"

/// After vectors_start: marks the functions that can have an address space of their own (WIRE_FN_DMA). NULL:
/// none can.
const struct mastering_machine *spaces_start(struct functions *functions);
