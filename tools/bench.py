#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""make bench: what Farbus costs, in instructions (one TSC tick each under Bochs), frames and bytes; beside it the goals of the design
and what other hypervisors cost on the same bench. A table on standard output, the same as JSON in build/bench.json.

usage: tools/bench.py [--json FILE] [--keep FOLDER]

The laboratories: a host alone (nothing comes from outside, so its figures repeat to the last digit), and a host with a remote, where
the figures of a path are the smallest of all accesses in the host's trace (from one trace event to the next, without the waiting in
between). Frames and bytes are counted in a capture; how many acknowledgements travel alone depends on when frames arrive, so these
stand in a part of their own.
"""
import argparse
import json
import os
import re
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bench_lan  # noqa: E402
import bench_nvme  # noqa: E402
from farbuslab import Lab, LabError, guest  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GUEST_MEMORY_MIB = 64
REC_MRD, REC_MWR = 5, 6
EPT_VIOLATION = 48
WIRE_PORT, WIRE_MAGIC, WIRE_ANNOUNCE = 51966, 0x53424146, 1

# key: (what it is, goal or None, what peers cost on this bench)
ROWS = {
    "cpuid": ("CPUID exit, guest to guest", 140, "SimpleVisor 141, BitVisor 435, KVM 967"),
    "rdmsr": ("RDMSR exit", 160, "BitVisor 378-421, KVM 1,077"),
    "port_read_uart": ("port read answered by a platform device", 250, "BitVisor 352-463, KVM 1,244 (in kernel)"),
    "port_write_uart": ("port write answered by a platform device", 250, ""),
    "pci_config_read": ("PCI configuration data port read, local function", None, "BitVisor 805"),
    "ecam_read": ("ECAM read, local function, decoder included", None, ""),
    "lapic_read": ("LAPIC MMIO read without APICv, decoder included", None, "KVM 7,113, BitVisor 10,851"),
    "lapic_write": ("LAPIC MMIO write without APICv, decoder included", 1200, "KVM 3,825, BitVisor 14,148"),
    "iommu_invalidate": ("write to the IOMMU's queue tail: page-selective invalidation and wait", None, ""),
    "dma_map_read": ("  the same, a page mapped for a remote function to read, or unmapped", None, ""),
    "dma_map_write": ("  the same, a page mapped for it to write, or unmapped", None, ""),
    "first_touch_2m": ("EPT violation that maps 2 MiB of guest memory, zeroed ahead", 600, "BitVisor 917, KVM 3,531"),
    "first_touch_2m_dirty": ("  the same, when it must be zeroed first", None, ""),
    "posted_write": ("posted MMIO write, exit to doorbell of our NIC (udp)", 3000, ""),
    "posted_write_l2": ("  the same by l2", 1500, ""),
    "mmio_read": ("MMIO read, both host halves together", 4000, "KVM 5,771 to its local user-space device"),
    "mmio_read.request": ("  of it: exit to doorbell", None, ""),
    "mmio_read.completion": ("  of it: frame taken from the NIC to VM entry", None, ""),
    "mmio_read_l2": ("  all of it, by l2", 4000, ""),
    "posted_write_sealed": ("posted MMIO write with keys (udp, AES-GCM)", None, ""),
    "mmio_read_sealed": ("MMIO read with keys, both host halves (udp, AES-GCM)", None, ""),
    "posted_write_sealed_l2": ("  the write by l2", None, ""),
    "mmio_read_sealed_l2": ("  the read by l2", None, ""),
    "encryption.udp": ("  encryption of the one frame of a write: with keys, less without (udp)", None, ""),
    "encryption.l2": ("  the same by l2", None, ""),
    "encryption.read.udp": ("  of the two frames of a read, one sealed and one opened (udp)", None, ""),
    "encryption.read.l2": ("  the same by l2", None, ""),
    "seal.aes.64": ("frame of 64 bytes behind its header sealed, AES-GCM", None, ""),
    "open.aes.64": ("  opened", None, ""),
    "seal.aes.1400": ("frame of 1,400 bytes sealed, AES-GCM", None, ""),
    "open.aes.1400": ("  opened", None, ""),
    "seal.chacha.64": ("frame of 64 bytes sealed, ChaCha20-Poly1305", None, ""),
    "seal.chacha.1400": ("frame of 1,400 bytes sealed, ChaCha20-Poly1305", None, ""),
    "handshake.host": ("handshake at the host, five X25519 multiplications", None, ""),
    "handshake.remote": ("handshake at the remote", None, ""),
    "handshake.mac": ("MAC of a HELLO: what a stranger's costs", None, ""),
    "cpuid.spread": ("CPUID exit of a guest that has vCPUs on two CPUs", None, ""),
    "port_read_uart.spread": ("  the port read", None, ""),
    "lapic_write.spread": ("  the LAPIC write", None, ""),
    **bench_lan.ROWS,
    "boot": ("EFI entry to the guest's first instruction, file reads excluded", 30_000_000, "SimpleVisor 30 M, BitVisor 76 M"),
    "boot_init": ("  and a Debian guest's first instruction to the end of its init, console lines included", None, ""),
    "memory_kept": ("memory kept from guests, KiB", 16 * 1024 + GUEST_MEMORY_MIB * 1024 // 100, "SimpleVisor 2 MiB, BitVisor 128 MiB"),
    "text.hv.elf": ("hv.elf text without lwIP, newlib and BearSSL, bytes", 256 * 1024, ""),
}


def lab_local(cpus=1):
    return {"host": {"host1": {"machine": "bochs", "memory": 512, "nic": "none", "sync": "none", "cpus": cpus,
                               "files": {"bench.elf": "build/guests/bench.elf"},
                               "ini": "[node]\nname = host1\nrole = host\naddress = 10.0.0.1/24\n"
                                      f"[guest bench]\nmemory = {GUEST_MEMORY_MIB}M\ncpus = {cpus}\nkernel = bench.elf\ncmdline = remote=0\n"}}}


def lab_remote(carrier, rows, security):
    return {"lab": {"security": security}, "lan": {"lan": {"pcap": True}},
            "host": {"host1": {"machine": "bochs", "memory": 512, "lan": "lan", "files": {"bench.elf": "build/guests/bench.elf"},
                               "ini": f"[node]\nname = host1\nrole = host\naddress = 10.0.0.1/24\ncarrier = {carrier}\n"
                                      f"[guest bench]\nmemory = {GUEST_MEMORY_MIB}M\nkernel = bench.elf\nbus = flat\nwait = 600\n"
                                      f"cmdline = rows={rows} remote=30\n"
                                      "device = remote1/0000:00:04.0\ndevice = remote1/0000:00:05.0\ndevice = remote1/0000:00:06.0\n"}},
            "remote": {"remote1": {"lan": "lan", "memory": 256, "start": False, "drives": [{"id": "nvme0", "size": "16M"}],
                                   "devices": ["nvme,drive=nvme0,serial=bench,addr=4", "edu,addr=5", "pci-serial,addr=6"],
                                   "ini": "[node]\nname = remote1\nrole = remote\naddress = 10.0.0.2/24\n"}}}


def figures(console):
    return {m[1]: float(m[2]) for m in console.seen(r"bench: (\w+) = ([0-9.]+)")}


def run_local(folder):
    with Lab.load(lab_local(), os.path.join(folder, "local")) as lab:
        lab.start()
        console = lab["host1"].console
        console.expect(r"bench: stopped: powered off", 600)
        values = figures(console)
        console.send("memory\n")
        console.expect(r"memory: .*KiB, kept from guests \d+ KiB", 60)
        efi, files = map(int, re.search(r"EFI entry was at TSC (\d+), the firmware's file reads took (\d+)", console.text).groups())
        first = int(re.search(r"bench: started, entry 0x[0-9a-f]+, at TSC (\d+)", console.text)[1])
        values["first_touch_2m_dirty"] = values.pop("first_touch_2m")
        values["boot"] = first - efi - files
        values["memory_kept"] = int(re.search(r"kept from guests (\d+) KiB", console.text)[1])
        return values


def run_spread(folder):
    """The same rows of a guest that has vCPUs on two CPUs: its exits take its lock."""
    with Lab.load(lab_local(2), os.path.join(folder, "spread")) as lab:
        lab.start()
        console = lab["host1"].console
        console.expect(r"bench: stopped: powered off", 900)
        values = figures(console)
        return {f"{row}.spread": values[row] for row in ("cpuid", "port_read_uart", "lapic_write")}


def run_linux(folder):
    """From the first instruction of a Debian kernel to the power-off that is the first thing its init asks for."""
    files = {"vmlinuz": guest.kernel("cloud"), "initrd": guest.initramfs("poweroff -f\n")}
    ini = ("[node]\nname = host1\nrole = host\naddress = 10.0.0.1/24\n[guest linux]\nmemory = 256M\nkernel = vmlinuz\ninitrd = initrd\n"
           "cmdline = console=ttyS0,115200\n")
    with Lab.load({"host": {"host1": {"machine": "bochs", "memory": 512, "nic": "none", "sync": "none", "files": files, "ini": ini}}},
                  os.path.join(folder, "linux")) as lab:
        lab.start()
        console = lab["host1"].console
        console.expect(r"linux: stopped: powered off", 600)
        console.send("trace 5\n")
        stop = int(console.expect(r"trace: cpu 0 (\d+) guest-stop", 60)[1])
        return stop - int(re.search(r"linux: started, entry 0x[0-9a-f]+, at TSC (\d+)", console.text)[1])


def trace_paths(text):
    """{(record type, part): smallest ticks} from the lines of the console's trace command."""
    events = sorted({(int(m[1]), m[2], int(m[3])) for m in re.finditer(r"trace: cpu 0 (\d+) (\S+) (\d+)", text)})
    best = {}

    def keep(key, ticks):
        best[key] = min(best.get(key, ticks), ticks)

    start = request = frame = None
    for tsc, name, arg in events:
        if name == "exit":
            start, request, frame = (tsc if arg == EPT_VIOLATION else None), None, None
        elif name == "request" and start is not None:
            request = arg
        elif name == "doorbell" and start is not None and request is not None and frame is None:
            keep((request, "request"), tsc - start)
            frame = 0  # only the first doorbell after the request is the request's
        elif name == "frame" and frame is not None:
            frame = tsc
        elif name == "entry" and start is not None:
            if request == REC_MRD and frame:
                keep((request, "completion"), tsc - frame)
            start = None
    return best


