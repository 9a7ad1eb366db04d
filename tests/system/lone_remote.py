# SPDX-License-Identifier: BSD-2-Clause
"""A laboratory without a hypervisor: a real remote (remote-fw.elf on QEMU q35, started through OVMF and our loader) with one function of
each kind, and at the other end of its cable hosts written from the specification (peer.py). The fixtures `remote` and `link` are in
conftest.py.

What a device really did is asked of QEMU, not of the remote: its monitor shows BARs and registers, and the serial card's output is a
file in which every transmitted byte stands once.
"""
import re
import socket
import time

import peer
from farbuslab import Lab

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

    def __init__(self, work, ini=INI, args=(), nic="e1000e", **machine):
        """Starts it. nic: QEMU's -device; machine: more keys of docs/lab.md."""
        ours, theirs = free_udp_ports(2)
        self.lab = Lab({"remote": {NODE: {
            "ini": ini, "memory": 256, "cpus": 2, "nic": "none",
            "drives": [{"id": "nv", "text": "farbus", "size": "16M"}],
            "devices": ["nvme,drive=nv,serial=farbus,addr=4", "edu,addr=5", "pci-testdev,addr=6"],
            "args": ["-netdev", f"socket,id=n0,udp=127.0.0.1:{ours},localaddr=127.0.0.1:{theirs}",
                     "-device", f"{nic},netdev=n0,mac=52:54:00:fb:00:02,addr=2,romfile=",
                     "-chardev", "file,id=card,path=@WORK@/card.out", "-device", "pci-serial,chardev=card,addr=7",
                     "-device", "e1000e,addr=8,romfile=",
                     "-device", "pcie-root-port,id=rp,chassis=1,addr=9", "-device", "virtio-rng-pci,bus=rp,disable-legacy=on",
                     *args], **machine}}}, work)
        self.machine = self.lab[NODE]
        self.console = self.machine.console
        self.lan = peer.Lan(ours, theirs)
        self.hosts = 0
        self.seen_upto = 0
        self.machine.start()
        self.host = self.station()

    def station(self):
        self.hosts += 1
        return peer.Station(self.lan, f"02:00:00:00:00:{self.hosts:02x}", f"10.9.0.{100 + self.hosts}")

    def sealed_link(self, node, keys):
        """A link of a host with these keys (noise.Keys), not yet opened, at a station of its own."""
        station = self.station()
        station.keys = keys
        return peer.Link(station, IP, node, NODE)

    def link(self, node, station=None, **offers):
        return peer.Link(station or self.host, IP, node, NODE, **offers).open()

    def all_free(self):
        self.host.wait_announcement(NODE, lambda a: not any(f.busy for f in a.functions))

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
        return {k: int(v) for k, v in re.findall(r"counters: (.+?): (\d+)", text[text.rindex("counters: executed CfgRd"):])}

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
