// SPDX-License-Identifier: BSD-2-Clause
// LINK: net/noise.c net/crypto.c @bearssl
//
// The primitives against the vectors of their RFCs, the handshake against the vector that other
// implementations of Noise agree on, and what it must refuse.
#include "net/noise.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
// cmocka needs the four above
#include <cmocka.h>

static size_t hex(const char *text, uint8_t *out)
{
    size_t n = 0;
    for (unsigned byte; text[2 * n] != 0 && sscanf(text + 2 * n, "%2x", &byte) == 1; n++)
        out[n] = (uint8_t)byte;
    return n;
}

static void test_hash_and_hmac(void **state)
{
    (void)state;
    uint8_t want[64], got[CRYPTO_KEY], key[CRYPTO_KEY] = {0};
    hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", want); // FIPS 180-4: "abc"
    crypto_hash(got, "a", 1, "bc", 2);
    assert_memory_equal(got, want, 32);
    memset(key, 0x0b, 20); // RFC 4231, 4.2: a key is padded with zeroes to a block
    hex("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7", want);
    crypto_hmac(got, key, "Hi ", 3, "There", 5);
    assert_memory_equal(got, want, 32);
}

static void test_x25519(void **state)
{
    (void)state;
    uint8_t k[32], u[32], got[32], want[32], zero[32] = {0};
    hex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4", k); // RFC 7748, 5.2
    hex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c", u);
    hex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552", want);
    assert_int_equal(crypto_dh(got, k, u), OK);
    assert_memory_equal(got, want, 32);
    hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb", k); // 6.1, Bob
    hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f", want);
    crypto_public_key(got, k);
    assert_memory_equal(got, want, 32);
    assert_int_equal(crypto_dh(got, k, zero), ERR_INVAL); // a point of low order
}

static void test_chacha20_poly1305(void **state)
{
    (void)state;
    uint8_t key[32], ad[12], data[64 * 5], want[600], tag[16];
    // RFC 8439, A.5, has a nonce of our form: 4 bytes 0, then 8 little-endian.
    hex("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0", key);
    hex("f33388860000000000004e91", ad);
    size_t n =
        hex("64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb24c6cfc18755d43eea09ee94e382d26b0"
            "bdb7b73c321b0100d4f03b7f355894cf332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c855"
            "9797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4b9166c767b804d46a59b5216cde7a4e9"
            "9040c5a40433225ee282a1b0a06c523eaf4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a"
            "0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a1049e617d91d361094fa68f0ff77987130"
            "305beaba2eda04df997b714d6c6f2c29a6ad5cb4022b02709b",
            want);
    memcpy(data, want, n);
    hex("eead9d67890cbb22392336fea1851f38", tag);
    assert_int_equal(crypto_open(key, 0x0807060504030201u, ad, sizeof ad, data, n, tag), OK);
    assert_memory_equal(data, "Internet-Drafts are draft documents valid for a maximum of six months", 69);
    uint8_t again[16];
    crypto_seal(key, 0x0807060504030201u, ad, sizeof ad, data, n, again);
    assert_memory_equal(data, want, n);
    assert_memory_equal(again, tag, 16);
    // Every length up to a few blocks, both ways; and no bit may differ.
    for (size_t size = 0; size <= sizeof data; size++) {
        for (size_t i = 0; i < size; i++)
            data[i] = (uint8_t)(i * 7 + size);
        memcpy(want, data, size);
        crypto_seal(key, size, ad, size % 12, data, size, tag);
        if (size != 0) {
            uint8_t bent[sizeof data];
            memcpy(bent, data, size);
            bent[size / 2] ^= 1;
            assert_int_equal(crypto_open(key, size, ad, size % 12, bent, size, tag), ERR_DENIED);
        }
        assert_int_equal(crypto_open(key, size, ad, size % 12, data, size, tag), OK);
        assert_memory_equal(data, want, size);
    }
}

