# SPDX-License-Identifier: BSD-2-Clause
"""Seeds of fuzz_sealed: four bytes an operation; each kind of frame sent, sent again, turned, cut, with a right MAC, and time passing."""
import os
import sys

WRITE, TIME = bytes([0, 0, 0, 0]), bytes([5, 100, 0, 0])
SEEDS = [
    WRITE * 4 + b"".join(bytes([1, kind, 0, 0]) for kind in range(6)),
    (WRITE + bytes([1, 3, 0, 0])) * 20,
    b"".join(WRITE + bytes([2, 3, at, 0]) for at in range(64)),
    b"".join(bytes([2 | 0x80, 1, at, 0]) for at in range(24, 30)),
    b"".join(bytes([2 | 0x40, kind, 40, 0]) + TIME for kind in range(6)),
    bytes([4, 48, 1, 0]) + bytes.fromhex("46414253018530000100000000000000") + bytes(32) + TIME * 80,
]

for n, seed in enumerate(SEEDS):
    with open(os.path.join(sys.argv[1], f"seed{n}"), "wb") as f:
        f.write(seed)
