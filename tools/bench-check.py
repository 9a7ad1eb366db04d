#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Checks the emulators before they are believed: tools/bench-check.c must print the same on this machine and, as an EFI application, on each.

usage: tools/bench-check.py [--only bochs|qemu] [--emulator PATH]

Exit code 0: all compute right. Otherwise one sentence says which emulator is wrong, and where. Part of `make deps`.
"""
import argparse
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from farbuslab import Lab, LabError  # noqa: E402
from farbuslab.machine import DEPS, ROOT  # noqa: E402

WORK = os.path.join(DEPS, "check")
SOURCE = os.path.join(ROOT, "tools", "bench-check.c")
FLAGS = ["-std=gnu17", "-O2", "-w", "-fno-strict-aliasing", "-mgeneral-regs-only", "-mno-red-zone", "-fno-stack-protector", "-fcf-protection=none"]


def make():
    """Compiles the program and the EFI application; returns the latter's path."""
    os.makedirs(WORK, exist_ok=True)
    path = lambda name: os.path.join(WORK, name)
    run = lambda *a: subprocess.run(a, check=True)
    run("gcc", *FLAGS, SOURCE, "-o", path("native"))
    run("gcc", *FLAGS, "-DEFI", "-ffreestanding", "-fpic", "-fshort-wchar", "-maccumulate-outgoing-args", "-DGNU_EFI_USE_MS_ABI",
        "-I/usr/include/efi", "-I/usr/include/efi/x86_64", "-c", SOURCE, "-o", path("efi.o"))
    run("ld", "-nostdlib", "-znocombreloc", "-shared", "-Bsymbolic", "-z", "noexecstack", "-T", "/usr/lib/elf_x86_64_efi.lds", "/usr/lib/crt0-efi-x86_64.o",
        path("efi.o"), "-L/usr/lib", "-lefi", "-lgnuefi", "-o", path("efi.so"))
    sections = [x for s in (".text", ".sdata", ".data", ".rodata", ".dynamic", ".dynsym", ".rel", ".rela", ".rel.*", ".rela.*", ".reloc") for x in ("-j", s)]
    run("objcopy", *sections, "--target=efi-app-x86_64", "--subsystem=10", path("efi.so"), path("check.efi"))
    return path("check.efi")


def results(text):
    return dict(re.findall(r"^check (\S+) ([0-9a-f]{16})$", text, re.M))


def main():
    parser = argparse.ArgumentParser(description="do the emulators compute right?")
    parser.add_argument("--only", choices=("bochs", "qemu"))
    parser.add_argument("--emulator", help="this program in place of the machine's own")
    args = parser.parse_args()
    efi = make()
    native = results(subprocess.run([os.path.join(WORK, "native")], check=True, capture_output=True, text=True).stdout)
    common = {"loader": efi, "elf": "", "nic": "none", "memory": 256}
    if args.emulator:
        common["emulator"] = args.emulator
    kinds = [args.only] if args.only else ["bochs", "qemu"]
    wrong = []
    with Lab.load({"host": {kind: dict(common, machine=kind) for kind in kinds}}, os.path.join(WORK, "lab")) as lab:
        lab.start()
        for kind in kinds:
            try:
                end = lab[kind].console.expect(r"^check end$|^!!!! X64 Exception Type - \S+\((.*?)\)", 180)
            except LabError as e:
                why = lab[kind].complaints() or [str(e)]
                wrong.append(f"{kind} did not finish the check: {why[0]}" + "".join("\n" + line for line in why[1:]))
                continue
            seen = results(lab[kind].console.text)
            if end.group(1):
                name = next((n for n in native if n not in seen), "the end")
                wrong.append(f"{kind} computes wrongly, nothing it shows can be believed: {end.group(1)} in {name}")
                continue
            bad = [name for name in native if seen.get(name) != native[name]]
            if bad:
                wrong.append(f"{kind} computes wrongly, nothing it shows can be believed: {', '.join(bad)} of {len(native)} groups of instructions")
    if wrong:
        sys.exit("bench-check: " + "\nbench-check: ".join(wrong))
    print(f"{' and '.join(kinds)} compute {len(native)} groups of instructions as this machine does")


if __name__ == "__main__":
    try:
        main()
    except LabError as e:
        sys.exit(f"bench-check: {e}")
    except subprocess.CalledProcessError as e:
        sys.exit(f"bench-check: {e.cmd[0]} failed on tools/bench-check.c")
