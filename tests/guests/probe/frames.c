// SPDX-License-Identifier: BSD-2-Clause
// Work of one kind at a time, between marks that can be seen on the wire (a write of 0xfa6b00nn to edu's
// liveness register, then a read of it): whoever captured the LAN counts the frames of each kind.
#include "tests/guests/lib/cpu.h"
#include "tests/guests/probe/probe.h"

#define LIVENESS 0x04u
#define MARK     0xfa6b0000u

static void mark(uint32_t base, uint32_t n)
{
    mmio_write32(base + LIVENESS, MARK + n);
    uint32_t got = mmio_read32(base + LIVENESS);
    FINDING(got == ~(MARK + n), "frames.mark %u = 0x%08x", n, got);
}

void probe_frames(pci_bdf edu)
{
    uint32_t base = (uint32_t)bar_use(edu, 0, true).base, wrong = 0;
    pci_bdf absent = pci_absent();
    mark(base, 1);
    for (uint32_t i = 0; i < loops; i++)
        wrong +=
            pci_read(absent, PCI_VENDOR, 4) != 0xffffffffu || ecam_read(absent, PCI_VENDOR, 4) != 0xffffffffu;
    mark(base, 2);
    FINDING(wrong == 0, "frames.absent = %u reads, %u wrong", 2 * loops, wrong);

    struct bar first = bar_size(edu, 0);
    mark(base, 3);
    for (uint32_t i = 0; i < loops; i++)
        wrong += bar_size(edu, 0).size != first.size;
    mark(base, 4);
    FINDING(wrong == 0, "frames.sizing = %u walks, %u wrong", loops, wrong);

    struct bar elsewhere = first;
    elsewhere.base = bar_space(first.kind, first.size);
    mark(base, 5);
    for (uint32_t i = 0; i < loops; i++) {
        bar_move(edu, 0, &first, elsewhere.base);
        bar_move(edu, 0, &first, first.base);
    }
    mark(base, 6);
    FINDING(mmio_read32(base) == 0x010000ed, "frames.moving = %u moves", 2 * loops);

    mark(base, 7);
    for (uint32_t i = 0; i < loops; i++)
        mmio_write32(base + LIVENESS, i);
    mark(base, 8);
    FINDING(true, "frames.posted = %u writes", loops);

    for (uint32_t i = 0; i < loops; i++)
        wrong += mmio_read32(base) != 0x010000ed;
    mark(base, 9);
    FINDING(wrong == 0, "frames.reads = %u reads, %u wrong", loops, wrong);
}
