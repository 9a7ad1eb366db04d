// SPDX-License-Identifier: BSD-2-Clause
// The one way this code reports failure: a small enum, returned, never ignored.
// Knows nothing else. Compiles everywhere (bare metal, unit tests, loader).
#pragma once

enum status {
    OK = 0,
    ERR_INVAL,       // an argument makes no sense
    ERR_RANGE,       // outside the bounds of what was named
    ERR_NOMEM,       // a pool or memory is exhausted
    ERR_NOTFOUND,    // nothing of that name or address
    ERR_BUSY,        // owned or in use by somebody else; try again or ask the owner
    ERR_DENIED,      // not allowed
    ERR_UNSUPPORTED, // the hardware or the peer cannot
    ERR_TIMEOUT,     // no answer in the stated time
    ERR_LINK_DOWN,   // the peer is not reachable
    ERR_PROTOCOL,    // bytes from a peer, a guest or a disk that break their format
    ERR_IO,          // hardware reported a fault
    STATUS_COUNT
};

#define MUST_CHECK __attribute__((warn_unused_result))

/// The enum's name without prefix ("TIMEOUT"); never NULL.
static inline const char *status_name(enum status s)
{
    static const char *const names[STATUS_COUNT] = {
        [OK] = "OK",
        [ERR_INVAL] = "INVAL",
        [ERR_RANGE] = "RANGE",
        [ERR_NOMEM] = "NOMEM",
        [ERR_NOTFOUND] = "NOTFOUND",
        [ERR_BUSY] = "BUSY",
        [ERR_DENIED] = "DENIED",
        [ERR_UNSUPPORTED] = "UNSUPPORTED",
        [ERR_TIMEOUT] = "TIMEOUT",
        [ERR_LINK_DOWN] = "LINK_DOWN",
        [ERR_PROTOCOL] = "PROTOCOL",
        [ERR_IO] = "IO",
    };
    return (unsigned)s < STATUS_COUNT ? names[s] : "?";
}
