#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Turns a folder into a bootable disk image: an MBR with one EFI system partition (FAT), made with mtools.

usage: tools/mkimage.py [--fat 16|32] [--free MIB] FOLDER IMAGE

An MBR with partition type 0xEF is what every UEFI firmware reads from removable media, and, unlike a GPT, it is still whole
after `dd` onto a stick of another size. The image is a whole number of 16 x 63 cylinders, as Bochs wants it.
"""
import argparse
import os
import struct
import subprocess
import sys

SECTOR = 512
START = 2048  # first sector of the partition: 1 MiB
CYLINDER = 16 * 63 * SECTOR


def chs(lba):
    """The cylinder/head/sector of an LBA as an MBR stores it, 16 heads and 63 sectors."""
    cylinder, rest = divmod(lba, 16 * 63)
    head, sector = divmod(rest, 63)
    if cylinder > 1023:
        cylinder, head, sector = 1023, 15, 62
    return bytes([head, (sector + 1) | (cylinder >> 2 & 0xC0), cylinder & 0xFF])


def mbr(sectors):
    entry = b"\x80" + chs(START) + b"\xef" + chs(START + sectors - 1) + struct.pack("<II", START, sectors)
    return b"\0" * 440 + b"FARB\0\0" + entry + b"\0" * 48 + b"\x55\xaa"


def make_image(folder, image, fat=16, free_mib=8):
    """Writes IMAGE; files whose names start with a dot are left out. Raises OSError or CalledProcessError."""
    used = sum(os.path.getsize(os.path.join(d, f)) + 8192 for d, _, fs in os.walk(folder) for f in fs)
    least = (40 if fat == 32 else 16) << 20  # fewer clusters would make it another FAT
    size = max(used + used // 50 + (free_mib << 20), least) + START * SECTOR
    size = -(-size // CYLINDER) * CYLINDER
    sectors = size // SECTOR - START
    temporary = image + ".tmp"
    with open(temporary, "wb") as f:
        f.truncate(size)
        f.write(mbr(sectors))
    drive = f"{temporary}@@{START * SECTOR}"
    env = dict(os.environ, MTOOLS_SKIP_CHECK="1", MTOOLS_NO_VFAT="0")
    kind = ["-F", "-c", "1"] if fat == 32 else ["-c", "4" if sectors < 250000 else "32"]
    run = lambda *a: subprocess.run(a, check=True, env=env, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    run("mformat", "-i", drive, "-T", str(sectors), "-h", "16", "-s", "63", "-H", str(START), "-N", "46415242", "-v", "FARBUS", *kind, "::")
    top = sorted(os.path.join(folder, n) for n in os.listdir(folder) if not n.startswith("."))
    if top:
        run("mcopy", "-i", drive, "-s", "-Q", "-m", *top, "::/")
    os.replace(temporary, image)


def main():
    parser = argparse.ArgumentParser(description="make a bootable disk image out of a folder")
    parser.add_argument("--fat", type=int, choices=(16, 32), default=16)
    parser.add_argument("--free", type=int, default=8, help="MiB left free")
    parser.add_argument("folder")
    parser.add_argument("image")
    args = parser.parse_args()
    try:
        make_image(args.folder, args.image, args.fat, args.free)
    except FileNotFoundError as e:
        sys.exit(f"mkimage: {e.filename} is missing (mtools comes with `make deps`)")
    except (OSError, subprocess.CalledProcessError) as e:
        sys.exit(f"mkimage: {e}")


if __name__ == "__main__":
    main()
