// SPDX-License-Identifier: BSD-2-Clause
// A host and a remote on the simulated network, and users of their link that check what they get: requests
// and completions numbered, once and in order. For the tests of the link.
#pragma once
#include "tests/unit/net/sim.h"

#define MS     1000000ull
#define HOST   0
#define REMOTE 1

/// What both users saw.
struct pair_state {
    struct link *host, *remote;
    unsigned ups, downs, frozen, resumed, remote_ups, remote_downs;
    char why[80];
    uint32_t asked, answered; // host: next request number to send; next completion number expected
    uint32_t executed;        // remote: next request number expected: nothing executed twice, or out of order
    uint32_t writes_sent, writes_seen;
    uint32_t limit;
    bool refuse;
    unsigned batch;
};
extern struct pair_state t;

uint32_t pair_payload_size(uint32_t n);
void pair_remote_record(void *ctx, struct link *l, const struct wire_record *rec, const void *body,
                        size_t size);
void pair_host_record(void *ctx, struct link *l, const struct wire_record *rec, const void *body,
                      size_t size);
void pair_host_up(void *ctx, struct link *l);
void pair_remote_up(void *ctx, struct link *l);
void pair_on_frozen(void *ctx, struct link *l);
void pair_on_resumed(void *ctx, struct link *l);
void pair_host_down(void *ctx, struct link *l, const char *why);
void pair_remote_down(void *ctx, struct link *l, const char *why);
enum status pair_accept_host(void *arg, const char *host_node, uint32_t peer, void **ctx, const char **why);
void pair_boot_host(void);
void pair_boot_remote(void);
void pair_begin(uint64_t seed);
void pair_traffic(void);
void pair_all_arrived(void);
extern const struct link_events pair_host_events, pair_remote_events;
