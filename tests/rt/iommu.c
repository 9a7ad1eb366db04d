// SPDX-License-Identifier: BSD-2-Clause
// selftest's command `iommu`: drivers/vtd.h on a real unit, with QEMU's edu (docs/specs/edu.txt there) as the
// device that tries. What edu reaches is seen in memory, what it does not in the unit's fault records.
#include "tests/rt/iommu.h"
#include "drivers/machine.h"
#include "drivers/pci.h"
#include "drivers/vtd.h"
#include "rt/log.h"
#include "rt/paging.h"
#include "rt/time.h"
#include "rt/x86.h"
#include <string.h>

#define say(...) log_info("selftest", __VA_ARGS__)

#define EDU         0x11e81234u
#define EDU_SOURCE  0x80u
#define EDU_TARGET  0x88u
#define EDU_COUNT   0x90u
#define EDU_COMMAND 0x98u
#define EDU_BUFFER  0x40000u
#define EDU_START   1u
#define EDU_WRITE   2u

static volatile uint8_t *edu;

struct pci_device *edu_find(void)
{
    for (uint32_t i = 0; i < pci_device_count(); i++)
        if ((pci_device_at(i)->vendor | (uint32_t)pci_device_at(i)->device << 16) == EDU)
            return pci_device_at(i);
    return NULL;
}

void edu_transfer(volatile uint8_t *regs, uint64_t iova, uint32_t bytes, bool write)
{
    uint32_t at = (uint32_t)iova;
    mmio_write32(regs + EDU_SOURCE, write ? EDU_BUFFER : at);
    mmio_write32(regs + EDU_TARGET, write ? at : EDU_BUFFER);
    mmio_write32(regs + EDU_COUNT, bytes);
    mmio_write32(regs + EDU_COMMAND, EDU_START | (write ? EDU_WRITE : 0));
    while (mmio_read32(regs + EDU_COMMAND) & EDU_START)
        time_delay_us(1000);
}

static void transfer(uint64_t iova, bool write)
{
    edu_transfer(edu, iova, 64, write);
}

static void tell(const char *what, const uint8_t *page)
{
    struct vtd_fault f;
    unsigned faults = 0;
    bool lost;
    while (vtd_take_fault(&f, &lost)) // the first one is told; edu may ask in several pieces
        if (faults++ == 0)
            say("iommu %s: byte %02x, fault of %02x:%02x.%u, %s, reason %u, address 0x%llx", what, page[0],
                f.bus, f.devfn >> 3, f.devfn & 7u, f.write ? "write" : "read", f.reason,
                (unsigned long long)f.iova);
    if (faults == 0)
        say("iommu %s: byte %02x, no fault%s", what, page[0], lost ? ", records lost" : "");
}

static void measure(struct vtd_domain *d, phys_t page)
{
    uint64_t map = ~0ull, unmap = ~0ull, all = ~0ull;
    for (unsigned i = 0; i < 16; i++) {
        uint64_t t0 = rdtsc();
        if (vtd_map(d, 0x9000000 + i * FRAME_SIZE, page, VTD_READ) != OK)
            say("iommu: cannot map");
        uint64_t t1 = rdtsc();
        map = t1 - t0 < map ? t1 - t0 : map;
    }
    for (unsigned i = 0; i < 8; i++) {
        uint64_t t0 = rdtsc();
        vtd_unmap(d, 0x9000000 + i * FRAME_SIZE, 1);
        uint64_t t1 = rdtsc();
        unmap = t1 - t0 < unmap ? t1 - t0 : unmap;
    }
    uint64_t t0 = rdtsc();
    vtd_unmap(d, 0x9008000, 8);
    all = rdtsc() - t0;
    say("iommu cost: map %llu, unmap %llu, unmap of 8 pages and their table %llu", (unsigned long long)map,
        (unsigned long long)unmap, (unsigned long long)all);
}

void run_iommu(int argc, char *argv[])
{
    (void)argc;
    (void)argv;
    const struct acpi_info *acpi = machine_acpi();
    const struct pci_device *dev = edu_find();
    struct vtd_domain *domain;
    enum status s =
        vtd_start(acpi->dmar ? machine_table(acpi->dmar, acpi->dmar_size) : NULL, acpi->dmar_size);
    phys_t a = frames_alloc(1, FRAME_SIZE, 1ull << 28), b = frames_alloc(1, FRAME_SIZE, 1ull << 28);
    if (s != OK || !dev || a == FRAME_NONE || b == FRAME_NONE) {
        say("iommu %s, edu %s", status_name(s), dev ? "there" : "not there");
        return;
    }
    edu = mmio_map(dev->bars[0].base, dev->bars[0].size);
    pci_enable(pci_find(dev->at), true);
    uint8_t *pa = phys_to_virt(a), *pb = phys_to_virt(b);
    memset(pa, 0xaa, FRAME_SIZE);
    transfer(a, false);
    transfer(b, true);
    tell("passes", pb);
    memset(pb, 0, FRAME_SIZE);
    if (vtd_block(dev) != OK)
        return;
    transfer(b, true);
    tell("blocked", pb);
    if (vtd_domain_create(dev, &domain) != OK)
        return;
    transfer(b, true);
    tell("empty", pb);
    uint64_t free = frames_stats().free;
    memset(pa, 0xcc, FRAME_SIZE);
    if (vtd_map(domain, 0x5000000, a, VTD_READ) != OK || vtd_map(domain, 0x5001000, b, VTD_WRITE) != OK)
        return;
    transfer(0x5000000, false);
    transfer(0x5001000, true);
    tell("mapped", pb);
    // At places of their own: QEMU records nothing when it refuses what it has in its IOTLB.
    memset(pa, 0x11, FRAME_SIZE);
    if (vtd_map(domain, 0x5002000, a, VTD_READ) != OK || vtd_map(domain, 0x5003000, b, VTD_WRITE) != OK)
        return;
    transfer(0x5002000, true);
    tell("write to a page to be read", pa);
    transfer(0x5003000, false);
    tell("read of a page to be written", pb);
    memset(pb, 0, FRAME_SIZE);
    vtd_unmap(domain, 0x5001000, 1);
    transfer(0x5001000, true);
    tell("unmapped", pb);
    if (vtd_map(domain, 0x5001000, b, VTD_WRITE) != OK)
        return;
    transfer(0x5001000, true);
    tell("mapped again", pb);
    measure(domain, a);
    vtd_domain_destroy(domain);
    memset(pb, 0, FRAME_SIZE);
    transfer(0x5001000, true);
    tell("destroyed", pb);
    say("iommu frames kept %lld", (long long)(free - frames_stats().free) + 1); // its root was taken before
}
