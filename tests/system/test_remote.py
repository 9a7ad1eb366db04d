# SPDX-License-Identifier: BSD-2-Clause
"""A real remote (remote-fw.elf on QEMU q35, started through OVMF and our loader), driven by an independent host end in Python
(farbus_peer.py) over a loopback cable. No hypervisor is needed for these: what a remote does to its devices, refuses, and survives.

What a device really did is asked of QEMU, not of the remote: its monitor shows BARs and registers, and the serial card's output is a
file in which every transmitted byte stands once.
"""
import os
import re
import socket
import struct
import sys
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tools"), os.path.dirname(os.path.abspath(__file__))]
import farbus_peer as fb  # noqa: E402
from farbuslab import Lab  # noqa: E402

NODE, IP = "disk1", "10.9.0.2"
NVME, EDU, TESTDEV, SERIAL, NIC2 = (f"0000:00:{n:02x}.0" for n in (4, 5, 6, 7, 8))
RNG = "0000:01:00.0"  # behind a root port, with PCIe capability and FLR
INI = f"[node]\nname = {NODE}\nrole = remote\naddress = {IP}/24\n"


def free_udp_ports(count):
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Remote:
    """The remote, its cable, and what QEMU knows of its devices."""

    def __init__(self, work, ini=INI, args=()):
        ours, theirs = free_udp_ports(2)
        self.lab = Lab({"remote": {NODE: {
            "ini": ini, "memory": 256, "cpus": 2, "nic": "none",
            "drives": [{"id": "nv", "text": "farbus", "size": "16M"}],
            "devices": ["nvme,drive=nv,serial=farbus,addr=4", "edu,addr=5", "pci-testdev,addr=6"],
            "args": ["-netdev", f"socket,id=n0,udp=127.0.0.1:{ours},localaddr=127.0.0.1:{theirs}",
                     "-device", "e1000e,netdev=n0,mac=52:54:00:fb:00:02,addr=2,romfile=",
                     "-chardev", "file,id=card,path=@WORK@/card.out", "-device", "pci-serial,chardev=card,addr=7",
                     "-device", "e1000e,addr=8,romfile=",
                     "-device", "pcie-root-port,id=rp,chassis=1,addr=9", "-device", "virtio-rng-pci,bus=rp,disable-legacy=on",
                     *args]}}}, work)
        self.machine = self.lab[NODE]
        self.console = self.machine.console
        self.lan = fb.Lan(ours, theirs)
        self.hosts = 0
        self.seen_upto = 0
        self.machine.start()
        self.host = self.station()

    def station(self):
        self.hosts += 1
        return fb.Station(self.lan, f"02:00:00:00:00:{self.hosts:02x}", f"10.9.0.{100 + self.hosts}")

    def link(self, node, station=None):
        return fb.Link(station or self.host, IP, node, NODE).open()

    def see(self, pattern, seconds=60):
        """Waits for a console line after the last one seen, while the cable goes on."""
        end = time.monotonic() + seconds
        while True:
            text = self.console.text
            m = re.search(pattern, text[self.seen_upto:], re.M)
            if m:
                self.seen_upto += m.end()
                return m
            assert time.monotonic() < end and self.machine.running(), f"{pattern!r} not seen:\n{self.console.tail()}"
            self.host.poll()

    def type(self, line):
        self.seen_upto = len(self.console.text)
        self.console.send(line + "\r")

    def counters(self):
        """The console's `counters`, as a dictionary."""
        self.type("counters")
        self.see(r"^\[.*\] counters: NIC: .*$")
        text = self.console.text
        return {k: int(v) for k, v in re.findall(r"counters: (.+?): (\d+)$", text[text.rindex("counters: executed CfgRd"):], re.M)}

    def card(self):
        with open(self.lab.path("card.out"), "rb") as f:
            return f.read()

    def bars(self, address):
        """{BAR: address} as QEMU has them now."""
        device = int(address[8:10], 16)
        text = self.machine.monitor("info pci")
        part = re.search(rf"Bus +0, device +{device}, function 0:(.*?)(?=\n  Bus|\Z)", text, re.S).group(1)
        return {int(n): int(at, 16) for n, at in re.findall(r"BAR(\d): .*? at (0x[0-9a-f]+)", part)}

    def physical(self, address, words):
        text = self.machine.monitor(f"xp /{words}wx {address:#x}")
        return [int(w, 16) for line in text.splitlines() if ":" in line for w in line.split(":")[1].split()]

    def close(self):
        self.lan.close()
        self.lab.close()


