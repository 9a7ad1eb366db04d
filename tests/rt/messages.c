// SPDX-License-Identifier: BSD-2-Clause
// selftest's command `messages`: interrupt remapping of drivers/vtd.h on a real unit. QEMU's edu (start it
// with dma_mask=0xffffffffffffffff) sends messages, its own and forged ones, as MSI and by DMA; the UART
// sends its own through the I/O APIC. What comes is counted by vector.
#include "drivers/apic.h"
#include "drivers/machine.h"
#include "drivers/pci.h"
#include "drivers/uart.h"
#include "drivers/vtd.h"
#include "rt/irq.h"
#include "rt/log.h"
#include "rt/paging.h"
#include "rt/time.h"
#include "rt/x86.h"
#include "tests/rt/iommu.h"

#define say(...) log_info("selftest", __VA_ARGS__)

#define EDU_RAISE  0x60u
#define EDU_ACK    0x64u
#define EDU_BUFFER 0x40000u

enum { OWN, OTHERS, FREE, UART, VECTORS };

static volatile unsigned came[VECTORS];
static uint8_t vectors[VECTORS];
static volatile uint8_t *edu;
static struct pci_device *device;

static void on_vector(void *ctx, uint8_t vector)
{
    unsigned which = (unsigned)(uintptr_t)ctx;
    came[which]++;
    if (which == UART)
        uart_interrupt(NULL, vector);
}

static void tell(const char *what)
{
    struct vtd_fault f;
    unsigned faults = 0, reason = 0;
    sti();
    time_delay_us(2000);
    cli();
    while (vtd_take_fault(&f, NULL)) {
        faults++;
        reason = f.reason;
    }
    say("messages %s: own %u, other's %u, free %u; %u faults, reason 0x%x", what, came[OWN], came[OTHERS],
        came[FREE], faults, reason);
    came[OWN] = came[OTHERS] = came[FREE] = 0;
}

static void by_msi(const char *what, struct pci_message m)
{
    if (pci_msi_enable(device, m) != OK)
        return;
    mmio_write32(edu + EDU_RAISE, 1);
    mmio_write32(edu + EDU_ACK, 1);
    tell(what);
}

static void by_dma(const char *what, struct pci_message m)
{
    phys_t page = frames_alloc(1, FRAME_SIZE, 0);
    if (page == FRAME_NONE)
        return;
    *(volatile uint32_t *)phys_to_virt(page) = m.data;
    edu_transfer(edu, page, 4, false);
    edu_transfer(edu, m.address, 4, true);
    frames_free(page, 1);
    tell(what);
}

void run_messages(int argc, char *argv[])
{
    (void)argc;
    (void)argv;
    const struct acpi_info *acpi = machine_acpi();
    const struct pci_device other = {.at = {0, 0, 0xf8}};
    struct pci_message own, others, nobodys, away;
    device = edu_find();
    enum status s =
        vtd_start(acpi->dmar ? machine_table(acpi->dmar, acpi->dmar_size) : NULL, acpi->dmar_size);
    if (s == OK)
        s = vtd_start_interrupts(apic_is_x2apic());
    for (unsigned i = 0; i < VECTORS && s == OK; i++)
        s = irq_alloc(on_vector, (void *)(uintptr_t)i, &vectors[i]);
    if (s != OK || !device) {
        say("messages %s, edu %s", status_name(s), device ? "there" : "not there");
        return;
    }
    apic_remap(vtd_interrupt_pin);
    uart_interrupt(NULL, 0);
    edu = mmio_map(device->bars[0].base, device->bars[0].size);
    pci_enable(device, true);
    if (vtd_interrupt(device, apic_id(), vectors[OWN], &own) != OK ||
        vtd_interrupt(&other, apic_id(), vectors[OTHERS], &others) != OK)
        return;
    nobodys = others;
    nobodys.address += (uint32_t)(vectors[FREE] - vectors[OTHERS]) << 5;
    by_msi("its own", own);
    by_msi("another's", others);
    by_msi("nobody's", nobodys);
    by_dma("its own by DMA", own);
    by_dma("nobody's by DMA", nobodys);
    by_dma("behind the table by DMA", (struct pci_message){0xfee00010u | 0x7fe0u << 5, 0});
    by_msi("of the old format", (struct pci_message){0xfee00000u | apic_id() << 12, vectors[FREE]});
    if (vtd_interrupt(&other, apic_id(), vectors[OWN], &away) != OK)
        return;
    by_msi("taken away", own);
    pci_msi_disable(device);
    if (apic_route_isa(UART_ISA_IRQ, vectors[UART]) != OK)
        return;
    uart_irq_enable();
    for (unsigned i = 0; i < 8; i++)
        say("messages: words for the UART, which sends an interrupt when it has sent sixteen of these bytes");
    sti();
    uart_drain();
    cli();
    say("messages end: UART %s", came[UART] ? "heard" : "not heard");
}
