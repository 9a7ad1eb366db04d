# SPDX-License-Identifier: BSD-2-Clause
"""docs/protocol.md is what the remote does: announcements, handshakes, sessions, exactly once and in order. Then frames malformed in every
way, strangers and noise, and the remote goes on as if nothing had come. Hosts in Python ask (lone_remote.py); what a remote does with
its devices is in test_remote.py.
"""
import random

import wire as w
from lone_remote import EDU, INI, IP, NODE, NVME, SERIAL, TESTDEV, Remote
from peer import Link
from test_dissector import rows, tshark

HOST_ONLY = (w.CPL, w.CPLD, w.INTX, w.MSI, w.GONE, w.ERROR)  # not to a remote


def malformed(counters):
    return {name: n for name, n in counters.items() if name.startswith("malformed")}


# --- announcements and handshakes ---

def test_announcements_go_on(remote):
    before = remote.host.announcement_count[NODE]
    remote.host.wait(lambda: remote.host.announcement_count[NODE] >= before + 4, "four announcements")


def test_handshake_agrees_to_the_smaller_frame(remote):
    link = Link(remote.host, IP, "small", NODE, frame_max=1000)
    assert link.hello() == (remote.host.announcements[NODE].boot_id, 0, 1, 1000, 0, NODE, "")
    remote.see(r"up: host small at 10\.9\.0\.101")
    f = link.attach(NVME)
    tags = [link.next_tag() for _ in range(20)]
    link.send_records(*(w.access(w.MRD, f.handle, tag, 0, 0, 256) for tag in tags))
    assert [len(link.complete(tag).data) for tag in tags] == [256] * 20
    assert 500 < link.largest <= 1000
    link.close()
    remote.all_free()


def test_refused_handshakes_say_why(remote):
    stranger = Link(remote.station(), IP, "gamma", NODE)
    answer = stranger.hello(to="disk9")
    assert answer.status == 3 and "another node" in answer.why
    answer = stranger.hello(versions=(2, 9))
    assert answer.status == 4 and "version" in answer.why
    assert stranger.hello().status == 0
    stranger.close()


# --- sessions ---

def test_host_that_restarts_gets_its_functions_again(remote):
    first = remote.link("alpha")
    f = first.attach(EDU)
    late = first.hello_frame(first.epoch)
    remote.seen_upto = len(remote.console.text)
    second = remote.link("alpha")  # a newer attempt of the same host ends the session and frees what it had
    remote.see("the host opened a new session")
    remote.host.wait(first.bye, "BYE")
    assert first.bye().reason == 2
    assert second.mrd(f, 0, 0, 4) == (w.UR, None)
    again = second.attach(EDU)
    assert again.handle != f.handle
    second.mwr(again, 0, 4, 4, 1)

    # frames of the old session are not taken, and answered so
    first.raw(w.data(first.epoch, first.sequence + 1, 0, w.access(w.MWR, f.handle, 0, 0, 4, 4, b"\0" * 4)))
    first.raw(w.data(first.epoch, first.sequence + 1, 0, w.access(w.MWR, again.handle, 0, 0, 4, 4, b"\0" * 4)))
    first.say(lambda: first.raw(w.ack(first.epoch, 0)), lambda: any(b.reason == 1 for b in first.answers(w.BYE)), "BYE UNKNOWN_EPOCH")
    # its HELLO, when it comes late, is not even answered
    acked = len(first.answers(w.HELLO_ACK))
    first.raw(late)
    assert second.mrd(again, 0, 4, 4) == (w.SC, 0xFFFFFFFE)
    assert len(first.answers(w.HELLO_ACK)) == acked
    assert not second.bye()
    second.close()
    first.close()
    remote.all_free()


# --- exactly once ---

