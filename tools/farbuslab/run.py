# SPDX-License-Identifier: BSD-2-Clause
"""The laboratory of `tools/lab run KERNEL`: one host, one guest, and a remote if the guest is to have devices. The kernel and what belongs to
it go to the host as they are; a file that is compressed with gzip is unpacked first, as boot loaders do (Debian ships kernels so).
"""
import gzip
import os
import re

from .errors import LabError

HOST_OWN = 160  # MiB that a host has beside its guest's memory: firmware, Farbus, files
FIRST_SLOT = 4  # of the remote's PCI bus; below are its VGA and its NIC


def _bytes(path):
    try:
        with open(path, "rb") as f:
            data = f.read()
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError, gzip.BadGzipFile) as e:
        raise LabError(f"{path}: {getattr(e, 'strerror', None) or e}") from None


def _is_linux(path):
    return _bytes(path)[0x202:0x206] == b"HdrS"


def guest_name(kernel):
    """What the guest of a kernel is called: the file's name without what follows its first dot."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", os.path.basename(kernel).split(".")[0])[:20].strip("-") or "guest"


def _mebibytes(memory):
    found = re.fullmatch(r"(\d+)([KMG])", memory)
    if not found:
        raise LabError(f"the guest's memory is a number and K, M or G, not '{memory}'")
    return max(int(found[1]) * {"K": 1, "M": 1 << 10, "G": 1 << 20}[found[2]] >> 10, 1)


def description(kernel, memory="64M", cpus=1, cmdline="", initrd=None, modules=(), devices=(), nic=False, bus="flat"):
    """modules: "FILE" or "FILE ARGUMENTS", in order; devices: QEMU's -device, without addr=; nic: a virtio-net on a LAN with the host alone."""
    files, lines = {}, [f"[guest {guest_name(kernel)}]", f"memory = {memory}", f"cpus = {cpus}", f"bus = {bus}", "wait = 300"]

    def put(key, path, arguments=""):
        name = re.sub(r"\s+", "_", os.path.basename(path))
        name = name[:-3] if name.endswith(".gz") else name
        if files.setdefault(name, data := _bytes(path)) != data:
            raise LabError(f"two files of the guest are called {name}")
        lines.append(f"{key} = {name} {arguments}".rstrip())

    put("kernel", kernel)
    if bus == "flat" and not _is_linux(kernel):
        lines.append("test-device = on")
    if cmdline:
        lines.append(f"cmdline = {cmdline}")
    if initrd:
        put("initrd", initrd)
    for module in modules:
        put("module", *module.split(None, 1))
    lines += [f"device = remote1/0000:00:{FIRST_SLOT + n:02x}.0" for n in range(len(devices))]
    lines += ["nic = auto"] if nic else []
    host = {"memory": _mebibytes(memory) + sum(map(len, files.values())) // (1 << 19) + HOST_OWN, "files": files,
            "ini": "[node]\nname = host1\nrole = host\naddress = 192.168.77.1/24\n" + "\n".join(lines) + "\n"}
    result = {"host": {"host1": host}}
    if not devices and not nic:
        host["nic"] = "none"
        return result
    host["lan"] = "lan"
    result["lan"] = {"lan": {}}
    if devices:
        result["remote"] = {"remote1": {
            "lan": "lan", "memory": 256, "devices": [f"{d},addr=0x{FIRST_SLOT + n:x}" for n, d in enumerate(devices)],
            "ini": "[node]\nname = remote1\nrole = remote\naddress = 192.168.77.2/24\n" +
                   "".join(f"lend = 0000:00:{FIRST_SLOT + n:02x}.0\n" for n in range(len(devices)))}}
    return result
