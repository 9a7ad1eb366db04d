// SPDX-License-Identifier: BSD-2-Clause
// A remote function's configuration space as its guest sees it: for every byte of the first 256, who answers
// it, and for what is answered here, its value and the bits that can be written. Policy is one table
// (config_view.c), each row with its reason. Must not know links or guests. Invariant: no BAR address and no
// interrupt setting of the remote's machine is in `image`.
#pragma once
#include "net/wire.h"
#include <stdbool.h>
#include <stdint.h>

#define CONFIG_VIEW_SIZE 256u
#define CONFIG_CAPS_MAX  48u
#define CONFIG_CAP_MSI   0x05u
#define CONFIG_CAP_MSIX  0x11u
#define MESSAGES_MAX     64u // MSI-X table entries that a guest is told of

enum config_source {
    CONFIG_HERE,   // from `image`: a snapshot taken at attach, a register the host keeps, or nothing (0)
    CONFIG_REMOTE, // each access is a transaction
};

struct config_view {
    uint8_t source[CONFIG_VIEW_SIZE];
    uint8_t image[CONFIG_VIEW_SIZE];
    uint8_t writable[CONFIG_VIEW_SIZE]; // of CONFIG_HERE
    uint16_t restore[4]; // 16-bit registers at the remote to be set again when it returns; 0: none
};

/// A capability found at the remote.
struct config_capability {
    uint8_t offset, id;
    uint8_t length; // bytes that are read for the snapshot, header included
};

/// Bytes of a capability worth reading at attach; `head` is its first doubleword. At least 4, ends within
/// 256.
uint8_t config_capability_length(uint8_t offset, uint32_t head);
/// raw: the header and the capabilities as the remote gave them (anything else is ignored). caps: in list
/// order.
void config_view_build(struct config_view *view, const uint8_t raw[CONFIG_VIEW_SIZE],
                       const struct config_capability *caps, unsigned count,
                       const struct wire_function *info);
/// True when every byte of the access is answered here.
bool config_view_local(const struct config_view *view, uint16_t offset, unsigned size);
/// The bytes answered here; others are 0.
uint32_t config_view_read(const struct config_view *view, uint16_t offset, unsigned size);
/// Sets the writable bits of the bytes answered here.
void config_view_write(struct config_view *view, uint16_t offset, unsigned size, uint32_t value);
/// Aligned 32-bit register of the image.
uint32_t config_view_get(const struct config_view *view, uint16_t offset);
void config_view_set(struct config_view *view, uint16_t offset, uint32_t value);
