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


@pytest.mark.parametrize("cpus,vcpus", [(1, 1), (2, 2)])
def test_others_run_meanwhile(lab, cpus, vcpus):
    """`ask` does nothing but read a register of its remote device. With two CPUs and vCPUs, its second vCPU only waits for its SIPI; its lock is
    what matters."""
    count = cpus  # one that counts on each CPU
    guests = [pair.guest("ask", "share", "do=ask count=100000", ["edu"], memory="16M", more=[f"cpus = {vcpus}"])] + \
        [pair.guest(f"share{i}", "share", "count=100000", memory="16M") for i in range(count)]
    l = lab(pair.description(guests, ["edu"], elves=["share"], lan={"wire": True}, host={"sync": "steady", "cpus": cpus}))
    l.start()
    host = l["host1"]
    host.console.expect(r"ask\| share: window at", pair.BOOT)
    host.console.expect(r"share0\| share: window at", pair.BOOT)

    def shares(since, until=1 << 63):
        """Of a processor, the least of any window and of all together: {name: (least, mean)}"""
        found = {}
        for i in range(count):
            seen = [w for w in windows(host, f"share{i}", "blocks") if since <= w[0] < until]
            cost = min(w[2] for w in windows(host, f"share{i}", "blocks"))
            assert seen, (i, since)
            found[f"share{i}"] = (min(w[1] * cost / w[3] for w in seen), sum(w[1] for w in seen) * cost / sum(w[3] for w in seen))
        return found

    def now():
        return windows(host, "share0", "blocks")[-1][0]

    def pass_windows(number, name="share0"):
        for _ in range(number):
            host.console.expect(rf"{name}\| share: window at", 120)

    # A slow network: each read takes some four milliseconds, during which the processor is not needed.
    l.lans["lan"].faults(delay=2)
    pass_windows(2)
    since = now()
    pass_windows(8)
    slow = shares(since)
    asked = [w for w in windows(host, "ask", "answers") if w[0] >= since]
    l.lans["lan"].calm()
    pass_windows(2)
    fast_since = now()
    pass_windows(8)
    fast = shares(fast_since)
    answers = [w for w in windows(host, "ask", "answers") if w[0] >= fast_since]
    # The cable is out: nobody else notices.
    cut = now()
    pair.short_cut(l)
    out = shares(cut, now())
    assert not host.console.seen(r"ask\| .* [1-9]\d* wrong")
    print(f"{cpus} CPU(s): of a processor, least and mean: slow network {slow}, fast {fast}, cable out {out}; "
          f"answers in a window: slow {[w[1] for w in asked]}, fast {[w[1] for w in answers]}")
    if cpus == 1:  # with more, a tick of the emulator is not an instruction of each CPU
        assert all(mean >= 0.85 for _, mean in slow.values()), slow
        assert all(least >= 0.85 for least, _ in out.values()), out
        assert all(mean >= 0.4 for _, mean in fast.values()), fast
    assert answers and sum(w[1] for w in answers) > 4 * len(answers), answers
