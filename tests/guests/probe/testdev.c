// SPDX-License-Identifier: BSD-2-Clause
// QEMU's pci-testdev (QEMU docs/specs/pci-testdev): it counts the writes that reach it, so it tells whether
// each arrived exactly once. Header at offset 0 of both BARs: test number, width, offset and value to write,
// count, name.
#include "tests/guests/lib/cpu.h"
#include "tests/guests/probe/probe.h"

#define HDR_TEST   0u
#define HDR_WIDTH  1u
#define HDR_OFFSET 4u
#define HDR_DATA   8u
#define HDR_COUNT  12u
#define HDR_NAME   16u

static uint8_t read8(const struct bar *bar, uint32_t offset)
{
    return bar->kind == BAR_IO ? in8((uint16_t)(bar->base + offset))
                               : mmio_read8((uint32_t)bar->base + offset);
}
static void write8(const struct bar *bar, uint32_t offset, uint8_t value)
{
    if (bar->kind == BAR_IO)
        out8((uint16_t)(bar->base + offset), value);
    else
        mmio_write8((uint32_t)bar->base + offset, value);
}
static uint32_t read32(const struct bar *bar, uint32_t offset)
{
    return (uint32_t)read8(bar, offset) | (uint32_t)read8(bar, offset + 1) << 8 |
           (uint32_t)read8(bar, offset + 2) << 16 | (uint32_t)read8(bar, offset + 3) << 24;
}

static void count_writes(pci_bdf at, unsigned index, uint8_t test)
{
    struct bar bar = bar_use(at, index, true);
    write8(&bar, HDR_TEST, test);
    char name[32];
    unsigned i = 0;
    while (i < sizeof name - 1 && (name[i] = (char)read8(&bar, HDR_NAME + i)) != '\0')
        i++;
    name[i] = '\0';
    uint32_t offset = read32(&bar, HDR_OFFSET), width = read8(&bar, HDR_WIDTH);
    uint8_t data = read8(&bar, HDR_DATA);
    uint32_t before = read32(&bar, HDR_COUNT);
    for (uint32_t n = 0; n < loops; n++)
        write8(&bar, offset, data);
    uint32_t counted = read32(&bar, HDR_COUNT) - before;
    FINDING(width == 1 && counted == loops, "testdev.bar%u '%s' = %u written, %u counted", index, name, loops,
            counted);
    write8(&bar, HDR_TEST, 0xff);
}

void probe_testdev(pci_bdf at)
{
    describe("testdev", at);
    count_writes(at, 0, 0);
    count_writes(at, 1, 0);
}
