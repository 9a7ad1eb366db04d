// SPDX-License-Identifier: BSD-2-Clause
// A link: the reliable, ordered, exactly-once channel of records between one host and one remote, over a carrier.
// Must not know guests, PCI or what a record means (REC_CREDIT excepted, and enough to keep completions for duplicates).
// All calls and all callbacks run with the net lock held (net/stack.h). No allocation: links come from a fixed pool.
#pragma once
#include "net/wire.h"
#include "rt/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct link;

enum link_state {
    LINK_CLOSED,     // not in use
    LINK_CONNECTING, // host: HELLO sent, repeated until answered
    LINK_UP,
    LINK_FROZEN,     // nothing heard for a while: still retransmitting, grace period runs
};

struct link_events {
    /// A new epoch began: forget everything of an earlier one.
    void (*up)(void *ctx, struct link *link);
    /// One record, in order, exactly once. `body` (size bytes after the header) is valid during the call.
    void (*record)(void *ctx, struct link *link, const struct wire_record *rec, const void *body, size_t size);
    void (*frozen)(void *ctx, struct link *link);
    void (*resumed)(void *ctx, struct link *link);
    /// The epoch is over (grace period ran out, BYE, peer restarted). Outstanding requests will never be completed.
    /// A host's link goes back to LINK_CONNECTING by itself; a remote's is closed and `link` is invalid after the call.
    void (*down)(void *ctx, struct link *link, const char *why);
};

/// Host: opens (and keeps reopening) a link to a remote. `peer` is an IPv4 address, network order. ERR_NOMEM: pool exhausted.
MUST_CHECK enum status link_connect(uint32_t peer, const char *node, const struct link_events *events, void *ctx,
                                    struct link **link);
/// Host: the remote has moved to another address (announcement).
void link_set_peer(struct link *link, uint32_t peer);
/// Remote: links opened by hosts report here; `accept` returns the ctx for the link, or refuses with *why.
void link_listen(const struct link_events *events,
                 enum status (*accept)(void *arg, const char *host_node, uint32_t peer, void **ctx, const char **why), void *arg);
/// Sends BYE and closes.
void link_close(struct link *link, const char *why);

/// Appends one record to the open frame (header fields from `rec`, length computed), then body and data, either may be empty.
/// Sent at link_flush() or when the frame is full. ERR_LINK_DOWN: not LINK_UP/FROZEN; ERR_BUSY: window and queue are full
/// (poll and retry); ERR_RANGE: does not fit a frame.
MUST_CHECK enum status link_send(struct link *link, const struct wire_record *rec, const void *body, size_t body_size,
                                 const void *data, size_t data_size);
/// Hands what is queued to the carrier, as far as the window allows.
void link_flush(struct link *link);

enum link_state link_state(const struct link *link);
const char *link_peer_node(const struct link *link);
uint32_t link_peer(const struct link *link);

struct link_stats {
    uint64_t frames_sent, frames_received, bytes_sent, bytes_received, records_sent, records_received;
    uint64_t retransmitted, duplicates, out_of_order, malformed, stale_epoch, acks_sent, window_stalls;
    uint64_t srtt_ns, rto_ns;
};
struct link_stats link_stats(const struct link *link);
