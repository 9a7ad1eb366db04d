# SPDX-License-Identifier: BSD-2-Clause
"""A host in Python, written from docs/protocol.md: talks to a remote through QEMU's `-netdev socket,udp=...`, which carries Ethernet
frames in local UDP datagrams. It answers ARP, keeps a session and asks one thing at a time; it also sends whatever it is told to,
so that a test can be a hostile host. The clock is real: time-outs are only there to end a hang."""
import os
import random
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import wire as w  # noqa: E402


class PeerError(Exception):
    pass


class Frame:
    """A frame of ours that came from the remote."""

    def __init__(self, raw):
        self.raw = raw
        _, self.version, self.type, self.length, self.epoch, self.sequence, self.ack, self.sack = struct.unpack_from("<IBBHIIII", raw)
        self.body = raw[24:]
        if self.length != len(raw):
            raise PeerError("the remote sent a frame of wrong length")

    def records(self):
        at = 0
        while at < len(self.body):
            kind, status, length, function, tag = struct.unpack_from("<BBHHH", self.body, at)
            yield kind, status, function, tag, self.body[at + 8:at + length]
            at += length


class Host:
    address, mac = "10.0.0.1", b"\x52\x54\x00\x00\x00\x01"
    remote_address = "10.0.0.2"

    def __init__(self, node="pyhost", seed=1):
        self.node = node
        self.random = random.Random(seed)
        self.boot_id = self.random.randrange(1, 1 << 32)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        # The port QEMU will receive on: free now, and taken by nobody else in the moment until QEMU starts, or its start fails loudly.
        probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        probe.bind(("127.0.0.1", 0))
        self.qemu_port = probe.getsockname()[1]
        probe.close()
        self.remote_mac = None
        self.attempt = 0
        self.close_session()

    def netdev(self):
        return ["-netdev", f"socket,id=n0,udp=127.0.0.1:{self.socket.getsockname()[1]},localaddr=127.0.0.1:{self.qemu_port}",
                "-device", "e1000e,netdev=n0,mac=52:54:00:00:00:02,addr=0x2,romfile="]

    def close(self):
        self.socket.close()

    # ---- frames ----
    def send_ethernet(self, frame):
        self.socket.sendto(frame, ("127.0.0.1", self.qemu_port))

    def send(self, frame):
        self.send_ethernet(w.ethernet(self.address, self.remote_address, frame, self.mac, self.remote_mac or b"\xff" * 6))

    def _arp(self, frame):
        if frame[20:22] == b"\0\1" and frame[38:42] == socket.inet_aton(self.address):
            self.remote_mac = frame[22:28]
            self.send_ethernet(frame[22:28] + self.mac + frame[12:20] + b"\0\2" + self.mac + frame[38:42] + frame[22:28] + frame[28:32])

    def receive(self, timeout):
        """The next frame of the protocol, or None."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                packet = self.socket.recv(4096)
            except (TimeoutError, ConnectionRefusedError):
                continue
            if packet[12:14] == b"\x08\x06":
                self._arp(packet)
            elif packet[12:14] == b"\x08\0" and packet[23] == 17 and packet[36:38] == struct.pack(">H", w.PORT):
                length = struct.unpack(">H", packet[38:40])[0]
                datagram = packet[34:34 + length]
                if packet[40:42] == b"\0\0" or w.checksum(packet[26:34] + struct.pack(">HH", 17, length) + datagram):
                    raise PeerError("a datagram with a wrong checksum, or with none")
                self.remote_mac = packet[6:12]
                return Frame(datagram[8:])
        return None

    def expect(self, what, accept, timeout=60, resend=None):
        """The first frame that `accept` takes; sends `resend` every 0.3 s."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if resend:
                self.send(resend)
            again = time.monotonic() + 0.3
            while (left := again - time.monotonic()) > 0:
                frame = self.receive(left)
                if frame and accept(frame):
                    return frame
        raise PeerError(f"no {what} in {timeout} s")

    # ---- a session ----
    def close_session(self):
        self.epoch = self.sent = self.received = 0
        self.tag = 0

    def hello(self, to, status=0, **how):
        """Opens a session; returns the body of HELLO_ACK."""
        self.close_session()
        self.attempt += 1
        self.epoch = self.random.randrange(1, 1 << 32)
        frame = w.hello(self.epoch, self.boot_id, self.node, to, self.attempt, **how)
        ack = self.expect("HELLO_ACK", lambda f: f.type == w.HELLO_ACK and f.epoch == self.epoch, resend=frame)
        if ack.body[4] != status:
            raise PeerError(f"HELLO_ACK with status {ack.body[4]}: {ack.body[48:].rstrip(bytes(1)).decode()}")
        if status == 0:
            self.send(w.ack(self.epoch, 0))
        return ack.body

    def _ours(self, frame):
        """True for the next DATA frame of the session; acknowledges what was delivered before."""
        if frame.epoch != self.epoch:
            return False
        if frame.type == w.BYE:
            raise PeerError(f"BYE: {frame.body[4:].rstrip(bytes(1)).decode()}")
        if frame.type != w.DATA:
            return False
        if frame.sequence != self.received + 1:
            self.send(w.ack(self.epoch, self.received))
            return False
        self.received += 1
        return True

    def ask(self, *records):
        """Sends the records in one frame, returns {tag: (type, status, function, data)} once each has its completion. `records`
        are functions of the tag, or (no completion awaited) bytes."""
        wanted, parts = {}, []
        for record in records:
            if callable(record):
                self.tag = (self.tag + 1) & 0xFFFF
                wanted[self.tag] = None
                parts.append(record(self.tag))
            else:
                parts.append(record)
        self.sent += 1
        self.last = w.data(self.epoch, self.sent, self.received, *parts)
        if not wanted:
            self.send(self.last)
            return {}
        while None in wanted.values():
            frame = self.expect("completion", self._ours, resend=self.last)
            for kind, status, function, tag, data in frame.records():
                if kind in (w.CPL, w.CPLD):
                    if wanted.get(tag, 0) is not None:
                        raise PeerError(f"a completion nobody asked for, tag {tag:#x}")
                    wanted[tag] = (kind, status, function, data)
        self.send(w.ack(self.epoch, self.received))
        return wanted

    def one(self, record):
        return next(iter(self.ask(record).values()))

    def attach(self, at):
        kind, status, function, data = self.one(lambda tag: w.record(w.ATTACH, 0, tag, at))
        if (kind, status) != (w.CPLD, w.SC):
            raise PeerError(f"ATTACH: status {status:#x}")
        return struct.unpack_from("<H", data)[0], data

    def read(self, handle, bar, offset, size=4, kind=w.MRD):
        cpl, status, _, data = self.one(lambda tag: w.access(kind, handle, tag, bar, offset, size))
        if cpl != w.CPLD or len(data) != size:
            return None, status
        return int.from_bytes(data, "little"), status

    def write(self, handle, bar, offset, value, size=4):
        self.ask(w.access(w.MWR, handle, 0, bar, offset, size, value.to_bytes(size, "little")))
