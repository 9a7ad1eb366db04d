// SPDX-License-Identifier: BSD-2-Clause
// irq: takes interrupts of QEMU's edu (register 0x60 raises, 0x64 acknowledges) by MSI and by INTx, and of
// ivshmem-doorbell (MSI-X, vectors of the own peer) when it is there. Counts them by vector: none may be lost
// or invented. Each finding is a line "irq: NAME = ...".
#include "tests/guests/lib/boot.h"
#include "tests/guests/lib/console.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/fault.h"
#include "tests/guests/lib/pci.h"

#define EDU_STATUS 0x24u // interrupt status
#define EDU_RAISE  0x60u
#define EDU_ACK    0x64u

#define LAPIC     0xfee00000u
#define LAPIC_EOI 0x0b0u
#define LAPIC_SVR 0x0f0u
#define LAPIC_IRR 0x200u
#define LAPIC_ISR 0x100u
#define IOAPIC    0xfec00000u

#define INTX_DISABLE 0x0400u
#define MSI_MASKABLE 0x0100u
#define MSI_64       0x0080u

enum { MSI_VECTOR = 0x41, OTHER_VECTOR = 0x42, INTX_VECTOR = 0x43, MSIX_VECTOR = 0x44 };

extern const char irq_entry_0x41[], irq_entry_0x42[], irq_entry_0x43[], irq_entry_0x44[], irq_entry_0xff[];
void irq_taken(uint32_t vector); // called by vectors.S

static volatile uint32_t taken[256], served; // served: bits of edu's status that the handlers acknowledged
static volatile uint32_t edu;                // BAR 0
static unsigned findings, failed;

#define FINDING(holds, ...)                                                                                  \
    do {                                                                                                     \
        bool holds_ = (holds);                                                                               \
        findings++;                                                                                          \
        failed += !holds_;                                                                                   \
        print("irq: ");                                                                                      \
        print(__VA_ARGS__);                                                                                  \
        print("%s\n", holds_ ? "" : " FAILED");                                                              \
    } while (0)

void irq_taken(uint32_t vector)
{
    taken[vector]++;
    if (vector == 0xff)
        return;
    if (vector != MSIX_VECTOR && edu) {
        uint32_t status = mmio_read32(edu + EDU_STATUS);
        if (status) {
            mmio_write32(edu + EDU_ACK, status);
            served |= status;
        }
    }
    mmio_write32(LAPIC + LAPIC_EOI, 0);
}

static void interrupts(bool on)
{
    if (on)
        __asm__ volatile("sti; nop" ::: "memory");
    else
        __asm__ volatile("cli" ::: "memory");
}

/// Sleeps until vector was taken `count` times; gives up when much time has passed without it.
static bool wait_taken(uint32_t vector, uint32_t count)
{
    uint64_t limit = rdtsc() + 2000000000ull;
    while (taken[vector] < count && rdtsc() < limit)
        __asm__ volatile("sti; nop; cli" ::: "memory");
    return taken[vector] >= count;
}

/// Time for something that must not come.
static void idle(uint64_t ticks)
{
    uint64_t limit = rdtsc() + ticks;
    while (rdtsc() < limit)
        __asm__ volatile("sti; nop; cli" ::: "memory");
}
#define A_WHILE 20000000ull

static uint32_t irr(uint32_t vector)
{
    return mmio_read32(LAPIC + LAPIC_IRR + (vector / 32) * 16) >> vector % 32 & 1;
}

static void raise(uint32_t bits)
{
    mmio_write32(edu + EDU_RAISE, bits);
}

