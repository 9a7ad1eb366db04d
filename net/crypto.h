// SPDX-License-Identifier: BSD-2-Clause
// The primitives that encrypted links are made of, as BearSSL computes them: SHA-256, HMAC, X25519,
// ChaCha20-Poly1305, random numbers. Nothing here branches or reads memory by a secret. Must not know Noise,
// frames or keys' owners. All keys are CRYPTO_KEY bytes.
#pragma once
#include "rt/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CRYPTO_KEY 32u // bytes of a key, of an X25519 number and of a SHA-256 digest
#define CRYPTO_TAG 16u // bytes that ChaCha20-Poly1305 adds

/// Zeroes that the compiler does not take away.
void crypto_wipe(void *bytes, size_t size);
/// Takes as long for equal bytes as for others.
bool crypto_equal(const void *a, const void *b, size_t size);

/// SHA-256 (FIPS 180-4) of a, then b.
void crypto_hash(uint8_t out[CRYPTO_KEY], const void *a, size_t a_size, const void *b, size_t b_size);
/// HMAC-SHA-256 (RFC 2104) of a, then b.
void crypto_hmac(uint8_t out[CRYPTO_KEY], const uint8_t key[CRYPTO_KEY], const void *a, size_t a_size,
                 const void *b, size_t b_size);

/// X25519 (RFC 7748, 5). ERR_INVAL: all zeroes came out, `their_public` is no point to agree on.
MUST_CHECK enum status crypto_dh(uint8_t out[CRYPTO_KEY], const uint8_t own_private[CRYPTO_KEY],
                                 const uint8_t their_public[CRYPTO_KEY]);
void crypto_public_key(uint8_t out[CRYPTO_KEY], const uint8_t own_private[CRYPTO_KEY]);

/// ChaCha20-Poly1305 (RFC 8439, 2.8) in place, nonce = 4 bytes 0, then `nonce` little-endian (Noise 12.3).
/// A nonce must never be used twice with one key.
void crypto_seal(const uint8_t key[CRYPTO_KEY], uint64_t nonce, const void *ad, size_t ad_size, void *data,
                 size_t size, uint8_t tag[CRYPTO_TAG]);
/// ERR_DENIED: the tag is not right, what stands in `data` now is of no use.
MUST_CHECK enum status crypto_open(const uint8_t key[CRYPTO_KEY], uint64_t nonce, const void *ad,
                                   size_t ad_size, void *data, size_t size, const uint8_t tag[CRYPTO_TAG]);

// --- the cipher of many short messages ---

/// A key, ready to be used: what is computed once for it is kept. Can be copied. Holds a secret.
struct crypto_cipher {
    uint8_t key[CRYPTO_KEY]; // ChaCha20's
    bool aes;
    uint64_t schedule[34]; // AES-256: BearSSL's
    uint8_t h[16];         // GCM: the hash key
};

/// Bytes behind the data of the two functions below that must be there, and are of no use afterwards.
#define CRYPTO_SLACK 64u

/// Does this CPU have AES-NI and PCLMULQDQ (and SSE4.1)?
bool crypto_has_aes(void);
/// With `aes`: AES-256-GCM (NIST SP 800-38D), with a key made out of this one; else ChaCha20-Poly1305.
void crypto_cipher_set(struct crypto_cipher *c, const uint8_t key[CRYPTO_KEY], bool aes);
/// As crypto_seal and crypto_open. AES-GCM's nonce: 4 bytes 0, then `nonce` big-endian (Noise 12.4).
void crypto_cipher_seal(const struct crypto_cipher *c, uint64_t nonce, const void *ad, size_t ad_size,
                        void *data, size_t size, uint8_t tag[CRYPTO_TAG]);
MUST_CHECK enum status crypto_cipher_open(const struct crypto_cipher *c, uint64_t nonce, const void *ad,
                                          size_t ad_size, void *data, size_t size,
                                          const uint8_t tag[CRYPTO_TAG]);

/// Mixes `seed` into the state of crypto_random: more never harms. What comes out is as hard to guess as all
/// that was mixed in so far.
void crypto_random_add(const void *seed, size_t size);
/// HMAC_DRBG with SHA-256 (NIST SP 800-90A, 10.1.2). Something must have been added before.
void crypto_random(void *out, size_t size);
