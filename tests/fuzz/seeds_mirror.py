#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""usage: seeds_mirror.py FOLDER   writes the seed corpus of fuzz_mirror there: pages mapped each way, then a remote that writes them,
reports spoiled slots and faults, breaks off rounds, and goes away."""
import os
import sys

INVENT, CHANGE, STORE, WRITE, READ, COLLECT, DOWN, UP, RESET = 0, 2, 3, 4, 5, 6, 0xFF, 0x07, 0xF7
READABLE, WRITABLE, BOTH, NONE = 1, 2, 3, 0
DATA, SPOILED, FAULT = 2, 3, 4


def change(at, page, access, count=1):
    return bytes([CHANGE, at, access | page << 2 | count - 1 << 6])


def data(slot, generation, more=0, at=3, size=9, how=0):
    return bytes([INVENT, DATA | how, slot, generation, more, 1, at, size, 0xAB])


def spoiled(slot, generation):
    return bytes([INVENT, SPOILED, slot, generation])


fault = bytes([INVENT, FAULT, 0, 0, 1, 0])
begin = b"\x08\x08" + bytes([COLLECT]) + change(1, 1, WRITABLE) + change(2, 2, BOTH) + change(3, 3, READABLE) + bytes([WRITE])
seeds = {
    "data": begin + data(0, 1) + data(1, 2) + bytes([COLLECT]) + data(2, 3) + bytes([STORE, 4, 5, WRITE, READ]),
    "rounds": begin + data(1, 2, 2) + data(0, 1, 2) + bytes([COLLECT]) + data(1, 2) + bytes([COLLECT]),
    "stale": begin + change(1, 0, NONE) + data(0, 1) + change(1, 1, BOTH) + data(0, 1) + data(0, 4) + bytes([COLLECT]),
    "spoiled": begin + change(1, 0, NONE) + change(1, 1, BOTH) + spoiled(0, 1) + bytes([COLLECT]) + spoiled(0, 1) + spoiled(9, 9) + fault,
    "outside": begin + data(0, 1, at=240, size=63) + data(0, 1, how=0x40) + change(5, 12, BOTH),
    "lost": begin + bytes([DOWN]) + data(0, 1) + bytes([UP, COLLECT]) + data(0, 4) + bytes([RESET, COLLECT]) + data(0, 7),
    "full": begin + b"".join(change(at, at % 8, 1 + at % 3, 2) for at in range(4, 30, 2)) + bytes([WRITE, COLLECT]),
}
os.makedirs(sys.argv[1], exist_ok=True)
for name, content in seeds.items():
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(content)
