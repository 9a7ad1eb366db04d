# SPDX-License-Identifier: BSD-2-Clause
"""Seeds of fuzz_elf: the good file, and one change to each field of its headers, segments and note."""
import os
import struct
import sys

FIELDS = [(4, 0), (5, 0), (16, 1), (18, 1), (24, 3), (32, 3), (40, 3), (54, 1), (56, 1), (58, 1), (60, 1)]
for segment in range(3):
    FIELDS += [(64 + segment * 56 + at, log2) for at, log2 in [(0, 2), (4, 2), (8, 3), (16, 3), (32, 3), (40, 3)]]
FIELDS += [(320 + at, log2) for at, log2 in [(4, 2), (24, 3), (32, 3)]] + [(384 + at, 2) for at in range(0, 32, 4)]

seeds = [b"\0"]
for at, log2 in FIELDS:
    for how, value in [(0, 1), (4, 1), (12, 0xFFFF), (12, 0x8000), (4, 0x1000)]:
        seeds.append(b"\0" + struct.pack("<HBH", at, how | log2, value))
for n, seed in enumerate(seeds):
    with open(os.path.join(sys.argv[1], f"seed{n}"), "wb") as f:
        f.write(seed)
