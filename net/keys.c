// SPDX-License-Identifier: BSD-2-Clause
// See keys.h.
#include "net/keys.h"

#include <string.h>

static const char handshake_label[] = "farbus handshake";
static const char announce_label[] = "farbus announcement";

static void handshake_mac(uint8_t out[CRYPTO_KEY], const uint8_t psk[CRYPTO_KEY],
                          const uint8_t public_key[CRYPTO_KEY])
{
    crypto_hmac(out, psk, handshake_label, sizeof handshake_label - 1, public_key, CRYPTO_KEY);
}

void keys_set(struct node_keys *keys, const uint8_t private_key[CRYPTO_KEY], const uint8_t psk[CRYPTO_KEY])
{
    memset(keys, 0, sizeof *keys);
    memcpy(keys->private_key, private_key, CRYPTO_KEY);
    memcpy(keys->psk, psk, CRYPTO_KEY);
    crypto_public_key(keys->public_key, private_key);
    handshake_mac(keys->handshake_mac, psk, keys->public_key);
    crypto_hmac(keys->announce_mac, psk, announce_label, sizeof announce_label - 1, NULL, 0);
}

enum status keys_add_peer(struct node_keys *keys, const char *name, const uint8_t public_key[CRYPTO_KEY])
{
    if (keys_peer_named(keys, name) != NULL || keys_peer_with(keys, public_key) != NULL ||
        memcmp(public_key, keys->public_key, CRYPTO_KEY) == 0)
        return ERR_INVAL;
    if (keys->peer_count == KEYS_PEERS_MAX)
        return ERR_NOMEM;
    struct keys_peer *p = &keys->peers[keys->peer_count++];
    wire_text_set(p->name, sizeof p->name, name);
    memcpy(p->public_key, public_key, CRYPTO_KEY);
    handshake_mac(p->handshake_mac, keys->psk, public_key);
    return OK;
}

const struct keys_peer *keys_peer_named(const struct node_keys *keys, const char *name)
{
    for (unsigned i = 0; i < keys->peer_count; i++)
        if (strncmp(keys->peers[i].name, name, WIRE_NAME_MAX) == 0)
            return &keys->peers[i];
    return NULL;
}

const struct keys_peer *keys_peer_with(const struct node_keys *keys, const uint8_t public_key[CRYPTO_KEY])
{
    for (unsigned i = 0; i < keys->peer_count; i++)
        if (memcmp(keys->peers[i].public_key, public_key, CRYPTO_KEY) == 0) // public: nothing to hide
            return &keys->peers[i];
    return NULL;
}

void keys_mac(uint8_t out[WIRE_MAC_BYTES], const uint8_t key[CRYPTO_KEY], const void *frame, size_t size)
{
    uint8_t full[CRYPTO_KEY];
    crypto_hmac(full, key, frame, size, NULL, 0);
    memcpy(out, full, WIRE_MAC_BYTES);
}

void keys_forget(struct node_keys *keys)
{
    crypto_wipe(keys, sizeof *keys);
}
