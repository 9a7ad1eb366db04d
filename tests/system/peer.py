# SPDX-License-Identifier: BSD-2-Clause
"""The host's end of Farbus in Python, written from docs/protocol.md and not from the C code; the wire format is in tests/wire.py.

It speaks Ethernet, ARP, IPv4, UDP and the link to a machine whose NIC is a loopback UDP socket (QEMU's `-netdev socket,udp=`), so
that a remote can be driven and attacked frame by frame without a hypervisor on the other side. Several stations may be on one cable
and several links on a station; all move on in Station.poll(). Whatever a remote must not send raises, wherever it comes. The clock
is real: time-outs are only there to end a hang. Knows nothing of QEMU or pytest.

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

import noise
import wire as w

BROADCAST = b"\xff" * 6
TIMEOUT = float(os.environ.get("FARBUS_PEER_TIMEOUT", "30"))


class PeerError(Exception):
    pass


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
        self.handshakes = []     # (ip, type, epoch, w.HelloAck or w.Bye), in order
        self.boot_ids = {}       # of the hosts that run here
        self.keys = None         # noise.Keys: then everything is sealed
        self.heartbeat = -1      # with keys: the newest counter of an announcement
        self.attempts = collections.Counter()
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

    def udp(self, ip, payload, port=w.PORT):
        self.lan.send(w.ethernet(self.ip, ip, payload, self.mac, self.resolve(ip), port))

    # --- in ---
    def receive(self, packet):
        to, source, ethertype = packet[:6], packet[6:12], packet[12:14]
        if to not in (self.mac, BROADCAST):
            return
        if ethertype == b"\x08\x06":
            op, mac, ip, _, target = struct.unpack_from(">6xH6s4s6s4s", packet, 14)
            if ip != b"\0" * 4:
                self.neighbours[socket.inet_ntoa(ip)] = mac
            if op == 1 and target == self.ip_bytes:
                self.arp(2, mac, socket.inet_ntoa(ip))
        elif (datagram := w.datagram(packet)) and (datagram.destination == self.ip or to == BROADCAST):
            if not datagram.intact:
                raise PeerError("a datagram with a wrong checksum, or with none")
            self.neighbours[datagram.source] = source
            self.farbus(w.Frame(datagram.source, datagram.payload).check())

    def unsealed(self, frame):
        """The plain frame, or None when it is for none of our sessions. What a remote must not send raises."""
        if not frame.type & noise.SEALED:
            raise PeerError("a frame that is not sealed")
        kind = frame.type & ~noise.SEALED
        if kind == w.ANNOUNCE:
            plain, counter = self.keys.announcement(frame.raw)
            if counter < self.heartbeat:
                raise PeerError("an announcement whose counter goes back")
            self.heartbeat = counter
            return w.Frame(frame.source, plain)
        for link in self.links:
            if link.epoch == frame.epoch and link.remote == frame.source:
                if kind == w.HELLO_ACK and link.noise:
                    plain = self.keys.hello_ack(link.noise, frame.raw)
                    link.session, link.noise = noise.Session(link.noise), None
                    return w.Frame(frame.source, plain)
                if kind != w.HELLO_ACK and link.session:
                    return w.Frame(frame.source, link.session.open(frame.raw))
        return None

    def farbus(self, frame):
        if self.keys:
            frame = self.unsealed(frame)
            if frame is None:
                return
            frame.check()
        if frame.type == w.ANNOUNCE:
            self.announced(frame.source, w.parse_announce(frame.body))
        elif frame.type in (w.HELLO_ACK, w.BYE):
            parse = w.parse_hello_ack if frame.type == w.HELLO_ACK else w.parse_bye
            self.handshakes.append((frame.source, frame.type, frame.epoch, parse(frame.body)))
        elif frame.type in (w.DATA, w.ACK):
            for link in self.links:
                if link.epoch == frame.epoch and link.remote == frame.source:
                    link.received(frame)
        elif frame.type == w.PROBE:
            for link in self.links:
                if link.epoch == frame.epoch and link.remote == frame.source:
                    link.probed(frame)
        else:
            raise PeerError(f"frame of type {frame.type} from a remote")

    def announced(self, ip, part):
        have = self.parts.setdefault((part.node, part.boot_id, part.generation), {})
        have[part.part] = part.functions
        self.announcement_count[part.node] += 1
        if len(have) == part.parts:
            functions = [f for n in range(part.parts) for f in have[n]]
            if len(functions) != part.total:
                raise PeerError(f"announcement of {part.node}: {len(functions)} functions, {part.total} promised")
            self.announcements[part.node] = Announcement(part.node, ip, part.boot_id, part.generation, functions)

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


Completion = collections.namedtuple("Completion", "status data kind function")


class Link:
    """The host's end of one link. Keeps what it sent, so that a test can send it again."""

    def __init__(self, station, remote, node, remote_node, frame_max=1472, capabilities=0):
        self.station, self.remote, self.node, self.remote_node = station, remote, node, remote_node
        self.boot_id = station.boot_ids.setdefault(node, random.getrandbits(31) | 1)
        self.frame_max, self.capabilities = frame_max, capabilities
        self.agreed = None  # the HELLO_ACK
        self.probes = []    # sizes of PROBEs of the remote
        self.epoch = 0
        self.noise = self.session = None  # with keys: what waits for HELLO_ACK; the keys of the session
        self.log = []                     # every frame as it was sent
        self.open_ = False
        self.keepalive = True
        self.last_sent = 0.0
        station.links.append(self)

    # --- session ---
    def hello_frame(self, epoch, **changes):
        fields = dict(boot_id=self.boot_id, attempt=self.station.attempts[self.node], frame_max=self.frame_max, capabilities=self.capabilities, node=self.node,
                      to=self.remote_node)
        return w.hello(epoch, **{**fields, **changes})

    def hello(self, **changes):
        """Says HELLO until it is answered; returns the w.HelloAck."""
        self.station.attempts[self.node] += 1
        self.epoch = random.getrandbits(32) | 1
        self.sequence = 0          # last sent
        self.acked = 0             # last acknowledged by the remote
        self.received_upto = 0     # last delivered
        self.early = {}
        self.outstanding = {}      # sequence -> (frame, time)
        self.wanted = set()        # tags of requests with completion
        self.completions = {}      # tag -> Completion, in the order in which they came
        self.events = []
        self.credit = collections.Counter()
        self.heard = 0             # frames of the session
        self.largest = 0           # bytes of one
        self.resent = 0
        self.duplicates = 0
        self.tag = 0
        hello = self.hello_frame(self.epoch, **changes)
        if self.station.keys:
            hello, self.noise = self.station.keys.hello(hello)
            self.session = None
        self.log.append(hello)
        self.say(lambda: self.station.udp(self.remote, hello), lambda: self.answers(w.HELLO_ACK), "an answer to HELLO")
        answer = self.answers(w.HELLO_ACK)[0]
        if answer.status == 0:
            if answer.version != 1 or answer.frame_max > self.frame_max or answer.capabilities & ~self.capabilities or answer.node != self.remote_node:
                raise PeerError("HELLO_ACK agrees to what was not offered")
            self.open_ = True
            self.agreed = answer
            self.send_ack()
        return answer

    def say(self, send, condition, what, seconds=None):
        """Sends it again and again until the condition holds; returns the condition's value."""
        end = time.monotonic() + (TIMEOUT if seconds is None else seconds)
        while time.monotonic() < end:
            send()
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                if value := condition():
                    return value
                self.station.poll()
        raise PeerError(f"{self.remote_node}: no {what}")

    def answers(self, kind):
        """HELLO_ACKs or BYEs of this session, so far."""
        return [h[3] for h in self.station.handshakes if h[:3] == (self.remote, kind, self.epoch)]

    def open(self):
        answer = self.hello()
        if answer.status:
            raise PeerError(f"{self.remote_node} refuses the link: {answer.why}")
        return self

    def bye(self):
        """Why the session ended, if the remote said so; else None."""
        return next(iter(self.answers(w.BYE)), None)

    def close(self, why="test is over"):
        if self.open_:
            self.raw(w.bye(self.epoch, 0, why))
        self.open_ = False
        if self in self.station.links:
            self.station.links.remove(self)

    # --- frames ---
    def raw(self, payload):
        self.last_sent = time.monotonic()
        if self.session:
            payload = self.session.seal(payload)
        self.log.append(payload)
        self.station.udp(self.remote, payload)

    def sack(self):
        return sum(1 << (s - self.received_upto - 2) for s in self.early if 2 <= s - self.received_upto < 34)

    def send_records(self, *records, sequence=None):
        """One DATA frame. Returns it; it is kept until acknowledged unless a sequence was chosen."""
        own = sequence is None
        if own:
            self.sequence += 1
            sequence = self.sequence
        data = w.data(self.epoch, sequence, self.received_upto, *records, sack=self.sack())
        if own:
            self.outstanding[sequence] = (data, time.monotonic())
        self.raw(data)
        return data

    def repeat(self, data):
        """Sends a DATA frame that the remote has already once more, until it has acknowledged that (at once: 5, Acknowledgement)."""
        heard = self.heard
        self.say(lambda: self.raw(data), lambda: self.heard > heard and self.acked == self.sequence, "acknowledgement of a duplicate")

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

    def received(self, frame):
        if not self.open_:
            return
        if frame.ack > self.sequence or frame.sack >> max(self.sequence - frame.ack - 1, 0):
            raise PeerError("the remote acknowledges what was never sent")
        self.heard += 1
        self.largest = max(self.largest, frame.size)
        self.acked = max(self.acked, frame.ack)
        for s in list(self.outstanding):
            if s <= frame.ack or (s >= frame.ack + 2 and frame.sack >> (s - frame.ack - 2) & 1):
                del self.outstanding[s]
        if frame.type == w.ACK:
            if frame.body or frame.sequence:
                raise PeerError("an ACK with a body or a sequence")
            return
        if frame.sequence <= self.received_upto or frame.sequence in self.early:
            self.duplicates += 1
        elif frame.sequence == self.received_upto + 1:
            self.deliver(frame)
            while self.received_upto + 1 in self.early:
                self.deliver(self.early.pop(self.received_upto + 1))
        else:
            self.early[frame.sequence] = frame
        self.send_ack()

    def send_ack(self):
        self.raw(w.ack(self.epoch, self.received_upto, self.sack()))

    def deliver(self, frame):
        self.received_upto += 1
        for r in frame.records():
            if r.kind in (w.CPL, w.CPLD):
                if r.tag not in self.wanted or r.tag in self.completions:
                    raise PeerError(f"a completion nobody waits for, tag {r.tag:#x}")
                if (r.kind == w.CPLD) != bool(r.body):
                    raise PeerError("CPL with data, or CPLD without")
                self.completions[r.tag] = Completion(r.status, r.body, r.kind, r.function)
            elif r.kind == w.CREDIT:
                self.credit[r.function] += struct.unpack("<HH", r.body)[0]
            else:
                self.events.append((r.kind, r.function, r.body))

    # --- larger frames (4.5) ---
    def probed(self, frame):
        if w.parse_probe(frame.body) != w.PROBE_ANSWER:
            raise PeerError("a remote answers probes and sends no others")
        self.probes.append(frame.size)

    def probe(self):
        """Do frames of the size agreed pass both ways? The remote is not told yet."""
        size = self.agreed.frame_max
        self.say(lambda: self.raw(w.probe(self.epoch, w.PROBE_ASK, size)), lambda: size in self.probes, f"answer to a probe of {size} bytes")

    # --- requests ---
    def next_tag(self):
        self.tag = self.tag % 0xFFFF + 1
        self.completions.pop(self.tag, None)
        self.wanted.add(self.tag)
        return self.tag

    def complete(self, tag, seconds=None):
        self.station.wait(lambda: tag in self.completions, f"the completion of tag {tag}", seconds)
        return self.completions[tag]

    def request(self, kind, handle, body=b""):
        tag = self.next_tag()
        self.send_records(w.record(kind, handle, tag, body))
        return self.complete(tag)

    def access(self, kind, handle, bar, offset, size, data=b""):
        tag = self.next_tag()
        self.send_records(w.access(kind, handle, tag, bar, offset, size, data))
        return self.complete(tag)

    def attach(self, address):
        """A w.Function with its handle, or a Completion when it was refused."""
        c = self.request(w.ATTACH, 0, w.pci_of(address))
        if c.status != w.SC:
            return c
        f = w.parse_attached(c.data)
        if c.function != f.handle or f.address != address or not f.busy:
            raise PeerError(f"ATTACH of {address} answered with {f} as {c.function}")
        return f

    def detach(self, f):
        return self.request(w.DETACH, f.handle).status

    def reset(self, f):
        return self.request(w.RESET, f.handle).status

    def read(self, kind, f, bar, offset, size):
        """(status, value)"""
        c = self.access(kind, f.handle, bar, offset, size)
        if len(c.data) != (size if c.status == w.SC else 0):
            raise PeerError(f"{size} bytes asked for, {len(c.data)} came with status {c.status}")
        return c.status, int.from_bytes(c.data, "little") if c.status == w.SC else None

    def write(self, kind, f, bar, offset, size, value):
        return self.access(kind, f.handle, bar, offset, size, value.to_bytes(size, "little")).status

    def cfg_rd(self, f, offset, size):
        return self.read(w.CFG_RD, f, 0, offset, size)

    def cfg_wr(self, f, offset, size, value):
        return self.write(w.CFG_WR, f, 0, offset, size, value)

    def io_rd(self, f, bar, offset, size):
        return self.read(w.IO_RD, f, bar, offset, size)

    def io_wr(self, f, bar, offset, size, value):
        return self.write(w.IO_WR, f, bar, offset, size, value)

    def mrd(self, f, bar, offset, size):
        return self.read(w.MRD, f, bar, offset, size)

    def mwr(self, f, bar, offset, size, value):
        """Posted: returns the frame it left in."""
        return self.send_records(w.access(w.MWR, f.handle, 0, bar, offset, size, value.to_bytes(size, "little")))
