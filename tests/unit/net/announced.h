// SPDX-License-Identifier: BSD-2-Clause
// Discovery (net/discovery.h) of a test in which heartbeats do not travel: what the remote announces is kept,
// what the host listens with is called by the test.
#pragma once
#include "net/discovery.h"

static const struct announcement *announced;
static bool announced_anew; // something changed: the remote would not wait for the next heartbeat
static void (*heard)(void *ctx, const struct announcement *a);
static void *heard_ctx;

void discovery_announce(const struct announcement *what, uint32_t unicast_to)
{
    (void)unicast_to;
    announced = what;
    announced_anew = true;
}

void discovery_listen(void (*handler)(void *ctx, const struct announcement *a), void *ctx)
{
    heard = handler;
    heard_ctx = ctx;
}

bool discovery_heard(unsigned n, struct announcement *a, uint64_t *when_ns)
{
    (void)n, (void)a, (void)when_ns;
    return false;
}

/// A heartbeat arrives.
static inline void hear(const struct announcement *a)
{
    heard(heard_ctx, a);
}
