// SPDX-License-Identifier: BSD-2-Clause
// Exactly once and in order, the sender's half: what is sent, kept, believed lost and sent again, and how
// much at a time. Round-trip time and time-out as RFC 6298 (Karn's rule: only frames sent once are measured);
// loss by time as RFC 8985 (RACK): a frame is lost when one sent later has arrived and a round trip and a
// quarter have passed. Window in frames, AIMD. Must not know what is in a frame. A frame is freed only by
// acknowledgement or by the end of the epoch.
#include "net/link_node.h"
#include "rt/time.h"

#define MS 1000000ull

#define CWND_FIRST 16u
#define CWND_MIN   4u

void link_reset(struct link *l, uint32_t epoch, uint64_t now)
{
    l->incarnation++;
    l->epoch = epoch;
    l->una = l->nxt = l->tail = 1;
    l->asked = 0;
    l->in_flight = l->lost = 0;
    l->cwnd = CWND_FIRST;
    l->ssthresh = WIRE_WINDOW;
    l->cwnd_acked = 0;
    l->recover = 0;
    l->backoff = 0;
    l->srtt = l->rttvar = 0;
    l->rto = LINK_RTO_FIRST_MS * MS;
    l->rto_due = l->rack_due = l->ack_due = l->probe_due = NEVER;
    l->rack_sent = 0;
    l->rack_sequence = 0;
    l->last_sent = l->last_heard = l->outstanding_since = now;
    l->rcv_nxt = 1;
    l->rcv_have = 0;
    l->ack_pending = 0;
    l->flush = l->carrier_busy = l->ack_now = false;
    link_forget_keys(l);
    link_open_frame(l);
}

// --- out ---

static enum status hand_over(struct link *l, struct wire_frame *f, size_t size, uint64_t now)
{
    f->ack = l->rcv_nxt - 1;
    f->sack = l->rcv_have >> 1;
    const void *out = f;
    if (l->sealed && (out = link_seal(l, f, &size)) == NULL)
        return OK; // lost: link_watch ends the session
    l->path.now = now;
    enum status s = l->carrier->send(l->carrier->ctx, &l->path, out, size);
    if (s == ERR_BUSY) {
        l->carrier_busy = true;
        return s;
    }
    l->last_sent = now;
    l->stats.frames_sent++;
    l->stats.bytes_sent += size;
    l->ack_pending = 0;
    l->ack_due = NEVER;
    l->ack_now = false;
    return OK; // anything else the carrier says is a lost frame, and lost frames are our trade
}

/// The peer may let the acknowledgement wait longer where nothing asks for a completion.
static uint64_t rto_now(const struct link *l)
{
    bool posted = l->host && (int32_t)(l->asked - l->una) < 0;
    uint64_t least = posted ? LINK_RTO_POSTED_MS * MS : 0;
    uint64_t rto = (l->rto > least ? l->rto : least) << l->backoff;
    return rto > LINK_RTO_MAX_MS * MS ? LINK_RTO_MAX_MS * MS : rto;
}

/// False: the NIC is full.
static bool transmit(struct link *l, uint32_t sequence, uint64_t now)
{
    struct tx_slot *slot = link_slot(l, sequence);
    if (hand_over(l, (struct wire_frame *)link_frame(l, sequence), slot->size, now) != OK)
        return false;
    slot->sent_ns = now;
    slot->tries++;
    slot->state = TX_IN_FLIGHT;
    l->in_flight++;
    uint64_t rto = rto_now(l);
    if (l->rto_due == NEVER || l->rto_due > now + rto)
        l->rto_due = now + rto;
    return true;
}

static bool pump_lost(struct link *l, uint64_t now)
{
    for (uint32_t s = l->una; l->lost != 0 && s != l->nxt; s++) {
        if (link_slot(l, s)->state != TX_LOST)
            continue;
        if (l->in_flight >= l->cwnd || !transmit(l, s, now))
            return false;
        l->lost--;
        l->stats.retransmitted++;
        l->node->stats.retransmitted++;
    }
    return true;
}

