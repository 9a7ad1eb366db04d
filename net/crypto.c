// SPDX-License-Identifier: BSD-2-Clause
// See crypto.h. The only file that includes BearSSL.
#include "net/crypto.h"
#include "rt/fpu.h"
#include "rt/panic.h"

#include <bearssl.h>
#include <string.h>

// This tree is compiled without builtins: copies of a few bytes, for every frame, ask for them by name.

void crypto_wipe(void *bytes, size_t size)
{
    memset(bytes, 0, size);
    __asm__ volatile("" : : "r"(bytes) : "memory");
}

#define DEEPEST                                                                                              \
    4096u // BearSSL's functions take less than half of it below their caller's frame (gcc -fstack-usage)

/// BearSSL leaves what it computed with on the stack: copies of keys, blocks of a hash over them. Called
/// right after, from the function that called it, this has its frame where theirs were (all of it: a
/// sanitizer would leave gaps). Not for each frame on the wire: what these leave is a mask, and a key of
/// Poly1305, that serve for one nonce.
static __attribute__((noinline, no_sanitize("address"))) void wipe_stack(void)
{
    uint8_t below[DEEPEST];
    crypto_wipe(below, sizeof below);
}

bool crypto_equal(const void *a, const void *b, size_t size)
{
    const uint8_t *x = a, *y = b;
    uint64_t differ = 0, p, q;
    for (; size >= sizeof p; size -= sizeof p, x += sizeof p, y += sizeof q) {
        __builtin_memcpy(&p, x, sizeof p);
        __builtin_memcpy(&q, y, sizeof q);
        differ |= p ^ q;
    }
    for (size_t i = 0; i < size; i++)
        differ |= x[i] ^ (uint64_t)y[i];
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
    wipe_stack();
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
    wipe_stack();
}

enum status crypto_dh(uint8_t out[CRYPTO_KEY], const uint8_t own_private[CRYPTO_KEY],
                      const uint8_t their_public[CRYPTO_KEY])
{
    static const uint8_t zero[CRYPTO_KEY];
    memcpy(out, their_public, CRYPTO_KEY);
    uint32_t fine = br_ec_c25519_m31.mul(out, CRYPTO_KEY, own_private, CRYPTO_KEY, BR_EC_curve25519);
    wipe_stack();
    return fine == 1 && !crypto_equal(out, zero, sizeof zero) ? OK : ERR_INVAL;
}

void crypto_public_key(uint8_t out[CRYPTO_KEY], const uint8_t own_private[CRYPTO_KEY])
{
    (void)br_ec_c25519_m31.mulgen(out, own_private, CRYPTO_KEY, BR_EC_curve25519);
    wipe_stack();
}

static void chachapoly(const uint8_t key[CRYPTO_KEY], uint64_t nonce, const void *ad, size_t ad_size,
                       void *data, size_t size, uint8_t tag[CRYPTO_TAG], br_chacha20_run run, int encrypt)
{
    uint8_t iv[12] = {0};
    __builtin_memcpy(iv + 4, &nonce, sizeof nonce);
    struct fpu_borrowed registers;
    fpu_borrow(&registers);
    br_poly1305_ctmulq_run(key, iv, data, size, ad, ad_size, tag, run, encrypt);
    fpu_return(&registers);
}

void crypto_seal(const uint8_t key[CRYPTO_KEY], uint64_t nonce, const void *ad, size_t ad_size, void *data,
                 size_t size, uint8_t tag[CRYPTO_TAG])
{
    chachapoly(key, nonce, ad, ad_size, data, size, tag, br_chacha20_sse2_run, 1);
    wipe_stack();
}

enum status crypto_open(const uint8_t key[CRYPTO_KEY], uint64_t nonce, const void *ad, size_t ad_size,
                        void *data, size_t size, const uint8_t tag[CRYPTO_TAG])
{
    uint8_t right[CRYPTO_TAG];
    chachapoly(key, nonce, ad, ad_size, data, size, right, br_chacha20_sse2_run, 0);
    wipe_stack();
    return crypto_equal(right, tag, sizeof right) ? OK : ERR_DENIED;
}

// --- the cipher of many short messages ---

_Static_assert(sizeof(br_aes_x86ni_ctr_keys) <= sizeof(((struct crypto_cipher *)0)->schedule) &&
                   _Alignof(br_aes_x86ni_ctr_keys) <= _Alignof(struct crypto_cipher),
               "BearSSL's AES key schedule has room");

static const br_aes_x86ni_ctr_keys *schedule(const struct crypto_cipher *c)
{
    return (const br_aes_x86ni_ctr_keys *)c->schedule;
}

bool crypto_has_aes(void)
{
    return br_aes_x86ni_ctr_get_vtable() != NULL && br_ghash_pclmul_get() != NULL;
}

