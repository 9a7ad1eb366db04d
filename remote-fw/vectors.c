// SPDX-License-Identifier: BSD-2-Clause
// remote-fw/vectors.h. Invariant: a slot keeps its vector for ever, and the vector is its present function's.
#include "remote-fw/vectors.h"
#include "drivers/apic.h"
#include "drivers/machine.h"
#include "drivers/uart.h"
#include "drivers/vtd.h"
#include "remote-fw/interrupts.h"
#include "rt/irq.h"
#include "rt/log.h"
#include "rt/x86.h"

static uint32_t boot_cpu;
static uint8_t vectors[INTERRUPT_SLOTS]; // 0: none yet
static bool confined;

static void on_message(void *ctx, uint8_t vector)
{
    (void)vector;
    interrupts_raise((unsigned)(uintptr_t)ctx);
}

static const struct pci_device *device_of(const struct function *f)
{
    return pci_find((struct pci_address){f->info.at.segment, f->info.at.bus, f->info.at.devfn});
}

static enum status take_vector(unsigned slot, const struct function *f, struct interrupt_message *message)
{
    struct pci_message m;
    const struct pci_device *dev = device_of(f);
    if (!dev)
        return ERR_NOTFOUND;
    enum status s = OK;
    if (vectors[slot] == 0)
        s = irq_alloc(on_message, (void *)(uintptr_t)slot, &vectors[slot]);
    if (s == OK)
        s = vtd_interrupt(dev, boot_cpu, vectors[slot], &m);
    if (s == OK)
        *message = (struct interrupt_message){.address = m.address, .data = m.data};
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

void vectors_confine(bool unsafe)
{
    boot_cpu = apic_id();
    const struct acpi_info *acpi = machine_acpi();
    enum status s =
        vtd_start(acpi->dmar ? machine_table(acpi->dmar, acpi->dmar_size) : NULL, acpi->dmar_size);
    if (s != OK) {
        log_warn("lend", "no MSI for lent functions, only INTx: %s", why_not(s));
        return;
    }
    s = vtd_start_interrupts(apic_is_x2apic());
    if (s == OK) {
        apic_remap(vtd_interrupt_pin);
        uart_interrupt(NULL, 0); // an edge may have been lost
        log_info("lend", "VT-d remaps interrupts: a lent function sends its own and no others");
    } else if (unsafe) {
        log_warn(
            "lend",
            "unsafe-interrupts = yes: a guest can have a lent function stop or take over this machine by "
            "a forged interrupt (no interrupt remapping: %s)",
            status_name(s));
    } else {
        log_warn(
            "lend",
            "no MSI for lent functions, only INTx, and no bus mastering: this machine's VT-d does not "
            "remap interrupts (%s), so they could forge some; 'unsafe-interrupts = yes' in [node] allows "
            "that",
            status_name(s));
    }
    confined = s == OK || unsafe;
}

void vectors_start(struct functions *functions)
{
    interrupts_start(take_vector);
    unsigned count = 0;
    if (!confined)
        return;
    for (unsigned i = 0; i < functions->count; i++) {
        struct function *f = &functions->all[i];
        const struct pci_device *dev = device_of(f);
        if (!dev || vtd_block(dev) != OK) {
            log_warn("lend", PCI_FORMAT ": only INTx: VT-d cannot tell its requests from others'",
                     PCI_ARGS(f->info.at));
            continue;
        }
        f->info.flags |= WIRE_FN_MSI;
        count++;
    }
    interrupts_share(count);
    log_info("lend", "VT-d keeps %u of %u lent functions from this machine's memory", count,
             functions->count);
}

void vectors_breathe(void)
{
    sti();
    __asm__ volatile("nop"); // STI holds interrupts off for one instruction
    cli();
}
