# SPDX-License-Identifier: BSD-2-Clause
"""The main job: an unmodified Debian kernel in a guest owns the NVMe drive of another machine. It identifies it, formats, partitions, makes a file system,
writes and reads 64 MiB with 64 requests in flight on two queues, resets it under load; then the drive's image is compared with what the guest wrote."""
import re

import linux_guest as lg

PARTITION1, PARTITION2 = 2048 * 512, 67584 * 512
MIB = 1 << 20

SCRIPT = r"""
nvme=/usr/bin/nvme
within 60 test -b /dev/nvme0n1
say "nvme $(cat /sys/class/nvme/nvme0/model | xargs), serial $(cat /sys/class/nvme/nvme0/serial | xargs), $(dmesg | sed -n 's/.*nvme nvme0: \(.* queues\)/\1/p')"
$nvme id-ctrl /dev/nvme0 | sed -n 's/^\(sn\|vid\) *: *\([^ ]*\).*/guest: id-ctrl \1 \2/p'
$nvme smart-log /dev/nvme0 | sed -n 's/^\(critical_warning\|available_spare\)[ \t]*: */guest: smart-log \1 /p'
must $nvme format /dev/nvme0n1 --force --ses=0
printf 'label: dos\n2048,65536,83\n67584,,83\n' | /usr/bin/sfdisk -q /dev/nvme0n1 || say "FAILED: sfdisk"
within 20 test -b /dev/nvme0n1p2
must /usr/bin/mke2fs -q -t ext4 -F -E lazy_itable_init=0 /dev/nvme0n1p1
must mount -t ext4 /dev/nvme0n1p1 /mnt
cat /usr/bin/* >/mnt/programs
must cp /bin/busybox /mnt/busybox
must umount /mnt
echo 3 >/proc/sys/vm/drop_caches
must mount -t ext4 /dev/nvme0n1p1 /mnt
(cd /mnt && sha256sum programs busybox) | sed 's/^/guest: sha256 /'
cat /usr/bin/* | sha256sum | sed 's/^/guest: written /'
must umount /mnt
drive=/dev/nvme0n1p2
dmacheck write $drive bytes=67108864 bs=131072 qd=32 threads=2 seed=1
dmacheck read $drive bytes=58720256 bs=131072 qd=32 threads=2 seed=1
dmacheck read $drive start=58720256 bytes=8388608 bs=4096 qd=32 threads=2 align=512 random=1 seed=1
say "small and crooked"
dmacheck write $drive start=67108864 bytes=524288 bs=512 qd=32 align=1536 random=1 seed=2
dmacheck read $drive start=67108864 bytes=524288 bs=5120 qd=7 align=512 random=1 seed=2
device=$(readlink -f /sys/class/nvme/nvme0/device)
say "controller reset under load"
dmacheck read $drive bytes=4194304 bs=4096 qd=32 threads=2 random=1 seed=1 seconds=3 &
sleep 1
must eval 'echo 1 >/sys/class/nvme/nvme0/reset_controller'
wait
say "FLR under load"
dmacheck write $drive start=68157440 bytes=2097152 bs=4096 qd=32 threads=2 random=1 seed=3 seconds=3 &
sleep 1
must eval 'echo flr >$device/reset_method'
must eval 'echo 1 >$device/reset'
wait
dmacheck write $drive start=68157440 bytes=2097152 bs=65536 qd=8 seed=3
dmacheck read $drive start=68157440 bytes=2097152 bs=4096 qd=32 threads=2 random=1 seed=3
dmesg | sed -n 's/.*DMAR: \(.*[Ii]nvalidation.*\)/guest: dmar \1/p'
sed -n 's/^ *[0-9]*: *\([0-9]*\) *\([0-9]*\) .* \(nvme0q[0-2]\)$/guest: interrupts \3 \1 \2/p' /proc/interrupts
warnings
say "done"
poweroff -f
"""


def test_nvme(lab):
    l = lab(lg.description(SCRIPT, {4: [lg.NVME]}, [{"id": "disk", "size": "128M"}], programs=["nvme", "mke2fs", "sfdisk", "build/linux/dmacheck"]))
    lg.run(l)
    said, checks = lg.said(l), lg.checks(l)
    assert said[-1] == "done"
    lg.nothing_wrong(l)
    assert said[0] == "nvme QEMU NVMe Ctrl, serial farbus, 2/0/0 default/read/poll queues"
    assert {"id-ctrl vid 0x1b36", "id-ctrl sn farbus", "smart-log critical_warning 0"} <= set(said)
    assert any("Queued invalidation" in line for line in said)
    assert len(checks) == 9 and sum(c["ops"] * c["bs"] for c in checks[:3]) == 2 * 64 * MIB
    for queue in ("nvme0q1", "nvme0q2"):
        assert any(re.fullmatch(rf"interrupts {queue} .*[1-9].*", line) for line in said)
    # the image, after the machines are gone
    l.close()
    disk = lg.image(l, "disk")
    for start, size, seed in ((0, 64 * MIB, 1), (64 * MIB, MIB // 2, 2), (65 * MIB, 2 * MIB, 3)):
        lg.verify_image(disk, PARTITION2, start, size, seed)
    digests = {name: digest for digest, name in (re.fullmatch(r"sha256 (\w+)  (\w+)", line).groups() for line in said if line.startswith("sha256 "))}
    assert f"written {digests['programs']}  -" in said
    for name, digest in digests.items():
        assert lg.file_in_image(disk, PARTITION1, name) == digest
