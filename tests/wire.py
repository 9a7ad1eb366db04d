# SPDX-License-Identifier: BSD-2-Clause
"""Frames and records as docs/protocol.md describes them, written from the specification and not from the C code: a second opinion
for the tests of both ends and of the dissector, and seeds for the fuzzers. IPv4 addresses are dotted strings, functions are
"0000:00:04.0", everything else numbers and bytes. Knows nothing of sessions (tests/system/peer.py does).

Whatever makes a frame takes wrong values too. What reads one raises Malformed where the specification is broken.
"""
import collections
import dataclasses
import socket
import struct

MAGIC, VERSION, PORT = 0x53424146, 1, 51966
ANNOUNCE, HELLO, HELLO_ACK, DATA, ACK, BYE, PROBE = range(1, 8)
PROBE_ASK, PROBE_ANSWER, PROBE_DONE = 1, 2, 3
CAP_AESGCM, CAP_PROBE = 1, 2
CFG_RD, CFG_WR, IO_RD, IO_WR, MRD, MWR = range(0x01, 0x07)
CPL, CPLD = 0x10, 0x11
ATTACH, DETACH, RESET, INTERRUPTS = range(0x20, 0x24)
INTX, MSI, GONE, ERROR, CREDIT, EOI = range(0x30, 0x36)
DMA_START, DMA_MAP, DMA_UNMAP, DMA_DATA, DMA_SPOILED, DMA_FAULT = range(0x40, 0x46)
DMA_CLEAR, DMA_MORE = 1, 2
OFF, BY_INTX, BY_MSI, BY_MSIX = range(4)
SC, UR, CRS, CA, OWNED, NOT_LENT, DENIED = 0, 1, 2, 4, 0x10, 0x11, 0x12

HEADER = struct.Struct("<IBBHIIII")
RECORD = struct.Struct("<BBHHH")


def name(text, size=32):
    return (text if isinstance(text, bytes) else text.encode()).ljust(size, b"\0")


def frame(kind, body=b"", epoch=0, sequence=0, ack=0, sack=0, length=None, magic=MAGIC, version=VERSION):
    length = HEADER.size + len(body) if length is None else length
    return HEADER.pack(magic, version, kind, length & 0xFFFF, epoch, sequence, ack, sack) + body


def record(kind, function=0, tag=0, body=b"", status=0, length=None):
    length = RECORD.size + len(body) if length is None else length
    return RECORD.pack(kind, status, length & 0xFFFF, function, tag) + body


def access(kind, function, tag, bar, offset, size, data=b"", reserved=0, **fields):
    return record(kind, function, tag, struct.pack("<BBHII", bar, reserved, size, offset >> 32, offset & 0xFFFFFFFF) + data, **fields)


