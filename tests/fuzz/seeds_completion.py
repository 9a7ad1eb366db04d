#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""usage: seeds_completion.py FOLDER   writes the seed corpus of fuzz_completion there: an attached guest that uses its bus while
the remote lies in one way, the link comes and goes, and records are invented."""
import os
import sys

ATTACHED, LEARN, INVENT, UP, DOWN, ALL, USE = 1, 0, 1, 2, 3, 4, 5
FINE = 0


def use(kind, argument, lies=(FINE,)):
    return bytes([USE, kind << 4, argument, *lies])


def lie(how, *arguments):
    return (0x90 | how, *arguments)


read, write, config, port = 2, 3, 0, 4
seeds = {
    "uses": b"".join(use(kind, at) for kind in range(6) for at in (0, 4, 0x10, 0xB4)),
    "lost": use(read, 0, lie(0)) + use(read, 0),
    "status": use(read, 0, lie(1, 1)) + use(config, 0xB4, lie(1, 2)),
    "tag": use(read, 0, lie(2, 128)) + use(port, 0, lie(2, 1)),
    "type": use(read, 0, lie(3, 0x10)) + use(read, 0, lie(3, 0x33)),
    "size": use(read, 0, lie(4, 190)) + use(config, 0xB4, lie(4, 1)) + use(port, 0, lie(4, 0)),
    "function": use(read, 0, lie(5, 200)),
    "invent": bytes([INVENT, 0x34, 0, 11, 0, 4, 255, 255, 0, 0, INVENT, 0x32, 0, 11, 0, 0, INVENT, 0x11, 0, 11, 5, 8]) + bytes(8),
    "down-up": bytes([DOWN, 0]) + use(read, 0) + bytes([ALL]) + use(read, 0),
    "reset": use(6, 0) + use(read, 0),
}
for name, steps in seeds.items():
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(bytes([ATTACHED]) + steps)
with open(os.path.join(sys.argv[1], "attach"), "wb") as f:
    f.write(bytes([0, ALL]) + bytes(80) + seeds["uses"])
