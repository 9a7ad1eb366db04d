# SPDX-License-Identifier: BSD-2-Clause
"""A bad network and a remote that goes away. What is read and written has effects at the device (a receiver that gives each byte once, a
device that counts what it is written), so an access that were executed twice, or not at all, would show."""
import os
import re
import socket
import threading
import time

import pair

STREAM = 600  # bytes each way


def pattern(count):
    """What tests/guests/stream sends and expects."""
    return bytes(i * 7 + (i >> 8) * 13 + 1 & 255 for i in range(count))


class LineEnd(threading.Thread):
    """The other end of a pci-serial's line: waits for <stream>, sends the pattern, keeps everything it gets."""

    def __init__(self, lab, name):
        super().__init__(daemon=True)
        # the path of a UNIX socket is short: the laboratory's own folder is
        self.path = os.path.join(lab.run_dir, name)
        self.got = b""
        self.ended = threading.Event()

    def run(self):
        with socket.socket(socket.AF_UNIX) as s:
            while not self.ended.is_set():
                try:
                    s.connect(self.path)
                    break
                except OSError:
                    time.sleep(0.05)
            sent = False
            while b"</stream>" not in self.got:
                data = s.recv(4096)
                if not data:
                    return
                self.got += data
                if not sent and b"<stream>" in self.got:
                    s.sendall(pattern(STREAM))
                    sent = True

    def body(self):
        return self.got.partition(b"<stream>")[2].partition(b"</stream>")[0]


def test_loss_duplication_reordering(lab):
    """5 % of the frames lost, 5 % doubled, all of them delayed by 2 to 6 ms so that they overtake each other: the same output, each
    access exactly once. Two guests share the link."""
    cmdline = "loop=100 want=edu,serial,testdev,absent"
    devices = ["edu", "testdev", "serial2"]
    guests = [pair.guest("probe", "probe", cmdline, devices), pair.guest("stream", "stream", f"receive={STREAM} send={STREAM}", ["serial"])]
    l = lab(pair.description(guests, devices + ["serial"], elves=["probe", "stream"], lan={"wire": True},
                             line=["-chardev", "socket,id=line,path=line,server=on,wait=off"]))
    reference = pair.reference(l, "probe", cmdline, devices)
    line = LineEnd(l, "line")
    l.start()
    l.lans["lan"].faults(loss=5, dup=5, delay=4, reorder=2)
    line.start()
    host = l["host1"].console
    try:
        for guest in ("probe", "stream"):
            host.mark()
            if not host.seen(rf"{guest}: stopped: powered off"):
                host.expect(rf"{guest}: stopped: powered off", 900)
    finally:
        line.ended.set()
    l.lans["lan"].calm()

    lines = pair.guest_lines(l["host1"], "probe")
    assert pair.properties(lines) == pair.properties(reference)
    assert [text for text in lines if "FAILED" in text] == []
    stream = pair.guest_lines(l["host1"], "stream")
    assert [text for text in stream if "FAILED" in text] == []
    assert len([text for text in stream if text.endswith(" ok")]) == 2
    line.join(60)
    assert line.body() == pattern(STREAM)

    # exactly once: what the host sent is what the remote executed
    counts, executed = pair.host_counters(l), pair.remote_counters(l)
    for here, there in (("MRd", "executed MRd"), ("MWr", "executed MWr"), ("IORd", "executed IORd"), ("IOWr", "executed IOWr")):
        assert counts[here] == executed[there] > 0
    assert counts.get("reads answered all-ones", 0) == 0
    # and the faults were there
    here, there = pair.links(l["host1"]), pair.links(l["remote1"])
    assert here["retransmitted"] > 0 and there["retransmitted"] > 0
    assert here["duplicates"] > 0 and there["duplicates"] > 0
    assert here["out of order"] + there["out of order"] > 0


def tsc_hz(lab):
    return float(lab["host1"].console.seen(r"time: TSC at ([\d.]+) MHz")[-1][1]) * 1e6


def test_remote_stops_and_returns(lab):
    """The host starts first. Then the remote comes, stands still, comes back, is killed, starts again, and loses its cable; two guests
    watch their devices all the time."""
    guests = [pair.guest("patient", "watch", "", ["nvme"], wait=3000, kernel="watch"),
              pair.guest("eager", "watch", "", ["edu"], wait=0, kernel="watch")]
    l = lab(pair.description(guests, ["nvme", "edu"], elves=["watch"], lan={"wire": True}, remote_start=False, host={"sync": "steady"}))
    pair.prepare(l)
    host, remote = l["host1"], l["remote1"]
    console = host.console

    def both(state, what):
        """Both guests see it, in any order; the console answers meanwhile."""
        for guest, device in (("patient", "nvme"), ("eager", "edu")):
            console.mark()
            if not re.search(rf"{guest}\| watch: {device} {state}", console.text[mark:]):
                console.expect(rf"{guest}\| watch: {device} {state}", pair.BOOT)
        assert "eager: running" in pair.ask(host, "guests", "eager: "), what

    # host first: one guest waits for its device, the other starts without and gets it later
    mark = 0
    l.start()
    console.expect(r"eager: warning: starts without all its devices", pair.BOOT)
    console.expect(r"eager\| watch: nothing to watch yet", 60)
    assert "patient: waiting for devices" in pair.ask(host, "guests", "eager: ")
    remote.start()
    both("here", "the remote came after the host")
    assert console.seen(r"eager\| watch: edu found")

    # the whole remote stands still, until the host gives it up
    mark = len(console.text)
    remote.pause()
    both("gone", "the remote stands still")
    assert re.search(r'bus: warning: remote "remote1" does not answer', console.text[mark:])
    assert re.search(r'bus: warning: remote "remote1": link down', console.text[mark:])
    mark = len(console.text)
    remote.resume()
    both("back", "the remote goes on")

    # it loses its power, and starts again
    mark = len(console.text)
    remote.kill()
    both("gone", "the remote has no power")
    mark = len(console.text)
    remote.start()
    both("back", "the remote has started again")

    # the cable is pulled for less than the grace period: nothing is lost, nobody but the console notices
    mark = len(console.text)
    pair.short_cut(l)
    time.sleep(1)
    assert not re.search(r"watch: \w+ gone", console.text[mark:])
    # and for longer
    mark = len(console.text)
    l.lans["lan"].down()
    both("gone", "the cable is pulled")
    mark = len(console.text)
    l.lans["lan"].up()
    both("back", "the cable is plugged in")

    # the guests end when they are told to, and have never read anything wrong
    for guest in ("patient", "eager"):
        console.send(f"attach {guest}\r")
        console.expect(f"keys go to {guest}", 60)
        console.send("q")
        console.expect(rf"{guest}\| watch: \d+ rounds, \d+ changes, 0 wrong, told to end", 60)
        console.expect(rf"{guest}: stopped: powered off", 60)
        console.send("\x1d")
        console.expect(f"back from {guest}", 60)
    # docs/protocol.md, section 10: no read waits longer than 2.3 s (by the host's clock), and the bus gives up after 3 s whatever happens
    slowest = [int(m[1]) for m in console.seen(r"watch: the slowest read took (\d+) ticks")]
    assert len(slowest) == 2 and 0.1 < max(slowest) / tsc_hz(l) < 3.0
