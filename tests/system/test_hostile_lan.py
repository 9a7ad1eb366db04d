# SPDX-License-Identifier: BSD-2-Clause
"""Somebody on the LAN sends both ends frames that are broken in every way, in the name of the other end and with the session's own epoch.
They are dropped and counted; the guest that works meanwhile notices nothing. Machines that have another's name get nothing; a remote that lies in a way that
no frame's form shows is cut off. (Links are without keys here, so a
well-formed forgery is another matter: test_keys.py, test_sealed.py.)"""
import os
import random
import re
import struct
import subprocess
import time

import pair
import wire as w

HOST_MAC, REMOTE_MAC = bytes.fromhex("525400fb0001"), bytes.fromhex("525400fb0002")
OWN_MAC = b"\2\0\0\0\0\x63"  # with another's, the switch would send that one's frames to us: a flood, not a malformed frame
ANNOUNCE_BODY = 52


class Plug:
    """A port of the LAN's switch: frames go in with their length in front (vde_plug)."""

    def __init__(self, lab):
        lan = lab.lans["lan"]
        self.process = subprocess.Popen(["vde_plug", lan.sock("a")], cwd=lab.run_dir, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        self.sent = 0

    def send(self, frame):
        self.process.stdin.write(struct.pack(">H", len(frame)) + frame)
        self.process.stdin.flush()
        self.sent += 1
        if self.sent % 8 == 0:
            time.sleep(0.04)  # an emulated NIC takes one frame an emulated millisecond

    def close(self):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()


def malformed(epoch, to_host, rnd):
    """One frame or more for each reason for which a frame is not taken, with that reason."""
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


def lengths(frame):
    """Every length, told and not told."""
    for size in range(len(frame)):
        yield frame[:size]
        if 24 <= size:
            yield frame[:6] + struct.pack("<H", size) + frame[8:size]
    yield frame + b"\0"
    yield frame + bytes(400)
    yield frame[:6] + struct.pack("<H", len(frame) + 8) + frame[8:]


def patched(frame, offset, data):
    return frame[:offset] + data + frame[offset + len(data):]


def fields(frame):
    """Every field with values it cannot have."""
    kind = frame[5]
    for offset in range(4):
        for bit in range(8):
            yield patched(frame, offset, bytes([frame[offset] ^ 1 << bit]))
    for version in (0, 2, 3, 0x80, 255):
        yield patched(frame, 4, bytes([version]))
    for other in (0, 7, 8, 0x40, 255):
        yield patched(frame, 5, bytes([other]))
    yield patched(frame, 8, struct.pack("<I", 1 if kind == w.ANNOUNCE else 0))
    yield patched(frame, 12, struct.pack("<I", 0 if kind == w.DATA else 1))
    if kind == w.ANNOUNCE:
        yield patched(frame, 16, struct.pack("<I", 1))
        yield patched(frame, 20, struct.pack("<I", 1))
        for name in (b"", b"a b", b"a/b", b"\xff\xfe", b"x" * 32):
            yield patched(frame, 24, name.ljust(32, b"\0"))
        yield patched(frame, 56, struct.pack("<I", 0))           # boot_id
        yield patched(frame, 24 + 42, b"\5\1")                   # part 5 of 1
        yield patched(frame, 24 + 43, b"\0")                     # no parts
        yield patched(frame, 24 + 44, struct.pack("<H", 60000))  # first
        yield patched(frame, 24 + 46, struct.pack("<H", 60000))  # count
        yield patched(frame, 24 + 48, b"\1")                     # reserved
        function = 24 + ANNOUNCE_BODY
        yield patched(frame, function + 4, b"\xff\xff")          # vendor
        yield patched(frame, function + 16, b"\5")               # pin
        yield patched(frame, function + 18, b"\1")               # reserved
        for size, bar in ((3, 1), (1 << 20, 1), (24, 2), (1 << 32, 2), (8, 3), (16, 0), (16, 4), (16, 0x7F), (16, 0x81), ((1 << 64) - 1, 3)):
            yield patched(frame, function + 20, struct.pack("<QB", size, bar))
    else:
        yield patched(frame, 16, struct.pack("<I", 0x7FFFFFF0))  # acknowledges what was never sent
    if kind == w.DATA:
        for record in (0, 7, 0x0F, 0x12, 0x1F, 0x23, 0x2F, 0x35, 0x40, 0x5F, 0x7F, 0xFF):
            yield patched(frame, 24, bytes([record]))
        for length in list(range(8)) + [0x7FFF, 0xFFFF, len(frame) - 24 + 1]:
            yield patched(frame, 26, struct.pack("<H", length))
        yield patched(frame, 28, struct.pack("<H", 256))         # no handle
        yield patched(frame, 28, b"\xff\xff")
        yield patched(frame, 25, b"\x33")                        # no status


def noise(count):
    """Frames that are not even ours, or only by their port."""
    r = random.Random(7)
    for _ in range(count):
        yield bytes(r.randrange(256) for _ in range(r.randrange(1, 300)))


def others(destination, source, destination_mac, source_mac):
    """What else a LAN may carry: broken ARP, IP, UDP."""
    good = w.ethernet(source, destination, w.ack(1, 0), source_mac, destination_mac)
    r = random.Random(11)
    for size in range(14, len(good)):
        yield good[:size]
    for offset in range(14, 42):  # every byte of the IP and UDP headers
        yield patched(good, offset, bytes([good[offset] ^ 0x55]))
    for size in range(0, 46, 3):
        yield destination_mac + source_mac + b"\x08\x06" + bytes(r.randrange(256) for _ in range(size))
    for kind in (b"\x86\xdd", b"\x81\0", b"\x88\xb5", b"\0\x10", b"\xff\xff"):
        for size in (0, 1, 46, 1000, 1500):
            yield destination_mac + source_mac + kind + bytes(r.randrange(256) for _ in range(size))


def sessions(machine, end):
    """(opened, refused)"""
    return tuple(int(n) for n in re.search(r"sessions opened: (\d+), refused: (\d+)", pair.ask(machine, "counters", end)).groups())


def of_one_name(l, plug):
    """A second remote1, and a second host1: both are noticed, and neither gets anything."""
    host, remote = l["host1"], l["remote1"]
    before = [sessions(host, "announcements: received"), sessions(remote, "NIC: frames sent")]
    host.console.mark()
    for _ in range(3):
        plug.send(w.ethernet("10.7.0.77", "255.255.255.255", w.announce("remote1", 0x51515151, []), OWN_MAC, b"\xff" * 6))
        plug.send(w.ethernet("10.7.0.78", pair.REMOTE, w.hello(0x78787878, 0x52525252, "host1", "remote1"), OWN_MAC, REMOTE_MAC))
        time.sleep(0.2)
    host.console.expect('a second remote calls itself "remote1"; give each its own name', 60)
    after = [sessions(host, "announcements: received"), sessions(remote, "NIC: frames sent")]
    assert after[0] == before[0] and after[1][0] == before[1][0] and after[1][1] > before[1][1]


def a_remote_that_lies(l, plug, epoch):
    """Completions of no request, as the remote would send them: it is cut off with a reason, and may begin anew. The guest is paused: nothing else is said."""
    console = l["host1"].console
    pair.ask(l["host1"], "pause good", "good: paused")
    time.sleep(1)
    packets = [d for d in map(w.datagram, w.packets(l["remote1"].pcap)) if d and d.source == pair.REMOTE and len(d.payload) >= 24]
    last = max((w.Frame(d.source, d.payload) for d in packets if d.payload[5] == w.DATA), key=lambda f: (f.epoch == epoch, f.sequence))
    by_l2 = [d.destination is None for d in packets if d.payload == last.raw][0]
    lies = [w.record(w.CPL, 1, 0x7000 + n) for n in range(64)]
    frame = w.data(epoch, last.sequence + 1, last.ack, *lies)
    console.mark()
    start = len(console.text)
    for _ in range(5):  # a switch may lose it
        plug.send(w.ethernet_l2(pair.REMOTE, frame, OWN_MAC, HOST_MAC) if by_l2 else w.ethernet(pair.REMOTE, pair.HOST, frame, OWN_MAC, HOST_MAC))
        time.sleep(1)
        if "breaks the rules" in console.text[start:]:
            break
    console.expect(r'remote "remote1" breaks the rules \(a completion of no request\): the link is cut off', 60)
    for _ in range(2):
        console.expect(r'is guest "good"', 60)
    pair.ask(l["host1"], "resume good", "good: goes on")


def check_reasons(lab, plug, epoch):
    """Each frame is counted for what is wrong with it, and for nothing else."""
    ends = {pair.HOST: (pair.REMOTE, HOST_MAC, pair.host_counters), pair.REMOTE: (pair.HOST, REMOTE_MAC, pair.remote_counters)}
    for address, (other, mac, counters) in ends.items():
        before, expected, first = counters(lab), {}, plug.sent
        for reason, frame in list(malformed(epoch, address == pair.HOST, random.Random(7))) * 3:  # a lost one must not decide
            if address == pair.REMOTE and frame[5:6] == bytes([w.ANNOUNCE]) and frame[:4] == b"FABS":
                continue  # a remote does not listen to announcements
            plug.send(w.ethernet(other, address, frame, OWN_MAC, mac))
            time.sleep(0.02)  # Bochs takes about a frame each emulated millisecond, and the switch keeps ten for it
            expected[reason] = expected.get(reason, 0) + 1
        after = counters(lab)
        got = {key[11:]: after[key] - before[key] for key in after if key.startswith("malformed, ")}
        for reason, count in got.items():  # the emulated NICs lose some; those that came are counted for the right reason
            assert (0 < count <= expected[reason]) if reason in expected else count == 0, (address, reason, got, expected)
        assert sum(got.values()) >= (plug.sent - first) // 8


def test_broken_frames(lab):
    guests = [pair.guest("good", "watch", "", ["edu", "nvme"], kernel="watch")]
    l = lab(pair.description(guests, ["edu", "nvme"], elves=["watch"]))
    pair.prepare(l)
    l.start()
    console = l["host1"].console
    for device in ("edu", "nvme"):
        if not console.seen(rf"good\| watch: {device} here"):
            console.expect(rf"good\| watch: {device} here", pair.BOOT)

    # one genuine frame of each kind, each way; what did not happen to be sent is made for this session
    samples = {}
    for frame in pair.frames(l["remote1"].pcap):
        kinds = tuple(r.kind for r in frame.records())
        if len(kinds) <= 1:
            samples[frame.source, frame.type, kinds] = frame.raw
    assert {(pair.REMOTE, w.ANNOUNCE, ()), (pair.REMOTE, w.DATA, (w.CPLD,)), (pair.REMOTE, w.HELLO_ACK, ()), (pair.HOST, w.DATA, (w.MRD,)),
            (pair.HOST, w.DATA, (w.MWR,)), (pair.HOST, w.HELLO, ())} <= set(samples)
    epoch = struct.unpack_from("<I", samples[pair.HOST, w.DATA, (w.MRD,)], 8)[0]
    genuine = set(samples)
    samples.setdefault((pair.REMOTE, w.ACK, ()), w.ack(epoch, 1))
    samples.setdefault((pair.HOST, w.ACK, ()), w.ack(epoch, 1))
    samples.setdefault((pair.REMOTE, w.DATA, (w.CREDIT,)), w.data(epoch, 9, 1, w.record(w.CREDIT, 1, 0, struct.pack("<HH", 1, 0))))

    plug = Plug(l)
    try:
        check_reasons(l, plug, epoch)
        before_host, before_remote = pair.host_counters(l), pair.remote_counters(l)
        ends = {pair.HOST: (pair.REMOTE, REMOTE_MAC), pair.REMOTE: (pair.HOST, HOST_MAC)}
        for (source, kind, records), frame in sorted(samples.items()):
            destination, to_mac = ends[source]
            target = "255.255.255.255" if kind == w.ANNOUNCE else destination
            to_mac = b"\xff" * 6 if kind == w.ANNOUNCE else to_mac
            for broken in list(fields(frame)) + list(lengths(frame)):
                plug.send(w.ethernet(source, target, broken, OWN_MAC, to_mac))
            # a stranger's: the same frames, whole, from an address without a session
            if kind not in (w.ANNOUNCE, w.HELLO):
                plug.send(w.ethernet("10.7.0.99", destination, frame, OWN_MAC, to_mac))
            # and again: a duplicate is not delivered twice
            if kind == w.DATA and (source, kind, records) in genuine:
                plug.send(w.ethernet(source, destination, frame, OWN_MAC, to_mac))
        for source, (destination, to_mac) in ends.items():
            for junk in noise(150):
                plug.send(w.ethernet(source, destination, junk, OWN_MAC, to_mac))
            for frame in others(destination, source, to_mac, OWN_MAC):
                plug.send(frame)
        time.sleep(2)
        of_one_name(l, plug)
        a_remote_that_lies(l, plug, epoch)
    finally:
        plug.close()

    after_host, after_remote = pair.host_counters(l), pair.remote_counters(l)
    for name, before, after in (("host", before_host, after_host), ("remote", before_remote, after_remote)):
        grown = {key: after[key] - before[key] for key in after if key.startswith("malformed, ") and key != "malformed, seal"}
        assert all(count > 0 for count in grown.values()), (name, grown)  # every reason was met
        assert sum(grown.values()) > 300, (name, grown)
        assert after["frames of no session"] > before["frames of no session"], name
    assert after_host["malformed announcements"] > before_host["malformed announcements"] + 100

    # the guest goes on, and what it asked was executed once
    console.send("attach good\r")
    console.expect("keys go to good", 60)
    console.send("q")
    console.expect(r"good\| watch: \d+ rounds, 2 changes, 0 wrong, told to end", 60)
    console.expect("good: stopped: powered off", 60)
    console.send("\x1d")
    console.expect("back from good", 60)
    counts, executed = pair.host_counters(l), pair.remote_counters(l)
    assert counts["MRd"] == executed["executed MRd"] and counts["MWr"] == executed["executed MWr"]
    assert not console.seen("PANIC|panic") and not l["remote1"].console.seen("PANIC|panic")
    assert os.path.getsize(l["remote1"].pcap) > 0
