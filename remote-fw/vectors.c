// SPDX-License-Identifier: BSD-2-Clause
// remote-fw/vectors.h. Message address and data: SDM vol. 3, 11.11 (physical destination, fixed, edge).
#include "remote-fw/vectors.h"
#include "drivers/apic.h"
#include "drivers/machine.h"
#include "drivers/vtd.h"
#include "remote-fw/interrupts.h"
#include "rt/irq.h"
#include "rt/log.h"
#include "rt/x86.h"

#define MESSAGE_ADDRESS 0xfee00000u

static uint32_t boot_cpu;

static void on_message(void *ctx, uint8_t vector)
{
    (void)vector;
    interrupts_raise((unsigned)(uintptr_t)ctx);
}

static enum status take_vector(unsigned slot, struct interrupt_message *message)
{
    uint8_t vector;
    if (boot_cpu > 0xff)
        return ERR_UNSUPPORTED;
    enum status s = irq_alloc(on_message, (void *)(uintptr_t)slot, &vector);
    if (s == OK)
        *message = (struct interrupt_message){.address = MESSAGE_ADDRESS | boot_cpu << 12, .data = vector};
    return s;
}

static const char *why_not(enum status s)
{
    switch (s) {
    case ERR_NOTFOUND:
        return "this machine has no VT-d, or it is off in the firmware setup";
    case ERR_UNSUPPORTED:
        return "its VT-d cannot pass requests through";
    default:
        return status_name(s);
    }
}

void vectors_start(struct functions *functions)
{
    boot_cpu = apic_id();
    interrupts_start(take_vector);
    const struct acpi_info *acpi = machine_acpi();
    enum status s =
        vtd_start(acpi->dmar ? machine_table(acpi->dmar, acpi->dmar_size) : NULL, acpi->dmar_size);
    if (s != OK) {
        log_warn("lend", "no MSI for lent functions, only INTx: %s", why_not(s));
        return;
    }
    unsigned confined = 0;
    for (unsigned i = 0; i < functions->count; i++) {
        struct function *f = &functions->all[i];
        const struct pci_device *dev =
            pci_find((struct pci_address){f->info.at.segment, f->info.at.bus, f->info.at.devfn});
        if (!dev || vtd_block(dev) != OK) {
            log_warn("lend", PCI_FORMAT ": only INTx: VT-d cannot tell its requests from others'",
                     PCI_ARGS(f->info.at));
            continue;
        }
        f->info.flags |= WIRE_FN_MSI;
        confined++;
    }
    log_info("lend", "VT-d keeps %u of %u lent functions from this machine's memory", confined,
             functions->count);
}

void vectors_breathe(void)
{
    sti();
    __asm__ volatile("nop"); // STI holds interrupts off for one instruction
    cli();
}