static void msi(pci_bdf at)
{
    uint16_t cap = pci_capability(at, PCI_CAP_MSI);
    FINDING(cap != 0, "msi.capability = %u", cap != 0);
    if (!cap)
        return;
    uint32_t control = pci_read(at, (uint16_t)(cap + 2), 2);
    FINDING((control & 0x71) == 0, "msi.control = 0x%04x", control);
    raise(1); // not enabled, INTx disabled: nothing
    idle(A_WHILE);
    FINDING(taken[MSI_VECTOR] == 0, "msi.before enabling = %u", taken[MSI_VECTOR]);
    mmio_write32(edu + EDU_ACK, 0xffffffff);

    pci_msi_message(at, cap, LAPIC, MSI_VECTOR);
    pci_write(at, (uint16_t)(cap + 2), 2, control | 1);
    uint32_t wrong = 0, count = option_number("count", 20);
    for (uint32_t i = 0; i < count; i++) {
        served = 0;
        raise(1u << i % 32);
        if (!wait_taken(MSI_VECTOR, i + 1) || served != 1u << i % 32)
            wrong++;
    }
    FINDING(taken[MSI_VECTOR] == count && wrong == 0, "msi.taken = %u of %u, %u wrong", taken[MSI_VECTOR],
            count, wrong);
    idle(A_WHILE);
    FINDING(taken[MSI_VECTOR] == count, "msi.afterwards = %u", taken[MSI_VECTOR]);

    // while it runs with interrupts off: pending in the local APIC, taken when they are on again
    raise(2);
    uint64_t limit = rdtsc() + 2000000000ull;
    while (!irr(MSI_VECTOR) && rdtsc() < limit)
        ;
    FINDING(irr(MSI_VECTOR) == 1, "msi.requested with interrupts off = %u", irr(MSI_VECTOR));
    FINDING(wait_taken(MSI_VECTOR, count + 1), "msi.taken with interrupts on = %u",
            taken[MSI_VECTOR] - count);

    if (!taken[MSI_VECTOR])
        return; // it would sleep for ever
    raise(4);
    __asm__ volatile("sti; hlt; cli" ::: "memory");
    FINDING(taken[MSI_VECTOR] == count + 2, "msi.woke from HLT = %u", taken[MSI_VECTOR] - count - 1);

    // another vector
    pci_msi_message(at, cap, LAPIC, OTHER_VECTOR);
    raise(8);
    FINDING(wait_taken(OTHER_VECTOR, 1) && taken[MSI_VECTOR] == count + 2, "msi.to another vector = %u",
            taken[OTHER_VECTOR]);
    if (option_given("bad")) { // no interrupt may have this vector (SDM vol. 3, 11.5.2); QEMU delivers it
        pci_msi_message(at, cap, LAPIC, 0x05);
        raise(16);
        idle(A_WHILE);
        mmio_write32(edu + EDU_ACK, 0xffffffff);
    }
    pci_msi_message(at, cap, LAPIC, MSI_VECTOR);
    if (control & MSI_MASKABLE) {
        uint16_t mask = (uint16_t)(cap + (control & MSI_64 ? 16 : 12));
        pci_write(at, mask, 4, 1);
        raise(32);
        idle(A_WHILE);
        FINDING(taken[MSI_VECTOR] == count + 2 && pci_read(at, (uint16_t)(mask + 4), 4) == 1,
                "msi.masked pending = %u", pci_read(at, (uint16_t)(mask + 4), 4));
        pci_write(at, mask, 4, 0);
        FINDING(wait_taken(MSI_VECTOR, count + 3), "msi.unmasked = %u", taken[MSI_VECTOR] - count - 2);
    }
    uint32_t before = taken[MSI_VECTOR];
    pci_write(at, (uint16_t)(cap + 2), 2, control);
    raise(64);
    idle(A_WHILE);
    FINDING(taken[MSI_VECTOR] == before, "msi.after disabling = %u", taken[MSI_VECTOR] - before);
    mmio_write32(edu + EDU_ACK, 0xffffffff);
}

static void ioapic(uint32_t index, uint32_t value)
{
    mmio_write32(IOAPIC, index);
    mmio_write32(IOAPIC + 0x10, value);
}

