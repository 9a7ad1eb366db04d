# SPDX-License-Identifier: BSD-2-Clause
"""What every machine of a laboratory has: an ESP made afresh for each start, a console, and an emulator process."""
import os
import shutil
import signal
import subprocess
import sys

from .console import Console
from .errors import LabError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEPS = os.path.join(ROOT, "build", "deps")
sys.path.insert(0, os.path.join(ROOT, "tools"))
from mkimage import make_image  # noqa: E402  (a sibling script)


class Machine:
    """Starts, stops and restarts one emulator. Subclasses say with what command (command()) and what their log gives away (complaints())."""

    role = "host"

    def __init__(self, lab, name, spec, number):
        self.lab = lab
        self.name = name
        self.spec = spec
        self.mac = spec.get("mac", f"52:54:00:fb:00:{number:02x}")
        self.cpus = spec.get("cpus", 1)
        self.memory = spec.get("memory", 512)
        self.child = None
        self.starts = 0
        self.emulator_log = lab.path(f"{name}.emulator")
        self.console = Console(name, lab.path(f"{name}.console"), lambda line: lab.on_line(self, line))
        self.console.alive = self.running

    # ---- the ESP ----
    def make_esp(self):
        """Writes the folder and the disk image the firmware boots; returns the image's path."""
        folder = self.lab.path(f"{self.name}.esp")
        image = self.lab.path(f"{self.name}.img")
        if "image" in self.spec:
            self._put(self.spec["image"], image)
            return image
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(os.path.join(folder, "EFI", "BOOT"))
        elf = "hv.elf" if self.role == "host" else "remote-fw.elf"
        loader = self.spec.get("loader", os.path.join(ROOT, "build", "BOOTX64.EFI"))
        self._put(loader, os.path.join(folder, "EFI", "BOOT", "BOOTX64.EFI"))
        kernel = self.spec.get("elf", os.path.join(ROOT, "build", elf))
        if kernel:
            target = os.path.join(folder, elf)
            self._put(kernel, target)
            # Symbols stay for backtraces; debug information would only be read through an emulated disk. A file that is
            # deliberately broken goes as it is.
            if "elf" not in self.spec:
                subprocess.run(["objcopy", "--strip-debug", target], check=True)
        if self.spec.get("ini") is not None:
            with open(os.path.join(folder, "farbus.ini"), "w", encoding="utf-8", newline="") as f:
                f.write(self.lab.secured(self.spec["ini"]))
        for name, source in self.spec.get("files", {}).items():
            target = os.path.join(folder, *name.replace("\\", "/").strip("/").split("/"))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            self._put(source, target)
        make_image(folder, image)
        return image

    def _put(self, source, target):
        """`source` is a path, or the bytes themselves (tests make broken files so)."""
        if isinstance(source, bytes):
            with open(target, "wb") as f:
                f.write(source)
            return
        path = self.lab.find(source)
        if not os.path.isfile(path):
            raise LabError(f"{self.name}: {source} is missing" + (": run 'make'" if "build" in path.split(os.sep) else ""))
        shutil.copyfile(path, target)

    # ---- life ----
    def command(self, image):
        raise NotImplementedError

    def start(self):
        """Powers on, with a fresh ESP. Call it again after stop() or kill(): the console's text goes on."""
        if self.running():
            raise LabError(f"{self.name} is running already")
        image = self.make_esp()
        for lock in (image + ".lock",):
            if os.path.exists(lock):
                os.unlink(lock)
        argv, env = self.command(image)
        with open(self.emulator_log, "a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(argv)}\n")
        from .process import Child
        self.child = Child(argv, self.lab.run_dir, self.emulator_log, env)
        self.starts += 1

    def running(self):
        return self.child is not None and self.child.running()

    def wait(self, timeout=120):
        """True when the emulator has ended by itself within `timeout` seconds (a power-off, for instance)."""
        return self.child is None or self.child.wait(timeout)

    def exit_code(self):
        return self.child.exit_code() if self.child else None

    def stop(self):
        """Ends the emulator as a pulled plug would, but lets it close its files."""
        if self.child:
            self.child.end()

    def kill(self):
        """Ends the emulator at once."""
        if self.child:
            self.child.end(0)

    def pause(self):
        """The whole machine stands still (nothing on the wire either) until resume()."""
        self.child.signal(signal.SIGSTOP)

    def resume(self):
        self.child.signal(signal.SIGCONT)

    def last_words(self):
        """The last line the emulator itself printed, without its command line; empty if it said nothing."""
        try:
            with open(self.emulator_log, encoding="utf-8", errors="replace") as f:
                lines = [line.strip() for line in f if line.strip(" =\n") and not line.startswith("$ ")]
        except OSError:
            return ""
        return lines[-1] if lines else ""

    def complaints(self):
        """Lines of the emulator's own log that a person should see."""
        return []

    def close(self):
        self.stop()
        self.console.close()
