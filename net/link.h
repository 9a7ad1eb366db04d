// SPDX-License-Identifier: BSD-2-Clause
// A link: the reliable, ordered, exactly-once channel of records between one host and one remote, over a
// carrier. Must not know guests, PCI or what a record means (REC_CREDIT excepted, and enough to keep
// completions for duplicates). All calls and all callbacks run with the net lock held (net/stack.h). No
// allocation: links come from a fixed pool.
#pragma once
#include "net/wire.h"
#include "rt/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct link;

// Times, in milliseconds. What they are for: docs/protocol.md, "Timers".
#define LINK_HELLO_MIN_MS       50u // first repetition of HELLO; doubles up to
#define LINK_HELLO_MAX_MS       500u
#define LINK_REFUSED_MS         1000u // host: next HELLO after a refusal
#define LINK_RTO_FIRST_MS       100u  // before anything was measured
#define LINK_RTO_MIN_MS         20u
#define LINK_RTO_POSTED_MS      70u // host: the least, while nothing on its way asks for a completion
#define LINK_RTO_MAX_MS         500u
#define LINK_ACK_DELAY_MS       5u    // a completion may carry the acknowledgement until then
#define LINK_ACK_POSTED_MS      20u   // remote, where none is asked for: events may carry it
#define LINK_ACK_FRAMES         8u    // or until that many DATA frames came
#define LINK_KEEPALIVE_MS       400u  // an ACK when nothing else was sent for so long
#define LINK_SILENCE_MS         5000u // nothing heard: frozen
#define LINK_SILENCE_WAITING_MS 300u  // host: nothing heard while something waits for acknowledgement: frozen
#define LINK_GRACE_MS           2000u // frozen for so long: down
#define LINK_TRIES_MAX          24u   // transmissions of one frame without acknowledgement: down

enum link_state {
    LINK_CLOSED,     // not in use
    LINK_CONNECTING, // host: HELLO sent, repeated until answered
    LINK_UP,
    LINK_FROZEN, // nothing heard for a while: still retransmitting, grace period runs
};

struct link_events {
    /// A new epoch began: forget everything of an earlier one.
    void (*up)(void *ctx, struct link *link);
    /// One record, in order, exactly once. `body` (size bytes after the header) is valid during the call.
    void (*record)(void *ctx, struct link *link, const struct wire_record *rec, const void *body,
                   size_t size);
    void (*frozen)(void *ctx, struct link *link);
    void (*resumed)(void *ctx, struct link *link);
    /// The epoch is over (grace period ran out, BYE, peer restarted). Outstanding requests will never be
    /// completed. A host's link goes back to LINK_CONNECTING by itself; a remote's is closed and `link` is
    /// invalid after the call. Not called for link_close().
    void (*down)(void *ctx, struct link *link, const char *why);
};

/// Host: opens (and keeps reopening) a link to a remote. `peer` is an IPv4 address, network order. ERR_NOMEM:
/// pool exhausted.
MUST_CHECK enum status link_connect(uint32_t peer, const char *node, const struct link_events *events,
                                    void *ctx, struct link **link);
/// Host: the remote announced itself at another address. False, and nothing is changed: it was heard at the
/// old one a moment ago, so somebody else said that, or said it too soon (the next announcement will tell).
MUST_CHECK bool link_set_peer(struct link *link, uint32_t peer);
/// Remote: links opened by hosts report here; `accept` returns the ctx for the link, or refuses with *why (a
/// sentence for the host's log). An accepted link is LINK_UP at once: `up` follows.
void link_listen(const struct link_events *events,
                 enum status (*accept)(void *arg, const char *host_node, uint32_t peer, void **ctx,
                                       const char **why),
                 void *arg);
/// Sends BYE and closes. `link` is invalid after the call. Allowed in callbacks.
void link_close(struct link *link, const char *why);

/// Appends one record to the open frame (header fields from `rec`, length computed), then body and data,
/// either may be empty. Sent at link_flush() or when the frame is full. ERR_LINK_DOWN: not LINK_UP/FROZEN;
/// ERR_BUSY: window and queue are full (poll and retry); ERR_RANGE: does not fit a frame; ERR_PROTOCOL: no
/// such record (wire_check_record), nothing appended. A remote's `record` callback never sees ERR_BUSY for
/// one completion (or REC_CREDIT) per request: frames are delivered only when there is room for their
/// answers. For that, events (REC_INTX..REC_ERROR, REC_DMA_*) see ERR_BUSY earlier, and DMA_DATA before all
/// others. What a `record` callback appends is
/// flushed when the frame that caused it has been delivered; no link_flush is needed there.
MUST_CHECK enum status link_send(struct link *link, const struct wire_record *rec, const void *body,
                                 size_t body_size, const void *data, size_t data_size);
