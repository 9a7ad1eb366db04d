// SPDX-License-Identifier: BSD-2-Clause
// A remote's links to its hosts, played by its test: what is sent is kept in `sent`, and must be what a host
// accepts. Before: SENT_MAX; after cmocka.h. Discovery is the test's own business.
#pragma once
#include "net/link.h"
#include "net/wire.h"
#include <stdlib.h>
#include <string.h>

struct link {
    void *ctx;
    bool closed;
    unsigned room;    // records taken before ERR_BUSY
    bool apart;       // completions and credits are not among them, but have
    unsigned answers; // of their own
};

static struct sent {
    struct link *link;
    struct wire_record rec;
    uint8_t body[1500];
    size_t size;
} sent[SENT_MAX];
static unsigned sent_count, flushes;
static const struct link_events *events;
static enum status (*accept_host)(void *arg, const char *node, uint32_t peer, void **ctx, const char **why);

void link_listen(const struct link_events *e,
                 enum status (*accept)(void *arg, const char *host_node, uint32_t peer, void **ctx,
                                       const char **why),
                 void *arg)
{
    (void)arg;
    events = e;
    accept_host = accept;
}

enum status link_send(struct link *link, const struct wire_record *rec, const void *body, size_t body_size,
                      const void *data, size_t data_size)
{
    assert_false(link->closed);
    bool answer = rec->type < REC_INTX || rec->type == REC_CREDIT;
    unsigned *room = link->apart && answer ? &link->answers : &link->room;
    if (!*room)
        return ERR_BUSY;
    --*room;
    assert_true(sent_count < SENT_MAX && body_size + data_size <= sizeof sent->body);
    struct sent *s = &sent[sent_count++];
    s->link = link;
    s->rec = *rec;
    s->size = body_size + data_size;
    s->rec.length = (uint16_t)(sizeof *rec + s->size);
    if (body_size)
        memcpy(s->body, body, body_size);
    if (data_size)
        memcpy(s->body + body_size, data, data_size);
    struct wire_record *r = malloc(s->rec.length); // ends where it ends, for the sanitizer
    memcpy(r, &s->rec, sizeof s->rec);
    memcpy(r + 1, s->body, s->size);
    assert_int_equal(wire_check_record(r, WIRE_TO_HOST), WIRE_FINE);
    free(r);
    return OK;
}

size_t link_room(const struct link *link)
{
    return link->room ? 700 : 0;
}

size_t link_room_max(const struct link *link)
{
    (void)link;
    return 1440;
}

const char *link_peer_node(const struct link *link)
{
    (void)link;
    return "alpha";
}

void link_flush(struct link *link)
{
    assert_false(link->closed);
    flushes++;
}

void link_close(struct link *link, const char *why)
{
    assert_non_null(why);
    link->closed = true;
}
