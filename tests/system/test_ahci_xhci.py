# SPDX-License-Identifier: BSD-2-Clause
"""Debian's generic kernel drives an AHCI controller with a disk and an xHCI with a keyboard and a stick, all in another machine: the disk is partitioned,
written, read, and still right after a power cycle of the guest; keys typed at the remote arrive in the guest's input layer."""
import re

import linux_guest as lg

PARTITION1, PARTITION2 = 2048 * 512, 34816 * 512
MIB = 1 << 20
MODULES = ["ahci", "sd_mod", "xhci-pci", "usb-storage", "usbhid", "hid-generic", "evdev", "ext4", "crc32c_generic"]
KEYS = {"f": 33, "a": 30, "r": 19, "b": 48, "u": 22, "s": 31, "ret": 28}  # QEMU's name: Linux's code

SCRIPT = r"""
# behind WORD: the disk whose place in the tree of devices has that word in it
behind() { for d in /sys/block/sd?; do readlink $d | grep -q "$1" && echo /dev/$(basename $d); done; }
found() { [ -n "$(behind /ata)" ] && [ -n "$(behind /usb)" ] && grep -q 'USB Keyboard' /sys/class/input/event*/device/name; }
within 60 found
disk=$(behind /ata) stick=$(behind /usb)
/usr/bin/hdparm -i $disk | sed -n 's/^ *Model=\([^,]*\),.*SerialNo= *\(.*\)/guest: ata \1 \2/p'
if [ -b ${disk}1 ]; then
    say "second start"
    must mount -t ext4 ${disk}1 /mnt
    (cd /mnt && sha256sum programs) | sed 's/^/guest: sha256 /'
    must umount /mnt
    dmacheck read ${disk}2 bytes=8388608 bs=131072 qd=8 seed=1
    dmacheck read $stick bytes=1048576 bs=65536 qd=4 seed=2
    warnings
    say "done"
    poweroff -f
fi
printf 'label: dos\n2048,32768,83\n34816,,83\n' | /usr/bin/sfdisk -q $disk || say "FAILED: sfdisk"
within 20 test -b ${disk}2
must /usr/bin/mke2fs -q -t ext4 -F -E lazy_itable_init=0 ${disk}1
must mount -t ext4 ${disk}1 /mnt
cat /usr/bin/* >/mnt/programs
(cd /mnt && sha256sum programs) | sed 's/^/guest: sha256 /'
must umount /mnt
dmacheck write ${disk}2 bytes=8388608 bs=131072 qd=32 threads=2 seed=1
dmacheck read ${disk}2 bytes=4194304 bs=4096 qd=32 threads=2 align=512 random=1 seed=1
dmacheck write $stick bytes=1048576 bs=65536 qd=4 seed=2
dmacheck read $stick bytes=1048576 bs=4096 qd=4 align=512 random=1 seed=2
for e in /sys/class/input/event*; do
    grep -q 'USB Keyboard' $e/device/name && exec 3</dev/input/$(basename $e)
done
say "type"
while :; do
    set -- $(dd bs=24 count=1 <&3 2>/dev/null | od -An -v -tu2)
    # struct input_event: two longs, then type, code, value
    [ "$9" = 1 ] && [ "${11}" = 1 ] && say "key ${10}"
    [ "$9 ${10} ${11}" = "1 28 0" ] && break
done
sed -n 's/^ *[0-9]*: *\([0-9]*\) *\([0-9]*\) .* \(ahci\|xhci\).*$/guest: interrupts \3 \1 \2/p' /proc/interrupts
warnings
say "first end"
poweroff -f
"""


def test_disk_keyboard_stick(lab):
    devices = {4: ["ich9-ahci,id=sata", "ide-hd,drive=disk,bus=sata.0,serial=farbus"],
               5: ["qemu-xhci,id=xhci", "usb-kbd,bus=xhci.0", "usb-storage,bus=xhci.0,drive=stick"]}
    l = lab(lg.description(SCRIPT, devices, [{"id": "disk", "size": "40M"}, {"id": "stick", "size": "4M"}], flavour="generic", modules=MODULES,
                           programs=["hdparm", "mke2fs", "sfdisk", "build/linux/dmacheck"]))
    l.start()
    console = l["host1"].console
    console.expect(r"guest: type", 900)
    for key in KEYS:
        l["remote1"].monitor(f"sendkey {key}")
        console.expect(rf"guest: key {KEYS[key]}\b", 120)
    console.expect("linux: stopped: powered off", 300)
    # the power cycle: memory, processors and devices as on the first day, the disk as it was left
    console.send("reset linux\n")
    console.expect(r"guest: second start", 900)
    console.expect("linux: stopped: powered off", 900)
    said, checks = lg.said(l), lg.checks(l)
    assert said[-1] == "done"
    lg.nothing_wrong(l)
    assert len([line for line in said if re.fullmatch(r"ata QEMU HARDDISK farbus", line)]) == 2
    assert [line for line in said if line.startswith("key ")] == [f"key {code}" for code in KEYS.values()]
    assert len(checks) == 6
    for driver in ("ahci", "xhci"):
        assert any(re.fullmatch(rf"interrupts {driver} .*[1-9].*", line) for line in said)
    before, after = [line.split()[1] for line in said if line.startswith("sha256 ")]
    assert before == after
    l.close()
    lg.verify_image(lg.image(l, "disk"), PARTITION2, 0, 8 * MIB, 1)
    lg.verify_image(lg.image(l, "stick"), 0, 0, MIB, 2)
    assert lg.file_in_image(lg.image(l, "disk"), PARTITION1, "programs") == before
