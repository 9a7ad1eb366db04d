// SPDX-License-Identifier: BSD-2-Clause
// What the consoles of both ends say of the network.
#pragma once
#include "net/link.h"

/// "up", "frozen", ...; never NULL.
const char *link_state_name(enum link_state state);
/// Logs why frames were dropped, and what became of sessions and announcements. Without the lock: each figure
/// is true, they may be of slightly different moments.
void net_print_counters(void);