@pytest.fixture(scope="module")
def remote():
    r = Remote(os.path.join(ROOT, "build", "test", "system", "test_remote"))
    try:
        r.see(r'remote: node "disk1" lends \d+ functions')
        r.host.wait_announcement(NODE)
        yield r
    finally:
        r.close()


@pytest.fixture
def link(remote):
    """A link of host "alpha"; closed at the end, so that every test finds all functions free."""
    made = remote.link("alpha")
    yield made
    made.close()
    all_free(remote)


def all_free(remote):
    remote.host.wait_announcement(NODE, lambda a: not any(f.busy for f in a.functions))


# --- what is lent ---

def test_console_lists_what_is_lent_and_kept(remote):
    text = remote.console.text
    for line in (r"lent 0000:00:04\.0 \[0108\]: 1b36:0010 rev 02, BAR0 16 KiB mem64, reset: FLR",
                 r"lent 0000:00:05\.0 \[00ff\]: 1234:11e8 rev 10, BAR0 1 MiB mem32, ",
                 r"lent 0000:00:06\.0 \[00ff\]: 1b36:0005 rev 00, BAR0 4 KiB mem32, BAR1 256 bytes I/O, ",
                 r"lent 0000:00:07\.0 \[0700\]: 1b36:0002 rev 01, BAR0 8 bytes I/O, ",
                 r"lent 0000:00:08\.0 \[0200\]: 8086:10d3 ",
                 r"kept 0000:00:02\.0 \[0200\]: 8086:10d3 rev 00: the NIC this remote talks through",
                 r"kept 0000:00:01\.0 \[0300\]: .*console",
                 r"kept 0000:00:00\.0 \[0600\]: .*bridge",
                 r"kept 0000:00:1f\.0 \[0601\]: .*bridge",
                 r"kept 0000:00:1f\.2 \[0106\]: .*started from it",
                 r"kept 0000:00:1f\.3 \[0c05\]: .*SMBus"):
        assert re.search(r"lend: " + line, text), line


def test_announcement_says_what_the_console_says(remote):
    a = remote.host.wait_announcement(NODE)
    assert a.address == IP and a.boot_id
    lent = re.findall(r"lend: lent (\S+) \[([0-9a-f]{4})\]: ([0-9a-f]{4}):([0-9a-f]{4}) rev ([0-9a-f]{2})", remote.console.text)
    assert [(f.address, f"{f.class_code:04x}", f"{f.vendor:04x}", f"{f.device:04x}", f"{f.revision:02x}") for f in a.functions] == lent
    nvme = next(f for f in a.functions if f.address == NVME)
    assert nvme.bars[0] == ("mem64", 16384, False) and nvme.flags & 2 and not nvme.busy
    serial = next(f for f in a.functions if f.address == SERIAL)
    assert serial.bars[0] == ("io", 8, False) and serial.pin == 1


def test_announcements_go_on(remote):
    before = remote.host.announcement_count[NODE]
    remote.host.wait(lambda: remote.host.announcement_count[NODE] >= before + 4, "four announcements")


# --- configuration space ---

def test_identity_is_seen_and_addresses_are_not(remote, link):
    for announced in remote.host.wait_announcement(NODE).functions:
        f = link.attach(announced.address)
        assert link.cfg_rd(f, 0, 4) == (fb.SC, announced.device << 16 | announced.vendor)
        assert link.cfg_rd(f, 0x2C, 4) == (fb.SC, announced.subsystem[1] << 16 | announced.subsystem[0])
        assert link.cfg_rd(f, 8, 1) == (fb.SC, announced.revision)
        assert link.cfg_rd(f, 10, 2) == (fb.SC, announced.class_code)
        for bar in range(0x10, 0x28, 4):
            assert link.cfg_rd(f, bar, 4) == (fb.SC, 0)
        assert link.cfg_rd(f, 0x30, 4) == (fb.SC, 0)
        assert link.cfg_rd(f, 0x3D, 1) == (fb.SC, announced.pin)
        assert link.detach(f) == fb.SC


