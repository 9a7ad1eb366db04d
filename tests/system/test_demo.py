# SPDX-License-Identifier: BSD-2-Clause
"""`make demo` does what it says: both machines start, the Linux guest makes a file system on the other machine's drive and reads back what it wrote, and
the run ends by itself with a summary. Wireshark's dissector understands every frame of it."""
import os
import re
import subprocess
import sys

from test_dissector import rows

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def test_demo(work_dir):
    done = subprocess.run([sys.executable, "tools/lab", "--work", work_dir, "tools/labs/demo.toml"], cwd=ROOT, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-3000:]
    summary = "\n".join(line for line in done.stdout.split("\n") if " lab | " in line)
    assert re.search(r"host1: .*remote1/0000:00:04.0 .* is guest \"linux\"'s", summary)
    assert re.search(r"host1: linux\| guest: Linux 6\.\S+, 2 processors", summary)
    assert re.search(r"host1: linux\| guest: read back: the same", summary)
    assert len(re.findall(r"host1: linux\| dmacheck: (?:write|read) .* errors=0 wrong=0 beside=0", summary)) == 2
    assert re.search(r"lan: \d+ frames, \d+ bytes", summary)

    capture = os.path.join(work_dir, "remote1.pcap")
    assert rows(capture, "frame.number", only="farbus.malformed || farbus.unmatched") == []
    types = {t for [ts] in rows(capture, "farbus.record.type", only="farbus.record.type") for t in ts}
    assert types >= {"0x05", "0x06", "0x11", "0x20", "0x31", "0x40", "0x41", "0x43"}  # MRd, MWr, CplD, ATTACH, MSI, DMA_START, DMA_MAP, DMA_DATA
