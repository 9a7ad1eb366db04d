// SPDX-License-Identifier: BSD-2-Clause
// Runs of the DMA mirror's world (mirror_driver.h), one for each seed, and what came of them in all.
// MIRROR_SEED in the environment runs one seed only. The test says what a run is.
#pragma once
#include "tests/unit/mirror_driver.h"

static void run(uint64_t seed, unsigned operations, bool all_mapped, unsigned breaks);

static unsigned total_completed, total_aborts, total_interrupts;

static void run_many(uint64_t first, unsigned runs, unsigned operations, bool all_mapped, unsigned breaks)
{
    const char *one = getenv("MIRROR_SEED");
    for (unsigned i = 0; i < runs; i++) {
        run(one ? strtoull(one, NULL, 0) : first + i, operations, all_mapped, breaks);
        total_completed += w.completed;
        total_aborts += w.aborts;
        total_interrupts += w.interrupts;
        if (one)
            return;
    }
}
