# SPDX-License-Identifier: BSD-2-Clause
"""Interrupts of remote functions: the guest `irq` counts MSI and INTx of edu, in a machine of its own and through Farbus."""
import re

import pair
import wire as w

DEVICES = ["edu"]
COUNT = 20


def lines_of(text):
    return [line for line in text if line.startswith("irq: ")]


def run(lab, cmdline, **kinds):
    """The guest to its end; its lines."""
    l = lab(pair.description([pair.guest("irq", "irq", cmdline, DEVICES)], DEVICES, elves=["irq"], host_start=False, **kinds))
    reference = lines_of(pair.reference(l, "irq", cmdline + " master=1 gsi=21", DEVICES))
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
    for frame in pair.frames(l["remote1"].pcap):
        for record in frame.records():
            sent.setdefault((frame.source, record.kind), []).append(record)
    assert len(sent[pair.REMOTE, w.MSI]) == COUNT + 3
    assert all(r.body == b"\0\0\0\0" for r in sent[pair.REMOTE, w.MSI])
    assert len(sent[pair.HOST, w.EOI]) == len([r for r in sent[pair.REMOTE, w.INTX] if r.body[1] == 1]) - 1  # one was withdrawn
    counts = pair.host_counters(l)
    assert counts.get("interrupts nobody wanted", 0) == 0


def test_irq_under_loss(lab):
    """Frames are lost, repeated and overtake each other: still no interrupt is."""
    _, reference, lines = run(lab, f"count={COUNT}", lan={"faults": {"loss": 3, "dup": 2, "reorder": 2}})
    assert lines == reference
