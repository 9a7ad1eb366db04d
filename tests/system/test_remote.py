# SPDX-License-Identifier: BSD-2-Clause
"""What a remote does to its devices, whom it refuses them, and what it says on its console, asked by hosts in Python (lone_remote.py).
What the protocol promises is in test_wire.py.
"""
import re
import struct
from dataclasses import replace

import wire as w
from lone_remote import EDU, INI, NIC2, NODE, IP, NVME, RNG, SERIAL, TESTDEV, Remote

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
    edu = next(f for f in a.functions if f.address == EDU)
    assert (edu.vendor, edu.device, edu.flags & 1) == (0x1234, 0x11E8, 0)
    assert edu.bars == [("mem32", 1 << 20, False)] + [("", 0, False)] * 5
    serial = next(f for f in a.functions if f.address == SERIAL)
    assert serial.bars[0] == ("io", 8, False) and serial.pin == 1


# --- configuration space ---

def test_identity_is_seen_and_addresses_are_not(remote, link):
    for announced in remote.host.wait_announcement(NODE).functions:
        f = link.attach(announced.address)
        assert replace(f, flags=f.flags & ~1, handle=0, credits=0) == announced
        assert link.cfg_rd(f, 0, 4) == (w.SC, announced.device << 16 | announced.vendor)
        assert link.cfg_rd(f, 0x2C, 4) == (w.SC, announced.subsystem[1] << 16 | announced.subsystem[0])
        assert link.cfg_rd(f, 8, 1) == (w.SC, announced.revision)
        assert link.cfg_rd(f, 10, 2) == (w.SC, announced.class_code)
        for bar in range(0x10, 0x28, 4):
            assert link.cfg_rd(f, bar, 4) == (w.SC, 0)
        assert link.cfg_rd(f, 0x30, 4) == (w.SC, 0)
        assert link.cfg_rd(f, 0x3D, 1) == (w.SC, announced.pin)
        assert link.detach(f) == w.SC


def test_no_configuration_write_moves_or_unleashes_a_function(remote, link):
    for address in (NVME, EDU, SERIAL):
        f = link.attach(address)
        before = remote.bars(address)
        assert before, "QEMU shows no BAR"
        for offset in range(0, 256, 4):
            for value in (0xFFFFFFFF, 0):
                assert link.cfg_wr(f, offset, 4, value) == w.SC
        assert remote.bars(address) == before
        status, command = link.cfg_rd(f, 4, 2)
        assert status == w.SC and not command & 4 and command & 0x400
        assert link.cfg_rd(f, 0, 2) == (w.SC, f.vendor)
        link.detach(f)


def test_bus_mastering_is_refused_with_a_clear_message(remote, link):
    f = link.attach(TESTDEV)
    before = remote.counters()["refused, bus mastering"]
    for _ in range(3):
        assert link.cfg_wr(f, 4, 2, 0x0007) == w.SC
    assert link.cfg_rd(f, 4, 2)[1] & 4 == 0
    assert remote.counters()["refused, bus mastering"] == before + 3
    assert len(re.findall(r"0000:00:06\.0: bus mastering refused", remote.console.text)) == 1


# --- devices ---

def test_nvme_registers_are_the_devices_own(remote, link):
    f = link.attach(NVME)
    base = remote.bars(NVME)[0]
    status, cap = link.mrd(f, 0, 0, 8)
    assert status == w.SC
    assert [cap & 0xFFFFFFFF, cap >> 32] == remote.physical(base, 2)
    assert link.mrd(f, 0, 8, 4) == (w.SC, remote.physical(base + 8, 1)[0])
    assert link.mrd(f, 0, 8, 4)[1] == 0x00010400  # NVMe 1.4
    assert link.mrd(f, 0, 0, 4)[1] | link.mrd(f, 0, 4, 4)[1] << 32 == cap


def test_edu_answers_and_computes(remote, link):
    f = link.attach(EDU)
    assert link.mrd(f, 0, 0, 4) == (w.SC, 0x010000ED)
    for value in (0, 0x12345678, 0xFFFFFFFF):
        link.mwr(f, 0, 4, 4, value)
        assert link.mrd(f, 0, 4, 4) == (w.SC, ~value & 0xFFFFFFFF)
    for n, factorial in ((0, 1), (5, 120), (10, 3628800), (12, 479001600)):
        link.mwr(f, 0, 8, 4, n)
        remote.host.wait(lambda: link.mrd(f, 0, 0x20, 4)[1] & 1 == 0, "edu to compute")
        assert link.mrd(f, 0, 8, 4) == (w.SC, factorial)


def test_serial_card_through_its_io_bar(remote, link):
    f = link.attach(SERIAL)
    before = remote.card()
    for value in (0x5A, 0xA5):
        assert link.io_wr(f, 0, 7, 1, value) == w.SC  # scratch register
        assert link.io_rd(f, 0, 7, 1) == (w.SC, value)
    for c in b"farbus":
        assert link.io_wr(f, 0, 0, 1, c) == w.SC
    remote.host.wait(lambda: len(remote.card()) >= len(before) + 6, "the card's output")
    assert remote.card() == before + b"farbus"


