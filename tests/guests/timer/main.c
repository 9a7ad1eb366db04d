// SPDX-License-Identifier: BSD-2-Clause
// timer: the 8254 and the 8259 pair as kernels use them. The clock is calibrated through channel 2 and port
// 0x61 and compared with CPUID leaf 0x15; then channel 0 interrupts at `hz=` (default 100) for `ticks=`
// (default 20) interrupts, each compared with the TSC: through the 8259 with the local APIC switched off,
// through LINT0 as firmware leaves it, through the I/O APIC; busy and halted. Then what a real pair of 8259
// does besides: masks, the cascade, polling. `shared=1`: other guests have the same CPU. One line a finding,
// ok or FAILED.
#include "tests/guests/lib/boot.h"
#include "tests/guests/lib/console.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/fault.h"

#define VECTOR        0x20u
#define PIT_HZ        1193182u
#define APIC_BASE     0x1bu
#define APIC_ENABLE   0x800ull
#define LAPIC         0xfee00000u
#define LAPIC_EOI     0x0b0u
#define LAPIC_SVR     0x0f0u
#define LAPIC_LINT0   0x350u
#define IOAPIC        0xfec00000u
#define IOAPIC_WINDOW 0x10u
#define PIT_PIN       2u
#define STAMPS        64u

extern const char irq_stubs[]; // irq.S
void on_irq(uint32_t irq);

static volatile uint32_t count[16];
static volatile uint64_t stamp[STAMPS];
static bool eoi_to_apic;
static unsigned findings, failed;

#define FINDING(fine, ...)                                                                                   \
    do {                                                                                                     \
        bool fine_ = (fine);                                                                                 \
        print("timer: " __VA_ARGS__);                                                                        \
        print(fine_ ? " ok\n" : " FAILED\n");                                                                \
        findings++;                                                                                          \
        failed += !fine_;                                                                                    \
    } while (0)

void on_irq(uint32_t irq)
{
    if (irq == 0 && count[0] < STAMPS)
        stamp[count[0]] = rdtsc();
    count[irq]++;
    if (eoi_to_apic) {
        mmio_write32(LAPIC + LAPIC_EOI, 0);
        return;
    }
    if (irq >= 8)
        out8(0xa0, 0x20);
    out8(0x20, 0x20);
}

static void pic_start(uint8_t mask)
{
    static const uint8_t words[2][4] = {{0x11, VECTOR, 4, 1}, {0x11, VECTOR + 8, 2, 1}};
    for (unsigned i = 0; i < 2; i++) {
        uint16_t port = i ? 0xa0 : 0x20;
        out8(port, words[i][0]);
        for (unsigned w = 1; w < 4; w++)
            out8(port + 1, words[i][w]);
    }
    out8(0x21, mask);
    out8(0xa1, 0xff);
}

/// Channel 0, rate generator or square wave.
static void pit_start(uint8_t mode, uint32_t divisor)
{
    out8(0x43, (uint8_t)(0x30 | mode << 1));
    out8(0x40, (uint8_t)divisor);
    out8(0x40, (uint8_t)(divisor >> 8));
}

static void pit_stop(void)
{
    out8(0x43, 0x30); // mode 0, and no count
}

/// TSC ticks of 50 ms by channel 2 in mode 0, gate and output through port 0x61 as kernels do it.
static uint64_t fifty_ms(void)
{
    uint32_t n = PIT_HZ / 20;
    out8(0x61, (uint8_t)((in8(0x61) & ~2u) | 1u));
    out8(0x43, 0xb0);
    out8(0x42, (uint8_t)n);
    out8(0x42, (uint8_t)(n >> 8));
    uint64_t begin = rdtsc();
    while ((in8(0x61) & 0x20u) == 0)
        ;
    return rdtsc() - begin;
}

/// As kernels do it, too: the shortest of some. Whoever has the processor meanwhile makes it longer, never
/// shorter; so each begins and ends elsewhere in the slices of this guest and of others.
static uint64_t calibrate(void)
{
    uint64_t best = ~0ull;
    for (unsigned i = 0; i < 8; i++) {
        uint64_t ticks = fifty_ms(), pause = ticks, begin = rdtsc();
        best = ticks < best ? ticks : best;
        divide(&pause, 170);
        while (rdtsc() - begin < pause)
            ;
    }
    return best;
}

