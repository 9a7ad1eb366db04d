#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Runs the tests of one or more kinds (unit, fuzz, system) and ends with `N passed, N failed` over all of them.

usage: [TEST=name] [SIDE=n] tools/run-tests.py KIND...

The binaries are already made (the Makefile does that). A unit test binary counts one per cmocka test, a fuzzer counts one, a
system test counts one per pytest test. A binary that dies (sanitizer, signal) counts as one failure more. Logs: build/test/.

Unit tests and fuzzers run one a processor. System tests run SIDE at a time: a laboratory waits for its clocks and its network for
some of its time. As many as there are processors, if nothing is said.
"""
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
import xml.etree.ElementTree as ET

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOGS = os.path.join(ROOT, "build", "test")
FUZZ_RUNS = 20000
WANTED = os.environ.get("TEST", "")
PROCESSORS = len(os.sched_getaffinity(0))
SIDE = os.environ.get("SIDE") or str(PROCESSORS)


def sources(folder, prefix):
    path = os.path.join(ROOT, folder)
    names = [f[:-2] for f in os.listdir(path)] if os.path.isdir(path) else []
    return sorted(n for n in names if n.startswith(prefix) and WANTED in n and os.path.exists(os.path.join(path, n + ".c")))


def run(name, command, timeout, env=None):
    """Runs a command; its output goes to a log that is returned. Exit code 124 stands for a time-out."""
    os.makedirs(LOGS, exist_ok=True)
    log = os.path.join(LOGS, name + ".log")
    with open(log, "wb") as out:
        try:
            code = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                  timeout=timeout, env=dict(os.environ, **(env or {}))).returncode
        except subprocess.TimeoutExpired:
            out.write(f"\n{name}: ended after {timeout} s\n".encode())
            code = 124
        except OSError as e:
            out.write(f"{e}\n".encode())
            code = 127
    with open(log, encoding="utf-8", errors="replace") as f:
        return code, f.read(), log


def report(good, kind, name, note, text=""):
    print(f"{'ok    ' if good else 'FAILED'} {kind} {name}{': ' + note if note else ''}", flush=True)
    if not good:
        print("\n".join("    " + line for line in text.strip().splitlines()[-60:]), flush=True)


def all_of(names, one):
    """one(name) for each, a processor each; the results in the order of names, each as soon as it and those before it are there."""
    with ThreadPoolExecutor(PROCESSORS) as pool:
        yield from zip(names, pool.map(one, names))


def unit():
    passed = failed = 0
    for name, (code, text, _) in all_of(sources("tests/unit", "test_"), lambda name: run(name, [os.path.join("build/unit", name)], 300)):
        ok = len(re.findall(r"^\[       OK \]", text, re.M))
        bad = len(set(re.findall(r"^\[  (?:FAILED|ERROR )  \] (\S+)$", text, re.M)))
        if code != 0 and bad == 0 or code == 0 and ok == 0:
            bad += 1
        passed, failed = passed + ok, failed + bad
        report(bad == 0, "unit", name, f"{ok} passed, {bad} failed", text)
    return passed, failed


def fuzz_one(name):
    corpus = os.path.join(LOGS, "corpus", name)
    subprocess.run(["rm", "-rf", corpus], check=True)
    os.makedirs(corpus)
    maker = os.path.join(ROOT, "tests/fuzz", "seeds_" + name[5:] + ".py")
    if os.path.exists(maker):
        code, text, log = run(name + "-seeds", ["/usr/bin/python3", maker, corpus], 60)
        if code != 0:
            return code, text, log
    command = [os.path.join("build/fuzz", name), f"-runs={FUZZ_RUNS}", "-seed=1", "-timeout=20", "-rss_limit_mb=2048", "-len_control=0",
               "-max_len=2048", f"-artifact_prefix={LOGS}/", "-print_final_stats=1", corpus]
    return run(name, command, 300)


def fuzz():
    passed = failed = 0
    for name, (code, text, log) in all_of(sources("tests/fuzz", "fuzz_"), fuzz_one):
        good = code == 0
        passed, failed = passed + good, failed + (not good)
        report(good, "fuzz", name, f"{FUZZ_RUNS} runs" if good else f"see {os.path.relpath(log, ROOT)}", text)
    return passed, failed


def system():
    os.makedirs(LOGS, exist_ok=True)
    result = os.path.join(LOGS, "system.xml")
    if os.path.exists(result):
        os.unlink(result)
    if not os.path.isdir(os.path.join(ROOT, "tests/system")):
        return 0, 0
    sys.path.insert(0, os.path.join(ROOT, "tools"))
    from farbuslab.choose import choose
    print("VT-x side: %s (%s)" % choose(os.environ.get("MACHINE") or "auto"), flush=True)
    command = ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rs", "--tb=short", "--durations=25", "-n", SIDE, "--dist", "loadgroup",
               f"--junitxml={result}", "tests/system"]
    if WANTED:
        command += ["-k", WANTED]
    code = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1")).returncode
    if code == 5:  # nothing collected
        return 0, 0
    try:
        suite = ET.parse(result).getroot().find("testsuite")
        total, bad, skipped = int(suite.get("tests")), int(suite.get("failures")) + int(suite.get("errors")), int(suite.get("skipped"))
    except (OSError, ET.ParseError, AttributeError, TypeError):
        print(f"FAILED system: pytest ended with code {code} and left no result")
        return 0, 1
    global skips
    skips += skipped
    return total - bad - skipped, max(bad, 1 if code else 0)


skips = 0


def main():
    kinds = {"unit": unit, "fuzz": fuzz, "system": system}
    chosen = sys.argv[1:]
    if {"-h", "--help"} & set(chosen):
        sys.exit(print(__doc__))
    if not chosen or any(k not in kinds for k in chosen):
        sys.exit("usage: [TEST=name] tools/run-tests.py unit|fuzz|system ...")
    passed = failed = 0
    start = time.monotonic()
    for kind in chosen:
        p, f = kinds[kind]()
        passed, failed = passed + p, failed + f
    print(f"{', '.join(chosen)}: {time.monotonic() - start:.0f} s")
    if passed + failed == 0:
        print(f"no test ran{' that is named ' + WANTED if WANTED else ''}")
        failed = 1 if WANTED else 0
    print(f"{passed} passed, {failed} failed" + (f", {skips} skipped" if skips else ""))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
