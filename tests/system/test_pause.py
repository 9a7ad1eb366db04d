# SPDX-License-Identifier: BSD-2-Clause
"""`pause` and `resume` on the host's console: a paused guest executes nothing, and has not noticed anything when it goes on."""
import re

import pair


def exits(lab, name):
    """VM exits of the guest so far."""
    text = pair.ask(lab["host1"], f"exits {name}", "unowned port reads")
    return sum(int(n) for n in re.findall(rf"exits: {name}: [A-Z_0-9]+ +(\d+)", text))


def until(console, pattern, timeout=pair.BOOT):
    if not console.seen(pattern):
        console.expect(pattern, timeout)


def test_pause(lab):
    """The guest `timer` compares interrupt intervals, 8254, TSC and CPUID: a pause in each of its parts would show. Another one goes on."""
    guests = [pair.guest("timer", "timer", "hz=100 ticks=40 shared=1", (), memory="32M"),
              pair.guest("selfipi", "selfipi", "count=1000000", (), memory="32M")]
    l = lab(pair.description(guests, elves=["timer", "selfipi"]))
    l.start()
    console = l["host1"].console
    console.expect("host: up", pair.BOOT)
    for after in (r"timer\| timer: latched counts", r"timer\| timer: virtual wire: ", r"timer\| timer: no local APIC: ", r"timer\| timer: I/O APIC: "):
        until(console, after)
        console.send("pause timer\r")
        console.expect("timer: paused", 60)
        before, other = exits(l, "timer"), exits(l, "selfipi")
        text = pair.ask(l["host1"], "guests", "guests: selfipi: running")
        assert re.search(r"guests: timer: paused", text)
        for _ in range(3):  # some time of the machine's own
            assert exits(l, "timer") == before
        assert exits(l, "selfipi") > other
        console.send("resume timer\r")
        console.expect("timer: goes on", 60)
    console.expect(r"timer\| timer: \d+ findings, \d+ failed", 900)
    console.expect(r"timer: stopped: powered off", 60)
    lines = pair.guest_lines(l["host1"], "timer")
    assert not re.search(r"timer\| .*FAIL", console.text)
    assert "timer: 25 findings, 0 failed" in lines


def test_pause_and_the_rest(lab):
    """What is not running is not paused; a paused guest can be stopped, and reset."""
    l = lab(pair.description([pair.guest("selfipi", "selfipi", "count=1000000", (), memory="32M")], elves=["selfipi"]))
    l.start()
    console = l["host1"].console
    console.expect("selfipi: started", pair.BOOT)
    console.send("resume\r")
    console.expect("selfipi is not paused", 60)
    console.send("pause selfipi\r")
    console.expect("selfipi: paused", 60)
    console.send("stop\r")
    console.expect("selfipi: stopped: stopped from the console", 60)
    console.send("pause\r")
    console.expect("selfipi is not running", 60)
    console.send("reset\r")
    console.expect("selfipi: started", 60)
    console.send("pause\r")
    console.expect("selfipi: paused", 60)
    before = exits(l, "selfipi")
    assert exits(l, "selfipi") == before > 0
    console.send("reset\r")
    console.expect("selfipi: started", 60)
    first = exits(l, "selfipi")
    assert exits(l, "selfipi") > first
