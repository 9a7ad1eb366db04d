# SPDX-License-Identifier: BSD-2-Clause
"""The laboratory of the tests in which an unmodified Linux guest drives real devices of a remote: one host, one remote whose IOMMU is on, one LAN, a
guest of two vCPUs. What the guest prints is read here; what it wrote is looked up in the drive's image when the machines are gone."""
import hashlib
import os
import re
import subprocess

import pair
from farbuslab import guest

IPS = 150_000_000  # the LAN's speed is one received frame a millisecond of the host's time, so a slow clock makes slow transfers
NVME = "nvme,drive=disk,serial=farbus,dbcs=off"  # why dbcs=off: tools/deps.sh
CMDLINE = "console=ttyS0,115200 panic=-1"

# What the kernel says at warning level, and why it is not the platform's fault. docs/linux.md lists the same.
EXPECTED = {
    "speculation controls are not offered to guests": r"RETBleed|Spectre|MDS|MMIO Stale Data|Gather Data Sampling",
    "a vCPU that waits for the network misses ticks": r"clocksource|Unstable clock|local clock|trace_clock|kernel command line|hrtimer: interrupt took",
    "legacy VT-d tables only, as docs/dma.md says": r"DMAR: VT-d Scalable Mode not enabled",
    "a stick's own word, the first time that it is asked": r"sd \S+ Power-on or device reset occurred",
}


def description(script, devices, drives=(), flavour="cloud", modules=(), programs=(), lan=None, cpus=2, memory="256M", remote_start=True, wait=600,
                cmdline=CMDLINE, host=None):
    """devices: {PCI device number at the remote: [QEMU's -device, and those behind it]}; drives: as in docs/lab.md."""
    host_ini = (f"[node]\nname = host1\nrole = host\naddress = {pair.HOST}/24\n[guest linux]\nmemory = {memory}\ncpus = {cpus}\nkernel = vmlinuz\n"
                f"initrd = initrd\nwait = {wait}\ncmdline = {cmdline}\n" + "".join(f"device = remote1/0000:00:{at:02x}.0\n" for at in devices))
    remote_ini = (f"[node]\nname = remote1\nrole = remote\naddress = {pair.REMOTE}/24\n" +
                  "".join(f"lend = 0000:00:{at:02x}.0\n" for at in devices))
    qemu = [(d + f",addr=0x{at:x}") if n == 0 else d for at, ds in devices.items() for n, d in enumerate(ds)]
    return {"lan": {"lan": dict({"pcap": True}, **(lan or {}))},
            "host": {"host1": dict({"lan": "lan", "memory": 640, "ips": IPS, "ini": host_ini,
                                    "files": {"vmlinuz": guest.kernel(flavour), "initrd": guest.initramfs(script, modules, programs)}}, **(host or {}))},
            "remote": {"remote1": {"lan": "lan", "emulator": "build/deps/bin/qemu", "memory": 768, "ini": remote_ini, "devices": qemu, "drives": list(drives), "start": remote_start}}}


def image(lab, drive):
    """The file behind a drive of the remote."""
    return lab.path(f"remote1.{drive}.disk")


def said(lab):
    """What the guest said: its lines "guest: ..." without that word."""
    return re.findall(r"^[^|\n]*?linux\| (?:\[ *[\d.]+\] )?guest: (.*)$", lab["host1"].console.text, re.M)


def checks(lab):
    """The results of dmacheck, in order: dictionaries of numbers, and "what"."""
    result = []
    for what, text in re.findall(r"dmacheck: (read|write) (start=.*)$", lab["host1"].console.text, re.M):
        result.append(dict({k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", text)}, what=what))
    return result


def nothing_wrong(lab):
    """No step of the script failed, no request, no byte of the data or beside it, nothing the kernel warns about."""
    text = lab["host1"].console.text
    assert [line for line in said(lab) if line.startswith("FAILED")] == []
    assert [c for c in checks(lab) if c["errors"] or c["wrong"] or c["beside"]] == []
    assert unexpected_warnings(lab) == []
    assert re.findall(r"^.*(?:I/O error|DMAR: \[DMA|soft lockup|hung task|rcu: INFO|Kernel panic|BUG:|WARNING:.*at ).*$", text, re.M) == []


def unexpected_warnings(lab):
    known = re.compile("|".join(EXPECTED.values()))
    return [line for line in said(lab) if line.startswith("warning: ") and not known.search(line)]


def run(lab, until="linux: stopped: powered off", seconds=900):
    """Starts everything and waits for the guest's end."""
    lab.start()
    lab["host1"].console.expect(until, seconds)


def verify_image(path, base, start, size, seed):
    """`base`: where in the image the device begins that the guest wrote. The same program that wrote it in the guest reads the image here."""
    done = subprocess.run([os.path.join(pair.ROOT, "build/linux/dmacheck"), "read", path, f"base={base}", f"start={base + start}", f"bytes={size}", f"seed={seed}",
                           "bs=65536", "direct=0"],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def file_in_image(path, partition, name):
    """SHA-256 of a file in the ext4 file system at an offset of the image, which must be consistent."""
    where = f"{path}?offset={partition}"
    check = subprocess.run(["/sbin/e2fsck", "-fn", where], capture_output=True, text=True, timeout=300)
    assert check.returncode == 0, check.stdout + check.stderr
    out = path + "." + os.path.basename(name)
    subprocess.run(["/sbin/debugfs", "-R", f"dump {name} {out}", where], check=True, capture_output=True, timeout=300)
    with open(out, "rb") as f:
        digest = hashlib.sha256(f.read()).hexdigest()
    os.unlink(out)
    return digest
