#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""usage: seeds_dma.py FOLDER   writes the seed corpus of fuzz_dma there: what an honest host does, and then some."""
import os
import sys

MAP, UNMAP, DATA, DEVICE, ROUND, GO, POLL, MEMORY, AGAIN = 0, 2, 3, 5, 7, 8, 9, 10, 11


def clear(slot):
    return bytes([DATA, slot, 1, 0])


def data(slot, *runs):
    return bytes([DATA, slot, 0, len(runs)]) + b"".join(bytes([at >> 4, size, value]) for at, size, value in runs)


def mapped(page, slot, access, generation=1):
    return bytes([MAP, page, slot, generation, access])


def device(page, at, size, value):
    return bytes([DEVICE, page, at, size, value])


def unmap(page, pages=1, behind=0):
    return bytes([UNMAP, page, pages, behind])


both = clear(0) + clear(1) + mapped(0, 0, 3) + mapped(1, 1, 2)
work = both + device(0, 1, 100, 7) + device(1, 9, 200, 8)
seeds = {
    "honest": both + data(0, (0, 16, 1), (256, 3, 2)) + device(0, 3, 40, 5) + bytes([ROUND, 7]) + unmap(0, 2),
    "late": work + bytes([ROUND, 7]) + device(1, 50, 9, 9) + unmap(0, 2) + mapped(2, 0, 3),
    "spoiled": work + bytes([ROUND, 7]) + unmap(0, 2, 1) + mapped(0, 0, 3) + clear(0) + mapped(0, 0, 3),
    "full": work + bytes([ROUND, 0, GO, 1]) + unmap(0, 1) + bytes([POLL, GO, 3]) + unmap(1, 1) + bytes([POLL]),
    "twice": both + mapped(0, 1, 3) + mapped(2, 0, 1) + clear(0) + unmap(0, 3) + clear(0),
    "memory": bytes([MEMORY, 1, 0]) + both + bytes([MEMORY, 0, 1]) + both + bytes([MEMORY, 0, 0]) + both,
    "again": work + bytes([ROUND, 0, AGAIN, 0, 9, 0]) + work + bytes([ROUND, 7]),
    "edges": clear(5) + mapped(0x47, 5, 1) + mapped(0x42, 5, 1) + mapped(0x87, 5, 3) + device(0x87, 255, 249, 1) + bytes([ROUND, 7]),
}
for name, content in seeds.items():
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(b"\x0f" + content)
