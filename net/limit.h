// SPDX-License-Identifier: BSD-2-Clause
// How often something may be done: a token bucket in one number (GCRA, ITU-T I.371). Must not know what.
// Invariant: between any two moments no more than `burst` + (time between) / `interval` were allowed.
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct limit {
    uint64_t due; // when the bucket is full again
};

static inline bool limit_take(struct limit *l, uint64_t now, uint64_t interval, unsigned burst)
{
    uint64_t due = l->due > now ? l->due : now;
    if (due - now > interval * (burst - 1))
        return false;
    l->due = due + interval;
    return true;
}
