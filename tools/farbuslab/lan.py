# SPDX-License-Identifier: BSD-2-Clause
"""A LAN: one vde switch, or, when faults are wanted, two joined by a wirefilter (hosts on one side, remotes on the other)."""
import os
import socket
import time

from .errors import LabError
from .process import Child

FAULTS = {
    # name here: (wirefilter's command, what it means)
    "loss": ("loss", "percent of frames lost"),
    "dup": ("dup", "percent of frames sent twice"),
    "delay": ("delay", "milliseconds, or '5+3' for 2 to 8"),
    "corrupt": ("noise", "bits damaged in a megabyte"),
    "bandwidth": ("bandwidth", "bytes a second"),
    "mtu": ("mtu", "longer frames are discarded"),
    "burst": ("lostburst", "mean length of a burst of losses"),
}


class Lan:
    """`wire`: join two switches by a wirefilter, so that faults() and down() work."""

    def __init__(self, name, number, run_dir, log_dir, faults=None, wire=False):
        self.name = name
        self._dir = run_dir
        self._log = os.path.join(log_dir, f"{name}.lan")
        self._faults = dict(faults or {})
        self.wired = wire or bool(self._faults)
        self._sides = {"a": f"{number}a", "b": f"{number}b"} if self.wired else {"a": f"{number}a", "b": f"{number}a"}
        self._wire = f"wire{number}"
        self._switches = []
        self._filter = None

    def sock(self, side):
        """The switch's folder of sockets, relative to the laboratory's run folder (Bochs has room for 15 characters)."""
        return self._sides[side]

    def start(self):
        for sock in sorted(set(self._sides.values())):
            self._switches.append(Child(["vde_switch", "-s", sock, "-M", f"{sock}.m"], self._dir, self._log, keep_stdin=True))
            self._await(os.path.join(self._dir, sock, "ctl"))
        if self.wired:
            # --nofifo: frames may overtake each other when their delays differ
            self._filter = Child(["wirefilter", "-N", "-M", self._wire, "-v", f"{self._sides['a']}:{self._sides['b']}"], self._dir, self._log,
                                 keep_stdin=True)
            self._await(os.path.join(self._dir, self._wire))
            self.faults(**self._faults)

    def _await(self, path):
        deadline = time.monotonic() + 20
        while not os.path.exists(path):
            if time.monotonic() > deadline or not all(s.running() for s in self._switches):
                raise LabError(f"LAN {self.name}: vde does not start, see {self._log}")
            time.sleep(0.01)

    def _command(self, line):
        if not self._filter:
            raise LabError(f"LAN {self.name} has no wirefilter: say 'wire = true' or give it faults")
        (answer,) = self._tell(self._wire, "VDEwf$ ", [line])
        if "1000 Success" not in answer:
            raise LabError(f"LAN {self.name}: wirefilter refuses '{line}': {answer.strip().split(chr(10))[0]}")

    def _tell(self, sock, prompt, lines):
        """The answers to lines typed at the management socket of a switch or a wirefilter."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(30)
            s.connect(os.path.join(self._dir, sock))
            self._until(s, prompt)
            answers = []
            for line in lines:
                s.sendall(f"{line}\n".encode())
                answers.append(self._until(s, prompt))
        return answers

    @staticmethod
    def _until(s, prompt):
        text = ""
        while not text.endswith(prompt):
            data = s.recv(4096)
            if not data:
                raise LabError("a switch or wirefilter has ended")
            text += data.decode("ascii", "replace")
        return text

    def vlan(self, number):
        """Lets frames with this VLAN's tag pass between all machines that are connected by now; without it, vde drops them."""
        for sock in sorted(set(self._sides.values())):
            made, *added = self._tell(f"{sock}.m", "vde$ ", [f"vlan/create {number}"] + [f"vlan/addport {number} {port}" for port in range(1, 33)])
            if "1000 Success" not in made or not any("1000 Success" in answer for answer in added):
                raise LabError(f"LAN {self.name}: VLAN {number}: {made.strip()}; or no machine is connected yet")

    def faults(self, **values):
        """Sets faults while the LAN runs; those not named stay. reorder=MS lets delays vary by that much, so that frames overtake.

        A value may be a number, or wirefilter's own form for one direction: 'LR5' is hosts to remotes, 'RL5' back.
        """
        unknown = set(values) - set(FAULTS) - {"reorder"}
        if unknown:
            raise LabError(f"LAN {self.name}: no such fault: {', '.join(sorted(unknown))} (there are {', '.join(sorted(FAULTS))}, reorder)")
        self._faults.update(values)
        if "reorder" in values and "delay" not in values:
            base, spread = self._faults.get("delay", 0), values["reorder"]
            self._command(f"delay {max(float(base), float(spread)):g}+{float(spread):g}" if spread else f"delay {base}")
        for name, value in values.items():
            if name == "reorder":
                continue
            if name == "delay" and self._faults.get("reorder"):
                value = f"{max(float(value), float(self._faults['reorder'])):g}+{float(self._faults['reorder']):g}"
            self._command(f"{FAULTS[name][0]} {value}")

    def calm(self):
        """No faults any more."""
        self.faults(**{name: 0 for name in self._faults})

    def down(self):
        """The cable between the two sides is cut: every frame is lost."""
        self._command("loss 100")

    def up(self):
        self._command(f"loss {self._faults.get('loss', 0)}")

    def stop(self):
        for child in ([self._filter] if self._filter else []) + self._switches:
            child.end(0.5)
        self._filter = None
        self._switches = []
