// SPDX-License-Identifier: BSD-2-Clause
// watch: reads edu's liveness register and NVMe VS round after round and says when what they answer changes:
// all-ones when the device has gone, right again when it came back. Ends on 'q' at its console or after
// `count=` rounds.
#include "tests/guests/lib/boot.h"
#include "tests/guests/lib/console.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/pci.h"
#include "tests/guests/lib/text.h"

#define ALL_ONES     0xffffffffu
#define EDU_LIVENESS 0x04u
#define NVME_VS      0x08u

enum state { UNKNOWN, HERE, GONE, WRONG };

struct watched {
    const char *name;
    pci_bdf at;
    uint32_t base;
    enum state state;
    uint32_t expected; // NVMe: VS as it was at first
};

static uint32_t changes, wrong;
static uint64_t slowest; // TSC ticks of one read

static uint32_t timed_read(uint32_t at)
{
    uint64_t begin = rdtsc();
    uint32_t value = mmio_read32(at);
    uint64_t ticks = rdtsc() - begin;
    slowest = ticks > slowest ? ticks : slowest;
    return value;
}

static void change(struct watched *w, enum state now, uint32_t value, uint32_t round)
{
    static const char *const names[] = {"unknown", "here", "gone", "wrong"};
    if (now == w->state)
        return;
    print("watch: %s %s (0x%08x) in round %u\n", w->name,
          w->state == GONE && now == HERE ? "back" : names[now], value, round);
    w->state = now;
    changes++;
    wrong += now == WRONG;
}

/// A device that came back may have lost its address and its command register.
static void use_again(struct watched *w)
{
    if (pci_read(w->at, PCI_VENDOR, 2) != 0xffffu)
        w->base = (uint32_t)bar_use(w->at, 0, true).base;
}

static void look_edu(struct watched *w, uint32_t x, uint32_t round)
{
    mmio_write32(w->base + EDU_LIVENESS, x);
    uint32_t got = timed_read(w->base + EDU_LIVENESS);
    if (w->state == GONE && got != ~x && got != ALL_ONES) {
        // It came back between the write, which met nobody, and the read.
        mmio_write32(w->base + EDU_LIVENESS, x);
        got = timed_read(w->base + EDU_LIVENESS);
    }
    change(w, got == ~x ? HERE : got == ALL_ONES ? GONE : WRONG, got, round);
}

static void look_nvme(struct watched *w, uint32_t round)
{
    uint32_t got = timed_read(w->base + NVME_VS);
    if (w->expected == 0 && got != ALL_ONES)
        w->expected = got;
    change(w, got == ALL_ONES ? GONE : got == w->expected ? HERE : WRONG, got, round);
}

int guest_main(void)
{
    struct watched edu = {"edu", pci_find_id(0x1234, 0x11e8), 0, UNKNOWN, 0};
    struct watched nvme = {"nvme", pci_find_class(0x0108), 0, UNKNOWN, 0};
    if (edu.at == PCI_NONE && nvme.at == PCI_NONE)
        print("watch: nothing to watch yet\n");
    uint32_t count = option_number("count", 0), random = 0x6d2b79f5, round = 0;
    bool quit = false;
    for (; !quit && (count == 0 || round < count); round++) {
        if (edu.at == PCI_NONE && (edu.at = pci_find_id(0x1234, 0x11e8)) != PCI_NONE)
            print("watch: edu found\n");
        if (nvme.at == PCI_NONE && (nvme.at = pci_find_class(0x0108)) != PCI_NONE)
            print("watch: nvme found\n");
        if (edu.at != PCI_NONE) {
            if (edu.state != HERE)
                use_again(&edu);
            // never 0: its inverse could not be told from a device that is gone
            look_edu(&edu, next_random(&random), round);
        }
        if (nvme.at != PCI_NONE) {
            if (nvme.state != HERE)
                use_again(&nvme);
            look_nvme(&nvme, round);
        }
        quit = console_get() == 'q';
    }
    print("watch: the slowest read took %llu ticks\n", slowest);
    print("watch: %u rounds, %u changes, %u wrong, %s\n", round, changes, wrong,
          quit ? "told to end" : "end");
    return wrong != 0;
}
