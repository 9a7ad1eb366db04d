# SPDX-License-Identifier: BSD-2-Clause
"""An unmodified Debian kernel (package linux-image-cloud-amd64) boots in a guest of two vCPUs to its init, takes input through its UART's interrupt,
takes its IOMMU into use, finds nothing to warn about, and powers off through ACPI."""
import re

from farbuslab import guest

# What the kernel says of the emulated processor: speculation controls, which guests are not offered yet.
OF_THE_CPU = r"RETBleed|Spectre|MDS|MMIO Stale Data|Gather Data Sampling"
# An IOMMU in caching mode makes 6.1 look for scalable mode, and say that there is none.
OF_THE_IOMMU = r"DMAR: VT-d Scalable Mode not enabled, no PASID allocation"

INIT = r"""
echo "init: kernel $(uname -r)"
echo "init: clocksource $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
grep -q 'IO-APIC.*ttyS0' /proc/interrupts && echo "init: uart interrupt found"
sed -n 's/^ *LOC: *\([0-9]*\).*/init: timer interrupts \1/p' /proc/interrupts
dmesg -r | awk -F'[<>]' '$2 % 8 <= 4 { print "init: warning: " $0 }'
echo +1 >/sys/class/rtc/rtc0/wakealarm
sleep 3
sed -n 's/^ *8: *\([0-9]*\) *\([0-9]*\) .*rtc0.*/init: clock interrupts \1 \2/p' /proc/interrupts
echo "init: type a line"
read line </dev/ttyS0
echo "init: heard '$line'"
poweroff -f
"""


def test_debian_kernel(lab):
    ini = ("[node]\nname = host1\nrole = host\naddress = 10.7.0.1/24\n[guest linux]\nmemory = 256M\ncpus = 2\nkernel = vmlinuz\ninitrd = initrd\n"
           "cmdline = console=ttyS0,115200 panic=-1\n")
    l = lab({"host": {"host1": {"machine": "bochs", "memory": 512, "nic": "none", "ini": ini,
                                "files": {"vmlinuz": guest.kernel("cloud"), "initrd": guest.initramfs(INIT)}}}})
    l.start()
    console = l["host1"].console
    console.expect(r"linux\| init: kernel 6\.", 900)
    console.expect(r"linux\| init: type a line", 300)
    console.send("attach linux\n")
    console.expect(r"keys go to linux", 60)
    console.send("a b c\n")
    console.expect(r"linux\| init: heard 'a b c'", 120)
    console.send("\x1d")
    console.expect(r"linux: stopped: powered off", 300)
    text = console.text
    assert "init: clocksource tsc" in text
    assert re.search(r"smp: Brought up 1 node, 2 CPUs", text)
    assert "init: uart interrupt found" in text
    assert int(re.search(r"init: timer interrupts (\d+)", text)[1]) > 100
    assert sum(map(int, re.search(r"init: clock interrupts (\d+) (\d+)", text).groups())) == 1  # the alarm
    assert [w[0] for w in re.finditer(r"init: warning: .*", text) if not re.search(OF_THE_CPU + "|" + OF_THE_IOMMU, w[0])] == []
    # Every device in a domain of its own, every map and unmap told at once.
    for line in (r"DMAR: Host address width 39", r"DMAR: DRHD base: 0x0*fed90000 flags: 0x1", r"DMAR: dmar0: Using Queued invalidation",
                 r"DMAR: IOMMU batching disallowed due to virtualization", r"iommu: Default domain type: Translated",
                 r"pci 0000:00:00\.0: Adding to iommu group 0", r"DMAR: Intel\(R\) Virtualization Technology for Directed I/O"):
        assert re.search(line, text), line
    assert not re.search(r"DMAR:.*(fault|error|Error|failed|timed out)", text)
