// SPDX-License-Identifier: BSD-2-Clause
// The Noise protocol framework, revision 34, as much of it as Noise_IKpsk2_25519_ChaChaPoly_SHA256 needs:
//
//   <- s                    the initiator knows the responder's public key beforehand
//   -> e, es, s, ss         message 1
//   <- e, ee, se, psk       message 2
//
// Names are the specification's. Must not know frames, links, time or where keys come from. A handshake in
// which any function did not return OK is of no use any more: noise_forget() it.
#pragma once
#include "net/crypto.h"

/// 5.2 and 5.1: SymmetricState with its CipherState. Once there is a k there always is one, and in IK every
/// thing that is encrypted comes after the first.
struct noise_symmetric {
    uint8_t ck[CRYPTO_KEY], h[CRYPTO_KEY], k[CRYPTO_KEY];
    uint64_t n;
};

/// 5.3: HandshakeState.
struct noise_handshake {
    struct noise_symmetric symmetric;
    uint8_t s[CRYPTO_KEY], s_public[CRYPTO_KEY]; // own static key
    uint8_t e[CRYPTO_KEY];                       // own ephemeral key
    uint8_t rs[CRYPTO_KEY], re[CRYPTO_KEY];      // the other end's public keys
    uint8_t psk[CRYPTO_KEY];
};

#define NOISE_1_OVERHEAD (CRYPTO_KEY + CRYPTO_KEY + CRYPTO_TAG + CRYPTO_TAG) // e, s, payload's tag
#define NOISE_2_OVERHEAD (CRYPTO_KEY + CRYPTO_TAG)                           // e, payload's tag

/// Initiator: `rs` is the responder's public key. Both ends must give the same prologue.
void noise_initiate(struct noise_handshake *hs, const void *prologue, size_t prologue_size,
                    const uint8_t s[CRYPTO_KEY], const uint8_t s_public[CRYPTO_KEY],
                    const uint8_t rs[CRYPTO_KEY], const uint8_t psk[CRYPTO_KEY]);
void noise_respond(struct noise_handshake *hs, const void *prologue, size_t prologue_size,
                   const uint8_t s[CRYPTO_KEY], const uint8_t s_public[CRYPTO_KEY],
                   const uint8_t psk[CRYPTO_KEY]);

/// `e`: a private key never used before. `out` takes size + NOISE_1_OVERHEAD bytes.
MUST_CHECK enum status noise_write_1(struct noise_handshake *hs, const uint8_t e[CRYPTO_KEY],
                                     const void *payload, size_t size, uint8_t *out);
/// The responder's first half of message 1: hs->rs is known then, but not yet proven. ERR_DENIED: made for
/// another key. `in` is the whole message, at least NOISE_1_OVERHEAD bytes.
MUST_CHECK enum status noise_read_1_static(struct noise_handshake *hs, const uint8_t *in);
/// The second half: `size` bytes of the message; its payload goes to `payload` (size - NOISE_1_OVERHEAD).
MUST_CHECK enum status noise_read_1(struct noise_handshake *hs, const uint8_t *in, size_t size,
                                    void *payload);
/// `out` takes size + NOISE_2_OVERHEAD bytes.
MUST_CHECK enum status noise_write_2(struct noise_handshake *hs, const uint8_t e[CRYPTO_KEY],
                                     const void *payload, size_t size, uint8_t *out);
MUST_CHECK enum status noise_read_2(struct noise_handshake *hs, const uint8_t *in, size_t size,
                                    void *payload);

/// The transport keys: of what the initiator sends, and of what the responder sends. Ends the handshake.
void noise_split(struct noise_handshake *hs, uint8_t initiator[CRYPTO_KEY], uint8_t responder[CRYPTO_KEY]);
/// 4.2, REKEY(k): the old key cannot be had from the new one.
void noise_rekey(uint8_t k[CRYPTO_KEY]);
void noise_forget(struct noise_handshake *hs);
