# SPDX-License-Identifier: BSD-2-Clause
"""Which machine plays the VT-x side: real nested VMX under KVM where it is there, else Bochs. Says which and why.

/dev/kvm alone proves nothing (it opens on machines whose CPU offers no VMX and cannot run firmware).
"""
import os

KINDS = ("auto", "kvm", "bochs", "qemu")


def _read(path):
    try:
        with open(path, encoding="ascii", errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def kvm_reason():
    """None when KVM can run a guest that uses VMX itself; otherwise why not."""
    flags = next((line for line in _read("/proc/cpuinfo").split("\n") if line.startswith("flags")), "").split()
    if "vmx" not in flags:
        return "this CPU shows no VMX"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "/dev/kvm cannot be opened"
    if _read("/sys/module/kvm_intel/parameters/nested").strip() not in ("Y", "1"):
        return "kvm_intel's parameter 'nested' is off"
    return None


def choose(wanted="auto"):
    """(machine, why) for 'auto', 'kvm', 'bochs' or 'qemu'."""
    if wanted not in KINDS:
        raise ValueError(f"MACHINE is one of {', '.join(KINDS)}, not '{wanted}'")
    reason = kvm_reason() if wanted in ("auto", "kvm") else None
    if wanted != "auto":
        return wanted, "asked for" + (f", but {reason}" if reason else "")
    return ("kvm", "nested VMX is there") if reason is None else ("bochs", reason)