def test_no_configuration_write_moves_or_unleashes_a_function(remote, link):
    for address in (NVME, EDU, SERIAL):
        f = link.attach(address)
        before = remote.bars(address)
        assert before, "QEMU shows no BAR"
        for offset in range(0, 256, 4):
            for value in (0xFFFFFFFF, 0):
                assert link.cfg_wr(f, offset, 4, value) == fb.SC
        assert remote.bars(address) == before
        status, command = link.cfg_rd(f, 4, 2)
        assert status == fb.SC and not command & 4 and command & 0x400
        assert link.cfg_rd(f, 0, 2) == (fb.SC, f.vendor)
        link.detach(f)


def test_bus_mastering_is_refused_with_a_clear_message(remote, link):
    f = link.attach(TESTDEV)
    before = remote.counters()["refused, bus mastering"]
    for _ in range(3):
        assert link.cfg_wr(f, 4, 2, 0x0007) == fb.SC
    assert link.cfg_rd(f, 4, 2)[1] & 4 == 0
    assert remote.counters()["refused, bus mastering"] == before + 3
    assert len(re.findall(r"0000:00:06\.0: bus mastering refused", remote.console.text)) == 1


# --- devices ---

def test_nvme_registers_are_the_devices_own(remote, link):
    f = link.attach(NVME)
    base = remote.bars(NVME)[0]
    status, cap = link.mrd(f, 0, 0, 8)
    assert status == fb.SC
    assert [cap & 0xFFFFFFFF, cap >> 32] == remote.physical(base, 2)
    assert link.mrd(f, 0, 8, 4) == (fb.SC, remote.physical(base + 8, 1)[0])
    assert link.mrd(f, 0, 8, 4)[1] == 0x00010400  # NVMe 1.4
    assert link.mrd(f, 0, 0, 4)[1] | link.mrd(f, 0, 4, 4)[1] << 32 == cap


def test_edu_answers_and_computes(remote, link):
    f = link.attach(EDU)
    assert link.mrd(f, 0, 0, 4) == (fb.SC, 0x010000ED)
    for value in (0, 0x12345678, 0xFFFFFFFF):
        link.mwr(f, 0, 4, 4, value)
        assert link.mrd(f, 0, 4, 4) == (fb.SC, ~value & 0xFFFFFFFF)
    for n, factorial in ((0, 1), (5, 120), (12, 479001600)):
        link.mwr(f, 0, 8, 4, n)
        remote.host.wait(lambda: link.mrd(f, 0, 0x20, 4)[1] & 1 == 0, "edu to compute")
        assert link.mrd(f, 0, 8, 4) == (fb.SC, factorial)


def test_serial_card_through_its_io_bar(remote, link):
    f = link.attach(SERIAL)
    before = remote.card()
    for value in (0x5A, 0xA5):
        assert link.io_wr(f, 0, 7, 1, value) == fb.SC  # scratch register
        assert link.io_rd(f, 0, 7, 1) == (fb.SC, value)
    for c in b"farbus":
        assert link.io_wr(f, 0, 0, 1, c) == fb.SC
    remote.host.wait(lambda: len(remote.card()) >= len(before) + 6, "the card's output")
    assert remote.card() == before + b"farbus"


def test_posted_writes_return_credits(remote, link):
    f = link.attach(EDU)
    assert f.credits >= 16
    writes = 3 * f.credits
    sent = 0
    while sent < writes:  # as a host does: never more outstanding than there are credits
        remote.host.wait(lambda: sent - link.credit[f.handle] < f.credits, "credits")
        n = min(20, f.credits - (sent - link.credit[f.handle]), writes - sent)
        link.send_records(*(fb.record(fb.MWR, f.handle, 0, fb.access(0, 4, 4, struct.pack("<I", sent + i))) for i in range(n)))
        sent += n
    assert link.mrd(f, 0, 4, 4) == (fb.SC, ~(writes - 1) & 0xFFFFFFFF)
    assert 0 < link.credit[f.handle] <= writes
    assert writes - link.credit[f.handle] < f.credits


