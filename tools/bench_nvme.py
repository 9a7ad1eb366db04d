# SPDX-License-Identifier: BSD-2-Clause
"""One workload on a drive in another machine, two ways, on the same emulated machines and LAN: through Farbus (the guest's own NVMe driver, the drive's own
registers and queues on the wire), and through NVMe over TCP (Linux initiator on bare Bochs, Linux target in QEMU). Frames and bytes come from a capture.

A round trip is a change of direction on the wire: after payload from the drive's side the other side sends payload again (a lone acknowledgement
is not payload). For one request at a time that is how often somebody waited for the network.
"""
import os
import re
import struct
import sys

from farbuslab import Lab, LabError, guest
from mkimage import make_image

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests"))
import wire  # noqa: E402

INITIATOR, TARGET = "10.9.0.1", "10.9.0.2"
ICOUNT = 3  # an instruction of the remote takes 2^3 ns of its time, and as many ticks of its TSC
MARK_PING = 1000  # an echo request of so many bytes and the mark's number
MARK_REGISTER = 0xC0  # a configuration register of the drive that nothing else reads, and four times the mark's number

# (row, its name, what dmacheck does, one request at a time); what is read was written before
WORKLOAD = [
    ("write_4k", "4 KiB random write", "write $drive bytes=16777216 bs=4096 random=1 ops=256 seed=1"),
    ("read_4k", "4 KiB random read", "read $drive bytes=16777216 bs=4096 random=1 ops=256 seed=1 fresh=0"),
    ("read_4k_used", "  into a buffer written in between", "read $drive bytes=16777216 bs=4096 random=1 ops=256 seed=1"),
    ("write_128k", "128 KiB sequential write", "write $drive start=16777216 bytes=4194304 bs=131072 seed=1"),
    ("read_128k", "128 KiB sequential read", "read $drive start=16777216 bytes=4194304 bs=131072 seed=1 fresh=0"),
]

STEPS = "within 120 test -b $drive\n" + "".join(f"mark {n}\nsay mark {n}\nsleep 1\ndmacheck {what}\n" for n, (*_, what) in enumerate(WORKLOAD)) + \
    f"mark {len(WORKLOAD)}\nsay mark {len(WORKLOAD)}\nsleep 1\nsay finished\nsleep 1\npoweroff -f\n"

OVER_FARBUS = r"""
drive=/dev/nvme0n1
within 120 test -b $drive
config=$(readlink -f /sys/class/nvme/nvme0/device)/config
mark() { sleep 0.5; dd if=$config bs=4 count=1 skip=$((0xC0 / 4 + $1)) 2>/dev/null >/dev/null; sleep 0.5; }
"""

OVER_TCP = rf"""
ip link set lo up
ip link set eth0 up
ip addr add {INITIATOR}/24 dev eth0
within 60 ping -c 1 -W 1 {TARGET} >/dev/null
within 60 /usr/bin/nvme connect -t tcp -a {TARGET} -s 4420 -n farbus
drive=/dev/nvme0n1
mark() {{ sleep 0.5; ping -c 1 -s $(({MARK_PING} + $1)) {TARGET} >/dev/null; sleep 0.5; }}
"""

TCP_TARGET = rf"""
mount -t configfs none /sys/kernel/config
ip link set eth0 up
ip addr add {TARGET}/24 dev eth0
within 60 test -b /dev/nvme0n1
cd /sys/kernel/config/nvmet
mkdir subsystems/farbus subsystems/farbus/namespaces/1 ports/1
echo 1 >subsystems/farbus/attr_allow_any_host
echo /dev/nvme0n1 >subsystems/farbus/namespaces/1/device_path
echo 1 >subsystems/farbus/namespaces/1/enable
cd ports/1
echo ipv4 >addr_adrfam
echo tcp >addr_trtype
echo {TARGET} >addr_traddr
echo 4420 >addr_trsvcid
ln -s ../../subsystems/farbus subsystems/
say "the target is ready"
sleep 100000
"""

DRIVE = {"emulator": "build/deps/bin/qemu", "devices": ["nvme,drive=disk,serial=bench,dbcs=off,addr=4"], "drives": [{"id": "disk", "size": "64M"}]}


def lab_farbus():
    return {"lan": {"lan": {"pcap": True}},
            "host": {"host1": {"machine": "bochs", "memory": 512, "lan": "lan",
                               "files": {"vmlinuz": guest.kernel("cloud"), "initrd": guest.initramfs(OVER_FARBUS + STEPS, programs=["build/linux/dmacheck"])},
                               "ini": f"[node]\nname = host1\nrole = host\naddress = {INITIATOR}/24\n[guest linux]\nmemory = 192M\nkernel = vmlinuz\n"
                                      "initrd = initrd\nwait = 600\ncmdline = console=ttyS0,115200\ndevice = remote1/0000:00:04.0\n"}},
            # QEMU counts instructions, and time and TSC by them; not across an MSR of a timer, so the remote gets no x2APIC
            "remote": {"remote1": dict(DRIVE, lan="lan", memory=512, cpu="max,-x2apic", args=["-icount", f"shift={ICOUNT}"],
                                       ini=f"[node]\nname = remote1\nrole = remote\naddress = {TARGET}/24\nlend = 0000:00:04.0\n")}}


