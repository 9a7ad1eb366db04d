// SPDX-License-Identifier: BSD-2-Clause
// See l2.h. docs/protocol.md, "Carriers". In front of a frame: Ethernet II and the sender's IPv4 address,
// made once per peer and second. Nothing guards a frame but Ethernet's FCS (and the link's seal, where it has
// one). Invariant: what is handed on is exactly as long as its own header says.
#include "net/l2.h"
#include "net/neighbour.h"
#include "net/wire.h"
#include "rt/time.h"
#include "rt/trace.h"
#include <string.h>

#define SECOND       1000000000ull
#define ETHERNET_MIN 60u // without FCS: shorter frames are padded
#define ETHERNET_FCS 4u  // some NICs leave it

// Offsets
enum {
    DESTINATION = 0,
    SOURCE = 6,
    TYPE = 12,
    SENDER = 14,
    PAYLOAD = 18,
};

static struct nic *nic;
static size_t most; // frame_most
static struct {
    uint32_t peer;
    uint8_t mac[6];
} heard; // last

// --- out ---

static void path_open(void *ctx, struct carrier_path *path)
{
    (void)ctx;
    path->header_size = 0;
    path->fresh_until = 0;
}

/// The header can be used on OK.
static enum status refresh(struct carrier_path *path, uint64_t now)
{
    uint8_t *h = path->header, mac[6];
    uint32_t own = neighbour_address();
    if (!neighbour_on_link(path->peer)) {
        path->header_size = 0;
        return own == 0 ? ERR_LINK_DOWN : ERR_UNSUPPORTED;
    }
    path->fresh_until = now + SECOND;
    if (!neighbour_find(path->peer, mac)) {
        bool asked = neighbour_ask(path->peer);
        if (heard.peer == path->peer) {
            memcpy(mac, heard.mac, 6); // an answer goes where the question came from
        } else if (path->header_size != 0 && memcmp(h + SENDER, &own, 4) == 0) {
            if (!asked)
                path->fresh_until = now + SECOND / 10;
            return OK; // the old answer is used meanwhile
        } else {
            path->header_size = 0;
            path->fresh_until = 0;
            return ERR_NOTFOUND;
        }
    }
    memcpy(h + DESTINATION, mac, 6);
    memcpy(h + SOURCE, nic->mac, 6);
    h[TYPE] = WIRE_ETHERTYPE >> 8;
    h[TYPE + 1] = WIRE_ETHERTYPE & 0xff;
    memcpy(h + SENDER, &own, 4);
    path->header_size = PAYLOAD;
    return OK;
}

static size_t frame_max(void *ctx)
{
    (void)ctx;
    return (size_t)nic->mtu - (PAYLOAD - SENDER);
}

static size_t frame_most(void *ctx)
{
    (void)ctx;
    return most;
}

static enum status frame_send(void *ctx, struct carrier_path *path, const void *frame, size_t size)
{
    (void)ctx;
    if (size > most)
        return ERR_RANGE;
    uint64_t now = path->now != 0 ? path->now : time_ns();
    if (now >= path->fresh_until) {
        enum status s = refresh(path, now);
        if (s != OK)
            return s;
    }
    const struct nic_piece pieces[2] = {{path->header, PAYLOAD}, {frame, size}};
    enum status s = nic->ops->send(nic, pieces, 2);
    if (s == OK)
        trace(TRACE_DOORBELL, (uint32_t)(PAYLOAD + size));
    return s;
}

const struct carrier l2_carrier = {
    .name = "l2", .open = path_open, .send = frame_send, .frame_max = frame_max, .frame_most = frame_most};

void l2_carrier_start(struct nic *n)
{
    nic = n;
    most = nic_largest(n) - (PAYLOAD - SENDER);
}

// --- in ---

enum l2_claim l2_carrier_claim(const uint8_t *f, size_t size, struct l2_frame *out)
{
    if (size < PAYLOAD || f[TYPE] != WIRE_ETHERTYPE >> 8 || f[TYPE + 1] != (WIRE_ETHERTYPE & 0xff))
        return L2_NOT_OURS;
    memcpy(&out->peer, f + SENDER, 4);
    if (memcmp(f + DESTINATION, nic->mac, 6) != 0 || (f[SOURCE] & 1) != 0 || !neighbour_on_link(out->peer) ||
        out->peer == neighbour_address())
        return L2_FOREIGN;
    const struct wire_frame *frame = (const struct wire_frame *)(f + PAYLOAD);
    if (size - PAYLOAD < sizeof *frame || frame->length < sizeof *frame || frame->length > size - PAYLOAD)
        return L2_DAMAGED;
    // Behind the frame there is nothing but what makes it as long as Ethernet wants.
    if (frame->length < size - PAYLOAD && size > ETHERNET_MIN + ETHERNET_FCS)
        return L2_DAMAGED;
    heard.peer = out->peer;
    memcpy(heard.mac, f + SOURCE, 6);
    out->bytes = f + PAYLOAD;
    out->size = frame->length;
    return L2_OURS;
}
