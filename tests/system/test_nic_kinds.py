# SPDX-License-Identifier: BSD-2-Clause
"""Remotes with each NIC there is a driver for: it is found, its interrupt is heard, frames of all sizes pass both ways, jumbo frames are used when
they were seen to pass, and a cut cable is noticed. test_l2 has some of them with a host that runs guests."""
import random
import struct

import pytest

import wire as w
from lone_remote import EDU, INI, NODE, NVME, Remote
from nvme_host import Nvme

NICS = {  # what QEMU gets, what the console says, largest frame of a link
    "e1000e": ({}, r"e1000e 0000:00:02\.0: Intel 82574L, 52:54:00:fb:00:02, MSI$", 8972),
    # and a limit in its farbus.ini
    "igb": ({"nic": "igb", "emulator": "build/deps/bin/qemu", "ini": INI + "frame = 3000\n"}, r"igb 0000:00:02\.0: Intel 82576, 52:54:00:fb:00:02, MSI$", 3000),
    # its DMA goes through the same VT-d as that of the lent functions
    "virtio": ({"nic": "virtio-net-pci,disable-legacy=on,iommu_platform=on,rx_queue_size=512,host_mtu=5000"},
               r"virtio-net 0000:00:02\.0: virtio 1\.0, 52:54:00:fb:00:02, MSI-X", 4972),
    # without the queue by which the trial interrupt is made
    "virtio-transitional": ({"nic": "virtio-net-pci,disable-legacy=off,ctrl_rx=off"},
                            r"virtio-net 0000:00:02\.0: virtio, 52:54:00:fb:00:02, polled: its interrupt is not heard", 1472),
}


def bulk(link, edu, nvme):
    """Full frames both ways; the largest one that came."""
    known, cap = link.mrd(nvme, 0, 0, 4)[1], link.agreed.frame_max
    link.largest = 0
    for _ in range(5):
        tags = [link.next_tag() for _ in range(40)]
        link.send_records(*(w.access(w.MRD, nvme.handle, t, 0, 0, 256) for t in tags))
        for t in tags:
            answer = link.complete(t)
            assert answer.status == w.SC and int.from_bytes(answer.data[:4], "little") == known
    writes = (cap - 24) // 24
    link.send_records(*(w.access(w.MWR, edu.handle, 0, 0, 4, 4, struct.pack("<I", i)) for i in range(min(writes, edu.credits))))
    assert link.mrd(edu, 0, 4, 4) == (w.SC, ~(min(writes, edu.credits) - 1) & 0xFFFFFFFF)
    return link.largest


def jumbo(remote, largest):
    """A host that takes jumbo frames: they come when they were seen to pass, and not before."""
    link = remote.link("gamma", frame_max=8972, capabilities=w.CAP_PROBE)
    assert (link.agreed.frame_max, link.agreed.capabilities) == (largest, w.CAP_PROBE if largest > 1472 else 0)
    edu, nvme = link.attach(EDU), link.attach(NVME)
    link.agreed = link.agreed._replace(frame_max=1472)
    assert 1200 < bulk(link, edu, nvme) <= 1472
    if largest > 1472:
        link.agreed = link.agreed._replace(frame_max=largest)
        link.probe()
        link.agreed = link.agreed._replace(frame_max=1472)
        assert 1200 < bulk(link, edu, nvme) <= 1472  # the answer may have been lost: the remote does not know
        link.raw(w.probe(link.epoch, w.PROBE_DONE))
        remote.see(rf"link: gamma: frames of {largest} bytes pass both ways and are used from now on")
        link.agreed = link.agreed._replace(frame_max=largest)
        assert largest - 300 < bulk(link, edu, nvme) <= largest
    link.close()


@pytest.mark.parametrize("kind", NICS)
def test_nic(work_dir, kind):
    machine, line, largest = NICS[kind]
    remote = Remote(work_dir, **machine)
    try:
        remote.see("nic: " + line)
        remote.see(r'remote: node "disk1" lends \d+ functions')
        remote.host.wait_announcement(NODE)
        link = remote.link("alpha")
        edu, nvme = link.attach(EDU), link.attach(NVME)
        for _ in range(3):  # more frames than any ring has entries, with pauses in which an idle remote halts
            for _ in range(100):
                assert link.mrd(edu, 0, 0, 4) == (w.SC, 0x010000ED)
            remote.host.poll(0.1)
        assert bulk(link, edu, nvme) <= 1472
        link.close()
        remote.all_free()
        jumbo(remote, largest)
        counted = remote.counters()
        assert counted["executed MRd"] >= 700 and counted["executed MWr"] > 100
        remote.machine.cable(False)
        remote.see(r"nic: \S+ 0000:00:02\.0: link down")
        remote.machine.cable(True)
        remote.see(r"nic: \S+ 0000:00:02\.0: link up")
        remote.link("beta").close()
    finally:
        remote.close()


def test_jumbo_frames_carry_dma(work_dir, tmp_path):
    """128 KiB from an NVMe drive, with frames of the usual size and with jumbo frames: the same bytes in a sixth of the frames."""
    disk = tmp_path / "nvme.disk"
    disk.write_bytes(random.Random(1).randbytes(16 << 20))
    content, frames = disk.read_bytes(), {}
    remote = Remote(work_dir, drives=[{"id": "nv", "file": str(disk)}])
    try:
        remote.see(r'remote: node "disk1" lends \d+ functions')
        remote.host.wait_announcement(NODE)
        for size in (1472, 8972):
            link = remote.link("alpha", frame_max=size, capabilities=w.CAP_PROBE)
            if size > 1472:
                link.probe()
                link.raw(w.probe(link.epoch, w.PROBE_DONE))
            drive = Nvme(link, NVME, 32)
            frames[size] = []
            for n in range(8):
                before = link.received_upto
                assert drive.read(256 * n, 32) == content[n << 17:(n + 1) << 17]
                frames[size].append(link.received_upto - before)
            assert link.largest <= size
            link.close()
            remote.all_free()
        print(frames)
        assert 90 < min(frames[1472]) and max(frames[8972]) < 30
    finally:
        remote.close()