static void intx(pci_bdf at)
{
    uint32_t pin = pci_read(at, 0x3d, 1);
    FINDING(pin >= 1 && pin <= 4, "intx.pin = %u", pin);
    if (pin < 1 || pin > 4)
        return;
    uint32_t gsi = option_number("gsi", 16 + ((at >> 3 & 31u) + pin - 1) % 4);
    ioapic(0x10 + 2 * gsi + 1, 0);
    ioapic(0x10 + 2 * gsi, INTX_VECTOR | 1u << 13 | 1u << 15); // level, active low
    pci_write(at, PCI_COMMAND, 2, pci_read(at, PCI_COMMAND, 2) & ~INTX_DISABLE);
    uint32_t wrong = 0, count = option_number("count", 20);
    for (uint32_t i = 0; i < count; i++) {
        served = 0;
        raise(1u << i % 32);
        if (!wait_taken(INTX_VECTOR, i + 1) || served != 1u << i % 32)
            wrong++;
        idle(200000);
        wrong += taken[INTX_VECTOR] != i + 1;
    }
    FINDING(taken[INTX_VECTOR] == count && wrong == 0, "intx.taken = %u of %u, %u wrong", taken[INTX_VECTOR],
            count, wrong);
    if (!taken[INTX_VECTOR])
        return; // it would sleep for ever
    raise(1);
    __asm__ volatile("sti; hlt; cli" ::: "memory");
    idle(A_WHILE);
    FINDING(taken[INTX_VECTOR] == count + 1, "intx.woke from HLT = %u", taken[INTX_VECTOR] - count);

    // masked at the I/O APIC while it is raised: comes when unmasked
    ioapic(0x10 + 2 * gsi, INTX_VECTOR | 1u << 13 | 1u << 15 | 1u << 16);
    raise(1);
    idle(A_WHILE);
    FINDING(taken[INTX_VECTOR] == count + 1, "intx.masked = %u", taken[INTX_VECTOR] - count - 1);
    ioapic(0x10 + 2 * gsi, INTX_VECTOR | 1u << 13 | 1u << 15);
    FINDING(wait_taken(INTX_VECTOR, count + 2), "intx.unmasked = %u", taken[INTX_VECTOR] - count - 1);
    idle(A_WHILE);

    // withdrawn before it is unmasked: never comes
    ioapic(0x10 + 2 * gsi, INTX_VECTOR | 1u << 13 | 1u << 15 | 1u << 16);
    raise(1);
    idle(A_WHILE);
    mmio_write32(edu + EDU_ACK, 0xffffffff);
    (void)mmio_read32(edu + EDU_STATUS);
    idle(A_WHILE);
    ioapic(0x10 + 2 * gsi, INTX_VECTOR | 1u << 13 | 1u << 15);
    idle(A_WHILE);
    FINDING(taken[INTX_VECTOR] == count + 2, "intx.withdrawn = %u", taken[INTX_VECTOR] - count - 2);

    pci_write(at, PCI_COMMAND, 2, pci_read(at, PCI_COMMAND, 2) | INTX_DISABLE);
    raise(1);
    idle(A_WHILE);
    FINDING(taken[INTX_VECTOR] == count + 2, "intx.disabled = %u", taken[INTX_VECTOR] - count - 2);
    mmio_write32(edu + EDU_ACK, 0xffffffff);
    ioapic(0x10 + 2 * gsi, 1u << 16);
}

