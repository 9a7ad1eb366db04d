# SPDX-License-Identifier: BSD-2-Clause
"""Noise_IKpsk2_25519_ChaChaPoly_SHA256 and the seals of docs/protocol.md, sections 3.1 and 4.4, written from the specifications (RFC 7748,
RFC 8439, The Noise Protocol Framework revision 34) and not from the C code. Slow, and no secret is safe in it: for tests only."""
import hashlib
import hmac
import secrets
import struct

TAG = 16
NAME = b"Noise_IKpsk2_25519_ChaChaPoly_SHA256"


class Refused(Exception):
    """Not made by who it claims, or changed on its way."""


# ---- X25519 (RFC 7748, 5) ----
def x25519(scalar, point):
    p = 2**255 - 19
    k = bytearray(scalar)
    k[0] &= 248
    k[31] = k[31] & 127 | 64
    k = int.from_bytes(k, "little")
    x1 = int.from_bytes(point, "little") & (2**255 - 1)
    x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
    for t in reversed(range(255)):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % p, b * b % p, d * a % p, c * b % p
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % p, x1 * (da - cb) ** 2 % p
        x2, z2 = aa * bb % p, e * (aa + 121665 * e) % p
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, p - 2, p) % p).to_bytes(32, "little")


def public_key(private):
    return x25519(private, (9).to_bytes(32, "little"))


# ---- ChaCha20-Poly1305 (RFC 8439, 2.3 to 2.8) ----
def _block(key, counter, nonce):
    state = list(struct.unpack("<16I", b"expand 32-byte k" + key + struct.pack("<I", counter) + nonce))
    x = list(state)
    for n in range(80):
        a, b, c, d = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15), (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))[n % 8]
        for i, j, k, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            x[i] = (x[i] + x[j]) & 0xFFFFFFFF
            v = x[k] ^ x[i]
            x[k] = (v << turn | v >> 32 - turn) & 0xFFFFFFFF
    return struct.pack("<16I", *((u + v) & 0xFFFFFFFF for u, v in zip(x, state)))


def _crypt(key, nonce, data):
    stream = b"".join(_block(key, 1 + i, nonce) for i in range((len(data) + 63) // 64))
    return bytes(a ^ b for a, b in zip(data, stream))


def _tag(key, nonce, ad, sealed):
    once = _block(key, 0, nonce)
    r = int.from_bytes(once[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    pad = lambda b: b + bytes(-len(b) % 16)  # noqa: E731
    message, acc = pad(ad) + pad(sealed) + struct.pack("<QQ", len(ad), len(sealed)), 0
    for i in range(0, len(message), 16):
        acc = (acc + int.from_bytes(message[i:i + 16] + b"\1", "little")) * r % (2**130 - 5)
    return ((acc + int.from_bytes(once[16:32], "little")) & (2**128 - 1)).to_bytes(16, "little")


def seal(key, n, ad, plain):
    nonce = struct.pack("<IQ", 0, n)
    sealed = _crypt(key, nonce, plain)
    return sealed + _tag(key, nonce, ad, sealed)


def unseal(key, n, ad, sealed):
    nonce = struct.pack("<IQ", 0, n)
    if _tag(key, nonce, ad, sealed[:-TAG]) != sealed[-TAG:]:
        raise Refused("a wrong tag")
    return _crypt(key, nonce, sealed[:-TAG])


# ---- Noise ----
def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def hkdf(ck, material, count):
    temp, out = mac(ck, material), []
    for i in range(count):
        out.append(mac(temp, (out[-1] if out else b"") + bytes([i + 1])))
    return out


class Initiator:
    """Message 1 out, message 2 in; then `send` and `receive` are the transport keys."""

    def __init__(self, prologue, private, remote_public, psk, ephemeral=None):
        self.s, self.rs, self.psk = private, remote_public, psk
        self.e = ephemeral or secrets.token_bytes(32)
        self.h = self.ck = hashlib.sha256(NAME).digest()  # the name is longer than 32 bytes
        self.mix_hash(prologue)
        self.mix_hash(remote_public)

    def mix_hash(self, data):
        self.h = hashlib.sha256(self.h + data).digest()

    def mix_key(self, material):
        self.ck, self.k = hkdf(self.ck, material, 2)
        self.n = 0

    def encrypt(self, plain):
        sealed = seal(self.k, self.n, self.h, plain)
        self.n += 1
        self.mix_hash(sealed)
        return sealed

    def write(self, payload):
        e = public_key(self.e)
        self.mix_hash(e)
        self.mix_key(e)
        self.mix_key(x25519(self.e, self.rs))                # es
        s = self.encrypt(public_key(self.s))
        self.mix_key(x25519(self.s, self.rs))                # ss
        return e + s + self.encrypt(payload)

    def read(self, message):
        e = message[:32]
        self.mix_hash(e)
        self.mix_key(e)
        self.mix_key(x25519(self.e, e))                      # ee
        self.mix_key(x25519(self.s, e))                      # se
        self.ck, temp, self.k = hkdf(self.ck, self.psk, 3)   # psk
        self.mix_hash(temp)
        payload = unseal(self.k, 0, self.h, message[32:])
        self.send, self.receive = hkdf(self.ck, b"", 2)
        return payload


# ---- frames (3.1) ----
SEALED = 0x80


def header(plain, extra):
    """The 24 bytes of a plain frame, for the sealed one."""
    return plain[:5] + bytes([plain[5] | SEALED]) + struct.pack("<H", len(plain) + extra) + plain[8:24]


def unsealed(frame, body):
    return frame[:5] + bytes([frame[5] & ~SEALED]) + struct.pack("<H", 24 + len(body)) + frame[8:24] + body


class Keys:
    """A host's keys, and what it does with them."""

    def __init__(self, private, psk, remote_public):
        self.private, self.psk, self.remote_public = private, psk, remote_public
        self.public = public_key(private)

    def handshake_mac(self, receiver, frame):
        return mac(mac(self.psk, b"farbus handshake" + receiver), frame)[:16]

    def hello(self, plain):
        """(frame, Initiator that reads the answer)"""
        head = header(plain, 96 + 16)
        noise = Initiator(head, self.private, self.remote_public, self.psk)
        frame = head + noise.write(plain[24:])
        return frame + self.handshake_mac(self.remote_public, frame), noise

    def hello_ack(self, noise, frame):
        """The plain frame; from now on there is a Session."""
        if self.handshake_mac(self.public, frame[:-16]) != frame[-16:]:
            raise Refused("HELLO_ACK with a wrong MAC")
        return unsealed(frame, noise.read(frame[24:-16]))

    def announcement(self, frame):
        """(plain frame, counter)"""
        if mac(mac(self.psk, b"farbus announcement"), frame[:-16])[:16] != frame[-16:]:
            raise Refused("an announcement with a wrong MAC")
        return unsealed(frame, frame[24:-24]), int.from_bytes(frame[-24:-16], "little")


class Session:
    def __init__(self, noise):
        self.send, self.receive = noise.send, noise.receive
        self.counter = 0
        self.seen = set()

    def seal(self, plain):
        head, n = header(plain, 24), self.counter
        self.counter += 1
        return head + n.to_bytes(8, "little") + seal(self.send, n, head, plain[24:])

    def open(self, frame):
        n = int.from_bytes(frame[24:32], "little")
        if n in self.seen:
            raise Refused(f"counter {n} came twice")
        body = unseal(self.receive, n, frame[:24], frame[32:])
        self.seen.add(n)
        return unsealed(frame, body)
