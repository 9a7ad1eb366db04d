#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""`make soak`: ten emulated minutes of mixed load on a LAN that loses one frame in 200, with keys.

    host1  linux   NVMe drive of remote1, virtual NIC        remote1  NVMe, edu
           watch   edu of remote2; stopped and started        remote2  NVMe, edu, serial
    host2  linux   NVMe drive of remote2, virtual NIC
           edu     DMA with the edu of remote1; started again each time it is done
           crash   the serial port of remote2; ends in a triple fault each time it is started

Both Linux guests write and read their drives with many requests in flight, every byte checked by dmacheck, and fetch data from each other over
TCP. Each emulated minute (of host1's clock) the counters are printed. Ends by itself; exit code 1 at the first wrong byte, failed request, leaked
frame of memory, forged or malformed frame, guest that gets nowhere for two minutes, or warning, with the line that says so.

usage: tools/soak.py [MINUTES]          (10; the time the guests need to boot is not counted)
"""
import os
import re
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from farbuslab import Lab, LabError, guest  # noqa: E402
from farbuslab.machine import ROOT  # noqa: E402

IPS = 50_000_000  # what two hosts and two remotes can do on two cores
LOSS = 0.5
RESTART = 20  # emulated seconds between restarts
BOOT = 1800   # real seconds
# A remote that hears nothing for 5 s of the real time it lives in says so, and hosts say something every 0.4 s of their own (docs/protocol.md, "Timers").
# On a machine that is busy with other things a host's second takes so long that this happens; from here on (real seconds for one of the host's) it says nothing.
SLOW = 3
NVME, EDU, SERIAL = 4, 5, 6
HOSTS = ("host1", "host2")
SMALL = (("host1", "watch"), ("host2", "edu"), ("host2", "crash"))  # what is restarted
CACHES = 128  # KiB that a host keeps when its guests have ended: what the heap has grown (rt/newlib.c), in steps of 64; 64 were seen

# What the kernel says at warning level without being wrong: tests/system/linux_guest.py has the reasons.
KERNEL = re.compile(r"RETBleed|Spectre|MDS|MMIO Stale Data|Gather Data Sampling|clocksource|Unstable clock|local clock|trace_clock|kernel command line|"
                    r"hrtimer: interrupt took|VT-d Scalable Mode not enabled")

SCRIPT = r"""
ip link set lo up; ip link set eth0 up; ip addr add 10.7.0.%(own)d/24 dev eth0
drive() { ls /dev/nvme?n1 2>/dev/null; }
within 300 drive >/dev/null
mkdir /tmp/www
dd if=/dev/urandom of=/tmp/www/data bs=64k count=4 2>/dev/null
md5sum </tmp/www/data >/tmp/www/sum
httpd -h /tmp/www
within 600 wget -q -O /tmp/sum http://10.7.0.%(peer)d/sum
say "ready"
round=0
until [ -e /tmp/end ]; do
    round=$((round + 1))
    dmacheck write $(drive) bytes=2097152 bs=65536 qd=8 seed=$round
    dmacheck read $(drive) bytes=2097152 bs=4096 qd=32 random=1 seed=$round
    wget -q -O /tmp/data http://10.7.0.%(peer)d/data || say "FAILED: wget"
    [ "$(md5sum </tmp/data)" = "$(cat /tmp/sum)" ] || say "FAILED: data changed on its way"
    say "round $round"
done &
read line </dev/ttyS0
touch /tmp/end
wait
warnings
say "done"
read line </dev/ttyS0 # the other may still fetch
poweroff -f
"""


def section(name, **values):
    return "\n".join([f"[guest {name}]"] + [f"{key.rstrip('_')} = {value}" for key, value in values.items()]) + "\n"


def description():
    linux = {"memory": "160M", "kernel": "vmlinuz", "initrd": "initrd", "wait": 600, "cmdline": "console=ttyS0,115200 panic=-1"}
    at = {name: "0000:00:%02x.0" % n for name, n in (("nvme", NVME), ("edu", EDU), ("serial", SERIAL))}
    small = {"memory": "16M", "wait": 600}
    guests = {
        "host1": section("linux", **linux, device=f"remote1/{at['nvme']}", nic="52:54:00:00:00:11") +
        section("watch", **small, kernel="watch.elf", device=f"remote2/{at['edu']}", bus="flat"),
        "host2": section("linux", **linux, device=f"remote2/{at['nvme']}", nic="52:54:00:00:00:12") +
        section("edu", **small, kernel="edu.elf", device=f"remote1/{at['edu']}", bus="flat", dma="mirror", cmdline="count=60") +
        section("crash", **small, kernel="rogue.elf", device=f"remote2/{at['serial']}", bus="flat", cmdline="do=triple"),
    }
    result = {"lab": {"security": "keys"}, "lan": {"lan": {"faults": {"loss": LOSS}}}, "host": {}, "remote": {}}
    for n, name in enumerate(guests, 1):
        script = SCRIPT % {"own": 10 + n, "peer": 13 - n}
        result["host"][name] = {
            "lan": "lan", "side": "ab"[n - 1], "machine": "bochs", "memory": 512, "ips": IPS,
            "ini": f"[node]\nname = {name}\nrole = host\naddress = 10.7.0.{n}/24\n" + guests[name],
            "files": {"vmlinuz": guest.kernel("cloud"),
                      "initrd": guest.initramfs(script, ["virtio_pci", "virtio_net"], ["build/linux/dmacheck"], flavour="cloud"),
                      **{f"{e}.elf": f"build/guests/{e}.elf" for e in ("watch", "edu", "rogue")}}}
    for n in (1, 2):
        result["remote"][f"remote{n}"] = {
            "lan": "lan", "side": "ba"[n - 1], "emulator": "build/deps/bin/qemu", "memory": 512,
            "devices": [f"nvme,drive=disk,serial=farbus,dbcs=off,addr=0x{NVME:x}", f"edu,addr=0x{EDU:x}", f"pci-serial,chardev=line,addr=0x{SERIAL:x}"],
            "drives": [{"id": "disk", "size": "16M"}], "args": ["-chardev", "null,id=line"],
            "ini": f"[node]\nname = remote{n}\nrole = remote\naddress = 10.7.0.{100 + n}/24\n" + "".join(f"lend = {a}\n" for a in at.values())}
    return result


class Wrong(Exception):
    """What the soak ends with."""


class Soak:
    def __init__(self, lab, minutes):
        self.lab, self.minutes = lab, minutes
        self.read = {name: 0 for name in lab.machines}  # how much of each console was looked at
        self.restarts = 0
        self.rounds = {name: 0 for name in HOSTS}  # of the Linux guests
        self.counted = dict(self.rounds)           # as of the minute before
        self.silent = {name: 0 for name in HOSTS}  # minutes without a round
        self.began = time.monotonic()
        self.clocks = {name: [] for name in HOSTS}  # [(real time, its own)]
        self.slow = 0  # silences that the build machine is to blame for
        self.requests = 0

    # ---- consoles ----
    def ask(self, name, command, end):
        console = self.lab[name].console
        start = len(console.text)
        console.mark()
        console.send(command + "\r")
        console.expect(end + r"[^\n]*\n", 300)
        return console.text[start:]

    def look(self):
        """New lines of every console: nothing in them may be wrong."""
        for name, machine in self.lab.machines.items():
            if not machine.running():
                raise Wrong(f"{name} has ended: {machine.last_words()}")
            for line in machine.complaints():
                if "triple fault" not in line:  # that is what `crash` is for
                    raise Wrong(f"{name} [emulator] {line}")
            text = machine.console.text
            end = text.rfind("\n") + 1
            new, self.read[name] = text[self.read[name]:end], end
            for line in new.split("\n"):
                self.judge(name, line)

    def judge(self, name, line):
        found = re.search(r"dmacheck: (?:read|write) start=.* ops=(\d+) errors=(\d+) wrong=(\d+) beside=(\d+)", line)
        if found:
            self.requests += int(found[1])
            if any(map(int, found.groups()[1:])):
                raise Wrong(f"{name}: {line}")
        elif re.search(r"FAILED|dmacheck: \S+: |dmacheck: block|watch: edu wrong|PANIC|I/O error|DMAR: \[DMA|soft lockup|hung task|rcu: INFO|Kernel panic|"
                       r"BUG:|started, entry.*ERR", line):
            raise Wrong(f"{name}: {line}")
        elif re.search(r"guest: warning: ", line) and not KERNEL.search(line):
            raise Wrong(f"{name}: {line}")
        elif (found := re.search(r"link: warning: (\S+) is silent: frozen", line)) and found[1] in HOSTS:
            if self.pace(found[1]) < SLOW:
                raise Wrong(f"{name}: {line}")
            self.slow += 1
        elif re.search(r"\] (?!crash: )\S+: (?:\S+ \S+: )?(?:warning|error): ", line):
            raise Wrong(f"{name}: {line}")
        elif re.search(r"linux\| .*guest: round \d+", line):
            self.rounds[name] += 1

    def clock(self, host):
        """Seconds of a host's own time."""
        now = float(re.search(r"\[ *([\d.]+)\] memory: ", self.ask(host, "memory", "kept from guests"))[1])
        self.clocks[host].append((time.monotonic(), now))
        return now

    def pace(self, host):
        """Real seconds for one of its own, lately: since ten real seconds ago, or the last look before."""
        known = self.clocks[host]
        self.clock(host)
        early = next((c for c in reversed(known) if c[0] < known[-1][0] - 10), known[0])
        return (known[-1][0] - early[0]) / max(known[-1][1] - early[1], 0.001)

    def wait(self, name, pattern, seconds=BOOT):
        """For a line that was printed, or will be; looks at all consoles meanwhile."""
        end = time.monotonic() + seconds
        while not self.lab[name].console.seen(pattern):
            self.look()
            if time.monotonic() > end:
                raise Wrong(f"{name}: nothing in {seconds} s matched {pattern!r}")
            time.sleep(0.3)

    # ---- what is done ----
    def restart(self):
        """`watch` is stopped and started, `edu` and `crash` are started again when they have ended."""
        for host, name in SMALL:
            console = self.lab[host].console
            stopped = len(console.seen(rf"\b{name}: stopped: "))
            started = len(console.seen(rf"\b{name}: started, "))
            if name == "watch" and stopped < started:
                console.send(f"stop {name}\r")
                self.until_seen(host, rf"\b{name}: stopped: ", stopped + 1)
            elif stopped < started:
                continue  # at work
            console.send(f"reset {name}\r")
            self.until_seen(host, rf"\b{name}: started, ", started + 1)
            self.restarts += 1

    def until_seen(self, name, pattern, count):
        end = time.monotonic() + 600
        while len(self.lab[name].console.seen(pattern)) < count:
            self.look()
            if time.monotonic() > end:
                raise Wrong(f"{name}: {pattern} was not printed in 600 s")
            time.sleep(0.2)

    # ---- what is counted ----
    def numbers(self, text, *names):
        found = []
        for name in names:
            found.append(sum(int(n) for n in re.findall(rf"\b{name} *:? *(\d+)", text)))
        return found

    def free(self, host):
        """KiB of its memory."""
        return int(re.search(r"free (\d+) KiB", self.ask(host, "memory", "kept from guests"))[1])

    def count(self, minute):
        lines = []
        for name in self.lab.machines:
            host = name.startswith("host")
            text = self.ask(name, "counters", "announcements: received")
            links = self.ask(name, "links\rmemory", "memory: network: ") if host else ""  # two lines for each remote
            bad = {key: int(n) for key, n in re.findall(r"counters: (malformed, [^:]+|damaged datagrams): (\d+)", text) if int(n)}
            bad.update({key: int(n) for key, n in re.findall(r"(forged frames|replayed): (\d+)", text) if int(n)})
            if bad:
                raise Wrong(f"{name}: {bad}")
            if host:
                reads, writes = self.numbers(text, "MRd", "MWr")
                sent, received, again, twice = self.numbers(links, "frames sent", "received", "retransmitted", "duplicates")
                lines.append(f"{name} MRd {reads} MWr {writes} frames {sent} again {again} twice {twice} free {self.free(name)} KiB")
            else:
                reads, writes, refused = self.numbers(text, "executed MRd", "executed MWr", "refused, [^:]+")
                lines.append(f"{name} MRd {reads} MWr {writes} refused {refused}")
        print(f"soak: minute {minute}, {time.monotonic() - self.began:.0f} s: rounds {' and '.join(map(str, self.rounds.values()))}, requests of drives "
              f"{self.requests}, restarts {self.restarts}, silences {self.slow}; " + "; ".join(lines), flush=True)

    def progress(self):
        """Both Linux guests have done something in the last minute: a round takes ten seconds. What a host knows of one that has not is asked before
        anything ends."""
        for name in HOSTS:
            self.silent[name] = self.silent[name] + 1 if self.rounds[name] == self.counted[name] else 0
            self.counted[name] = self.rounds[name]
            if not self.silent[name]:
                continue
            for host in HOSTS:
                for command in ("guests", "exits linux", "links", "devices", "nics", "counters", "trace 200"):
                    print(self.ask(host, command + "\rmemory", r"memory: network: "), flush=True)
            if self.silent[name] > 1:
                raise Wrong(f"{name}: its Linux guest has ended no round in two minutes")

    def run(self):
        self.lab.start()
        for host in HOSTS:
            self.wait(host, r"linux\| .*guest: ready")
        self.wait("host1", r"watch\| watch: edu here")
        self.wait("host2", r"crash: stopped: triple fault")
        self.wait("host2", r"edu: started, ")
        for host in HOSTS:
            self.lab[host].console.send("load on\r")
        start = self.clock("host1")
        self.count(0)
        restarted = start
        minute = 1
        while minute <= self.minutes:
            self.look()
            now, _ = (self.clock(host) for host in HOSTS)
            if now - restarted >= RESTART:
                self.restart()
                restarted = now
            if now - start >= 60 * minute:
                self.count(minute)
                self.progress()
                minute += 1
            time.sleep(1)
        self.end()

    def end(self):
        """The Linux guests end their round and say what their kernels have warned of. Then nobody runs: every function is free, and memory is as it was
        before the first guest, and the same however often they are started again."""
        for host in HOSTS:
            self.type(host, "linux", "\r")
        for host in HOSTS:
            self.wait(host, r"linux\| .*guest: done")
        for host in HOSTS:
            self.type(host, "linux", "\r")
            self.wait(host, r"linux: stopped: powered off")
        self.count("the last")
        for host in HOSTS:
            print(self.ask(host, "load", "load: idle"), flush=True)
        left = {}
        for again in range(4):
            for host, name in SMALL:
                console = self.lab[host].console
                if len(console.seen(rf"\b{name}: stopped: ")) < len(console.seen(rf"\b{name}: started, ")):
                    console.mark()
                    console.send(f"stop {name}\r")
                    self.until_seen(host, rf"\b{name}: stopped: ", len(console.seen(rf"\b{name}: started, ")))
            for host in HOSTS:
                left.setdefault(host, []).append(self.free(host))
            if again < 3:
                self.restart()
        for host in HOSTS:
            first = int(self.lab[host].console.seen(r"memory: .* free (\d+) KiB")[0][1])
            print(f"soak: {host}: {first} KiB were free before the first guest, now and after each restart {left[host]}")
            # What a guest's functions had comes back when their remote has them again: the first look may be too early for that.
            if left[host][-1] < left[host][0] or left[host][0] < first - CACHES:
                raise Wrong(f"{host}: {first} KiB were free before the first guest, then {left[host]}")
        for name in ("remote1", "remote2"):
            end = time.monotonic() + 120
            while len(re.findall(r"status: 0000:\S+ \S+ free handle", text := self.ask(name, "status", rf"status: 0000:00:{SERIAL:02x}\.0"))) != 3:
                if time.monotonic() > end:
                    raise Wrong(f"{name}: a function was left behind: {text}")
                time.sleep(1)
            granted = re.search(r"for all functions, (\d+) granted", self.ask(name, "dma", "slots for all functions"))
            if granted[1] != "0":
                raise Wrong(f"{name}: {granted[1]} slots are still granted")
        if sum(self.rounds.values()) < 2 * self.minutes or self.restarts < self.minutes:
            raise Wrong(f"only {self.rounds} rounds and {self.restarts} restarts in {self.minutes} minutes")

    def type(self, host, name, keys):
        console = self.lab[host].console
        console.mark()
        console.send(f"attach {name}\r")
        console.expect(f"keys go to {name}", 300)
        console.send(keys + "\x1d")
        console.expect(f"back from {name}", 300)


def main():
    minutes = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    began = time.monotonic()
    with Lab.load(description(), os.path.join(ROOT, "build", "lab", "soak")) as lab:
        soak = Soak(lab, minutes)
        try:
            soak.run()
            soak.look()
        except (Wrong, LabError) as e:
            sys.exit(f"soak: FAILED after {time.monotonic() - began:.0f} s: {e}\nsoak: consoles are in {os.path.relpath(lab.work_dir)}")
    print(f"soak: {minutes} emulated minutes, {time.monotonic() - began:.0f} s: {sum(soak.rounds.values())} rounds, {soak.requests} requests, "
          f"{soak.restarts} restarts; nothing wrong")


if __name__ == "__main__":
    main()
