// SPDX-License-Identifier: BSD-2-Clause
// selfipi: sends itself `count=` IPIs (default 20000; more, until 300 timer interrupts came beside them), of
// a class below and of a class above that of its one-shot local APIC timer, which is armed again and again
// for a random time. Every IPI and every expiry must be taken exactly once, whatever a hypervisor was doing
// when it came due. Each finding is a line "selfipi: NAME = ...".
#include "tests/guests/lib/boot.h"
#include "tests/guests/lib/console.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/fault.h"
#include "tests/guests/lib/text.h"

#define LAPIC         0xfee00000u
#define LAPIC_EOI     0x0b0u
#define LAPIC_SVR     0x0f0u
#define LAPIC_ICR_LOW 0x300u
#define LAPIC_TIMER   0x320u
#define LAPIC_INITIAL 0x380u
#define LAPIC_DIVIDE  0x3e0u
#define TO_SELF       0x44000u // shorthand self, fixed, assert

enum { LOW = 0x41, TIMER = 0x81, HIGH = 0xc1, SPURIOUS = 0xff };

extern const char ipi_entry_0x41[], ipi_entry_0x81[], ipi_entry_0xc1[], ipi_entry_0xff[];
void ipi_taken(uint32_t vector); // called by vectors.S

static volatile uint32_t taken[256], armed;
static uint32_t random_state = 1;
static unsigned findings, failed;

#define FINDING(holds, ...)                                                                                  \
    do {                                                                                                     \
        bool holds_ = (holds);                                                                               \
        findings++;                                                                                          \
        failed += !holds_;                                                                                   \
        print("selfipi: ");                                                                                  \
        print(__VA_ARGS__);                                                                                  \
        print("%s\n", holds_ ? "" : " FAILED");                                                              \
    } while (0)

/// Between a part of a hypervisor's slice and a whole one.
static void arm(void)
{
    armed++;
    mmio_write32(LAPIC + LAPIC_INITIAL, 3000 + next_random(&random_state) % 40000);
}

void ipi_taken(uint32_t vector)
{
    taken[vector]++;
    if (vector == SPURIOUS)
        return;
    if (vector == TIMER)
        arm();
    mmio_write32(LAPIC + LAPIC_EOI, 0);
}

/// False: it did not come.
static bool wait_for(uint32_t vector, uint32_t count)
{
    uint64_t limit = rdtsc() + 50000000ull;
    while (taken[vector] < count && rdtsc() < limit)
        __asm__ volatile("sti; nop; nop; cli" ::: "memory");
    return taken[vector] >= count;
}

/// `masked`: sent with interrupts off, so that it has to wait in the local APIC.
static void send(const char *name, uint32_t vector, bool masked, uint32_t count)
{
    uint32_t lost = 0, doubled = 0, timers = taken[TIMER];
    for (uint32_t i = 0; (i < count || taken[TIMER] - timers < 300) && lost < 3; i++) {
        uint32_t before = taken[vector];
        if (!masked)
            __asm__ volatile("sti" ::: "memory");
        mmio_write32(LAPIC + LAPIC_ICR_LOW, TO_SELF | vector);
        __asm__ volatile("nop; cli" ::: "memory");
        if (!wait_for(vector, before + 1)) {
            lost++;
            mmio_write32(LAPIC + LAPIC_EOI, 0); // what was accepted and not taken is still in service
        }
        doubled += taken[vector] > before + 1;
    }
    FINDING(lost == 0, "%s.lost = %u", name, lost);
    FINDING(doubled == 0, "%s.doubled = %u", name, doubled);
}

int guest_main(void)
{
    fault_set_gate(LOW, ipi_entry_0x41);
    fault_set_gate(TIMER, ipi_entry_0x81);
    fault_set_gate(HIGH, ipi_entry_0xc1);
    fault_set_gate(SPURIOUS, ipi_entry_0xff);
    out8(0x21, 0xff); // the 8259s are not used
    out8(0xa1, 0xff);
    mmio_write32(LAPIC + LAPIC_SVR, 0x1ff);
    mmio_write32(LAPIC + LAPIC_DIVIDE, 0xb); // by 1
    mmio_write32(LAPIC + LAPIC_TIMER, TIMER);
    arm();

    uint32_t count = option_number("count", 20000);
    send("below the timer", LOW, false, count);
    send("above the timer", HIGH, false, count);
    send("below, masked", LOW, true, count);
    send("above, masked", HIGH, true, count);

    FINDING(wait_for(TIMER, armed), "timer.last one = %s", taken[TIMER] >= armed - 1 ? "taken" : "lost");
    mmio_write32(LAPIC + LAPIC_TIMER, TIMER | 0x10000);
    mmio_write32(LAPIC + LAPIC_INITIAL, 0);
    FINDING(armed - taken[TIMER] <= 1, "timer.lost = %d", (int)(armed - taken[TIMER]) - 1);
    FINDING(taken[SPURIOUS] == 0, "spurious = %u", taken[SPURIOUS]);
    print("selfipi: %u findings, %u failed\n", findings, failed);
    return failed != 0;
}
