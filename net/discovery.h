// SPDX-License-Identifier: BSD-2-Clause
// Announcements (heartbeats): a remote says who it is and what it lends; a host listens. No list of remotes
// is needed. Same lock rules as net/link.h.
#pragma once
#include "net/wire.h"
#include "rt/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISCOVERY_FUNCTIONS_MAX 64
#define DISCOVERY_INTERVAL_MS   500u

struct announcement {
    char node[32];
    uint32_t boot_id; // random per start of the remote: a change means that it restarted (sender: filled in
                      // by discovery)
    uint32_t peer;    // sender's IPv4 address, network order (filled by the receiver)
    uint16_t function_count;
    const struct wire_function *functions;
};

/// Remote: announces this every DISCOVERY_INTERVAL_MS by broadcast (and to `unicast_to` if not 0), and at
/// once when called again because something changed. Keeps references.
void discovery_announce(const struct announcement *what, uint32_t unicast_to);
/// Host: called for every valid announcement (all functions, even when they came in several frames).
void discovery_listen(void (*heard)(void *ctx, const struct announcement *a), void *ctx);

/// Host: what the n-th remote that was heard of announced last (no functions: not all of its list has come),
/// and when (time_ns() scale). False: there are no more. a->functions is valid until the net lock is given
/// away.
bool discovery_heard(unsigned n, struct announcement *a, uint64_t *when_ns);

struct discovery_stats {
    uint64_t sent, received, malformed;
};
struct discovery_stats discovery_stats(void);