/// Body and data (bytes) of the largest record that the open frame still takes, and that any frame does. 0:
/// no session.
size_t link_room(const struct link *link);
size_t link_room_max(const struct link *link);
/// Hands what is queued to the carrier, as far as the window allows.
void link_flush(struct link *link);
/// Host: ends the session from this side, because of what the peer does or does not do: BYE, `down` is
/// called, and the link begins anew. Allowed in callbacks.
void link_cut(struct link *link, const char *why);

enum link_state link_state(const struct link *link);
const char *link_peer_node(const struct link *link);
/// "udp" or "l2": what the session is on.
const char *link_carrier(const struct link *link);

struct link_stats {
    uint64_t frames_sent, frames_received, bytes_sent, bytes_received, records_sent, records_received;
    uint64_t retransmitted, duplicates, out_of_order, malformed, stale_epoch, acks_sent, window_stalls;
    uint64_t srtt_ns, rto_ns;
};
struct link_stats link_stats(const struct link *link);

// --- the node: what net/stack.c (or a test) drives ---

struct link_node;
struct carrier;

struct link_node_stats {
    uint64_t malformed[WIRE_FAULTS]; // by enum wire_fault
    uint64_t strangers;              // well-formed, but for no session of ours
    uint64_t hellos, refused, opened, downs;
    uint64_t retransmitted; // frames, by all links
    // with keys:
    uint64_t forged;   // not made by who it claims: a seal, a handshake message or a MAC is wrong
    uint64_t replayed; // taken before
    uint64_t unknown;  // handshakes of somebody with our network's key whose own key we do not have
    uint64_t limited;  // not even looked at: too many of the kind
};

/// Starts the node on zeroed memory and selects it. `boot_id` not 0, random per start. One program may hold
/// several nodes (simulations do); link_connect, link_listen and the functions below act on the one selected.
void link_start(struct link_node *node, const char *name, uint32_t boot_id, uint64_t seed,
                const struct carrier *carrier);
/// Frames of up to `frame_bytes` (548 to 8972) are made and taken, as far as the carriers and the peer take
/// them. `memory` is the node's: link_frames_memory(frame_bytes) bytes, aligned to 8, any content; NULL when
/// frame_bytes is at most 1472, which is also what holds without this call. Before the first link.
void link_frames(void *memory, size_t frame_bytes);
size_t link_frames_memory(size_t frame_bytes);
/// Beside the node's own carrier, links may use this one, which is tried first: a host sends its first HELLO
/// by it, the next ones by both, and the session is on the carrier whose answer comes first. NULL: there is
/// none.
void link_prefer(const struct carrier *carrier);
void link_select(struct link_node *node);
struct node_keys;
/// From now on every frame is sealed, and no other is taken. Before the first link; keeps the reference.
/// crypto_random() must have been seeded.
void link_use_keys(const struct node_keys *keys);
/// NULL: links are plain.
const struct node_keys *link_keys(void);
uint32_t link_boot_id(void);
/// Only before the first link.
void link_set_boot_id(uint32_t boot_id);
struct link_node_stats link_node_stats(void);
/// A frame came from `peer` by `carrier`; any bytes of any length. Not ANNOUNCE.
void link_input(const struct carrier *carrier, uint32_t peer, const void *frame, size_t size);
/// A frame that is not even a frame of ours was dropped before link_input: count it.
void link_count_fault(enum wire_fault fault);
/// A frame whose MAC is wrong, or that came before, was dropped: count it.
void link_count_forged(void);
void link_count_replayed(void);
void link_count_limited(void);
/// Runs timers that are due; cheap when none is.
void link_poll(uint64_t now_ns);
/// When link_poll has something to do by itself, time_ns() scale; ~0: never.
uint64_t link_next(void);
/// Host: `node` at `peer` announced itself. Repeats HELLO early, and notices a restart, unless the link was
/// heard just now: then it is somebody else who announces, or an old announcement.
void link_peer_announced(const char *node, uint32_t peer, uint32_t boot_id);
/// The n-th link in use, NULL behind the last (for the console).
struct link *link_get(unsigned n);