def test_many_requests_in_one_frame_are_completed_once_each(remote, link):
    f = link.attach(NVME)
    for size in (4, 256):  # 256: the answers need many frames
        tags = [link.next_tag() for _ in range(40)]
        link.send_records(*(fb.record(fb.MRD, f.handle, t, fb.access(0, 0, size)) for t in tags))
        for t in tags:
            assert link.complete(t).status == fb.SC and len(link.complete(t).data) == size


def virtio_status(link, f):
    """(BAR, offset) of the device status register of a virtio function (Virtio 1.2, 4.1.4.3), found through its capabilities."""
    at = link.cfg_rd(f, 0x34, 1)[1]
    while at:
        if link.cfg_rd(f, at, 1)[1] == 9 and link.cfg_rd(f, at + 3, 1)[1] == 1:
            return link.cfg_rd(f, at + 4, 1)[1], link.cfg_rd(f, at + 8, 4)[1] + 0x14
        at = link.cfg_rd(f, at + 1, 1)[1]
    raise AssertionError("no virtio common configuration")


def test_function_level_reset_resets(remote, link):
    f = link.attach(RNG)
    assert f.flags & 2
    bar, status = virtio_status(link, f)
    bars = link.mrd(f, bar, 0, 4)
    link.mwr(f, bar, status, 1, 3)  # ACKNOWLEDGE | DRIVER
    assert link.mrd(f, bar, status, 1) == (fb.SC, 3)
    assert link.reset(f) == fb.SC
    assert link.mrd(f, bar, status, 1) == (fb.SC, 0)
    assert link.mrd(f, bar, 0, 4) == bars  # its BARs are where they were


def test_every_function_comes_back_from_a_reset(remote, link):
    for address in (NVME, EDU, TESTDEV, SERIAL, NIC2, RNG):
        f = link.attach(address)
        bars = remote.bars(address) if address != RNG else None
        assert link.reset(f) == fb.SC
        assert link.cfg_rd(f, 0, 2) == (fb.SC, f.vendor)
        if bars:
            assert remote.bars(address) == bars


# --- exactly once ---

def test_duplicate_frames_are_not_executed_twice(remote, link):
    f = link.attach(SERIAL)
    before, counted = remote.card(), remote.counters()["executed IOWr"]
    frames = []
    for c in b"ONCE":
        tag = link.next_tag()
        frames.append(link.send_records(fb.record(fb.IO_WR, f.handle, tag, fb.access(0, 0, 1, bytes([c])))))
        for _ in range(3):
            link.raw(frames[-1])
        assert link.complete(tag).status == fb.SC
    for old in frames * 3:  # long after they were answered
        link.raw(old)
    assert link.io_rd(f, 0, 7, 1)[0] == fb.SC
    assert remote.card() == before + b"ONCE"
    assert remote.counters()["executed IOWr"] == counted + 4
    remote.type("links")
    assert int(remote.see(r'links: host "alpha" retransmitted \d+ duplicates (\d+)').group(1)) >= 20


def test_reordered_frames_are_executed_in_order(remote, link):
    f = link.attach(SERIAL)
    before = remote.card()
    first = link.sequence + 1
    frames = []
    for i, c in enumerate(b"abcdefgh"):
        frames.append(fb.frame(fb.DATA, link.epoch, first + i, link.received_upto, 0,
                               fb.record(fb.IO_WR, f.handle, 1000 + i, fb.access(0, 0, 1, bytes([c])))))
    link.sequence += len(frames)
    for data in reversed(frames):
        link.raw(data)
    for i in range(len(frames)):
        assert link.complete(1000 + i).status == fb.SC
    assert remote.card() == before + b"abcdefgh"


