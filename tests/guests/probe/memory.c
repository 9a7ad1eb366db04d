// SPDX-License-Identifier: BSD-2-Clause
// A BAR that is plain memory (QEMU's ivshmem-plain, BAR 2): every instruction form is run on local memory and
// on the BAR, and must leave the same registers, flags and bytes. From 16-, 32- and 64-bit code, with and
// without paging.
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/long_mode.h"
#include "tests/guests/lib/text.h"
#include "tests/guests/probe/forms.h"
#include "tests/guests/probe/probe.h"

static uint32_t checksum(uint32_t base, uint32_t bytes)
{
    uint32_t crc = 0;
    for (uint32_t i = 0; i < bytes; i += 4) {
        uint32_t word = mmio_read32(base + i);
        crc = crc32(crc, &word, 4);
    }
    return crc;
}

static void copies(uint32_t base)
{
    static uint8_t there[256], back[256];
    uint32_t random = 0xc0ffee11;
    for (unsigned i = 0; i < sizeof there; i++)
        there[i] = (uint8_t)next_random(&random);
    memcpy((void *)base, there, sizeof there); // rep movsb
    FINDING(checksum(base, sizeof there) == crc32(0, there, sizeof there), "memory.rep_movs to = 0x%08x",
            checksum(base, sizeof there));
    const void *from = (const void *)base;
    void *to = back;
    uint32_t count = sizeof back / 4;
    __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(count)::"memory");
    FINDING(same_bytes(there, back, sizeof back) && count == 0, "memory.rep_movs from = 0x%08x",
            crc32(0, back, sizeof back));
    memset((void *)(base + 64), 0xa5, 64); // rep stosb
    memset(there + 64, 0xa5, 64);
    FINDING(checksum(base, sizeof there) == crc32(0, there, sizeof there), "memory.rep_stos = 0x%08x",
            checksum(base, sizeof there));
}

/// The whole BAR is there and no two places of it are the same: one word in each of 64 places.
static void ends(uint32_t base, uint64_t size)
{
    uint32_t step = (uint32_t)(size >> 6), wrong = 0;
    for (uint32_t i = 0; i < 64; i++)
        mmio_write32(base + i * step + step - 4, 0x5eed0000u + i);
    for (uint32_t i = 0; i < 64; i++)
        wrong += mmio_read32(base + i * step + step - 4) != 0x5eed0000u + i;
    FINDING(wrong == 0, "memory.places = 64 written, %u wrong", wrong);
}

void probe_memory(pci_bdf at)
{
    describe("memory", at);
    struct bar bar = bar_use(at, 2, true);
    if (bar.kind == BAR_NONE || bar.size < 4096) {
        FINDING(false, "memory.bar2 = %s", bar_kind_names[bar.kind]);
        return;
    }
    uint32_t base = (uint32_t)bar.base;
    ends(base, bar.size);
    copies(base);
    forms_all("memory", base);
    // what is left behind can be looked at from outside
    for (uint32_t i = 0; i < 16; i++)
        mmio_write32(base + 4 * i, 0xfa4b0500u + i);
    FINDING(checksum(base, 64) != 0, "memory.left = 0x%08x", checksum(base, 64));
}