def test_duplicate_frames_are_not_executed_twice(remote, link):
    serial, edu = link.attach(SERIAL), link.attach(EDU)
    before, counted = remote.card(), remote.counters()
    frames = []
    for c in b"ONCE":
        tag, read = link.next_tag(), link.next_tag()
        frames.append(link.send_records(w.access(w.IO_WR, serial.handle, tag, 0, 0, 1, bytes([c])),
                                        w.access(w.MWR, edu.handle, 0, 0, 4, 4, bytes([c] * 4)), w.access(w.MRD, edu.handle, read, 0, 4, 4)))
        for _ in range(3):
            link.raw(frames[-1])
        assert link.complete(tag).status == w.SC
        assert link.complete(read)[:2] == (w.SC, bytes([c ^ 0xFF] * 4))
    for old in frames * 3:  # long after they were answered: each is acknowledged once more
        link.repeat(old)
    assert link.io_rd(serial, 0, 7, 1)[0] == w.SC
    assert remote.card() == before + b"ONCE"
    executed = remote.counters()
    for kind in ("IOWr", "MWr", "MRd"):
        assert executed[f"executed {kind}"] == counted[f"executed {kind}"] + 4
    remote.type("links")
    assert int(remote.see(r'links: host "alpha" \S+ retransmitted \d+ duplicates (\d+) out').group(1)) >= 20


def test_reordered_frames_are_executed_in_order(remote, link):
    f = link.attach(SERIAL)
    before = remote.card()
    tags = [link.next_tag() for _ in b"abcdefgh"]
    frames = [w.data(link.epoch, link.sequence + 1 + i, link.received_upto, w.access(w.IO_WR, f.handle, tag, 0, 0, 1, b"abcdefgh"[i:i + 1]))
              for i, tag in enumerate(tags)]
    link.sequence += len(frames)
    for data in reversed(frames):
        link.raw(data)
    for tag in tags:
        assert link.complete(tag).status == w.SC
    assert remote.card() == before + b"abcdefgh"


def test_lost_answer_is_repeated_not_executed_again(remote, link):
    """The host's acknowledgements stay away: the remote repeats its completions, byte for byte, and the devices are left alone."""
    serial, edu = link.attach(SERIAL), link.attach(EDU)
    link.mwr(edu, 0, 4, 4, 5)
    assert link.mrd(edu, 0, 4, 4) == (w.SC, 0xFFFFFFFA)
    before, counted = remote.card(), remote.counters()
    deaf = []
    received, link.received = link.received, deaf.append
    tag, read = link.next_tag(), link.next_tag()
    link.send_records(w.access(w.IO_WR, serial.handle, tag, 0, 0, 1, b"!"), w.access(w.MRD, edu.handle, read, 0, 4, 4),
                      w.access(w.MWR, edu.handle, 0, 0, 4, 4, b"\7\0\0\0"))
    data = lambda: [f for f in deaf if f.type == w.DATA]
    link.station.wait(lambda: len(data()) >= 4, "retransmissions")
    link.received = received
    assert len({(f.sequence, f.body) for f in data()}) == 1
    received(data()[-1])
    assert link.complete(tag).status == w.SC
    assert link.complete(read)[:2] == (w.SC, b"\xfa\xff\xff\xff")
    assert remote.card() == before + b"!"
    executed = remote.counters()
    for kind in ("IOWr", "MWr", "MRd"):
        assert executed[f"executed {kind}"] == counted[f"executed {kind}"] + 1


# --- malformed frames ---

