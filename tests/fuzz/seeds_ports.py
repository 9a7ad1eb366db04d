#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""usage: seeds_ports.py FOLDER   writes the seed corpus of fuzz_ports there: what a kernel does with its root ports, and what happens to them."""
import os
import struct
import sys

PORT_WR, PORT_RD, ECAM_WR, ECAM_RD, MEM, IO, EVENT, COLLECT = range(8)
DOWN, COME, SETTLE, GONE, DETACH, ATTACH, STOP, START, TIME, SILENT = range(10)
OTHER = 2  # which: that guest's


def port_wr(n, offset, value, width=2):
    return struct.pack("<BBBBI", PORT_WR, offset, n << 4, width, value)


def behind(bus, offset, value=0, kind=ECAM_WR):
    return struct.pack("<BBBBI", kind, offset & 0xFF, offset >> 8, bus, value)


def event(what, which=0):
    return struct.pack("<BBBBI", EVENT, what, which, 0, 0)


look = struct.pack("<BBBBI", COLLECT, 0, 0, 0, 0)
listen = port_wr(0, 0x78, 0x1029, 1)
use = behind(1, 0x10, 0xC0000000) + behind(1, 0x14) + behind(1, 4, 7) + struct.pack("<BBBBI", MEM, 0, 0, 0, 0xC0000000)
seeds = {
    "here": b"\1" + look + use,
    "arrival": b"\0" + listen + event(COME) + event(SETTLE) + look + use + port_wr(0, 0x7A, 0xFFFF, 1),
    "loss": b"\1" + listen + event(DOWN) + use + look + event(COME) + event(SETTLE) + use + look + use,
    "gone": b"\1" + event(GONE) + look + event(COME) + event(SETTLE) + look,
    "power": b"\1" + port_wr(0, 0x78, 0x1429, 1) + event(SETTLE) + look + port_wr(0, 0x78, 0x1029, 1) + look + use,
    "bus-reset": b"\1" + event(SILENT, 1) + port_wr(0, 0x3E, 0x40, 1) + port_wr(0, 0x3E, 0, 1) + look + event(SILENT) + event(SETTLE) + look + use,
    "flr": b"\1" + behind(1, 0x68, 0x8000) + use + event(SETTLE) + look,
    "windows": b"\1" + port_wr(0, 0x20, 0x0000FFF0) + use + port_wr(0, 0x20, 0xD000D000) + behind(1, 0x10, 0xD0000000) + port_wr(0, 4, 0, 1) + port_wr(0, 4, 7, 1),
    "numbers": b"\1" + port_wr(0, 0x18, 0x00FF0000) + port_wr(1, 0x18, 0x00FF0100) + use + behind(255, 0, 0, ECAM_RD),
    "detach": b"\1" + listen + event(DETACH) + look + port_wr(0, 0x78, 0x1429, 1) + look + event(ATTACH) + event(COME) + event(SETTLE) + look,
    "pulled": b"\1" + listen + event(DETACH) + look + event(TIME, 255) + event(COME) + look + event(ATTACH),
    "handed-over": b"\1" + event(STOP) + event(ATTACH, OTHER) + event(SETTLE) + event(START) + look + event(DETACH, OTHER) + look + event(SETTLE) + use + look,
    "both-wish": b"\1" + event(DETACH) + look + event(ATTACH, OTHER) + event(SETTLE) + event(STOP, OTHER) + event(START, OTHER) + event(STOP) + event(START) +
                 event(STOP, OTHER) + look + event(SETTLE) + use,
}
for name, data in seeds.items():
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(data)
