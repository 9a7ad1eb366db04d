# SPDX-License-Identifier: BSD-2-Clause
"""What the loader refuses, on real firmware: the sentence, and that the firmware goes on (its shell runs the next line, or starts).

Each machine starts once without a \\farbus.ini: the boot manager starts the loader, is refused, and goes on to the shell built into
OVMF, whose startup.nsh runs the loader again for every case. VT-x locked off cannot be had here (Bochs resets with it locked
on); tests/unit/test_boot_checks.c decides that one.
"""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools"))
from farbuslab import Lab  # noqa: E402

HOST = "[node]\nname = h\nrole = host\n"
REMOTE = "[node]\nname = r\nrole = remote\nsecurity = none\n"
GUEST = "[guest g]\nmemory = 64M\nkernel = \\t\\small.elf\n"
NOT_FOUND, INVALID, UNSUPPORTED, NO_MEMORY = 0xE, 0x2, 0x3, 0x9  # EFI_STATUS without its error bit


class Case:
    """One run of the loader: its argument, the file it is given (text of an ini, if any), a command before it; sentence and status."""

    def __init__(self, sentence, status, ini=None, argument=None, before=""):
        self.sentence, self.status, self.ini, self.before, self.argument = sentence, status, ini, before, argument


def spoiled(elf, at, value):
    return elf[:at] + bytes(value) + elf[at + len(value):]


def run_cases(tmp_path, spec, cases, files, last=None):
    """Boots once, runs all cases, checks each; `last`: (command, pattern) after them."""
    script = ["@echo -off", "fs0:"]
    files = dict(files)
    for number, case in enumerate(cases):
        argument = case.argument
        if case.ini is not None:
            argument = f"\\t\\{number}.ini"
            files[f"t/{number}.ini"] = case.ini.encode()
        if case.before:
            script.append(case.before)
        script += [f"echo run {number}", f"\\EFI\\BOOT\\BOOTX64.EFI {argument or ''}", "echo back %lasterror%"]
    if last:
        script.append(last[0])
    files["startup.nsh"] = ("\r\n".join(script) + "\r\n").encode()
    spec = dict({"nic": "none", "memory": 256, "ini": None, "elf": "", "files": files}, **spec)
    with Lab.load({"host": {"pc": spec}}, str(tmp_path / "lab")) as lab:
        lab.start()
        console = lab["pc"].console
        console.expect(r"^\\farbus.ini: there is no such file on this volume$", 600)
        console.expect(r"^Back to the firmware with any key", 60)
        console.send(" ")
        console.expect(r"UEFI Interactive Shell", 600)  # the boot manager goes on
        for number, case in enumerate(cases):
            console.expect(rf"run {number}$", 120)
            sentence = case.sentence.replace("INI", re.escape(f"\\t\\{number}.ini"))
            console.expect(rf"^{sentence}$", 120)
            status = console.expect(r"back (0x[0-9A-Fa-f]+)\s", 120).group(1)
            assert int(status, 16) & 0xFF == case.status, f"case {number}: {status}"
        if last:
            console.expect(last[1], 120)


def test_refusals(tmp_path):
    """Configuration and ELF, on QEMU; a CPU without VT-x. In the end the same firmware starts a remote as if nothing had been."""
    with open(os.path.join(ROOT, "build", "esp-remote", "remote-fw.elf"), "rb") as f:
        elf = f.read()
    note = elf.index(b"Farbus\0\0") + 8
    files = {
        "t/class.elf": spoiled(elf, 4, [1]),
        "t/version.elf": spoiled(elf, note, [99]),
        "t/short.elf": elf[:len(elf) // 2],
        "t/good.elf": elf,
        "t/text.txt": b"text",
    }

    def load(name):
        return f"cp -q \\t\\{name} \\remote-fw.elf"

    cases = [
        Case(r"INI line 3: unknown key 'memroy' in \[node\]; there are name, role, .*", INVALID, "[node]\nname = h\nmemroy = 1G\n"),
        Case(r"INI line 5: memory = 'much' is not a size: .*", INVALID, HOST + "[guest g]\nmemory = much\n"),
        Case(r"INI line 8: device d/0000:00:04.0 is given to guest 'g' already, in line 7", INVALID,
             HOST + GUEST + "device = d/0000:00:04.0\ndevice = d/0000:00:04.0\n"),
        Case(r"'\\t\\text.txt' is not a configuration file. Usage: .*", INVALID, argument="\\t\\text.txt"),
        Case(r"This CPU \(AuthenticAMD\) has no VT-x: .*", UNSUPPORTED, HOST + GUEST),
        Case(r"\\remote-fw.elf: there is no such file on this volume", NOT_FOUND, REMOTE),
        Case(r"\\remote-fw.elf: a 32-bit ELF file .*", UNSUPPORTED, REMOTE, before=load("class.elf")),
        Case(r"\\remote-fw.elf: made for another loader \(boot contract version 99 .*", UNSUPPORTED, REMOTE, before=load("version.elf")),
        Case(r"\\remote-fw.elf: the file is truncated: .*", INVALID, REMOTE, before=load("short.elf")),
        Case(r"\\remote-fw.elf: not an ELF file \(4 bytes\)", INVALID, REMOTE, before=load("text.txt")),
    ]
    files["t/good.ini"] = REMOTE.encode()
    good = f"{load('good.elf')}\r\n\\EFI\\BOOT\\BOOTX64.EFI \\t\\good.ini"
    run_cases(tmp_path, {"machine": "qemu", "chipset": "q35"}, cases, files, (good, r"Leaving the firmware\.\s+\[ +[0-9.]+\]"))


def test_refusals_of_a_host(tmp_path):
    """What is looked at only where there is VT-x: files and memory of guests."""
    files = {"t/small.elf": b"x" * 5000, "hv.elf": b"not read", "t/empty.bin": b""}
    cases = [
        Case(r"INI line 6: \\t\\none.elf: there is no such file on this volume", NOT_FOUND, HOST + "[guest g]\nmemory = 64M\nkernel = \\t\\none.elf\n"),
        Case(r"INI line 7: /t: that is a folder, not a file", INVALID, HOST + GUEST + "initrd = /t\n"),
        Case(r"INI line 7: /t/empty.bin: the file is empty", INVALID, HOST + GUEST + "module = /t/empty.bin a b\n"),
        Case(r"INI line 4: too little memory: the guests ask for 1088 MiB \(the largest, 'big', for 1024 MiB\) and Farbus needs 27 MiB with its files, "
             r"together 1115 MiB; this machine has 2\d\d MiB\. Give the guests less 'memory'\.", NO_MEMORY,
             HOST + GUEST.replace("[guest g]\nmemory = 64M", "[guest big]\nmemory = 1G") + GUEST),
        Case(r"\\hv.elf: not an ELF file \(8 bytes\)", INVALID, HOST + GUEST),
    ]
    run_cases(tmp_path, {"machine": "bochs"}, cases, files)


def test_no_vtx(tmp_path):
    """A CPU model without VMX: refused from the boot manager, which goes on to the shell."""
    spec = {"machine": "bochs", "cpu": "p4_prescott_celeron_336", "nic": "none", "memory": 256, "elf": "", "ini": HOST}
    with Lab.load({"host": {"pc": spec}}, str(tmp_path / "lab")) as lab:
        lab.start()
        lab["pc"].console.expect(r"^This CPU \(GenuineIntel\) offers no VT-x, which role = host needs to run guests\. .*$", 600)
        lab["pc"].console.expect(r"UEFI Interactive Shell", 600)
