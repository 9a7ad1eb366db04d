// SPDX-License-Identifier: BSD-2-Clause
// The remote's side of links: which hosts are there, what they claim, and the way from a record to its
// completion. Knows links and the table of functions; must not know how a function is touched. Everything
// runs with the net lock held (net/stack.h). Invariant: every non-posted request of a living link is
// completed exactly once, in spite of a full link.
#pragma once
#include "net/link.h"
#include "remote-fw/completions.h"
#include "remote-fw/executor.h"
#include "remote-fw/mastering.h"

#define SERVER_HOSTS_MAX 8u
struct server_host {
    struct link *link; // NULL: free row
    char node[WIRE_NAME_MAX];
    uint32_t peer;
    bool unflushed;        // something was appended since the last poll
    const char *close_why; // set: to be closed at the next poll
    struct completions completions;
    uint64_t attaches, refused;
};

/// How mastering reaches the owners of functions.
extern const struct mastering_link server_mastering_link;
/// Starts serving `functions` (kept): resets them all, listens for hosts and announces. `unicast_to`:
/// discovery_announce.
void server_start(struct functions *functions, const char *node, uint32_t unicast_to);
/// After every net_poll: resets that ended, completions and credits that waited, announcements that changed;
/// flushes. True when it had something to do.
bool server_poll(void);
/// Ends all links (the machine goes down): hosts learn at once.
void server_stop(const char *why);

/// How long this CPU may sleep, at most `most`: neither an INTx nor a write to memory is heard, they must be
/// looked for.
uint64_t server_looks_ns(uint64_t most);
struct functions *server_functions(void);
/// NULL: row not in use.
const struct server_host *server_host_at(unsigned index);
/// Name of a function's owner; "" for none.
const char *server_owner(const struct function *f);
