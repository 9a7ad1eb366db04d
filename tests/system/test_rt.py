# SPDX-License-Identifier: BSD-2-Clause
"""The runtime on whole machines: selftest.elf (tests/rt) does what is typed, on a PC as q35 is and on the VT-x side's."""
import re

import pytest

INI = "[node]\nname = self\nrole = remote\naddress = dhcp\nconsole = both debug\n"
FILES = {"remote-fw.elf": "build/selftest.elf"}
QEMU = {"machine": "qemu", "memory": 512}
BOCHS = {"machine": "bochs", "memory": 512}


def boot(lab, spec, cpus):
    one = lab({"host": {"self": {**spec, "cpus": cpus, "nic": "none", "ini": INI, "elf": "", "files": FILES}}})
    one.start()
    one["self"].console.expect(r"selftest: ready", 120)
    return one["self"]


def say(machine, command, answer, timeout=60):
    machine.console.send(command + "\n")
    return machine.console.expect(answer, timeout)


@pytest.mark.parametrize("spec, cpus", [(QEMU, 1), (QEMU, 4), (BOCHS, 1), (BOCHS, 2)],
                         ids=["q35-1", "q35-4", "bochs-1", "bochs-2"])
def test_machine(lab, spec, cpus):
    machine = boot(lab, spec, cpus)
    text = machine.console.text
    assert re.search(r"paging: \d+ leaves, W \d+, X \d+, W\+X 0$", text, re.M)
    assert f", {cpus} online, " in text
    assert re.search(r"time: TSC at [1-9]\d*\.\d{3} MHz from (CPUID|HPET|ACPI)", text)
    say(machine, "paging", r"paging W\+X 0, stack 64 KiB, guard above 1, identity map 0$")
    say(machine, "cpus", rf"cpus {cpus}, visits {(cpus - 1) * 100}$")
    say(machine, "timer", r"timer came$")
    say(machine, "heap", r"heap good, with an end$")
    # QEMU has no #GP for MSRs that are not there; Bochs has
    say(machine, "fixup", rf"fixup: PAT 1, MSR 0x123456 {int(spec is QEMU)}$")
    say(machine, "nmi", r"warning: NMI on CPU 0 \(number 1\)$")
    say(machine, "seal", r"seal: right, vector registers untouched, random numbers from the (CPU|clock)$", 120)
    say(machine, "release", r"loader memory released$")
    machine.console.send("off\n")
    assert machine.wait(60), "the machine did not power off"


def test_flood_loses_nothing_and_reset(lab):
    machine = boot(lab, QEMU, 1)
    say(machine, "flood", r"flood ends$")
    numbers = [int(n) for n in re.findall(r"flood (\d+) of 2000, and some words to make the line longer$", machine.console.text, re.M)]
    assert numbers == list(range(2000))
    say(machine, "reset", r"reset now$")
    machine.console.expect(r"selftest: ready", 120)


PANICS = [
    ("panic word", r"panic: error: told to: word$", "run_panic"),
    ("write-text", r"exception 14 \(#PF\) on CPU 0, error code 0x3,", "run_write_text"),
    ("write-alias", r"exception 14 \(#PF\) on CPU 0, error code 0x3,", "run_write_alias"),
    ("execute-data", r"exception 14 \(#PF\) on CPU 0, error code 0x11,", "run_execute_data"),
    ("overflow", r"exception 8 \(#DF\) on CPU 0", "deeper"),
]


@pytest.mark.parametrize("command, line, function", PANICS, ids=[p[0].split()[0] for p in PANICS])
def test_panic(lab, command, line, function):
    machine = boot(lab, QEMU, 2)
    say(machine, command, line)
    machine.console.expect(r"CR0 [0-9a-f]{16} CR2 [0-9a-f]{16} CR3 [0-9a-f]{16} CR4 [0-9a-f]{16}$", 60)
    machine.console.expect(r"backtrace:$", 60)
    machine.console.expect(rf"#\d+ +ffffffff8[0-9a-f]{{7}} {function}\+0x[0-9a-f]+$", 60)
    if command == "overflow":
        assert "stack overflow: CR2 is in a guard page" in machine.console.text
    else:
        machine.console.expect(r" stack_switch\+0x[0-9a-f]+$", 60)
    if function == "run_panic":
        machine.console.expect(r"trace: CPU 0: guest-stop 7, \d+ ticks ago$", 60)


