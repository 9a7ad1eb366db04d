// SPDX-License-Identifier: BSD-2-Clause
// Invariant: a pin is unmasked only with a vector somebody asked for; everything else the firmware left
// behind is masked.
#include "drivers/apic.h"
#include "rt/cpu.h"
#include "rt/irq.h"
#include "rt/log.h"
#include "rt/paging.h"
#include "rt/panic_internal.h"
#include "rt/spinlock.h"
#include "rt/time.h"
#include "rt/x86.h"
#include <stddef.h>

// SDM vol. 3, table 10-1 (xAPIC page) = table 10-6 (x2APIC MSRs) * 16
#define APIC_ID            0x020u
#define APIC_VERSION       0x030u
#define APIC_TPR           0x080u
#define APIC_EOI           0x0b0u
#define APIC_LDR           0x0d0u
#define APIC_DFR           0x0e0u // xAPIC only
#define APIC_SVR           0x0f0u
#define APIC_ESR           0x280u
#define APIC_LVT_CMCI      0x2f0u
#define APIC_ICR           0x300u
#define APIC_ICR_HIGH      0x310u // xAPIC only
#define APIC_LVT_TIMER     0x320u
#define APIC_LVT_THERMAL   0x330u
#define APIC_LVT_PERF      0x340u
#define APIC_LVT_LINT0     0x350u
#define APIC_LVT_LINT1     0x360u
#define APIC_LVT_ERROR     0x370u
#define APIC_TIMER_INIT    0x380u
#define APIC_TIMER_CURRENT 0x390u
#define APIC_TIMER_DIVIDE  0x3e0u

#define SVR_ENABLE       (1u << 8)
#define VECTOR_SPURIOUS  0xffu
#define LVT_MASKED       (1u << 16)
#define LVT_TSC_DEADLINE (2u << 17)
#define TIMER_DIVIDE_1   0x0bu

#define ICR_NMI        (4u << 8)
#define ICR_INIT       (5u << 8)
#define ICR_STARTUP    (6u << 8)
#define ICR_PENDING    (1u << 12) // xAPIC
#define ICR_ASSERT     (1u << 14)
#define ICR_ALL_OTHERS (3u << 18)

#define BASE_X2APIC (1ull << 10)
#define BASE_ENABLE (1ull << 11)

// 82093AA, 3.2: index and data window; version in register 1, redirection entries from register 10h
#define IOAPIC_INDEX     0x00u
#define IOAPIC_WINDOW    0x10u
#define IOAPIC_VERSION   0x01u
#define IOAPIC_REDIR     0x10u
#define REDIR_LOW_ACTIVE (1u << 13)
#define REDIR_LEVEL      (1u << 15)
#define REDIR_MASKED     (1u << 16)
// Upper half with interrupt remapping (VT-d 3.3, 5.1.5.1)
#define REDIR_REMAPPABLE (1u << 16)
#define REDIR_ENTRY(n)   ((uint32_t)(n) << 17)

#define PIC1 0x20u
#define PIC2 0xa0u

static bool x2apic, deadline;
static volatile uint8_t *page; // xAPIC registers
static uint64_t timer_hz;      // LAPIC timer at divide by 1; 0: not measured yet

static struct ioapic {
    volatile uint8_t *regs;
    uint8_t id;
    uint32_t gsi_base, pins;
} ioapics[ACPI_IOAPICS_MAX];
static uint32_t ioapic_count;
static struct spinlock ioapic_lock; // index and window go together
static const struct acpi_info *tables;
static apic_remap_fn *remap; // NULL: without

static uint32_t apic_read(uint32_t reg)
{
    return x2apic ? (uint32_t)rdmsr(IA32_X2APIC_BASE + reg / 16) : mmio_read32(page + reg);
}

static void apic_write(uint32_t reg, uint32_t value)
{
    if (x2apic)
        wrmsr(IA32_X2APIC_BASE + reg / 16, value);
    else
        mmio_write32(page + reg, value);
}

static void send_icr(uint32_t id, uint32_t command)
{
    if (x2apic) {
        mfence(); // WRMSR to the ICR is not serializing: what we stored before must be seen (SDM vol.
                  // 3, 10.12.3)
        lfence();
        wrmsr(IA32_X2APIC_BASE + APIC_ICR / 16, (uint64_t)id << 32 | command);
        return;
    }
    for (unsigned i = 0; i < 100000 && (apic_read(APIC_ICR) & ICR_PENDING); i++)
        cpu_pause();
    apic_write(APIC_ICR_HIGH, id << 24);
    apic_write(APIC_ICR, command);
}

static void eoi(void)
{
    apic_write(APIC_EOI, 0);
}

static void stop_others(void)
{
    if (cpu_count() > 1)
        send_icr(0, ICR_NMI | ICR_ASSERT | ICR_ALL_OTHERS);
}

