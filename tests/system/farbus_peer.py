# SPDX-License-Identifier: BSD-2-Clause
"""A second implementation of the host's end of Farbus (docs/protocol.md), in Python, from the specification.

It speaks Ethernet, ARP, IPv4, UDP and the link to a machine whose NIC is a loopback UDP socket (QEMU's `-netdev socket,udp=`), so
that a remote can be driven and attacked frame by frame without a hypervisor on the other side. Knows nothing of QEMU or pytest.

  lan = Lan(local_port, peer_port)           one cable; any number of stations on it
  host = Station(lan, "02:00:00:00:00:01", "10.0.0.1")
  a = host.wait_announcement("disk1")
  link = Link(host, a.address, "alpha", "disk1").open()
  f = link.attach("0000:00:04.0")
  link.cfg_rd(f, 0, 4)
"""
import collections
import dataclasses
import os
import random
import select
import socket
import struct
import time

PORT, MAGIC, VERSION = 51966, 0x53424146, 1
ANNOUNCE, HELLO, HELLO_ACK, DATA, ACK, BYE = range(1, 7)
CFG_RD, CFG_WR, IO_RD, IO_WR, MRD, MWR = range(1, 7)
CPL, CPLD, ATTACH, DETACH, RESET = 0x10, 0x11, 0x20, 0x21, 0x22
INTX, MSI, GONE, ERROR, CREDIT = range(0x30, 0x35)
SC, UR, CRS, CA, OWNED, NOT_LENT = 0, 1, 2, 4, 0x10, 0x11
FRAME = struct.Struct("<IBBHIIII")
RECORD = struct.Struct("<BBHHH")
ACCESS = struct.Struct("<BBHII")
FUNCTION = struct.Struct("<HBBHHHHBBBBBBH")
FUNCTION_SIZE = 92
BROADCAST = b"\xff" * 6
TIMEOUT = float(os.environ.get("FARBUS_PEER_TIMEOUT", "30"))


class PeerError(Exception):
    pass


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pci_address(text):
    """"0000:00:04.0" -> (segment, bus, devfn)"""
    segment, bus, rest = text.split(":")
    device, function = rest.split(".")
    return int(segment, 16), int(bus, 16), int(device, 16) << 3 | int(function, 16)


@dataclasses.dataclass
class Function:
    """struct wire_function"""
    address: str
    vendor: int
    device: int
    subsystem: tuple
    class_code: int  # class, subclass
    prog_if: int
    revision: int
    pin: int
    flags: int
    bars: list  # of (kind, size, prefetchable); kind: "", "io", "mem32", "mem64"
    handle: int = 0
    credits: int = 0

    @property
    def busy(self):
        return bool(self.flags & 1)

    @classmethod
    def parse(cls, data):
        seg, bus, devfn, vendor, device, sv, ss, cc, sc, pi, rev, pin, flags, reserved = FUNCTION.unpack_from(data)
        if reserved:
            raise PeerError("reserved field of a function is set")
        bars = []
        for i in range(6):
            size, kind, zero = struct.unpack_from("<QB3s", data, FUNCTION.size + 12 * i)
            if zero != b"\0\0\0":
                raise PeerError("reserved field of a BAR is set")
            bars.append((("", "io", "mem32", "mem64")[kind & 0x7F], size, bool(kind & 0x80)))
        at = f"{seg:04x}:{bus:02x}:{devfn >> 3:02x}.{devfn & 7:x}"
        return cls(at, vendor, device, (sv, ss), cc << 8 | sc, pi, rev, pin, flags, bars)


@dataclasses.dataclass
class Announcement:
    node: str
    address: str
    boot_id: int
    generation: int
    functions: list


class Lan:
    """One cable end: Ethernet frames as UDP datagrams over loopback."""

    def __init__(self, local_port, peer_port):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind(("127.0.0.1", local_port))
        self.peer = ("127.0.0.1", peer_port)
        self.stations = []

    def close(self):
        self.socket.close()

    def send(self, frame):
        try:
            self.socket.sendto(frame.ljust(60, b"\0"), self.peer)
        except ConnectionRefusedError:
            pass  # the machine is not there (yet)

    def poll(self, seconds):
        """Hands one frame to every station; False when none came in time."""
        if not select.select([self.socket], [], [], seconds)[0]:
            return False
        try:
            frame = self.socket.recv(65536)
        except ConnectionRefusedError:
            return True
        for station in self.stations:
            station.receive(frame)
        return True