ALL_ROWS = "first_touch_2m,mmio_write,mmio_write_drained,mmio_read,dma_map_read,dma_map_write,io_read,io_write"


def run_seal(folder):
    """What sealing costs, by the selftest image on the same emulated CPU."""
    ini = "[node]\nname = self\nrole = remote\naddress = dhcp\n"
    with Lab.load({"host": {"self": {"machine": "bochs", "memory": 256, "nic": "none", "ini": ini, "elf": "",
                                     "files": {"remote-fw.elf": "build/selftest.elf"}}}}, os.path.join(folder, "seal")) as lab:
        lab.start()
        console = lab["self"].console
        console.expect(r"selftest: ready", 300)
        console.send("seal\n")
        console.expect(r"seal: right, vector registers untouched", 120)
        values = {}
        for m in console.seen(r"seal\.(\w+\.\d+) = (\d+), open = (\d+)"):
            values[f"seal.{m[1]}"], values[f"open.{m[1]}"] = int(m[2]), int(m[3])
        m = console.seen(r"handshake\.host = (\d+), remote = (\d+), mac = (\d+)")[-1]
        values.update({f"handshake.{key}": int(n) for key, n in zip(("host", "remote", "mac"), m.groups())})
        return values


def run_remote(folder, carrier, rows, security="none"):
    """The figures, and what was on the wire, with links on this carrier; with keys the latter cannot be read."""
    with Lab.load(lab_remote(carrier, rows, security), os.path.join(folder, f"{carrier}-{security}")) as lab:
        lab.start()
        console = lab["host1"].console
        console.expect(r"host: up", 300)
        lab["remote1"].start()  # its firmware takes longer than the host needs to zero the waiting guest's memory
        for mark in (3, 4):
            console.expect(rf"bench: mark {mark} = ", 600)
            console.send("trace 250\n")
        console.expect(r"bench: stopped: powered off", 900)
        console.send("guests\n")
        console.expect(r"guests: bench", 120)
        if not re.search(rf"link: up: remote1 at .* by {carrier}$", console.text, re.M):
            raise LabError(f"the link is not by {carrier}")
        best = trace_paths(console.text)
        values = {"posted_write": best[REC_MWR, "request"], "mmio_read.request": best[REC_MRD, "request"],
                  "mmio_read.completion": best[REC_MRD, "completion"]}
        values["mmio_read"] = values["mmio_read.request"] + values["mmio_read.completion"]
        values.update({row: figures(console)[row] for row in ("first_touch_2m", "dma_map_read", "dma_map_write")})
        names = {int(m[1]): m[2] for m in console.seen(r"bench: mark (\d+) = before (\w+)")}
        operations = {m[1]: int(m[2]) for m in console.seen(r"bench: (\w+)\.operations = (\d+)")}
        lab["remote1"].stop()
        return values, {} if security == "keys" else wire(lab.pcap("lan"), names, operations)