def interrupts(handle, tag, mode, count=0, wanted=()):
    bits = sum(1 << n for n in wanted)
    return record(INTERRUPTS, handle, tag, struct.pack("<BBH", mode, 0, count) + bits.to_bytes((count + 7) // 8, "little"))


def dma_map(handle, iova, slot, generation, access):
    return record(DMA_MAP, handle, 0, struct.pack("<QIIB7x", iova, slot, generation, access))


def dma_unmap(handle, iova, pages, seen):
    return record(DMA_UNMAP, handle, 0, struct.pack("<QII", iova, pages, seen))


def dma_data(handle, slot, generation=0, flags=0, runs=()):
    """runs: (offset, bytes)."""
    body = b"".join(struct.pack("<HH", offset, len(content)) + content for offset, content in runs)
    return record(DMA_DATA, handle, 0, struct.pack("<IIB3x", slot, generation, flags) + body)


def pci(bus, device, fn, segment=0):
    return struct.pack("<HBB", segment, bus, device << 3 | fn)


def pci_of(text):
    """pci() of "0000:00:04.0"."""
    segment, bus, rest = text.split(":")
    device, fn = rest.split(".")
    return pci(int(bus, 16), int(device, 16), int(fn, 16), int(segment, 16))


def function(at, vendor, device, cls=(0, 0, 0), bars=(), pin=0, flags=0, subsystem=(0, 0), revision=0):
    """bars: up to six of (size, kind)."""
    body = at + struct.pack("<HHHH", vendor, device, *subsystem) + bytes([*cls, revision, pin, flags, 0, 0])
    for size, kind in list(bars) + [(0, 0)] * (6 - len(bars)):
        body += struct.pack("<QB3x", size, kind)
    return body


def announce(node, boot_id, functions, generation=1, part=0, parts=1, first=0, total=None):
    total = len(functions) if total is None else total
    body = name(node) + struct.pack("<IIHBBHHI", boot_id, generation, total, part, parts, first, len(functions), 0)
    return frame(ANNOUNCE, body + b"".join(functions))


def hello(epoch, boot_id, node, to, attempt=1, versions=(1, 1), frame_max=1472, capabilities=0):
    return frame(HELLO, struct.pack("<IIBBHI", boot_id, attempt, *versions, frame_max, capabilities) + name(node) + name(to), epoch)


def hello_ack(epoch, boot_id, node, status=0, version=1, frame_max=1472, capabilities=0, why=""):
    return frame(HELLO_ACK, struct.pack("<IBBHII", boot_id, status, version, frame_max, capabilities, 0) + name(node) + name(why, 64), epoch)


def data(epoch, sequence, ack, *records, sack=0):
    return frame(DATA, b"".join(records), epoch, sequence, ack, sack)


def ack(epoch, acknowledged, sack=0):
    return frame(ACK, b"", epoch, 0, acknowledged, sack)


def bye(epoch, reason, why=""):
    return frame(BYE, struct.pack("<B3x", reason) + name(why, 60), epoch)


def probe(epoch, kind, size=32):
    """size: of the whole frame."""
    return frame(PROBE, bytes([kind]).ljust(size - HEADER.size, b"\0"), epoch)


# ---- reading ----
class Malformed(Exception):
    pass


def text(field):
    """Of a name or a sentence: padded with NUL, and nothing behind the first one."""
    content = field.rstrip(b"\0")
    if b"\0" in content:
        raise Malformed(f"something behind the end of a string: {field!r}")
    return content.decode("ascii")


@dataclasses.dataclass
class Record:
    kind: int
    status: int
    function: int
    tag: int
    body: bytes

    @property
    def data(self):
        """What a write carries."""
        return self.body[12:]


DmaData = collections.namedtuple("DmaData", "slot generation flags runs")


def parse_dma_data(body):
    slot, generation, flags, reserved = struct.unpack_from("<IIB3s", body)
    runs, at, last = [], 12, -1
    while at < len(body):
        offset, size = struct.unpack_from("<HH", body, at)
        if not size or offset <= last or offset + size > 4096 or at + 4 + size > len(body):
            raise Malformed(f"a run of DMA_DATA: {offset}+{size}")
        runs.append((offset, body[at + 4:at + 4 + size]))
        last = offset + size
        at += 4 + size
    if reserved != b"\0\0\0" or flags & ~3:
        raise Malformed("a field of DMA_DATA that cannot be")
    return DmaData(slot, generation, flags, runs)


class Frame:
    """One frame, as it came from the IPv4 address `source`."""

    def __init__(self, source, raw):
        if len(raw) < HEADER.size:
            raise Malformed(f"a frame of {len(raw)} bytes")
        self.source, self.raw, self.size, self.body = source, raw, len(raw), raw[HEADER.size:]
        self.magic, self.version, self.type, self.length, self.epoch, self.sequence, self.ack, self.sack = HEADER.unpack_from(raw)

    def check(self):
        if (self.magic, self.version, self.length) != (MAGIC, VERSION, self.size):
            raise Malformed(f"the header of a frame: {self.raw[:24].hex()}")
        return self

    def records(self):
        """None unless it is DATA."""
        result, at = [], 0
        while self.type == DATA and at < len(self.body):
            if len(self.body) - at < RECORD.size:
                raise Malformed("a record shorter than its header")
            kind, status, length, function, tag = RECORD.unpack_from(self.body, at)
            if length < RECORD.size or at + length > len(self.body):
                raise Malformed("a record runs over its frame")
            result.append(Record(kind, status, function, tag, self.body[at + RECORD.size:at + length]))
            at += length
        return result


@dataclasses.dataclass
class Function:
    """Section 7; `handle` and `credits` once it is attached."""
    address: str
    vendor: int
    device: int
    subsystem: tuple  # (vendor, device)
    class_code: int   # class, subclass
    prog_if: int
    revision: int
    pin: int
    flags: int
    bars: list        # six of (kind, size, prefetchable); kind: "", "io", "mem32", "mem64"
    handle: int = 0
    credits: int = 0

    SIZE = 92

    @property
    def busy(self):
        return bool(self.flags & 1)

    @classmethod
    def parse(cls, data):
        segment, bus, devfn, vendor, device, sv, sd, cc, sc, pi, revision, pin, flags, reserved = struct.unpack_from("<HBBHHHHBBBBBBH", data)
        if reserved or pin > 4 or flags & ~15:
            raise Malformed("a field of a function that cannot be")
        bars = []
        for i in range(6):
            size, kind, zero = struct.unpack_from("<QB3s", data, 20 + 12 * i)
            if zero != b"\0\0\0" or kind & 0x7F > 3:
                raise Malformed("a field of a BAR that cannot be")
            bars.append((("", "io", "mem32", "mem64")[kind & 0x7F], size, bool(kind & 0x80)))
        at = f"{segment:04x}:{bus:02x}:{devfn >> 3:02x}.{devfn & 7:x}"
        return cls(at, vendor, device, (sv, sd), cc << 8 | sc, pi, revision, pin, flags, bars)


Announced = collections.namedtuple("Announced", "node boot_id generation total part parts first functions")
HelloAck = collections.namedtuple("HelloAck", "boot_id status version frame_max capabilities node why")
Bye = collections.namedtuple("Bye", "reason why")


def parse_announce(body):
    """One part of a list."""
    node, boot_id, generation, total, part, parts, first, count, reserved = struct.unpack_from("<32sIIHBBHHI", body)
    if reserved or not boot_id or part >= parts or first + count > total or len(body) != 52 + count * Function.SIZE:
        raise Malformed(f"an announcement of {node}")
    functions = [Function.parse(body[52 + i * Function.SIZE:]) for i in range(count)]
    return Announced(text(node), boot_id, generation, total, part, parts, first, functions)


def parse_hello_ack(body):
    boot_id, status, version, frame_max, capabilities, reserved, node, why = struct.unpack("<IBBHII32s64s", body)
    if reserved:
        raise Malformed("the reserved field of HELLO_ACK is set")
    return HelloAck(boot_id, status, version, frame_max, capabilities, text(node), text(why))


def parse_bye(body):
    reason, reserved, why = struct.unpack("<B3s60s", body)
    if reserved != b"\0\0\0" or reason > 3:
        raise Malformed("a field of BYE that cannot be")
    return Bye(reason, text(why))


def parse_probe(body):
    if len(body) < 8 or body[0] not in (PROBE_ASK, PROBE_ANSWER, PROBE_DONE) or any(body[1:]):
        raise Malformed("a PROBE that cannot be")
    return body[0]


def parse_attached(data):
    """The data of ATTACH's successful answer."""
    if len(data) != 4 + Function.SIZE:
        raise Malformed(f"ATTACH answered with {len(data)} bytes")
    f = Function.parse(data[4:])
    f.handle, f.credits = struct.unpack_from("<HH", data)
    return f


# ---- carriers ----
def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def ethernet(source, destination, payload, source_mac=b"\2\0\0\0\0\1", destination_mac=b"\2\0\0\0\0\2", port=PORT):
    """The UDP datagram in its Ethernet frame."""
    src, dst = socket.inet_aton(source), socket.inet_aton(destination)
    udp = struct.pack(">HHHH", PORT, port, 8 + len(payload), 0) + payload
    check = checksum(src + dst + struct.pack(">HH", 17, len(udp)) + udp) or 0xFFFF
    udp = udp[:6] + struct.pack(">H", check) + udp[8:]
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0x4000, 64, 17, 0) + src + dst
    ip = ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:]
    return destination_mac + source_mac + b"\x08\0" + ip + udp


