// SPDX-License-Identifier: BSD-2-Clause
// See seal.h.
#include "net/seal.h"
#include "net/noise.h"

#include <string.h>

void seal_start(struct seal *s, const uint8_t send[CRYPTO_KEY], const uint8_t receive[CRYPTO_KEY], bool aes)
{
    memset(s, 0, sizeof *s);
    memcpy(s->send_key, send, CRYPTO_KEY);
    memcpy(s->receive_key, receive, CRYPTO_KEY);
    crypto_cipher_set(&s->send, send, aes);
    crypto_cipher_set(&s->receive, receive, aes);
}

size_t seal_frame(struct seal *s, const struct wire_frame *frame, size_t size, void *bytes)
{
    struct wire_frame *out = bytes;
    uint8_t *counter = (uint8_t *)(out + 1), *body = counter + sizeof s->next;
    if (s->next >= SEAL_END)
        return 0;
    uint64_t n = s->next++;
    if (n != 0 && (n & ((1ull << SEAL_REKEY_SHIFT) - 1)) == 0) {
        noise_rekey(s->send_key);
        crypto_cipher_set(&s->send, s->send_key, s->send.aes);
    }
    size_t body_size = size - sizeof *frame;
    *out = *frame;
    out->type |= WIRE_SEALED;
    out->length = (uint16_t)(size + WIRE_SEAL_BYTES);
    __builtin_memcpy(counter, &n, sizeof n);
    memcpy(body, frame + 1, body_size);
    crypto_cipher_seal(&s->send, n, out, sizeof *out, body, body_size, body + body_size);
    return size + WIRE_SEAL_BYTES;
}

static bool was_taken(const struct seal *s, uint64_t n)
{
    if (n >= s->newest)
        return false;
    return s->newest - n > SEAL_WINDOW || (s->taken[n % SEAL_WINDOW / 64] >> n % 64 & 1) != 0;
}

static void take(struct seal *s, uint64_t n)
{
    if (n >= s->newest) {
        uint64_t skipped = n - s->newest;
        if (skipped >= SEAL_WINDOW)
            memset(s->taken, 0, sizeof s->taken);
        else
            for (uint64_t i = s->newest; i < n; i++)
                s->taken[i % SEAL_WINDOW / 64] &= ~(1ull << i % 64);
        s->newest = n + 1;
    }
    s->taken[n % SEAL_WINDOW / 64] |= 1ull << n % 64;
}

enum status seal_open(struct seal *s, const void *bytes, size_t size, struct wire_frame *out)
{
    const struct wire_frame *frame = bytes;
    const uint8_t *counter = (const uint8_t *)(frame + 1), *body = counter + sizeof(uint64_t);
    size_t body_size = size - sizeof *frame - WIRE_SEAL_BYTES;
    uint64_t n;
    __builtin_memcpy(&n, counter, sizeof n);
    if (was_taken(s, n))
        return ERR_BUSY;
    uint64_t ahead = (n >> SEAL_REKEY_SHIFT) - s->generation; // ~0: the generation before
    if (n >= SEAL_END || (ahead != 0 && ahead != 1 && ahead != ~0ull)) {
        s->forged++; // no sender skips a generation
        return ERR_DENIED;
    }
    uint8_t next_key[CRYPTO_KEY];
    struct crypto_cipher next;
    if (ahead == 1) {
        memcpy(next_key, s->receive_key, sizeof next_key);
        noise_rekey(next_key);
        crypto_cipher_set(&next, next_key, s->receive.aes);
    }
    memcpy(out + 1, body, body_size);
    enum status status = crypto_cipher_open(ahead == 0   ? &s->receive
                                            : ahead == 1 ? &next
                                                         : &s->previous,
                                            n, frame, sizeof *frame, out + 1, body_size, body + body_size);
    if (status == OK) {
        take(s, n);
        *out = *frame;
        out->type &= (uint8_t)~WIRE_SEALED;
        out->length = (uint16_t)(size - WIRE_SEAL_BYTES);
        if (ahead == 1) {
            s->previous = s->receive;
            s->receive = next;
            memcpy(s->receive_key, next_key, sizeof next_key);
            s->generation++;
        }
    } else {
        s->forged++;
    }
    if (ahead == 1) {
        crypto_wipe(next_key, sizeof next_key);
        crypto_wipe(&next, sizeof next);
    }
    return status;
}

bool seal_worn(const struct seal *s)
{
    return s->next >= SEAL_END || s->forged >= SEAL_FORGED_MAX;
}
