# SPDX-License-Identifier: BSD-2-Clause
"""A guest that waits for its remote device leaves the CPU to the others meanwhile: where the network is slow, and while the cable is out."""
import re

import pair
import pytest


def windows(host, name, what):
    """[(begin, number of what was counted, ticks of one if it is said, ticks)], guest's TSC"""
    text = "\n".join(pair.guest_lines(host, name))
    return [(int(begin), int(count), int(each or 0), int(ticks))
            for begin, count, each, ticks in re.findall(rf"window at (\d+): (\d+) {what}(?: of (\d+))?.* in (\d+) ticks", text)]


FROZEN = 2  # windows, of 0.4 s of the host's clock, that surely end while the link waits for the remote to come back


@pytest.mark.parametrize("cpus", [1, 2])
def test_others_run_meanwhile(lab, cpus):
    """`ask` does nothing but read a register of its remote device; where there are two CPUs, share1 is on the one that it asks on."""
    guests = [pair.guest("ask", "share", "do=ask count=100000", ["edu"], memory="16M", more=[f"cpus = {cpus}"])] + \
        [pair.guest(f"share{i}", "share", "count=100000", memory="16M") for i in range(cpus)]
    l = lab(pair.description(guests, ["edu"], elves=["share"], lan={"wire": True}, host={"sync": "steady", "cpus": cpus}))
    l.start()
    host = l["host1"]
    beside = f"share{cpus - 1}"
    host.console.expect(r"ask\| share: window at", pair.BOOT)
    host.console.expect(rf"{beside}\| share: window at", pair.BOOT)

    def look(number, asks=True):
        """(Of a processor, what `beside` had in each of so many windows that begin from now on; reads of `ask` in its windows meanwhile)"""
        since = windows(host, beside, "blocks")[-1][0]
        while True:
            shares, reads = ([w for w in windows(host, name, what) if w[0] > since][1:] for name, what in ((beside, "blocks"), ("ask", "answers")))
            if len(shares) >= number and (reads or not asks):
                break
            host.console.expect(r"share: window at", 120)
        cost = min(w[2] for w in windows(host, beside, "blocks"))
        return [round(count * cost / ticks, 3) for _, count, _, ticks in shares], [w[1] for w in reads]

    l.lans["lan"].faults(delay=2)  # each read takes some four milliseconds, during which the processor is not needed
    look(2)
    slow, slow_answers = look(8)
    l.lans["lan"].calm()
    look(2)
    fast, fast_answers = look(8)
    l.lans["lan"].down()
    host.console.expect('remote "remote1" does not answer; its functions wait', 60)  # for 2 s from here
    out, _ = look(FROZEN, asks=False)
    print(f"{cpus} CPU(s): of a processor: slow network {slow}, fast {fast}, cable out {out}; reads in a window: slow {slow_answers}, fast {fast_answers}")
    assert not host.console.seen(r"ask\| .* [1-9]\d* wrong")
    # With more than one CPU a tick of the emulator is not an instruction of each.
    least = 0.85 if cpus == 1 else 0.75
    assert sum(slow) / len(slow) >= least and min(out) >= least, (slow, out)
    assert sum(fast) / len(fast) >= 0.4, fast  # half, and what it is left
    assert fast_answers and min(fast_answers) > 4, fast_answers