static bool shared; // another guest has the processor now and then, a slice of 1 ms or two

static bool near(uint64_t value, uint64_t expected, uint32_t parts)
{
    uint64_t most = expected;
    divide(&most, parts);
    return value + most >= expected && value <= expected + most;
}

static uint32_t thousands(uint64_t n)
{
    divide(&n, 1000);
    return (uint32_t)n;
}

static void pause_once(bool halt)
{
    if (halt)
        __asm__ volatile("sti; hlt; cli" ::: "memory");
    else
        __asm__ volatile("sti; nop; pause; cli" ::: "memory");
}

/// `ticks` interrupts of channel 0: all there, each a period after the one before.
static void run(const char *name, uint8_t mode, bool halt, uint32_t hz, uint32_t ticks, uint64_t tsc_hz)
{
    uint64_t period = tsc_hz, shortest = ~0ull, longest = 0;
    divide(&period, hz);
    count[0] = 0;
    pit_start(mode, PIT_HZ / hz);
    uint64_t end = rdtsc() + period * (ticks + 5); // not for ever, when they do not come
    while (count[0] < ticks + 1 && rdtsc() < end)
        pause_once(halt && count[0] > 0);
    pit_stop();
    pause_once(false);
    uint32_t n = count[0];
    for (uint32_t i = 2; i < n && i < STAMPS; i++) { // the first may be the rise that programming is
        uint64_t step = stamp[i] - stamp[i - 1];
        shortest = step < shortest ? step : shortest;
        longest = step > longest ? step : longest;
    }
    uint64_t all = n > 2 ? stamp[n - 1] - stamp[1] : 0;
    uint64_t expected = n > 2 ? period * (n - 2) : 0;
    FINDING(n == ticks + 1, "%s: %u interrupts of %u", name, n, ticks + 1);
    FINDING(n > 2 && near(all, expected, 100), "%s: %u thousand ticks, %u expected", name, thousands(all),
            thousands(expected));
    // Another guest's slice of 1 ms may come in between, and a second one when this guest's turn was too
    // long.
    FINDING(n > 2 && near(shortest, period, 4) && near(longest, period, 4),
            "%s: %u to %u thousand ticks apart", name, thousands(shortest), thousands(longest));
}

static void one_shot(uint64_t tsc_hz)
{
    uint64_t expected = tsc_hz;
    divide(&expected, 50);
    count[0] = 0;
    out8(0x43, 0x30);
    uint64_t begin = rdtsc();
    out8(0x40, (uint8_t)(PIT_HZ / 50));
    out8(0x40, (uint8_t)(PIT_HZ / 50 >> 8));
    while (count[0] == 0 && rdtsc() - begin < expected * 4)
        pause_once(true);
    uint64_t took = stamp[0] - begin;
    uint64_t end = rdtsc() + expected * 4;
    while (rdtsc() < end)
        pause_once(false);
    FINDING(count[0] == 1 && near(took, expected, shared ? 10 : 20),
            "one shot: %u, after %u thousand ticks, %u expected", count[0], thousands(took),
            thousands(expected));
}

static void ioapic_write(uint32_t index, uint32_t value)
{
    mmio_write32(IOAPIC, index);
    mmio_write32(IOAPIC + IOAPIC_WINDOW, value);
}

/// The counter as it can be read: latched, it falls, by the right amount.
static void readings(uint64_t tsc_hz)
{
    pit_start(2, 0);
    out8(0x43, 0x00);
    uint32_t first = in8(0x40);
    first |= (uint32_t)in8(0x40) << 8;
    uint64_t begin = rdtsc(), wait = tsc_hz;
    divide(&wait, 100);
    while (rdtsc() - begin < wait)
        ;
    out8(0x43, 0xc2); // read-back: status and count of channel 0
    uint32_t status = in8(0x40), second = in8(0x40);
    second |= (uint32_t)in8(0x40) << 8;
    uint32_t passed = (first - second) & 0xffff;
    FINDING(near(passed, PIT_HZ / 100, shared ? 8 : 20), "latched counts are %u apart, %u expected", passed,
            PIT_HZ / 100);
    FINDING(status == 0xb4, "status 0x%02x", status);
    unsigned changes = 0;
    for (unsigned i = 0, was = in8(0x61) & 0x10u; i < 1000; i++) {
        unsigned now = in8(0x61) & 0x10u;
        changes += now != was;
        was = now;
    }
    FINDING(changes > 1, "refresh changed %s", changes > 1 ? "often" : "never");
    pit_stop();
}

