// SPDX-License-Identifier: BSD-2-Clause
// Inside of the link: one node's links and the functions its files share. Only net/link*.c, net/stack.c
// (which owns the memory) and tests include this. Everybody else sees net/link.h.
//
//   link.c            pool, callers' functions, frames in, timers
//   link_handshake.c  HELLO, HELLO_ACK, BYE; epochs; freeze, grace period, down
//   link_reliable.c   sequence, acknowledgement, retransmission, rate
//   link_records.c    records into frames, frames into records
//   link_probe.c      how large frames may be
//   link_sealed.c     the same with keys: sealed frames, Noise in HELLO and HELLO_ACK
//
// Invariants of the sender: una <= nxt <= tail (serial numbers). [una, nxt) was sent at least once and is
// kept until it is acknowledged; [nxt, tail) is complete and waits for the window; tail is the frame that
// records are appended to.
#pragma once
#include "net/carrier.h"
#include "net/keys.h"
#include "net/limit.h"
#include "net/link.h"
#include "net/noise.h"
#include "net/seal.h"

#define LINK_POOL     8u  // links of one node
#define LINK_TX_SLOTS 64u // frames kept or queued per link; power of two
#define LINK_FRAME_BYTES                                                                                     \
    1472u // largest frame that passes everywhere: Ethernet's 1500 less IPv4 and UDP headers
#define LINK_STRIDE(frame_bytes) (((frame_bytes) + 7u) & ~(size_t)7)
#define LINK_TX_RESERVE                                                                                      \
    28u // remote: slots kept free for what answers one full frame of requests; worst case: frames of
        // 548 bytes, 26 requests of 20 bytes, each answered by 264 bytes, one to a frame (larger frames need
        // 15, as long as answers have them too)
#define LINK_TX_EVENTS 4u // remote: and these for interrupts while DMA_DATA comes in bulk
_Static_assert(LINK_TX_SLOTS >= WIRE_WINDOW + LINK_TX_RESERVE + LINK_TX_EVENTS,
               "the window must be able to move while answers wait");

enum tx_state {
    TX_QUEUED,    // complete, not sent yet
    TX_IN_FLIGHT, // sent, nothing heard
    TX_LOST,      // believed lost, to be sent again
    TX_SACKED,    // the peer has it
};

struct tx_slot {
    uint64_t sent_ns; // last transmission
    uint16_t size;
    uint8_t tries;
    uint8_t state; // enum tx_state
};

#define LINK_HELLO_BYTES                                                                                     \
    (sizeof(struct wire_frame) + WIRE_NOISE_1_BYTES + sizeof(struct wire_hello) + WIRE_MAC_BYTES)
#define LINK_HELLO_ACK_BYTES                                                                                 \
    (sizeof(struct wire_frame) + WIRE_NOISE_2_BYTES + sizeof(struct wire_hello_ack) + WIRE_MAC_BYTES)
#define LINK_PENDING 8u  // handshakes that a remote has answered and that no host has confirmed yet
#define LINK_SOURCES 16u // buckets that addresses are sorted into

/// Host, while CONNECTING with keys: the HELLO that is repeated, and what reads its answer.
struct link_hello {
    uint16_t size; // 0: not made yet
    struct noise_handshake noise;
    uint8_t frame[LINK_HELLO_BYTES];
};

/// Remote: message 1 was valid, and so made by that host, but perhaps long ago. It becomes a session with the
/// first frame sealed with its keys, which nobody can have recorded.
struct link_pending {
    uint32_t epoch, peer, boot_id, attempt; // epoch 0: free
    uint64_t since;
    uint16_t frame_max;
    uint32_t capabilities;
    char host[WIRE_NAME_MAX];
    uint8_t mac[WIRE_MAC_BYTES]; // of the HELLO: the same again gets the same answer
    struct seal seal;
    uint8_t answer[LINK_HELLO_ACK_BYTES];
};

/// What a node with keys has beside its links.
struct link_sealing {
    struct link_pending pending[LINK_PENDING];
    // [1]: of addresses where a session was lately, so that a flood from made-up ones does not keep it from
    // beginning anew
    struct limit mac[2], handshake[2], sources[LINK_SOURCES], complaints;
    uint32_t known[LINK_POOL], known_next;      // those addresses; which is replaced next
    uint8_t out[WIRE_FRAME_MAX + CRYPTO_SLACK]; // one frame on its way through a seal
    uint8_t in[WIRE_FRAME_MAX + CRYPTO_SLACK];
};

