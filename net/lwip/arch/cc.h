// SPDX-License-Identifier: BSD-2-Clause
// lwIP's view of compiler and machine: little-endian x86-64, newlib's headers, our panic for broken
// invariants.
#pragma once
#include "rt/panic.h"
#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

// ssize_t is the C library's: lwIP makes its own where this is missing, as it is in newlib's limits.h.
#ifndef SSIZE_MAX
#define SSIZE_MAX LONG_MAX
#endif

#ifndef SSIZE_MAX // strict C17 hides it, and lwIP would make an ssize_t of its own
#define SSIZE_MAX LONG_MAX
#endif

uint32_t net_random(void);

#define LWIP_NO_UNISTD_H 1
#define LWIP_RAND()      net_random()

#define LWIP_PLATFORM_DIAG(x)                                                                                \
    do {                                                                                                     \
    } while (0)
#define LWIP_PLATFORM_ASSERT(x) panic("lwIP: %s", (x))

#ifndef BYTE_ORDER
#define LITTLE_ENDIAN 1234
#define BIG_ENDIAN    4321
#define BYTE_ORDER    LITTLE_ENDIAN
#endif