def bare_linux(folder, name, initrd):
    """A disk image from which a machine boots Debian's kernel itself: without a \\EFI\\BOOT\\BOOTX64.EFI the firmware starts its shell, and that the kernel."""
    boot = os.path.join(folder, name)
    os.makedirs(boot, exist_ok=True)
    with open(guest.kernel("generic"), "rb") as f:
        kernel = f.read()
    for file, data in (("vmlinuz.efi", kernel), ("initrd", initrd), ("startup.nsh", b"fs0:\\vmlinuz.efi initrd=\\initrd console=ttyS0,115200\r\n")):
        with open(os.path.join(boot, file), "wb") as f:
            f.write(data)
    make_image(boot, boot + ".img")
    return boot + ".img"


def lab_tcp(folder):
    initiator = guest.initramfs(OVER_TCP + STEPS, ["e1000", "nvme-tcp"], ["nvme", "build/linux/dmacheck"])
    target = guest.initramfs(TCP_TARGET, ["e1000e", "nvme", "nvmet-tcp"])
    return {"lan": {"lan": {"pcap": True}},
            "host": {"host1": {"machine": "bochs", "memory": 512, "lan": "lan", "image": bare_linux(folder, "initiator", initiator), "start": False,
                               # the kernel reads IA32_MISC_ENABLE before it can take an exception, and Bochs's model has none
                               "bochsrc": "cpu: ignore_bad_msrs=1\n"}},
            "remote": {"remote1": dict(DRIVE, lan="lan", memory=512, image=bare_linux(folder, "target", target))}}


def exits(console):
    """{reason: VM exits of the guest so far}"""
    start = len(console.text)
    console.send("exits linux\n")
    console.expect(r"exits: linux: unowned .*\n", 60)
    return {reason: int(n) for reason, n in re.findall(r"exits: linux: ([A-Z_0-9]+) +(\d+)", console.text[start:])}


def instructions(console):
    """The host's instructions so far for the guest and the network, without what the guest executes, without waiting."""
    start = len(console.text)
    console.send("load\n")
    console.expect(r"load: idle .*\n", 60)
    return sum(int(n) for n in re.findall(r"load: (?:work for guests|network) .* (\d+) ticks", console.text[start:]))


def instructions_since(console):
    """The remote's instructions since it was asked last, in those passes of its loop that found something to do."""
    start = len(console.text)
    console.send("load\n")
    console.expect(r"load: .*\n", 60)
    answer = re.search(r"load: .*, (\d+) of \d+ ticks", console.text[start:])
    return int(answer[1]) >> ICOUNT if answer else 0


def run(folder, name):
    """Runs the workload. Returns {row: operations}, the capture's path, and {row: ({reason: VM exits}, host's instructions, remote's)} (nothing for `tcp`)."""
    os.makedirs(folder, exist_ok=True)
    description = lab_tcp(folder) if name == "tcp" else lab_farbus()
    with Lab.load(description, os.path.join(folder, name)) as lab:
        lab.start()
        if name == "tcp":
            lab["remote1"].console.expect("guest: the target is ready", 300)
            lab["host1"].start()
        console = lab["host1"].console
        seen = []
        for n in range(len(WORKLOAD) + 1):
            console.expect(rf"guest: mark {n}\b", 1200)
            if name != "tcp":
                if n == 0:
                    console.send("load on\n")
                seen.append((exits(console), instructions(console), instructions_since(lab["remote1"].console)))
        console.expect(r"guest: finished", 300)
        done = re.findall(r"dmacheck: (?:read|write) .* ops=(\d+) errors=0 wrong=0 beside=0", console.text)
        if len(done) != len(WORKLOAD):
            raise LabError(f"{name}: the workload went wrong: see {console.log}")
        lab["remote1"].stop()
        rows = [row for row, *_ in WORKLOAD]
        between = {row: ({r: after[0][r] - before[0].get(r, 0) for r in after[0]}, after[1] - before[1], after[2])
                   for row, before, after in zip(rows, seen, seen[1:])}
        return dict(zip(rows, map(int, done))), lab.pcap("lan"), between


