# SPDX-License-Identifier: BSD-2-Clause
"""The remote firmware on QEMU and a host written in Python from docs/protocol.md (peer.py): what the specification says is what the code
does. Then a hostile host: frames malformed in every way, and the remote goes on as if nothing had come."""
import re
import struct

import pytest

import peer
import wire as w
from test_dissector import rows, tshark

EDU, TESTDEV = w.pci(0, 4, 0), w.pci(0, 5, 0)
INI = "[node]\nname = disk1\nrole = remote\naddress = 10.0.0.2/24\n"


@pytest.fixture
def world(lab):
    """(host, the remote's machine), the remote up and announcing."""
    host = peer.Host()
    try:
        one = lab({"remote": {"disk1": {"nic": "none", "memory": 256, "ini": INI,
                                        "args": host.netdev() + ["-object", "filter-dump,id=dump,netdev=n0,file=@WORK@/wire.pcap"],
                                        "devices": ["edu,addr=0x4", "pci-testdev,addr=0x5"]}}})
        one.start()
        one["disk1"].console.expect(r'node "disk1" lends \d+ functions')
        yield host, one["disk1"]
    finally:
        host.close()


def counters(machine):
    """{name: number} of the console's `counters`."""
    start = len(machine.console.text)
    machine.console.send("counters\n")
    machine.console.expect(r"NIC: frames sent .*\n")
    return {name: int(n) for name, n in re.findall(r"counters: (.+?): (\d+)", machine.console.text[start:])}


def test_a_host_from_the_specification(world):
    host, machine = world
    frame = host.expect("announcement", lambda f: f.type == w.ANNOUNCE)
    boot_id, _, total, part, parts, first, count, _ = struct.unpack_from("<IIHBBHHI", frame.body, 32)
    assert frame.body[:32] == w.name("disk1")
    assert (total, part, parts, first, count) == (2, 0, 1, 0, 2)
    functions = [frame.body[52 + 92 * i:144 + 92 * i] for i in range(count)]
    assert [f[:4] for f in functions] == [EDU, TESTDEV]
    assert struct.unpack_from("<HH", functions[0], 4) == (0x1234, 0x11E8)
    assert struct.unpack_from("<QB", functions[0], 20) == (1 << 20, 2)
    assert functions[0][17] & 1 == 0

    # refused: another node's name, a version that does not exist; then a session
    assert b"another node" in host.hello("disk2", status=3)
    assert b"version" in host.hello("disk1", status=4, versions=(2, 9))
    body = host.hello("disk1", frame_max=1000)
    assert struct.unpack_from("<IBBHI", body) == (boot_id, 0, 1, 1000, 0)
    machine.console.expect(r"up: host pyhost at 10\.0\.0\.1")

    # a function: attach it (once), read, write, read
    edu, data = host.attach(EDU)
    assert data[4:] == functions[0][:17] + bytes([functions[0][17] | 1]) + functions[0][18:]
    assert host.one(lambda tag: w.record(w.ATTACH, 0, tag, EDU)) == (w.CPLD, w.OWNED, 0, b"pyhost")
    frame = host.expect("announcement of the claim", lambda f: f.type == w.ANNOUNCE)
    while frame.body[52 + 17] & 1 == 0:
        frame = host.expect("announcement of the claim", lambda f: f.type == w.ANNOUNCE)
    assert host.read(edu, 0, 0) == (0x010000ED, w.SC)
    host.write(edu, 0, 4, 0x12345678)
    assert host.read(edu, 0, 4) == (0xEDCBA987, w.SC)  # the liveness register inverts
    assert host.read(edu, 0, 0, 4, w.CFG_RD) == (0x11E81234, w.SC)
    host.write(edu, 0, 8, 10)
    for _ in range(1000):
        if host.read(edu, 0, 0x20)[0] & 1 == 0:
            break
    assert host.read(edu, 0, 8) == (3628800, w.SC)  # 10!

    # many at once, answered in order
    answers = host.ask(*[lambda tag, i=i: w.access(w.MRD, edu, tag, 0, 0 if i % 2 else 4, 4) for i in range(30)])
    assert [a[3] for a in answers.values()] == [(b"\x87\xa9\xcb\xed", b"\xed\0\0\1")[i % 2] for i in range(30)]
    assert list(answers) == sorted(answers)

    # refused, each with its status
    assert host.one(lambda tag: w.record(w.ATTACH, 0, tag, w.pci(0, 9, 0)))[:2] == (w.CPL, w.NOT_LENT)
    assert host.read(edu, 0, (1 << 20) - 2) == (None, w.UR)  # over the end
    assert host.read(edu, 1, 0) == (None, w.UR)  # no such BAR
    assert host.read(edu + 1, 0, 0) == (None, w.UR)  # not attached
    other = peer.Host.__new__(peer.Host)
    other.__dict__.update(host.__dict__)
    other.node, other.boot_id = "second", 77
    assert b"" == other.hello("disk1")[48:].strip(b"\0")
    assert other.one(lambda tag: w.record(w.ATTACH, 0, tag, EDU)) == (w.CPLD, w.OWNED, 0, b"pyhost")
    assert other.read(edu, 0, 0) == (None, w.UR)  # lent, but not to this one
    other.send(w.bye(other.epoch, 0, "done"))

    # an I/O BAR, and giving back
    testdev, _ = host.attach(TESTDEV)
    assert host.read(testdev, 1, 0, 1, w.IO_RD)[1] == w.SC
    assert host.one(lambda tag: w.record(w.RESET, edu, tag))[1] == w.SC
    assert host.one(lambda tag: w.record(w.DETACH, edu, tag))[1] == w.SC
    assert host.read(edu, 0, 0) == (None, w.UR)
    assert host.read(testdev, 1, 0, 1, w.IO_RD)[1] == w.SC

    # the dissector on what really was on the wire: nothing malformed, each completion has its request
    machine.stop()
    capture = machine.lab.path("wire.pcap")
    assert "Lua Error" not in tshark(capture, "-V")
    assert rows(capture, "frame.number", only="farbus.malformed") == []
    assert rows(capture, "frame.number", only="farbus.unmatched") == []
    completed = rows(capture, "farbus.request_in", only="farbus.request_in")
    asked = rows(capture, "farbus.response_in", only="farbus.response_in")
    assert sum(len(row[0]) for row in completed) == sum(len(row[0]) for row in asked) > 40
    assert rows(capture, "farbus.attached.handle", only="farbus.attached.handle")[0] == [[str(edu)]]


