// SPDX-License-Identifier: BSD-2-Clause
// A node's keys (docs/security.md): its own key pair, the network's shared key, its peers' public keys, and
// what is derived from them. Must not know where they come from (farbus.ini) or what is said with them. Holds
// secrets: keys_forget() when done.
#pragma once
#include "net/crypto.h"
#include "net/wire.h"

#define KEYS_PEERS_MAX 16u

struct keys_peer {
    char name[WIRE_NAME_MAX];
    uint8_t public_key[CRYPTO_KEY];
    uint8_t handshake_mac[CRYPTO_KEY]; // of handshake frames for this peer
};

struct node_keys {
    uint8_t private_key[CRYPTO_KEY], public_key[CRYPTO_KEY], psk[CRYPTO_KEY];
    uint8_t handshake_mac[CRYPTO_KEY]; // of handshake frames for us
    uint8_t announce_mac[CRYPTO_KEY];
    unsigned peer_count;
    struct keys_peer peers[KEYS_PEERS_MAX];
};

void keys_set(struct node_keys *keys, const uint8_t private_key[CRYPTO_KEY], const uint8_t psk[CRYPTO_KEY]);
/// ERR_NOMEM: KEYS_PEERS_MAX are there; ERR_INVAL: the name or the key is another peer's, or ours.
MUST_CHECK enum status keys_add_peer(struct node_keys *keys, const char *name,
                                     const uint8_t public_key[CRYPTO_KEY]);
/// NULL: no such peer.
const struct keys_peer *keys_peer_named(const struct node_keys *keys, const char *name);
const struct keys_peer *keys_peer_with(const struct node_keys *keys, const uint8_t public_key[CRYPTO_KEY]);
/// The MAC of a handshake frame or an announcement: HMAC-SHA-256, cut to WIRE_MAC_BYTES.
void keys_mac(uint8_t out[WIRE_MAC_BYTES], const uint8_t key[CRYPTO_KEY], const void *frame, size_t size);
void keys_forget(struct node_keys *keys);
