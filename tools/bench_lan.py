# SPDX-License-Identifier: BSD-2-Clause
"""What guests' NICs cost: the virtual switch for each frame, memory for each guest and each remote function, the start with eight guests, and how much of a remote drive's
throughput is left while another guest floods its NIC.

The first three are instructions and bytes that repeat to the last digit: nothing comes from outside. The last is not (and 0 means that nothing was lost): when a frame of a drive in another emulator arrives is not
counted in instructions. It is told as requests in a second of the host's own clock, which counts its instructions.
"""
import os
import re

import bench_nvme
from farbuslab import Lab, LabError, guest

GUESTS = 8

# key: (what it is, goal or None, what peers cost on this bench); instructions, if it says nothing else
ROWS = {
    "lan.out_guest.60": ("frame of 60 bytes, one of many, from a guest to another's queue", None, ""),
    "lan.out_guest.1514": ("  of 1,514 bytes", None, ""),
    "lan.out_guest.60.first": ("  one alone, 60 bytes, exit and entry included", None, ""),
    "lan.out_refused.1514": ("  of 1,514 bytes, without the switch: refused at its first look", None, ""),
    "lan.in_guest.60": ("frame of 60 bytes from a queue into its guest", None, ""),
    "lan.in_guest.1514": ("  of 1,514 bytes", None, ""),
    "lan.in_guest.60.first": ("  one alone, 60 bytes, exit and entry included", None, ""),
    "lan.out_wire.60": ("frame of 60 bytes from a guest to the NIC, doorbell included", None, ""),
    "lan.out_wire.1514": ("  of 1,514 bytes", None, ""),
    "boot_8": (f"EFI entry to the first instruction of the last of {GUESTS} guests", None, ""),
    "memory_guest": ("memory for each guest beside its own, KiB", None, ""),
    "memory_nic": ("memory for each virtual NIC, KiB", None, ""),
    "memory_function": ("memory for each remote function at the host, KiB", None, ""),
    "flood.l2": ("reads of a drive lost to a guest that floods its NIC, %, by l2", 25, ""),
    "flood.udp": ("  by udp", 25, ""),
}


def host(ini, files, **more):
    return dict({"machine": "bochs", "memory": 512, "ini": ini, "files": {f: f"build/guests/{f}" for f in files}, "sync": "none"}, **more)


def node(text=""):
    return f"[node]\nname = host1\nrole = host\naddress = 10.0.0.1/24\nsecurity = none\n{text}"


def run_frames(folder):
    """The cost of frames, in a guest that nobody disturbs. A host with a NIC, on a LAN where nobody else is."""
    ini = node("[guest lan]\nmemory = 16M\nkernel = lan.elf\ncmdline = wire=1\nnic = 52:54:00:00:00:11\nnic = 52:54:00:00:00:12\n")
    with Lab.load({"lan": {"lan": {}}, "host": {"host1": host(ini, ["lan.elf"], lan="lan")}}, os.path.join(folder, "frames")) as lab:
        lab.start()
        console = lab["host1"].console
        console.expect(r"lan\| lan: done", 300)
        wrong = console.seen(r"lan: (\S+: .*(?:lost|never).*)$")
        if wrong:
            raise LabError(wrong[0][1])
        return {f"lan.{m[1]}": int(m[2]) for m in console.seen(r"lan: (\S+) = (\d+)$")}


def kept(console):
    """KiB that guests do not get, as the console's memory command tells."""
    console.send("memory\n")
    return int(console.expect(r"memory: .*KiB, kept from guests (\d+) KiB", 60)[1])


def run_guests(folder, count, nics=0):
    """(KiB kept from guests, instructions from EFI entry to the last guest's first) of a host with so many guests that end at once."""
    ini = node("".join(f"[guest g{n}]\nmemory = 16M\nkernel = bench.elf\ncmdline = rows=none remote=0\n" +
                       "".join(f"nic = 52:54:00:00:{n:02x}:{i:02x}\n" for i in range(nics)) for n in range(count)))
    with Lab.load({"host": {"host1": host(ini, ["bench.elf"], nic="none")}}, os.path.join(folder, f"guests{count}-{nics}")) as lab:
        lab.start()
        console = lab["host1"].console
        for n in range(count):
            if not console.seen(rf"g{n}: stopped: powered off"):
                console.expect(rf"g{n}: stopped: powered off", 300)
        efi, files = map(int, re.search(r"EFI entry was at TSC (\d+), the firmware's file reads took (\d+)", console.text).groups())
        last = max(int(m[1]) for m in console.seen(r"g\d+: started, entry 0x[0-9a-f]+, at TSC (\d+)"))
        return kept(console), last - efi - files


