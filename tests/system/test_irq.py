# SPDX-License-Identifier: BSD-2-Clause
"""Interrupts of remote functions: the guest `irq` counts MSI and INTx of edu, in a machine of its own and through Farbus."""
import os
import re

import ivshmem
import pair
import wire as w

COUNT = 20
pair.DEVICES["doorbell"] = (10, "ivshmem-doorbell,chardev=peers,vectors=4", ["-chardev", "socket,path=@WORK@/peers,id=peers"])


def lines_of(text):
    return [line for line in text if line.startswith("irq: ")]


def run(lab, cmdline, devices=("edu",), **kinds):
    """The guest to its end; its lines, and those of the same guest where the devices are."""
    cmdline += " master=1"  # a message is a write of the function's
    l = lab(pair.description([pair.guest("irq", "irq", cmdline, devices)], devices, elves=["irq"], host_start=False, **kinds))
    if "doorbell" in devices:
        os.makedirs(l.work_dir, exist_ok=True)
        ivshmem.Server(l.path("peers"), vectors=4)
    reference = lines_of(pair.reference(l, "irq", cmdline + " gsi=21", devices))
    assert re.match(r"irq: \d+ findings, 0 failed$", reference[-1]), "\n".join(reference)
    l.start()
    l["remote1"].console.expect(r"lends \d+ functions?\b", pair.BOOT)
    l["host1"].start()
    host = l["host1"].console
    host.expect(r"irq\| irq: \d+ findings, \d+ failed", 600)
    host.expect(r"irq: stopped: powered off", 60)
    return l, reference, lines_of(pair.guest_lines(l["host1"], "irq"))


def test_irq(lab):
    l, reference, lines = run(lab, f"count={COUNT}")
    assert lines == reference
    # no more and no fewer records than interrupts: 20 and 4 messages, and INTx as often as it was raised while it was enabled
    sent = {}
    once = {(f.source, f.epoch, f.sequence): f for f in pair.frames(l["remote1"].pcap) if f.type == w.DATA}  # whatever was sent again
    for frame in once.values():
        for record in frame.records():
            sent.setdefault((frame.source, record.kind), []).append(record)
    assert len(sent[pair.REMOTE, w.MSI]) == COUNT + 3
    assert all(r.body == b"\0\0\0\0" for r in sent[pair.REMOTE, w.MSI])
    assert len(sent[pair.HOST, w.EOI]) == len([r for r in sent[pair.REMOTE, w.INTX] if r.body[1] == 1]) - 1  # one was withdrawn
    counts = pair.host_counters(l)
    assert counts.get("interrupts nobody wanted", 0) == 0


def test_msix(lab):
    """Two entries of ivshmem-doorbell's table: own vectors, masks of entry and function, pending bits, another vector while pending."""
    def fixed(lines):  # each connection to the server is another peer
        return [re.sub("peer [0-9]+", "peer", line) for line in lines]

    l, reference, lines = run(lab, f"count={COUNT}", ["edu", "doorbell"])
    assert [line for line in lines if "msix.taken = 20 of 20" in line]
    assert fixed(lines) == fixed(reference)
    table = [r for f in pair.frames(l["remote1"].pcap) for r in f.records() if r.kind == w.MWR and len(r.data) == 4 and r.data[2:] == b"\xe0\xfe"]
    assert table == [], "a message address of the guest crossed the wire"


def test_irq_on_another_cpu(lab):
    """The guest has a CPU that does not look at the network: the one that does calls it."""
    _, reference, lines = run(lab, f"count={COUNT}", host={"cpus": 2})
    assert lines == reference


def test_irq_under_loss(lab):
    """Frames are lost, repeated and overtake each other: still no interrupt is."""
    _, reference, lines = run(lab, f"count={COUNT}", lan={"faults": {"loss": 3, "dup": 2, "reorder": 2}})
    assert lines == reference
