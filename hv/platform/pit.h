// SPDX-License-Identifier: BSD-2-Clause
// The 8254 programmable interval timer (Intel 8254 data sheet 231164-005) at 0x40-0x43, and port 0x61,
// through which a PC has channel 2's gate and output and the refresh signal. Must not know VMX or who is
// interrupted. Counters do not run: each access, and guest_pit_tick(), brings them to the present.
//
// Channel 0's output goes to `irq0`. Every rise that was seen is an edge there; several between two looks are
// one. The fall within a wave (modes 2 and 3) is not passed on, because who runs the guest may look
// late, and an interrupt controller forgets a request whose line has fallen: the line falls before it rises.
#pragma once
#include "hv/platform/io_space.h"
#include "rt/status.h"
#include <stdbool.h>
#include <stdint.h>

#define PIT_HZ    1193182u
#define PIT_NEVER UINT64_MAX

struct pit_channel {
    uint8_t control; // RW, mode, BCD as written to the control word register
    uint8_t mode;    // 0-5
    bool gate, out;
    bool null_count; // the count that was written is not in the counter yet
    bool written;    // there has been a count since the control word
    bool load;       // the next clock loads the counter
    bool counting;   // it has been loaded
    bool armed;      // modes 0, 1, 4, 5: the end of the count has not been reached
    uint32_t reload; // count register, 1-65536
    uint32_t loaded; // what the counter was loaded with
    uint32_t count;  // clocks to the end; in mode 3 to the end of the half
    uint8_t first_byte;
    bool write_high, read_high; // the second byte comes next
    uint8_t latched;            // bytes of the latched count still to be read
    uint16_t latch;
    bool status_latched;
    uint8_t status;
};

struct guest_pit {
    struct pit_channel channel[3];
    uint64_t now;    // clocks; the channels are as they are then
    uint8_t control; // port 0x61, bits 0-3
    bool line;       // as told to irq0
    uint64_t (*now_ns)(void *ctx);
    void (*irq0)(void *ctx, bool high);
    /// The guest has written: guest_pit_tick() may have another answer.
    void (*changed)(void *ctx);
    void *ctx;
};

/// As PC firmware leaves it: channel 0 a square wave of 18.2 Hz, channel 1 refresh, channel 2 idle.
void guest_pit_reset(struct guest_pit *p);
/// Callbacks are set by the caller before.
MUST_CHECK enum status guest_pit_init(struct guest_pit *p, struct io_space *io);
/// Brings the counters to the present; drives irq0. Returns when channel 0's output rises next, in ns of
/// now_ns(); PIT_NEVER: not before the guest does something.
uint64_t guest_pit_tick(struct guest_pit *p);
