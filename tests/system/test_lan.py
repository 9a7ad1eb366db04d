# SPDX-License-Identifier: BSD-2-Clause
"""Guests on a LAN with others: a Linux machine without Farbus, guests of another host and of their own. Addresses by DHCP, TCP both ways with every byte
checked, VLAN tags; all through the physical NIC that carries a remote drive's traffic at the same time."""
import re

import linux_guest
import pair
import pytest
from farbuslab import guest
from lan_guest import IPS, MIB, SECONDS, initramfs, port, talks, udhcpd

FAR_MAC, RATE = "52:54:00:fa:00:09", 8_000_000

FAR = r"""
ip addr add 10.7.0.9/24 dev eth0
ip link add link eth0 name eth0.7 type vlan id 7
ip link set eth0.7 mtu 1496 up
ip addr add 10.8.0.9/24 dev eth0.7
udhcpd /udhcpd.conf
say "ready"
lancheck serve 7000
"""


def both(peer):
    """Lines of a script: over TCP with a peer, and on the remote's drive, at the same time."""
    return rf"""
(lancheck talk {peer} 7000 up={MIB << 20} down={MIB << 20} seed=1; touch /tmp/over) &
n=0
until [ -e /tmp/over ]; do
    must dmacheck write $drive start=$((n % 8 * 2097152)) bytes=2097152 bs=65536 qd=4 seed=3
    must dmacheck read $drive start=$((n % 8 * 2097152)) bytes=2097152 bs=4096 qd=8 seed=3
    n=$((n + 1))
done
say "drive and network, $n times"
"""


GUEST = rf"""
drive=/dev/nvme0n1
must udhcpc -i eth0 -q -n -t 30 -s /udhcpc
within 60 ping -c 1 -w 1 10.7.0.9 >/dev/null && say "the machine answers"
ping -c 3 -w 20 -s 1472 10.7.0.9 >/dev/null && say "it answers frames of full size"
within 120 test -b $drive

{both("10.7.0.9")}

# Behind a VLAN tag (Bochs's NIC takes no frame that is longer than 1514 bytes)
ip link add link eth0 name eth0.7 type vlan id 7
ip link set eth0.7 mtu 1496 up
ip addr add 10.8.0.10/24 dev eth0.7
within 60 ping -c 1 -w 1 10.8.0.9 >/dev/null && say "it answers behind a tag"
ping -c 3 -w 20 -s 1468 10.8.0.9 >/dev/null && say "it answers frames of full size behind a tag"
must lancheck talk 10.8.0.9 7000 up=262144 down=262144 seed=5

# Past a limit
ip link set eth1 up
lancheck flood eth1 {FAR_MAC} seconds=2
sleep 1
warnings
poweroff -f
"""


def drive_is_right(l):
    """What both() wrote is in the drive's image."""
    times = len(linux_guest.checks(l)) // 2
    assert times >= 1
    linux_guest.verify_image(linux_guest.image(l, "disk"), 0, 0, min(times, 8) * 2097152, 3)


def test_guest_and_linux_machine(lab):
    description = linux_guest.description("", {4: [linux_guest.NVME]}, [{"id": "disk", "size": "32M"}], cpus=1)
    host = description["host"]["host1"]
    host["ips"] = IPS
    host["ini"] = host["ini"].replace("[guest linux]", f"[guest linux]\nnic = 52:54:00:00:00:11\nnic = 52:54:00:00:00:12 {RATE // 1000000}M")
    host["files"]["initrd"] = initramfs(GUEST, ["build/linux/dmacheck"])
    description["linux"] = {"far": {"lan": "lan", "memory": 256, "mac": FAR_MAC,
                                    "initrd": initramfs(FAR, files={"udhcpd.conf": udhcpd("10.7.0.100", "10.7.0.109")})}}
    l = lab(description)
    l.start()
    l["host1"].console.expect(r"linux\| .*guest: eth0 has", 900)
    l.lans["lan"].vlan(7)
    l["host1"].console.expect("linux: stopped: powered off", SECONDS)
    linux_guest.nothing_wrong(l)
    said = linux_guest.said(l)
    assert [line for line in said if re.fullmatch(r"eth0 has 10\.7\.0\.10\d/24 from 10\.7\.0\.9", line)]
    for line in ("the machine answers", "it answers frames of full size", "it answers behind a tag",
                 "it answers frames of full size behind a tag"):
        assert line in said, line
    (_, big), (_, tagged), (_, flood) = talks(l["host1"].console.text)
    assert big["up"] == big["down"] == MIB << 20 and tagged["up"] == 262144
    assert not any(t[key] for t in (big, tagged) for key in ("wrong", "far_wrong")), (big, tagged)
    assert not any(t["wrong"] for _, t in talks(l["far"].console.text))
    drive_is_right(l)

    console = l["host1"].console
    link = pair.links(l["host1"])
    print(link, pair.ask(l["host1"], "counters", "counters: .*"))
    free, limited = port(console, "linux, NIC 0"), port(console, "linux, NIC 1")
    assert free["sent_bytes"] > MIB << 20 < free["received_bytes"] and free["forbidden"] == free["spoofed"] == 0
    assert free["held"] == 0 or link["retransmitted"] > 0, (free, link)  # it has no limit of its own, but gives way where links lose frames
    # what it sent at the most: the limit, the seconds of the flood, and what then waited in the guest (its queue and its socket's)
    assert limited["held"] > 0
    assert 0 < flood["frames"] * flood["size"] < RATE / 8 * flood["usec"] / 1e6 + 700_000, flood

