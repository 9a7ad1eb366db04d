# SPDX-License-Identifier: BSD-2-Clause
"""Frames and records as docs/protocol.md describes them, written from the specification and not from the C code: a second opinion
for the dissector's test, and seeds for the fuzzers. Addresses are dotted strings, everything else numbers and bytes."""
import socket
import struct

MAGIC, VERSION, PORT = 0x53424146, 1, 51966
ANNOUNCE, HELLO, HELLO_ACK, DATA, ACK, BYE = range(1, 7)
CFG_RD, CFG_WR, IO_RD, IO_WR, MRD, MWR = range(0x01, 0x07)
CPL, CPLD = 0x10, 0x11
ATTACH, DETACH, RESET, INTERRUPTS = range(0x20, 0x24)
INTX, MSI, GONE, ERROR, CREDIT, EOI = range(0x30, 0x36)
OFF, BY_INTX, BY_MSI, BY_MSIX = range(4)
SC, UR, CRS, CA, OWNED, NOT_LENT = 0, 1, 2, 4, 0x10, 0x11


def name(text, size=32):
    return text.encode().ljust(size, b"\0")


def frame(kind, body=b"", epoch=0, sequence=0, ack=0, sack=0):
    return struct.pack("<IBBHIIII", MAGIC, VERSION, kind, 24 + len(body), epoch, sequence, ack, sack) + body


def record(kind, function=0, tag=0, body=b"", status=0):
    return struct.pack("<BBHHH", kind, status, 8 + len(body), function, tag) + body


def access(kind, function, tag, bar, offset, size, data=b""):
    return record(kind, function, tag, struct.pack("<BBHII", bar, 0, size, offset >> 32, offset & 0xFFFFFFFF) + data)


def interrupts(handle, tag, mode, count=0, wanted=()):
    bits = sum(1 << n for n in wanted)
    return record(INTERRUPTS, handle, tag, struct.pack("<BBH", mode, 0, count) + bits.to_bytes((count + 7) // 8, "little"))


def pci(bus, device, fn, segment=0):
    return struct.pack("<HBB", segment, bus, device << 3 | fn)


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


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def ethernet(source, destination, payload, source_mac=b"\2\0\0\0\0\1", destination_mac=b"\2\0\0\0\0\2"):
    """The UDP datagram in its Ethernet frame."""
    src, dst = socket.inet_aton(source), socket.inet_aton(destination)
    udp = struct.pack(">HHHH", PORT, PORT, 8 + len(payload), 0) + payload
    check = checksum(src + dst + struct.pack(">HH", 17, len(udp)) + udp) or 0xFFFF
    udp = udp[:6] + struct.pack(">H", check) + udp[8:]
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0x4000, 64, 17, 0) + src + dst
    ip = ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:]
    return destination_mac + source_mac + b"\x08\0" + ip + udp


def pcap(path, packets):
    """packets: (seconds, Ethernet frame)."""
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for seconds, packet in packets:
            f.write(struct.pack("<IIII", int(seconds), round(seconds % 1 * 1e6), len(packet), len(packet)) + packet)
