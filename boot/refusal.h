// SPDX-License-Identifier: BSD-2-Clause
// Why the loader will not start something: one sentence for the person in front of the machine.
// Everything that decides fills one of these and returns an error; only main.c prints it and goes back to the
// firmware.
#pragma once
#include "rt/status.h"
#include <stdint.h>

struct refusal {
    char text[640]; // empty: nothing refused yet
};

/// Writes the sentence and returns `code`, so that a check ends with `return refuse(...)`. The first sentence
/// stays: it is the cause, what follows is its consequence. A sentence that is too long loses its end.
MUST_CHECK enum status refuse(struct refusal *why, enum status code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/// The same about a line of a file: "PATH line N: ..."; line 0: "PATH: ...".
MUST_CHECK enum status refuse_line(struct refusal *why, enum status code, const char *path, uint32_t line,
                                   const char *fmt, ...) __attribute__((format(printf, 5, 6)));