def test_lost_answer_is_repeated_not_executed_again(remote, link):
    """The host's acknowledgements stay away: the remote repeats its completion, byte for byte, and the device is left alone."""
    f = link.attach(SERIAL)
    before = remote.card()
    station, deaf = link.station, []
    received, link.received = link.received, lambda *a: deaf.append(a)
    tag = link.next_tag()
    link.send_records(fb.record(fb.IO_WR, f.handle, tag, fb.access(0, 0, 1, b"!")))
    data = lambda: [a for a in deaf if a[0] == fb.DATA]
    station.wait(lambda: len(data()) >= 3, "retransmissions")
    link.received = received
    assert len({(a[1], a[4]) for a in data()}) == 1
    received(*data()[-1])
    assert link.complete(tag).status == fb.SC
    assert remote.card() == before + b"!"


# --- refusals ---

def test_accesses_outside_are_unsupported_requests(remote, link):
    nvme, serial = link.attach(NVME), link.attach(SERIAL)
    before = remote.counters()
    cases = [(fb.MRD, nvme, 0, 16384, 4, "out of bounds"), (fb.MRD, nvme, 0, 16383, 2, "out of bounds"),
             (fb.MRD, nvme, 0, (1 << 64) - 8, 4, "out of bounds"), (fb.MRD, nvme, 0, 1 << 32, 8, "out of bounds"),
             (fb.MRD, nvme, 1, 0, 4, "no such BAR"), (fb.MRD, nvme, 5, 0, 4, "no such BAR"),
             (fb.IO_RD, nvme, 0, 0, 4, "no such BAR"), (fb.MRD, serial, 0, 0, 1, "no such BAR"),
             (fb.IO_RD, serial, 0, 8, 1, "out of bounds"), (fb.IO_RD, serial, 0, 6, 4, "out of bounds"),
             (fb.MRD, nvme, 0, 0x2000, 4, "MSI-X table")]
    expected = {}
    for kind, f, bar, offset, size, why in cases:
        assert link.read(kind, f, bar, offset, size) == (fb.UR, None), (kind, bar, offset, size)
        expected[why] = expected.get(why, 0) + 1
    link.mwr(nvme, 0, 16384, 4, 1)
    expected["out of bounds"] += 1
    for handle in (0xFF, serial.handle % 255 + 1):
        assert link.request(fb.MRD, handle, fb.access(0, 0, 4)).status == fb.UR
    assert link.detach(nvme) == fb.SC
    assert link.read(fb.MRD, nvme, 0, 0, 4) == (fb.UR, None)
    expected["not this host's function"] = 3
    after = remote.counters()
    for why, times in expected.items():
        assert after[f"refused, {why}"] - before[f"refused, {why}"] == times, why


def test_second_host_is_refused_with_the_owners_name(remote, link):
    f = link.attach(NVME)
    remote.host.wait_announcement(NODE, lambda a: next(x for x in a.functions if x.address == NVME).busy)
    beta = remote.link("beta", remote.station())
    refusal = beta.attach(NVME)
    assert (refusal.status, refusal.data) == (fb.OWNED, b"alpha")
    assert beta.read(fb.MRD, f, 0, 8, 4) == (fb.UR, None)  # the handle is alpha's
    assert beta.request(fb.RESET, f.handle).status == fb.UR
    assert beta.request(fb.DETACH, f.handle).status == fb.UR
    edu = beta.attach(EDU)
    assert beta.mrd(edu, 0, 0, 4) == (fb.SC, 0x010000ED)
    assert link.mrd(f, 0, 8, 4) == (fb.SC, 0x00010400)
    assert link.attach("0000:00:1f.0").status == fb.NOT_LENT
    assert link.attach("0000:00:02.0").status == fb.NOT_LENT
    assert link.attach("0001:00:04.0").status == fb.NOT_LENT
    beta.close()