SERVER = r"""
ip addr add 10.7.0.11/24 dev eth0
udhcpd /udhcpd.conf
say "ready"
lancheck serve 7000 1
poweroff -f
"""

CLIENT = rf"""
must udhcpc -i eth0 -q -n -t 30 -s /udhcpc
within 60 ping -c 1 -w 1 10.7.0.11 >/dev/null && say "the other guest answers"
ping -c 3 -w 20 -s 1472 10.7.0.11 >/dev/null && say "it answers frames of full size"
lancheck talk 10.7.0.11 7000 up={MIB << 20} down={MIB << 20} seed=1
poweroff -f
"""


def test_guests_on_two_hosts(lab):
    def host(name, number, script, files=None):
        ini = f"[node]\nname = {name}\nrole = host\naddress = 10.7.0.{number}/24\n[guest linux]\nmemory = 160M\nkernel = vmlinuz\ninitrd = initrd\n" \
              f"nic = auto\ncmdline = {linux_guest.CMDLINE} quiet\n"
        return {"lan": "lan", "memory": 384, "ips": IPS, "ini": ini,
                "files": {"vmlinuz": guest.kernel("cloud"), "initrd": initramfs(script, files=files)}}

    l = lab({"lan": {"lan": {}}, "host": {"host1": host("host1", 1, CLIENT),
                                          "host2": host("host2", 2, SERVER, {"udhcpd.conf": udhcpd("10.7.0.100", "10.7.0.109")})}})
    l.start()
    texts = []
    for name in ("host1", "host2"):
        l[name].console.expect("linux: stopped: powered off", SECONDS)
        texts.append(l[name].console.text)
    for line in (r"eth0 has 10\.7\.0\.10\d/24 from 10\.7\.0\.11", "the other guest answers", "it answers frames of full size"):
        assert re.search(rf"^linux\| guest: {line}$", texts[0], re.M), line
    assert "FAILED" not in texts[0] + texts[1]
    for text in texts:
        ((_, talk),) = talks(text)
        assert talk["up"] == talk["down"] == MIB << 20 and talk["wrong"] == talk["far_wrong"] == 0
    for name in ("host1", "host2"):
        counters = port(l[name].console, "linux, NIC 0")
        assert counters["sent_bytes"] > MIB << 20 < counters["received_bytes"]
        assert counters["spoofed"] == counters["forbidden"] == counters["malformed"] == 0


NEIGHBOUR = r"""
ip addr add 10.7.0.11/24 dev eth0
lancheck serve 7000 1
poweroff -f
"""

WITH_DRIVE = rf"""
drive=/dev/nvme0n1
ip addr add 10.7.0.12/24 dev eth0
within 120 test -b $drive
within 60 ping -c 1 -w 1 10.7.0.11 >/dev/null && say "the other guest answers"
{both("10.7.0.11")}
warnings
poweroff -f
"""


@pytest.mark.skipif(MIB <= 8, reason="two minutes: make lan-test runs it; test_nic.py has two guests of one host that talk")
def test_guests_on_one_host(lab):
    description = linux_guest.description("", {4: [linux_guest.NVME]}, [{"id": "disk", "size": "32M"}], cpus=1, memory="160M")
    host = description["host"]["host1"]
    host["ips"] = IPS
    host["ini"] = host["ini"].replace("[guest linux]", "[guest linux]\nnic = 52:54:00:00:00:12")
    host["ini"] += f"[guest neighbour]\nmemory = 160M\nkernel = vmlinuz\ninitrd = neighbour\nnic = 52:54:00:00:00:11\ncmdline = {linux_guest.CMDLINE} quiet\n"
    host["files"].update(initrd=initramfs(WITH_DRIVE, ["build/linux/dmacheck"]), neighbour=initramfs(NEIGHBOUR))
    l = lab(description)
    linux_guest.run(l, seconds=SECONDS + 300)
    console = l["host1"].console
    if not console.seen("neighbour: stopped: powered off"):
        console.expect("neighbour: stopped: powered off", 60)
    linux_guest.nothing_wrong(l)
    assert "the other guest answers" in linux_guest.said(l)
    results = talks(console.text)
    assert sorted(what for what, _ in results) == ["serve", "talk"]
    for _, talk in results:
        assert talk["up"] == talk["down"] == MIB << 20 and talk["wrong"] == talk["far_wrong"] == 0
    drive_is_right(l)
    for name in ("linux", "neighbour"):
        counters = port(console, f"{name}, NIC 0")
        assert counters["sent_bytes"] > MIB << 20 < counters["received_bytes"]
        assert counters["spoofed"] == counters["forbidden"] == counters["malformed"] == 0