def frames(path):
    """Yields (bytes on the wire, payload) of each bus-extension frame in a pcap file, announcements left out."""
    with open(path, "rb") as f:
        data = f.read()
    at = 24
    while at + 16 <= len(data):
        size = struct.unpack_from("<I", data, at + 8)[0]
        packet = data[at + 16:at + 16 + size]
        at += 16 + size
        l2 = packet[12:14] == b"\x88\xb5"
        if not l2 and (len(packet) < 42 or packet[12:14] != b"\x08\x00" or packet[23] != 17):
            continue
        ports = struct.unpack_from(">HH", packet, 34)
        payload = packet[18:] if l2 else packet[42:]
        if (l2 or WIRE_PORT in ports) and payload[:4] == struct.pack("<I", WIRE_MAGIC) and payload[5] != WIRE_ANNOUNCE:
            yield max(size, 60) + 4, payload  # padded to the shortest frame, FCS included


def wire(path, names, operations):
    """Per row: frames and bytes per operation, between one mark and the next (tests/guests/bench says what a mark is)."""
    result, number, count, size = {}, 0, 0, 0
    for bytes_on_wire, payload in frames(path):
        found = re.search(rb"(.)\x00\x6b\xfa", payload, re.S)
        if found and found[1][0] == number + 1 and number + 1 in names:
            row = names.get(number)
            if row in operations:
                # The mark's own read and its completion come after the mark: two frames, no more than 180 bytes.
                result[row] = ((count - 2) / operations[row], (size - 2 * 80) / operations[row])
            number, count, size = number + 1, 0, 0
            continue
        count += 1
        size += bytes_on_wire
    return result