struct link {
    struct link_node *node;
    const struct link_events *events;
    void *ctx;
    const struct carrier *carrier;
    enum link_state state;
    bool host;            // this end is the host's
    bool flush;           // send the open frame as soon as the window allows
    bool carrier_busy;    // the NIC was full: pump again at the next poll
    bool ack_now;         // an acknowledgement must leave before this input ends
    uint8_t in_callback;  // depth: link_close inside a callback must not pull the ground away
    uint32_t incarnation; // changes with every epoch and close: callbacks check it
    uint32_t epoch, peer_boot_id;
    uint16_t frame_max;  // of frames that this end sends, before they are sealed
    uint16_t frame_goal; // what it becomes when a probe has passed; 0: it stays
    uint16_t agreed;     // in HELLO and HELLO_ACK; the peer sends no larger ones
    uint32_t capabilities;
    struct carrier_path path;
    char peer_node[WIRE_NAME_MAX];

    // keys
    bool sealed; // frames of this session are
    struct seal seal;
    struct link_hello hello;

    // handshake
    uint32_t attempt;        // of the HELLO that this session began with
    uint32_t hello_tries;    // of this epoch
    uint32_t hello_asked;    // times the preferred carrier did not know where to
    uint32_t hello_failures; // refusals in a row, for quiet logs
    uint64_t hello_due, hello_interval;
    uint64_t announced; // host: when the remote was last heard to announce itself; 0: never

    // sender
    uint32_t una, nxt, tail;
    uint32_t asked;           // host: the last frame that asks for a completion
    uint32_t open_size;       // bytes in the open frame, header included
    uint32_t in_flight, lost; // slots in these states
    uint32_t cwnd, ssthresh, cwnd_acked, recover;
    uint32_t backoff;
    uint64_t srtt, rttvar, rto;
    uint64_t rto_due, rack_due; // ~0: none
    uint64_t probe_due;         // host: next PROBE; ~0: none
    uint32_t probe_tries;
    uint32_t rack_sequence; // of the frame that rack_sent is about: frames of one flush leave in the same
                            // nanosecond
    uint64_t rack_sent;     // newest sent_ns that is known to have arrived
    uint64_t last_sent;

    // receiver
    uint32_t rcv_nxt;     // next DATA frame to deliver
    uint32_t rcv_have;    // bit i: frame rcv_nxt + i waits in rx
    uint32_t ack_pending; // DATA frames delivered since the last acknowledgement left
    uint64_t ack_due;     // ~0: none
    uint64_t last_heard, outstanding_since, frozen_at;

    uint64_t due; // earliest of all timers
    struct link_stats stats;
    struct tx_slot tx[LINK_TX_SLOTS];
    uint16_t rx_size[WIRE_WINDOW];
    uint8_t *frames; // LINK_TX_SLOTS of the sender, WIRE_WINDOW of the receiver
    uint32_t stride; // apart
};
#define LINK_FRAMES (LINK_TX_SLOTS + WIRE_WINDOW)

struct link_node {
    char name[WIRE_NAME_MAX];
    uint32_t boot_id;
    uint64_t random;
    uint32_t attempts;                         // HELLOs with a new epoch, of all links: wire_hello.attempt
    const struct carrier *carrier, *preferred; // preferred may be NULL
    const struct link_events *listen_events;
    enum status (*accept)(void *arg, const char *host_node, uint32_t peer, void **ctx, const char **why);
    void *accept_arg;
    uint64_t due;      // no timer of any link before this
    uint64_t bye_due;  // next answer to an unknown epoch not before this
    struct limit said; // sentences that peers can cause as often as they like
    struct link_node_stats stats;
    const struct node_keys *keys; // NULL: plain frames only
    uint32_t capabilities;        // WIRE_CAP_* that this node offers and takes
    struct link_sealing sealing;
    size_t frame_bytes; // largest frame this node takes
    size_t stride;
    uint8_t *frames; // of all links: `small`, or link_frames' memory
    uint8_t probe[WIRE_FRAME_MAX];
    struct link links[LINK_POOL];
    uint8_t small[LINK_POOL][LINK_FRAMES][LINK_FRAME_BYTES];
};

#define NEVER (~0ull)

static inline struct tx_slot *link_slot(struct link *l, uint32_t sequence)
{
    return &l->tx[sequence % LINK_TX_SLOTS];
}
static inline uint8_t *link_frame(struct link *l, uint32_t sequence)
{
    return l->frames + sequence % LINK_TX_SLOTS * l->stride;
}
static inline uint8_t *link_rx_frame(struct link *l, uint32_t sequence)
{
    return l->frames + (LINK_TX_SLOTS + sequence % WIRE_WINDOW) * l->stride;
}
static inline uint32_t link_outstanding(const struct link *l)
{
    return l->nxt - l->una;
}
static inline uint32_t link_free_slots(const struct link *l)
{
    return LINK_TX_SLOTS - 1 - (l->tail - l->una); // the open frame holds one
}

// link.c
struct link_node *link_selected(void);
struct link *link_take(struct link_node *node, const struct carrier *carrier,
                       const struct link_events *events, void *ctx, uint32_t peer, const char *peer_node,
                       bool host);
