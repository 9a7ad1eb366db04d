#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""`make lint`: everything about the tree that can be said without compiling it. One line per finding; exit code 1 if any.

Format (clang-format with the tree's file), licence lines, arrows between rooms, syntax of scripts, no machine paths and no binaries.
"""
import ast
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SPDX = "SPDX-License-Identifier: BSD-2-Clause"
NEEDS_SPDX = (".c", ".h", ".S", ".py", ".sh", ".ld", ".lua", ".asl", ".toml", ".ini", ".mk")
MACHINE_PATH = re.compile(rf"{re.escape(ROOT)}(?!\w)|/home/\w+/")  # this checkout's own place, anybody's home


def tracked():
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    return sorted(f for f in out.decode().split("\0") if f and os.path.isfile(os.path.join(ROOT, f)))


def format_findings(files):
    sources = [f for f in files if f.endswith((".c", ".h"))]
    if not sources:
        return []
    halves = [sources[0::2], sources[1::2]]
    running = [subprocess.Popen(["clang-format", "--dry-run", "-Werror", *h], cwd=ROOT, stderr=subprocess.PIPE, text=True) for h in halves if h]
    text = "".join(p.communicate()[1] for p in running)
    counts = {}
    for name, line in re.findall(r"^(\S+?):(\d+):\d+: error: ", text, re.M):
        counts.setdefault(name, []).append(line)
    return [f"{name}:{lines[0]}: clang-format would change {len(lines)} place(s): make format" for name, lines in sorted(counts.items())]


def main():
    if {"-h", "--help"} & set(sys.argv[1:]):
        sys.exit(print(__doc__))
    files = tracked()
    findings = format_findings(files)
    for name in files:
        path = os.path.join(ROOT, name)
        with open(path, "rb") as f:
            data = f.read()
        if b"\0" in data:
            findings.append(f"{name}: is binary")
            continue
        text = data.decode("utf-8", "replace")
        head = text[:400]
        script = text.startswith("#!")
        if (name.endswith(NEEDS_SPDX) or script or os.path.basename(name) == "Makefile") and SPDX not in head:
            findings.append(f"{name}:1: no '{SPDX}' near its top")
        if name.endswith(".py") or script and "python" in text.split("\n", 1)[0]:
            try:
                ast.parse(text, name)
            except SyntaxError as e:
                findings.append(f"{name}:{e.lineno}: {e.msg}")
        if name.endswith(".sh") or script and re.search(r"\b(ba)?sh\b", text.split("\n", 1)[0]):
            done = subprocess.run(["bash", "-n", path], capture_output=True, text=True)
            if done.returncode:
                findings.append(f"{name}: {done.stderr.strip()}")
        if name.endswith(".toml"):
            import tomllib
            try:
                tomllib.loads(text)
            except tomllib.TOMLDecodeError as e:
                findings.append(f"{name}: {e}")
        for number, line in enumerate(text.split("\n"), 1):
            if MACHINE_PATH.search(line) and name != "tools/lint.py":
                findings.append(f"{name}:{number}: names a path of one machine")
            if line != line.rstrip() and not name.endswith(".md"):
                findings.append(f"{name}:{number}: blank at the end of the line")
    arrows = subprocess.run([sys.executable, os.path.join(ROOT, "tools", "check-arrows.py")], capture_output=True, text=True)
    findings += arrows.stdout.strip().split("\n") if arrows.stdout.strip() else []
    if arrows.returncode and not arrows.stdout.strip():
        findings.append(f"tools/check-arrows.py: {arrows.stderr.strip()}")
    for line in findings:
        print(line)
    print(f"lint: {len(files)} files, {len(findings)} finding(s)")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
