# SPDX-License-Identifier: BSD-2-Clause
"""The guest's 8254 and 8259 pair, used as kernels use them (tests/guests/timer): calibration through port 0x61, 100 Hz through the 8259 with
and without a local APIC and through the I/O APIC. Intervals are counted in TSC ticks, never in real time."""
import re

import pair


def test_timer(lab):
    guests = [pair.guest("timer", "timer", "hz=100 ticks=20", (), memory="32M")]
    l = lab(pair.description(guests, elves=["timer"]))
    l.start()
    l["host1"].console.expect(r"timer\| timer: \d+ findings, \d+ failed", 900)
    l["host1"].console.expect(r"timer: stopped: powered off", 60)
    lines = pair.guest_lines(l["host1"], "timer")
    assert [line for line in lines if "FAILED" in line] == []
    assert re.search(r"timer: (\d+) findings, 0 failed", "\n".join(lines))[1] == "25"
    assert any(line.startswith("timer: channel 2:") and "CPUID" in line for line in lines)
    exits = pair.ask(l["host1"], "exits timer", "unowned port reads")
    assert re.search(r"unowned port reads 0 writes 0", exits), exits
