// SPDX-License-Identifier: BSD-2-Clause
// See noise.h. Section numbers are those of the specification (The Noise Protocol Framework, revision 34).
#include "net/noise.h"

#include <string.h>

static const char name[] = "Noise_IKpsk2_25519_ChaChaPoly_SHA256";

// --- SymmetricState (5.2) ---

static void mix_hash(struct noise_symmetric *s, const void *data, size_t size)
{
    crypto_hash(s->h, s->h, sizeof s->h, data, size);
}

/// HKDF (4.3) with ck as chaining key; `third` may be NULL: two outputs.
static void hkdf(const uint8_t ck[CRYPTO_KEY], const void *ikm, size_t size, uint8_t first[CRYPTO_KEY],
                 uint8_t second[CRYPTO_KEY], uint8_t *third)
{
    uint8_t temp[CRYPTO_KEY], a[CRYPTO_KEY], b[CRYPTO_KEY];
    crypto_hmac(temp, ck, ikm, size, NULL, 0);
    crypto_hmac(a, temp, "\x01", 1, NULL, 0);
    crypto_hmac(b, temp, a, sizeof a, "\x02", 1);
    if (third != NULL)
        crypto_hmac(third, temp, b, sizeof b, "\x03", 1);
    memcpy(first, a, sizeof a);
    memcpy(second, b, sizeof b);
    crypto_wipe(temp, sizeof temp);
    crypto_wipe(a, sizeof a);
    crypto_wipe(b, sizeof b);
}

static void mix_key(struct noise_symmetric *s, const uint8_t ikm[CRYPTO_KEY])
{
    hkdf(s->ck, ikm, CRYPTO_KEY, s->ck, s->k, NULL);
    s->n = 0;
}

static void mix_key_and_hash(struct noise_symmetric *s, const uint8_t ikm[CRYPTO_KEY])
{
    uint8_t temp[CRYPTO_KEY];
    hkdf(s->ck, ikm, CRYPTO_KEY, s->ck, temp, s->k);
    mix_hash(s, temp, sizeof temp);
    crypto_wipe(temp, sizeof temp);
    s->n = 0;
}

/// `out` takes size + CRYPTO_TAG bytes.
static void encrypt_and_hash(struct noise_symmetric *s, const void *plain, size_t size, uint8_t *out)
{
    memcpy(out, plain, size);
    crypto_seal(s->k, s->n++, s->h, sizeof s->h, out, size, out + size);
    mix_hash(s, out, size + CRYPTO_TAG);
}

/// `size` of the ciphertext, its tag included.
static enum status decrypt_and_hash(struct noise_symmetric *s, const uint8_t *in, size_t size, void *plain)
{
    uint8_t ad[CRYPTO_KEY];
    memcpy(ad, s->h, sizeof ad);
    mix_hash(s, in, size);
    memcpy(plain, in, size - CRYPTO_TAG);
    return crypto_open(s->k, s->n++, ad, sizeof ad, plain, size - CRYPTO_TAG, in + size - CRYPTO_TAG);
}

// --- HandshakeState (5.3; psk: 9.2) ---

static void begin(struct noise_handshake *hs, const void *prologue, size_t prologue_size, const uint8_t *s,
                  const uint8_t *s_public, const uint8_t *responder_public, const uint8_t *psk)
{
    memset(hs, 0, sizeof *hs);
    crypto_hash(hs->symmetric.h, name, sizeof name - 1, NULL, 0); // longer than HASHLEN
    memcpy(hs->symmetric.ck, hs->symmetric.h, CRYPTO_KEY);
    mix_hash(&hs->symmetric, prologue, prologue_size);
    mix_hash(&hs->symmetric, responder_public, CRYPTO_KEY);
    memcpy(hs->s, s, CRYPTO_KEY);
    memcpy(hs->s_public, s_public, CRYPTO_KEY);
    memcpy(hs->psk, psk, CRYPTO_KEY);
}

void noise_initiate(struct noise_handshake *hs, const void *prologue, size_t prologue_size,
                    const uint8_t s[CRYPTO_KEY], const uint8_t s_public[CRYPTO_KEY],
                    const uint8_t rs[CRYPTO_KEY], const uint8_t psk[CRYPTO_KEY])
{
    begin(hs, prologue, prologue_size, s, s_public, rs, psk);
    memcpy(hs->rs, rs, CRYPTO_KEY);
}

void noise_respond(struct noise_handshake *hs, const void *prologue, size_t prologue_size,
                   const uint8_t s[CRYPTO_KEY], const uint8_t s_public[CRYPTO_KEY],
                   const uint8_t psk[CRYPTO_KEY])
{
    begin(hs, prologue, prologue_size, s, s_public, s_public, psk);
}

