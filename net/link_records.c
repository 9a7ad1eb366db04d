// SPDX-License-Identifier: BSD-2-Clause
// Records into frames and frames into records: the receiver's half of exactly once and in order.
// Must not know what a record means. A frame's records reach the user in one go, after every frame before it,
// and never twice: rcv_nxt moves past a frame before its first record is delivered.
#include "net/link_node.h"
#include "rt/time.h"

#include <string.h>

#define MS 1000000ull

// --- out ---

void link_open_frame(struct link *l)
{
    struct wire_frame *f = (struct wire_frame *)link_frame(l, l->tail);
    *f = (struct wire_frame){
        .magic = WIRE_MAGIC,
        .version = WIRE_VERSION,
        .type = WIRE_DATA,
        .epoch = l->epoch,
        .sequence = l->tail,
    };
    l->open_size = sizeof *f;
}

void link_close_frame(struct link *l)
{
    struct tx_slot *slot = link_slot(l, l->tail);
    ((struct wire_frame *)link_frame(l, l->tail))->length = (uint16_t)l->open_size;
    slot->size = (uint16_t)l->open_size;
    slot->state = TX_QUEUED;
    slot->tries = 0;
    l->tail++;
    link_open_frame(l);
}

/// How many must be free for this record: what is not asked for leaves room for what is (at a remote).
static uint32_t slots_needed(const struct link *l, uint8_t type)
{
    if (l->host || type < REC_INTX || type == REC_CREDIT)
        return 0;
    return LINK_TX_RESERVE + 1 + (type == REC_DMA_DATA ? LINK_TX_EVENTS : 0);
}

enum status link_send(struct link *l, const struct wire_record *rec, const void *body, size_t body_size,
                      const void *data, size_t data_size)
{
    if (l->state != LINK_UP && l->state != LINK_FROZEN)
        return ERR_LINK_DOWN;
    if (body_size > WIRE_FRAME_MAX || data_size > WIRE_FRAME_MAX)
        return ERR_RANGE;
    size_t size = sizeof *rec + body_size + data_size;
    if (size > l->frame_max - sizeof(struct wire_frame))
        return ERR_RANGE;
    if (link_free_slots(l) < slots_needed(l, rec->type))
        return ERR_BUSY;
    if (l->open_size + size > l->frame_max) {
        if (link_free_slots(l) == 0)
            return ERR_BUSY;
        link_close_frame(l);
        link_pump(l, time_ns());
        link_reschedule(l);
    }

    uint8_t *at = link_frame(l, l->tail) + l->open_size;
    struct wire_record *out = (struct wire_record *)at;
    *out = *rec;
    out->length = (uint16_t)size;
    at += sizeof *out;
    if (body_size == sizeof(struct wire_access))
        memcpy(at, body, sizeof(struct wire_access));
    else if (body_size != 0)
        memcpy(at, body, body_size);
    at += body_size;
    if (data_size == 4)
        memcpy(at, data, 4);
    else if (data_size == 8)
        memcpy(at, data, 8);
    else if (data_size != 0)
        memcpy(at, data, data_size);
    if (wire_check_record(out, l->host ? WIRE_TO_REMOTE : WIRE_TO_HOST) != WIRE_FINE)
        return ERR_PROTOCOL; // open_size was not moved: it is as if nothing had been written
    if (wire_asks(rec->type))
        l->asked = l->tail;
    l->open_size += (uint32_t)size;
    l->stats.records_sent++;
    return OK;
}

// --- in ---

/// A remote takes requests only when what answers them fits: otherwise its user would be stuck in the middle
/// of a frame. A host always takes completions, so one of the two always moves.
static bool room_for_answers(const struct link *l)
{
    return l->host || link_free_slots(l) >= LINK_TX_RESERVE;
}

/// False: the link is another one now (closed, or a new epoch).
static bool deliver(struct link *l, const void *bytes, size_t size, uint64_t now)
{
    uint32_t incarnation = l->incarnation;
    l->rcv_nxt++;
    l->rcv_have >>= 1;
    if (l->ack_pending++ == 0)
        l->ack_due = now + (l->host ? LINK_ACK_DELAY_MS : LINK_ACK_POSTED_MS) * MS;
    if (l->ack_pending >= LINK_ACK_FRAMES)
        l->ack_now = true;

    struct wire_iter it = wire_records(bytes, size);
    const struct wire_record *rec;
    l->in_callback++;
    while (l->incarnation == incarnation && (rec = wire_next(&it)) != NULL) {
        l->stats.records_received++;
        if (l->ack_pending != 0 && wire_asks(rec->type) && l->ack_due > now + LINK_ACK_DELAY_MS * MS)
            l->ack_due = now + LINK_ACK_DELAY_MS * MS;
        l->events->record(l->ctx, l, rec, rec + 1, rec->length - sizeof *rec);
    }
    l->in_callback--;
    return l->incarnation == incarnation;
}

void link_deliver_waiting(struct link *l, uint64_t now)
{
    while ((l->rcv_have & 1) != 0 && room_for_answers(l)) {
        uint32_t n = l->rcv_nxt;
        if (!deliver(l, link_rx_frame(l, n), l->rx_size[n % WIRE_WINDOW], now))
            return;
    }
}

void link_data_input(struct link *l, const struct wire_frame *frame, uint64_t now)
{
    uint32_t ahead = frame->sequence - l->rcv_nxt;
    if ((int32_t)ahead >= (int32_t)WIRE_WINDOW) {
        l->stats.out_of_order++; // beyond any window: not from a peer that keeps the rules
    } else if ((int32_t)ahead < 0 || (l->rcv_have >> ahead & 1) != 0) {
        l->stats.duplicates++;
        link_answer_duplicate(l, now);
    } else if (ahead == 0 && room_for_answers(l)) {
        if (l->rcv_have != 0)
            l->ack_now = true; // RFC 5681, 4.2: what fills a gap is acknowledged at once
        if (!deliver(l, frame, frame->length, now))
            return;
    } else {
        if (ahead != 0) {
            l->stats.out_of_order++;
            l->ack_now = true;
        }
        memcpy(link_rx_frame(l, frame->sequence), frame, frame->length);
        l->rx_size[frame->sequence % WIRE_WINDOW] = frame->length;
        l->rcv_have |= 1u << ahead;
    }
    link_deliver_waiting(l, now);
}