def test_malformed_frames_are_dropped_and_counted(remote, link):
    f = link.attach(EDU)
    link.mwr(f, 0, 4, 4, 0x11111111)
    assert link.mrd(f, 0, 4, 4) == (w.SC, 0xEEEEEEEE)  # it is executed before anything is counted
    before = remote.counters()
    last = link.send_records(w.access(w.MRD, f.handle, link.next_tag(), 0, 4, 4))
    assert link.complete(link.tag).data == b"\xee" * 4
    rng = random.Random(1)
    seq = link.sequence + 1  # what is taken next, so that a frame accepted in error would be executed

    def data(*records, **changes):
        return w.frame(w.DATA, b"".join(records), **{**dict(epoch=link.epoch, sequence=seq, ack=link.received_upto), **changes})

    def mwr(**wrong):
        return w.access(**{**dict(kind=w.MWR, function=f.handle, tag=0, bar=0, offset=4, size=4, data=b"\xaa" * 4), **wrong})

    whole = data(mwr())
    bad = [whole[:n] for n in range(len(whole))]                       # every length that is too short
    bad += [data(mwr()[:n - w.HEADER.size]) for n in range(w.HEADER.size, len(whole))]  # and the header agrees
    bad += [whole + b"\0" * n for n in (1, 7, 300, 500)]               # trailing bytes
    bad += [data(mwr(), length=n) for n in (0, 23, 24, 31, 65535)]
    bad += [data(mwr(), magic=m) for m in (0, 0x53424147)] + [data(mwr(), version=v) for v in (0, 2, 255)]
    for offset in (*range(8), *range(24, 30), *range(32, 36)):         # every byte of header and record that cannot have another value
        for value in {whole[offset] ^ 0x80, whole[offset] ^ 1, 0, 255} - {whole[offset]}:
            if not (offset == 32 and value <= 5 or offset == 28 and value > 0):  # another BAR, another handle
                bad.append(whole[:offset] + bytes([value]) + whole[offset + 1:])
    bad += [w.frame(t, mwr(), link.epoch, seq) for t in (0, 7, 255)]
    bad += [data(w.access(t, f.handle, 5, 0, 4, 4)) for t in (0, 7, 0x0F, 0x23, 0x30, 0x34, 0x40, 0xFF)]
    bad += [data(w.record(t, f.handle, tag)) for t in (*HOST_ONLY, 0, 0x46, 0xFF) for tag in (0, 5)] + [data(w.record(w.CPLD, f.handle, 5, b"data"))]
    for kind in (w.MRD, w.MWR, w.IO_WR, w.CFG_WR):
        body = mwr()[w.RECORD.size:]
        bad += [data(w.record(kind, f.handle, 5, body[:n])) for n in range(16) if not (kind == w.MRD and n == 12)]
        bad += [data(mwr(kind=kind, tag=5, size=size)) for size in (0, 3, 5, 257, 65535)]
    bad += [data(mwr(bar=bar)) for bar in (6, 255)] + [data(mwr(reserved=1)), data(mwr(status=1))]
    bad += [data(mwr(function=handle)) for handle in (0, 256, 0xFFFF)]
    bad += [data(mwr(length=n)) for n in (0, 7, 8, 23, 25, 65535)]
    bad += [data(mwr(), w.record(0xEE)), data(mwr(), w.record(0x7F, f.handle)), data(mwr(), mwr()[:10])]  # a good record with a bad one behind it
    bad += [data(mwr(), ack=link.received_upto + 50), data(mwr(), sack=1 << 31)]  # acknowledges what never was
    bad += [w.frame(w.HELLO, b"\0" * n, 1) for n in (0, 79, 80, 81)]
    bad += [link.hello_frame(9, **change) for change in (
        {"node": ""}, {"node": "a b"}, {"node": "a/b"}, {"node": "x" * 32}, {"to": b"\xff"}, {"versions": (0, 1)}, {"frame_max": 100}, {"frame_max": 65535})]
    bad += [w.frame(w.BYE, b"\xff" * n, link.epoch) for n in (0, 63, 64, 65)]
    bad += [w.frame(w.ACK, b"", link.epoch, 1), w.frame(w.ACK, b"x", link.epoch), w.frame(w.ACK)]
    noise = [rng.randbytes(rng.randrange(1, 1400)) for _ in range(304)]
    announced = [n for n in noise if len(n) >= w.HEADER.size and n[5] & 0x7F == w.ANNOUNCE]
    bad += [n for n in noise if n not in announced]
    assert len(bad) > 300 + len(whole)
    ignored = announced + [w.frame(w.ANNOUNCE, b"\0" * n) for n in (0, 51, 52, 53)]  # a remote does not even parse these

    for i, one in enumerate(bad + ignored):
        link.raw(one)
        remote.host.poll(0)
        if i % 32 == 31:  # not faster than the NIC's ring
            link.repeat(last)
    assert link.sequence + 1 == seq
    assert link.mrd(f, 0, 4, 4) == (w.SC, 0xEEEEEEEE)  # the next frame in order is taken; nothing reached the device
    after = remote.counters()
    dropped = {reason: n - before[reason] for reason, n in malformed(after).items()}
    assert sum(dropped.values()) == len(bad)
    assert all(dropped.values()), dropped  # each reason was met
    assert after["executed MWr"] == before["executed MWr"]
    assert not link.bye()


