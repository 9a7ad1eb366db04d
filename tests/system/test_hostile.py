# SPDX-License-Identifier: BSD-2-Clause
"""A third station on the LAN sends malformed frames to both ends, under the address of the other, into the session they have: nothing of it
is taken, all of it is counted by reason, and the guest sees none of it."""
import os
import random
import re
import struct
import subprocess
import time

import wire as w

HOST, REMOTE = "10.9.0.1", "10.9.0.2"
DESCRIPTION = {
    "lan": {"lan": {}},
    "host": {"host1": {"lan": "lan", "mac": "52:54:00:99:00:01", "files": {"watch.elf": "build/guests/watch.elf"}, "ini": f"""[node]
name = host1
role = host
address = {HOST}/24
[guest watch]
memory = 64M
kernel = watch.elf
bus = flat
device = remote1/0000:00:04.0
"""}},
    "remote": {"remote1": {"lan": "lan", "mac": "52:54:00:99:00:02", "memory": 256, "devices": ["edu,addr=0x4"],
                           "ini": f"[node]\nname = remote1\nrole = remote\naddress = {REMOTE}/24\n"}},
}


class Intruder:
    """A station of its own on the switch."""

    def __init__(self, lab):
        path = os.path.join(lab.run_dir, lab.lans["lan"].sock("a"))
        self.plug = subprocess.Popen(["vde_plug", path], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self.sent = 0

    def send(self, source, target, frame):
        macs = {HOST: b"\x52\x54\0\x99\0\1", REMOTE: b"\x52\x54\0\x99\0\2"}
        packet = w.ethernet(source, target, frame, b"\2\0\0\0\0\x66", macs[target])
        self.plug.stdin.write(struct.pack(">H", len(packet)) + packet)
        self.plug.stdin.flush()
        self.sent += 1
        time.sleep(0.02)  # Bochs takes about a frame each emulated millisecond, and the switch keeps ten for it

    def close(self):
        self.plug.stdin.close()
        self.plug.wait(10)


def malformed(epoch, to_host, rnd):
    """Frames of which none may be taken, with the reasons for which they are not."""
    record = w.record(w.CPLD, 1, 0xFFFF, b"abcd") if to_host else w.access(w.MWR, 1, 0, 0, 4, 4, b"\xde\xad\xbe\xef")
    good = w.data(epoch, 0x7FFF0000, 0, record)  # far outside of the window even where it is well-formed
    for size in range(0, len(good), 3):
        yield "frame size", good[:size]
    yield "frame size", good + b"\0"
    yield "magic", b"XXXX" + good[4:]
    yield "version", good[:4] + b"\2" + good[5:]
    yield "frame type", good[:5] + b"\x63" + good[6:]
    yield "frame header", w.frame(w.DATA, record, 0, 1)
    yield "frame header", w.frame(w.ACK, b"", epoch, 0, 0x7FFFFFFF)
    yield "frame header", w.frame(w.ACK, b"", epoch, 7)
    yield "frame body", w.frame(w.BYE, b"short", epoch)
    yield "frame body", w.bye(epoch, 200)
    yield "frame body", w.hello(epoch, 1, "a b", "remote1")
    yield "frame body", w.frame(w.HELLO_ACK, bytes(112), epoch)
    yield "frame body", w.announce("", 1, [])
    yield "frame body", w.announce("remote1", 5, [bytes(92)] * 3, total=1)
    for kind in (0, 0x3F, 0x7F, 0xFF, w.MRD if to_host else w.CPLD):
        yield "record type", w.data(epoch, 1, 0, w.record(kind, 1, 1, bytes(12)))
    for size in (0, 7, 9, 300, 0xFFFF, 1, 2, 3):
        yield "record length", w.data(epoch, 1, 0, record[:2] + struct.pack("<H", size) + record[4:])
    yield "record length", w.data(epoch, 1, 0, record, b"tail")
    yield "record field", w.data(epoch, 1, 0, w.record(w.CPL, 1, 1, status=9) if to_host else w.access(w.MRD, 1, 1, 7, 0, 4))
    yield "record field", w.data(epoch, 1, 0, w.record(w.INTX, 1, 0, b"\x09\0\0\0") if to_host else w.access(w.MRD, 0, 1, 0, 0, 4))
    for _ in range(40):
        yield "magic", bytes(rnd.randrange(256) for _ in range(rnd.randrange(24, 1200)))


def counters(machine, end):
    console = machine.console
    start = len(console.text)
    console.mark()
    console.send("counters\r")
    console.expect(end, 120)
    return {name: int(n) for name, n in re.findall(r"malformed, (.+?): (\d+)", console.text[start:])}


def test_malformed_frames_on_the_lan(lab):
    one = lab(DESCRIPTION)
    one.start()
    host, remote = one["host1"], one["remote1"]
    epoch = int(host.console.expect(r"link: up: remote1 .* epoch ([0-9a-f]{8})", 300).group(1), 16)
    host.console.expect(r"watch: edu here", 300)
    ends = {HOST: (host, r"announcements: received \d+ malformed \d+"), REMOTE: (remote, r"NIC: frames sent .*")}
    before = {address: counters(*end) for address, end in ends.items()}
    intruder = Intruder(one)
    expected = {HOST: {}, REMOTE: {}}
    try:
        for address, other in ((HOST, REMOTE), (REMOTE, HOST)):
            frames = list(malformed(epoch, address == HOST, random.Random(7)))
            for reason, frame in frames * 3:  # a lost one must not decide
                if address == REMOTE and frame[5:6] == bytes([w.ANNOUNCE]) and frame[:4] == b"FABS":
                    continue  # a remote does not listen to announcements
                intruder.send(other, address, frame)
                expected[address][reason] = expected[address].get(reason, 0) + 1
    finally:
        intruder.close()
    for address, end in ends.items():
        after = counters(*end)
        got = {reason: after[reason] - before[address][reason] for reason in after}
        for reason, count in got.items():  # the emulated NICs lose some; those that came are counted for the right reason
            assert (0 < count <= expected[address][reason]) if reason in expected[address] else count == 0, (address, reason, got, expected)
        assert sum(got.values()) >= intruder.sent // 8

    assert not host.console.seen(r"down: remote1")
    assert not remote.console.seen(r"down: host1")
    assert not host.console.seen(r"watch: edu (?!here)")
