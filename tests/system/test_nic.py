# SPDX-License-Identifier: BSD-2-Clause
"""Two Debian guests on one host, each with a virtual NIC (their kernel's own virtio_net): they reach each other and the host's stack through
the virtual switch, move data both ways unharmed, and cannot speak in another's name or on the links' port."""
import re

from farbuslab import guest
from pair import IPS

HOST = "10.7.0.1"
COMMON = r"""
ip link set lo up
ip link set eth0 up
ip addr add 10.7.0.%d/24 dev eth0
say "driver $(basename $(readlink /sys/class/net/eth0/device/driver)), address $(cat /sys/class/net/eth0/address)"
"""

SERVE = r"""
mkdir /tmp/www
dd if=/dev/urandom of=/tmp/www/data bs=64k count=4 2>/dev/null
md5sum </tmp/www/data >/tmp/www/sum
httpd -h /tmp/www
say "serving"
# fetch PEER: its data is what it says it is
fetch() {
    within 120 wget -q -O /tmp/sum http://$1/sum
    must wget -q -O /tmp/data http://$1/data
    [ "$(md5sum </tmp/data)" = "$(cat /tmp/sum)" ] && say "256 KiB came from $1 unharmed" || say "FAILED: data of $1 changed on its way"
}
"""

SERVER = COMMON % 11 + SERVE + r"""
fetch 10.7.0.12
touch /tmp/www/served # the other may go on
read line </dev/ttyS0
poweroff -f
"""

CLIENT = COMMON % 12 + SERVE + r"""
within 60 ping -c 1 -w 1 10.7.0.11 >/dev/null && say "the other guest answers"
within 60 ping -c 1 -w 1 10.7.0.1 >/dev/null && say "the host answers"
fetch 10.7.0.11
within 120 wget -q -O /dev/null http://10.7.0.11/served
# In another's name, and on the links' port
ip link set eth0 down; ip link set eth0 address 02:00:00:00:00:77; ip link set eth0 up
ping -c 2 -w 2 10.7.0.11 >/dev/null && say "FAILED: spoofed frames pass"
ip link set eth0 down; ip link set eth0 address 52:54:00:00:00:12; ip link set eth0 up
within 60 ping -c 1 -w 1 10.7.0.11 >/dev/null && say "itself again"
syslogd -R 10.7.0.11:51966
logger hello; sleep 1
grep -q virtio /proc/interrupts && say "interrupts by message"
warnings
say "done"
poweroff -f
"""


def test_guests_talk(lab):
    ini = f"[node]\nname = host1\nrole = host\naddress = {HOST}/24\nsecurity = none\n" + "".join(
        f"[guest {name}]\nmemory = 160M\nkernel = vmlinuz\ninitrd = {name}.img\nnic = 52:54:00:00:00:{n}\ncmdline = console=ttyS0,115200 panic=-1 quiet\n"
        for name, n in (("server", 11), ("client", 12)))
    modules = ["virtio_pci", "virtio_net"]
    l = lab({"lan": {"lan": {}}, "host": {"host1": {"machine": "bochs", "lan": "lan", "memory": 768, "ips": IPS, "ini": ini,
                                "files": {"vmlinuz": guest.kernel("cloud"), "server.img": guest.initramfs(SERVER, modules=modules, flavour="cloud"),
                                          "client.img": guest.initramfs(CLIENT, modules=modules, flavour="cloud")}}}})
    l.start()
    console = l["host1"].console
    console.expect(r"server\| guest: 256 KiB came from 10\.7\.0\.12 unharmed", 900)
    console.expect(r"client\| guest: done", 900)
    console.expect(r"client: stopped: powered off", 300)
    text = console.text
    for line in ("driver virtio_net, address 52:54:00:00:00:12", "the other guest answers", "the host answers", "256 KiB came from 10.7.0.11 unharmed",
                 "itself again", "interrupts by message"):
        assert f"client| guest: {line}" in text, line
    assert "FAILED" not in text
    console.send("nics\n")
    m = console.expect(r"nics: client, NIC 0: sent (\d+) .* spoofed (\d+), forbidden (\d+), malformed 0", 60)
    assert int(re.search(r"spoofed (\d+)", m[0])[1]) > 0 and int(re.search(r"forbidden (\d+)", m[0])[1]) > 0
    console.send("stop server\n")
    console.expect(r"server: stopped: stopped from the console", 60)
