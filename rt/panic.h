// SPDX-License-Identifier: BSD-2-Clause
// The end of the machine: only for a broken invariant of our own. Prints registers and a symbolized
// backtrace, stops all CPUs. Errors of a guest, a peer or a device never come here.
#pragma once

_Noreturn void panic(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define ASSERT(cond)                                                                                         \
    do {                                                                                                     \
        if (__builtin_expect(!(cond), 0))                                                                    \
            panic("%s:%d: %s does not hold", __FILE__, __LINE__, #cond);                                     \
    } while (0)