uint32_t apic_id(void)
{
    return x2apic ? apic_read(APIC_ID) : apic_read(APIC_ID) >> 24;
}

const char *apic_mode(void)
{
    return x2apic ? "x2APIC" : "xAPIC";
}

bool apic_is_x2apic(void)
{
    return x2apic;
}

uint32_t apic_ioapic_count(void)
{
    return ioapic_count;
}

void apic_start_cpu(void)
{
    uint64_t base = rdmsr(IA32_APIC_BASE) | BASE_ENABLE;
    if (x2apic && !(base & BASE_X2APIC))
        wrmsr(IA32_APIC_BASE, base); // disabled -> x2APIC is not a legal step (SDM vol. 3, figure 10-27)
    wrmsr(IA32_APIC_BASE, x2apic ? base | BASE_X2APIC : base);
    uint32_t last_lvt = apic_read(APIC_VERSION) >> 16 & 0xff;
    apic_write(APIC_TPR, 0);
    if (!x2apic) {
        apic_write(APIC_DFR, 0xffffffffu);
        apic_write(APIC_LDR, 0);
    }
    apic_write(APIC_SVR, SVR_ENABLE | VECTOR_SPURIOUS);
    apic_write(APIC_LVT_TIMER, LVT_MASKED);
    apic_write(APIC_LVT_LINT0, LVT_MASKED);
    apic_write(APIC_LVT_LINT1, LVT_MASKED);
    apic_write(APIC_LVT_ERROR, LVT_MASKED);
    if (last_lvt >= 4)
        apic_write(APIC_LVT_PERF, LVT_MASKED);
    if (last_lvt >= 5)
        apic_write(APIC_LVT_THERMAL, LVT_MASKED);
    if (last_lvt >= 6)
        apic_write(APIC_LVT_CMCI, LVT_MASKED);
    apic_write(APIC_ESR, 0);
}

/// Both 8259s initialized to vectors nobody uses, all lines masked (8259A data sheet, "Programming").
static void silence_8259(void)
{
    static const uint8_t words[][2] = {{0x11, 0x11}, {0x20, 0x28}, {0x04, 0x02}, {0x01, 0x01}, {0xff, 0xff}};
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
        out8((uint16_t)(PIC1 + (i > 0)), words[i][0]);
        out8((uint16_t)(PIC2 + (i > 0)), words[i][1]);
    }
}

static uint32_t ioapic_read(const struct ioapic *io, uint32_t reg)
{
    mmio_write32(io->regs + IOAPIC_INDEX, reg);
    return mmio_read32(io->regs + IOAPIC_WINDOW);
}

static void ioapic_write(const struct ioapic *io, uint32_t reg, uint32_t value)
{
    mmio_write32(io->regs + IOAPIC_INDEX, reg);
    mmio_write32(io->regs + IOAPIC_WINDOW, value);
}

static void start_ioapic(uint8_t id, uint64_t address, uint32_t gsi_base)
{
    struct ioapic *io = &ioapics[ioapic_count];
    io->regs = mmio_map(address, 0x20);
    if (!io->regs) {
        log_warn("apic", "no address space for the I/O APIC at 0x%llx", (unsigned long long)address);
        return;
    }
    uint32_t version = ioapic_read(io, IOAPIC_VERSION);
    if (version == 0xffffffffu) {
        log_warn("apic", "no I/O APIC answers at 0x%llx", (unsigned long long)address);
        return;
    }
    io->id = id;
    io->gsi_base = gsi_base;
    io->pins = (version >> 16 & 0xff) + 1;
    for (uint32_t pin = 0; pin < io->pins; pin++)
        ioapic_write(io, IOAPIC_REDIR + 2 * pin, REDIR_MASKED);
    ioapic_count++;
}

enum status apic_start(const struct acpi_info *acpi)
{
    struct cpuid l1 = cpuid(1, 0);
    if (!(l1.edx & 1u << 9))
        return ERR_UNSUPPORTED;
    tables = acpi;
    x2apic = (l1.ecx & 1u << 21) || (rdmsr(IA32_APIC_BASE) & BASE_X2APIC);
    deadline = l1.ecx & 1u << 24;
    if (!x2apic) {
        page = mmio_map(rdmsr(IA32_APIC_BASE) & 0x000ffffffffff000ull, FRAME_SIZE);
        if (!page)
            return ERR_NOMEM;
    }
    silence_8259();
    apic_start_cpu();
    irq_set_eoi(eoi);
    panic_set_stop_others(stop_others);
    for (uint32_t i = 0; i < acpi->ioapic_count; i++)
        start_ioapic((uint8_t)acpi->ioapics[i].id, acpi->ioapics[i].address, acpi->ioapics[i].gsi_base);
    return OK;
}

