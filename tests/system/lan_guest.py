# SPDX-License-Identifier: BSD-2-Clause
"""What tests with guests on a LAN share: their initramfs, DHCP of busybox, lancheck (tests/linux/lancheck.c), and how much goes over TCP."""
import os
import re

from farbuslab import guest

MODULES = ["virtio_pci", "virtio_net", "8021q"]
# MiB that go there and come back, at the same time. The LAN lets a host on Bochs receive a thousand frames a second, so 64 take a minute and a half.
MIB = int(os.environ.get("FARBUS_LAN_MIB", "8"))
# With more, what counts is how many instructions a frame takes that comes in the next millisecond, not how many it takes to boot.
IPS = 150_000_000 if MIB <= 8 else 50_000_000
SECONDS = 300 + 30 * MIB  # to end a hang, on a machine that has much else to do

UDHCPC = b"""#!/bin/busybox sh
[ "$1" = bound ] || exit 0
ip addr add $ip/${mask:-24} dev $interface
echo "guest: $interface has $ip/$mask from $serverid"
"""


def udhcpd(first, last):
    """A udhcpd.conf."""
    return f"start {first}\nend {last}\ninterface eth0\nlease_file /tmp/leases\noption subnet 255.255.255.0\n".encode()


def initramfs(script, programs=(), files=None):
    """With busybox's DHCP client ready (`udhcpc -i eth0 -q -n -t 30 -s /udhcpc`) and lancheck."""
    return guest.initramfs("ip link set lo up\nip link set eth0 up\n" + script, MODULES, ["build/linux/lancheck", *programs],
                           dict({"udhcpc": UDHCPC}, **(files or {})), flavour="cloud")


def talks(text):
    """What lancheck said: [(words before the colon's numbers, {name: number})]"""
    return [(what, {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", numbers)}) for what, numbers in re.findall(r"lancheck: (\w+) (.*)$", text, re.M)]


def port(console, name):
    """The counters of a virtual NIC, as the host's console tells them: {"sent": .., "sent_bytes": .., ...}"""
    console.send("nics\n")
    line = console.expect(rf"nics: {name}: (.*)\n", 60)[1]
    result = {k: int(v) for k, v in re.findall(r"(dropped|spoofed|forbidden|malformed|held) (\d+)", line)}
    for way, frames, size in re.findall(r"(sent|received) (\d+) frames (\d+) bytes", line):
        result.update({way: int(frames), f"{way}_bytes": int(size)})
    return result
