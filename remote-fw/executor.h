// SPDX-License-Identifier: BSD-2-Clause
// The completer: takes one request record, checks it against what is lent to whom, does it on the function,
// and says how it ended. Must not know links or how a function is really touched. Invariant: nothing outside
// the function, its BARs and the bits of the mask table is read or written, whatever the record says.
#pragma once
#include "remote-fw/functions.h"

/// How a request ended.
struct completion {
    bool wanted; // false: posted, nothing is sent
    enum wire_status status;
    uint16_t size; // of data; 0: CPL, else CPLD
    uint8_t data[WIRE_ACCESS_MAX];
};

/// Executes a record of type REC_CFG_RD..REC_MWR, or refuses one of an unknown type. `from` is who sent it;
/// `body` is what follows the header. Returns the function, if there is one and it is the sender's (its
/// credits are accounted), else NULL.
struct function *executor_run(struct functions *functions, const void *from, const struct wire_record *rec,
                              const void *body, size_t size, struct completion *out);
