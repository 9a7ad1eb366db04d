#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Arrows between rooms go one way (DESIGN: hv/ and remote-fw/ -> net/, drivers/ -> rt/). Says each include that points up; exit code 1 if any.

usage: tools/check-arrows.py [FOLDER]
"""
import os
import re
import sys

# room: what it may include besides itself. The longest matching prefix counts.
ALLOWED = {
    "rt": set(),
    "drivers": {"rt"},
    "net": {"rt"},
    "boot": {"rt"},  # only headers that are plain data, see ONLY
    "hv": {"hv", "net", "drivers", "rt"},
    "hv/platform": {"rt", "drivers", "net", "hv/vm", "hv/bus"},  # knows no VMX
    "hv/bus": {"rt", "drivers", "net", "hv/vm", "hv/platform"},
    "hv/vm": {"rt", "drivers", "net", "hv/platform", "hv/bus", "hv/vmx"},
    "hv/vmx": {"rt", "drivers", "hv/vm"},
    "remote-fw": {"net", "drivers", "rt"},
}
ONLY = {"boot": {"rt/boot_info.h", "rt/elf_format.h", "rt/status.h", "rt/version.h"}}
ROOMS = ("boot", "rt", "drivers", "net", "hv", "remote-fw", "tests", "tools")
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def room_of(path):
    return max((r for r in ALLOWED if path == r or path.startswith(r + "/")), key=len, default=None)


def check(root):
    wrong = []
    for top in ROOMS:
        for folder, _, files in os.walk(os.path.join(root, top)):
            for name in sorted(files):
                if not name.endswith((".c", ".h", ".S")):
                    continue
                path = os.path.relpath(os.path.join(folder, name), root)
                room = room_of(path)
                if room is None:
                    continue
                with open(os.path.join(root, path), encoding="utf-8") as f:
                    text = f.read()
                for include in INCLUDE.findall(text):
                    target = room_of(include)
                    if target is None:  # a library's own header, or a file beside it
                        if include.split("/")[0] in ("tests", "tools"):
                            wrong.append(f"{path}: includes {include}: the product knows nothing of tests and tools")
                        continue
                    if room in ONLY and target != room and include not in ONLY[room]:
                        wrong.append(f"{path}: includes {include}; {room}/ may use only {', '.join(sorted(ONLY[room]))} of other rooms")
                    elif target != room and not any(target == a or target.startswith(a + "/") for a in ALLOWED[room]):
                        wrong.append(f"{path}: includes {include}; {room}/ may use {', '.join(sorted(ALLOWED[room])) or 'nothing else'}")
    return wrong


def main():
    if {"-h", "--help"} & set(sys.argv[1:]):
        sys.exit(print(__doc__))
    wrong = check(sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    for line in wrong:
        print(line)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
