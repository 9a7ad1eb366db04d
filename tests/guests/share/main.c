// SPDX-License-Identifier: BSD-2-Clause
// share: how much of a processor this guest gets. Blocks of instructions of equal length are counted in
// windows of TSC ticks; the shortest block ever tells what one costs when nobody comes between. Or it is the
// one that others suffer from: `do=spin` (never exits), `do=ports` (nothing but port I/O), `do=config`
// (nothing but PCI configuration accesses where nothing is). Never ends.
#include "tests/guests/lib/boot.h"
#include "tests/guests/lib/console.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/pci.h"

#define TURNS  10000u      // of a block, two instructions each: well below the slice of a scheduler
#define WINDOW 20000000ull // ticks
#define FREE   0x00e0u     // a port nobody has

static uint64_t block(void)
{
    uint64_t begin = rdtsc();
    for (uint32_t turn = TURNS; turn; turn--)
        __asm__ volatile("" : "+r"(turn));
    return rdtsc() - begin;
}

static void measure(uint32_t windows)
{
    uint64_t shortest = UINT64_MAX;
    for (uint32_t w = 0; w < windows; w++) {
        uint64_t begin = rdtsc(), now;
        uint32_t blocks = 0;
        do {
            uint64_t ticks = block();
            shortest = ticks < shortest ? ticks : shortest;
            blocks++;
            now = rdtsc();
        } while (now - begin < WINDOW);
        print("share: window at %llu: %u blocks of %llu in %llu ticks\n", begin, blocks, shortest,
              now - begin);
    }
    print("share: measured\n");
}

int guest_main(void)
{
    while (option_lists("do", "ports")) {
        out8(FREE, 0x5a);
        (void)in32(FREE);
    }
    if (option_lists("do", "config"))
        for (pci_bdf absent = pci_absent();;)
            (void)pci_read(absent, PCI_VENDOR, 4);
    if (!option_lists("do", "spin"))
        measure(option_number("count", 8));
    for (;;) // goes on competing
        __asm__ volatile("");
}
