// SPDX-License-Identifier: BSD-2-Clause
// Records what passes a NIC, both ways, as a pcapng file in memory (IETF draft-ietf-opsawg-pcapng,
// sections 4.1 to 4.3). It puts itself into the NIC seam while it runs (rt/nic.h), so frames cost nothing
// more while it does not. Must not know what is in a frame beyond what tells a link's frames from others. One
// at a time; net lock held for every call (net/stack.h).
#pragma once
#include "rt/nic.h"
#include "rt/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CAPTURE_MIN 4096u // bytes of buffer
#define CAPTURE_MAX (64u << 20)

struct capture_state {
    bool running;
    size_t used, size; // bytes of the file, and of the buffer
    uint64_t frames;
    uint64_t missed; // frames that found the buffer full: the first ones are kept
};

/// Begins a new file in `buffer` (kept until the next start). links_only: frames of links and announcements,
/// whichever carrier; else all frames. unix_seconds: what time it is. ERR_BUSY: one is running; ERR_RANGE:
/// the buffer is smaller than CAPTURE_MIN.
MUST_CHECK enum status capture_start(struct nic *nic, void *buffer, size_t size, bool links_only,
                                     uint64_t unix_seconds);
/// The file is complete as it stands; no effect when none is running.
void capture_stop(void);
struct capture_state capture_state(void);
/// The bytes of the file; NULL: there is none.
const uint8_t *capture_file(void);

/// The console command: "start [MiB] [all]", "stop", "show" (prints the file, a line at each shell poll), or
/// nothing: how it stands.
void capture_command(int argc, char *argv[], struct nic *nic, uint64_t unix_seconds);
