# SPDX-License-Identifier: BSD-2-Clause
"""Arrival, loss, return, power switch and hand-over of a remote function as an unmodified Debian kernel lives through them: the events of a PCIe
hot-plug slot. Each time the function is there it does its work: a serial card with the kernel's own driver answers over its line. Its remote comes
back with another NIC and another address, known by its name and its key."""
import re
import socket
import threading
import time

import pair
from farbuslab import guest
from test_linux import OF_THE_CPU, OF_THE_IOMMU

SCRIPT = r"""
card=/sys/bus/pci/devices/0000:01:00.0
power=/sys/bus/pci/slots/1/power
here() { [ -e $card/tty ]; }
gone() { [ ! -e $card ]; }
talk() {
    must within 120 here
    local tty=$(basename $card/tty/*) answer=nothing
    stty -F /dev/$tty raw -echo
    exec 3<>/dev/$tty
    echo "question $1" >&3
    read -t 60 answer <&3
    exec 3<&-
    say "$1: $answer"
}
say "slots $(ls /sys/bus/pci/slots | tr '\n' ' ')"
say "slot 1 power $(cat $power)"
say "starts without"
talk arrival
say "wants loss"
must within 120 gone
say "wants return"
talk return
echo 0 >$power
must within 60 gone
say "power $(cat $power)"
echo 1 >$power
talk power
echo 1 >$card/reset && say "reset through the slot"
talk reset
say "wants detach"
must within 60 gone
say "wants attach"
talk attach
warnings
say "done"
poweroff -f
"""
MOVED = "10.7.0.52"
ORDER = ["arrival", "return", "power", "reset", "attach"]


class Line(threading.Thread):
    """The other end of the serial card's line, of every QEMU that serves it: answers each question."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.heard, self.ended = path, [], False

    def run(self):
        while not self.ended:
            try:
                with socket.socket(socket.AF_UNIX) as s:
                    s.connect(self.path)
                    self.serve(s)
            except OSError:
                time.sleep(0.1)

    def serve(self, s):
        text = b""
        while data := s.recv(1):
            text += data
            if not text.endswith(b"\n"):
                continue
            if b"question" in text:  # the remote's firmware prints on this line, too
                text = text[text.index(b"question"):]
                self.heard.append(text.decode().strip())
                time.sleep(0.2)  # the guest is in read() by then
                s.sendall(b"answer to " + text)
            text = b""


def test_a_function_comes_and_goes(lab):
    section = ("[guest linux]\nmemory = 256M\nkernel = vmlinuz\ninitrd = initrd\nwait = 0\ncmdline = console=ttyS0,115200 panic=-1\n"
               "device = remote1/0000:00:06.0\n")
    description = pair.description([section], ["serial"], line=["-chardev", "socket,id=line,path=line,server=on,wait=off"], remote_start=False,
                                   host={"memory": 512}, files={"vmlinuz": guest.kernel("cloud"), "initrd": guest.initramfs(SCRIPT)})
    l = lab(dict(description, lab={"security": "keys"}))
    host, remote = l["host1"], l["remote1"]
    console = host.console
    line = Line(f"{l.run_dir}/line")
    l.start()
    line.start()
    try:
        console.expect(r"linux\| guest: starts without", 900)
        assert 'guest "linux" 01:00.0 (slot 1)  wanted' in pair.ask(host, "devices", "wanted")
        remote.start()
        console.expect(r"linux\| guest: wants loss", 600)
        remote.kill()
        console.expect(r"linux\| guest: wants return", 600)
        remote.mac, remote.spec["ini"] = "52:54:00:fb:77:02", remote.spec["ini"].replace(pair.REMOTE, MOVED)
        remote.start()
        console.expect(rf'remote "remote1" has moved to {re.escape(MOVED)}', 600)
        console.expect(r"linux\| guest: wants detach", 600)
        assert f'remote "remote1" {MOVED}: link up' in pair.ask(host, "devices", "attached")
        console.send("detach linux remote1/0000:00:06.0\r")
        console.expect(r"linux\| guest: wants attach", 300)
        assert 'guest "linux" when it starts' in pair.ask(host, "devices", r"06\.0 Serial controller \[0700\]: \[1b36:0002\] \(rev 01\)")
        console.send("attach linux remote1/0000:00:06.0\r")
        console.expect(r"linux\| guest: done", 600)
        console.expect(r"linux: stopped: powered off", 300)
    finally:
        line.ended = True
    text = console.text
    assert re.search(r"guest: slots 1 2 3 4 5 ", text)  # one for the device line, and spare ones
    assert re.findall(r"guest: (\w+): answer to question (\w+)", text) == [(word, word) for word in ORDER]
    assert line.heard == [f"question {word}" for word in ORDER]
    assert "guest: slot 1 power 0" in text  # an empty slot is switched off
    assert "guest: power 0" in text
    assert "guest: reset through the slot" in text
    assert [m[0] for m in re.finditer(r"guest: FAILED.*", text)] == []
    # the guest was asked, and switched the slot off: the card was not pulled
    assert re.search(r"pciehp: Slot\(1\): .*[Bb]utton press", text)
    mine = r"clocksource|Unstable clock|local clock|trace_clock|kernel command line|" + OF_THE_CPU + "|" + OF_THE_IOMMU
    assert [w[0] for w in re.finditer(r"guest: warning: .*", text) if not re.search(mine, w[0])] == []


DRIVE = r"""
card=/sys/bus/pci/devices/0000:01:00.0
drive=/dev/nvme0n1
here() { [ -b $drive ]; }
gone() { [ ! -e $card ]; }
must within 60 here
if dd if=$drive bs=4k skip=512 count=1 iflag=direct 2>/dev/null | grep -q "written by the first guest"; then
    say "the second guest finds what the first one wrote"
    warnings
    say "done"
    poweroff -f
