// SPDX-License-Identifier: BSD-2-Clause
// Its IOMMU misused: registers at random, queues where no memory is, a queue that is as long as can be,
// tables that are their own, and tables that map for edu what is not the guest's memory. All survived: the
// unit says what was wrong, or does nothing, and afterwards edu's DMA goes where good tables say. Start QEMU
// with edu's `dma_mask=0xffffffffffffffff`.
#include "tests/guests/lib/iommu.h"
#include "tests/guests/lib/edu.h"
#include "tests/guests/lib/pci.h"
#include "tests/guests/lib/text.h"
#include "tests/guests/rogue/rogue.h"

#define RW         3ull
#define DOMAIN     5u
#define LONG_QUEUE 0x800000u // 512 KiB
#define LONG_SIZE  0x80000u
#define OUTSIDE    0x40000000u // IOVAs of what is not memory
#define FAULT_WAIT 2000000000ull

static _Alignas(4096) uint64_t root[512], context[512], table3[512], table2[512], table1[512], outside[512];

static uint64_t entry(const void *table)
{
    return (uint32_t)table | RW;
}

static void fill_table(uint64_t *table, uint64_t value)
{
    for (unsigned i = 0; i < 512; i++)
        table[i] = value;
}

static bool forget_all(void)
{
    return iommu_invalidate(IOMMU_CONTEXT_GLOBAL, 0) && iommu_invalidate(IOMMU_IOTLB_GLOBAL, 0);
}

/// Empty tables for the function, of which only the first levels are there.
static void good_tables(uint16_t source)
{
    fill_table(root, 0);
    fill_table(context, 0);
    fill_table(table3, 0);
    fill_table(table2, 0);
    fill_table(table1, 0);
    fill_table(outside, 0);
    root[(source >> 8) * 2] = (uint32_t)context | 1;
    context[(source & 0xff) * 2] = (uint32_t)table3 | 1;
    context[(source & 0xff) * 2 + 1] = DOMAIN << 8 | 1; // 39 bits
    table3[0] = entry(table2);
    table3[OUTSIDE >> 30] = entry(outside); // its first entry leads to itself, so it is both tables
    outside[0] = entry(outside);
}

/// edu_page at its own address.
static void map_page(void)
{
    uint32_t page = (uint32_t)edu_page;
    table2[page >> 21] = entry(table1);
    table1[page >> 12 & 511] = page | RW;
}

static void random_registers(void)
{
    uint32_t seed = option_number("seed", 7), count = option_number("count", 5000);
    uint64_t cap = iommu_read64(IOMMU_CAP), ecap = iommu_read64(IOMMU_ECAP);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t what = next_random(&seed), value = next_random(&seed);
        uint32_t at = 0xfed90000u + (what >> 2) % (what & 0x80000000u ? 0x1000u : 0x2a0u);
        if ((what & 3) == 0 && (at & 0xfff) != 0xfff)
            mmio_write16(at, (uint16_t)value);
        else if ((what & 3) == 1)
            mmio_write8(at, (uint8_t)value);
        else
            mmio_write32(at & ~3u, value);
        (void)mmio_read32(at & ~3u);
    }
    bool off = iommu_command(0);
    print("rogue: iommu registers written %u times, capabilities %s, %s\n", count,
          cap == iommu_read64(IOMMU_CAP) && ecap == iommu_read64(IOMMU_ECAP) ? "as before" : "CHANGED",
          off ? "turned off" : "STILL ON");
}

static void absurd_queues(uint32_t end)
{
    const uint64_t where[] = {end,        0xa0000,    0xfed90000,    0xfee00000,           0xe0000000,
                              end - 4096, 1ull << 39, 0xfffff000ull, 0xfffffffffffff000ull};
    uint32_t tried = 0, told = 0, stuck = 0;
    for (unsigned i = 0; i < sizeof where / sizeof where[0]; i++)
        for (uint32_t size = 0; size < 8; size++)
            for (unsigned t = 0; t < 3; t++) {
                uint32_t bytes = 4096u << size;
                if (t == 2 && size == 7)
                    continue; // IQT has no bit for it
                iommu_stop();
                iommu_write(IOMMU_IQT, 0);
                iommu_write64(IOMMU_IQA, where[i] | size);
                (void)iommu_command(IOMMU_QIE);
                iommu_write(IOMMU_IQT, t == 0 ? 0x10 : t == 1 ? bytes - 16 : bytes);
                tried++;
                told += (iommu_read(IOMMU_FSTS) & IOMMU_FSTS_IQE) != 0;
            }
    iommu_stop();
    stuck = (iommu_read(IOMMU_FSTS) & IOMMU_FSTS_IQE) != 0;
    print("rogue: %u absurd queues, %u errors told, %u left\n", tried, told, stuck);
}

/// As many descriptors as fit, each about other gigabytes of other domains, while translation is on.
static void long_queue(void)
{
    struct iommu_descriptor *queue = (struct iommu_descriptor *)LONG_QUEUE; // nobody else's memory
    const uint32_t last = LONG_SIZE / 16 - 1;
    static volatile uint32_t status;
    for (uint32_t i = 0; i < last; i++)
        queue[i] = i % 3 == 2 ? (struct iommu_descriptor){IOMMU_WAIT(i), (uint32_t)&status}
                              : (struct iommu_descriptor){IOMMU_IOTLB_PAGES(i), (uint64_t)i << 30 | 18};
    iommu_write(IOMMU_IQT, 0);
    iommu_write64(IOMMU_IQA, LONG_QUEUE | 7);
    (void)iommu_command(IOMMU_TE | IOMMU_QIE);
    uint64_t begin = rdtsc();
    iommu_write(IOMMU_IQT, last * 16);
    uint64_t ticks = rdtsc() - begin;
    while (iommu_read(IOMMU_IQH) != last * 16 && !(iommu_read(IOMMU_FSTS) & IOMMU_FSTS_IQE))
        ;
    print("rogue: %u descriptors at once, the last wait said %u, %u thousand ticks\n", last, status,
          (uint32_t)(ticks >> 10));
}

