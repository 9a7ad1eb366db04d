# SPDX-License-Identifier: BSD-2-Clause
"""Machines on QEMU's q35. With OVMF: every remote, and hosts under KVM or (without VT-x) TCG. Without any firmware of ours and without Farbus: a Linux machine."""
import json
import os
import shutil
import socket
import time

from .errors import LabError
from .machine import Machine

_CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
_VARS = "/usr/share/OVMF/OVMF_VARS_4M.fd"
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def _size(text):
    text = str(text).strip().upper()
    number, unit = (text[:-1], text[-1]) if text and text[-1] in "KMG" else (text, "")
    try:
        return int(number) * _UNITS[unit]
    except ValueError:
        raise LabError(f"'{text}' is not a size (a number, with K, M or G)") from None


class QemuMachine(Machine):
    keys = {"cpu", "devices", "drives", "iommu", "args", "pcap", "chipset", "boot"}

    def __init__(self, lab, name, spec, number):
        super().__init__(lab, name, spec, number)
        self.role = spec["role"]
        self.accel = "kvm" if spec["machine"] == "kvm" else "tcg"
        self.pcap = None

    def _drive(self, index, drive):
        """A drive: file (made in the work folder when it does not exist), size, text (its first bytes), id."""
        unknown = set(drive) - {"id", "file", "size", "text", "format"}
        if unknown:
            raise LabError(f"{self.name}: drive has no '{sorted(unknown)[0]}'")
        ident = drive.get("id", f"d{index}")
        path = self.lab.find(drive["file"]) if "file" in drive and os.path.exists(self.lab.find(drive["file"])) else \
            self.lab.path(f"{self.name}.{os.path.basename(drive.get('file', ident + '.disk'))}")
        if not os.path.exists(path):
            with open(path, "wb") as f:
                f.write(drive.get("text", "").encode())
                f.truncate(max(_size(drive.get("size", "16M")), f.tell()))
        return f"if=none,id={ident},file={path},format={drive.get('format', 'raw')},cache=unsafe"

    def command(self, image):
        for path in (_CODE, _VARS):
            if not os.path.exists(path):
                raise LabError(f"{path} is missing: run 'make deps' (package ovmf)")
        variables = self.lab.path(f"{self.name}.vars")
        shutil.copyfile(_VARS, variables)
        spec = self.spec
        iommu = spec.get("iommu", self.role == "remote")
        argv = self._board(",kernel-irqchip=split" if iommu and self.accel == "kvm" else "")
        argv += ["-boot", "menu=off",
                 "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={_CODE}", "-drive", f"if=pflash,unit=1,format=raw,file={variables}"]
        if iommu:
            argv += ["-device", "intel-iommu,intremap=on,caching-mode=off"]
        argv += ["-device", "VGA,addr=0x1", "-drive", f"if=none,id=esp,file={image},format=raw,cache=unsafe"]
        boot = spec.get("boot", "disk")
        if boot not in ("disk", "usb"):
            raise LabError(f"{self.name}: boot is 'disk' or 'usb', not '{boot}'")
        argv += ["-device", "ide-hd,drive=esp,bus=ide.0,bootindex=0"] if boot == "disk" else \
            ["-device", "qemu-xhci,id=stick,addr=0x1e", "-device", "usb-storage,bus=stick.0,drive=esp,bootindex=0"]
        return argv + self._devices("e1000e"), None

    def _board(self, more=""):
        """The emulator, the machine itself, its console and QEMU's own control."""
        spec = self.spec
        emulator = spec.get("emulator", "qemu-system-x86_64")
        qmp = os.path.join(self.lab.run_dir, f"{self.name}.qmp")
        if os.path.exists(qmp):
            os.unlink(qmp)
        return [self.lab.find(emulator) if "/" in emulator else emulator, "-nodefaults", "-no-user-config",
                "-machine", f"{spec.get('chipset', 'q35')},accel={self.accel}{more}", "-m", str(self.memory), "-smp", str(self.cpus),
                "-cpu", spec.get("cpu", "host,+vmx" if self.accel == "kvm" else "max"), "-display", "none",
                "-name", self.name, "-rtc", "base=2023-11-14T22:13:20",
                "-chardev", f"socket,id=console,host=127.0.0.1,port={self.console.port},server=off", "-serial", "chardev:console",
                "-qmp", f"unix:{self.name}.qmp,server=on,wait=off"]

    def _devices(self, usual_nic):
        """The NIC on its LAN, and what the description names."""
        spec = self.spec
        argv = []
        nic = spec.get("nic", usual_nic if "lan" in spec else "none")
        if nic != "none":
            if "lan" not in spec:
                raise LabError(f"{self.name}: say which lan it is on, or nic = \"none\"")
            sock = self.lab.lan_of(self).sock(self.side())
            argv += ["-netdev", f"vde,id=n0,sock={sock}", "-device", f"{nic},netdev=n0,mac={self.mac},addr=0x2,romfile="]
            if spec.get("pcap") or self.lab.captures(self):
                self.pcap = self.lab.path(f"{self.name}{'' if self.starts == 0 else '-' + str(self.starts)}.pcap")
                argv += ["-object", f"filter-dump,id=dump,netdev=n0,file={self.pcap}"]
        for index, drive in enumerate(spec.get("drives", [])):
            argv += ["-drive", self._drive(index, drive)]
        for device in spec.get("devices", []):
            argv += ["-device", device]
        return argv + [a.replace("@WORK@", self.lab.work_dir) for a in spec.get("args", [])]

    def side(self):
        return self.spec.get("side", "b" if self.role == "remote" else "a")

    # ---- QEMU's own control ----
    def qmp(self, command, **arguments):
        """One QMP command; returns what it returns. Raises LabError with QEMU's words when it refuses."""
        path = os.path.join(self.lab.run_dir, f"{self.name}.qmp")
        deadline = time.monotonic() + 20
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(60)
            while True:
                try:
                    s.connect(path)
                    break
                except OSError:
                    if time.monotonic() > deadline or not self.running():
                        raise LabError(f"{self.name}: QEMU's control socket does not answer") from None
                    time.sleep(0.05)
            f = s.makefile("rw", encoding="utf-8")
            f.readline()
            for request in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                f.write(json.dumps(request) + "\n")
                f.flush()
                while True:
                    line = f.readline()
                    if not line:
                        raise LabError(f"{self.name}: QEMU ended during '{command}'")
                    answer = json.loads(line)
                    if "error" in answer:
                        raise LabError(f"{self.name}: {command}: {answer['error']['desc']}")
                    if "return" in answer:
                        break
            return answer["return"]

    def monitor(self, line):
        """One line of QEMU's human monitor ('info pci', 'xp /1wx 0xfee00000'); returns its text."""
        return self.qmp("human-monitor-command", **{"command-line": line})

    def power_button(self):
        self.qmp("system_powerdown")

    def reset(self):
        self.qmp("system_reset")

    def cable(self, plugged):
        """Pulls (False) or plugs (True) the NIC's cable: the guest sees link down or up."""
        self.qmp("set_link", name="n0", up=plugged)


class LinuxMachine(QemuMachine):
    """A machine without Farbus: QEMU starts Debian's kernel and an initramfs in it. It is who else there is on the LAN."""

    keys = {"lan", "side", "mac", "nic", "cpus", "memory", "cpu", "kernel", "initrd", "cmdline", "devices", "drives", "args", "pcap", "start", "emulator"}

    def make_esp(self):
        """There is no ESP: the kernel is where it is, the initramfs is put beside the logs."""
        image = self.lab.path(f"{self.name}.initrd")
        self._put(self.spec["initrd"], image)
        return image

    def command(self, image):
        kernel = self.lab.find(self.spec.get("kernel", os.path.join("build", "deps", "linux", "cloud", "vmlinuz")))
        if not os.path.exists(kernel):
            raise LabError(f"{kernel} is missing: run 'make deps'")
        return self._board() + ["-kernel", kernel, "-initrd", image, "-append", self.spec.get("cmdline", "console=ttyS0,115200 panic=-1 quiet")] + \
            self._devices("virtio-net-pci"), None
