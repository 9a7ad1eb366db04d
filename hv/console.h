// SPDX-License-Identifier: BSD-2-Clause
// The host's console: commands that show and steer guests, devices and links; and a guest's keyboard when it
// is given to one.
#pragma once

void console_start(const char *node);
/// Takes what was typed. Called often: by CPU 0 between slices, and by every CPU that waits for a remote; it
/// is CPU 0 that listens.
void console_poll(void);