def test_functions_of_a_host_that_is_gone_are_reset_and_free(remote):
    alpha = remote.link("alpha")
    f = alpha.attach(RNG)
    bar, status = virtio_status(alpha, f)
    alpha.mwr(f, bar, status, 1, 3)
    assert alpha.mrd(f, bar, status, 1) == (fb.SC, 3)
    remote.seen_upto = len(remote.console.text)
    alpha.keepalive = alpha.open_ = False  # silent, without a word
    beta = remote.link("beta", remote.station())
    refusal = beta.attach(RNG)
    assert (refusal.status, refusal.data) == (fb.OWNED, b"alpha")
    remote.see(r'0000:01:00\.0 released by host "alpha": silent')
    f = beta.attach(RNG)
    assert beta.mrd(f, bar, status, 1) == (fb.SC, 0)
    beta.close()
    alpha.close()
    all_free(remote)


def test_host_that_restarts_gets_its_functions_again(remote):
    first = remote.link("alpha")
    f = first.attach(EDU)
    second = remote.link("alpha")  # a new session of the same host
    assert first.bye()
    again = second.attach(EDU)
    assert again.handle != f.handle
    first.raw(fb.frame(fb.DATA, first.epoch, first.sequence + 1, 0, 0, fb.record(fb.MWR, f.handle, 0, fb.access(0, 4, 4, b"\0" * 4))))
    second.mwr(again, 0, 4, 4, 1)
    assert second.mrd(again, 0, 4, 4) == (fb.SC, 0xFFFFFFFE)
    second.close()
    first.close()
    all_free(remote)


# --- malformed frames ---

def test_malformed_frames_are_dropped_and_counted(remote, link):
    f = link.attach(EDU)
    link.mwr(f, 0, 4, 4, 0x11111111)
    assert link.mrd(f, 0, 4, 4) == (fb.SC, 0xEEEEEEEE)
    mwr = fb.record(fb.MWR, f.handle, 0, fb.access(0, 4, 4, b"\xaa\xaa\xaa\xaa"))
    seq = link.sequence + 1

    def data(body, **changes):
        fields = dict(epoch=link.epoch, sequence=seq, ack=link.received_upto, body=body)
        fields.update(changes)
        return fb.frame(fb.DATA, **fields)

    whole = data(mwr)
    bad = [whole[:n] for n in range(len(whole))]                       # every length that is too short
    bad += [whole + b"\0" * n for n in (1, 7, 500)]                    # trailing bytes
    bad += [data(mwr, length=n) for n in (0, 23, 24, 31, 65535)]
    bad += [data(mwr, magic=m) for m in (0, 0x53424147)] + [data(mwr, version=v) for v in (0, 2, 255)]
    bad += [fb.frame(t, link.epoch, seq, 0, 0, mwr) for t in (0, 7, 255)]
    bad += [data(fb.record(t, f.handle, 5, fb.access(0, 4, 4))) for t in (0, 7, 0x0F, 0x23, 0x30, 0x34, 0x40, 0xFF)]
    bad += [data(fb.record(fb.CPL, f.handle, 5)), data(fb.record(fb.CPLD, f.handle, 5, b"data"))]   # not a host's to send
    for kind in (fb.MRD, fb.MWR, fb.IO_WR, fb.CFG_WR):
        bad += [data(fb.record(kind, f.handle, 5, fb.access(0, 4, 4, b"\xaa" * 4)[:n])) for n in range(16) if not (kind == fb.MRD and n == 12)]
        bad += [data(fb.record(kind, f.handle, 5, fb.access(0, 4, size, b"\xaa" * 4))) for size in (0, 3, 5, 257, 65535)]
    bad += [data(fb.record(fb.MWR, f.handle, 0, fb.access(bar, 4, 4, b"\xaa" * 4))) for bar in (6, 255)]
    bad += [data(fb.record(fb.MWR, f.handle, 0, fb.access(0, 4, 4, b"\xaa" * 4, reserved=1)))]
    bad += [data(fb.record(fb.MWR, f.handle, 0, fb.access(0, 4, 4, b"\xaa" * 4), status=1))]
    bad += [data(fb.record(fb.MWR, handle, 0, fb.access(0, 4, 4, b"\xaa" * 4))) for handle in (0, 256, 0xFFFF)]
    bad += [data(fb.record(fb.MWR, f.handle, 0, fb.access(0, 4, 4, b"\xaa" * 4), length=n)) for n in (0, 7, 8, 23, 25, 65535)]
    bad += [data(mwr + fb.record(0xEE)), data(mwr + mwr[:10])]         # a good record with a bad one behind it
    bad += [fb.frame(fb.HELLO, 1, body=b"\0" * n) for n in (0, 79, 80, 81)]
    bad += [link.hello_frame(9, **change) for change in (
        {"node": b""}, {"node": b"a b"}, {"node": b"x" * 32}, {"to": b"\xff"}, {"version_min": 0}, {"frame_max": 100}, {"frame_max": 65535})]
    bad += [fb.frame(fb.BYE, link.epoch, body=b"\xff" * n) for n in (0, 63, 64, 65)]
    bad += [fb.frame(fb.ACK, link.epoch, 1), fb.frame(fb.ACK, link.epoch, body=b"x"), fb.frame(fb.ACK, 0)]

    malformed = lambda c: sum(v for k, v in c.items() if k.startswith("malformed"))
    before = remote.counters()
    ignored = [fb.frame(fb.ANNOUNCE, 0, body=b"\0" * n) for n in (0, 51, 52, 53)]  # a remote does not even parse these
    for one in bad + ignored:
        link.raw(one)
        remote.host.poll(0)
    assert link.mrd(f, 0, 4, 4) == (fb.SC, 0xEEEEEEEE)  # nothing reached the device; the link goes on
    after = remote.counters()
    assert malformed(after) - malformed(before) == len(bad)
    assert after["executed MWr"] == before["executed MWr"]
    assert not link.bye()