/// AES-256-GCM as OpenSSL computes it with the key HMAC-SHA-256(0, 1, 2 ... 31; "farbus AESGCM"): SHA-256 of
/// ciphertext and tag. And both ciphers, every length, there and back, with a bit turned anywhere.
static void test_cipher(void **state)
{
    (void)state;
    static const struct {
        uint64_t nonce;
        size_t size;
        const char *digest;
    } known[] = {
        {0, 0, "32b1f1e0a46869b0d1f2106eb39b9e00da8be04d1f5cfa6771515c7425f9a0c9"},
        {5, 24, "e3b979712e4fb281036275f6c928c32078f30b651467e7000590446ecae8a476"},
        {0x0807060504030201, 100, "43d16326b1326aaad6aefb77fb56648dd6f27e17ab161dc0d412dce271df9c41"},
        {7, 333, "9d1c139e16bc64f382b09dc79f40f0b8cc9e8841f1ca2f038590abc28da7a4d4"},
    };
    uint8_t key[32], ad[24], data[400 + CRYPTO_SLACK], plain[400], digest[32], want[32], tag[16], other[16];
    for (unsigned i = 0; i < 32; i++)
        key[i] = (uint8_t)i;
    for (unsigned i = 0; i < 24; i++)
        ad[i] = (uint8_t)(100 + i);
    for (unsigned aes = 0; aes < 2; aes++) {
        struct crypto_cipher c;
        if (aes != 0 && !crypto_has_aes()) {
            print_message("this CPU has no AES-NI: AES-GCM was not tried\n");
            break;
        }
        crypto_cipher_set(&c, key, aes != 0);
        for (unsigned k = 0; aes != 0 && k < sizeof known / sizeof known[0]; k++) {
            for (size_t i = 0; i < known[k].size; i++)
                data[i] = (uint8_t)(i * 7 + known[k].size);
            crypto_cipher_seal(&c, known[k].nonce, ad, sizeof ad, data, known[k].size, tag);
            crypto_hash(digest, data, known[k].size, tag, sizeof tag);
            hex(known[k].digest, want);
            assert_memory_equal(digest, want, 32);
        }
        for (size_t size = 0; size <= sizeof plain; size++) {
            for (size_t i = 0; i < size; i++)
                plain[i] = (uint8_t)(i * 3 + size);
            memcpy(data, plain, size);
            crypto_cipher_seal(&c, size, ad, size % 25, data, size, tag);
            if (aes == 0) { // the same as in one go
                memcpy(data, plain, size);
                crypto_seal(key, size, ad, size % 25, data, size, other);
                assert_memory_equal(tag, other, sizeof tag);
            }
            uint8_t sealed[sizeof plain];
            memcpy(sealed, data, size);
            assert_int_equal(crypto_cipher_open(&c, size, ad, size % 25, data, size, tag), OK);
            assert_memory_equal(data, plain, size);
            size_t at = size % 7 * size / 7, bit = size % 8;
            memcpy(data, sealed, size);
            if (size != 0) {
                data[at] ^= (uint8_t)(1u << bit);
                assert_int_equal(crypto_cipher_open(&c, size, ad, size % 25, data, size, tag), ERR_DENIED);
                memcpy(data, sealed, size);
            }
            assert_int_equal(crypto_cipher_open(&c, size + 1, ad, size % 25, data, size, tag), ERR_DENIED);
            memcpy(data, sealed, size);
            tag[size % 16] ^= (uint8_t)(1u << bit);
            assert_int_equal(crypto_cipher_open(&c, size, ad, size % 25, data, size, tag), ERR_DENIED);
        }
    }
}

