#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Seeds of fuzz_frame: scripts that open links in both roles and use them. usage: seeds_frame.py FOLDER"""
import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import wire as w  # noqa: E402


def give(frame, repair=0x80 | 8):
    return bytes([repair]) + struct.pack("<H", len(frame)) + frame


TO_HOST, TO_REMOTE = 0x80 | 8 | 2, 0x80 | 8 | 2 | 1
up = give(w.hello_ack(1, 5, "disk1"), TO_HOST)
hello = give(w.hello(9, 3, "host1", "disk1"), TO_HOST)
cpl = w.record(w.CPLD, 1, 1, b"abcd")
reads = [w.access(w.MRD, 1, i, 0, 4 * i, 4) for i in range(72)]
requests = [w.record(w.ATTACH, 0, 1, w.pci(0, 4, 0)), w.access(w.CFG_RD, 1, 2, 0, 0, 4), w.access(w.CFG_WR, 1, 3, 0, 4, 2, b"\6\0"),
            w.access(w.IO_RD, 1, 4, 1, 8, 1), w.access(w.IO_WR, 1, 5, 1, 8, 4, b"abcd"), w.access(w.MRD, 1, 6, 0, 1 << 33, 256),
            w.access(w.MWR, 1, 0, 0, 16, 8, b"abcdefgh"), w.record(w.RESET, 1, 7), w.record(w.DETACH, 1, 8)]
events = [cpl, w.record(w.CPL, 1, 2, status=w.UR), w.record(w.INTX, 1, 0, b"\1\1\0\0"), w.record(w.MSI, 1, 0, b"\3\0\0\0"),
          w.record(w.GONE, 1), w.record(w.ERROR, 1, 0, b"\1\0\0\0"), w.record(w.CREDIT, 1, 0, b"\x20\0\0\0")]
time = bytes([5])

JUMBO = 1592
jumbo_up = give(w.hello_ack(1, 5, "disk1", frame_max=JUMBO, capabilities=w.CAP_PROBE), TO_HOST)
jumbo_hello = give(w.hello(9, 3, "host1", "disk1", frame_max=JUMBO, capabilities=w.CAP_PROBE), TO_HOST)


def odd(script):
    """With an input of odd size the node takes frames of JUMBO bytes."""
    return script if len(script) % 2 else script + time


seeds = {
    "jumbo host": odd(jumbo_up + b"\0" + give(w.probe(1, w.PROBE_ANSWER, JUMBO), TO_HOST) + b"\x3e\x3e" + time * 9),
    "jumbo host in vain": odd(jumbo_up + b"\x08" * 20 + give(w.probe(1, w.PROBE_ANSWER, JUMBO), TO_HOST)),
    "jumbo remote": odd(jumbo_hello + give(w.probe(9, w.PROBE_ASK, JUMBO), TO_REMOTE) + give(w.probe(9, w.PROBE_DONE), TO_REMOTE) +
                        give(w.data(9, 4, 0, *requests), TO_REMOTE) + time),
    "jumbo remote told by data": odd(jumbo_hello + give(w.probe(9, w.PROBE_ASK, JUMBO), TO_REMOTE) +
                                     give(w.data(9, 4, 0, *[w.access(w.MRD, 1, i, 0, 0, 256) for i in range(78)]), TO_REMOTE) + time * 2),
    "completions": up + b"\x2e" + give(w.data(1, 4, 0, *events), TO_HOST) + time + give(w.data(1, 4, 0, cpl), TO_HOST),
    "requests": hello + give(w.data(9, 4, 0, *requests), TO_REMOTE) + time + give(w.data(9, 4, 0, *requests), TO_REMOTE),
    "flood": hello + b"".join(give(w.data(9, 4, 0, *reads), TO_REMOTE) for _ in range(6)) + time * 3,
    "gap": up + give(w.data(1, 7, 0, cpl), TO_HOST) + give(w.data(1, 6, 0, cpl), TO_HOST) + give(w.data(1, 4, 0, cpl), TO_HOST),
    "sack": up + b"\x3e\x3e\x3e" + time + give(w.ack(1, 6, 0x15), 0x80 | 8) + time * 4,
    "silence": up + b"\x3e" + b"\x1f" * 6,
    "refused": give(w.hello_ack(1, 5, "disk1", 1, why="no"), TO_HOST) + b"\x1f\x1f",
    "bye": up + give(w.bye(1, 1, "restarted"), TO_HOST) + time,
    "replace": hello + give(w.hello(10, 3, "host1", "disk1", attempt=2), TO_HOST) + give(w.hello(8, 3, "host1", "disk1"), TO_HOST),
    "full": up + b"\x61\x3e\x3e\x1f\x60\x1f",
    "versions": give(w.hello(9, 3, "host1", "disk1", versions=(2, 9)), TO_HOST) + give(w.hello(9, 3, "r", "disk1"), TO_HOST),
}
for name, script in seeds.items():
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(script)