/// Every way for tables to be their own; each is looked at by whoever looks after edu's mappings.
static void loops(uint16_t source)
{
    uint32_t tried = 0, done = 0;
    for (unsigned i = 0; i < 6; i++) {
        good_tables(source);
        switch (i) {
        case 0: // the root table is its context table
            root[(source >> 8) * 2] = (uint32_t)root | 1;
            break;
        case 1: // the context table is its page table
            context[(source & 0xff) * 2] = (uint32_t)context | 1;
            break;
        case 2: // all levels are one
            fill_table(table3, entry(table3));
            break;
        case 3: // 134 million pages, all of them one
            fill_table(table3, entry(table2));
            fill_table(table2, entry(table1));
            fill_table(table1, (uint32_t)edu_page | RW);
            break;
        case 4: // 134 million entries, none of them any
            fill_table(table3, entry(table2));
            fill_table(table2, entry(table1));
            break;
        case 5: // gigabytes
            fill_table(table3, 0x80 | RW);
            break;
        }
        tried++;
        done += forget_all();
        done += iommu_invalidate(IOMMU_IOTLB_DOMAIN(DOMAIN), 0);
        done += iommu_invalidate(IOMMU_IOTLB_PAGES(DOMAIN), 18);
    }
    print("rogue: %u loops of tables, %u of %u invalidations done\n", tried, done, tried * 3);
}

/// Where maps lead out of memory, edu finds nothing; where none leads, it is stopped and a fault says so.
static void maps_outside(uint32_t base, uint16_t source, uint32_t end)
{
    const uint64_t where[] = {end,        0xa0000,    0xb0000,      0xc0000000,   0xe0000000, 0xfec00000,
                              0xfed90000, 0xfee00000, 0x7ffffff000, 0x1000000000, 0xfffff000};
    uint32_t places = sizeof where / sizeof where[0], leaks = 0, done = 0;
    good_tables(source);
    map_page();
    for (unsigned i = 0; i < places; i++)
        outside[i + 1] = where[i] | RW;
    done += forget_all();
    uint32_t before = edu_wrong(base);
    for (unsigned i = 0; i < places; i++) {
        uint32_t iova = OUTSIDE + (i + 1) * 4096;
        edu_page_fill(0x5a);
        edu_transfer(base, (uint32_t)edu_page, 0);
        edu_transfer(base, iova, EDU_DMA_TO_RAM);
        edu_transfer(base, iova, 0);
        leaks += edu_leaked(base);
    }
    print("rogue: iommu maps %u places outside, %u bytes leaked, %u wrong before and %u afterwards\n", places,
          leaks, before, edu_wrong(base));

    for (unsigned i = 0; i < 8; i++) // what was recorded so far
        iommu_write(0x20c + i * 16, 0x80000000u);
    table1[(uint32_t)edu_page >> 12 & 511] = 0;
    done += iommu_invalidate(IOMMU_IOTLB_PAGES(DOMAIN), (uint32_t)edu_page);
    edu_page_fill(0x33);
    edu_transfer(base, (uint32_t)edu_page, EDU_DMA_TO_RAM);
    uint64_t limit = rdtsc() + FAULT_WAIT;
    while (!(iommu_read(IOMMU_FSTS) & IOMMU_FSTS_PPF) && rdtsc() < limit)
        (void)mmio_read32(base + EDU_ID);
    uint32_t written = 0, record = 0x200u + (iommu_read(IOMMU_FSTS) >> 8 & 0xff) * 16;
    for (unsigned i = 0; i < sizeof edu_page; i++)
        written += edu_page[i] != 0x33;
    uint32_t state = iommu_read(record + 12);
    bool right = iommu_read(record) == (uint32_t)edu_page && (iommu_read(record + 8) & 0xffff) == source;
    print("rogue: unmapped, edu wrote %u bytes; fault %x, %s\n", written, state,
          right ? "of its page" : "of something else");
    map_page();
    done += iommu_invalidate(IOMMU_IOTLB_PAGES(DOMAIN), (uint32_t)edu_page);
    print("rogue: mapped again, %u wrong, %u of 3 invalidations done\n", edu_wrong(base), done);
}

void rogue_iommu(void)
{
    uint32_t end = memory_upper_kib * 1024 + 0x100000;
    uint16_t source;
    if (!iommu_here()) {
        print("rogue: no IOMMU\n");
        return;
    }
    uint32_t base = edu_ready(&source);
    if (!base)
        return;
    random_registers();
    absurd_queues(end);
    if (!iommu_start((uint32_t)root) || !iommu_command(IOMMU_TE | IOMMU_QIE)) {
        print("rogue: the IOMMU does not start\n");
        return;
    }
    loops(source);
    (void)iommu_command(IOMMU_TE);
    long_queue();
    if (!iommu_start((uint32_t)root) || !iommu_command(IOMMU_TE | IOMMU_QIE)) {
        print("rogue: the IOMMU does not start again\n");
        return;
    }
    maps_outside(base, source, end);
    iommu_stop();
}