def test_io_bar_behind_a_memory_bar(remote, link):
    f = link.attach(TESTDEV)
    assert link.io_rd(f, 1, 0, 1)[0] == w.SC
    assert link.io_rd(f, 0, 0, 1) == link.mrd(f, 1, 0, 1) == (w.UR, None)
    assert link.mrd(f, 0, 0, 1)[0] == w.SC


def test_posted_writes_return_credits(remote, link):
    f = link.attach(EDU)
    assert f.credits >= 16
    writes = 3 * f.credits
    sent = 0
    while sent < writes:  # as a host does: never more outstanding than there are credits
        remote.host.wait(lambda: sent - link.credit[f.handle] < f.credits, "credits")
        n = min(20, f.credits - (sent - link.credit[f.handle]), writes - sent)
        link.send_records(*(w.access(w.MWR, f.handle, 0, 0, 4, 4, struct.pack("<I", sent + i)) for i in range(n)))
        sent += n
    assert link.mrd(f, 0, 4, 4) == (w.SC, ~(writes - 1) & 0xFFFFFFFF)
    assert 0 < link.credit[f.handle] <= writes
    assert writes - link.credit[f.handle] < f.credits


def test_many_requests_in_one_frame_are_completed_once_each_and_in_order(remote, link):
    f = link.attach(NVME)
    known = [link.mrd(f, 0, offset, 4)[1] for offset in (0, 8)]
    assert known[0] != known[1]
    for size in (4, 256):  # 256: the answers need many frames
        tags = [link.next_tag() for _ in range(40)]
        link.send_records(*(w.access(w.MRD, f.handle, t, 0, 8 * (i % 2), size) for i, t in enumerate(tags)))
        for i, t in enumerate(tags):
            answer = link.complete(t)
            assert answer.status == w.SC and len(answer.data) == size
            assert int.from_bytes(answer.data[:4], "little") == known[i % 2]
        assert list(link.completions)[-40:] == tags


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
    assert link.mrd(f, bar, status, 1) == (w.SC, 3)
    assert link.reset(f) == w.SC
    assert link.mrd(f, bar, status, 1) == (w.SC, 0)
    assert link.mrd(f, bar, 0, 4) == bars  # its BARs are where they were


def test_every_function_comes_back_from_a_reset(remote, link):
    for address in (NVME, EDU, TESTDEV, SERIAL, NIC2, RNG):
        f = link.attach(address)
        bars = remote.bars(address) if address != RNG else None
        assert link.reset(f) == w.SC
        assert link.cfg_rd(f, 0, 2) == (w.SC, f.vendor)
        if bars:
            assert remote.bars(address) == bars


# --- refusals ---

def test_accesses_outside_are_unsupported_requests(remote, link):
    nvme, serial = link.attach(NVME), link.attach(SERIAL)
    before = remote.counters()
    cases = [(w.MRD, nvme, 0, 16384, 4, "out of bounds"), (w.MRD, nvme, 0, 16383, 2, "out of bounds"),
             (w.MRD, nvme, 0, (1 << 64) - 8, 4, "out of bounds"), (w.MRD, nvme, 0, 1 << 32, 8, "out of bounds"),
             (w.MRD, nvme, 1, 0, 4, "no such BAR"), (w.MRD, nvme, 5, 0, 4, "no such BAR"),
             (w.IO_RD, nvme, 0, 0, 4, "no such BAR"), (w.MRD, serial, 0, 0, 1, "no such BAR"),
             (w.IO_RD, serial, 0, 8, 1, "out of bounds"), (w.IO_RD, serial, 0, 6, 4, "out of bounds"),
             (w.MRD, nvme, 0, 0x2000, 4, "MSI-X table")]
    expected = {}
    for kind, f, bar, offset, size, why in cases:
        assert link.read(kind, f, bar, offset, size) == (w.UR, None), (kind, bar, offset, size)
        expected[why] = expected.get(why, 0) + 1
    link.mwr(nvme, 0, 16384, 4, 1)
    expected["out of bounds"] += 1
    for handle in (0xFF, serial.handle % 255 + 1):
        assert link.access(w.MRD, handle, 0, 0, 4).status == w.UR
    assert link.detach(nvme) == w.SC
    assert link.read(w.MRD, nvme, 0, 0, 4) == (w.UR, None)
    assert link.io_rd(serial, 0, 7, 1)[0] == w.SC  # the other one is still there
    expected["not this host's function"] = 3
    after = remote.counters()
    for why, times in expected.items():
        assert after[f"refused, {why}"] - before[f"refused, {why}"] == times, why


