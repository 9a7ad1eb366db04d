# SPDX-License-Identifier: BSD-2-Clause
# What the guest of `make demo` does, as its first process (tools/farbuslab/guest.py puts its prologue before this).
run() {
    echo
    echo "# $*"
    eval "$*" || say "FAILED: $* (code $?)"
}
say "Linux $(uname -r), $(nproc) processors; the drive is in another machine"
within 60 test -b /dev/nvme0n1
run "dmesg | grep -E 'DMAR: dmar0: Using|pcieport.*Slot|nvme0: .*queues'"
run "/usr/bin/nvme list | cut -c1-78"
run "/usr/bin/nvme smart-log /dev/nvme0 | head -4"
run "printf '2048,65536,83\n' | /usr/bin/sfdisk -q --label dos /dev/nvme0n1"
within 20 test -b /dev/nvme0n1p1
run "/usr/bin/mke2fs -q -t ext4 -F /dev/nvme0n1p1"
run "mount -t ext4 /dev/nvme0n1p1 /mnt"
run "cat /usr/bin/* >/mnt/file; ls -l /mnt/file"
before=$(cat /usr/bin/* | sha256sum)
run "umount /mnt; echo 3 >/proc/sys/vm/drop_caches; mount -t ext4 /dev/nvme0n1p1 /mnt"
run "sha256sum </mnt/file"
[ "$(sha256sum </mnt/file)" = "$before" ] && say "read back: the same" || say "FAILED: read back: not the same"
run "dmacheck write /dev/nvme0n1 start=67108864 bytes=8388608 bs=131072 qd=32 threads=2"
run "dmacheck read /dev/nvme0n1 start=67108864 bytes=8388608 bs=4096 qd=32 threads=2 random=1 align=512"
run "grep nvme /proc/interrupts"
run "umount /mnt"
say "demo: done; a shell (poweroff -f ends it)"
exec setsid cttyhack sh
