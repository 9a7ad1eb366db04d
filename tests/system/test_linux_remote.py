# SPDX-License-Identifier: BSD-2-Clause
"""An unmodified Debian kernel finds the functions of a remote on its PCI bus, says nothing about them that is a warning, and talks through a pci-serial
with its own driver (8250_pci) by INTx: on one vCPU, then on the other."""
import re
import socket
import time

import pair
from farbuslab import guest
from test_linux import OF_THE_CPU, OF_THE_IOMMU

DEVICES = ["serial", "edu", "testdev", "memory"]

INIT = r"""
cd /sys/bus/pci/devices
for d in *; do echo "init: pci $d $(cat $d/vendor) $(cat $d/device)"; done
tty=$(basename 0000:01:00.0/tty/*)
irq=$(cat 0000:01:00.0/irq)
echo "init: $tty irq $irq"
stty -F /dev/$tty raw -echo
exec 3<>/dev/$tty
talk() {
    answer=nothing
    echo "question $1" >&3
    read -t 60 answer <&3
    echo "init: answer '$answer'"
    sed -n "s/^ *$irq: *\([0-9]*\) *\([0-9]*\) .*fasteoi.*/init: interrupts $1: \1 \2/p" /proc/interrupts
}
echo 1 >/proc/irq/$irq/smp_affinity
talk zero
talk one
echo 2 >/proc/irq/$irq/smp_affinity
talk two
talk three
dmesg -r | awk -F'[<>]' '$2 % 8 <= 4 { print "init: warning: " $0 }'
echo "init: done"
poweroff -f
"""


def answer(line):
    """The other end of the line: answers four questions."""
    heard = []
    for _ in range(4):
        text = b""
        while not text.endswith(b"\n"):
            text += line.recv(1)
        text = text[max(text.find(b"question"), 0):]  # what the remote's firmware may have printed on this line before
        heard.append(text.decode().strip())
        time.sleep(0.2)  # the guest is in read() by then
        line.sendall(b"answer to " + text)
    return heard


def test_linux_with_remote_functions(lab):
    section = ("[guest linux]\nmemory = 256M\ncpus = 2\nkernel = vmlinuz\ninitrd = initrd\nwait = 300\ncmdline = console=ttyS0,115200 panic=-1\n" +
               "".join(f"device = remote1/0000:00:{pair.DEVICES[d][0]:02x}.0\n" for d in DEVICES))
    line = ["-chardev", "socket,id=line,path=@WORK@/line,server=on,wait=off"]
    l = lab(pair.description([section], DEVICES, line=line, host_start=False, host={"memory": 512},
                             files={"vmlinuz": guest.kernel("cloud"), "initrd": guest.initramfs(INIT)}))
    pair.prepare(l)
    l.start()
    pair.remote_up(l)
    console = l["host1"].console
    with socket.socket(socket.AF_UNIX) as line:  # QEMU drops what comes while nobody is there, and what it has not read when the line is closed
        line.settimeout(900)
        line.connect(l.path("line"))
        l["host1"].start()
        console.expect(r"linux\| init: ttyS\d+ irq \d+", 900)
        assert answer(line) == ["question zero", "question one", "question two", "question three"]
        console.expect(r"linux\| init: done", 300)
    console.expect(r"linux: stopped: powered off", 300)
    text = console.text
    for at, function in enumerate(["0x1b36 0x0002", "0x1234 0x11e8", "0x1b36 0x0005", "0x1af4 0x1110"], 1):
        assert f"init: pci 0000:{at:02x}:00.0 {function}" in text  # behind a root port of its own
    assert re.findall(r"init: answer '(.*)'", text) == ["answer to question zero", "answer to question one", "answer to question two", "answer to question three"]
    assert re.search(r"init: ttyS\d+ irq 18\b", text)  # behind port 2, INTA
    zero, one, two, three = [tuple(map(int, found)) for found in re.findall(r"init: interrupts \w+: (\d+) (\d+)", text)]
    # the kernel moves an interrupt when the next one comes
    assert one[0] > zero[0] and one[1] == zero[1], "while CPU 0 takes them"
    assert two[1] > 0 and three[1] > two[1] and three[0] == two[0], "after they were sent to CPU 1"
    # A vCPU that waits for the network misses timer ticks; on a busy machine that is enough for the kernel to doubt its clocks.
    of_the_wait = r"clocksource|Unstable clock|local clock|trace_clock|kernel command line"
    assert [w[0] for w in re.finditer(r"init: warning: .*", text) if not re.search("|".join((OF_THE_CPU, OF_THE_IOMMU, of_the_wait)), w[0])] == []
    assert pair.host_counters(l).get("interrupts nobody wanted", 0) == 0