static void test_random(void **state)
{
    (void)state;
    uint8_t a[32], b[32];
    crypto_random_add("one", 3);
    crypto_random(a, sizeof a);
    crypto_random(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    crypto_random_add("one", 3);
    crypto_random(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
}

// --- what is left on the stack ---

#define DEPTH 16384u
#define PIECE 8u // bytes of a secret that nobody should find

#define UNWATCHED __attribute__((noinline, no_sanitize("address", "undefined")))

static UNWATCHED void paint_stack(void)
{
    uint8_t below[DEPTH];
    memset(below, 0xa5, sizeof below);
    __asm__ volatile("" : : "r"(below) : "memory");
}

/// Is any piece of the secret below our caller's frame?
static UNWATCHED bool left_behind(const uint8_t secret[CRYPTO_KEY])
{
    const volatile uint8_t *top = __builtin_frame_address(0);
    for (unsigned depth = PIECE; depth < DEPTH - 512; depth++) {
        for (unsigned from = 0; from < CRYPTO_KEY; from += PIECE) {
            unsigned same = 0;
            while (same < PIECE && *(top - depth + same) == secret[from + same])
                same++;
            if (same == PIECE)
                return true;
        }
    }
    return false;
}

static void hash_over_key(const uint8_t key[CRYPTO_KEY])
{
    uint8_t out[CRYPTO_KEY];
    crypto_hash(out, key, CRYPTO_KEY, "x", 1);
}
static void hmac_with_key(const uint8_t key[CRYPTO_KEY])
{
    uint8_t out[CRYPTO_KEY];
    crypto_hmac(out, key, "x", 1, NULL, 0);
}
static void public_of_key(const uint8_t key[CRYPTO_KEY])
{
    uint8_t out[CRYPTO_KEY];
    crypto_public_key(out, key);
}
static void agree_with_key(const uint8_t key[CRYPTO_KEY])
{
    const uint8_t nine[CRYPTO_KEY] = {9};
    uint8_t out[CRYPTO_KEY];
    assert_int_equal(crypto_dh(out, key, nine), OK);
}
static void seal_with_key(const uint8_t key[CRYPTO_KEY])
{
    uint8_t data[100] = {0}, tag[CRYPTO_TAG];
    crypto_seal(key, 1, NULL, 0, data, sizeof data, tag);
    assert_int_equal(crypto_open(key, 1, NULL, 0, data, sizeof data, tag), OK);
}
static void prepare_key(const uint8_t key[CRYPTO_KEY])
{
    struct crypto_cipher c;
    crypto_cipher_set(&c, key, true);
    crypto_wipe(&c, sizeof c);
}
static void seed_with_key(const uint8_t key[CRYPTO_KEY])
{
    crypto_random_add(key, CRYPTO_KEY);
}

/// Keys, in the forms in which they are worked with: as they are, as HMAC's pads, as words of SHA-256.
static void test_nothing_is_left_on_the_stack(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        void (*run)(const uint8_t key[CRYPTO_KEY]);
    } uses[] = {{"hash", hash_over_key},    {"HMAC", hmac_with_key},       {"public key", public_of_key},
                {"X25519", agree_with_key}, {"ChaChaPoly", seal_with_key}, {"cipher", prepare_key},
                {"random", seed_with_key}};
    static const uint8_t pads[] = {0, 0x36, 0x5c};
    static uint8_t key[CRYPTO_KEY], form[CRYPTO_KEY]; // not on the stack
    bool bad = false;
    for (unsigned i = 0; i < CRYPTO_KEY; i++)
        key[i] = (uint8_t)(0x40 | i * 37 % 64); // as X25519 clamps it
    key[0] &= 0xf8;
    key[31] = (key[31] & 0x7f) | 0x40;
    for (unsigned u = 0; u < sizeof uses / sizeof uses[0]; u++) {
        if (uses[u].run == prepare_key && !crypto_has_aes())
            continue;
        for (unsigned f = 0; f < 2 * sizeof pads; f++) {
            for (unsigned i = 0; i < CRYPTO_KEY; i++)
                form[f % 2 ? i ^ 3 : i] = key[i] ^ pads[f / 2];
            paint_stack();
            uses[u].run(key);
            if (!left_behind(form))
                continue;
            print_error("%s: of the key, form %u\n", uses[u].name, f);
            bad = true;
        }
    }
    assert_false(bad);
}

// The vector of Noise_IKpsk2_25519_ChaChaPoly_SHA256 in the collection of cacophony (a Haskell
// implementation), which snow and others test against as well.
static const struct {
    const char *payload, *message;
} vector[] = {
    {"4c756477696720766f6e204d69736573",
     "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79442ec9b09893d0f510"
     "791784c10cbc959f25b1766e0def6e301d14fbca1c7790ac829b8b3674f5f649a5f0e98479662cbf"
     "bf2b2c47cd4b09fcd266cd29d7cb675f1808849707847840f6d178ec4d3733aa"},
    {"4d757272617920526f746862617264",
     "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f1448088439a1b3cebf680b2c7"
     "4217fcb5eba4ff58a9468cd90c4aca6194f57479b379a7"},
    {"462e20412e20486179656b", "a8fde7a0accec190cd306c5950d4fd8e04a205ec288aa747d8b347"},
    {"4361726c204d656e676572", "59caddd9984a3bbe24c4fb31a2bd455b7eba3fa0980674b1a3a5f9"},
    {"4a65616e2d426170746973746520536179",
     "3b9bfebd210c22ba0cff9de79b4007d7a552fffbf92616881faa8a883e25b80258"},
    {"457567656e2042f6686d20766f6e2042617765726b",
     "f37512df1043d564d7c46ac85c53d3b6a9a05724bc297e7142808f217561651217fe85b782"},
};

struct party {
    struct noise_handshake hs;
    uint8_t s[32], s_public[32], e[32], psk[32];
    uint8_t send[32], receive[32];
};
static struct party alice, bob;

static void keys(void)
{
    memset(&alice, 0, sizeof alice);
    memset(&bob, 0, sizeof bob);
    hex("e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1", alice.s);
    hex("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a", alice.e);
    hex("4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893", bob.s);
    hex("bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b", bob.e);
    hex("54686973206973206d7920417573747269616e20706572737065637469766521", alice.psk);
    memcpy(bob.psk, alice.psk, 32);
    crypto_public_key(alice.s_public, alice.s);
    crypto_public_key(bob.s_public, bob.s);
}

static void begin(void)
{
    noise_initiate(&alice.hs, "John Galt", 9, alice.s, alice.s_public, bob.s_public, alice.psk);
    noise_respond(&bob.hs, "John Galt", 9, bob.s, bob.s_public, bob.psk);
}

static void test_vector(void **state)
{
    (void)state;
    uint8_t payload[64], want[256], got[256], read[64], hash[32];
    keys();
    hex("31e0303fd6418d2f8c0e78b91f22e8caed0fbe48656dcf4767e4834f701b8f62", want);
    assert_memory_equal(bob.s_public, want, 32);
    begin();

    size_t n = hex(vector[0].payload, payload), size = hex(vector[0].message, want);
    assert_int_equal(size, n + NOISE_1_OVERHEAD);
    assert_int_equal(noise_write_1(&alice.hs, alice.e, payload, n, got), OK);
    assert_memory_equal(got, want, size);
    assert_int_equal(noise_read_1_static(&bob.hs, got), OK);
    assert_memory_equal(bob.hs.rs, alice.s_public, 32);
    assert_int_equal(noise_read_1(&bob.hs, got, size, read), OK);
    assert_memory_equal(read, payload, n);

    n = hex(vector[1].payload, payload);
    size = hex(vector[1].message, want);
    assert_int_equal(size, n + NOISE_2_OVERHEAD);
    assert_int_equal(noise_write_2(&bob.hs, bob.e, payload, n, got), OK);
    assert_memory_equal(got, want, size);
    assert_int_equal(noise_read_2(&alice.hs, got, size, read), OK);
    assert_memory_equal(read, payload, n);

    hex("8310f86394dc0dabb40beb8210031556db4403ab1202db7034c526232147a700", hash);
    assert_memory_equal(alice.hs.symmetric.h, hash, 32);
    assert_memory_equal(bob.hs.symmetric.h, hash, 32);
    noise_split(&alice.hs, alice.send, alice.receive);
    noise_split(&bob.hs, bob.receive, bob.send);
    static const struct noise_handshake nothing;
    assert_memory_equal(&alice.hs, &nothing, sizeof nothing); // wiped

    for (unsigned i = 2; i < 6; i++) {
        struct party *from = i % 2 == 0 ? &alice : &bob, *to = i % 2 == 0 ? &bob : &alice;
        uint8_t tag[16];
        n = hex(vector[i].payload, payload);
        size = hex(vector[i].message, want);
        memcpy(got, payload, n);
        crypto_seal(from->send, (i - 2) / 2, NULL, 0, got, n, tag);
        assert_memory_equal(got, want, n);
        assert_memory_equal(tag, want + n, size - n);
        assert_int_equal(crypto_open(to->receive, (i - 2) / 2, NULL, 0, got, n, tag), OK);
        assert_memory_equal(got, payload, n);
    }

    uint8_t k[32];
    memcpy(k, alice.send, 32);
    noise_rekey(alice.send);
    noise_rekey(bob.receive);
    assert_memory_not_equal(k, alice.send, 32);
    assert_memory_equal(bob.receive, alice.send, 32);
}

/// Reads message 1 as the responder does; OK or what went wrong.
static enum status read_1(const uint8_t *m, size_t size)
{
    uint8_t payload[64];
    enum status s = noise_read_1_static(&bob.hs, m);
    return s != OK ? s : noise_read_1(&bob.hs, m, size, payload);
}

/// One bit wrong in any byte of either message: refused by whoever reads it.
static void test_every_byte_counts(void **state)
{
    (void)state;
    uint8_t first[5 + NOISE_1_OVERHEAD], second[3 + NOISE_2_OVERHEAD], payload[8];
    keys();
    begin();
    assert_int_equal(noise_write_1(&alice.hs, alice.e, "hello", 5, first), OK);
    struct noise_handshake waiting = alice.hs, fresh = bob.hs;
    for (size_t i = 0; i < sizeof first; i++) {
        bob.hs = fresh;
        first[i] ^= (uint8_t)(1u << i % 8);
        assert_int_not_equal(read_1(first, sizeof first), OK);
        first[i] ^= (uint8_t)(1u << i % 8);
    }
    bob.hs = fresh;
    assert_int_equal(read_1(first, sizeof first), OK);
    assert_int_equal(noise_write_2(&bob.hs, bob.e, "ack", 3, second), OK);
    for (size_t i = 0; i < sizeof second; i++) {
        alice.hs = waiting;
        second[i] ^= (uint8_t)(1u << i % 8);
        assert_int_not_equal(noise_read_2(&alice.hs, second, sizeof second, payload), OK);
        second[i] ^= (uint8_t)(1u << i % 8);
    }
    alice.hs = waiting;
    assert_int_equal(noise_read_2(&alice.hs, second, sizeof second, payload), OK);
}

static void test_wrong_keys(void **state)
{
    (void)state;
    uint8_t first[5 + NOISE_1_OVERHEAD], second[3 + NOISE_2_OVERHEAD], payload[8], other[32];
    keys(); // the initiator has another public key of the responder
    crypto_public_key(other, alice.e);
    begin();
    noise_initiate(&alice.hs, "John Galt", 9, alice.s, alice.s_public, other, alice.psk);
    assert_int_equal(noise_write_1(&alice.hs, alice.e, "hello", 5, first), OK);
    assert_int_equal(noise_read_1_static(&bob.hs, first), ERR_DENIED);

    begin(); // the initiator claims a public key whose private key it does not have
    memcpy(alice.hs.s, alice.e, 32);
    assert_int_equal(noise_write_1(&alice.hs, alice.e, "hello", 5, first), OK);
    assert_int_equal(noise_read_1_static(&bob.hs, first), OK);
    assert_memory_equal(bob.hs.rs, alice.s_public, 32);
    assert_int_equal(noise_read_1(&bob.hs, first, sizeof first, payload), ERR_DENIED);

    begin(); // another psk: message 1 is fine, message 2 is not
    bob.hs.psk[31] ^= 1;
    assert_int_equal(noise_write_1(&alice.hs, alice.e, "hello", 5, first), OK);
    assert_int_equal(read_1(first, sizeof first), OK);
    assert_int_equal(noise_write_2(&bob.hs, bob.e, "ack", 3, second), OK);
    assert_int_equal(noise_read_2(&alice.hs, second, sizeof second, payload), ERR_DENIED);

    begin(); // another prologue
    noise_respond(&bob.hs, "John Gald", 9, bob.s, bob.s_public, bob.psk);
    assert_int_equal(noise_write_1(&alice.hs, alice.e, "hello", 5, first), OK);
    assert_int_equal(noise_read_1_static(&bob.hs, first), ERR_DENIED);

    begin(); // an ephemeral key of low order
    memset(first, 0, sizeof first);
    assert_int_equal(noise_read_1_static(&bob.hs, first), ERR_INVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_and_hmac),
        cmocka_unit_test(test_x25519),
        cmocka_unit_test(test_chacha20_poly1305),
        cmocka_unit_test(test_cipher),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_nothing_is_left_on_the_stack),
        cmocka_unit_test(test_vector),
        cmocka_unit_test(test_every_byte_counts),
        cmocka_unit_test(test_wrong_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
