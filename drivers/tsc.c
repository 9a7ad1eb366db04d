// SPDX-License-Identifier: BSD-2-Clause
// Sources: SDM vol. 3, 18.7.3 (TSC frequency); IA-PC HPET 1.0a, 2.3; ACPI 6.4, 4.8.3.3 (PM timer); 8254 data
// sheet (mode 0). Invariant: measuring takes a fixed time (about 5 ms) and ends even when the reference clock
// stands still.
#include "drivers/tsc.h"
#include "rt/log.h"
#include "rt/paging.h"
#include "rt/time.h"
#include <stdbool.h>
#include <stddef.h>

#define MEASURE_US 5000u
#define POLLS_MAX  50000000u // far more than any machine needs for 5 ms

#define HPET_CAPABILITIES 0x000u // bits 63:32: femtoseconds per tick
#define HPET_CONFIG       0x010u // bit 0: counting
#define HPET_COUNTER      0x0f0u
#define HPET_PERIOD_MAX   100000000u // 100 ns, the specification's limit
#define FS_PER_US         1000000000ull

#define PM_TIMER_HZ  3579545u
#define PIT_HZ       1193182u
#define PIT_CHANNEL2 0x42u
#define PIT_MODE     0x43u
#define PORT_B       0x61u // bit 0: gate of channel 2, bit 1: speaker, bit 5: its output

uint64_t tsc_hz_from_cpuid(struct cpuid leaf15, struct cpuid leaf16)
{
    // TSC = crystal * EBX / EAX. When the crystal is not told, leaf 0x16's base frequency is the TSC's,
    // rounded to MHz.
    if (leaf15.eax != 0 && leaf15.ebx != 0 && leaf15.ecx != 0)
        return (uint64_t)leaf15.ecx * leaf15.ebx / leaf15.eax;
    if (leaf15.eax != 0 && leaf15.ebx != 0 && (leaf16.eax & 0xffff) != 0)
        return (uint64_t)(leaf16.eax & 0xffff) * 1000000;
    return 0;
}

struct reference {
    uint64_t (*read)(void);
    uint64_t mask;
    uint64_t hz;
};

static volatile uint8_t *hpet;
static uint16_t pm_port;

static uint64_t read_hpet(void)
{
    return mmio_read32(hpet + HPET_COUNTER);
}

static uint64_t read_pm_timer(void)
{
    return in32(pm_port);
}

struct moment {
    uint64_t tsc, count;
};

/// Both clocks at one moment: of a few tries the one with the least time around it. Between two instructions
/// there may be milliseconds (an emulator that its host interrupts, system management mode), and one such gap
/// here would make the result wrong by any factor.
static struct moment look(const struct reference *ref)
{
    struct moment best = {0};
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < 8; i++) {
        uint64_t before = rdtsc_ordered(), count = ref->read(), window = rdtsc_ordered() - before;
        if (window < least) {
            least = window;
            best = (struct moment){before + window / 2, count};
        }
    }
    return best;
}

/// TSC ticks per second against a free-running counter; 0: the counter does not move.
static uint64_t measure(const struct reference *ref)
{
    uint64_t want = ref->hz * MEASURE_US / 1000000;
    struct moment start = look(ref), end = start;
    for (unsigned polls = 0; ((end.count - start.count) & ref->mask) < want; polls++) {
        if (polls == POLLS_MAX)
            return 0;
        end.count = ref->read();
    }
    end = look(ref);
    return (end.tsc - start.tsc) * ref->hz / ((end.count - start.count) & ref->mask);
}

static uint64_t measure_hpet(const struct acpi_info *acpi)
{
    if (acpi->hpet_address == 0)
        return 0;
    hpet = mmio_map(acpi->hpet_address, 0x400);
    if (!hpet)
        return 0;
    uint32_t period = mmio_read32(hpet + HPET_CAPABILITIES + 4);
    if (period == 0 || period > HPET_PERIOD_MAX)
        return 0;
    mmio_write32(hpet + HPET_CONFIG, mmio_read32(hpet + HPET_CONFIG) | 1);
    const struct reference ref = {read_hpet, 0xffffffffu, FS_PER_US * 1000000 / period};
    return measure(&ref);
}

static uint64_t measure_pm_timer(const struct acpi_info *acpi)
{
    if (!acpi->fadt || acpi->pm_timer.address == 0 || acpi->pm_timer.space != ACPI_SPACE_IO ||
        acpi->pm_timer.address > 0xfffc)
        return 0;
    pm_port = (uint16_t)acpi->pm_timer.address;
    const struct reference ref = {read_pm_timer, acpi->pm_timer_32 ? 0xffffffffu : 0xffffffu, PM_TIMER_HZ};
    return measure(&ref);
}

/// Channel 2 counts down once from 5 ms; its output goes high at the end.
static uint64_t measure_pit(void)
{
    const uint32_t count = PIT_HZ * MEASURE_US / 1000000;
    uint8_t port_b = in8(PORT_B);
    out8(PORT_B, (uint8_t)((port_b & ~2u) | 1u));
    out8(PIT_MODE, 0xb0); // channel 2, both bytes, mode 0, binary
    out8(PIT_CHANNEL2, (uint8_t)count);
    out8(PIT_CHANNEL2, (uint8_t)(count >> 8));
    uint64_t start = rdtsc_ordered();
    unsigned polls = 0;
    while (!(in8(PORT_B) & 0x20) && polls < POLLS_MAX)
        polls++;
    uint64_t ticks = rdtsc_ordered() - start;
    out8(PORT_B, port_b);
    return polls < POLLS_MAX && polls > 1 ? ticks * PIT_HZ / count : 0;
}

const char *tsc_start(const struct acpi_info *acpi)
{
    struct cpuid leaf15 = {0}, leaf16 = {0};
    uint32_t last = cpuid(0, 0).eax;
    if (last >= 0x15)
        leaf15 = cpuid(0x15, 0);
    if (last >= 0x16)
        leaf16 = cpuid(0x16, 0);
    const char *source = leaf15.ecx ? "CPUID 0x15" : "CPUID 0x16";
    uint64_t hz = tsc_hz_from_cpuid(leaf15, leaf16);
    if (hz == 0) {
        hz = measure_hpet(acpi);
        source = "HPET";
    }
    if (hz == 0) {
        hz = measure_pm_timer(acpi);
        source = "ACPI PM timer";
    }
    if (hz == 0) {
        hz = measure_pit();
        source = "PIT";
    }
    if (hz == 0) {
        log_warn("time", "no clock to measure the TSC with: times are those of a 1 GHz TSC");
        return "a guess";
    }
    time_set_tsc_hz(hz);
    return source;
}
