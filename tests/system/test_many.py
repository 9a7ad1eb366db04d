# SPDX-License-Identifier: BSD-2-Clause
"""Several hosts, many guests: nobody has what another has, nothing is left behind by restarts, nobody is starved."""
import re

import pair


def until(machine, pattern, timeout=pair.BOOT):
    if not machine.console.seen(pattern):
        machine.console.expect(pattern, timeout)


def test_eight_guests(lab):
    """Eight guests, two processors (one of them is the network's and the console's). One guest never exits, one floods ports, one
    configuration space; each of the others gets at least three quarters of its eighth, in instructions."""
    storms, others = ["spin", "ports", "config"], [f"share{i}" for i in range(5)]
    guests = [pair.guest(n, "share", f"do={n}", memory="16M") for n in storms] + [pair.guest(n, "share", memory="16M") for n in others]
    l = lab(pair.description(guests, elves=["share"], host={"cpus": 2}))
    l.start()
    host = l["host1"]
    host.console.expect("host: up", pair.BOOT)
    for name in others:
        until(host, rf"{name}\| share: measured", 400)
    began = max(int(m[1]) for m in host.console.seen(r"started, entry 0x\w+, at TSC (\d+)"))
    assert len(re.findall(r"guests: \w+: running", pair.ask(host, "guests", "guests: share4: "))) == 8
    shares = {}
    for name in others:
        found = re.findall(r"window at (\d+): (\d+) blocks of (\d+) in (\d+) ticks", "\n".join(pair.guest_lines(host, name)))
        found = [list(map(int, w)) for w in found if int(w[0]) > began]
        assert len(found) >= 3, (name, began)  # while all eight ran
        shares[name] = sum(blocks for _, blocks, _, _ in found) * found[-1][2] / sum(ticks for _, _, _, ticks in found)
    print("shares of a processor:", {name: round(share, 4) for name, share in shares.items()})
    assert all(0.75 / 8 <= share < 0.2 for share in shares.values()), shares
