# SPDX-License-Identifier: BSD-2-Clause
"""Kernels and test suites that others wrote run as guests, unmodified, as Debian packages them: memtest86+ by both entries of a bzImage, GNU Mach
as a Multiboot kernel with a module. Their screens are read from their serial consoles."""
import gzip
import os
import re
import time

import pair

GUESTS = os.path.join(pair.ROOT, "build", "deps", "guests")


def section(name, memory, cmdline, more=()):
    return "\n".join([f"[guest {name}]", f"memory = {memory}", f"kernel = {name}", f"cmdline = {cmdline}", *more]) + "\n"


def screen(host, name):
    """All that a guest printed, as one line: it draws with escape sequences, which the laboratory's console leaves out."""
    return "".join(re.findall(rf"^(?:host1> )?{name}\| (.*)$", host.console.text, re.M))


def until(host, name, pattern, seconds=400):
    """Waits for what a guest draws, however its lines are cut."""
    end = time.monotonic() + seconds
    while not re.search(pattern, screen(host, name)):
        assert time.monotonic() < end and host.running(), (name, pattern, screen(host, name)[-2000:])
        time.sleep(0.3)


def test_suites_of_others(lab):
    with gzip.open(os.path.join(GUESTS, "gnumach.gz")) as f:
        mach = f.read()
    memtest = "console=ttyS0,115200"
    ini = "[node]\nname = host1\nrole = host\naddress = 10.7.0.1/24\n" + section("memtest", "8M", memtest) + section("memtest32", "8M", memtest) + \
        section("mach", "48M", "console=com0 root=none", ["module = server first $(task-create) $(task-resume)"])
    l = lab({"host": {"host1": {"nic": "none", "memory": 256, "ini": ini,
                                "files": {"memtest": os.path.join(GUESTS, "memtest.bin"), "memtest32": os.path.join(GUESTS, "memtest32.bin"),
                                          "mach": mach, "server": b"no program"}}}})
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