Datagram = collections.namedtuple("Datagram", "source destination payload intact")
ETHERTYPE = b"\x88\xb5"


def ethernet_l2(source, payload, source_mac=b"\2\0\0\0\0\1", destination_mac=b"\2\0\0\0\0\2"):
    """The frame on the l2 carrier, padded."""
    return (destination_mac + source_mac + ETHERTYPE + socket.inet_aton(source) + payload).ljust(60, b"\0")


def datagram(packet):
    """What an Ethernet frame carries to our port, or by l2 (then destination is None), or None. intact: both checksums are there and
    right; by l2: nothing but padding behind the frame."""
    if packet[12:14] == ETHERTYPE and len(packet) >= 18 + 24:
        length = struct.unpack_from("<H", packet, 24)[0]
        return Datagram(socket.inet_ntoa(packet[14:18]), None, packet[18:18 + length], length == len(packet) - 18 or len(packet) <= 60)
    if len(packet) < 42 or packet[12:15] != b"\x08\0\x45" or packet[23] != 17 or packet[36:38] != struct.pack(">H", PORT):
        return None
    length = struct.unpack_from(">H", packet, 38)[0]
    udp, addresses = packet[34:34 + length], packet[26:34]
    intact = not checksum(packet[14:34]) and udp[6:8] != b"\0\0" and not checksum(addresses + struct.pack(">HH", 17, length) + udp)
    return Datagram(socket.inet_ntoa(addresses[:4]), socket.inet_ntoa(addresses[4:]), udp[8:], intact)


def pcap(path, packets):
    """packets: (seconds, Ethernet frame)."""
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for seconds, packet in packets:
            f.write(struct.pack("<IIII", int(seconds), round(seconds % 1 * 1e6), len(packet), len(packet)) + packet)


def packets(path):
    """The Ethernet frames of a capture."""
    with open(path, "rb") as f:
        content = f.read()
    at = 24
    while at + 16 <= len(content):
        size = struct.unpack_from("<I", content, at + 8)[0]
        yield content[at + 16:at + 16 + size]
        at += 16 + size
