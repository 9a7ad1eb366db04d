// SPDX-License-Identifier: BSD-2-Clause
// Inside of discovery: what net/stack.c (or a test) drives. Users see net/discovery.h.
#pragma once
#include "net/carrier.h"
#include "net/discovery.h"
#include <stdbool.h>

/// Forgets everything. `broadcast` is the carrier's peer that means everybody. After link_start(): the boot
/// id is the link's.
void discovery_start(const struct carrier *carrier, uint32_t broadcast);
/// An ANNOUNCE frame (or any bytes) from `peer`.
void discovery_input(uint32_t peer, const void *frame, size_t size);
/// Announces when it is time and the carrier is `ready`.
void discovery_poll(uint64_t now_ns, bool ready);
/// When discovery_poll has something to do; ~0: never.
uint64_t discovery_next(void);