def run_functions(folder):
    """KiB that one remote function costs the host: serial ports are given to a guest that runs."""
    functions = [f"remote1/0000:00:{n:02x}.0" for n in range(4, 8)]
    ini = node("[guest g]\nmemory = 16M\nkernel = share.elf\ncmdline = do=spin\n")
    remote = {"lan": "lan", "memory": 256, "devices": [f"edu,addr={n}" for n in range(4, 8)],
              "ini": "[node]\nname = remote1\nrole = remote\naddress = 10.0.0.2/24\nsecurity = none\n"}
    with Lab.load({"lan": {"lan": {}}, "host": {"host1": host(ini, ["share.elf"], lan="lan", sync="slowdown")}, "remote": {"remote1": remote}},
                  os.path.join(folder, "functions")) as lab:
        lab.start()
        console = lab["host1"].console
        console.expect(r"g: started", 300)
        lab["remote1"].console.expect(r"lends \d+ functions", 300)
        seen = []
        for f in functions:  # with the first one comes the link
            console.send(f"attach g {f}\n")
            console.expect(rf"{re.escape(f)} .* is guest", 120)
            seen.append(kept(console))
        return (seen[-1] - seen[0]) / (len(functions) - 1)


READS = r"""
drive=/dev/nvme0n1
within 120 test -b $drive
must dmacheck write $drive bytes=4194304 bs=65536 qd=4 seed=1
for round in 1 2 3; do
    say "waits"
    read line </dev/ttyS0
    for again in 1 2 3; do
        must dmacheck read $drive bytes=4194304 bs=4096 qd=4 random=1 ops=256 seed=1
    done
done
say "waits"
read line </dev/ttyS0
"""


def run_flood(folder, carrier):
    """4 KiB reads in a second of the host's clock, from a guest that is alone, beside one that computes, beside one that sends without end; then
    also how many frames the host gave the link and how many of them it had to send again. One CPU."""
    ini = node(f"carrier = {carrier}\n[guest linux]\nmemory = 192M\nkernel = vmlinuz\ninitrd = initrd\nwait = 600\ncmdline = console=ttyS0,115200 quiet\n"
               "device = remote1/0000:00:04.0\n"
               "[guest flood]\nmemory = 16M\nkernel = share.elf\ncmdline = do=nic key=1\nnic = auto\n")
    machine = host(ini, ["share.elf"], lan="lan", sync="slowdown")
    machine["files"].update(vmlinuz=guest.kernel("cloud"), initrd=guest.initramfs(READS, programs=["build/linux/dmacheck"]))
    remote = dict(bench_nvme.DRIVE, lan="lan", memory=512,
                  ini="[node]\nname = remote1\nrole = remote\naddress = 10.0.0.2/24\nlend = 0000:00:04.0\nsecurity = none\n")
    with Lab.load({"lan": {"lan": {}}, "host": {"host1": machine}, "remote": {"remote1": remote}}, os.path.join(folder, f"flood-{carrier}")) as lab:
        lab.start()
        console = lab["host1"].console

        def key_for(name):
            console.send(f"attach {name}\n")
            console.expect(rf"keys go to {name}", 60)
            console.send("x\n\x1d")

        def sent():
            """(frames that the host gave the link, of these again)"""
            console.send("links\n")
            return tuple(int(console.expect(rf"links: remote \"remote1\" .*{what} (\d+) ", 60)[1]) for what in ("frames sent", "retransmitted"))

        console.expect("flood: started", 300)
        console.send("pause flood\n")
        speed = {}
        for what in ("alone", "spin", "flood"):
            console.expect(r"guest: waits", 900)
            if what == "spin":
                console.send("resume flood\n")
            if what == "flood":
                key_for("flood")
                console.expect("more than a thousand frames sent", 300)
                before = sent()
            key_for("linux")
            speed[what] = 0
            for _ in range(3):  # the best: what the emulators lose to others of this machine is not meant
                done = console.expect(r"dmacheck: read .* ops=(\d+) errors=0 wrong=0 beside=0 usec=(\d+) ", 900)
                speed[what] = max(speed[what], int(done[1]) * 1e6 / int(done[2]))
        console.expect(r"guest: waits", 900)
        speed["sent"], speed["lost"] = (after - then for after, then in zip(sent(), before))
        return speed


def measure(folder):
    values = run_frames(folder)
    (one, _), (many, boot), (nics, _) = run_guests(folder, 1), run_guests(folder, GUESTS), run_guests(folder, 1, 4)
    values.update({"boot_8": boot, "memory_guest": (many - one) / (GUESTS - 1), "memory_nic": (nics - one) / 4, "memory_function": run_functions(folder)})
    return values


def flooded(folder):
    """{carrier: what run_flood says}"""
    return {carrier: run_flood(folder, carrier) for carrier in ("l2", "udp")}


def lost(result):
    """Figures of ROWS: what is missing beside one that floods its NIC of what there is beside one that computes. Each has half of the CPU; three quarters of that are to be kept."""
    return {f"flood.{carrier}": max(0.0, 100 * (1 - speed["flood"] / speed["spin"])) for carrier, speed in result.items()}


def table(result):
    """Lines for people."""
    for carrier, speed in result.items():
        yield f"by {carrier}: alone {speed['alone']:.0f}, beside one that computes {speed['spin']:.0f}, beside one that floods its NIC {speed['flood']:.0f}; " \
              f"the host sent {speed['lost']} of {speed['sent']} frames of the link again then"