def test_strangers_and_old_sessions_touch_nothing(remote, link):
    f = link.attach(EDU)
    link.mwr(f, 0, 4, 4, 0x22222222)
    mwr = fb.record(fb.MWR, f.handle, 0, fb.access(0, 4, 4, b"\xbb" * 4))
    other = remote.station()
    other.resolve(IP)
    for epoch in (link.epoch ^ 1, 1):
        link.raw(fb.frame(fb.DATA, epoch, link.sequence + 1, 0, 0, mwr))
    other.udp(IP, fb.frame(fb.DATA, link.epoch, link.sequence + 1, 0, 0, mwr))  # the right session from the wrong address
    other.udp(IP, fb.frame(fb.BYE, link.epoch, body=struct.pack("<B3s60s", 0, b"\0" * 3, b"not mine to end")))
    link.raw(fb.frame(fb.DATA, link.epoch, link.sequence + 5000, 0, 0, mwr))    # far beyond the window
    assert link.mrd(f, 0, 4, 4) == (fb.SC, 0xDDDDDDDD)


def test_noise_on_the_cable_is_survived(remote, link):
    """Random bytes as Ethernet frames, IPv4 packets, datagrams and frames of this session, from a fixed seed."""
    import random
    rng = random.Random(2)
    f = link.attach(EDU)
    station = remote.host
    for i in range(300):
        noise = rng.randbytes(rng.choice((1, 20, 60, 200, 1400)))
        station.ethernet(station.neighbours[IP], rng.choice((0x0800, 0x0806, 0x88B5, 0x86DD, 0x1234)), noise)
        station.udp(IP, noise, port=rng.choice((fb.PORT, 7, 67, 68)))
        link.raw(fb.FRAME.pack(fb.MAGIC, 1, rng.randrange(8), fb.FRAME.size + len(noise), link.epoch, rng.choice((0, link.sequence + 1)), 0, 0) + noise)
        if i % 20 == 0:
            assert link.mrd(f, 0, 0, 4) == (fb.SC, 0x010000ED)
    assert link.mrd(f, 0, 0, 4) == (fb.SC, 0x010000ED)


def test_refused_handshakes_say_why(remote):
    stranger = fb.Link(remote.station(), IP, "gamma", NODE)
    assert stranger.hello(to=b"disk9")[0] != 0
    status, why = stranger.hello(version_min=2, version_max=9)
    assert status != 0 and "version" in why
    assert stranger.hello()[0] == 0
    stranger.close()


