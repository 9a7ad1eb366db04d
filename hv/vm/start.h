// SPDX-License-Identifier: BSD-2-Clause
// How a guest begins: its image and ACPI tables in its memory, and the state its first vCPU starts in (by
// image format), or the others (by SIPI). Must not know how a vCPU is run.
#pragma once
#include "hv/vm/guest.h"
#include "hv/vm/virt.h"

/// Loads the guest's kernel with all that belongs to it. On failure g->stop_reason is a sentence that says
/// why.
MUST_CHECK enum status start_load(struct guest *g, struct vcpu_start *start);
/// Real mode at vector * 4096, as a start-up IPI leaves a processor (SDM vol. 3, 9.4).
void start_real_mode(uint8_t vector, struct vcpu_start *start);