def text_sizes(elf):
    """Bytes of .text by room, from the linker's map."""
    sizes = {}
    with open(elf + ".map", encoding="utf-8") as f:
        text = f.read()
    text = text[text.index("Linker script and memory map"):]
    for m in re.finditer(r"^ \.text\S*\s+0x[0-9a-f]+\s+0x([0-9a-f]+)\s+(\S+)$", text, re.M):
        where = m[2]
        if "libc.a" in where:
            room = "newlib"
        elif "build/deps/src/" in where:
            room = where.split("build/deps/src/")[1].split("/")[0]
        else:
            parts = where.split("build/obj/target/")[-1].split("/")
            room = "/".join(parts[:2]) if parts[0] == "hv" and len(parts) > 2 else parts[0]
        sizes[room] = sizes.get(room, 0) + int(m[1], 16)
    return dict(sorted(sizes.items(), key=lambda kv: -kv[1]))


def show(value):
    return f"{value:,.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else f"{value:,}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", default=os.path.join(ROOT, "build", "bench.json"), help="where the figures go")
    parser.add_argument("--keep", default=os.path.join(ROOT, "build", "bench"), help="folder for consoles and captures")
    arguments = parser.parse_args()
    try:
        values = run_local(arguments.keep)
        values.update(run_spread(arguments.keep))
        remote, on_wire = run_remote(arguments.keep, "udp", ALL_ROWS)
        l2, on_wire_l2 = run_remote(arguments.keep, "l2", ALL_ROWS)
        sealed, _ = run_remote(arguments.keep, "udp", ALL_ROWS, "keys")
        sealed_l2, _ = run_remote(arguments.keep, "l2", ALL_ROWS, "keys")
        values.update(run_seal(arguments.keep))
        values.update(bench_lan.measure(arguments.keep))
        flood = bench_lan.flooded(arguments.keep)
        values.update(bench_lan.lost(flood))
        values["boot_init"] = run_linux(arguments.keep)
        nvme = bench_nvme.compare(arguments.keep)
    except LabError as e:
        sys.exit(f"bench: {e}")
    values.update(remote)
    for suffix, figures_of in (("l2", l2), ("sealed", sealed), ("sealed_l2", sealed_l2)):
        values.update({f"{key}_{suffix}": figures_of[key] for key in ("posted_write", "mmio_read")})
    for carrier, end in (("udp", ""), ("l2", "_l2")):
        values[f"encryption.{carrier}"] = values[f"posted_write_sealed{end}"] - values[f"posted_write{end}"]
        values[f"encryption.read.{carrier}"] = values[f"mmio_read_sealed{end}"] - values[f"mmio_read{end}"]
    on_wire.update({f"{row} (l2)": numbers for row, numbers in on_wire_l2.items()})
    texts = {elf: text_sizes(os.path.join(ROOT, "build", elf)) for elf in ("hv.elf", "remote-fw.elf")}
    values["text.hv.elf"] = sum(n for room, n in texts["hv.elf"].items() if room not in ("lwip", "newlib", "bearssl"))

    print(f"\n{'what (instructions unless it says otherwise)':68} {'measured':>12} {'goal':>12}       peers, same bench")
    report = {}
    for key, (what, goal, peers) in ROWS.items():
        value = values[key]
        verdict = "" if goal is None else "met" if value <= goal else "MISSED"
        print(f"{what:68} {show(value):>12} {show(goal) if goal else '-':>12} {verdict:6} {peers}")
        report[key] = {"what": what, "value": value, "goal": goal, "met": None if goal is None else value <= goal, "peers": peers}
    print("\ntext by room, bytes")
    for elf, rooms in texts.items():
        print(f"  {elf}: " + ", ".join(f"{room} {size:,}" for room, size in rooms.items()))
    print("\non the wire, per access, both directions (depends on when frames arrive: acknowledgements may travel alone)")
    for row, (count, size) in on_wire.items():
        print(f"  {row:22} {count:8.3f} frames {size:10.1f} bytes")
    print("\n4 KiB reads of a drive in another machine, four at a time, on one CPU, for each second of the host's clock (frames arrive when they do: not to the last digit)")
    for line in bench_lan.table(flood):
        print(f"  {line}")
    print("\na drive in another machine: through Farbus, and over NVMe/TCP from bare Linux to Linux, on the same emulated machines and LAN")
    for line in bench_nvme.table(nvme):
        print(f"  {line}")
    with open(arguments.json, "w", encoding="utf-8") as f:
        json.dump({"figures": report, "text": texts, "wire": {k: {"frames": c, "bytes": s} for k, (c, s) in on_wire.items()}, "nvme": nvme, "flood": flood}, f, indent=2)
    print(f"\nwritten to {os.path.relpath(arguments.json)}")


if __name__ == "__main__":
    main()
