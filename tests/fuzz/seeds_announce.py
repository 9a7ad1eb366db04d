#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Seeds of fuzz_announce: whole lists, lists in parts, changing lists. usage: seeds_announce.py FOLDER"""
import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import wire as w  # noqa: E402


def give(frame):
    return struct.pack("<H", len(frame)) + frame


nvme = w.function(w.pci(0, 4, 0), 0x1B36, 0x10, (1, 8, 2), [(0x4000, 3)], pin=1, flags=2)
serial = w.function(w.pci(0, 5, 0), 0x1B36, 2, (7, 0, 2), [(8, 1)], pin=1)
many = [w.function(w.pci(1, i, 0), 0x8086, i, bars=[(0, 0), (1 << 31, 0x82), (1 << 40, 0x83)]) for i in range(13)]
seeds = {
    "one": give(w.announce("disk1", 7, [nvme])),
    "two": give(w.announce("disk1", 7, [nvme, serial])) * 2,
    "none": give(w.announce("disk1", 7, [])),
    "parts": give(w.announce("a", 7, many, part=0, parts=2, total=14)) + give(w.announce("a", 7, [nvme], part=1, parts=2, first=13, total=14)),
    "change": give(w.announce("a", 7, [nvme])) + give(w.announce("a", 7, [serial], generation=2)) + give(w.announce("a", 8, [nvme])),
    "nodes": b"".join(give(w.announce(f"n{i}", i + 1, [nvme])) for i in range(12)),
}
for name, script in seeds.items():
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(script)
