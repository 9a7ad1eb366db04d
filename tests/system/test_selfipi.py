# SPDX-License-Identifier: BSD-2-Clause
"""Interrupts that come due in the very exit that ends a slice: the guest `selfipi` counts its own IPIs and timer interrupts; none may be
lost or taken twice. The same guest on a machine of its own says the same."""
import pair


def lines_of(text):
    return [line for line in text if line.startswith("selfipi: ")]


def test_selfipi(lab):
    l = lab(pair.description([pair.guest("selfipi", "selfipi", "count=20000", (), memory="32M")], elves=["selfipi"], host_start=False))
    reference = lines_of(pair.reference(l, "selfipi", "count=2000", ()))
    assert reference[-1] == "selfipi: 11 findings, 0 failed", "\n".join(reference)
    l.start()
    l["host1"].start()
    l["host1"].console.expect(r"selfipi\| selfipi: \d+ findings, \d+ failed", 600)
    l["host1"].console.expect(r"selfipi: stopped: powered off", 60)
    assert lines_of(pair.guest_lines(l["host1"], "selfipi")) == reference
