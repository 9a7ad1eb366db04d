// SPDX-License-Identifier: BSD-2-Clause
// QEMU's edu is told to read and write where the guest has no memory: behind its end, in its holes, where
// other machines have their devices, interrupts and firmware, at addresses of any width (start QEMU with
// `dma_mask=0xffffffffffffffff`, else edu itself cuts them to 28 bits). All survived: nothing of it reaches
// anybody's memory, nothing comes back, and afterwards the device works as before.
#include "tests/guests/lib/edu.h"
#include "tests/guests/lib/long_mode.h"
#include "tests/guests/lib/pci.h"
#include "tests/guests/lib/text.h"
#include "tests/guests/rogue/rogue.h"

#define SIZE     512u
#define PATTERN  0x5au // what edu's buffer holds before it reads
#define PATIENCE 4000000000ull

_Alignas(4096) volatile uint8_t edu_page[4096];

static void await(uint32_t base)
{
    for (uint64_t limit = rdtsc() + PATIENCE; edu_dma_runs(base) && rdtsc() < limit;)
        ;
}

void edu_transfer(uint32_t base, uint64_t ram, uint32_t command)
{
    bool to_ram = (command & EDU_DMA_TO_RAM) != 0;
    mmio_write_long(base + EDU_DMA_SOURCE, 8, to_ram ? EDU_BUFFER : ram);
    mmio_write_long(base + EDU_DMA_TARGET, 8, to_ram ? ram : EDU_BUFFER);
    mmio_write32(base + EDU_DMA_COUNT, SIZE);
    mmio_write32(base + EDU_DMA_COMMAND, command | EDU_DMA_RUN);
    await(base);
}

void edu_page_fill(uint8_t byte)
{
    for (uint32_t i = 0; i < sizeof edu_page; i++)
        edu_page[i] = byte;
}

/// Bytes of edu's buffer that neither were there before nor are what nobody answers.
uint32_t edu_leaked(uint32_t base)
{
    uint32_t n = 0;
    edu_page_fill(0x77);
    edu_transfer(base, (uint32_t)edu_page, EDU_DMA_TO_RAM);
    for (uint32_t i = 0; i < SIZE; i++)
        n += edu_page[i] != PATTERN && edu_page[i] != 0 && edu_page[i] != 0xff;
    return n;
}

/// There and back through memory that is the guest's.
uint32_t edu_wrong(uint32_t base)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < SIZE; i++)
        edu_page[i] = (uint8_t)(i * 7 + 1);
    edu_transfer(base, (uint32_t)edu_page, 0);
    edu_page_fill(0);
    edu_transfer(base, (uint32_t)edu_page, EDU_DMA_TO_RAM);
    for (uint32_t i = 0; i < SIZE; i++)
        n += edu_page[i] != (uint8_t)(i * 7 + 1);
    return n;
}

uint32_t edu_ready(uint16_t *bdf)
{
    pci_bdf at = pci_find_id(EDU_VENDOR, EDU_DEVICE);
    if (at == PCI_NONE || !long_mode_present()) {
        print("rogue: no edu\n");
        return 0;
    }
    uint32_t base = (uint32_t)bar_use(at, 0, true).base;
    pci_write(at, PCI_COMMAND, 2, pci_read(at, PCI_COMMAND, 2) | PCI_COMMAND_NOINTX | PCI_COMMAND_MASTER);
    *bdf = at;
    return base;
}

static void forge(uint32_t base, uint32_t address, uint32_t data)
{
    for (uint32_t i = 0; i < SIZE; i++)
        edu_page[i] = 0;
    for (uint32_t i = 0; i < 4; i++)
        edu_page[i] = (uint8_t)(data >> 8 * i);
    edu_transfer(base, (uint32_t)edu_page, 0);
    mmio_write32(base + EDU_DMA_SOURCE, EDU_BUFFER);
    mmio_write_long(base + EDU_DMA_TARGET, 8, address);
    mmio_write32(base + EDU_DMA_COUNT, 4);
    mmio_write32(base + EDU_DMA_COMMAND, EDU_DMA_TO_RAM | EDU_DMA_RUN);
    await(base);
}

void rogue_dma(void)
{
    uint32_t end = memory_upper_kib * 1024 + 0x100000, leaks = 0, places = 0;
    const uint64_t where[] = {end,         end + 0x10000, 0x000a0000,    0x0f000000,    0x0ffff000,
                              0x10000000,  0x7ff00000,    0xb0000000,    0xc0000000,    0xd0000000,
                              0xe0000000,  0xfec00000,    0xfed00000,    0xfed90000,    0xfffff000,
                              0x100000000, 0x7ffffff000,  0x7fffffff00,  0x8000000000,  0xfffffffff000,
                              1ull << 52,  1ull << 63,    ~0ull - 0xfff, ~0ull - 0x100, ~0ull - SIZE + 1};
    pci_bdf at;
    uint32_t base = edu_ready(&at);
    if (!base)
        return;
    uint32_t before = edu_wrong(base);
    for (unsigned i = 0; i < sizeof where / sizeof where[0]; i++, places++) {
        edu_page_fill(PATTERN);
        edu_transfer(base, (uint32_t)edu_page, 0);
        edu_transfer(base, where[i], EDU_DMA_TO_RAM);
        edu_transfer(base, where[i], 0);
        leaks += edu_leaked(base);
    }
    // like an interrupt of any other device of that machine: as without interrupt remapping, and by its table
    if (option_given("message"))
        forge(base, 0xfee00000, option_number("message", 0));
    if (option_given("entry"))
        forge(base, 0xfee00010 | option_number("entry", 0) << 5, 0);
    print("rogue: DMA at %u places, %u bytes leaked, %u wrong before and %u afterwards\n", places, leaks,
          before, edu_wrong(base));
}