/// ivshmem-doorbell: BAR 0 has IVPosition (8) and Doorbell (12: peer << 16 | vector); the table is in BAR 1.
static void msix(pci_bdf at)
{
    uint16_t cap = pci_capability(at, PCI_CAP_MSIX);
    FINDING(cap != 0, "msix.capability = %u", cap != 0);
    if (!cap)
        return;
    uint32_t regs = (uint32_t)bar_use(at, 0, true).base;
    uint32_t control = pci_read(at, (uint16_t)(cap + 2), 2), where = pci_read(at, (uint16_t)(cap + 4), 4);
    uint32_t pba_where = pci_read(at, (uint16_t)(cap + 8), 4);
    uint32_t table = (uint32_t)bar_use(at, where & 7, true).base + (where & ~7u);
    uint32_t pba = (uint32_t)bar_use(at, pba_where & 7, true).base + (pba_where & ~7u);
    uint32_t entries = (control & 0x7ff) + 1, self = mmio_read32(regs + 8);
    FINDING(entries >= 2, "msix.entries = %u, peer %u", entries, self);
    FINDING(mmio_read32(table + 12) == 1 && mmio_read32(table + 28) == 1, "msix.masked at first = %u",
            mmio_read32(table + 12));
    pci_write(at, (uint16_t)(cap + 2), 2, control | 0x8000);
    for (uint32_t i = 0; i < 2; i++) {
        mmio_write32(table + 16 * i, LAPIC);
        mmio_write32(table + 16 * i + 4, 0);
        mmio_write32(table + 16 * i + 8, i ? OTHER_VECTOR : MSIX_VECTOR);
    }
    FINDING(mmio_read32(table) == LAPIC && mmio_read32(table + 24) == OTHER_VECTOR,
            "msix.table = 0x%08x 0x%02x", mmio_read32(table), mmio_read32(table + 24));
    uint32_t other = taken[OTHER_VECTOR];
    mmio_write32(table + 12, 0);
    mmio_write32(table + 28, 0);
    uint32_t wrong = 0, count = option_number("count", 20);
    for (uint32_t i = 0; i < count; i++) {
        mmio_write32(regs + 12, self << 16);
        wrong += !wait_taken(MSIX_VECTOR, i + 1);
    }
    FINDING(taken[MSIX_VECTOR] == count && wrong == 0, "msix.taken = %u of %u", taken[MSIX_VECTOR], count);
    mmio_write32(regs + 12, self << 16 | 1);
    FINDING(wait_taken(OTHER_VECTOR, other + 1) && taken[MSIX_VECTOR] == count, "msix.entry 1 = %u",
            taken[OTHER_VECTOR] - other);
    mmio_write32(table + 12, 1);
    mmio_write32(regs + 12, self << 16);
    idle(A_WHILE);
    FINDING(taken[MSIX_VECTOR] == count && mmio_read32(pba) == 1, "msix.masked pending = 0x%x",
            mmio_read32(pba));
    mmio_write32(table + 8, OTHER_VECTOR);
    mmio_write32(table + 12, 0);
    FINDING(wait_taken(OTHER_VECTOR, other + 2) && mmio_read32(pba) == 0,
            "msix.unmasked to another vector = %u", taken[OTHER_VECTOR] - other - 1);
    pci_write(at, (uint16_t)(cap + 2), 2, control | 0xc000);
    mmio_write32(regs + 12, self << 16);
    idle(A_WHILE);
    FINDING(taken[OTHER_VECTOR] == other + 2, "msix.function masked = %u", taken[OTHER_VECTOR] - other - 2);
    pci_write(at, (uint16_t)(cap + 2), 2, control | 0x8000);
    FINDING(wait_taken(OTHER_VECTOR, other + 3), "msix.function unmasked = %u",
            taken[OTHER_VECTOR] - other - 2);
    pci_write(at, (uint16_t)(cap + 2), 2, control);
}

int guest_main(void)
{
    static const struct {
        unsigned vector;
        const char *entry;
    } gates[] = {{0x41, irq_entry_0x41},
                 {0x42, irq_entry_0x42},
                 {0x43, irq_entry_0x43},
                 {0x44, irq_entry_0x44},
                 {0xff, irq_entry_0xff}};
    for (unsigned i = 0; i < sizeof gates / sizeof gates[0]; i++)
        fault_set_gate(gates[i].vector, gates[i].entry);
    interrupts(false);
    out8(0x21, 0xff); // the 8259s are not used
    out8(0xa1, 0xff);
    mmio_write32(LAPIC + LAPIC_SVR, 0x1ff);

    pci_bdf at = pci_find_id(0x1234, 0x11e8);
    if (at != PCI_NONE) {
        edu = (uint32_t)bar_use(at, 0, true).base;
        // master=1: bus mastering, which an MSI needs; without DMA a remote sees to it by itself
        pci_write(at, PCI_COMMAND, 2,
                  pci_read(at, PCI_COMMAND, 2) | INTX_DISABLE | option_number("master", 0) << 2);
        msi(at);
        intx(at);
    }
    at = pci_find_id(0x1af4, 0x1110);
    if (at != PCI_NONE) {
        pci_write(at, PCI_COMMAND, 2,
                  pci_read(at, PCI_COMMAND, 2) | INTX_DISABLE | option_number("master", 0) << 2);
        msix(at);
    }
    FINDING(taken[0xff] == 0, "spurious = %u", taken[0xff]);
    print("irq: %u findings, %u failed\n", findings, failed);
    return failed != 0;
}
