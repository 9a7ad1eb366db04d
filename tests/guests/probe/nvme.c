// SPDX-License-Identifier: BSD-2-Clause
// NVMe registers CAP and VS (NVM Express Base 1.4, 3.1) at every width, from 32-bit and from 64-bit code, and
// the instruction forms that read memory. The controller is disabled first: firmware may have used it.
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/long_mode.h"
#include "tests/guests/probe/forms.h"
#include "tests/guests/probe/probe.h"

#define CAP      0x00u
#define VS       0x08u
#define CC       0x14u
#define CC_EN    0x1u
#define CSTS     0x1cu
#define CSTS_RDY 0x1u
#define ASQ      0x28u

static void read_widths(uint32_t base, uint64_t cap)
{
    uint64_t by8 = 0, by16 = 0;
    for (unsigned i = 0; i < 8; i++)
        by8 |= (uint64_t)mmio_read8(base + CAP + i) << 8 * i;
    for (unsigned i = 0; i < 4; i++)
        by16 |= (uint64_t)mmio_read16(base + CAP + 2 * i) << 16 * i;
    FINDING(by8 == cap, "nvme.cap by 8 bits = 0x%016llx", by8);
    FINDING(by16 == cap, "nvme.cap by 16 bits = 0x%016llx", by16);
    if (!long_mode_present())
        return;
    uint64_t by64 = mmio_read_long(base + CAP, 8);
    FINDING(by64 == cap, "nvme.cap by 64 bits = 0x%016llx", by64);
    uint64_t long8 = mmio_read_long(base + CAP, 1), long16 = mmio_read_long(base + CAP, 2),
             long32 = mmio_read_long(base + VS, 4);
    FINDING(long8 == (cap & 0xff) && long16 == (cap & 0xffff), "nvme.cap from long mode = 0x%02llx 0x%04llx",
            long8, long16);
    FINDING(long32 == mmio_read32(base + VS), "nvme.vs from long mode = 0x%08llx", long32);
}

/// ASQ is plain storage while the controller is disabled: bits 63:12.
static void write_widths(uint32_t base)
{
    uint32_t was_low = mmio_read32(base + ASQ), was_high = mmio_read32(base + ASQ + 4);
    mmio_write32(base + ASQ, 0x12345000);
    mmio_write32(base + ASQ + 4, 0x6789abcd);
    FINDING(mmio_read32(base + ASQ) == 0x12345000 && mmio_read32(base + ASQ + 4) == 0x6789abcd,
            "nvme.asq by 32 bits = 0x%08x%08x", mmio_read32(base + ASQ + 4), mmio_read32(base + ASQ));
    if (long_mode_present()) {
        mmio_write_long(base + ASQ, 8, 0x0fedcba987654000ull);
        uint64_t value = mmio_read_long(base + ASQ, 8);
        FINDING(value == 0x0fedcba987654000ull, "nvme.asq by 64 bits = 0x%016llx", value);
    }
    mmio_write32(base + ASQ, was_low);
    mmio_write32(base + ASQ + 4, was_high);
}

void probe_nvme(pci_bdf at)
{
    describe("nvme", at);
    struct bar bar = bar_use(at, 0, true);
    if (bar.kind != BAR_MEM64 && bar.kind != BAR_MEM32) {
        FINDING(false, "nvme.bar0 = %s", bar_kind_names[bar.kind]);
        return;
    }
    uint32_t base = (uint32_t)bar.base;
    uint64_t cap = (uint64_t)mmio_read32(base + CAP + 4) << 32 | mmio_read32(base + CAP);
    uint32_t vs = mmio_read32(base + VS);
    // MQES is 0's based and at least 1; VS 1.0 or later with a plausible minor number
    FINDING((cap & 0xffff) >= 1 && cap != ~0ull, "nvme.cap = 0x%016llx", cap);
    FINDING(vs >> 16 >= 1 && vs >> 16 <= 2, "nvme.vs = 0x%08x", vs);
    if ((mmio_read32(base + CC) & CC_EN) != 0)
        mmio_write32(base + CC, 0);
    unsigned polls = 0;
    while (polls < 100000 && (mmio_read32(base + CSTS) & CSTS_RDY) != 0)
        polls++;
    FINDING((mmio_read32(base + CC) & CC_EN) == 0, "nvme.cc enable = %u", mmio_read32(base + CC) & CC_EN);
    FINDING((mmio_read32(base + CSTS) & CSTS_RDY) == 0, "nvme.csts ready = %u",
            mmio_read32(base + CSTS) & CSTS_RDY);
    read_widths(base, cap);
    write_widths(base);
    forms_read("nvme", base);
    move_and_read("nvme", at, 0, VS, vs);
    bool stable = true;
    for (uint32_t i = 0; i < loops; i++)
        stable = stable && mmio_read32(base + VS) == vs;
    FINDING(stable, "nvme.vs read again = %u times", loops);
}