void link_pump(struct link *l, uint64_t now)
{
    if (l->lost != 0 && !pump_lost(l, now))
        return;
    for (;;) {
        if (l->nxt == l->tail) {
            if (!l->flush || l->open_size == sizeof(struct wire_frame)) {
                l->flush = false;
                return;
            }
        }
        if (l->in_flight >= l->cwnd || link_outstanding(l) >= WIRE_WINDOW) {
            l->stats.window_stalls++;
            return;
        }
        if (l->nxt == l->tail)
            link_close_frame(l);
        if (!transmit(l, l->nxt, now))
            return;
        if (l->una == l->nxt)
            l->outstanding_since = now;
        l->nxt++;
    }
}

void link_send_ack(struct link *l, uint64_t now)
{
    struct wire_frame f = {
        .magic = WIRE_MAGIC,
        .version = WIRE_VERSION,
        .type = WIRE_ACK,
        .length = sizeof f,
        .epoch = l->epoch,
    };
    if (hand_over(l, &f, sizeof f, now) == OK)
        l->stats.acks_sent++;
    else
        l->ack_due = now; // at the next poll
}

// --- acknowledgements in ---

void link_measure(struct link *l, uint64_t rtt)
{
    if (l->srtt == 0) {
        l->srtt = rtt == 0 ? 1 : rtt;
        l->rttvar = rtt / 2;
    } else {
        uint64_t diff = l->srtt > rtt ? l->srtt - rtt : rtt - l->srtt;
        l->rttvar += diff / 4 - l->rttvar / 4;
        l->srtt += rtt / 8 - l->srtt / 8;
    }
    uint64_t rto = l->srtt + 4 * l->rttvar;
    l->rto = rto < LINK_RTO_MIN_MS * MS   ? LINK_RTO_MIN_MS * MS
             : rto > LINK_RTO_MAX_MS * MS ? LINK_RTO_MAX_MS * MS
                                          : rto;
}

/// Did this frame leave before the newest one that is known to have arrived? (RFC 8985, 5.2: RACK_sent_after)
static bool sent_before(const struct tx_slot *slot, uint32_t sequence, const struct link *l)
{
    return slot->sent_ns < l->rack_sent ||
           (slot->sent_ns == l->rack_sent && (int32_t)(sequence - l->rack_sequence) < 0);
}

/// The peer has this frame: it leaves whatever state it was in.
static void arrived(struct link *l, uint32_t sequence, uint64_t *sample)
{
    struct tx_slot *slot = link_slot(l, sequence);
    if (slot->state == TX_IN_FLIGHT)
        l->in_flight--;
    else if (slot->state == TX_LOST)
        l->lost--;
    else
        return; // sacked before
    slot->state = TX_SACKED;
    if (!sent_before(slot, sequence, l)) {
        l->rack_sent = slot->sent_ns;
        l->rack_sequence = sequence;
    }
    if (slot->tries == 1)
        *sample = slot->sent_ns;
    if (l->cwnd < l->ssthresh) {
        l->cwnd++;
    } else if (++l->cwnd_acked >= l->cwnd) {
        l->cwnd_acked = 0;
        if (l->cwnd < WIRE_WINDOW)
            l->cwnd++;
    }
}

/// Once per window of frames: halve.
static void slow_down(struct link *l)
{
    if ((int32_t)(l->una - l->recover) < 0)
        return;
    l->recover = l->nxt;
    l->ssthresh = l->cwnd / 2 < CWND_MIN ? CWND_MIN : l->cwnd / 2;
    l->cwnd = l->ssthresh;
    l->cwnd_acked = 0;
}

static void mark_lost(struct link *l, struct tx_slot *slot)
{
    slot->state = TX_LOST;
    l->in_flight--;
    l->lost++;
}

