# SPDX-License-Identifier: BSD-2-Clause
"""The laboratory most system tests need: one host, one remote with the usual devices, one LAN; what its consoles tell, and the frames
that were on the wire. Times on the host are its own (emulated) ones."""
import os
import re
import subprocess
import time
import types

import wire as w

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HOST, REMOTE = "10.7.0.1", "10.7.0.2"
BOOT = 300  # seconds for a machine to start, on a busy one

# A processor slower than the emulator can be: then the host's clock keeps up with the remote's on a machine that has more to do.
IPS = 50_000_000

DEVICES = {  # name: (PCI device number, QEMU's -device, what else it needs)
    "nvme": (4, "nvme,drive=disk,serial=farbus", ["-drive", "if=none,id=disk,file=@WORK@/nvme.disk,format=raw"]),
    "edu": (5, "edu", []),
    "serial": (6, "pci-serial,chardev=line", []),
    "testdev": (7, "pci-testdev", []),
    "memory": (8, "ivshmem-plain,memdev=bar",
               ["-object", "memory-backend-file,id=bar,size=1M,mem-path=@WORK@/bar.memory,share=on"]),
    "serial2": (9, "pci-serial,chardev=line2", ["-chardev", "null,id=line2"]),
}
LINE_NULL = ["-chardev", "null,id=line"]


def guest(name, elf, cmdline="", devices=(), wait=300, memory="64M", modules=(), kernel=None, more=()):
    """A [guest] section, and the file it needs. more: further lines of it."""
    text = [f"[guest {name}]", f"memory = {memory}", f"kernel = {kernel or elf}.elf", f"wait = {wait}", "bus = flat"]
    if cmdline:
        text.append(f"cmdline = {cmdline}")
    text += [f"module = {m}" for m in modules]
    text += more
    text += [f"device = remote1/0000:00:{DEVICES[d][0]:02x}.0" for d in devices]
    return "\n".join(text) + "\n"


def description(guests, devices=(), line=LINE_NULL, lan=None, remote_start=True, host_start=True, elves=(), files=None, host=None):
    """guests: texts of guest(); devices: names of DEVICES at the remote; line: where pci-serial's line goes."""
    host_ini = f"[node]\nname = host1\nrole = host\naddress = {HOST}/24\n" + "".join(guests)
    remote_ini = f"[node]\nname = remote1\nrole = remote\naddress = {REMOTE}/24\n" + \
        "".join(f"lend = 0000:00:{DEVICES[d][0]:02x}.0\n" for d in devices)
    args = [a for d in devices for a in DEVICES[d][2]] + (list(line) if "serial" in devices else [])
    result = {
        "lan": {"lan": dict({"pcap": True}, **(lan or {}))},
        "host": {"host1": dict({"lan": "lan", "ini": host_ini, "ips": IPS, "start": host_start,
                                "files": dict({f"{e}.elf": f"build/guests/{e}.elf" for e in elves}, **(files or {}))}, **(host or {}))},
    }
    if devices:
        result["remote"] = {"remote1": {"lan": "lan", "memory": 256, "ini": remote_ini, "start": remote_start, "args": args,
                                        "devices": [f"{DEVICES[d][1]},addr=0x{DEVICES[d][0]:x}" for d in devices]}}
    return result


def prepare(lab):
    """The disk that the NVMe drive shows."""
    with open(lab.path("nvme.disk"), "wb") as f:
        f.truncate(16 << 20)


def remote_up(lab):
    lab["remote1"].console.expect(r'node "remote1" lends \d+ functions?\b', BOOT)


def short_cut(lab):
    """The cable is pulled for the better part of a second while something waits for the remote; the session goes on. The host's `sync` must be "steady"."""
    console = lab["host1"].console
    down = console.text.count("link: warning: down: ")
    console.mark()
    cut = time.monotonic()
    lab.lans["lan"].down()
    console.expect('remote "remote1" does not answer; its functions wait', 60)  # for 2 s from here, by its own clock; a retransmission may take half of one
    time.sleep(max(0, cut + 0.7 - time.monotonic()))
    lab.lans["lan"].up()
    console.expect('remote "remote1" answers again', 60)
    assert console.text.count("link: warning: down: ") == down


