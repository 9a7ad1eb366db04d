# SPDX-License-Identifier: BSD-2-Clause
"""Remotes with other NICs than the usual one: the driver is found, its interrupt is heard, frames of all sizes pass both ways, and a cut
cable is noticed. test_l2 has them with a host that runs guests."""
import struct

import pytest

import wire as w
from lone_remote import EDU, NODE, NVME, Remote

NICS = {
    "igb": ({"nic": "igb", "emulator": "build/deps/bin/qemu"}, r"igb 0000:00:02\.0: Intel 82576, 52:54:00:fb:00:02, MSI$"),
    # its DMA goes through the same VT-d as that of the lent functions
    "virtio": ({"nic": "virtio-net-pci,disable-legacy=on,iommu_platform=on,rx_queue_size=512"},
               r"virtio-net 0000:00:02\.0: virtio 1\.0, 52:54:00:fb:00:02, MSI-X"),
    # without the queue by which the trial interrupt is made
    "virtio-transitional": ({"nic": "virtio-net-pci,disable-legacy=off,ctrl_rx=off"},
                            r"virtio-net 0000:00:02\.0: virtio, 52:54:00:fb:00:02, polled: its interrupt is not heard"),
}


@pytest.mark.parametrize("kind", NICS)
def test_nic(work_dir, kind):
    machine, line = NICS[kind]
    remote = Remote(work_dir, **machine)
    try:
        remote.see("nic: " + line)
        remote.see(r'remote: node "disk1" lends \d+ functions')
        remote.host.wait_announcement(NODE)
        link = remote.link("alpha")
        edu, nvme = link.attach(EDU), link.attach(NVME)
        for round in range(6):  # more frames than any ring has entries, with pauses in which an idle remote halts
            for i in range(100):
                assert link.mrd(edu, 0, 0, 4) == (w.SC, 0x010000ED)
            remote.host.poll(0.1)
        known = link.mrd(nvme, 0, 0, 4)[1]
        for _ in range(5):
            tags = [link.next_tag() for _ in range(40)]
            link.send_records(*(w.access(w.MRD, nvme.handle, t, 0, 0, 256) for t in tags))  # the answers are full frames
            for t in tags:
                answer = link.complete(t)
                assert answer.status == w.SC and int.from_bytes(answer.data[:4], "little") == known
        link.send_records(*(w.access(w.MWR, edu.handle, 0, 0, 4, 4, struct.pack("<I", i)) for i in range(40)))  # and a full one from us
        assert link.mrd(edu, 0, 4, 4) == (w.SC, ~39 & 0xFFFFFFFF)
        link.close()
        counted = remote.counters()
        assert counted["executed MRd"] >= 800 and counted["executed MWr"] == 40
        remote.machine.cable(False)
        remote.see(r"nic: \S+ 0000:00:02\.0: link down")
        remote.machine.cable(True)
        remote.see(r"nic: \S+ 0000:00:02\.0: link up")
        remote.link("beta").close()
    finally:
        remote.close()
