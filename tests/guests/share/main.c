// SPDX-License-Identifier: BSD-2-Clause
// share: how much of a processor this guest gets, and how many transactions with a remote device. Blocks of
// instructions of equal length are counted in windows of TSC ticks; the shortest block ever tells what one
// costs when nobody comes between. `do=ask`: reads of a device in place of blocks. Or it is the one that
// others suffer from: `do=spin` (never exits), `do=ports` (nothing but port I/O), `do=config` (nothing but
// PCI configuration accesses where nothing is), `do=nic` (its virtual NIC sends without end, to everybody),
// `do=write` (nothing but writes to its remote device). `key=1`: it spins until a key comes
// in on its console, and begins then. Never ends.
#include "tests/guests/lib/boot.h"
#include "tests/guests/lib/console.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/edu.h"
#include "tests/guests/lib/pci.h"
#include "tests/guests/lib/virtio_nic.h"

#define TURNS      10000u      // of a block, two instructions each: well below the slice of a scheduler
#define WINDOW     20000000ull // ticks
#define FREE       0x00e0u     // a port nobody has
#define FRAME_SIZE 1514u
#define ETHERTYPE  0x88b6u // for local experiments

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

/// Where the remote device's registers are. It is waited for.
static uint32_t device(void)
{
    pci_bdf at;
    while ((at = pci_find_id(EDU_VENDOR, EDU_DEVICE)) == PCI_NONE)
        ;
    return (uint32_t)bar_use(at, 0, true).base;
}

static void ask(uint32_t windows)
{
    uint32_t base = device();
    for (uint32_t w = 0; w < windows; w++) {
        uint64_t begin = rdtsc(), now;
        uint32_t answers = 0, wrong = 0;
        do {
            wrong += mmio_read32(base + EDU_ID) != 0x010000edu;
            answers++;
            now = rdtsc();
        } while (now - begin < WINDOW);
        print("share: window at %llu: %u answers, %u wrong, in %llu ticks\n", begin, answers, wrong,
              now - begin);
    }
    print("share: measured\n");
}

/// Spins until a key comes in on the console.
static void spin_until_key(void)
{
    while (console_get() < 0)
        for (uint32_t turn = 100 * TURNS; turn; turn--)
            __asm__ volatile("" : "+r"(turn));
    print("share: begins at %llu\n", rdtsc());
}

static void send_without_end(void)
{
    static uint8_t frame[FRAME_SIZE];
    static struct virtio_nic nic;
    if (!virtio_nic_start(&nic, 0)) {
        print("share: no NIC\n");
        return;
    }
    for (unsigned i = 0; i < 6; i++) {
        frame[i] = 0xff;
        frame[6 + i] = nic.mac[i];
    }
    frame[12] = ETHERTYPE >> 8;
    frame[13] = ETHERTYPE & 0xff;
    virtio_nic_frame(&nic, frame, sizeof frame);
    for (bool told = false;;) {
        (void)virtio_nic_send(&nic, nic.places - virtio_nic_waiting(&nic.transmit));
        if (!told && nic.transmit.given >= 1024) {
            print("share: more than a thousand frames sent\n");
            told = true;
        }
    }
}

int guest_main(void)
{
    uint32_t windows = option_number("count", 8);
    bool writes = option_lists("do", "write");
    uint32_t base = writes ? device() : 0;
    if (option_given("key"))
        spin_until_key();
    while (option_lists("do", "ports")) {
        out8(FREE, 0x5a);
        (void)in32(FREE);
    }
    if (option_lists("do", "config"))
        for (pci_bdf absent = pci_absent();;)
            (void)pci_read(absent, PCI_VENDOR, 4);
    while (writes)
        mmio_write32(base + EDU_LIVENESS, 0x5a5a5a5a);
    if (option_lists("do", "nic"))
        send_without_end();
    else if (option_lists("do", "ask"))
        ask(windows);
    else if (!option_lists("do", "spin"))
        measure(windows);
    for (;;) // goes on competing
        __asm__ volatile("");
}
