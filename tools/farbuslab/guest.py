# SPDX-License-Identifier: BSD-2-Clause
"""What an unmodified Linux guest boots: Debian's kernel and an initramfs made of busybox, the kernel's own modules, programs of this machine's
Debian packages with the libraries they want, and a script.

    files = {"vmlinuz": guest.kernel("generic"), "initrd": guest.initramfs(SCRIPT, modules=["nvme", "ext4"], programs=["nvme"])}

The script is run by busybox's sh as the first process, with /proc, /sys and /dev mounted and the modules loaded. Nothing in it needs Farbus: the same
files boot on any machine, which is how the scripts are tried out.
"""
import os
import re
import shutil
import subprocess

from .errors import LabError
from .machine import DEPS, ROOT

LINUX = os.path.join(DEPS, "linux")

PROLOGUE = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/usr/bin:/bin HOME=/
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
say() { echo "guest: $*"; }
# warnings: what the kernel has said at warning level and above, and at the error level of messages that programs log
warnings() { dmesg -r | awk -F'[<>]' '$2 % 8 <= 4 { print "guest: warning: " $0 }'; }
# within SECONDS COMMAND...: waits until the command succeeds
within() {
    local n=$(($1 * 10)); shift
    until "$@"; do
        n=$((n - 1))
        [ $n -gt 0 ] || { say "FAILED: not in time: $*"; return 1; }
        usleep 100000
    done
}
# must COMMAND...: says what failed
must() { "$@" || say "FAILED: $* (code $?)"; }
for module in $(cat /modules/order); do
    insmod /modules/$module.ko || say "FAILED: module $module does not load"
done
"""


def kernel(flavour):
    """The path of Debian's kernel: `cloud` (NVMe, VT-d and ext4 built in) or `generic` (drivers are modules)."""
    path = os.path.join(LINUX, flavour, "vmlinuz")
    if not os.path.exists(path):
        raise LabError(f"{path} is missing: run 'make deps'")
    return path


def _module(name, flavour):
    path = os.path.join(LINUX, flavour, "modules", name + ".ko")
    if not os.path.exists(path):
        path = os.path.join(LINUX, flavour, "modules", name.replace("_", "-") + ".ko")
    try:
        with open(path, "rb") as f:
            return os.path.basename(path)[:-3], f.read()
    except OSError:
        raise LabError(f"the kernel's module {name} is not in build/deps/linux/{flavour}/modules: tools/deps.sh says which are kept") from None


def modules_in_order(wanted, flavour="generic"):
    """{name: content}, each after those it depends on (its `depends` and `softdep` lines)."""
    result = {}

    def add(name, above=()):
        if name in above:
            return
        name, data = _module(name, flavour)
        if name in result:
            return
        found = re.search(rb"\0depends=([^\0]*)\0", data)
        for other in filter(None, found[1].decode().split(",") if found else []):
            add(other, above + (name,))
        result[name] = data

    for name in wanted:
        add(name)
    return result


def _libraries(program):
    """The files a dynamic program is loaded with, as ldd says; none for a static one."""
    text = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    return re.findall(r"(/\S+) \(0x", text)


def cpio(files):
    """An initramfs (newc): {path: (mode, bytes)}."""
    out = []
    for number, (path, (mode, data)) in enumerate(list(files.items()) + [("TRAILER!!!", (0, b""))], 1):
        name = path.encode() + b"\0"
        fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0]
        head = b"070701" + b"".join(b"%08x" % f for f in fields) + name
        out += [head, b"\0" * (-len(head) % 4), data, b"\0" * (-len(data) % 4)]
    return b"".join(out)


def initramfs(script, modules=(), programs=(), files=None, flavour="generic"):
    """An initramfs. `modules`: of the kernel of that flavour; `programs`: names found on this machine's PATH, or paths in this tree; `files`: {path: bytes}."""
    content = {"bin/busybox": os.path.join(LINUX, "busybox")}
    for program in programs:
        path = os.path.join(ROOT, program) if "/" in program else shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
        if path is None or not os.path.exists(path):
            raise LabError(f"{program} is missing: run 'make deps', then 'make'")
        content["usr/bin/" + os.path.basename(path)] = path
        for library in _libraries(path):
            content[library.lstrip("/")] = library
    loaded = modules_in_order(modules, flavour)
    tree = {}

    def put(path, mode, data):
        parts = path.split("/")
        for depth in range(1, len(parts)):
            tree.setdefault("/".join(parts[:depth]), (0o040755, b""))
        tree[path] = (mode, data)

    for folder in ("proc", "sys", "dev", "mnt", "tmp"):
        tree[folder] = (0o040755, b"")
    for path, source in content.items():
        with open(source, "rb") as f:
            put(path, 0o100755, f.read())
    for name, data in loaded.items():
        put(f"modules/{name}.ko", 0o100644, data)
    put("modules/order", 0o100644, "\n".join(loaded).encode())
    for path, data in (files or {}).items():
        put(path, 0o100755, data)
    put("init", 0o100755, (PROLOGUE + script).encode())
    return cpio(tree)
