# SPDX-License-Identifier: BSD-2-Clause
"""Unmodified Debian kernels in guests of 80 MiB and of more than a gigabyte: each has what its section says, and finds in every page what it wrote there.
The cloud kernel unpacks itself into 51.5 MiB from 16 MiB on: 64 MiB are too few for it on any machine, and are refused."""
import re

from farbuslab import guest

SIZES = {"small": (80, 4), "large": (1200, 1032)}  # MiB: of the guest, and written
INIT = r"""
say "total $(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)"
size=4
grep -q large /proc/cmdline && size=1032
must memcheck $size
say "done"
poweroff -f
"""


def test_guests_small_and_large(lab):
    ini = "[node]\nname = host1\nrole = host\naddress = 10.7.0.1/24\n" + "".join(
        f"[guest {name}]\nmemory = {size}M\nkernel = vmlinuz\ninitrd = initrd\ncmdline = console=ttyS0,115200 panic=-1 quiet {name}\n"
        for name, (size, _) in {"few": (64, 0), **SIZES}.items())
    l = lab({"host": {"host1": {"machine": "bochs", "memory": 1536, "nic": "none", "ini": ini,
                                "files": {"vmlinuz": guest.kernel("cloud"), "initrd": guest.initramfs(INIT, programs=["build/linux/memcheck"])}}}})
    l.start()
    console = l["host1"].console
    for name in SIZES:
        if not console.seen(rf"{name}: stopped: powered off"):
            console.expect(rf"{name}: stopped: powered off", 300)
    assert console.seen(r"few: error: not started: kernel vmlinuz does not fit the guest's memory: give it more")
    for name, (size, written) in SIZES.items():
        said = re.findall(rf"^(?:\S+> )?{name}\| (?:guest: )?((?:total|memcheck|done|FAILED).*)$", console.text, re.M)
        total = int(re.fullmatch(r"total (\d+)", said[0])[1])
        assert size * 960 - 40960 < total <= size * 1024  # the kernel has kept its own part
        assert said[1:] == [f"memcheck: pages={written * 256} wrong=0", "done"]
