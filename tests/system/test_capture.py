# SPDX-License-Identifier: BSD-2-Clause
"""A remote captures its link, prints the file on its console, and the tool makes a pcapng of it that holds what passed."""
import re
import struct
import subprocess
import sys

import wire as w
from farbuslab.machine import ROOT
from lone_remote import EDU

TOOL = f"{ROOT}/tools/farbus-capture"

PACKET, FLAGS_INBOUND, FLAGS_OUTBOUND = 6, 1, 2


def packets(data):
    """(direction, frame) of each packet; the file is walked as a reader would."""
    at = 0
    assert data[:4] == bytes.fromhex("0a0d0d0a")
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        assert struct.unpack_from("<I", data, at + length - 4)[0] == length
        if kind == PACKET:
            size = struct.unpack_from("<I", data, at + 20)[0]
            frame = data[at + 28:at + 28 + size]
            flags = struct.unpack_from("<HHI", data, at + 28 + (size + 3) // 4 * 4)[2]
            yield flags, frame
        at += length


def test_capture_of_a_link(remote, link, tmp_path):
    f = link.attach(EDU)
    remote.type("capture start")
    remote.see(r"capture: frames of links are kept, up to 1 MiB")
    assert link.mrd(f, 0, 0, 4)[0] == w.SC
    remote.type("capture")
    remote.see(r"capture: running: [1-9]\d* frames, \d+ of 1048576 bytes, nothing missed")
    remote.type("capture show")
    remote.see(r"-----END PCAPNG-----")
    assert link.mrd(f, 0, 0, 4)[0] == w.SC  # the machine went on meanwhile
    log, out = tmp_path / "console.log", tmp_path / "link.pcapng"
    log.write_text(remote.console.text)
    subprocess.run([sys.executable, TOOL, log, out], check=True)
    seen = list(packets(out.read_bytes()))
    request = struct.pack("<BB", 0x05, 0)  # MRD
    assert any(flags == FLAGS_INBOUND and request in frame for flags, frame in seen)
    assert any(flags == FLAGS_OUTBOUND and b"FABS" in frame for flags, frame in seen)
    remote.type("capture")
    remote.see(r"capture: stopped: \d+ frames")


def test_a_capture_that_makes_no_sense_is_refused(remote, tmp_path):
    remote.type("capture start 65")
    remote.see(r"capture: error: '65' is neither 'all' nor 1 to 64 MiB")
    remote.type("capture sideways")
    remote.see(re.escape("capture: error: usage: capture [start [MiB] [all] | stop | show]"))
    (tmp_path / "empty.log").write_text("nothing")
    tool = subprocess.run([sys.executable, TOOL, tmp_path / "empty.log", tmp_path / "x"], capture_output=True, text=True)
    assert tool.returncode == 1 and "type 'capture show' on the console" in tool.stderr