void apic_send(uint32_t id, uint8_t vector)
{
    send_icr(id, ICR_ASSERT | vector);
}

void apic_send_init(uint32_t id)
{
    send_icr(id, ICR_INIT | ICR_ASSERT);
}

void apic_send_startup(uint32_t id, uint8_t startup_page)
{
    send_icr(id, ICR_STARTUP | ICR_ASSERT | startup_page);
}

/// `low`: the entry's lower half.
static enum status route(const struct ioapic *io, uint32_t pin, uint32_t low)
{
    uint32_t target = cpu_get(0)->apic_id, reg = IOAPIC_REDIR + 2 * pin, high = target << 24;
    uint16_t entry = 0;
    enum status s = !remap && target > 0xff ? ERR_UNSUPPORTED : OK; // needs interrupt remapping
    spin_lock(&ioapic_lock);
    ioapic_write(io, reg, REDIR_MASKED);
    if (remap) {
        s = remap(io->id, target, (uint8_t)low, low & REDIR_LEVEL, &entry);
        high = REDIR_REMAPPABLE | REDIR_ENTRY(entry);
    }
    if (s == OK) {
        ioapic_write(io, reg + 1, high);
        ioapic_write(io, reg, low);
    }
    spin_unlock(&ioapic_lock);
    return s;
}

void apic_remap(apic_remap_fn *fn)
{
    remap = fn;
    for (uint32_t i = 0; i < ioapic_count; i++) {
        for (uint32_t pin = 0; pin < ioapics[i].pins; pin++) {
            spin_lock(&ioapic_lock);
            uint32_t low = ioapic_read(&ioapics[i], IOAPIC_REDIR + 2 * pin);
            spin_unlock(&ioapic_lock);
            if (low & REDIR_MASKED)
                continue;
            low &= 0xffu | REDIR_LEVEL | REDIR_LOW_ACTIVE;
            enum status s = route(&ioapics[i], pin, low);
            if (s != OK)
                log_warn("apic", "interrupt %u cannot be remapped and stays off: %s",
                         ioapics[i].gsi_base + pin, status_name(s));
        }
    }
}

enum status apic_route_gsi(uint32_t gsi, uint8_t vector, bool level, bool active_low)
{
    for (uint32_t i = 0; i < ioapic_count; i++) {
        const struct ioapic *io = &ioapics[i];
        if (gsi < io->gsi_base || gsi - io->gsi_base >= io->pins)
            continue;
        return route(io, gsi - io->gsi_base,
                     vector | (level ? REDIR_LEVEL : 0) | (active_low ? REDIR_LOW_ACTIVE : 0));
    }
    return ERR_NOTFOUND;
}

enum status apic_route_isa(uint8_t irq, uint8_t vector)
{
    if (!tables || irq > 15)
        return ERR_NOTFOUND;
    for (uint32_t i = 0; i < tables->override_count; i++)
        if (tables->overrides[i].isa_irq == irq)
            return apic_route_gsi(tables->overrides[i].gsi, vector, tables->overrides[i].level,
                                  tables->overrides[i].active_low);
    return apic_route_gsi(irq, vector, false, false);
}

/// LAPIC timer ticks in 100 microseconds of TSC time. All CPUs of a machine have the same timer clock.
static void measure_timer(void)
{
    uint64_t ticks = time_ns_to_tsc(100000);
    apic_write(APIC_LVT_TIMER, LVT_MASKED);
    apic_write(APIC_TIMER_DIVIDE, TIMER_DIVIDE_1);
    apic_write(APIC_TIMER_INIT, 0xffffffffu);
    uint64_t start = rdtsc();
    while (rdtsc() - start < ticks)
        cpu_pause();
    uint64_t counted = 0xffffffffu - apic_read(APIC_TIMER_CURRENT);
    apic_write(APIC_TIMER_INIT, 0);
    timer_hz = counted * 10000;
}

void apic_timer(uint8_t vector, uint64_t ns)
{
    if (deadline) {
        apic_write(APIC_LVT_TIMER, ns ? LVT_TSC_DEADLINE | vector : LVT_MASKED);
        mfence(); // the xAPIC page write above is ordered before the MSR (SDM vol. 3, 10.5.4.1)
        wrmsr(IA32_TSC_DEADLINE, ns ? rdtsc() + time_ns_to_tsc(ns) : 0);
        return;
    }
    if (timer_hz == 0)
        measure_timer();
    uint64_t count = ns / 1000 * (timer_hz / 1000) / 1000 + 1;
    apic_write(APIC_LVT_TIMER, ns ? vector : LVT_MASKED);
    apic_write(APIC_TIMER_DIVIDE, TIMER_DIVIDE_1);
    apic_write(APIC_TIMER_INIT, ns == 0 ? 0 : count > 0xffffffffu ? 0xffffffffu : (uint32_t)count);
}
