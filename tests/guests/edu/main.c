// SPDX-License-Identifier: BSD-2-Clause
// edu: DMA of QEMU's teaching device (QEMU documentation, "EDU device"), whose buffer of 4 KiB it copies to
// and from memory. Random sizes at random places go there and back; their end is told by MSI, by the
// command register, or by nothing but the bytes that arrive. Meanwhile the guest goes on writing other bytes
// of the same pages. Invariant that is looked at: memory is what a model of it says, every byte of it, after
// each transfer. Each finding is a line "edu: NAME = ...".
#include "tests/guests/lib/boot.h"
#include "tests/guests/lib/console.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/edu.h"
#include "tests/guests/lib/fault.h"
#include "tests/guests/lib/pci.h"
#include "tests/guests/lib/text.h"

#define LAPIC     0xfee00000u
#define LAPIC_EOI 0x0b0u
#define LAPIC_SVR 0x0f0u
#define VECTOR    0x41u
#define SPURIOUS  0xffu
#define AREA      0x8000u
#define MARGIN    64u // bytes on each side of a transfer that the guest writes meanwhile
#define PATIENCE  4000000000ull

extern const char edu_entry_0x41[], edu_entry_0xff[];
void edu_interrupt(uint32_t vector); // called by vectors.S

enum end { END_MSI, END_REGISTER, END_BYTES, END_COUNT };
static const char *const end_names[] = {"by MSI", "by its register", "by the bytes alone"};

static _Alignas(4096) volatile uint8_t area[AREA];
static uint8_t model[AREA];             // what must be there
static uint8_t device[EDU_BUFFER_SIZE]; // what must be in edu's buffer
static volatile uint32_t taken[256];    // interrupts
static uint32_t base;                   // of BAR 0
static uint32_t random_state = 0x2f6e2b1;
static unsigned findings, failed;

#define FINDING(holds, ...)                                                                                  \
    do {                                                                                                     \
        bool holds_ = (holds);                                                                               \
        findings++;                                                                                          \
        failed += !holds_;                                                                                   \
        print("edu: ");                                                                                      \
        print(__VA_ARGS__);                                                                                  \
        print("%s\n", holds_ ? "" : " FAILED");                                                              \
    } while (0)

void edu_interrupt(uint32_t vector)
{
    taken[vector]++;
    if (vector == SPURIOUS)
        return;
    mmio_write32(base + EDU_IRQ_ACK, mmio_read32(base + EDU_IRQ_STATUS));
    mmio_write32(LAPIC + LAPIC_EOI, 0);
}

static uint32_t random_below(uint32_t n)
{
    return next_random(&random_state) % n;
}

/// Bytes of the area that are not as the model says.
static uint32_t differences(void)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < AREA; i++)
        n += area[i] != model[i];
    return n;
}

static void guest_writes(uint32_t at, uint8_t value)
{
    area[at] = value;
    model[at] = value;
}

/// A byte on each side of the transfer, other ones each time.
static void write_beside(uint32_t at, uint32_t size)
{
    uint32_t r = next_random(&random_state);
    guest_writes(at - 1 - r % MARGIN, (uint8_t)(r >> 8));
    guest_writes(at + size + (r >> 16) % MARGIN, (uint8_t)(r >> 24));
}

static bool arrived(uint32_t at, uint32_t size)
{
    for (uint32_t i = size; i > 0; i--)
        if (area[at + i - 1] != model[at + i - 1])
            return false;
    return true;
}

/// Waits for the end of a transfer at `at`, and writes beside it until then. False: it does not end.
static bool wait(enum end end, uint32_t interrupts, uint32_t at, uint32_t size)
{
    uint64_t limit = rdtsc() + PATIENCE;
    for (;;) {
        write_beside(at, size);
        __asm__ volatile("sti; nop; nop; cli" ::: "memory");
        bool over = end == END_MSI        ? taken[VECTOR] != interrupts
                    : end == END_REGISTER ? !edu_dma_runs(base)
                                          : arrived(at, size);
        if (over || rdtsc() > limit)
            return over;
    }
}

struct result {
    uint32_t transfers, unfinished, wrong, interrupts;
};

/// area[at] -> buffer -> area[back], and nothing else may change.
static void there_and_back(struct result *r, enum end end)
{
    uint32_t size = 1 + random_below(r->transfers % 4 == 0 ? 16 : EDU_BUFFER_SIZE),
             offset = random_below(EDU_BUFFER_SIZE - size + 1);
    uint32_t at = MARGIN + random_below(AREA - 2 * MARGIN - size);
    uint32_t back = MARGIN + random_below(AREA - 2 * MARGIN - size);
    uint32_t irq = end == END_MSI ? EDU_DMA_IRQ : 0, before = taken[VECTOR];

    for (uint32_t i = 0; i < size; i++)
        guest_writes(at + i, (uint8_t)next_random(&random_state));
    edu_dma_start(base, (uint32_t)&area[at], offset, size, irq);
    // where the bytes go shows nothing in this direction
    r->unfinished += !wait(end == END_BYTES ? END_REGISTER : end, before, at, size);
    for (uint32_t i = 0; i < size; i++)
        device[offset + i] = model[at + i];

    for (uint32_t i = 0; i < size; i++)
        guest_writes(back + i, (uint8_t)~device[offset + i]);
    before = taken[VECTOR];
    for (uint32_t i = 0; i < size; i++)
        model[back + i] = device[offset + i];
    edu_dma_start(base, (uint32_t)&area[back], offset, size, irq | EDU_DMA_TO_RAM);
    r->unfinished += !wait(end, before, back, size);
    r->wrong += differences();
    r->transfers += 2;
}

