// SPDX-License-Identifier: BSD-2-Clause
// Announcements with keys: who made this one, and is it a new one? A MAC with a key that every node of the
// network has, over the frame and a counter that only grows while its node runs. Must not know what an
// announcement says beyond its node and boot id.
#pragma once
#include "net/keys.h"

/// Makes a plain announcement of `size` bytes a sealed one, in place (WIRE_SEAL_BYTES more). Its size then.
size_t announce_seal(const struct node_keys *keys, struct wire_frame *frame, size_t size, uint64_t counter);
/// A frame that wire_check_sealed found fine. ERR_DENIED: the MAC is wrong. OK: its counter, and `plain`
/// (takes size - WIRE_SEAL_BYTES) is what it was before.
MUST_CHECK enum status announce_open(const struct node_keys *keys, const void *frame, size_t size,
                                     struct wire_frame *plain, uint64_t *counter);
