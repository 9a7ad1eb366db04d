# SPDX-License-Identifier: BSD-2-Clause
"""Who starts when, and again: guests, hosts and remotes that restart find each other. (The remote first: test_probe.py; the host first:
test_faults.py.)"""
import pair


def whole_run(console, start):
    """The probe has run once more, without a failure."""
    console.expect(r"probe\| probe: \d+ findings, 0 failed", pair.BOOT)
    console.expect(r"probe: stopped: powered off", 60)
    return start


def test_restarts(lab):
    guests = [pair.guest("probe", "probe", "want=edu,serial", ["edu", "serial"])]
    l = lab(pair.description(guests, ["edu", "serial"], elves=["probe"]))
    host, remote = l["host1"], l["remote1"]
    console = host.console
    l.start()
    whole_run(console, "both at once")

    console.send("reset probe\r")
    whole_run(console, "the guest again: its devices were reset and are where they were")

    remote.console.mark()
    remote.console.send("reset\r")
    remote.console.expect(r'node "remote1" lends 2 functions', pair.BOOT)
    console.send("reset probe\r")  # who is stopped wants nothing of a remote: only now there is a link again
    console.expect(r'remote "remote1": link up', pair.BOOT)
    whole_run(console, "the remote was restarted from its console")

    # The host loses its power. Bochs starts it with the same clock, so with the same random numbers: the remote must not take its new
    # session for the old one.
    host.kill()
    host.start()
    whole_run(console, "the host has started again")

    console.send("reboot\r")
    whole_run(console, "the host was restarted from its console")
    assert [text for text in pair.guest_lines(host, "probe") if "FAILED" in text] == []
    assert len(console.seen(r"probe\| probe: \d+ findings, 0 failed")) == 5
