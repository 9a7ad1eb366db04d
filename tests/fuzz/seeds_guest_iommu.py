#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""usage: seeds_guest_iommu.py FOLDER   writes the seed corpus of fuzz_guest_iommu there: a driver's start, then descriptors, faults, absurd tables."""
import os
import struct
import sys

QUEUE, ROOT, CONTEXT, TABLE, STATUS = 0, 0x1000, 0x2000, 0x3000, 0x5FF8
QIE, SRTP, TE = 0x04000000, 0x40000000, 0x80000000
SOURCE, DOMAIN = 0x18, 7


def act(what, arg, at, value):
    return struct.pack("<BBHQ", what, arg, at, value)


def reg(offset, value, wide=False):
    return act(0, int(wide), offset, value)


def put(gpa, value):
    return act(3, 0, gpa // 8, value)


def queue(first, *descriptors):
    out = b""
    for i, (low, high) in enumerate(descriptors, first):
        out += put(QUEUE + i * 16, low) + put(QUEUE + i * 16 + 8, high)
    return out + reg(0x88, (first + len(descriptors)) * 16)


start = (reg(0x88, 0) + reg(0x90, QUEUE, True) + reg(0x18, QIE) + reg(0x20, ROOT, True) + reg(0x18, QIE | SRTP)
         + queue(0, (0x11, 0), (0xD2, 0), (0x25 | 2 << 32, STATUS)) + reg(0x18, QIE | TE))
tables = (put(ROOT, CONTEXT | 1) + put(CONTEXT + SOURCE * 16, TABLE | 1) + put(CONTEXT + SOURCE * 16 + 8, DOMAIN << 8 | 1)
          + put(TABLE, 0x4003) + put(0x4000, 0x5003) + put(0x5000, 0x1003) + put(0x4008, 0x400083) + put(TABLE + 8, 0x40000083))
psi = 0xF2 | DOMAIN << 16
seeds = {
    "start": start + tables,
    "scopes": start + tables + queue(3, (0x31 | SOURCE << 32, 0), (0xE2 | DOMAIN << 16, 0), (psi, 0x1000), (psi, 0x200012), (3, 0), (4, 0), (0x15, 0)),
    "walks": start + tables + act(7, 0, SOURCE, 0) + act(7, 39, SOURCE, 0) + act(7, 3, SOURCE, 0x3FFFF) + act(7, 20, SOURCE, 1 << 26),
    "loop": start + tables + act(5, 0, 3, 0x3003) + queue(3, (0xD2, 0)) + act(7, 39, SOURCE, 0),
    "wrong": start + tables + queue(3, (psi, 0x1000), (6, 0), (0x25, STATUS)) + put(QUEUE + 64, 0x25) + reg(0x34, 0x10),
    "faults": reg(0x38, 0) + start + tables + b"".join(act(6, 0x0D, SOURCE + i, 0x1000) for i in range(10)) + reg(0x20C, 1 << 31) + reg(0x34, 1),
    "registers": tables + start + reg(0x18, TE) + reg(0x28, 1 << 63 | 3 << 61 | SOURCE << 16, True) + reg(0x280, 0x1003, True)
    + reg(0x288, 1 << 63 | 3 << 60 | DOMAIN << 32, True),
    "absurd": reg(0x90, 0xFFFFFFFFFFFFF007, True) + reg(0x88, 0x7FFF0) + reg(0x18, QIE) + act(5, 0, 0, 0x25) + reg(0x90, 0x5007, True) + reg(0x34, 0x10),
    "high": start + tables + act(5, 0x80, 0, 0x100001003) + act(5, 0x80, 1, 0x100000003) + put(CONTEXT + SOURCE * 16, 0x100000001) + queue(3, (0xD2, 0)),
}
for name, data in seeds.items():
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(data)