def test_strangers_and_old_sessions_touch_nothing(remote, link):
    f = link.attach(EDU)
    link.mwr(f, 0, 4, 4, 0x22222222)
    assert link.mrd(f, 0, 4, 4) == (w.SC, 0xDDDDDDDD)  # it is executed before anything is counted
    mwr = w.access(w.MWR, f.handle, 0, 0, 4, 4, b"\xbb" * 4)
    before = remote.counters()
    other = remote.station()
    other.resolve(IP)
    for epoch in (link.epoch ^ 1, 1):
        link.raw(w.data(epoch, link.sequence + 1, 0, mwr))
    link.raw(w.data(link.epoch ^ 1, 1, 0, mwr))
    other.udp(IP, w.data(link.epoch, link.sequence + 1, 0, mwr))  # the right session from the wrong address
    other.udp(IP, w.bye(link.epoch, 0, "not mine to end"))
    link.raw(w.data(link.epoch, link.sequence + 5000, 0, mwr))    # far beyond the window
    assert link.mrd(f, 0, 4, 4) == (w.SC, 0xDDDDDDDD)
    after = remote.counters()
    assert after["frames of no session"] >= before["frames of no session"] + 4
    assert after["executed MWr"] == before["executed MWr"]
    assert malformed(after) == malformed(before)


def test_noise_on_the_cable_is_survived(remote, link):
    """Random bytes as Ethernet frames, IPv4 packets, datagrams and frames of this session, from a fixed seed."""
    rng = random.Random(2)
    f = link.attach(EDU)
    station = remote.host
    for i in range(300):
        noise = rng.randbytes(rng.choice((1, 20, 60, 200, 1400)))
        station.ethernet(station.neighbours[IP], rng.choice((0x0800, 0x0806, 0x88B5, 0x86DD, 0x1234)), noise)
        station.udp(IP, noise, port=rng.choice((w.PORT, 7, 67, 68)))
        link.raw(w.frame(rng.randrange(8), noise, link.epoch, rng.choice((0, link.sequence + 1))))
        if i % 20 == 0:
            assert link.mrd(f, 0, 0, 4) == (w.SC, 0x010000ED)
    assert link.mrd(f, 0, 0, 4) == (w.SC, 0x010000ED)


# --- what was on the wire ---

def test_dissector_finds_nothing_wrong_on_a_real_cable(work_dir):
    """tools/farbus.lua on what really was on the wire: nothing malformed, each completion has its request."""
    remote = Remote(work_dir, INI, ["-object", "filter-dump,id=dump,netdev=n0,file=@WORK@/wire.pcap"])
    try:
        remote.host.wait_announcement(NODE)
        link = Link(remote.host, IP, "alpha", NODE)
        assert link.hello(to="disk2").status == 3
        assert link.hello(versions=(2, 9)).status == 4
        link.open()
        edu = link.attach(EDU)
        assert link.attach(EDU).status == w.OWNED
        assert link.attach("0000:00:0b.0").status == w.NOT_LENT
        link.mwr(edu, 0, 4, 4, 0x12345678)
        assert link.cfg_rd(edu, 0, 4) == (w.SC, 0x11E81234)
        tags = [link.next_tag() for _ in range(30)]
        link.send_records(*(w.access(w.MRD, edu.handle, tag, 0, 0 if i % 2 else 4, 4) for i, tag in enumerate(tags)))
        assert [link.complete(tag).data for tag in tags] == [b"\x87\xa9\xcb\xed", b"\xed\0\0\1"] * 15
        assert link.mrd(edu, 0, (1 << 20) - 2, 4) == link.mrd(edu, 1, 0, 4) == (w.UR, None)
        other = remote.link("second")
        assert other.attach(EDU).status == w.OWNED
        assert other.mrd(edu, 0, 0, 4) == (w.UR, None)
        other.close("done")
        testdev = link.attach(TESTDEV)
        assert link.io_rd(testdev, 1, 0, 1)[0] == link.reset(edu) == link.detach(edu) == w.SC
        assert link.mrd(edu, 0, 0, 4) == (w.UR, None)
        link.close()
        remote.machine.stop()
        capture = remote.lab.path("wire.pcap")
        assert "Lua Error" not in tshark(capture, "-V")
        assert rows(capture, "frame.number", only="farbus.malformed") == []
        assert rows(capture, "frame.number", only="farbus.unmatched") == []
        completed = rows(capture, "farbus.request_in", only="farbus.request_in")
        asked = rows(capture, "farbus.response_in", only="farbus.response_in")
        assert sum(len(row[0]) for row in completed) == sum(len(row[0]) for row in asked) > 40
        assert rows(capture, "farbus.attached.handle", only="farbus.attached.handle")[0] == [[str(edu.handle)]]
    finally:
        remote.close()