# --- console ---

def test_console_commands(remote, link):
    f = link.attach(EDU)
    link.mrd(f, 0, 0, 4)
    remote.type("help")
    for name in ("help", "status", "links", "counters", "log", "reset", "poweroff"):
        remote.see(rf"shell: {name}  ")
    remote.type("status")
    remote.see(r'status: node "disk1", e1000e 0000:00:02\.0, 10\.9\.0\.2')
    remote.see(r"status: 0000:00:05\.0 1234:11e8 attached by alpha handle \d+: .*MRd \d+")
    remote.type("links")
    remote.see(r'links: host "alpha" 10\.9\.0\.101 up: frames sent \d+')
    remote.type("log debug")
    remote.type("log info")
    remote.type("nonsense")
    remote.see(r"no command 'nonsense'")


# --- other machines ---

def test_large_bar_is_reached_through_windows(work_dir):
    """64 MiB of ivshmem memory, which is a file here: far parts, both sides of a 2 MiB window's edge, and the last byte."""
    shared = "0000:00:0a.0"
    r = Remote(work_dir, INI + f"lend = {shared}\n", ["-object", "memory-backend-file,id=m,size=64M,mem-path=@WORK@/shared.mem,share=on",
                                                      "-device", "ivshmem-plain,memdev=m,addr=0xa"])
    try:
        r.see(r"lend: lent 0000:00:0a\.0 \[0500\]: 1af4:1110 .*, BAR2 64 MiB mem64 prefetchable")
        r.host.wait_announcement(NODE)
        link = r.link("alpha")
        f = link.attach(shared)
        with open(r.lab.path("shared.mem"), "r+b") as memory:
            for n, offset in enumerate((0, (2 << 20) - 3, (17 << 20) - 128, (63 << 20) + 5, (64 << 20) - 256)):
                data = bytes((n * 31 + i) & 0xFF for i in range(256))
                link.send_records(fb.record(fb.MWR, f.handle, 0, fb.access(2, offset, 256, data)))
                status, value = link.mrd(f, 2, offset, 256)
                assert status == fb.SC and value == int.from_bytes(data, "little")
                memory.seek(offset)
                assert memory.read(256) == data
            memory.seek(40 << 20)
            memory.write(b"written by the other side")
            memory.flush()
            assert link.request(fb.MRD, f.handle, fb.access(2, 40 << 20, 25)).data == b"written by the other side"
        assert link.mrd(f, 2, 64 << 20, 1) == (fb.UR, None)
        assert link.mrd(f, 2, (64 << 20) - 1, 2) == (fb.UR, None)
        link.close()
    finally:
        r.close()


# --- the ends ---

def test_power_off_tells_hosts_and_ends_the_machine(work_dir):
    r = Remote(work_dir, INI + f"lend = {EDU}\nlend = {SERIAL}\nlend = 0000:00:1d.0\n")
    try:
        r.see(r"lend = 0000:00:1d\.0: there is no such function")
        r.see(r'remote: node "disk1" lends 2 functions')
        a = r.host.wait_announcement(NODE)
        assert [f.address for f in a.functions] == [EDU, SERIAL]
        link = r.link("alpha")
        assert link.attach(NVME).status == fb.NOT_LENT
        f = link.attach(EDU)
        assert link.mrd(f, 0, 0, 4) == (fb.SC, 0x010000ED)

        r.type("reset")  # comes back as another start of the same node
        r.host.wait(link.bye, "BYE")
        link.close()
        r.see(r'remote: node "disk1" lends 2 functions', 120)
        r.host.wait_announcement(NODE, lambda b: b.boot_id != a.boot_id)
        link = r.link("alpha")
        f = link.attach(EDU)
        assert link.mrd(f, 0, 0, 4) == (fb.SC, 0x010000ED)

        r.type("poweroff")
        r.host.wait(link.bye, "BYE")
        assert r.machine.wait(60), "the machine did not switch off"
    finally:
        r.close()
