# SPDX-License-Identifier: BSD-2-Clause
"""Kernels and test suites that others wrote run as guests, unmodified, as Debian packages them: memtest86+ by both entries of a bzImage, GNU Mach
and Xen as Multiboot kernels with a module. Their screens are read from their serial consoles."""
import gzip
import os
import re
import time

import pair

GUESTS = os.path.join(pair.ROOT, "build", "deps", "guests")


def unpacked(name):
    with gzip.open(os.path.join(GUESTS, name)) as f:
        return f.read()


def section(name, memory, cmdline, more=()):
    return "\n".join([f"[guest {name}]", f"memory = {memory}", f"kernel = {name}", f"cmdline = {cmdline}", *more]) + "\n"


def screen(host, name):
    """All that a guest printed, as one line: it draws with escape sequences, which the laboratory's console leaves out."""
    return "".join(re.findall(rf"^[^|\n]*?{name}\| (.*)$", host.console.text, re.M))


def until(host, name, pattern, seconds=400):
    """Waits for what a guest draws, however its lines are cut."""
    end = time.monotonic() + seconds
    while not re.search(pattern, screen(host, name)):
        assert time.monotonic() < end and host.running(), (name, pattern, screen(host, name)[-2000:])
        time.sleep(0.3)


def test_suites_of_others(lab):
    memtest = "console=ttyS0,115200"
    ini = "[node]\nname = host1\nrole = host\naddress = 10.7.0.1/24\n" + section("memtest", "8M", memtest) + section("memtest32", "8M", memtest) + \
        section("mach", "48M", "console=com0 root=none", ["module = server first $(task-create) $(task-resume)"]) + \
        section("xen", "256M", "xen no-real-mode com1=115200,8n1 console=com1 loglvl=all noreboot", ["module = memtest", "cpus = 2"])
    l = lab({"host": {"host1": {"nic": "none", "memory": 560, "ini": ini,
                                "files": {"memtest": os.path.join(GUESTS, "memtest.bin"), "memtest32": os.path.join(GUESTS, "memtest32.bin"),
                                          "mach": unpacked("gnumach.gz"), "xen": unpacked("xen.gz"), "server": b"no program"}}}})
    l.start()
    host = l["host1"]
    host.console.expect("host: up", pair.BOOT)
    host.console.expect("mach: started, entry 0x1000000", 60)

    # GNU Mach: its memory map, its command line, its module and that one's arguments
    until(host, "mach", r"GNU Mach 1\.8")
    until(host, "mach", r"user_bootstrap: Cannot load user executable module \(error code \d+\): server")  # which it is not
    mach = screen(host, "mach")
    assert "0000100000:000000000003000000, available" in mach
    assert "module 0: server first $(task-create) $(task-resume)" in mach and "1 multiboot modules" in mach
    host.console.send("stop mach\r")
    host.console.expect("mach: stopped: stopped from the console", 60)

    # Xen: both processors, memory, interrupt controllers, timers and the IOMMU; it ends for want of a Linux kernel
    until(host, "xen", r"ELF: not an ELF binary.*Could not construct domain 0")
    xen = screen(host, "xen")
    for line in ("[0000000000100000, 000000000fffffff] (usable)", "Using ACPI (MADT) for SMP configuration information",
                 "ACPI PM Timer", "Intel VT-d Queued Invalidation enabled.", "I/O virtualisation enabled", "TSC deadline timer enabled",
                 "Brought up 2 CPUs"):
        assert line in xen, (line, xen)
    host.console.send("stop xen\r")
    host.console.expect("xen: stopped: stopped from the console", 60)

    # memtest86+: all of the memory, each test in turn
    for name, version in (("memtest", "x64"), ("memtest32", "x32")):
        until(host, name, rf"6\.10\.unknown\.{version}")
        until(host, name, r"#6  \[Moving inversions, 64 bit pattern\]" if version == "x64" else r"#6  \[Moving inversions, 32 bit pattern\]")
        text = screen(host, name)
        assert re.search(r"Memory  :\s+(7\.\d+|8)MB", text)
        tests = re.findall(r"#(\d+) +\[", text)
        assert tests[0] == "0" and {"4", "5"} <= set(tests), tests
        errors = re.findall(r"Errors: (\d+)", text)
        assert len(errors) > 3 and set(errors) == {"0"}, errors
