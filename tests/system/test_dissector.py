# SPDX-License-Identifier: BSD-2-Clause
"""tools/farbus.lua under tshark: a capture written from the specification (tests/wire.py) with every frame and record type, right and wrong."""
import os
import shutil
import subprocess

import pytest

import wire as w

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HOST, REMOTE, EPOCH = "10.0.0.1", "10.0.0.2", 0x1234ABCD

pytestmark = pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed: run 'make deps'")

edu = w.function(w.pci(0, 4, 0), 0x1234, 0x11E8, (0, 0xFF, 0), [(1 << 20, 2)], pin=1)
nvme = w.function(w.pci(0, 5, 1), 0x1B36, 0x0010, (1, 8, 2), [(0x4000, 0x83)], pin=1, flags=3)


def tshark(path, *args):
    run = subprocess.run(["tshark", "-n", "-2", "-X", f"lua_script:{ROOT}/tools/farbus.lua", "-r", path, *args], capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr
    assert "Lua" not in run.stderr.replace("lua_script", ""), run.stderr
    return run.stdout


def rows(path, *fields, only=None):
    """A list per packet: for each field the list of its values."""
    args = ["-T", "fields", "-E", "occurrence=a", "-E", "aggregator=;"]
    for field in fields:
        args += ["-e", field]
    if only:
        args += ["-Y", only]
    return [[[v for v in part.split(";") if v] for part in line.split("\t")] for line in tshark(path, *args).splitlines()]


def conversation():
    """(from the host?, frame) in order."""
    yield False, w.announce("disk1", 7, [edu, nvme])
    yield True, w.hello(EPOCH, 3, "host1", "disk1")
    yield False, w.hello_ack(EPOCH, 7, "disk1")
    yield True, w.ack(EPOCH, 0)
    yield True, w.data(EPOCH, 1, 0, w.record(w.ATTACH, 0, 1, w.pci(0, 4, 0)), w.record(w.ATTACH, 0, 2, w.pci(0, 9, 0)))
    yield False, w.data(EPOCH, 1, 1, w.record(w.CPLD, 1, 1, b"\1\0\0\1" + edu), w.record(w.CPL, 0, 2, status=w.NOT_LENT))
    yield True, w.data(EPOCH, 2, 1, w.access(w.CFG_RD, 1, 3, 0, 0, 4), w.access(w.MWR, 1, 0, 0, 8, 4, b"\5\0\0\0"),
                       w.access(w.MRD, 1, 4, 0, 0x10, 4), w.access(w.IO_RD, 1, 5, 1, 0, 1), w.access(w.IO_WR, 1, 6, 1, 0, 1, b"x"),
                       w.access(w.CFG_WR, 1, 7, 0, 4, 2, b"\6\0"))
    yield True, w.data(EPOCH, 3, 1, w.record(w.RESET, 1, 8), w.interrupts(1, 11, w.BY_MSIX, 9, [0, 8]), w.record(w.EOI, 1))
    yield True, w.data(EPOCH, 2, 1, w.access(w.CFG_RD, 1, 3, 0, 0, 4), w.access(w.MWR, 1, 0, 0, 8, 4, b"\5\0\0\0"),
                       w.access(w.MRD, 1, 4, 0, 0x10, 4), w.access(w.IO_RD, 1, 5, 1, 0, 1), w.access(w.IO_WR, 1, 6, 1, 0, 1, b"x"),
                       w.access(w.CFG_WR, 1, 7, 0, 4, 2, b"\6\0"))  # again
    yield False, w.data(EPOCH, 2, 1, w.record(w.CPLD, 1, 4, b"\xed\0\0\1"), w.record(w.CPLD, 1, 3, b"\x34\x12\xe8\x11"), w.record(w.CPL, 1, 5, status=w.UR),
                        w.record(w.CPL, 1, 6), w.record(w.CPL, 1, 7), w.record(w.CPL, 1, 8, status=w.CRS), w.record(w.CPL, 1, 11), sack=1)
    yield False, w.data(EPOCH, 3, 3, w.record(w.INTX, 1, 0, b"\1\1\0\0"), w.record(w.MSI, 1, 0, b"\7\0\0\0"), w.record(w.ERROR, 1, 0, b"\2\0\0\0"),
                        w.record(w.CREDIT, 1, 0, b"\x80\0\0\0"), w.record(w.GONE, 1))
    yield True, w.data(EPOCH, 4, 3, w.record(w.ATTACH, 0, 9, w.pci(0, 5, 1)), w.record(w.DETACH, 1, 10))
    yield False, w.data(EPOCH, 4, 4, w.record(w.CPLD, 0, 9, b"host2", status=w.OWNED), w.record(w.CPL, 1, 10))
    yield True, w.data(EPOCH, 5, 4, w.record(w.DMA_START, 2, 12), w.dma_data(2, 3, 0, w.DMA_CLEAR, [(0, b"ring"), (4092, b"last")]), w.dma_map(2, 0x7FFFFFF000, 3, 9, 3),
                       w.dma_unmap(2, 0x1000, 2, 77))
    yield False, w.data(EPOCH, 5, 5, w.record(w.CPLD, 2, 12, b"\0\x10\0\0\0\0\0\0"), w.dma_data(2, 3, 9, w.DMA_MORE, [(8, b"x")]), w.dma_data(2, 3, 9),
                        w.record(w.DMA_SPOILED, 2, 0, b"\3\0\0\0\0\0\0\0"), w.record(w.DMA_FAULT, 2, 0, b"\0\xf0\xee\xff\xff\xff\xff\xff\1\5" + bytes(6)))
    yield True, w.bye(EPOCH, 0, "done")
    yield False, w.hello_ack(EPOCH + 1, 7, "disk1", status=1, frame_max=0, why="not today")
    yield True, w.probe(EPOCH, w.PROBE_ASK, 8972)
    yield False, w.probe(EPOCH, w.PROBE_ANSWER, 8972)
    yield True, w.probe(EPOCH, w.PROBE_DONE)


def capture(path, frames):
    w.pcap(path, [(1 + i / 1000, w.ethernet(*((HOST, REMOTE) if host else (REMOTE, HOST)), frame)) for i, (host, frame) in enumerate(frames)])
    assert "Lua Error" not in tshark(str(path), "-V")
    return str(path)


def test_conversation(tmp_path):
    path = capture(tmp_path / "good.pcap", conversation())
    types = rows(path, "farbus.type")
    assert [t for [[t]] in types] == ["1", "2", "3", "5"] + ["4"] * 11 + ["6", "3"] + ["7"] * 3
    assert rows(path, "farbus.record.type", only="farbus.malformed") == []
    assert rows(path, "frame.number", only="udp.checksum.status == 0") == []

    announced = rows(path, "farbus.node", "farbus.function.address", "farbus.function.vendor", "farbus.function.bar", only="farbus.type == 1")
    assert announced == [[["disk1"], ["0000:00:04.0", "0000:00:05.1"], ["0x1234", "0x1b36"],
                          ["0: 1048576 bytes, 32-bit memory", "0: 16384 bytes, 64-bit memory, prefetchable"]]]
    hello = rows(path, "farbus.node", "farbus.to", "farbus.frame_max", only="farbus.type == 2")
    assert hello == [[["host1"], ["disk1"], ["1472"]]]

    # each completion points at its request, each request at its completion; out of order within the frame, and not confused by the repetition
    asked = rows(path, "frame.number", "farbus.response_in", only="farbus.response_in")
    assert asked == [[["5"], ["6", "6"]], [["7"], ["10"] * 5], [["8"], ["10", "10"]], [["12"], ["13", "13"]], [["14"], ["15"]]]
    answered = rows(path, "frame.number", "farbus.request_in", only="farbus.request_in")
    assert answered == [[["6"], ["5", "5"]], [["10"], ["7", "7", "7", "7", "7", "8", "8"]], [["13"], ["12", "12"]], [["15"], ["14"]]]
    assert [float(t) for t in rows(path, "farbus.time", only="frame.number == 10")[0][0]] == pytest.approx([0.003] * 5 + [0.002] * 2)
    assert rows(path, "farbus.unmatched", only="farbus.unmatched") == []

    attached = rows(path, "farbus.attached.handle", "farbus.attached.credits", "farbus.function.device", only="frame.number == 6")
    assert attached == [[["1"], ["256"], ["0x11e8"]]]
    again = rows(path, "frame.number", "farbus.first_sent_in", only="farbus.retransmission")
    assert again == [[["9"], ["7"]]]
    assert rows(path, "frame.number", only="farbus.gap") == [[["10"]]]
    assert rows(path, "frame.number", only="farbus.refused") == [[["6"]], [["10"]], [["13"]], [["17"]]]
    events = rows(path, "farbus.intx.pin", "farbus.msi.vector", "farbus.error.severity", "farbus.credit.count", only="frame.number == 11")
    assert events == [[["1"], ["7"], ["2"], ["128"]]]
    wanted = rows(path, "farbus.interrupts.mode", "farbus.interrupts.count", "farbus.interrupts.wanted", only="farbus.interrupts.mode")
    assert wanted == [[["3"], ["9"], ["0101"]]]
    offsets = rows(path, "farbus.access.offset", "farbus.access.size", only="frame.number == 7")
    assert [int(v, 0) for v in offsets[0][0]] == [0, 8, 16, 0, 0, 4]
    assert offsets[0][1] == ["4", "4", "4", "1", "1", "2"]
    dma = rows(path, "farbus.dma.slot", "farbus.dma.iova", "farbus.dma.access", "farbus.dma.generation", "farbus.dma.pages", "farbus.dma.seen", "farbus.dma.run",
               only="frame.number == 14")
    assert dma == [[["3", "3"], ["0x0000007ffffff000", "0x0000000000001000"], ["3"], ["0", "9"], ["2"], ["77"], ["72696e67", "6c617374"]]]
    back = rows(path, "farbus.dma.slots", "farbus.dma.more", "farbus.dma.iova", "farbus.dma.write", only="frame.number == 15")
    assert back == [[["4096"], ["1", "0"], ["0xffffffffffeef000"], ["1"]]]
    text = tshark(path)
    assert "DMA_MAP 0x7ffffff000=3 to read and write, DMA_UNMAP 0x1000, 2" in text and "DMA_DATA 3: 8 bytes, cleared" in text
    assert "PROBE ASK, 8972 bytes" in text and "PROBE DONE, 32 bytes" in text
    assert "MRd BAR0+0x10 4" in text and "CplD of MRd SC" in text and "BYE CLOSED: done" in text


def test_malformed(tmp_path):
    """One thing wrong in each frame: each is marked, and nothing makes the dissector stumble."""
    def patched(frame, offset, value):
        return frame[:offset] + bytes([value]) + frame[offset + 1:]

    read = w.access(w.MRD, 1, 4, 0, 0x10, 4)
    fine = w.data(EPOCH, 1, 0, read)
    wrong = [
        fine[:10], patched(fine, 4, 2), patched(fine, 5, 9), patched(fine, 6, 1), fine + b"\0", w.frame(w.DATA, b"", EPOCH, 1),
        w.data(0, 1, 0, read), w.frame(w.ACK, b"", EPOCH, 1), w.frame(w.ACK, b"x", EPOCH), w.frame(w.BYE, b"", EPOCH), w.bye(EPOCH, 9),
        w.frame(w.PROBE, b"\1", EPOCH), w.frame(w.PROBE, b"\4" + bytes(7), EPOCH), w.frame(w.PROBE, b"\1" + bytes(50) + b"x", EPOCH), w.probe(EPOCH, w.PROBE_DONE, 33),
        w.frame(w.HELLO, bytes(79), EPOCH), w.hello(EPOCH, 1, "a", "b", versions=(2, 1)), w.hello(EPOCH, 1, "a", "b", frame_max=100),
        w.hello_ack(EPOCH, 1, "a", status=9), w.frame(w.ANNOUNCE, bytes(10)), w.announce("a", 1, [edu], total=0), w.announce("a", 1, [edu], part=1),
        w.announce("a", 1, [edu])[:-1], w.announce("a", 1, [patched(edu, 16, 5)]), w.announce("a", 1, [patched(edu, 28, 0)]),
        w.data(EPOCH, 1, 0, patched(read, 0, 0x7F)), w.data(EPOCH, 1, 0, patched(read, 1, 1)), w.data(EPOCH, 1, 0, patched(read, 2, 4)),
        w.data(EPOCH, 1, 0, patched(read, 2, 200)), w.data(EPOCH, 1, 0, patched(read, 4, 0)), w.data(EPOCH, 1, 0, patched(read, 5, 1)),
        w.data(EPOCH, 1, 0, patched(read, 8, 6)), w.data(EPOCH, 1, 0, patched(read, 9, 1)), w.data(EPOCH, 1, 0, patched(read, 10, 0)),
        w.data(EPOCH, 1, 0, w.access(w.CFG_RD, 1, 1, 0, 4094, 4)), w.data(EPOCH, 1, 0, w.access(w.IO_RD, 1, 1, 0, 0, 3)),
        w.data(EPOCH, 1, 0, w.access(w.MWR, 1, 1, 0, 0, 8, b"1234")), w.data(EPOCH, 1, 0, read, b"tail"),
        w.data(EPOCH, 1, 0, w.record(w.CPL, 1, 1, status=7)), w.data(EPOCH, 1, 0, w.record(w.CREDIT, 1, 0, b"\0\0\0\0")),
        w.data(EPOCH, 1, 0, w.interrupts(1, 1, 4)), w.data(EPOCH, 1, 0, w.interrupts(1, 1, w.BY_MSI)), w.data(EPOCH, 1, 0, w.interrupts(1, 1, w.BY_INTX, 1)),
        w.data(EPOCH, 1, 0, w.record(w.INTERRUPTS, 1, 1, b"\3\0\x09\0\1")), w.data(EPOCH, 1, 0, w.record(w.EOI, 1, 0, b"\0")),
        w.data(EPOCH, 1, 0, w.record(w.INTX, 1, 0, b"\5\0\0\0")), w.data(EPOCH, 1, 0, w.record(w.MSI, 1, 0, b"\0\x08\0\0")),
        w.data(EPOCH, 1, 0, w.dma_map(1, 0x1001, 1, 1, 1)), w.data(EPOCH, 1, 0, w.dma_map(1, 1 << 39, 1, 1, 1)), w.data(EPOCH, 1, 0, w.dma_map(1, 0xFEE01000, 1, 1, 1)),
        w.data(EPOCH, 1, 0, w.dma_map(1, 0x1000, 1, 1, 4)), w.data(EPOCH, 1, 0, w.dma_unmap(1, 0x1000, 0, 1)), w.data(EPOCH, 1, 0, w.dma_data(1, 1, 0, 4)),
        w.data(EPOCH, 1, 0, w.dma_data(1, 1, 0, 0, [(8, b"a"), (9, b"b")])), w.data(EPOCH, 1, 0, w.dma_data(1, 1, 0, 0, [(4095, b"ab")])),
        w.data(EPOCH, 1, 0, w.dma_data(1, 1, 0, 0, [(0, b"")])), w.data(EPOCH, 1, 0, w.record(w.DMA_FAULT, 1, 0, bytes(8) + b"\2" + bytes(7))),
    ]
    path = capture(tmp_path / "bad.pcap", [(True, frame) for frame in wrong])
    marked = {int(n) for [[n]] in rows(path, "frame.number", only="farbus.malformed")}
    assert sorted(set(range(1, len(wrong) + 1)) - marked) == []


def test_sealed(tmp_path):
    """What can be seen without keys, and sizes that cannot be."""
    counter, mac = (9).to_bytes(8, "little"), b"m" * 16
    announce = w.announce("disk1", 7, [edu])[24:]
    frames = [(False, w.frame(0x81, announce + counter + mac)), (True, w.frame(0x82, b"e" * 32 + bytes(144) + mac, EPOCH)),
              (False, w.frame(0x83, b"e" * 32 + bytes(128) + mac, EPOCH)), (True, w.frame(0x85, counter + mac, EPOCH, ack=3)),
              (True, w.frame(0x84, counter + b"x" * 20 + mac, EPOCH, 4)), (False, w.frame(0x86, counter + bytes(64) + mac, EPOCH))]
    path = capture(tmp_path / "sealed.pcap", frames)
    seen = rows(path, "farbus.type", "farbus.seal.counter", "farbus.seal.body")
    assert seen == [[["1"], ["9"], []], [["2"], [], []], [["3"], [], []], [["5"], ["9"], []], [["4"], ["9"], ["78" * 20]], [["6"], ["9"], ["00" * 64]]]
    assert rows(path, "farbus.node", only="farbus.type == 1") == [[["disk1"]]]
    assert rows(path, "frame.number", only="farbus.malformed") == []
    assert "DATA, sealed #4, counter 9, 20 bytes" in tshark(path)
    path = capture(tmp_path / "cut.pcap", [(host, w.frame(f[5], f[24:-13], EPOCH if f[5] != 0x81 else 0)) for host, f in frames])
    assert len(rows(path, "frame.number", only="farbus.malformed")) == len(frames)


def test_directions_and_l2(tmp_path):
    """A request from the remote is malformed once it is known who is who; the same frames are dissected on EtherType 0x88B5, padded."""
    ack = w.hello_ack(EPOCH, 7, "disk1")
    path = capture(tmp_path / "way.pcap", [(False, ack), (False, w.data(EPOCH, 1, 0, w.access(w.MRD, 1, 4, 0, 0, 4)))])
    assert rows(path, "frame.number", only="farbus.malformed") == [[["2"]]]
    w.pcap(tmp_path / "l2.pcap", [(1, (b"\2\0\0\0\0\2\2\0\0\0\0\1\x88\xb5\x0a\0\0\1" + w.ack(EPOCH, 5)).ljust(60, b"\0"))])
    assert rows(str(tmp_path / "l2.pcap"), "farbus.ack", "farbus.malformed") == [[["5"], []]]
