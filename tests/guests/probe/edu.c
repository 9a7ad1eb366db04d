// SPDX-License-Identifier: BSD-2-Clause
// QEMU's teaching device (QEMU documentation, "EDU device"): identification, liveness (reads the inverse of
// what was written), factorial, and what it answers to widths it does not take.
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/long_mode.h"
#include "tests/guests/lib/text.h"
#include "tests/guests/probe/probe.h"

#define ID          0x00u
#define LIVENESS    0x04u
#define FACTORIAL   0x08u
#define STATUS      0x20u
#define STATUS_BUSY 0x01u
#define DMA_SOURCE  0x80u

static void liveness(uint32_t base)
{
    uint32_t random = 0x2545f491, wrong = 0;
    for (uint32_t i = 0; i < loops; i++) {
        uint32_t x = next_random(&random);
        mmio_write32(base + LIVENESS, x);
        wrong += mmio_read32(base + LIVENESS) != ~x;
    }
    FINDING(wrong == 0, "edu.liveness = %u inverted, %u wrong", loops - wrong, wrong);
}

/// Instructions that read, change and write the register. It inverts, so each reads ~x of the x before.
static void read_modify_write(uint32_t base)
{
    volatile uint32_t *reg = (volatile uint32_t *)(base + LIVENESS);
    uint32_t x = 0x13579bdf, got;
#define STEP(instruction, expression)                                                                        \
    *reg = x;                                                                                                \
    __asm__ volatile(instruction : "+m"(*reg) : "r"(0x01020304u) : "cc");                                    \
    got = *reg;                                                                                              \
    FINDING(got == ~(uint32_t)(expression), "edu.liveness %s = 0x%08x", instruction, got)
    STEP("xorl %1, %0", ~x ^ 0x01020304u);
    STEP("addl %1, %0", ~x + 0x01020304u);
    STEP("subl %1, %0", ~x - 0x01020304u);
    STEP("orl %1, %0", ~x | 0x01020304u);
    STEP("andl %1, %0", ~x & 0x01020304u);
    STEP("notl %0", x);
    STEP("negl %0", 0u - ~x);
    STEP("incl %0", ~x + 1u);
    STEP("lock xorl %1, %0", ~x ^ 0x01020304u);
#undef STEP
    uint32_t swap = 0x0badcafe;
    *reg = x;
    __asm__ volatile("xchgl %0, %1" : "+r"(swap), "+m"(*reg));
    got = *reg;
    FINDING(swap == ~x && got == ~0x0badcafeu, "edu.liveness xchgl = 0x%08x 0x%08x", swap, got);
}

static void factorial(uint32_t base)
{
    static const struct {
        uint32_t n, result;
    } known[] = {{1, 1}, {5, 120}, {10, 3628800}, {12, 479001600}};
    for (unsigned i = 0; i < 4; i++) {
        mmio_write32(base + FACTORIAL, known[i].n);
        unsigned polls = 0;
        while (polls < 1000000 && (mmio_read32(base + STATUS) & STATUS_BUSY) != 0)
            polls++;
        uint32_t got = mmio_read32(base + FACTORIAL);
        FINDING(got == known[i].result, "edu.factorial(%u) = %u", known[i].n, got);
    }
}

static void widths(uint32_t base)
{
    // The device takes 4 bytes only below 0x80: what other widths give is the device's own business, but it
    // must be the same wherever the device is.
    FINDING(true, "edu.id by 8 bits = 0x%02x", mmio_read8(base + ID));
    FINDING(true, "edu.id by 16 bits = 0x%04x", mmio_read16(base + ID));
    if (!long_mode_present())
        return;
    FINDING(true, "edu.id by 64 bits = 0x%016llx", mmio_read_long(base + ID, 8));
    uint64_t was = mmio_read_long(base + DMA_SOURCE, 8);
    mmio_write_long(base + DMA_SOURCE, 8, 0x0123456789abcdefull);
    uint64_t got = mmio_read_long(base + DMA_SOURCE, 8);
    FINDING(got == 0x0123456789abcdefull, "edu.dma_source by 64 bits = 0x%016llx", got);
    mmio_write_long(base + DMA_SOURCE, 8, was);
}

void probe_edu(pci_bdf at)
{
    describe("edu", at);
    struct bar bar = bar_use(at, 0, true);
    uint32_t base = (uint32_t)bar.base;
    uint32_t id = mmio_read32(base + ID);
    FINDING(id == 0x010000ed, "edu.id = 0x%08x", id);
    liveness(base);
    read_modify_write(base);
    factorial(base);
    widths(base);
    move_and_read("edu", at, 0, ID, id);
}