def packets(path):
    """(bytes on the wire with FCS, the frame) of a capture in QEMU's format."""
    with open(path, "rb") as f:
        data = f.read()
    at = 24
    while at + 16 <= len(data):
        kept, size = struct.unpack_from("<II", data, at + 8)
        yield max(size, 60) + 4, data[at + 16:at + 16 + kept]
        at += 16 + kept


def classify_tcp(frame):
    """(counts, has payload, from the initiator, mark)."""
    if len(frame) < 34 or frame[12:14] != b"\x08\x00":
        return False, False, False, None
    ours = frame[26:30] == bytes(map(int, INITIATOR.split(".")))
    header, length = (frame[14] & 15) * 4, struct.unpack_from(">H", frame, 16)[0]
    if frame[23] == 1:
        n = length - header - 8 - MARK_PING
        return False, False, ours, n if ours and frame[14 + header] == 8 and 0 <= n < 64 else None
    if frame[23] != 6:
        return False, False, ours, None
    return True, length > header + (frame[14 + header + 12] >> 4) * 4, ours, None


def classify_farbus(frame):
    datagram = wire.datagram(frame)
    if datagram is None:
        return False, False, False, None
    ours = datagram.source == INITIATOR
    found = wire.Frame(datagram.source, datagram.payload)
    if found.type == wire.ANNOUNCE:
        return False, False, ours, None
    records = found.records() if found.type == wire.DATA else []
    mark = next((n for r in records if r.kind == wire.CFG_RD for n in [(struct.unpack_from("<I", r.body, 8)[0] - MARK_REGISTER) // 4] if 0 <= n < 16), None)
    return True, bool(records), ours, mark


def count(path, classify, done):
    """{row: {"frames", "bytes", "trips"} for each operation}. Frames before the initiator's first payload of a row, and lone
    acknowledgements behind the last, are of the mark and of the time between the rows (a link that has nothing to say says so each 400 ms), not of any operation."""
    result, row, turn, lone = {}, None, None, None
    for size, frame in packets(path):
        counts, payload, ours, mark = classify(frame)
        if mark is not None:
            row = WORKLOAD[mark][0] if mark < len(WORKLOAD) else None
            turn = lone = None
            if row:
                result[row] = {"frames": 0, "bytes": 0, "trips": 0}
            continue
        if row is None or not counts:
            continue
        sums = result[row]
        if not payload or (lone is None and not ours):
            if lone is not None:
                lone.append(size)
            continue
        lone = (lone or []) + [size]
        sums["frames"] += len(lone)
        sums["bytes"] += sum(lone)
        sums["trips"] += ours and turn is not True
        turn, lone = ours, []
    return {row: {k: v / done[row] for k, v in sums.items()} for row, sums in result.items()}


def compare(folder):
    """{"farbus": {row: {"frames", "bytes", "trips", "exits", "host", "remote"} for each request}, "tcp": the same without exits}"""
    result = {}
    for name, classify in (("farbus", classify_farbus), ("tcp", classify_tcp)):
        done, capture, between = run(folder, name)
        result[name] = count(capture, classify, done)
        for row, (reasons, host, remote) in between.items():
            result[name][row]["exits"] = {reason: n / done[row] for reason, n in reasons.items() if n >= done[row] / 10}
            result[name][row]["host"], result[name][row]["remote"] = host / done[row], remote / done[row]
    return result


def table(result):
    """Lines for people."""
    yield f"{'one request at a time, for each of them':42} {'Farbus':^30}   {'NVMe over TCP':^30}"
    yield f"{'':42} {'round trips':>11} {'frames':>8} {'bytes':>9}   {'round trips':>11} {'frames':>8} {'bytes':>9}"
    for row, name, _ in WORKLOAD:
        cells = [f"{r['trips']:11.2f} {r['frames']:8.1f} {r['bytes']:9.0f}" for r in (result[k][row] for k in ("farbus", "tcp") if k in result)]
        yield f"{name:42} " + "   ".join(cells)
    for what, value, goal in (("round trips", result["farbus"]["read_4k"]["trips"], 1), ("frames", result["farbus"]["read_4k"]["frames"], 5)):
        yield f"4 KiB read, {what}: {value:.1f}, goal {goal}: {'met' if round(value, 1) <= goal else 'MISSED'}"
    yield "instructions for each request, what the two do between the rows included: the host's, without the guest's own; the remote's"
    for row, name, _ in WORKLOAD:
        cells = result["farbus"][row]
        yield f"{name:42} {cells['host']:11,.0f} {cells['remote']:11,.0f}"
    yield "VM exits of each request, by reason (idle time between the rows is in it)"
    for row, name, _ in WORKLOAD:
        reasons = sorted(result["farbus"][row].get("exits", {}).items(), key=lambda e: -e[1])
        yield f"{name:42} " + ", ".join(f"{reason} {n:.1f}" for reason, n in reasons)