void crypto_cipher_set(struct crypto_cipher *c, const uint8_t key[CRYPTO_KEY], bool aes)
{
    static const uint8_t iv[12];
    memset(c, 0, sizeof *c);
    c->aes = aes;
    __builtin_memcpy(c->key, key, sizeof c->key);
    if (!aes)
        return;
    crypto_hmac(c->key, key, "farbus AESGCM", 13, NULL, 0); // one key, one cipher
    struct fpu_borrowed registers;
    fpu_borrow(&registers);
    br_aes_x86ni_ctr_init((br_aes_x86ni_ctr_keys *)c->schedule, c->key, sizeof c->key);
    br_aes_x86ni_ctr_run(schedule(c), iv, 0, c->h, sizeof c->h); // H = CIPH_K(0)
    fpu_return(&registers);
    crypto_wipe(c->key, sizeof c->key);
    wipe_stack();
}

/// Whole blocks only: what is at the end of the last one is of no use. Saves working byte by byte.
static uint32_t chacha20_blocks(const void *key, const void *iv, uint32_t cc, void *data, size_t size)
{
    if (cc != 0)
        return br_chacha20_sse2_run(key, iv, cc, data, (size + 63) & ~(size_t)63);
    uint8_t block[64] = {0}; // the key of Poly1305
    br_chacha20_sse2_run(key, iv, cc, block, sizeof block);
    __builtin_memcpy(data, block, size);
    return 1;
}

/// Counter mode from J0 = iv || 1 on: the mask of the tag, then the data. The first four blocks are made at
/// once.
static void gcm_crypt(const struct crypto_cipher *c, const uint8_t iv[12], uint8_t mask[16], uint8_t *data,
                      size_t size)
{
    uint64_t first[8] = {0}, word;
    br_aes_x86ni_ctr_run(schedule(c), iv, 1, first, sizeof first);
    __builtin_memcpy(mask, first, 16);
    for (size_t i = 0; i < 48 && i < size; i += 8) {
        __builtin_memcpy(&word, data + i, 8);
        word ^= first[2 + i / 8];
        __builtin_memcpy(data + i, &word, 8);
    }
    if (size > 48)
        br_aes_x86ni_ctr_run(schedule(c), iv, 5, data + 48, (size - 48 + 63) & ~(size_t)63);
}

/// GHASH over the padded associated data, the padded ciphertext and both lengths in bits (7.1).
static void gcm_hash(const struct crypto_cipher *c, const void *ad, size_t ad_size, const void *data,
                     size_t size, uint8_t y[16])
{
    uint64_t lengths[2] = {__builtin_bswap64(ad_size * 8), __builtin_bswap64(size * 8)};
    __builtin_memset(y, 0, 16);
    br_ghash_pclmul(y, c->h, ad, ad_size);
    br_ghash_pclmul(y, c->h, data, size);
    br_ghash_pclmul(y, c->h, lengths, sizeof lengths);
}

static void mask_tag(uint8_t tag[CRYPTO_TAG], const uint8_t y[16], const uint8_t mask[16])
{
    uint64_t a[2], b[2];
    __builtin_memcpy(a, y, sizeof a);
    __builtin_memcpy(b, mask, sizeof b);
    a[0] ^= b[0];
    a[1] ^= b[1];
    __builtin_memcpy(tag, a, sizeof a);
}

void crypto_cipher_seal(const struct crypto_cipher *c, uint64_t nonce, const void *ad, size_t ad_size,
                        void *data, size_t size, uint8_t tag[CRYPTO_TAG])
{
    if (!c->aes) {
        chachapoly(c->key, nonce, ad, ad_size, data, size, tag, chacha20_blocks, 1);
        return;
    }
    uint8_t iv[12] = {0}, mask[16], y[16];
    nonce = __builtin_bswap64(nonce);
    __builtin_memcpy(iv + 4, &nonce, sizeof nonce);
    struct fpu_borrowed registers;
    fpu_borrow(&registers);
    gcm_crypt(c, iv, mask, data, size);
    gcm_hash(c, ad, ad_size, data, size, y);
    fpu_return(&registers);
    mask_tag(tag, y, mask);
}

enum status crypto_cipher_open(const struct crypto_cipher *c, uint64_t nonce, const void *ad, size_t ad_size,
                               void *data, size_t size, const uint8_t tag[CRYPTO_TAG])
{
    uint8_t right[CRYPTO_TAG];
    if (!c->aes) {
        chachapoly(c->key, nonce, ad, ad_size, data, size, right, chacha20_blocks, 0);
        return crypto_equal(right, tag, sizeof right) ? OK : ERR_DENIED;
    }
    uint8_t iv[12] = {0}, mask[16], y[16];
    nonce = __builtin_bswap64(nonce);
    __builtin_memcpy(iv + 4, &nonce, sizeof nonce);
    struct fpu_borrowed registers;
    fpu_borrow(&registers);
    gcm_hash(c, ad, ad_size, data, size, y);
    gcm_crypt(c, iv, mask, data, size);
    fpu_return(&registers);
    mask_tag(right, y, mask);
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
    wipe_stack();
}

void crypto_random(void *out, size_t size)
{
    if (!seeded)
        panic("random numbers were wanted before anything was random");
    br_hmac_drbg_generate(&drbg, out, size);
    wipe_stack();
}
