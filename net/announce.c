// SPDX-License-Identifier: BSD-2-Clause
// See announce.h.
#include "net/announce.h"

#include <string.h>

size_t announce_seal(const struct node_keys *keys, struct wire_frame *frame, size_t size, uint64_t counter)
{
    uint8_t *end = (uint8_t *)frame + size;
    frame->type |= WIRE_SEALED;
    frame->length = (uint16_t)(size + WIRE_SEAL_BYTES);
    memcpy(end, &counter, sizeof counter);
    keys_mac(end + sizeof counter, keys->announce_mac, frame, size + sizeof counter);
    return size + WIRE_SEAL_BYTES;
}

enum status announce_open(const struct node_keys *keys, const void *frame, size_t size,
                          struct wire_frame *plain, uint64_t *counter)
{
    const uint8_t *mac = (const uint8_t *)frame + size - WIRE_MAC_BYTES;
    uint8_t right[WIRE_MAC_BYTES];
    keys_mac(right, keys->announce_mac, frame, size - WIRE_MAC_BYTES);
    if (!crypto_equal(mac, right, sizeof right))
        return ERR_DENIED;
    memcpy(counter, mac - sizeof *counter, sizeof *counter);
    size -= WIRE_SEAL_BYTES;
    memcpy(plain, frame, size);
    plain->type &= (uint8_t)~WIRE_SEALED;
    plain->length = (uint16_t)size;
    return OK;
}
