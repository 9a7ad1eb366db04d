// SPDX-License-Identifier: BSD-2-Clause
// Sealed frames: what a session's keys do to a frame between link and carrier (docs/protocol.md, "Sealed
// frames"). A counter of its own is the nonce, since a frame that is sent again carries other
// acknowledgements; the header is associated data; keys move on by Noise's REKEY. Must not know links or what
// is in a frame. The invariants: no counter is used twice with a key, and a counter that was taken once is
// never taken again.
#pragma once
#include "net/crypto.h"
#include "net/wire.h"

#define SEAL_REKEY_SHIFT 24u          // a key seals 2^24 frames
#define SEAL_END         (1ull << 60) // counters from here on are not used: the session must end before
#define SEAL_WINDOW      256u         // counters that may come late; power of two
#define SEAL_FORGED_MAX  (1ull << 36) // frames with a wrong tag in one session (RFC 8439 with RFC 9001, B.2)

struct seal {
    uint8_t send_key[CRYPTO_KEY];
    uint8_t receive_key[CRYPTO_KEY]; // of generation `generation`
    struct crypto_cipher send, receive;
    struct crypto_cipher previous; // of the generation before: frames may come late
    uint64_t next;                 // counter of the next frame sealed
    uint64_t newest;               // greatest counter taken, + 1; 0: none
    uint64_t generation;           // of receive_key: counters >> SEAL_REKEY_SHIFT
    uint64_t forged;
    uint64_t taken[SEAL_WINDOW / 64]; // bit counter % SEAL_WINDOW, for counters above newest - SEAL_WINDOW
};

/// `aes`: with AES-GCM, as both ends have agreed; else ChaCha20-Poly1305.
void seal_start(struct seal *s, const uint8_t send[CRYPTO_KEY], const uint8_t receive[CRYPTO_KEY], bool aes);
/// Seals a whole plain frame of `size` bytes into `out`, which takes size + WIRE_SEAL_BYTES + CRYPTO_SLACK.
/// Returns the size there; 0: the keys are used up, nothing must be sent with them any more.
size_t seal_frame(struct seal *s, const struct wire_frame *frame, size_t size, void *out);
/// Opens a frame that wire_check_sealed found fine into `out` (takes size + CRYPTO_SLACK), as the plain
/// frame that it was. ERR_DENIED: not made with these keys, or changed; ERR_BUSY: taken before, or too old.
/// Then the state is as before.
MUST_CHECK enum status seal_open(struct seal *s, const void *frame, size_t size, struct wire_frame *out);
/// The session has to end: counters or forgeries have reached their limit.
bool seal_worn(const struct seal *s);