/// The link's frames go by this carrier from now on.
void link_use(struct link *l, const struct carrier *carrier);
void link_give(struct link *l);
uint64_t link_random(struct link_node *node);
/// When the link freezes if nothing is heard until then. A host that waits for something is impatient: its
/// guest waits, too. A remote is patient: freezing only costs its host the functions, and a host that came
/// back says so itself.
uint64_t link_silence_due(const struct link *l);
/// Recomputes l->due from all its timers, and tells the node.
void link_reschedule(struct link *l);

/// A plain frame, checked by wire_check_frame, that came for this link.
void link_frame_input(struct link *l, const struct carrier *carrier, const struct wire_frame *frame,
                      size_t size, uint64_t now);
/// The link a DATA or ACK frame belongs to.
struct link *link_find(struct link_node *n, uint32_t peer, uint32_t epoch);

// link_handshake.c
/// May a sentence be said that a peer can cause as often as it likes? 64 at once, four a second: the net lock
/// is held, and a console is slow.
bool link_may_say(struct link_node *n, uint64_t now);
void link_hello_start(struct link *l, uint64_t now, uint64_t delay);
void link_hello_repeat(struct link *l, uint64_t now);
void link_handshake_input(struct link_node *node, const struct carrier *carrier, uint32_t peer,
                          const struct wire_frame *frame, uint64_t now);
/// The link of this host, by name: its address may have changed.
struct link *link_of_host(struct link_node *n, const char *host);
/// The host's link that waits for the answer to this epoch's HELLO.
struct link *link_connecting(struct link_node *n, uint32_t peer, uint32_t epoch);
void link_hello_acked(struct link_node *n, const struct carrier *carrier, uint32_t peer,
                      const struct wire_frame *frame, uint64_t now);
void link_bye_input(struct link_node *n, uint32_t peer, const struct wire_frame *frame, uint64_t now);
void link_bye(struct link_node *node, struct link *l, const struct carrier *carrier, uint32_t peer,
              uint32_t epoch, enum wire_bye_reason reason, const char *why);
/// The epoch is over: host goes back to CONNECTING, remote's link is given back; `down` is called.
void link_down(struct link *l, uint64_t now, const char *why);
void link_heard(struct link *l, uint64_t now);
void link_watch(struct link *l, uint64_t now);

// link_sealed.c
/// Any bytes of any length from `peer`, at a node with keys.
void link_sealed_input(struct link_node *n, const struct carrier *carrier, uint32_t peer, const void *frame,
                       size_t size, uint64_t now);
/// Makes `plain` (LINK_HELLO_BYTES are enough) into the HELLO of this link, once for an epoch. ERR_NOTFOUND:
/// no public key of the remote is known.
MUST_CHECK enum status link_sealed_hello(struct link *l, const struct wire_frame *plain);
/// Seals a plain frame of `*size` bytes; valid until the next call. NULL: the keys are used up.
const void *link_seal(struct link *l, const struct wire_frame *frame, size_t *size);
/// Wipes handshakes that no host has confirmed in time; sees to n->due.
void link_forget_pending(struct link_node *n, uint64_t now);
/// Wipes the keys of a session that is over, and of one that was beginning.
void link_forget_keys(struct link *l);

// link_probe.c
/// What every carrier of this node takes: a session may end up on any of them.
uint16_t link_own_frame_max(const struct link_node *n);
/// What a remote answers to a HELLO, `capabilities` being what both have: whoever cannot probe gets no jumbo
/// frames, and must not send any, or the answers would not fit LINK_TX_RESERVE.
uint16_t link_answer_frame_max(const struct link_node *n, uint16_t offered, uint32_t capabilities);
/// A plain frame of this size breaks what was agreed.
bool link_frame_too_large(const struct link *l, size_t size);
/// A session begins, with these in HELLO_ACK; after link_reset, with l->sealed set.
void link_agree(struct link *l, uint16_t agreed, uint32_t capabilities);
/// Sends a probe if one is due, or gives up.
void link_probe(struct link *l, uint64_t now);
/// A plain PROBE, checked by wire_check_frame, that came for this link.
void link_probe_input(struct link *l, const struct wire_frame *frame, size_t size, uint64_t now);
/// Frames of the size agreed have passed both ways. May be called at any time.
void link_frames_proven(struct link *l);

// link_reliable.c
void link_reset(struct link *l, uint32_t epoch, uint64_t now);
void link_acknowledged(struct link *l, const struct wire_frame *frame, uint64_t now);
void link_answer_duplicate(struct link *l, uint64_t now);
void link_measure(struct link *l, uint64_t rtt);
/// Sends whatever may be sent: lost frames first, then new ones.
void link_pump(struct link *l, uint64_t now);
void link_send_ack(struct link *l, uint64_t now);
void link_retransmit_due(struct link *l, uint64_t now);

// link_records.c
void link_open_frame(struct link *l);
void link_close_frame(struct link *l);
void link_data_input(struct link *l, const struct wire_frame *frame, uint64_t now);
/// Delivers buffered frames that became deliverable.
void link_deliver_waiting(struct link *l, uint64_t now);
