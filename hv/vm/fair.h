// SPDX-License-Identifier: BSD-2-Clause
// What a guest owes to the others of its CPU. A turn is meant to last a slice for each of its vCPUs; an exit
// that waits for a remote, or work that is done for the guest between its slices, makes it longer. The
// surplus is a debt, paid with turns that are left out (deficit round robin). Knows no clock: all times are
// TSC ticks, given by the scheduler. Invariant: a guest that is alone on its CPU never waits, and no guest
// waits longer than FAIR_SLICES turns.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define FAIR_SLICES 16u // the most that is owed

struct fair {
    uint64_t debt;
};

/// It is this guest's turn. False: it lets this turn go. `contended`: others of this CPU want to run.
static inline bool fair_turn(struct fair *f, uint64_t slice, bool contended)
{
    if (!contended)
        f->debt = 0;
    if (f->debt < slice)
        return true;
    f->debt -= slice;
    return false;
}

/// Its turn is over: it took `used` where `due` would have been right.
static inline void fair_ran(struct fair *f, uint64_t slice, uint64_t used, uint64_t due)
{
    if (used > due)
        f->debt += used - due;
    else
        f->debt -= f->debt < due - used ? f->debt : due - used;
    if (f->debt > FAIR_SLICES * slice)
        f->debt = FAIR_SLICES * slice;
}
