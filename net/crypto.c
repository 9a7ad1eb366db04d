// SPDX-License-Identifier: BSD-2-Clause
// See crypto.h. The only file that includes BearSSL.
#include "net/crypto.h"
#include "rt/fpu.h"
#include "rt/panic.h"

#include <bearssl.h>
#include <string.h>

void crypto_wipe(void *bytes, size_t size)
{
    memset(bytes, 0, size);
    __asm__ volatile("" : : "r"(bytes) : "memory");
}

bool crypto_equal(const void *a, const void *b, size_t size)
{
    const uint8_t *x = a, *y = b;
    uint32_t differ = 0;
    for (size_t i = 0; i < size; i++)
        differ |= x[i] ^ (uint32_t)y[i];
    return differ == 0;
}

void crypto_hash(uint8_t out[CRYPTO_KEY], const void *a, size_t a_size, const void *b, size_t b_size)
{
    br_sha256_context c;
    br_sha256_init(&c);
    br_sha256_update(&c, a, a_size);
    br_sha256_update(&c, b, b_size);
    br_sha256_out(&c, out);
    crypto_wipe(&c, sizeof c);
}

void crypto_hmac(uint8_t out[CRYPTO_KEY], const uint8_t key[CRYPTO_KEY], const void *a, size_t a_size,
                 const void *b, size_t b_size)
{
    br_hmac_key_context k;
    br_hmac_context c;
    br_hmac_key_init(&k, &br_sha256_vtable, key, CRYPTO_KEY);
    br_hmac_init(&c, &k, 0);
    br_hmac_update(&c, a, a_size);
    br_hmac_update(&c, b, b_size);
    br_hmac_out(&c, out);
    crypto_wipe(&k, sizeof k);
    crypto_wipe(&c, sizeof c);
}

enum status crypto_dh(uint8_t out[CRYPTO_KEY], const uint8_t own_private[CRYPTO_KEY],
                      const uint8_t their_public[CRYPTO_KEY])
{
    static const uint8_t zero[CRYPTO_KEY];
    memcpy(out, their_public, CRYPTO_KEY);
    uint32_t fine = br_ec_c25519_m31.mul(out, CRYPTO_KEY, own_private, CRYPTO_KEY, BR_EC_curve25519);
    return fine == 1 && !crypto_equal(out, zero, sizeof zero) ? OK : ERR_INVAL;
}

void crypto_public_key(uint8_t out[CRYPTO_KEY], const uint8_t own_private[CRYPTO_KEY])
{
    (void)br_ec_c25519_m31.mulgen(out, own_private, CRYPTO_KEY, BR_EC_curve25519);
}

static void chachapoly(const uint8_t key[CRYPTO_KEY], uint64_t nonce, const void *ad, size_t ad_size,
                       void *data, size_t size, uint8_t tag[CRYPTO_TAG], int encrypt)
{
    uint8_t iv[12] = {0};
    memcpy(iv + 4, &nonce, sizeof nonce);
    struct fpu_borrowed registers;
    fpu_borrow(&registers);
    br_poly1305_ctmulq_run(key, iv, data, size, ad, ad_size, tag, br_chacha20_sse2_run, encrypt);
    fpu_return(&registers);
}

void crypto_seal(const uint8_t key[CRYPTO_KEY], uint64_t nonce, const void *ad, size_t ad_size, void *data,
                 size_t size, uint8_t tag[CRYPTO_TAG])
{
    chachapoly(key, nonce, ad, ad_size, data, size, tag, 1);
}

enum status crypto_open(const uint8_t key[CRYPTO_KEY], uint64_t nonce, const void *ad, size_t ad_size,
                        void *data, size_t size, const uint8_t tag[CRYPTO_TAG])
{
    uint8_t right[CRYPTO_TAG];
    chachapoly(key, nonce, ad, ad_size, data, size, right, 0);
    return crypto_equal(right, tag, sizeof right) ? OK : ERR_DENIED;
}

// --- random numbers ---

static br_hmac_drbg_context drbg;
static bool seeded;

void crypto_random_add(const void *seed, size_t size)
{
    if (!seeded)
        br_hmac_drbg_init(&drbg, &br_sha256_vtable, seed, size);
    else
        br_hmac_drbg_update(&drbg, seed, size);
    seeded = true;
}

void crypto_random(void *out, size_t size)
{
    if (!seeded)
        panic("random numbers were wanted before anything was random");
    br_hmac_drbg_generate(&drbg, out, size);
}