class Station:
    """An IPv4 host on the cable: answers ARP and sorts Farbus datagrams."""

    def __init__(self, lan, mac, ip):
        self.lan, self.ip = lan, ip
        self.mac = bytes.fromhex(mac.replace(":", ""))
        self.ip_bytes = socket.inet_aton(ip)
        self.neighbours = {}
        self.announcements = {}  # node -> Announcement
        self.announcement_count = collections.Counter()
        self.parts = {}
        self.links = []
        self.handshakes = []     # (ip, type, epoch, body) of HELLO_ACK and BYE, in order
        lan.stations.append(self)

    # --- out ---
    def ethernet(self, to, ethertype, payload):
        self.lan.send(to + self.mac + struct.pack(">H", ethertype) + payload)

    def arp(self, op, to_mac, ip):
        self.ethernet(to_mac, 0x0806, struct.pack(">HHBBH6s4s6s4s", 1, 0x800, 6, 4, op, self.mac, self.ip_bytes,
                                                  b"\0" * 6 if op == 1 else to_mac, socket.inet_aton(ip)))

    def resolve(self, ip):
        end = time.monotonic() + TIMEOUT
        while ip not in self.neighbours:
            if time.monotonic() > end:
                raise PeerError(f"{ip} does not answer ARP")
            self.arp(1, BROADCAST, ip)
            self.lan.poll(0.2)
        return self.neighbours[ip]

    def udp(self, ip, payload, source_port=PORT, port=PORT):
        mac = self.resolve(ip)
        to = socket.inet_aton(ip)
        length = 8 + len(payload)
        head = struct.pack(">HHHH", source_port, port, length, 0)
        pseudo = self.ip_bytes + to + struct.pack(">BBH", 0, 17, length)
        head = head[:6] + struct.pack(">H", checksum(pseudo + head + payload) or 0xFFFF)
        ip_head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + length, random.getrandbits(16), 0x4000, 64, 17, 0, self.ip_bytes, to)
        ip_head = ip_head[:10] + struct.pack(">H", checksum(ip_head)) + ip_head[12:]
        self.ethernet(mac, 0x0800, ip_head + head + payload)

    # --- in ---
    def receive(self, frame):
        to, source, ethertype = frame[:6], frame[6:12], struct.unpack_from(">H", frame, 12)[0]
        if to not in (self.mac, BROADCAST):
            return
        if ethertype == 0x0806:
            op, mac, ip, _, target = struct.unpack_from(">6xH6s4s6s4s", frame, 14)
            if ip != b"\0" * 4:
                self.neighbours[socket.inet_ntoa(ip)] = mac
            if op == 1 and target == self.ip_bytes:
                self.arp(2, mac, socket.inet_ntoa(ip))
        elif ethertype == 0x0800 and frame[14] == 0x45 and frame[23] == 17:
            total = struct.unpack_from(">H", frame, 16)[0]
            packet = frame[14:14 + total]
            if checksum(packet[:20]):
                raise PeerError("bad IPv4 checksum from the remote")
            ip, dest = socket.inet_ntoa(packet[12:16]), packet[16:20]
            port, length, udp_sum = struct.unpack_from(">2xHHH", packet, 20)
            if udp_sum and checksum(packet[12:20] + struct.pack(">BBH", 0, 17, length) + packet[20:20 + length]):
                raise PeerError("bad UDP checksum from the remote")
            if port == PORT and (dest == self.ip_bytes or to == BROADCAST):
                self.neighbours[ip] = source
                self.farbus(ip, packet[28:20 + length])

    def farbus(self, ip, frame):
        magic, version, kind, length, epoch, sequence, ack, sack = FRAME.unpack_from(frame)
        if magic != MAGIC or version != VERSION or length != len(frame):
            raise PeerError(f"malformed frame from {ip}: {frame[:24].hex()}")
        body = frame[FRAME.size:]
        if kind == ANNOUNCE:
            self.announced(ip, body)
        elif kind in (HELLO_ACK, BYE):
            self.handshakes.append((ip, kind, epoch, body))
        elif kind in (DATA, ACK):
            for link in self.links:
                if link.epoch == epoch and link.remote == ip:
                    link.received(kind, sequence, ack, sack, body)
        else:
            raise PeerError(f"frame of type {kind} from a remote")

    def announced(self, ip, body):
        node, boot_id, generation, total, part, parts, first, count, reserved = struct.unpack_from("<32sIIHBBHHI", body)
        node = node.rstrip(b"\0").decode()
        if reserved or part >= parts or first + count > total or len(body) != 52 + count * FUNCTION_SIZE:
            raise PeerError(f"malformed announcement of {node}")
        have = self.parts.setdefault((node, boot_id, generation), {})
        have[part] = [Function.parse(body[52 + i * FUNCTION_SIZE:]) for i in range(count)]
        self.announcement_count[node] += 1
        if len(have) == parts:
            functions = [f for p in range(parts) for f in have[p]]
            if len(functions) != total:
                raise PeerError(f"announcement of {node}: {len(functions)} functions, {total} promised")
            self.announcements[node] = Announcement(node, ip, boot_id, generation, functions)

    def poll(self, seconds=0.05):
        got = self.lan.poll(seconds)
        for station in self.lan.stations:
            for link in station.links:
                link.tick()
        return got

    def wait(self, condition, what, seconds=None):
        end = time.monotonic() + (TIMEOUT if seconds is None else seconds)
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                raise PeerError(f"waited in vain for {what}")
            self.poll()

    def wait_announcement(self, node, condition=lambda a: True, seconds=None):
        return self.wait(lambda: (a := self.announcements.get(node)) and condition(a) and a, f"an announcement of {node}", seconds)


