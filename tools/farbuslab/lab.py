# SPDX-License-Identifier: BSD-2-Clause
"""The laboratory itself: reads a description, checks every key of it, starts and ends all that it names.

Invariant: whatever was started is ended by close(), which also runs on an exception inside `with Lab...` and at exit.
"""
import os
import re
import shutil
import tempfile
import tomllib

from . import keys
from .bochs import BochsMachine
from .choose import choose
from .errors import LabError
from .lan import FAULTS, Lan
from .machine import ROOT
from .qemu import LinuxMachine, QemuMachine

_COMMON = {"cpus", "memory", "lan", "side", "mac", "nic", "ini", "ini_file", "files", "elf", "loader", "start", "machine", "emulator", "image"}
_TOP = {"lab", "lan", "host", "remote", "linux"}
_KINDS = ("host", "remote", "linux")
_LAB = {"title", "timeout", "until", "fail", "report", "linger", "security", "shell"}
_LAN = {"faults", "wire", "pcap"}


class Lab:
    """with Lab.load("tools/labs/demo.toml", work_dir) as lab: lab.start(); lab["host1"].console.expect(...)"""

    def __init__(self, description, work_dir, base=ROOT, machine=None, on_line=None):
        self.description = description
        self.base = base
        self.work_dir = os.path.abspath(work_dir)
        self._on_line = on_line or (lambda machine, line: None)
        self.notes = []  # what was chosen, and why, for people
        self.machines = {}
        self.lans = {}
        self._key_pairs = {}  # node name -> (private, public)
        self._psk = None
        self._wanted = machine or os.environ.get("MACHINE") or "auto"
        self._check()
        shutil.rmtree(self.work_dir, ignore_errors=True)
        os.makedirs(self.work_dir)
        # Sockets live in a short folder: a UNIX socket's path has room for 107 bytes, and Bochs's for 15.
        self.run_dir = tempfile.mkdtemp(prefix="fl")
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    @classmethod
    def load(cls, source, work_dir, machine=None, on_line=None):
        """`source`: the path of a TOML file, or the same as a dictionary. `machine`: auto, kvm, bochs or qemu for hosts that say 'auto'."""
        if isinstance(source, dict):
            return cls(source, work_dir, ROOT, machine, on_line)
        try:
            with open(source, "rb") as f:
                description = tomllib.load(f)
        except OSError as e:
            raise LabError(f"{source}: {e.strerror}") from None
        except tomllib.TOMLDecodeError as e:
            raise LabError(f"{source}: {e}") from None
        try:
            return cls(description, work_dir, os.path.dirname(os.path.abspath(source)), machine, on_line)
        except LabError as e:
            raise LabError(f"{source}: {e}") from None

    # ---- the description ----
    def _keys(self, where, table, allowed):
        for key in table:
            if key not in allowed:
                raise LabError(f"unknown key '{key}' in [{where}] (there are: {', '.join(sorted(allowed))})")

    def _check(self):
        d = self.description
        self._keys("the file", d, _TOP)
        self._keys("lab", d.get("lab", {}), _LAB)
        for name, lan in d.get("lan", {}).items():
            self._keys(f"lan.{name}", lan, _LAN)
            self._keys(f"lan.{name}.faults", lan.get("faults", {}), set(FAULTS) | {"reorder"})
        if self.security() not in ("keys", "none"):
            raise LabError(f"[lab] security is 'keys' or 'none', not '{self.security()}'")
        names = [name for kind in _KINDS for name in d.get(kind, {})]
        if not names:
            raise LabError("it names no [host.NAME], no [remote.NAME] and no [linux.NAME]")
        for name in names + list(d.get("lan", {})):
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,24}", name) or names.count(name) > 1:
                raise LabError(f"'{name}' is not a name that can be used once (letters, digits, - and _)")
        for kind in _KINDS:
            for name, spec in d.get(kind, {}).items():
                self._keys(f"{kind}.{name}", spec, LinuxMachine.keys if kind == "linux" else _COMMON | BochsMachine.keys | QemuMachine.keys)
                if kind == "linux" and "initrd" not in spec:
                    raise LabError(f"[linux.{name}] needs an initrd (tools/initramfs makes one)")
                if "lan" in spec and spec["lan"] not in d.get("lan", {}):
                    raise LabError(f"[{kind}.{name}] is on lan '{spec['lan']}', but there is no [lan.{spec['lan']}]")
                if spec.get("side", "a") not in ("a", "b"):
                    raise LabError(f"[{kind}.{name}] side is 'a' or 'b'")
                if "image" in spec and {"ini", "ini_file", "files", "elf", "loader"} & set(spec):
                    raise LabError(f"[{kind}.{name}] image is a whole disk: ini, files, elf and loader are in it already")
                for part in ("memory", "cpus"):
                    if not isinstance(spec.get(part, 1), int) or spec.get(part, 1) < 1:
                        raise LabError(f"[{kind}.{name}] {part} is a number{' of MiB' if part == 'memory' else ''}, not {spec[part]!r}")

    def _build(self):
        d = self.description
        for number, (name, lan) in enumerate(d.get("lan", {}).items()):
            self.lans[name] = Lan(name, number, self.run_dir, self.work_dir, lan.get("faults"), lan.get("wire", False))
        number = 0
        for kind in _KINDS:
            for name, spec in d.get(kind, {}).items():
                number += 1
                if kind == "linux":
                    self.machines[name] = LinuxMachine(self, name, dict(spec, role=kind, machine="qemu"), number)
                    continue
                spec = dict(spec, role=kind)
                if "ini_file" in spec:
                    try:
                        with open(self.find(spec["ini_file"]), encoding="utf-8", newline="") as f:
                            spec["ini"] = f.read()
                    except OSError as e:
                        raise LabError(f"[{kind}.{name}] ini_file {spec['ini_file']}: {e.strerror}") from None
                if kind == "remote":
                    spec.setdefault("machine", "qemu")
                    machine, why = spec["machine"], ""
                else:
                    wanted = spec.get("machine", "auto")
                    try:
                        machine, why = choose(self._wanted if wanted == "auto" else wanted)
                    except ValueError as e:
                        raise LabError(str(e)) from None
                    self.notes.append(f"{name} runs on {machine} ({why})")
                if machine == "bochs" and kind == "remote":
                    raise LabError(f"[remote.{name}] Bochs has no PCIe and no VT-d: a remote runs on qemu")
                spec["machine"] = machine
                if machine != "bochs" and isinstance(spec.get("cpu"), str) and spec["cpu"].startswith("corei7_"):
                    del spec["cpu"]  # a Bochs model in a description that runs on QEMU this time
                self.machines[name] = (BochsMachine if machine == "bochs" else QemuMachine)(self, name, spec, number)

    def find(self, path):
        """A path of the description: absolute, or beside it, or in the project."""
        beside = os.path.join(self.base, path)
        return path if os.path.isabs(path) else beside if os.path.exists(beside) else os.path.join(ROOT, path)

    # ---- keys ----
    def security(self):
        return self.description.get("lab", {}).get("security") or os.environ.get("FARBUS_SECURITY") or "none"

    def keys_of(self, node):
        """(private, public) of the node of this name, in this laboratory."""
        if node not in self._key_pairs:
            self._key_pairs[node] = keys.key_pair()
        return self._key_pairs[node]

    def psk(self):
        self._psk = self._psk or keys.psk()
        return self._psk

    def secured(self, ini):
        """The farbus.ini that a machine gets: what its description says, with keys (or the word that there are none) if it does not
        speak of them itself. Everyone knows everyone."""
        if keys.are_in(ini):
            return ini
        if self.security() == "none":
            return keys.without(ini)
        named = {m: re.search(r"^name\s*=\s*(\S+)", text, re.M) for m, text in
                 [(m, m.spec.get("ini") or "") for m in self.machines.values()] + [(None, ini)]}
        own = named.pop(None)
        if not own:
            return ini
        others = {found[1]: self.keys_of(found[1])[1] for found in named.values() if found and found[1] != own[1]}
        return keys.inserted(ini, self.keys_of(own[1])[0], self.psk(), others)

    def path(self, name):
        """A file of the work folder."""
        return os.path.join(self.work_dir, name)

    def lan_of(self, machine):
        return self.lans[machine.spec["lan"]]

    def captures(self, machine):
        """Is this the machine whose NIC stands for a LAN that asks for a capture? (the first QEMU machine on it)"""
        lan = machine.spec.get("lan")
        if not self.description["lan"][lan].get("pcap"):
            return False
        return next(m for m in self.machines.values() if m.spec.get("lan") == lan and isinstance(m, QemuMachine)) is machine

    def pcap(self, lan):
        """The path of a LAN's capture (of the last start of the machine that makes it)."""
        return next((m.pcap for m in self.machines.values() if m.spec.get("lan") == lan and getattr(m, "pcap", None)), None)

    # ---- life ----
    def __getitem__(self, name):
        return self.machines[name]

    def on_line(self, machine, line):
        self._on_line(machine, line)

    def start(self, machines=True):
        """Starts the LANs, then every machine that does not say 'start = false'."""
        for lan in self.lans.values():
            lan.start()
        if machines:
            # remotes first: their firmware is quicker than Bochs
            for machine in sorted(self.machines.values(), key=lambda m: m.role):
                if machine.spec.get("start", True):
                    machine.start()

    def close(self):
        """Ends everything; keeps the logs."""
        for machine in self.machines.values():
            machine.close()
        for lan in self.lans.values():
            lan.stop()
        shutil.rmtree(self.run_dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