def test_dhcp(lab):
    """An address from somebody else's DHCP server, on a real network card's driver."""
    remote = lab({"remote": {"disk1": {"nic": "none", "memory": 256, "ini": "[node]\nname = disk1\nrole = remote\naddress = dhcp\n",
                                       "args": ["-netdev", "user,id=n0,net=10.77.0.0/16,dhcpstart=10.77.3.4", "-device",
                                                "e1000e,netdev=n0,addr=0x2,romfile="]}}})
    remote.start()
    remote["disk1"].console.expect(r"net: address 10\.77\.3\.4/16")


def test_nothing_is_executed_twice(world):
    host, machine = world
    host.hello("disk1")
    edu, _ = host.attach(EDU)
    host.write(edu, 0, 4, 5)
    before = counters(machine)
    first = host.read(edu, 0, 4)
    request = host.last
    for _ in range(5):  # as if each answer had been lost: the acknowledgement is not taken back, so only the ACK comes again
        host.send(request)
        host.expect("acknowledgement", lambda f: f.epoch == host.epoch and f.ack == host.sent)
    after = counters(machine)
    assert after["executed MRd"] == before["executed MRd"] + 1
    assert first == (0xFFFFFFFA, w.SC)

    # and when the answer really is not acknowledged, it comes again, the same, with nothing executed
    host.sent += 1
    host.send(w.data(host.epoch, host.sent, host.received, w.access(w.MRD, edu, 99, 0, 4, 4), w.access(w.MWR, edu, 0, 0, 4, 4, b"\7\0\0\0")))
    answers = [host.expect("completion", lambda f: f.type == w.DATA and f.epoch == host.epoch) for _ in range(4)]
    assert len({(a.sequence, a.body) for a in answers}) == 1
    assert list(answers[0].records())[0][4] == b"\xfa\xff\xff\xff"
    host.received = answers[0].sequence
    host.send(w.ack(host.epoch, host.received))
    end = counters(machine)
    assert end["executed MRd"] == after["executed MRd"] + 1
    assert end["executed MWr"] == after["executed MWr"] + 1


