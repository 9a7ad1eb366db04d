# SPDX-License-Identifier: BSD-2-Clause
"""A host on Bochs 3.1: VT-x without hardware, UEFI, an 82540EM on a vde switch; instruction counts that repeat."""
import os
import re

from .errors import LabError
from .machine import DEPS, ROOT, Machine

_CLOCK = os.path.join(ROOT, "build", "bochs-clock.so")  # tools/bochs-clock.c says what it is for

# From Bochs's log: what a hypervisor's author must not miss.
_COMPLAINT = re.compile(r"VMENTER FAIL|VMFAIL|VMABORT|triple fault|>>PANIC<<|VMX abort|exception\(\).*third|shutdown status|unsupported", re.I)

_RC = """\
display_library: rfb, options="timeout=0"
plugin_ctrl: unmapped=1, biosdev=1, speaker=0, extfpuirq=1, parallel=0, serial=1, iodebug=0
cpu: model={cpu}, count={cpus}, ips={ips}, reset_on_triple_fault=0, ignore_bad_msrs=0, cpuid_freq={freq}
memory: guest={memory}, host={memory}
romimage: file={ovmf}, address=0xffc00000
fw_cfg: enabled=1
vgaromimage: file={bochs}/usr/share/bochs/VGABIOS-lgpl-latest
pci: enabled=1, chipset=i440fx{slot}
{nic}
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=disk, path={image}, mode=flat, cylinders={cylinders}, heads=16, spt=63, translation=auto
boot: disk
com1: enabled=1, mode=socket-client, dev=127.0.0.1:{port}
clock: sync={sync}, time0=1700000000
log: {log}
panic: action=fatal
error: action=report
info: action={info}
debug: action=ignore
port_e9_hack: enabled=1
magic_break: enabled=0
speaker: enabled=0
mouse: enabled=0
"""


class BochsMachine(Machine):
    keys = {"cpu", "ips", "sync", "cpuid_freq", "bochs_info", "bochsrc"}

    def __init__(self, lab, name, spec, number):
        super().__init__(lab, name, spec, number)
        self.bochs_log = lab.path(f"{name}.bochs")
        self._read = 0

    def command(self, image):
        bochs = self.spec.get("emulator", os.path.join(DEPS, "bin", "bochs"))
        if not os.path.exists(bochs):
            raise LabError("Bochs is missing: run 'make deps'")
        nic = self.spec.get("nic", "e1000")
        if nic not in ("e1000", "none"):
            raise LabError(f"{self.name}: Bochs has no NIC '{nic}', only e1000 (82540EM) or none")
        if nic == "e1000" and "lan" not in self.spec:
            raise LabError(f"{self.name}: say which lan it is on, or nic = \"none\"")
        # 'slowdown' keeps an idle machine's clock from running away from the other machines'; 'steady' from running faster at any moment;
        # 'none' is for counting instructions
        sync, env = self.spec.get("sync", "slowdown"), None
        if sync != "none" and nic == "e1000":
            if not os.path.exists(_CLOCK):
                raise LabError(f"{self.name}: {os.path.relpath(_CLOCK, ROOT)} is missing: run 'make'")
            sync, env = "slowdown", dict(os.environ, LD_PRELOAD=_CLOCK, FARBUS_CLOCK=sync)
        rc = self.lab.path(f"{self.name}.bochsrc")
        with open(rc, "w", encoding="utf-8") as f:
            f.write(_RC.format(
                cpu=self.spec.get("cpu", "corei7_skylake_x"), cpus=self.cpus, ips=self.spec.get("ips", 200000000), memory=self.memory,
                freq=self.spec.get("cpuid_freq", "ips"), ovmf=os.path.join(DEPS, "OVMF.fd"), bochs=os.path.join(DEPS, "bochs"), image=image,
                cylinders=os.path.getsize(image) // (16 * 63 * 512), port=self.console.port, log=self.bochs_log,
                slot=", slot1=e1000" if nic == "e1000" else "",
                nic=f"e1000: enabled=1, mac={self.mac}, ethmod=vde, ethdev={self.lab.lan_of(self).sock(self.side())}/ctl" if nic == "e1000" else "",
                sync=sync, info=self.spec.get("bochs_info", "ignore")))
            f.write(self.spec.get("bochsrc", ""))
        self._read = 0
        return [bochs, "-q", "-f", rc], env

    def side(self):
        return self.spec.get("side", "a")

    def complaints(self):
        """New lines of Bochs's log about failed VM entries, triple faults and panics."""
        try:
            with open(self.bochs_log, encoding="utf-8", errors="replace") as f:
                f.seek(self._read)
                text = f.read()
                self._read = f.tell()
        except OSError:
            return []
        return [line.strip() for line in text.split("\n") if _COMPLAINT.search(line)]
