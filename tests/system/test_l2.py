# SPDX-License-Identifier: BSD-2-Clause
"""The carrier of a link: l2 where both ends have it, udp where one of them must not, and what the counters say of it. The other tests of
a host with a remote run by l2, which is what `auto` means on one LAN; those with a peer in Python by udp."""
import re

import pair
import pytest
import wire as w


def lan(lab, host, remote, nic):
    guest = pair.guest("probe", "probe", "loop=20 want=edu", ["edu", "testdev"])
    description = pair.description([guest], ["edu", "testdev"], elves=["probe"], host_start=False)
    description["host"]["host1"]["ini"] = description["host"]["host1"]["ini"].replace("[guest", f"carrier = {host}\n[guest", 1)
    description["remote"]["remote1"]["ini"] += f"carrier = {remote}\n"
    description["remote"]["remote1"].update(nic)
    l = lab(description)
    l.start()
    pair.remote_up(l)
    l["host1"].start()
    return l


def counted(machine):
    text = pair.ask(machine, "counters", r"by a carrier not wanted: \d+")
    return [int(n) for n in re.search(r"frames for links: (\d+), of them by l2: (\d+); not to us: (\d+), by a carrier not wanted: (\d+)", text).groups()]


VIRTIO = {"nic": "virtio-net-pci,disable-legacy=on"}
IGB = {"nic": "igb", "emulator": "build/deps/bin/qemu"}


@pytest.mark.parametrize("host, remote, carrier, nic", [("l2", "l2", "l2", VIRTIO), ("auto", "udp", "udp", IGB)], ids=["l2-virtio", "udp-igb"])
def test_carrier(lab, host, remote, carrier, nic):
    """By the way, the remotes have other NICs than those of the other tests."""
    l = lan(lab, host, remote, nic)
    console = l["host1"].console
    console.expect(rf"link: up: remote1 at {pair.REMOTE}, epoch \w+, .* by {carrier}$", pair.BOOT)
    console.expect(r"probe\| probe: (\d+) findings, 0 failed", 900)
    console.expect(r"probe: stopped: powered off", 60)
    assert re.search(rf"by {carrier}\b", pair.ask(l["host1"], "links", r"RTO \d+ us"))
    kinds = {packet[12:14] for packet in w.packets(l["remote1"].pcap) if (d := w.datagram(packet)) and d.payload[5] & 0x7F in (4, 5)}
    assert kinds == {w.ETHERTYPE if carrier == "l2" else b"\x08\0"}
    for name in ("host1", "remote1"):
        links, by_l2, foreign, unwanted = counted(l[name])
        assert foreign == 0
        assert (by_l2 > 20) == (carrier == "l2")
        # what the host tries first, and the remote must not take
        assert (unwanted > 0) == (name == "remote1" and remote == "udp")
        assert links > 20
