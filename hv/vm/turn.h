// SPDX-License-Identifier: BSD-2-Clause
// A guest's turn on a CPU, as the scheduler keeps it. It has a stack of its own: an exit that waits for a
// remote is left where it is, and its CPU goes on with other guests. One for each CPU that the guest has
// vCPUs on, used by that CPU only.
#pragma once
#include "rt/coroutine.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define TURN_STACK 49152u // bytes: an exit that waits, and a command of the console in the middle of it

struct guest;

/// How its CPU left it last.
enum turn_left {
    TURN_OVER,  // nothing of it is left to do; the next one begins anew
    TURN_WAITS, // in the middle: for a remote, or for its guest's lock
    TURN_CUT,   // between two slices: another one's wait may be over
};

struct turn {
    struct coroutine work;
    struct guest *guest;
    uint32_t cpu;
    enum turn_left left;
    bool ran;                // when over: there was something to run
    uint64_t away_tsc;       // ticks that other guests had in the middle of its turns, all together
    _Atomic bool called;     // from any CPU: what it waits for may be there
    _Atomic bool wants_lock; // it waits, or is about to, for its guest's lock
};
