# SPDX-License-Identifier: BSD-2-Clause
"""A guest whose vCPUs run on several CPUs of the host at once: work done side by side takes the time of one, CPUs come and go, everything stands still
for a pause and begins anew after a reset; and DMA by dirty bits misses nothing that another CPU wrote."""
import re

import linux_guest as lg
import pair
from farbuslab import guest

WORK = r"""
work() { # N of them side by side, each on a CPU of its own; centiseconds
    local from to n
    read from x </proc/uptime
    n=0
    while [ $n -lt $1 ]; do
        taskset -c $n sh -c 'i=0; while [ $i -lt 4000 ]; do i=$((i + 1)); done' &
        n=$((n + 1))
    done
    wait
    read to x </proc/uptime
    echo $((${to%.*}${to#*.} - ${from%.*}${from#*.}))
}
say "cpus $(cat /sys/devices/system/cpu/online)"
work 1 >/dev/null
say "one $(work 1)"
say "all $(work 4)"
say "two rounds"
for cpu in 1 3 2; do
    must eval "echo 0 >/sys/devices/system/cpu/cpu$cpu/online"
    must eval "echo 1 >/sys/devices/system/cpu/cpu$cpu/online"
    taskset -c $cpu true || say "FAILED: CPU $cpu"
done
say "cpus $(cat /sys/devices/system/cpu/online)"
say "ready"
for n in 0 1 2 3; do taskset -c $n sh -c 'while :; do :; done' & done
read line </dev/ttyS0
warnings
say "end $line"
reboot -f
"""


def test_four_at_once(lab):
    section = "[guest linux]\nmemory = 128M\ncpus = 4\nkernel = vmlinuz\ninitrd = initrd\ncmdline = console=ttyS0,115200 panic=-1\n"
    l = lab({"host": {"host1": {"memory": 384, "cpus": 4, "ips": pair.IPS, "nic": "none", "ini": f"[node]\nname = host1\nrole = host\naddress = {pair.HOST}/24\n" + section,
                                "files": {"vmlinuz": guest.kernel("cloud"), "initrd": guest.initramfs(WORK)}}}})
    l.start()
    console = l["host1"].console
    console.expect(r"guest: ready", 900)
    assert "linux: 128 MiB, 4 vCPU on CPUs 1 2 3 0" in console.text
    assert re.findall(r"guest: cpus (\S+)", console.text) == ["0-3", "0-3"]
    one, together = (int(re.search(rf"guest: {what} (\d+)", console.text)[1]) for what in ("one", "all"))
    print(f"one {one}, four {together} centiseconds")
    assert together < 2 * one
    for _ in range(3):
        console.send("pause\r")
        console.expect("linux: paused", 60)
        console.send("resume\r")
        console.expect("linux: goes on", 60)
    console.send("attach linux\r")
    console.expect("keys go to linux", 60)
    console.send("over\n\x1d")
    console.expect("guest: end over", 120)
    console.expect("linux: reset", 120)
    console.expect("linux: started, ", 60)
    console.expect(r"smp: Brought up 1 node, 4 CPUs", 300)
    console.send("stop\r")
    console.expect(r"linux: stopped: stopped from the console", 60)
    assert "FAILED" not in console.text
    assert re.findall(r"BUG:|Oops|WARNING:.*at |soft lockup|rcu: INFO", console.text) == []
    assert lg.unexpected_warnings(l) == []


DISK = r"""
within 60 test -b /dev/nvme0n1
cat /proc/interrupts | grep -c nvme0q | sed 's/^/guest: queues /'
while :; do :; done &
busy=$!
dmacheck write /dev/nvme0n1 bytes=8388608 bs=65536 qd=16 threads=2 seed=1
dmacheck read /dev/nvme0n1 bytes=4194304 bs=4096 qd=32 threads=2 align=512 random=1 seed=1
dmacheck write /dev/nvme0n1 start=8388608 bytes=262144 bs=512 qd=32 threads=2 align=1536 random=1 seed=2
dmacheck read /dev/nvme0n1 start=8388608 bytes=262144 bs=5120 qd=7 threads=2 align=512 random=1 seed=2
kill $busy
warnings
say "done"
poweroff -f
"""


def test_dma_while_another_cpu_writes(lab):
    """Each of the two vCPUs, on CPUs of their own, has a queue pair of the drive: rings and buffers of both change at the same time."""
    l = lab(lg.description(DISK, {4: [lg.NVME]}, [{"id": "disk", "size": "16M"}], programs=["build/linux/dmacheck"], memory="128M", host={"cpus": 2, "ips": pair.IPS}))
    lg.run(l)
    assert "vCPU on CPUs 1 0" in l["host1"].console.text
    assert lg.said(l)[-1] == "done"
    lg.nothing_wrong(l)
    assert [c["ops"] for c in lg.checks(l)] == [128, 1024, 512, 50]
    lg.verify_image(lg.image(l, "disk"), 0, 0, 8388608, 1)
