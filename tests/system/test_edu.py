# SPDX-License-Identifier: BSD-2-Clause
"""DMA of QEMU's edu, lent to a guest with `dma = mirror`: the guest `edu` compares all its memory with a model of it after each transfer,
and says the same on a machine that has the device itself. And the guest that tells the device to go where it has no memory."""
import re
import time

import pytest

import pair
import wire as w

pair.DEVICES["edu64"] = (5, "edu,dma_mask=0xffffffffffffffff", [])


def lines_of(text):
    return [line for line in text if line.startswith("edu: ")]


def guest(name, elf, cmdline, device="edu", memory="16M"):
    return pair.guest(name, elf, cmdline, [device], memory=memory, kernel=elf, more=["dma = mirror"])


def run(lab, count, **kinds):
    l = lab(pair.description([guest("edu", "edu", f"count={count}")], ["edu"], elves=["edu"], host_start=False, **kinds))
    reference = lines_of(pair.reference(l, "edu", f"count={count}", ["edu"]))
    assert re.match(r"edu: \d+ findings, 0 failed$", reference[-1]), "\n".join(reference)
    l.start()
    pair.remote_up(l)
    l["host1"].start()
    console = l["host1"].console
    console.expect(r"edu\| edu: \d+ findings, \d+ failed", 900)
    console.expect(r"edu: stopped: powered off", 60)
    assert lines_of(pair.guest_lines(l["host1"], "edu")) == reference
    return l


def test_edu(lab):
    l = run(lab, 20)
    # the device's bytes are on the wire before the interrupt that announces them
    once = {(f.epoch, f.sequence): f for f in pair.frames(l["remote1"].pcap) if f.source == pair.REMOTE and f.type == w.DATA}  # whatever was sent again
    order = [r for f in once.values() for r in f.records() if r.kind in (w.DMA_DATA, w.MSI)]
    messages = [i for i, r in enumerate(order) if r.kind == w.MSI]
    assert len(messages) == 20
    assert all(order[i - 1].kind == w.DMA_DATA for i in messages[1::2])  # each second transfer is to memory
    assert l["host1"].complaints() == [] and l["remote1"].complaints() == []


@pytest.mark.parametrize("cpus", [2, 4])
def test_edu_on_another_cpu(lab, cpus):
    run(lab, 10, host={"cpus": cpus})


def test_edu_without_apicv(lab):
    run(lab, 10, host={"cpu": "corei7_haswell_4770"})


def test_edu_under_loss(lab):
    """Frames are lost, repeated and overtake each other."""
    run(lab, 10, lan={"faults": {"loss": 3, "dup": 2, "reorder": 2}})


def test_dma_where_there_is_no_memory(lab):
    """Twenty-five places that are not the guest's, for reading and writing, beside a guest that works all the time; and messages that look
    like other devices' interrupts."""
    guests = [guest("rogue", "rogue", "do=dma message=0xe5 entry=0xf3", "edu64"),
              pair.guest("good", "watch", "", ["nvme"], kernel="watch")]
    l = lab(pair.description(guests, ["nvme", "edu64"], elves=["rogue", "watch"], host_start=False))
    pair.prepare(l)
    l.start()
    pair.remote_up(l)
    l["host1"].start()
    console = l["host1"].console
    console.expect(r"rogue: stopped: powered off", 900)
    lines = "\n".join(pair.guest_lines(l["host1"], "rogue"))
    assert "rogue: DMA at 25 places, 0 bytes leaked, 0 wrong before and 0 afterwards" in lines
    assert re.search(r"bus: warning: remote1/0000:00:05.0: DMA (to|from) address 0x[0-9a-f]+ was stopped", console.text)
    assert re.search(r"lend: warning: 0000:00:05.0: a (read|write) at 0x[0-9a-f]+, where nothing is mapped for it, was stopped", l["remote1"].console.text)
    with open(l.path("remote1.emulator"), encoding="utf-8", errors="replace") as f:
        assert "non-present IRTE (index=243," in f.read()  # the message of an entry that is nobody's
    # both ends go on
    console.send("attach good\r")
    console.expect("keys go to good", 60)
    console.send("q")
    console.expect(r"good\| watch: (\d+) rounds, 1 changes, 0 wrong, told to end", 60)
    assert pair.remote_counters(l)["executed MRd"] > 0
    assert l["host1"].complaints() == []


def test_edu_paused(lab):
    """Transfers end while the guest is paused: what they wrote, and their interrupts, are there when it goes on."""
    l = lab(pair.description([guest("edu", "edu", "count=20")], ["edu"], elves=["edu"], host_start=False))
    l.start()
    pair.remote_up(l)
    l["host1"].start()
    console = l["host1"].console
    for after in ("MSI capability", "whole buffer", "end by its register: 0 bytes", "end by the bytes alone: 0 bytes"):
        if not console.seen(rf"edu\| edu: {after}"):
            console.expect(rf"edu\| edu: {after}", pair.BOOT)
        for _ in range(2):
            console.send("pause edu\r")
            console.expect("edu: paused", 60)
            time.sleep(0.3)  # edu takes 100 ms for a transfer
            assert "paused" in pair.ask(l["host1"], "guests", "guests: edu: ")
            console.send("resume edu\r")
            console.expect("edu: goes on", 60)
    console.expect(r"edu\| edu: \d+ findings, \d+ failed", 900)
    lines = lines_of(pair.guest_lines(l["host1"], "edu"))
    assert lines[-1] == "edu: 17 findings, 0 failed", "\n".join(lines)


def test_edu_reset(lab):
    """A guest is reset while its device works: the next one finds nothing but its own bytes in its memory."""
    l = lab(pair.description([guest("edu", "edu", "count=8")], ["edu"], elves=["edu"], host_start=False))
    l.start()
    pair.remote_up(l)
    l["host1"].start()
    console = l["host1"].console
    for after in ("MSI capability", "whole buffer", "end by its register: 0 bytes", "end by the bytes alone: 0 bytes"):
        console.expect(rf"edu\| edu: {after}", pair.BOOT)
        time.sleep(0.13)  # in the middle of some transfer
        console.send("reset edu\r")
        console.expect("edu: started", 60)
    console.expect(r"edu\| edu: \d+ findings, \d+ failed", 900)
    lines = lines_of(pair.guest_lines(l["host1"], "edu"))
    assert lines[-1] == "edu: 17 findings, 0 failed" and not [line for line in lines if "FAILED" in line]