fi
dd if=/dev/urandom of=/tmp/data bs=64k count=16 2>/dev/null
must dd if=/tmp/data of=$drive bs=64k oflag=direct 2>/dev/null
sum=$(md5sum </tmp/data)
right() { [ "$(dd if=$drive bs=64k count=16 iflag=direct 2>/dev/null | md5sum)" = "$sum" ]; }
check() { right && say "right after $1" || say "FAILED: other data after $1"; }
check writing
# a reader that must not see an error, whatever is done to the function
load() {
    rm -f /tmp/stop
    ( count=0
      while [ ! -e /tmp/stop ]; do
          right && count=$((count + 1)) || { say "FAILED: a read under $1"; break; }
      done
      say "reads under $1: $count" ) &
    sleep 1
}
calm() { sleep 1; touch /tmp/stop; wait; }
load flr
echo flr >$card/reset_method
must eval "echo 1 >$card/reset"
calm
load bus
echo bus >$card/reset_method
must eval "echo 1 >$card/reset"
calm
load cable
say "wants a short loss"
read line
calm
check "a short loss"
( while dd if=$drive of=/dev/null bs=64k count=16 iflag=direct 2>/dev/null; do :; done; say "a reader ends" ) &
sleep 1
say "wants loss"
must within 120 gone
wait
say "wants return"
must within 300 here
check return
echo 0 >/sys/bus/pci/slots/1/power
must within 60 gone
echo 1 >/sys/bus/pci/slots/1/power
must within 60 here
check power
must eval "echo written by the first guest | dd of=$drive bs=4k seek=512 conv=sync oflag=direct 2>/dev/null"
warnings
say "starts again"
reboot -f
"""


def test_a_drive_under_load(lab):
    """Function and bus resets under load, the cable pulled for a second and for longer, power, and a guest that starts again: what is read is right each time, and
    while the function is on the bus no reader sees an error. The host's clock does not run ahead of ours: else our second is three of its own, and it gives up."""
    section = ("[guest linux]\nmemory = 256M\ncpus = 2\nkernel = vmlinuz\ninitrd = initrd\nwait = 600\n"
               "cmdline = console=ttyS0,115200 panic=-1\ndevice = remote1/0000:00:04.0\n")
    l = lab(pair.description([section], ["nvme"], host_start=False, lan={"wire": True}, host={"memory": 512, "sync": "steady"},
                             files={"vmlinuz": guest.kernel("cloud"), "initrd": guest.initramfs(DRIVE)}))
    pair.prepare(l)
    l.start()
    pair.remote_up(l)
    l["host1"].start()
    console = l["host1"].console
    console.expect(r"linux\| guest: wants a short loss", 900)
    pair.short_cut(l)
    console.send("attach linux\r")
    console.expect("keys go to linux", 60)
    console.send("go on\r\x1d")
    console.expect(r"linux\| guest: wants loss", 300)
    l.lans["lan"].down()
    console.expect(r"linux\| guest: wants return", 300)
    l.lans["lan"].up()
    console.expect(r"linux\| guest: starts again", 600)
    console.expect(r"linux\| guest: done", 900)
    console.expect(r"linux: stopped: powered off", 300)
    text = console.text
    assert [m[0] for m in re.finditer(r"guest: FAILED.*", text)] == []
    assert re.findall(r"guest: right after (.*)", text) == ["writing", "a short loss", "return", "power"]
    reads = re.findall(r"guest: reads under (\w+): (\d+)", text)
    assert [what for what, _ in reads] == ["flr", "bus", "cable"]
    assert all(int(count) > 0 for _, count in reads)
    assert "guest: a reader ends" in text
    assert "the second guest finds what the first one wrote" in text
    assert re.search(r"bus: warning: remote1/0000:00:04.0 of guest .* its slot is empty until it returns", text)
    mine = r"clocksource|Unstable clock|local clock|trace_clock|kernel command line|" + OF_THE_CPU + "|" + OF_THE_IOMMU
    assert [w[0] for w in re.finditer(r"guest: warning: .*", text) if not re.search(mine, w[0])] == []
