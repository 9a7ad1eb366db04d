#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""usage: seeds_config_space.py FOLDER   writes the seed corpus of fuzz_config_space there: a guest that sizes and moves BARs, walks
capabilities and pokes at what is hidden, with good and with looping capability lists."""
import os
import struct
import sys

CFG_RD, CFG_WR, ECAM_RD, ECAM_WR, BAR, MEM_RD, MEM_WR, PORT = range(8)


def step(kind, offset=0, width=2, value=0):
    return struct.pack("<BBBBI", kind, offset & 0xFF, offset >> 8, width, value)


lists = {
    "good": b"",
    "loop": bytes([0x41 - 0x34, 0x40]),
    "self": bytes([0x51 - 0x34, 0x50]),
    "header": bytes([0x41 - 0x34, 0x10]),
    "end": bytes([0x41 - 0x34, 0xFC]),
    "ones": bytes([0x40 - 0x34, 0xFF]),
    "overlap": bytes([0x41 - 0x34, 0x44, 0x44 - 0x34, 0x10, 0x45 - 0x34, 0x48, 0x48 - 0x34, 0x05]),
}
guests = {
    "size": step(BAR, 0, 2, 0xFFFFFFFF) + step(BAR, 1, 2, 0xFFFFFFFF) + step(BAR, 2, 2, 0xFFFFFFFF) + step(BAR, 0, 2, 0xD0000000) + step(BAR, 1, 2, 0),
    "command": step(CFG_WR, 4, 1, 0) + step(CFG_WR, 4, 1, 7) + step(CFG_WR, 4, 2, 0xFFFFFFFF),
    "collide": step(BAR, 0, 2, 0xE0000000) + step(BAR, 2, 2, 0xCF8) + step(MEM_RD, 0, 3, 0xE0010000) + step(PORT, 0, 2, 0xCF8),
    "hidden": b"".join(step(CFG_WR, at, 2, 0xFFFFFFFF) for at in range(0x30, 0xC0, 4)),
    "use": step(MEM_RD, 0, 3, 0xC0000000) + step(MEM_WR, 0, 7, 0xC0000FFF) + step(PORT, 1, 2, 0xC000) + step(PORT, 0, 0, 0xC03F),
    "ecam": step(ECAM_RD, 0x100, 3) + step(ECAM_WR, 0xFFF, 7, 0xFFFFFFFF) + step(ECAM_RD, 0x3D, 6),
}
for list_name, poke in lists.items():
    for name, steps in guests.items():
        filler = bytes([0xCB, 0]) * 16
        with open(os.path.join(sys.argv[1], f"{list_name}-{name}"), "wb") as f:
            f.write((poke + filler)[:32] + steps + step(CFG_RD) + step(CFG_RD))
