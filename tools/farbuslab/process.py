# SPDX-License-Identifier: BSD-2-Clause
"""Child processes that cannot be left behind: each dies with us (PR_SET_PDEATHSIG, through setpriv) and is ended by its pid.

Start them from a thread that lives as long as they should: the kernel counts the death of the starting thread as the parent's.
"""
import atexit
import shutil
import signal
import subprocess
import threading
import time

from .errors import LabError

_alive = set()
_lock = threading.Lock()


class Child:
    """A running program. `keep_stdin`: its standard input is a pipe that stays open (vde tools end when it closes)."""

    def __init__(self, argv, cwd, log, env=None, keep_stdin=False):
        if shutil.which("setpriv") is None:
            raise LabError("setpriv is missing (package util-linux)")
        if shutil.which(argv[0]) is None:
            raise LabError(f"{argv[0]} is missing: run 'make deps'")
        self.argv = argv
        self._log = open(log, "ab")
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *argv], cwd=cwd, env=env, stdout=self._log,
                                        stderr=subprocess.STDOUT, stdin=subprocess.PIPE if keep_stdin else subprocess.DEVNULL,
                                        start_new_session=True)
        with _lock:
            _alive.add(self)
        self._await_program()

    def _await_program(self):
        """Until setpriv has become the program: from then on the child dies with us. (Before it is setpriv it shows our own command line, then none.)"""
        with open("/proc/self/cmdline", "rb") as f:
            own = f.read()
        for _ in range(1000):
            try:
                with open(f"/proc/{self.pid}/cmdline", "rb") as f:
                    line = f.read()
            except OSError:
                return
            if not self.running() or (line and line != own and not line.startswith(b"setpriv\0")):
                return
            time.sleep(0.005)

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process.poll() is None

    def exit_code(self):
        return self.process.poll()

    def signal(self, number):
        if self.running():
            self.process.send_signal(number)

    def wait(self, timeout=None):
        """True when it has ended within `timeout` seconds."""
        try:
            self.process.wait(timeout)
            return True
        except subprocess.TimeoutExpired:
            return False

    def end(self, patience=2.0):
        """Ends it: SIGTERM, then SIGKILL after `patience` seconds (0: at once)."""
        if self.running() and patience > 0:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            self.wait(patience)
        if self.running():
            self.process.kill()
            self.process.wait()
        with _lock:
            _alive.discard(self)
        if self.process.stdin:
            try:
                self.process.stdin.close()
            except OSError:
                pass
        self._log.close()


@atexit.register
def _end_all():
    for child in list(_alive):
        child.end(0)
