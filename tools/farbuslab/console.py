# SPDX-License-Identifier: BSD-2-Clause
"""A machine's serial console: a socket the emulator connects to, a thread that reads it, a text to search in.

The raw bytes go to NAME.console; the text that is searched and shown has terminal control sequences and carriage returns removed. A
console outlives its machine: after a restart the emulator connects again and the text goes on.
"""
import re
import socket
import threading
import time

from .errors import LabError

_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[()][0-9A-Za-z]|\x1b[=>78cDEHM]|[\r\0\x07]")
_UNFINISHED = re.compile(r"\x1b(\[[0-?]*[ -/]*|[()])?$")


class ConsoleTimeout(LabError):
    """Nothing on the console matched in time. `tail` holds its last lines."""

    def __init__(self, message, tail):
        super().__init__(message + "\n--- last lines of the console ---\n" + tail)
        self.tail = tail


class Console:
    def __init__(self, name, log, on_line=None):
        self.name = name
        self.log = log
        self._on_line = on_line
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._connection = None
        self._text = ""
        self._cursor = 0
        self._shown = 0
        self._changed = threading.Condition()
        self._closing = False
        self.alive = lambda: True  # set by the machine: is the emulator running?
        self._thread = threading.Thread(target=self._serve, name=f"console {name}", daemon=True)
        self._thread.start()

    # ---- reading ----
    def _serve(self):
        with open(self.log, "ab") as log:
            while not self._closing:
                try:
                    connection, _ = self._listener.accept()
                except OSError:
                    return
                with self._changed:
                    self._connection = connection
                    self._changed.notify_all()
                held = ""
                while True:
                    try:
                        data = connection.recv(65536)
                    except OSError:
                        data = b""
                    if not data:
                        break
                    log.write(data)
                    log.flush()
                    chunk = held + data.decode("utf-8", "replace")
                    unfinished = _UNFINISHED.search(chunk)
                    held = chunk[unfinished.start():] if unfinished else ""
                    self._add(_CONTROL.sub("", chunk[:len(chunk) - len(held)]))
                # The last words are there before anybody is told that there will be no more.
                if not self._text.endswith("\n"):
                    self._add("\n")
                with self._changed:
                    self._connection = None
                    self._changed.notify_all()
                connection.close()

    def _add(self, text):
        with self._changed:
            self._text += text
            lines = []
            while (end := self._text.find("\n", self._shown)) >= 0:
                lines.append(self._text[self._shown:end])
                self._shown = end + 1
            self._changed.notify_all()
        if self._on_line:
            for line in lines:
                self._on_line(line)

    @property
    def text(self):
        """All that was printed so far."""
        with self._changed:
            return self._text

    @property
    def lines(self):
        return self.text.split("\n")

    def tail(self, count=25):
        return "\n".join([line for line in self.lines if line.strip()][-count:])

    def mark(self):
        """expect() from here on looks only at what is printed after this call; a line that is not complete yet counts as that."""
        with self._changed:
            self._cursor = max(self._cursor, self._text.rfind("\n") + 1)

    def expect(self, pattern, timeout=120):
        """Waits for a match of `pattern` (multi-line regular expression) after the last one, and returns it.

        Raises ConsoleTimeout after `timeout` seconds, or at once when the machine has ended without printing it.
        """
        regex = re.compile(pattern, re.M)
        deadline = time.monotonic() + timeout
        ended = False
        with self._changed:
            while True:
                match = regex.search(self._text, self._cursor)
                if match:
                    self._cursor = match.end()
                    return match
                left = deadline - time.monotonic()
                if ended or left <= 0:
                    break
                # once the emulator is gone and its socket is closed, nothing more can come
                ended = not self.alive() and self._connection is None
                if not ended:
                    self._changed.wait(min(left, 0.5))
        why = "the machine has ended without printing" if ended else f"nothing in {timeout} s matched"
        raise ConsoleTimeout(f"{self.name}: {why} {pattern!r}", self.tail())

    def seen(self, pattern):
        """All matches so far, wherever expect() stands."""
        return list(re.finditer(pattern, self.text, re.M))

    # ---- writing ----
    def send(self, text, timeout=30):
        """Types `text` (add the newline yourself)."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while self._connection is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise LabError(f"{self.name}: the machine's serial port is not connected")
                self._changed.wait(left)
            connection = self._connection
        connection.sendall(text.encode())

    def close(self):
        self._closing = True
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        with self._changed:
            connection = self._connection
        if connection:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._thread.join(2)
