// SPDX-License-Identifier: BSD-2-Clause
// selftest's command `seal`: frames sealed and opened, handshakes made, by the code and the compiler flags of
// the real thing. One line for each figure; under Bochs a tick is an instruction.
#include "tests/rt/seal.h"
#include "net/keys.h"
#include "net/noise.h"
#include "net/seal.h"
#include "rt/entropy.h"
#include "rt/log.h"
#include "rt/x86.h"
#include <string.h>

#define say(...) log_info("selftest", __VA_ARGS__)
#define RUNS     8u

static struct {
    struct seal from, to;
    struct noise_handshake a, b;
    uint8_t frame[1500], sealed[1500 + WIRE_SEAL_BYTES + CRYPTO_SLACK], out[1600 + CRYPTO_SLACK];
    uint8_t registers[2][256] __attribute__((aligned(16)));
} w;

static void keep_least(uint64_t *least, uint64_t since)
{
    uint64_t ticks = rdtsc() - since;
    if (ticks < *least)
        *least = ticks;
}

static void load_registers(const uint8_t *from)
{
    __asm__ volatile(
        "movdqa (%0), %%xmm0; movdqa 16(%0), %%xmm1; movdqa 32(%0), %%xmm2; movdqa 48(%0), %%xmm3;"
        "movdqa 64(%0), %%xmm4; movdqa 80(%0), %%xmm5; movdqa 96(%0), %%xmm6; movdqa 112(%0), %%xmm7;"
        "movdqa 128(%0), %%xmm8; movdqa 144(%0), %%xmm9; movdqa 160(%0), %%xmm10; movdqa 176(%0), %%xmm11;"
        "movdqa 192(%0), %%xmm12; movdqa 208(%0), %%xmm13; movdqa 224(%0), %%xmm14; movdqa 240(%0), %%xmm15"
        :
        : "r"(from)
        : "memory");
}

static void store_registers(uint8_t *to)
{
    __asm__ volatile(
        "movdqa %%xmm0, (%0); movdqa %%xmm1, 16(%0); movdqa %%xmm2, 32(%0); movdqa %%xmm3, 48(%0);"
        "movdqa %%xmm4, 64(%0); movdqa %%xmm5, 80(%0); movdqa %%xmm6, 96(%0); movdqa %%xmm7, 112(%0);"
        "movdqa %%xmm8, 128(%0); movdqa %%xmm9, 144(%0); movdqa %%xmm10, 160(%0); movdqa %%xmm11, 176(%0);"
        "movdqa %%xmm12, 192(%0); movdqa %%xmm13, 208(%0); movdqa %%xmm14, 224(%0); movdqa %%xmm15, 240(%0)"
        :
        : "r"(to)
        : "memory");
}

/// True: what was sealed came out again.
static bool frames(bool aes, size_t size)
{
    static const uint8_t key[CRYPTO_KEY] = {1, 2, 3};
    uint64_t seal = ~0ull, open = ~0ull;
    bool fine = true;
    size_t plain = sizeof(struct wire_frame) + size;
    seal_start(&w.from, key, key, aes);
    seal_start(&w.to, key, key, aes);
    ((struct wire_frame *)w.frame)->type = WIRE_DATA;
    for (unsigned i = 0; i < RUNS; i++) {
        uint64_t begin = rdtsc();
        size_t sealed = seal_frame(&w.from, (struct wire_frame *)w.frame, plain, w.sealed);
        keep_least(&seal, begin);
        begin = rdtsc();
        enum status s = seal_open(&w.to, w.sealed, sealed, (struct wire_frame *)w.out);
        keep_least(&open, begin);
        fine &= s == OK &&
                memcmp(w.frame + sizeof(struct wire_frame), w.out + sizeof(struct wire_frame), size) == 0;
    }
    say("seal.%s.%zu = %llu, open = %llu", aes ? "aes" : "chacha", size, (unsigned long long)seal,
        (unsigned long long)open);
    return fine;
}

static bool handshake(void)
{
    static const uint8_t a[CRYPTO_KEY] = {8}, b[CRYPTO_KEY] = {16}, ea[CRYPTO_KEY] = {24},
                         eb[CRYPTO_KEY] = {32};
    static const uint8_t psk[CRYPTO_KEY] = {7};
    uint8_t a_public[CRYPTO_KEY], b_public[CRYPTO_KEY], one[NOISE_1_OVERHEAD + 80],
        two[NOISE_2_OVERHEAD + 112];
    uint8_t payload[112] = {0}, keys[4][CRYPTO_KEY], mac[WIRE_MAC_BYTES];
    crypto_public_key(a_public, a);
    crypto_public_key(b_public, b);
    uint64_t t0 = rdtsc();
    noise_initiate(&w.a, "prologue", 8, a, a_public, b_public, psk);
    bool fine = noise_write_1(&w.a, ea, payload, 80, one) == OK;
    uint64_t t1 = rdtsc();
    noise_respond(&w.b, "prologue", 8, b, b_public, psk);
    fine &= noise_read_1_static(&w.b, one) == OK && noise_read_1(&w.b, one, sizeof one, payload) == OK &&
            noise_write_2(&w.b, eb, payload, 112, two) == OK;
    uint64_t t2 = rdtsc();
    fine &= noise_read_2(&w.a, two, sizeof two, payload) == OK;
    uint64_t t3 = rdtsc();
    keys_mac(mac, psk, w.frame, 200);
    uint64_t t4 = rdtsc();
    noise_split(&w.a, keys[0], keys[1]);
    noise_split(&w.b, keys[2], keys[3]);
    say("handshake.host = %llu, remote = %llu, mac = %llu", (unsigned long long)(t1 - t0 + t3 - t2),
        (unsigned long long)(t2 - t1), (unsigned long long)(t4 - t3));
    return fine && memcmp(keys[0], keys[2], CRYPTO_KEY) == 0 && memcmp(keys[1], keys[3], CRYPTO_KEY) == 0;
}

void run_seal(int argc, char *argv[])
{
    (void)argc;
    (void)argv;
    static const uint16_t sizes[] = {24, 64, 256, 1400};
    uint64_t words[ENTROPY_WORDS];
    for (unsigned i = 0; i < sizeof w.registers[0]; i++)
        w.registers[0][i] = (uint8_t)(i * 7 + 1);
    load_registers(w.registers[0]);
    bool fine = handshake();
    for (unsigned aes = 0; aes <= (crypto_has_aes() ? 1u : 0u); aes++)
        for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            fine &= frames(aes != 0, sizes[i]);
    store_registers(w.registers[1]);
    say("seal: %s, vector registers %s, random numbers %s", fine ? "right" : "WRONG",
        memcmp(w.registers[0], w.registers[1], sizeof w.registers[0]) == 0 ? "untouched" : "CHANGED",
        entropy_gather(words) ? "from the CPU" : "from the clock");
}
