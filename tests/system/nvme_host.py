# SPDX-License-Identifier: BSD-2-Clause
"""A host that drives an NVMe drive of a remote: queues and buffers are pages of its own memory, kept in step as docs/protocol.md 6.6 says.
One command at a time, no interrupts: the remote's rounds bring the completion. NVMe Base 1.4: 3.1 (registers), 4 (queues), 5.3, 5.4, 6.9."""
import struct

import wire as w

PAGE = 4096
ASQ, ACQ, SQ, CQ, LIST, DATA = range(6)  # slots; DATA is the first of many
READ, WRITE = 1, 2


def iova(slot):
    return 0x1000000 + slot * PAGE


class Nvme:
    def __init__(self, link, address, data_pages):
        self.link, self.f = link, link.attach(address)
        self.pages = [bytearray(PAGE) for _ in range(DATA + data_pages)]
        self.taken = 0
        assert link.request(w.DMA_START, self.f.handle).status == w.SC
        link.cfg_wr(self.f, 4, 2, 6)  # memory, bus master
        for slot in range(len(self.pages)):
            access = {LIST: READ}.get(slot, READ | WRITE if slot < DATA else WRITE)
            link.send_records(w.dma_data(self.f.handle, slot, 0, w.DMA_CLEAR), w.dma_map(self.f.handle, iova(slot), slot, 1, access))
        self.heads = {0: 0, 1: 0}  # next entry of submission and completion queue, and how often around
        link.mwr(self.f, 0, 0x14, 4, 0)
        self.wait(lambda: link.mrd(self.f, 0, 0x1C, 4)[1] & 1 == 0)
        for offset, size, value in ((0x24, 4, 0x1F001F), (0x28, 8, iova(ASQ)), (0x30, 8, iova(ACQ)), (0x14, 4, 6 << 16 | 4 << 20 | 1)):
            link.mwr(self.f, 0, offset, size, value)
        self.wait(lambda: link.mrd(self.f, 0, 0x1C, 4)[1] & 1)
        self.command(0, 5, 0, iova(CQ), 0, 1 | 31 << 16, 1)
        self.command(0, 1, 0, iova(SQ), 0, 1 | 31 << 16, 1 | 1 << 16)
        self.put(LIST, 0, b"".join(struct.pack("<Q", iova(DATA + i)) for i in range(1, data_pages)))

    def wait(self, condition):
        return self.link.station.wait(condition, "the drive")

    def put(self, slot, offset, content, *more):
        """Into our memory, and the remote's copy of it."""
        self.pages[slot][offset:offset + len(content)] = content
        self.link.send_records(w.dma_data(self.f.handle, slot, 0, 0, [(offset, content)]), *more)

    def take(self):
        """What the drive wrote so far goes into our memory."""
        for kind, function, body in self.link.events[self.taken:]:
            if kind == w.DMA_DATA and function == self.f.handle:
                data = w.parse_dma_data(body)
                assert data.generation == 1
                for offset, content in data.runs:
                    self.pages[data.slot][offset:offset + len(content)] = content
        self.taken = len(self.link.events)

    def command(self, queue, opcode, nsid, prp1, prp2, *words):
        n = self.heads[queue]
        self.heads[queue] += 1
        entry = struct.pack("<BBHI16xQQ6I", opcode, 0, n, nsid, prp1, prp2, *words, *[0] * (6 - len(words)))
        tail = (n + 1) % 32
        doorbell = w.access(w.MWR, self.f.handle, 0, 0, 0x1000 + 8 * queue, 4, struct.pack("<I", tail))
        self.put((ASQ, SQ)[queue], n % 32 * 64, entry, doorbell)
        page, at, phase = (ACQ, CQ)[queue], n % 32 * 16, 1 - n // 32 % 2

        def done():
            self.take()
            return struct.unpack_from("<H", self.pages[page], at + 14)[0] & 1 == phase
        self.wait(done)
        status = struct.unpack_from("<H", self.pages[page], at + 14)[0] >> 1
        assert status == 0, f"NVMe command {opcode}: status {status:#x}"
        self.link.mwr(self.f, 0, 0x1004 + 8 * queue, 4, tail)

    def read(self, block, pages):
        """That many pages from this block of 512 bytes on; DMA_DATA's content comes before the completion that says so."""
        self.command(1, 2, 1, iova(DATA), iova(LIST), block, 0, pages * 8 - 1)
        return b"".join(self.pages[DATA:DATA + pages])
