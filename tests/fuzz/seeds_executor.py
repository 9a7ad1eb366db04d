#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""usage: seeds_executor.py FOLDER   writes the seed corpus of fuzz_executor there: one good request of every kind, and combinations."""
import os
import struct
import sys

CFG_RD, CFG_WR, IO_RD, IO_WR, MRD, MWR = range(1, 7)
HANDLE = 1


def request(kind, bar, offset, size, data=b""):
    body = struct.pack("<BBHII", bar, 0, size, offset >> 32, offset & 0xFFFFFFFF) + data
    return bytes([len(body), kind, HANDLE]) + body


ones = b"\xff" * 4
seeds = {
    "config": request(CFG_RD, 0, 0, 4) + request(CFG_WR, 0, 4, 2, b"\x07\x00") + request(CFG_WR, 0, 0x10, 4, ones),
    "config-capabilities": b"".join(request(CFG_WR, 0, at, 4, ones) for at in range(0x40, 0x60, 4)),
    "config-extended": b"".join(request(CFG_WR, 0, at, 4, ones) for at in range(0x100, 0x120, 4)),
    "io": request(IO_RD, 2, 0, 1) + request(IO_WR, 2, 4, 4, ones) + request(IO_RD, 2, 31, 1),
    "memory": request(MRD, 0, 0, 8) + request(MWR, 0, 0x1001, 7, b"1234567") + request(MRD, 3, 0xFFC, 4),
    "memory-large": request(MRD, 0, 0x3F00, 256) + request(MWR, 0, 3, 240, b"x" * 240),
    "memory-huge": request(MRD, 4, 0xFFFFFFFFF8, 8) + request(MWR, 4, 1 << 39, 4, ones),
    "msix": request(MRD, 0, 0x2000, 4) + request(MWR, 0, 0x203F, 2, b"ab"),
    "unknown": bytes([0, 7, HANDLE, 0, 0x30, HANDLE, 0, 0xFF, 9]),
}
for name, records in seeds.items():
    for flags, config in ((0, b""), (2, b""), (1, bytes(range(256)))):
        with open(os.path.join(sys.argv[1], f"{name}-{flags}"), "wb") as f:
            f.write(bytes([flags]) + config + records)
