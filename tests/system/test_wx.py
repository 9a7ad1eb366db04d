# SPDX-License-Identifier: BSD-2-Clause
"""No memory is ever writable and executable: in the files' program headers, and in the page tables the machines run on."""
import os
import re
import struct

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
INI = "[node]\nname = n\nrole = {role}\naddress = dhcp\nconsole = serial\n"
PT_LOAD, PF_X, PF_W, PF_R = 1, 1, 2, 4


def segments(path):
    """(flags, address, memory size) of each PT_LOAD (ELF-64 object file format, "Program header table")."""
    with open(path, "rb") as f:
        elf = f.read()
    assert elf[:6] == b"\x7fELF\x02\x01"
    offset, = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    for i in range(count):
        kind, flags, _, address, _, _, memory = struct.unpack_from("<IIQQQQQ", elf, offset + i * size)
        if kind == PT_LOAD:
            yield flags, address, memory


@pytest.mark.parametrize("name", ["hv.elf", "remote-fw.elf", "selftest.elf"])
def test_program_headers(name):
    found = list(segments(os.path.join(ROOT, "build", name)))
    assert [flags for flags, _, _ in found] == [PF_R | PF_X, PF_R, PF_R | PF_W]
    for flags, address, _ in found:
        assert address % 4096 == 0, "two kinds of access would share a page"
    for (_, address, size), (_, following, _) in zip(found, found[1:]):
        assert address + size <= following


@pytest.mark.parametrize("role", ["host", "remote"])
def test_live_tables(lab, role):
    one = lab({role: {"n": {"cpus": 2, "nic": "none", "ini": INI.format(role=role)}}})
    one.start()
    found = one["n"].console.expect(r"paging: (\d+) leaves, W (\d+), X (\d+), W\+X (\d+)$", 180)
    leaves, writable, executable, both = (int(n) for n in found.groups())
    assert both == 0
    assert 0 < executable < writable < leaves
    text = [size for flags, _, size in segments(os.path.join(ROOT, "build", {"host": "hv.elf", "remote": "remote-fw.elf"}[role])) if flags & PF_X]
    assert executable == -(-text[0] // 4096), "something besides the image's text is executable"
    one["n"].console.expect(r"machine: Farbus \S+, %s \"n\"$" % role, 60)
    assert not re.search(r"panic:", one["n"].console.text)
