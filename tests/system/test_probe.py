# SPDX-License-Identifier: BSD-2-Clause
"""The main job: a guest on the host finds the remote's functions and uses them, and what it finds is what the devices hold. The same
guest, run where the devices are, is the reference. The remote starts first here."""
import os
import re
import struct
import zlib

import pair
import wire as w

ALL = ["nvme", "edu", "serial", "testdev", "memory"]
LOOPS = 20


def test_probe(lab):
    cmdline = f"loop={LOOPS} want=nvme,edu,serial,testdev,memory,absent,modules"
    guest = pair.guest("probe", "probe", cmdline + ",unowned,frames", ALL,
                       modules=["one.bin first module", "two.bin"])
    one, two = b"the first module", bytes(i * 31 & 255 for i in range(5000))
    l = lab(pair.description([guest], ALL, elves=["probe"], files={"one.bin": one, "two.bin": two}, host_start=False))
    reference = pair.reference(l, "probe", cmdline, ALL)
    assert re.search(r"^probe: \d+ findings, 0 failed$", "\n".join(reference), re.M), "\n".join(reference)
    pair.prepare(l)
    l.start()
    pair.remote_up(l)
    l["host1"].start()
    host = l["host1"].console
    host.expect(r"probe\| probe: (\d+) findings, (\d+) failed", 900)
    host.expect(r"probe: stopped: powered off", 60)
    lines = pair.guest_lines(l["host1"], "probe")

    # what it was started with
    assert f"probe: module 0 = one.bin first module {len(one)} 0x{zlib.crc32(one):08x} ok" in lines
    assert f"probe: module 1 = two.bin {len(two)} 0x{zlib.crc32(two):08x} ok" in lines
    # every line about a device is the line it prints where the device is
    own = re.compile(r"probe: (frames|unowned|modules?)\b")
    remote = [line for line in pair.properties(lines) if not own.match(line)]
    local = [line for line in pair.properties(reference) if not own.match(line)]
    assert remote == local
    assert [line for line in lines if "FAILED" in line] == []
    assert any(line.startswith("probe: unowned.") for line in lines)

    # what the devices hold, seen from their own machine: configuration, BAR memory
    with open(l.path("bar.memory"), "rb") as f:
        assert struct.unpack("<16I", f.read(64)) == tuple(0xFA4B0500 + i for i in range(16))
    info = l["remote1"].monitor("info pci")
    for line in lines:
        found = re.match(r"probe: pci [\d:.]+ = (\w{4}):(\w{4}) class", line)
        if found and found.groups() != ("8086", "29c0"):  # the host bridge is the host's own
            assert f"PCI device {found[1]}:{found[2]}" in info

    check_frames(pair.frames(l["remote1"].pcap))
    assert re.search(r"link: up: remote1 at .* by l2$", host.text, re.M), "not on the carrier that machines of one LAN use"
    counts = pair.host_counters(l)
    executed = pair.remote_counters(l)
    for here, there in (("MRd", "executed MRd"), ("MWr", "executed MWr"), ("IORd", "executed IORd"), ("IOWr", "executed IOWr")):
        assert counts[here] == executed[there] > 0
    assert counts.get("reads answered all-ones", 0) == 0
    assert [n for n in executed if n.startswith("refused") and executed[n]] == []


def check_frames(captured):
    """No network round trip for what the host can answer; posted writes wait for nothing."""
    kinds, again = pair.between_marks(captured)
    assert set(range(1, 9)) <= set(kinds)
    assert [f.raw for f in kinds[1]] == [], "an absent function cost a frame"
    assert [f.raw for f in kinds[3]] == [], "sizing a BAR cost a frame"
    assert [f.raw for f in kinds[5]] == [], "moving a BAR cost a frame"
    posted = [r for f in kinds[7] if f.source == pair.HOST for r in f.records()]
    assert [r.kind for r in posted] == [w.MWR] * LOOPS
    assert {r.kind for f in kinds[7] if f.source == pair.REMOTE for r in f.records()} <= {w.CREDIT}
    requests = [r for f in kinds[8] if f.source == pair.HOST for r in f.records()]
    answers = [r for f in kinds[8] if f.source == pair.REMOTE for r in f.records() if r.kind != w.CREDIT]
    assert [r.kind for r in requests] == [w.MRD] * LOOPS
    assert [(r.kind, r.body) for r in answers] == [(w.CPLD, b"\xed\0\0\1")] * LOOPS
    # one frame there and one back, and nothing more that carries data
    assert len([f for f in kinds[8] if f.source == pair.HOST]) == LOOPS
