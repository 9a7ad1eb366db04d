// SPDX-License-Identifier: BSD-2-Clause
// Function reset: function level reset where the function has it, else D3hot -> D0, else decoding off; then
// everything the firmware had set up (BARs, payload size) is put back. A state machine that is polled: a
// reset takes 100 ms (PCIe Base 4.0, 6.6.2) and nobody else may wait for it. Must not know owners. Reaches
// the function through its ops only.
#pragma once
#include "remote-fw/function.h"

/// Chooses the method and saves what a reset destroys. Call once, while the function is as the firmware left
/// it.
void reset_prepare(struct function *f);
/// Takes decoding and bus mastering away at once and starts the reset. Restarts a running one.
void reset_begin(struct function *f, uint64_t now_ns);
/// ERR_BUSY: still running. OK: done; decoding is on if `enable`. ERR_IO: the function did not come back.
MUST_CHECK enum status reset_poll(struct function *f, uint64_t now_ns, bool enable);
/// Turns on decoding for the BARs the function has. Only for a function that was reset since anybody last had
/// it.
void reset_enable(const struct function *f);
const char *reset_method_name(enum reset_method m);