def ask(machine, command, end):
    """Types a command; returns what it prints, up to the end of a line with `end`."""
    console = machine.console
    console.mark()
    start = len(console.text)
    console.send(command + "\r")
    console.expect(end + r"[^\n]*\n", 60)
    return console.text[start:]


def numbers(text):
    """{name: number} of lines like "counters: name: 5" and "bus: name    5"."""
    return {name.strip(): int(n) for name, n in re.findall(r"(?:counters|bus): ([^\n]+?)(?:: | {2,})(\d+)(?:,|\s*$)", text, re.M)}


def host_counters(lab):
    text = ask(lab["host1"], "counters", r"announcements: received")
    result = numbers(text)
    received, malformed = map(int, re.search(r"announcements: received (\d+) malformed (\d+)", text).groups())
    return dict(result, **{"announcements": received, "malformed announcements": malformed})


def remote_counters(lab):
    return numbers(ask(lab["remote1"], "counters", r"NIC: frames sent"))


def links(machine):
    """What the first link's two lines say."""
    text = ask(machine, "links", r"RTO \d+ us")
    return {name.strip(): int(n) for name, n in re.findall(r"(retransmitted|duplicates|out of order|malformed|stale|acks|stalls|RTT|RTO) (\d+)", text)}


def guest_lines(machine, name):
    """The lines a guest printed, without what names addresses of its bus or its own command line."""
    # a line may stand behind a prompt, or in the middle of what was being typed
    found = re.findall(rf"^[^|\n]*?{name}\| (.*)$", machine.console.text, re.M)
    return [line for line in found if line.strip()]


def properties(lines):
    """The probe's lines about the devices themselves."""
    return [line for line in lines if line.startswith("probe: ") and not re.match(r"probe: (pci|cmdline|\d+ findings)", line)]


def reference(lab, elf, cmdline, devices, line=LINE_NULL, modules=()):
    """The same guest on a QEMU machine that has the devices itself: what it prints."""
    prepare(lab)
    args = [a for d in devices for a in DEVICES[d][2]] + (list(line) if "serial" in devices else [])
    argv = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-machine", "q35,accel=tcg", "-cpu", "max", "-m", "256", "-display", "none",
            "-kernel", os.path.join(ROOT, "build", "guests", f"{elf}.elf"), "-append", cmdline, "-serial", "stdio", "-no-reboot"]
    argv += [a.replace("@WORK@", lab.work_dir) for a in args]
    argv += [a for d in devices for a in ("-device", f"{DEVICES[d][1]},addr=0x{DEVICES[d][0]:x}")]
    if modules:
        argv += ["-initrd", ",".join(modules)]
    run = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, cwd=lab.work_dir)
    if run.returncode or not run.stdout.strip():
        raise AssertionError(f"the reference run failed: {run.stderr}")
    return run.stdout.replace("\r", "").split("\n")


# ---- frames ----
def frames(path):
    """Frames of ours in a capture of QEMU's filter-dump."""
    return [w.Frame(d.source, d.payload) for d in map(w.datagram, w.packets(path)) if d]


MARK = 0xFA6B0000


def between_marks(captured):
    """{n: DATA frames between the end of mark n and mark n + 1}; what was sent again counts once, and separately.

    A mark is a write of MARK + n to edu's liveness register, and a read of it: the mark ends with that read's completion.
    """
    result, again, seen = {}, {}, set()
    current, waiting = None, None
    for frame in captured:
        if frame.type != w.DATA:
            continue
        key = (frame.source, frame.epoch, frame.sequence)
        if key in seen:
            again[current] = again.get(current, 0) + 1
            continue
        seen.add(key)
        records = frame.records()
        at = next((i for i, r in enumerate(records)
                   if r.kind == w.MWR and len(r.data) == 4 and MARK < int.from_bytes(r.data, "little") < MARK + 256), None)
        if at is not None:
            mark = int.from_bytes(records[at].data, "little") - MARK
            # posted writes may still have waited in the queue and share the mark's frame
            if current is not None and waiting is None and at > 0:
                result[current].append(types.SimpleNamespace(source=frame.source, raw=frame.raw, records=lambda before=records[:at]: before))
            current, waiting = mark, mark
            result[current] = []
        if waiting is not None:
            # the read of the mark, then its completion
            if frame.source == REMOTE and any(r.kind == w.CPLD for r in records):
                waiting = None
            continue
        if current is not None:
            result[current].append(frame)
    return result, again