def test_second_host_is_refused_with_the_owners_name(remote, link):
    f = link.attach(NVME)
    remote.host.wait_announcement(NODE, lambda a: next(x for x in a.functions if x.address == NVME).busy)
    owned = (w.OWNED, b"alpha", w.CPLD, 0)
    assert link.attach(NVME) == owned  # its own host, too: DETACH comes first
    for name, station in (("beta", remote.station()), ("gamma", remote.host)):  # of another address; of the same
        other = remote.link(name, station)
        assert other.attach(NVME) == owned
        assert other.read(w.MRD, f, 0, 8, 4) == (w.UR, None)  # the handle is alpha's
        assert other.request(w.RESET, f.handle).status == w.UR
        assert other.request(w.DETACH, f.handle).status == w.UR
        edu = other.attach(EDU)
        assert other.mrd(edu, 0, 0, 4) == (w.SC, 0x010000ED)
        assert link.mrd(f, 0, 8, 4) == (w.SC, 0x00010400)
        other.close()
    for address in ("0000:00:1f.0", "0000:00:02.0", "0001:00:04.0", "0000:00:0b.0"):
        assert link.attach(address) == (w.NOT_LENT, b"", w.CPL, 0)


def test_functions_of_a_host_that_is_gone_are_reset_and_free(remote):
    alpha = remote.link("alpha")
    f = alpha.attach(RNG)
    bar, status = virtio_status(alpha, f)
    alpha.mwr(f, bar, status, 1, 3)
    assert alpha.mrd(f, bar, status, 1) == (w.SC, 3)
    remote.seen_upto = len(remote.console.text)
    alpha.keepalive = alpha.open_ = False  # silent, without a word
    beta = remote.link("beta", remote.station())
    refusal = beta.attach(RNG)
    assert (refusal.status, refusal.data) == (w.OWNED, b"alpha")
    remote.see(r"alpha is silent: frozen")
    frozen = remote.seen_upto
    remote.see(r'0000:01:00\.0 released by host "alpha": silent')
    remote.seen_upto = frozen
    remote.see(r"down: alpha .*: silent for longer than the grace period")
    f = beta.attach(RNG)
    assert beta.mrd(f, bar, status, 1) == (w.SC, 0)
    beta.close()
    alpha.close()
    again = remote.link("alpha")
    assert again.mrd(again.attach(EDU), 0, 0, 4) == (w.SC, 0x010000ED)
    again.close()
    remote.all_free()


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
                link.send_records(w.access(w.MWR, f.handle, 0, 2, offset, 256, data))
                status, value = link.mrd(f, 2, offset, 256)
                assert status == w.SC and value == int.from_bytes(data, "little")
                memory.seek(offset)
                assert memory.read(256) == data
            memory.seek(40 << 20)
            memory.write(b"written by the other side")
            memory.flush()
            assert link.access(w.MRD, f.handle, 2, 40 << 20, 25).data == b"written by the other side"
        assert link.mrd(f, 2, 64 << 20, 1) == (w.UR, None)
        assert link.mrd(f, 2, (64 << 20) - 1, 2) == (w.UR, None)
        link.close()
    finally:
        r.close()


def test_dhcp(lab):
    """An address from somebody else's DHCP server."""
    made = lab({"remote": {NODE: {"nic": "none", "memory": 256, "ini": f"[node]\nname = {NODE}\nrole = remote\naddress = dhcp\n",
                                  "args": ["-netdev", "user,id=n0,net=10.77.0.0/16,dhcpstart=10.77.3.4", "-device",
                                           "e1000e,netdev=n0,addr=0x2,romfile="]}}})
    made.start()
    made[NODE].console.expect(r"net: address 10\.77\.3\.4/16")


# --- the ends ---

def test_power_off_tells_hosts_and_ends_the_machine(work_dir):
    r = Remote(work_dir, INI + f"lend = {EDU} to alpha gamma\nlend = {SERIAL}\nlend = 0000:00:1d.0\n")
    try:
        r.see(rf"lent {EDU} .*, to alpha gamma")
        r.see(r"lend = 0000:00:1d\.0: there is no such function")
        r.see(r'remote: node "disk1" lends 2 functions')
        a = r.host.wait_announcement(NODE)
        assert [f.address for f in a.functions] == [EDU, SERIAL]
        link = r.link("alpha")
        assert link.attach(NVME).status == w.NOT_LENT
        beta = r.link("beta", r.station())  # whom the line does not name
        assert beta.attach(EDU) == (w.DENIED, b"", w.CPL, 0)
        r.see(rf"{EDU} asked for by host \"beta\": its 'lend' line names other hosts")
        beta.attach(SERIAL)
        beta.close()
        f = link.attach(EDU)
        assert link.mrd(f, 0, 0, 4) == (w.SC, 0x010000ED)

        r.type("reset")  # comes back as another start of the same node
        r.host.wait(link.bye, "BYE")
        link.close()
        r.see(r'remote: node "disk1" lends 2 functions', 120)
        r.host.wait_announcement(NODE, lambda b: b.boot_id != a.boot_id)
        link = r.link("alpha")
        f = link.attach(EDU)
        assert link.mrd(f, 0, 0, 4) == (w.SC, 0x010000ED)

        r.type("poweroff")
        r.host.wait(link.bye, "BYE")
        assert r.machine.wait(60), "the machine did not switch off"
    finally:
        r.close()
