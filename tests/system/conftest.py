# SPDX-License-Identifier: BSD-2-Clause
"""System tests: whole machines. The `lab` fixture builds a laboratory out of a dictionary or a file (docs/lab.md) and ends it afterwards.

    def test_something(lab):
        l = lab({"lan": {"lan": {}}, "host": {"host1": {...}}, "remote": {...}})
        l.start()
        l["host1"].console.expect(r"guest probe: started", 120)

Logs stay in build/test/system/FILE/TEST/. Never assert on wall-clock time; time-outs are there to end a hang.

Several laboratories run side by side (tools/run-tests.py): each has its folders, sockets and ports to itself. A test that cannot bear
company says `@pytest.mark.alone`.
"""
import fcntl
import os
import re
import signal
import sys
import threading

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tools"), os.path.join(ROOT, "tests")]
from farbuslab import Lab  # noqa: E402
from farbuslab.choose import choose  # noqa: E402

# Ended from outside: unwind, so that fixtures end their machines. (A worker of pytest-xdist may run us in a thread that is not
# its first; its machines die with it.)
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def pytest_report_header(config):
    machine, why = choose(os.environ.get("MACHINE") or "auto")
    return f"VT-x side: {machine} ({why})"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    setattr(item, "report_" + report.when, report)


def pytest_configure(config):
    config.addinivalue_line("markers", "alone: no other system test runs meanwhile")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Tests that share a machine stay together and in order; all others go to whoever has nothing to do (pytest-xdist, --dist loadgroup)."""
    for item in items:
        if "shared_dir" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group(item.module.__name__))
    items.sort(key=lambda item: "shared_dir" not in item.fixturenames)  # the longest jobs first


@pytest.fixture(autouse=True)
def room(request):
    """Holds the bench: together with others, or alone. Who waits to be alone lets nobody in before him."""
    folder = os.path.join(ROOT, "build", "test")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "door.lock"), "w", encoding="utf-8") as door, open(os.path.join(folder, "room.lock"), "w", encoding="utf-8") as inside:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(inside, fcntl.LOCK_EX if request.node.get_closest_marker("alone") else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        yield


def folder_of(module, name):
    return os.path.join(ROOT, "build", "test", "system", module.__name__, re.sub(r"[^A-Za-z0-9_.-]+", "_", name))


@pytest.fixture
def work_dir(request):
    """A folder of this test's own under build/test/system; the laboratory empties it."""
    return folder_of(request.module, request.node.name)


@pytest.fixture
def lab(request, work_dir):
    """A function (description, name=None) -> Lab, not yet started. A second laboratory in one test needs a name."""
    made = []

    def make(description, name=None):
        made.append(Lab.load(description, os.path.join(work_dir, name) if name else work_dir))
        return made[-1]

    yield make
    failed = getattr(request.node, "report_call", None) is not None and request.node.report_call.failed
    for one in made:
        if failed:
            for machine in one.machines.values():
                print(f"--- {machine.name}: {machine.console.log} (last lines)")
                print(machine.console.tail(40))
                if machine.exit_code():
                    print(f"--- {machine.name} ended with code {machine.exit_code()}: {machine.last_words()}")
                for line in machine.complaints():
                    print(f"--- {machine.name} [emulator] {line}")
        one.close()


@pytest.fixture(scope="module")
def shared_dir(request):
    """The folder of a machine that serves the tests of a module one after the other."""
    return folder_of(request.module, "shared")


@pytest.fixture(scope="module")
def remote(shared_dir):
    """A lone_remote.Remote with which the tests of a module work one after the other."""
    from lone_remote import NODE, Remote
    made = Remote(shared_dir)
    try:
        made.see(r'remote: node "disk1" lends \d+ functions')
        made.host.wait_announcement(NODE)
        yield made
    finally:
        made.close()


@pytest.fixture
def link(remote):
    """A link of host "alpha" with it; closed at the end, so that every test finds all functions free."""
    made = remote.link("alpha")
    yield made
    made.close()
    remote.all_free()