/// Tokens ee, es, se, ss.
static enum status mix_dh(struct noise_handshake *hs, const uint8_t *own, const uint8_t *theirs)
{
    uint8_t shared[CRYPTO_KEY];
    enum status s = crypto_dh(shared, own, theirs);
    if (s == OK)
        mix_key(&hs->symmetric, shared);
    crypto_wipe(shared, sizeof shared);
    return s;
}

/// Token e, either way: with a psk in the pattern the key is mixed in as well (9.2).
static void mix_e(struct noise_handshake *hs, const uint8_t e_public[CRYPTO_KEY])
{
    mix_hash(&hs->symmetric, e_public, CRYPTO_KEY);
    mix_key(&hs->symmetric, e_public);
}

static void write_e(struct noise_handshake *hs, const uint8_t e[CRYPTO_KEY], uint8_t *out)
{
    memcpy(hs->e, e, CRYPTO_KEY);
    crypto_public_key(out, e);
    mix_e(hs, out);
}

enum status noise_write_1(struct noise_handshake *hs, const uint8_t e[CRYPTO_KEY], const void *payload,
                          size_t size, uint8_t *out)
{
    write_e(hs, e, out);
    out += CRYPTO_KEY;
    enum status s = mix_dh(hs, hs->e, hs->rs); // es
    if (s != OK)
        return s;
    encrypt_and_hash(&hs->symmetric, hs->s_public, CRYPTO_KEY, out); // s
    out += CRYPTO_KEY + CRYPTO_TAG;
    s = mix_dh(hs, hs->s, hs->rs); // ss
    if (s != OK)
        return s;
    encrypt_and_hash(&hs->symmetric, payload, size, out);
    return OK;
}

enum status noise_read_1_static(struct noise_handshake *hs, const uint8_t *in)
{
    memcpy(hs->re, in, CRYPTO_KEY);
    mix_e(hs, hs->re);
    enum status s = mix_dh(hs, hs->s, hs->re); // es
    if (s != OK)
        return s;
    return decrypt_and_hash(&hs->symmetric, in + CRYPTO_KEY, CRYPTO_KEY + CRYPTO_TAG, hs->rs); // s
}

enum status noise_read_1(struct noise_handshake *hs, const uint8_t *in, size_t size, void *payload)
{
    const size_t before = CRYPTO_KEY + CRYPTO_KEY + CRYPTO_TAG;
    enum status s = mix_dh(hs, hs->s, hs->rs); // ss
    if (s != OK)
        return s;
    return decrypt_and_hash(&hs->symmetric, in + before, size - before, payload);
}

enum status noise_write_2(struct noise_handshake *hs, const uint8_t e[CRYPTO_KEY], const void *payload,
                          size_t size, uint8_t *out)
{
    write_e(hs, e, out);
    enum status s = mix_dh(hs, hs->e, hs->re); // ee
    if (s == OK)
        s = mix_dh(hs, hs->e, hs->rs); // se
    if (s != OK)
        return s;
    mix_key_and_hash(&hs->symmetric, hs->psk);
    encrypt_and_hash(&hs->symmetric, payload, size, out + CRYPTO_KEY);
    return OK;
}

enum status noise_read_2(struct noise_handshake *hs, const uint8_t *in, size_t size, void *payload)
{
    memcpy(hs->re, in, CRYPTO_KEY);
    mix_e(hs, hs->re);
    enum status s = mix_dh(hs, hs->e, hs->re); // ee
    if (s == OK)
        s = mix_dh(hs, hs->s, hs->re); // se
    if (s != OK)
        return s;
    mix_key_and_hash(&hs->symmetric, hs->psk);
    return decrypt_and_hash(&hs->symmetric, in + CRYPTO_KEY, size - CRYPTO_KEY, payload);
}

void noise_split(struct noise_handshake *hs, uint8_t initiator[CRYPTO_KEY], uint8_t responder[CRYPTO_KEY])
{
    hkdf(hs->symmetric.ck, NULL, 0, initiator, responder, NULL);
    noise_forget(hs);
}

void noise_rekey(uint8_t k[CRYPTO_KEY])
{
    uint8_t next[CRYPTO_KEY] = {0}, tag[CRYPTO_TAG];
    crypto_seal(k, ~0ull, NULL, 0, next, sizeof next, tag);
    memcpy(k, next, sizeof next);
    crypto_wipe(next, sizeof next);
}

void noise_forget(struct noise_handshake *hs)
{
    crypto_wipe(hs, sizeof *hs);
}
