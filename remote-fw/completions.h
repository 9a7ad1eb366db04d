// SPDX-License-Identifier: BSD-2-Clause
// What answers the requests of one host, in the order of execution: at once if it can be, else kept until the
// link has room and the round that it waits for is done (docs/dma.md: a completion pushes what its function
// wrote before). Must not know what the records mean. Invariant: each is sent exactly once, none overtakes
// another.
#pragma once
#include "net/link.h"
#include "remote-fw/function.h"

/// Completions kept for a host. One that has more outstanding than this breaks the protocol.
#define COMPLETIONS_MAX 64u

struct completions {
    struct {
        struct wire_record rec;
        struct function *after; // NULL: waits only for its turn
        uint64_t round;
        uint16_t size;
        uint8_t data[WIRE_ACCESS_MAX];
    } kept[COMPLETIONS_MAX];
    unsigned first, count;
    uint64_t peak;
};

/// `after`, `round`: mastering_want's; round 0: waits for none. ERR_NOMEM: too many are kept.
MUST_CHECK enum status completions_add(struct completions *c, struct link *link,
                                       const struct wire_record *rec, const void *data, size_t size,
                                       struct function *after, uint64_t round);
/// Sends what may be sent. True: something was.
bool completions_send(struct completions *c, struct link *link);
