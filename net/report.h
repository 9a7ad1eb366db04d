// SPDX-License-Identifier: BSD-2-Clause
// What the consoles of both ends say of the network.
#pragma once
#include "net/link.h"

/// "up", "frozen", ...; never NULL.
const char *link_state_name(enum link_state state);
/// Logs what went over a link, and how. peer: what the lines begin with ("remote "disk1""). Lock held.
void link_report(const struct link *link, const char *peer);
/// Logs why frames were dropped, and what became of sessions and announcements. Without the lock: each figure
/// is true, they may be of slightly different moments.
void net_print_counters(void);
