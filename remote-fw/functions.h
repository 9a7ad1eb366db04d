// SPDX-License-Identifier: BSD-2-Clause
// The table of lent functions: who has which, under which handle. Must not know links or hardware.
// Invariant: a handle names at most one function, and only for its owner; a freed handle is the last to be
// given again.
#pragma once
#include "net/discovery.h"
#include "remote-fw/function.h"

/// Posted requests a host may have outstanding for one function, and how many are done before REC_CREDIT
/// gives them back.
#define FUNCTION_CREDITS       256u
#define FUNCTION_CREDITS_BATCH 128u

struct functions {
    struct function all[DISCOVERY_FUNCTIONS_MAX];
    unsigned count;
    uint8_t last_handle;
    struct function *by_handle[WIRE_HANDLE_MAX + 1];
    struct executor_counters counters; // all functions together, and what named none
};

/// A new row; fill ops, device and info, then call function_prepare. NULL: the table is full.
struct function *functions_add(struct functions *t);
/// Reads what the remote must know of the function (capabilities, MSI-X table, reset method) through its ops.
void function_prepare(struct function *f);

struct function *functions_at(struct functions *t, struct wire_pci_address at);
/// The function `handle` names for `owner`; NULL: none, or somebody else's.
struct function *functions_of(struct functions *t, const void *owner, uint16_t handle);
/// Gives a free function to `owner` under a new handle. ERR_BUSY: it has an owner.
MUST_CHECK enum status functions_claim(struct functions *t, struct function *f, const void *owner);
/// Takes it away again; the handle dies.
void functions_release(struct functions *t, struct function *f);