def test_panic_in_panic(lab):
    machine = boot(lab, QEMU, 1)
    say(machine, "nested", r"panic: error: the first of two$")
    machine.console.expect(r"panic: error: a console that panics$", 60)


def test_panic_stops_all_cpus(lab):
    machine = boot(lab, QEMU, 4)
    say(machine, "elsewhere", r"panic: error: on another CPU: yes$")
    machine.console.expect(r"on CPU 1, RBP", 60)
    machine.console.expect(r"#\d+ +ffffffff8[0-9a-f]{7} cpu_idle_loop\+0x", 60)
    machine.console.expect(r"#\d+ .* \S+$", 60)
    after = machine.console.text.rsplit("backtrace:", 1)[1]
    assert "CPU 0 still runs" not in after


def iommu(options, edu=""):
    return {**QEMU, "iommu": False, "args": ["-device", f"intel-iommu,{options}", "-device", f"edu,addr=0x5{edu}"]}


@pytest.mark.parametrize("options", ["intremap=off,caching-mode=off", "intremap=on,caching-mode=on", "intremap=on,aw-bits=48,snoop-control=on"],
                         ids=["39", "caching", "48"])
def test_iommu(lab, options):
    """VT-d of QEMU: what edu reaches in memory through its second-level table, and what the unit records."""
    machine = boot(lab, iommu(options), 1)
    say(machine, "iommu", r"iommu frames kept 0$", 120)
    told = dict(re.findall(r"iommu ([a-z ]+): byte (.*)$", machine.console.text, re.M))
    fault = "fault of 00:05.0,"
    assert told == {
        "passes": "aa, no fault",
        "blocked": f"00, {fault} write, reason 2, address {told['blocked'].split()[-1]}",
        "empty": f"00, {fault} write, reason 5, address {told['blocked'].split()[-1]}",
        "mapped": "cc, no fault",
        "write to a page to be read": f"11, {fault} write, reason 5, address 0x5002000",
        "read of a page to be written": f"cc, {fault} read, reason 6, address 0x5003000",
        "unmapped": f"00, {fault} write, reason 5, address 0x5001000",
        "mapped again": told["mapped again"],  # what edu has in its buffer after a read that failed is its own affair
        "destroyed": f"00, {fault} write, reason 2, address 0x5001000",
    }
    assert told["mapped again"].endswith(", no fault")
    assert re.search(r"iommu cost: map \d+, unmap \d+,", machine.console.text)


@pytest.mark.parametrize("options", ["caching-mode=off", "caching-mode=on,x-buggy-eim=on,eim=on"], ids=["plain", "caching"])
def test_messages(lab, options):
    """Interrupt remapping of QEMU: a message comes when it is its sender's own, and not otherwise."""
    machine = boot(lab, iommu(f"intremap=on,{options}", ",dma_mask=0xffffffffffffffff"), 1)
    say(machine, "messages", r"messages end: UART heard$", 120)
    told = dict(re.findall(r"messages ([^:]*): (own \d+, other's \d+, free \d+);", machine.console.text))
    nothing = "own 0, other's 0, free 0"
    del told["of the old format"]  # QEMU lets it pass, the hardware does not
    assert told == {
        "its own": "own 1, other's 0, free 0",
        "another's": nothing,
        "nobody's": nothing,
        "its own by DMA": "own 1, other's 0, free 0",
        "nobody's by DMA": nothing,
        "behind the table by DMA": nothing,
        "taken away": nothing,
    }
    with open(machine.lab.path("self.emulator"), encoding="utf-8", errors="replace") as f:
        words = f.read()
    assert "invalid IRTE SID" in words and "non-present IRTE" in words  # stopped for what they are
    say(machine, "timer", r"timer came$")  # and the console hears