/// RFC 8985, 6.2: frames sent before one that arrived, a reordering window ago.
static void detect_loss(struct link *l, uint64_t now)
{
    uint64_t patience = l->srtt + (l->srtt / 4 > MS / 4 ? l->srtt / 4 : MS / 4);
    bool any = false;
    l->rack_due = NEVER;
    for (uint32_t s = l->una; s != l->nxt; s++) {
        struct tx_slot *slot = link_slot(l, s);
        if (slot->state != TX_IN_FLIGHT || !sent_before(slot, s, l))
            continue;
        if (now >= slot->sent_ns + patience) {
            mark_lost(l, slot);
            any = true;
        } else if (slot->sent_ns + patience < l->rack_due) {
            l->rack_due = slot->sent_ns + patience;
        }
    }
    if (any)
        slow_down(l);
}

void link_acknowledged(struct link *l, const struct wire_frame *frame, uint64_t now)
{
    if ((int32_t)(frame->ack - (l->una - 1)) < 0)
        return; // older than what we know
    uint64_t sample = NEVER;
    uint32_t una = l->una;
    while (l->una != frame->ack + 1) {
        arrived(l, l->una, &sample);
        l->una++;
    }
    uint32_t sack = frame->sack;
    bool news = l->una != una;
    while (sack != 0) {
        uint32_t s = frame->ack + 2 + (uint32_t)__builtin_ctz(sack);
        sack &= sack - 1;
        news |= link_slot(l, s)->state != TX_SACKED;
        arrived(l, s, &sample);
    }
    if (!news)
        return;
    if (sample != NEVER) {
        uint64_t rtt = now - sample;
        if (l->host && frame->type == WIRE_ACK && rtt >= LINK_ACK_POSTED_MS * MS)
            rtt -= LINK_ACK_POSTED_MS * MS; // it was waiting (RFC 9002, 5.3)
        link_measure(l, rtt);
        l->backoff = 0; // RFC 6298, 5: not by a frame that was sent twice
    }
    l->outstanding_since = now;
    if (l->una == l->nxt) {
        l->rto_due = l->rack_due = NEVER;
        return;
    }
    l->rto_due = now + rto_now(l);
    detect_loss(l, now);
}

/// The peer repeats what we have: it lacks our acknowledgement, and most likely the completions that would
/// have carried it. They are sent again from here, never made again. Frames that left less than half a round
/// trip ago are on their way.
void link_answer_duplicate(struct link *l, uint64_t now)
{
    uint64_t guard = l->srtt / 2 > MS ? l->srtt / 2 : MS;
    for (uint32_t s = l->una; s != l->nxt; s++) {
        struct tx_slot *slot = link_slot(l, s);
        if (slot->state == TX_IN_FLIGHT && now - slot->sent_ns >= guard)
            mark_lost(l, slot);
    }
    l->ack_now = true;
}

void link_retransmit_due(struct link *l, uint64_t now)
{
    if (now >= l->rack_due)
        detect_loss(l, now);
    if (now < l->rto_due)
        return;
    if (link_slot(l, l->una)->tries >= LINK_TRIES_MAX) {
        link_bye(l->node, l, l->carrier, l->path.peer, l->epoch, BYE_TIMEOUT,
                 "a frame was never acknowledged");
        link_down(l, now, "the peer does not acknowledge");
        return;
    }
    for (uint32_t s = l->una; s != l->nxt; s++)
        if (link_slot(l, s)->state == TX_IN_FLIGHT)
            mark_lost(l, link_slot(l, s));
    l->ssthresh = l->cwnd / 2 < CWND_MIN ? CWND_MIN : l->cwnd / 2;
    l->cwnd = 1;
    l->cwnd_acked = 0;
    l->recover = l->nxt;
    if (l->backoff < 5)
        l->backoff++;
    l->rto_due = now + rto_now(l);
}
