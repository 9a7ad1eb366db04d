# SPDX-License-Identifier: BSD-2-Clause
"""A Linux guest that faults a lot, on a host of two CPUs: each fork is hundreds of page faults, and the preemption timer's exits fall between them and their handlers'
first instructions. (On one CPU the emulator takes another path: tools/bochs-mend.c.) Four CPUs: test_spread.py."""
import re

import pair
from farbuslab import guest

FORKS = """
i=0
while [ $i -lt 120 ]; do usleep 20000; ls / >/dev/null; i=$((i + 1)); done
say "$i forks"
poweroff -f
"""


def test_a_guest_that_forks(lab):
    section = "[guest linux]\nmemory = 128M\nkernel = vmlinuz\ninitrd = initrd\ncmdline = console=ttyS0,115200 panic=-1\n"
    l = lab({"host": {"host1": {"memory": 384, "cpus": 2, "ips": pair.IPS, "nic": "none", "ini": f"[node]\nname = host1\nrole = host\naddress = {pair.HOST}/24\n" + section,
                                "files": {"vmlinuz": guest.kernel("cloud"), "initrd": guest.initramfs(FORKS)}}}})
    l.start()
    console = l["host1"].console
    console.expect(r"linux: (reset|stopped: [^\n]*\n)", 600)
    assert "linux: stopped: powered off" in console.text
    assert "guest: 120 forks" in console.text
    assert re.findall(r"BUG:|Oops|stack guard|WARNING:.*at ", console.text) == []
