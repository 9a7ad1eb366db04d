// SPDX-License-Identifier: BSD-2-Clause
// remote-fw/completions.h.
#include "remote-fw/completions.h"
#include "remote-fw/mastering.h"
#include "rt/log.h"
#include <string.h>

/// False: the link is full, keep it.
static bool try_send(struct link *link, const struct wire_record *rec, const void *data, size_t size)
{
    enum status s = link_send(link, rec, NULL, 0, data, size);
    if (s == ERR_BUSY)
        return false;
    if (s != OK) // the link goes down; so do the host's claims, and nobody waits any more
        log_debug("lend", "host \"%s\": completion not sent: %s", link_peer_node(link), status_name(s));
    return true;
}

enum status completions_add(struct completions *c, struct link *link, const struct wire_record *rec,
                            const void *data, size_t size, struct function *after, uint64_t round)
{
    if (c->count == 0 && round == 0 && try_send(link, rec, data, size))
        return OK;
    if (c->count == COMPLETIONS_MAX)
        return ERR_NOMEM;
    unsigned slot = (c->first + c->count++) % COMPLETIONS_MAX;
    c->kept[slot].rec = *rec;
    c->kept[slot].after = round ? after : NULL;
    c->kept[slot].round = round;
    c->kept[slot].size = (uint16_t)size;
    if (size)
        memcpy(c->kept[slot].data, data, size);
    if (c->count > c->peak)
        c->peak = c->count;
    return OK;
}

bool completions_send(struct completions *c, struct link *link)
{
    bool sent = false;
    for (; c->count; c->count--, c->first = (c->first + 1) % COMPLETIONS_MAX) {
        unsigned slot = c->first;
        if ((c->kept[slot].after && !mastering_done(c->kept[slot].after, c->kept[slot].round)) ||
            !try_send(link, &c->kept[slot].rec, c->kept[slot].data, c->kept[slot].size))
            break;
        sent = true;
    }
    return sent;
}