/// The UART's interrupt (IRQ 4), a masked one, and what a poll finds; nothing is spurious.
static void controllers(void)
{
    for (unsigned i = 0; i < 16; i++)
        count[i] = 0;
    pic_start(0xff);
    out8(0x3f9, 2); // transmitter empty
    out8(0x3fc, 0x0b);
    pause_once(false);
    out8(0x20, 0x0a);
    FINDING(count[4] == 0 && (in8(0x20) & 0x10u) != 0, "IRQ 4 waits behind its mask");
    out8(0x20, 0x0c);
    uint32_t nothing = in8(0x20);
    out8(0x21, 0xef);
    out8(0x20, 0x0c);
    uint32_t polled = in8(0x20);
    out8(0x20, 0x0b);
    uint32_t serving = in8(0x20);
    out8(0x20, 0x64);
    FINDING(nothing == 0 && polled == 0x84 && serving == 0x10, "polls 0x%02x 0x%02x, in service 0x%02x",
            nothing, polled, serving);
    (void)in8(0x3fa);
    out8(0x3f9, 0);
    out8(0x3f9, 2);
    pause_once(false);
    out8(0x3f9, 0);
    out8(0x3fc, 3);
    FINDING(count[4] == 1, "IRQ 4 came %u times", count[4]);
    out8(0x21, 0xff);
    uint32_t others = 0;
    for (unsigned i = 1; i < 16; i++)
        others += i == 4 ? 0 : count[i];
    FINDING(others == 0, "%u interrupts of nobody", others);
}

int guest_main(void)
{
    uint32_t hz = option_number("hz", 100), ticks = option_number("ticks", 20), leaf[4];
    if (ticks + 1 >= STAMPS)
        ticks = STAMPS - 2;
    shared = option_given("shared");
    for (unsigned i = 0; i < 16; i++)
        fault_set_gate(VECTOR + i, irq_stubs + 16 * i);
    uint64_t tsc_hz = calibrate() * 20;
    cpuid(0x15, 0, leaf);
    if (leaf[0] != 0 && leaf[2] != 0) {
        uint64_t told = (uint64_t)leaf[2] * leaf[1];
        divide(&told, leaf[0]);
        FINDING(near(tsc_hz, told, 100), "channel 2: %u kHz, CPUID: %u kHz", thousands(tsc_hz),
                thousands(told));
    } else {
        print("timer: channel 2: %u kHz\n", thousands(tsc_hz));
    }
    readings(tsc_hz);

    pit_stop();
    pic_start(0xfe);
    run("virtual wire", 2, false, hz, ticks, tsc_hz);
    one_shot(tsc_hz);
    controllers();

    uint64_t base = rdmsr(APIC_BASE);
    wrmsr(APIC_BASE, base & ~APIC_ENABLE);
    pic_start(0xfe);
    run("no local APIC", 2, false, hz, ticks, tsc_hz);
    run("no local APIC, square wave, halted", 3, true, hz, ticks, tsc_hz);
    out8(0x21, 0xff);

    wrmsr(APIC_BASE, base);
    mmio_write32(LAPIC + LAPIC_SVR, 0x1ff);
    mmio_write32(LAPIC + LAPIC_LINT0, 0x10700);
    out8(0x21, 0xfe);
    count[0] = 0;
    pit_start(2, PIT_HZ / hz);
    uint64_t end = tsc_hz;
    divide(&end, hz);
    end = rdtsc() + end * 3;
    while (rdtsc() < end)
        pause_once(false);
    FINDING(count[0] == 0, "LINT0 masked: %u interrupts", count[0]);
    pit_stop();
    out8(0x21, 0xff);

    eoi_to_apic = true;
    ioapic_write(0x11 + 2 * PIT_PIN, mmio_read32(LAPIC + 0x20) & 0xff000000u);
    ioapic_write(0x10 + 2 * PIT_PIN, VECTOR);
    run("I/O APIC", 2, false, hz, ticks, tsc_hz);
    run("I/O APIC, halted", 2, true, hz, ticks, tsc_hz);
    ioapic_write(0x10 + 2 * PIT_PIN, 0x10000);
    print("timer: %u findings, %u failed\n", findings, failed);
    return failed != 0;
}