static void transfers(enum end end, uint32_t count)
{
    struct result r = {.interrupts = taken[VECTOR]};
    while (r.transfers < count)
        there_and_back(&r, end);
    uint32_t interrupts = taken[VECTOR] - r.interrupts;
    FINDING(r.unfinished == 0, "end %s: %u transfers, %u without an end", end_names[end], r.transfers,
            r.unfinished);
    FINDING(r.wrong == 0, "end %s: %u bytes wrong", end_names[end], r.wrong);
    FINDING(interrupts == (end == END_MSI ? r.transfers : 0), "end %s: %u interrupts", end_names[end],
            interrupts);
}

/// All of edu's buffer over two pages, aligned and not.
static void whole_pages(void)
{
    uint32_t wrong = 0;
    for (uint32_t at = 0x1000; at <= 0x5800; at += 0x1800) {
        for (uint32_t i = 0; i < EDU_BUFFER_SIZE; i++) {
            device[i] = (uint8_t)next_random(&random_state);
            guest_writes(at + i, device[i]);
        }
        edu_dma_start(base, (uint32_t)&area[at], 0, EDU_BUFFER_SIZE, 0);
        wrong += !wait(END_REGISTER, 0, at, EDU_BUFFER_SIZE);
        for (uint32_t i = 0; i < EDU_BUFFER_SIZE; i++) {
            guest_writes(at + i, 0);
            model[at + i] = device[i];
        }
        edu_dma_start(base, (uint32_t)&area[at], 0, EDU_BUFFER_SIZE, EDU_DMA_TO_RAM);
        wrong += !wait(END_REGISTER, 0, at, EDU_BUFFER_SIZE);
        wrong += differences();
    }
    FINDING(wrong == 0, "whole buffer: %u wrong", wrong);
}

static void not_allowed_to(pci_bdf at)
{
    uint32_t command = pci_read(at, PCI_COMMAND, 2);
    pci_write(at, PCI_COMMAND, 2, command & ~PCI_COMMAND_MASTER);
    edu_dma_start(base, (uint32_t)&area[0x2000], 0, 256, EDU_DMA_TO_RAM);
    (void)wait(END_REGISTER, 0, 0x4000, 256);
    FINDING(differences() == 0, "bus mastering off: %u bytes changed", differences());
    pci_write(at, PCI_COMMAND, 2, command);
}

static void identify(void)
{
    FINDING(mmio_read32(base + EDU_ID) == 0x010000ed, "id = 0x%08x", mmio_read32(base + EDU_ID));
    mmio_write32(base + EDU_LIVENESS, 0x13579bdf);
    FINDING(mmio_read32(base + EDU_LIVENESS) == ~0x13579bdfu, "liveness = 0x%08x",
            mmio_read32(base + EDU_LIVENESS));
    mmio_write32(base + EDU_FACTORIAL, 10);
    for (uint64_t limit = rdtsc() + PATIENCE;
         (mmio_read32(base + EDU_STATUS) & EDU_STATUS_BUSY) && rdtsc() < limit;)
        ;
    FINDING(mmio_read32(base + EDU_FACTORIAL) == 3628800, "factorial = %u",
            mmio_read32(base + EDU_FACTORIAL));
}

int guest_main(void)
{
    uint32_t count = option_number("count", 20);
    fault_set_gate(VECTOR, edu_entry_0x41);
    fault_set_gate(SPURIOUS, edu_entry_0xff);
    out8(0x21, 0xff); // the 8259s are not used
    out8(0xa1, 0xff);
    mmio_write32(LAPIC + LAPIC_SVR, 0x1ff);

    pci_bdf at = pci_find_id(EDU_VENDOR, EDU_DEVICE);
    FINDING(at != PCI_NONE, "found = %u", at != PCI_NONE);
    if (at == PCI_NONE)
        return 1;
    base = (uint32_t)bar_use(at, 0, true).base;
    identify();
    for (uint32_t i = 0; i < AREA; i++)
        guest_writes(i, (uint8_t)next_random(&random_state));
    not_allowed_to(at);
    pci_write(at, PCI_COMMAND, 2, pci_read(at, PCI_COMMAND, 2) | PCI_COMMAND_NOINTX | PCI_COMMAND_MASTER);
    uint16_t msi = pci_capability(at, PCI_CAP_MSI);
    FINDING(msi != 0, "MSI capability = %u", msi != 0);
    whole_pages();
    transfers(END_REGISTER, count);
    transfers(END_BYTES, count);
    if (msi) {
        pci_msi_message(at, msi, LAPIC, VECTOR);
        pci_write(at, (uint16_t)(msi + 2), 2, pci_read(at, (uint16_t)(msi + 2), 2) | 1);
        transfers(END_MSI, count);
    }
    FINDING(taken[SPURIOUS] == 0, "spurious = %u", taken[SPURIOUS]);
    print("edu: %u findings, %u failed\n", findings, failed);
    return failed != 0;
}