def test_sessions_end_and_begin(world):
    host, machine = world
    host.hello("disk1")
    edu, _ = host.attach(EDU)
    old = host.epoch
    host.hello("disk1")  # the host has restarted: a newer attempt ends the session and frees what it had
    machine.console.expect("the host opened a new session")
    assert host.read(edu, 0, 0) == (None, w.UR)
    host.send(w.ack(old, 0))
    bye = host.expect("BYE", lambda f: f.type == w.BYE and f.epoch == old, resend=w.ack(old, 0))
    assert bye.body[0] == 1
    # an old HELLO that comes late changes nothing
    host.send(w.hello(old, host.boot_id, host.node, "disk1", host.attempt - 1))
    edu, _ = host.attach(EDU)
    assert host.read(edu, 0, 0) == (0x010000ED, w.SC)
    # silence: frozen, then down; the function is free again
    machine.console.expect("pyhost is silent: frozen", 30)
    machine.console.expect("down: pyhost .*: silent for longer than the grace period", 30)
    host.hello("disk1")
    assert host.read(host.attach(EDU)[0], 0, 0) == (0x010000ED, w.SC)


def test_malformed_frames_change_nothing(world):
    host, machine = world
    host.hello("disk1")
    edu, _ = host.attach(EDU)
    host.write(edu, 0, 4, 5)
    assert host.read(edu, 0, 4) == (0xFFFFFFFA, w.SC)
    before = counters(machine)
    good = w.data(host.epoch, host.sent + 1, host.received, w.access(w.MWR, edu, 0, 0, 4, 4, b"\xaa\xaa\xaa\xaa"))
    sent = 0

    def send(frame):
        nonlocal sent
        host.send(frame)
        sent += 1
        if sent % 32 == 0:  # not faster than the NIC's ring, and the session stays alive
            host.expect("acknowledgement", lambda f: f.epoch == host.epoch and f.type in (w.ACK, w.DATA), resend=w.data(
                host.epoch, host.sent, host.received, w.access(w.CFG_RD, edu, 1, 0, 0, 4)))

    for size in range(len(good)):  # every length
        send(good[:size])
        if size >= 24:
            send(good[:6] + struct.pack("<H", size) + good[8:size])
    for extra in (1, 7, 300):
        send(good + bytes(extra))
    for offset in list(range(8)) + list(range(24, 44)):  # every byte of header and record that cannot have another value
        for value in (good[offset] ^ 0x80, good[offset] ^ 1, 0, 255):
            frame = good[:offset] + bytes([value]) + good[offset + 1:]
            legal = frame == good or offset in (30, 31) or (offset >= 36 and frame[33] == 0) or (offset == 32 and value <= 5) or (offset == 28 and 0 < value)
            if not legal:
                send(frame)
    for kind in (w.CPL, w.CPLD, w.INTX, w.MSI, w.GONE, w.ERROR, 0, 0x40, 255):  # not to a remote
        send(w.data(host.epoch, host.sent + 1, host.received, w.record(kind, edu, 0, b"")))
    send(w.data(host.epoch, host.sent + 1, host.received + 50, w.access(w.MWR, edu, 0, 0, 4, 4, b"\xaa" * 4)))  # acknowledges what never was
    send(w.data(host.epoch, host.sent + 1, host.received, w.access(w.MWR, edu, 0, 0, 4, 4, b"\xaa" * 4), w.record(0x7F, edu)))  # good, then bad
    send(w.data(host.epoch + 1, 1, 0, w.access(w.MWR, edu, 0, 0, 4, 4, b"\xaa" * 4)))  # no such session
    send(w.hello(host.epoch ^ 5, 1, "a/b", "disk1"))
    for i in range(300):
        send(bytes(host.random.randrange(256) for _ in range(host.random.randrange(1400))))

    assert host.read(edu, 0, 4) == (0xFFFFFFFA, w.SC)  # the next frame in order is taken, and nothing was written
    after = counters(machine)
    assert after["executed MWr"] == before["executed MWr"]
    dropped = {name: after[name] - before[name] for name in after if name.startswith("malformed")}
    assert sum(dropped.values()) >= 300 + len(good)
    assert all(n > 0 for n in dropped.values()), dropped  # each reason was met
    assert after["frames of no session"] > before["frames of no session"]