def frame(kind, epoch=0, sequence=0, ack=0, sack=0, body=b"", length=None, magic=MAGIC, version=VERSION):
    """One frame; every field can be chosen wrongly."""
    length = FRAME.size + len(body) if length is None else length
    return FRAME.pack(magic, version, kind, length & 0xFFFF, epoch, sequence, ack, sack) + body


def record(kind, function=0, tag=0, body=b"", status=0, length=None):
    length = RECORD.size + len(body) if length is None else length
    return RECORD.pack(kind, status, length & 0xFFFF, function, tag) + body


def access(bar, offset, size, data=b"", reserved=0):
    return ACCESS.pack(bar, reserved, size, offset >> 32, offset & 0xFFFFFFFF) + data


Completion = collections.namedtuple("Completion", "status data kind function")


class Link:
    """The host's end of one link. Keeps what it sent, so that a test can send it again."""
    boot_ids = {}
    attempts = collections.Counter()

    def __init__(self, station, remote, node, remote_node, frame_max=1472):
        self.station, self.remote, self.node, self.remote_node = station, remote, node, remote_node
        self.frame_max = frame_max
        self.epoch = 0
        self.open_ = False
        self.keepalive = True
        self.last_sent = 0.0
        station.links.append(self)

    # --- session ---
    def hello_frame(self, epoch, **changes):
        boot_id = self.boot_ids.setdefault((self.station.ip, self.node), random.getrandbits(31) | 1)
        fields = dict(boot_id=boot_id, attempt=self.attempts[self.node], version_min=1, version_max=1, frame_max=self.frame_max,
                      capabilities=0, node=self.node.encode(), to=self.remote_node.encode())
        fields.update(changes)
        return frame(HELLO, epoch, body=struct.pack("<IIBBHI32s32s", *fields.values()))

    def hello(self, **changes):
        """Says HELLO until it is answered; returns (status, why)."""
        self.attempts[self.node] += 1
        self.epoch = random.getrandbits(32) | 1
        self.sequence = 0          # last sent
        self.acked = 0             # last acknowledged by the remote
        self.received_upto = 0     # last delivered
        self.early = {}
        self.outstanding = {}      # sequence -> (frame, time)
        self.completions = {}
        self.events = []
        self.credit = collections.Counter()
        self.resent = 0
        self.duplicates = 0
        self.tag = 0
        wanted = (self.remote, HELLO_ACK, self.epoch)
        hello = self.hello_frame(self.epoch, **changes)
        end = time.monotonic() + TIMEOUT
        while True:
            self.station.udp(self.remote, hello)
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                for h in self.station.handshakes:
                    if h[:3] == wanted:
                        return self.hello_acked(h[3])
                self.station.poll(0.05)
            if time.monotonic() > end:
                raise PeerError(f"{self.remote_node} does not answer HELLO")

    def hello_acked(self, body):
        boot_id, status, version, frame_max, caps, reserved, node, why = struct.unpack("<IBBHII32s64s", body)
        if reserved:
            raise PeerError("reserved field of HELLO_ACK is set")
        self.remote_boot_id = boot_id
        if status == 0:
            if version != 1 or frame_max > self.frame_max or caps or node.rstrip(b"\0").decode() != self.remote_node:
                raise PeerError("HELLO_ACK agrees to what was not offered")
            self.agreed_frame = frame_max
            self.open_ = True
        return status, why.rstrip(b"\0").decode()

    def open(self):
        status, why = self.hello()
        if status:
            raise PeerError(f"{self.remote_node} refuses the link: {why}")
        return self

    def bye(self):
        """Tells why the session ended, if the remote said so; else None."""
        for ip, kind, epoch, body in self.station.handshakes:
            if (ip, kind, epoch) == (self.remote, BYE, self.epoch):
                reason, zero, why = struct.unpack("<B3s60s", body)
                return reason, why.rstrip(b"\0").decode()
        return None

    def close(self, why="test is over"):
        if self.open_:
            self.raw(frame(BYE, self.epoch, body=struct.pack("<B3s60s", 0, b"\0" * 3, why.encode())))
        self.open_ = False
        if self in self.station.links:
            self.station.links.remove(self)

    # --- frames ---
    def raw(self, payload):
        self.last_sent = time.monotonic()
        self.station.udp(self.remote, payload)

    def sack(self):
        return sum(1 << (s - self.received_upto - 2) for s in self.early if 2 <= s - self.received_upto < 34)

    def send_records(self, *records, sequence=None):
        """One DATA frame. Returns it; it is kept until acknowledged unless a sequence was chosen."""
        own = sequence is None
        if own:
            self.sequence += 1
            sequence = self.sequence
        data = frame(DATA, self.epoch, sequence, self.received_upto, self.sack(), b"".join(records))
        if own:
            self.outstanding[sequence] = (data, time.monotonic())
        self.raw(data)
        return data

    def tick(self):
        if not self.open_:
            return
        if self.keepalive and time.monotonic() - self.last_sent > 0.3:
            self.send_ack()
        for sequence, (data, sent) in list(self.outstanding.items()):
            if time.monotonic() - sent > 0.5:
                self.outstanding[sequence] = (data, time.monotonic())
                self.resent += 1
                self.raw(data)

    def received(self, kind, sequence, ack, sack, body):
        if not self.open_:
            return
        if ack > self.sequence:
            raise PeerError("the remote acknowledges what was never sent")
        self.acked = max(self.acked, ack)
        for s in list(self.outstanding):
            if s <= ack or (s >= ack + 2 and sack >> (s - ack - 2) & 1):
                del self.outstanding[s]
        if kind == ACK:
            return
        if sequence <= self.received_upto or sequence in self.early:
            self.duplicates += 1
        elif sequence == self.received_upto + 1:
            self.deliver(body)
            while self.received_upto + 1 in self.early:
                self.deliver(self.early.pop(self.received_upto + 1))
        else:
            self.early[sequence] = body
        self.send_ack()

    def send_ack(self):
        self.raw(frame(ACK, self.epoch, 0, self.received_upto, self.sack()))

    def deliver(self, body):
        self.received_upto += 1
        at = 0
        while at < len(body):
            kind, status, length, function, tag = RECORD.unpack_from(body, at)
            if length < RECORD.size or at + length > len(body):
                raise PeerError("record runs over its frame")
            data = body[at + RECORD.size:at + length]
            if kind in (CPL, CPLD):
                if tag in self.completions:
                    raise PeerError(f"tag {tag} completed twice")
                if (kind == CPLD) != bool(data):
                    raise PeerError("CPL with data, or CPLD without")
                self.completions[tag] = Completion(status, data, kind, function)
            elif kind == CREDIT:
                self.credit[function] += struct.unpack("<HH", data)[0]
            else:
                self.events.append((kind, function, data))
            at += length

    # --- requests ---
    def next_tag(self):
        self.tag = self.tag % 0xFFFF + 1
        self.completions.pop(self.tag, None)
        return self.tag

    def complete(self, tag, seconds=None):
        self.station.wait(lambda: tag in self.completions, f"the completion of tag {tag}", seconds)
        return self.completions[tag]

    def request(self, kind, handle, body=b""):
        tag = self.next_tag()
        self.send_records(record(kind, handle, tag, body))
        return self.complete(tag)

    def attach(self, address):
        """A Function with its handle, or a Completion when it was refused."""
        c = self.request(ATTACH, 0, struct.pack("<HBB", *pci_address(address)))
        if c.status != SC:
            return c
        handle, credits = struct.unpack_from("<HH", c.data)
        f = Function.parse(c.data[4:])
        f.handle, f.credits = handle, credits
        return f

    def detach(self, f):
        return self.request(DETACH, f.handle).status

    def reset(self, f):
        return self.request(RESET, f.handle).status

    def read(self, kind, f, bar, offset, size):
        c = self.request(kind, f.handle, access(bar, offset, size))
        if c.status == SC and len(c.data) != size:
            raise PeerError(f"{size} bytes asked for, {len(c.data)} came")
        return c.status, int.from_bytes(c.data, "little") if c.status == SC else None

    def cfg_rd(self, f, offset, size):
        return self.read(CFG_RD, f, 0, offset, size)

    def cfg_wr(self, f, offset, size, value):
        return self.request(CFG_WR, f.handle, access(0, offset, size, value.to_bytes(size, "little"))).status

    def io_rd(self, f, bar, offset, size):
        return self.read(IO_RD, f, bar, offset, size)

    def io_wr(self, f, bar, offset, size, value):
        return self.request(IO_WR, f.handle, access(bar, offset, size, value.to_bytes(size, "little"))).status

    def mrd(self, f, bar, offset, size):
        return self.read(MRD, f, bar, offset, size)

    def mwr(self, f, bar, offset, size, value):
        """Posted: returns the frame it left in."""
        return self.send_records(record(MWR, f.handle, 0, access(bar, offset, size, value.to_bytes(size, "little"))))
