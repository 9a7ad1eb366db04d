// SPDX-License-Identifier: BSD-2-Clause
// The table of NIC drivers, and the choice of one NIC on the bus. Must not know registers.
#include "drivers/nics.h"
#include "drivers/apic.h"
#include "drivers/e1000.h"
#include "drivers/intel_nic.h"
#include "drivers/pci_regs.h"
#include "drivers/virtio_net.h"
#include "drivers/vtd.h"
#include "rt/cpu.h"
#include "rt/irq.h"
#include "rt/log.h"
#include "rt/time.h"
#include "rt/x86.h"
#include <stddef.h>

static const struct nic_driver {
    uint16_t vendor, device;
    const char *model;
    enum status (*start)(struct pci_device *dev, struct nic **nic);
    irq_handler *interrupt;           // ctx is the struct nic
    void (*provoke)(struct nic *nic); // sends one interrupt
} drivers[] = {
    {0x8086, 0x100e, "Intel 82540EM", e1000_start, intel_interrupt, intel_provoke},
    {0x8086, 0x10d3, "Intel 82574L", e1000e_start, intel_interrupt, intel_provoke},
    {0x8086, 0x10c9, "Intel 82576", igb_start, intel_interrupt, intel_provoke},
    {0x8086, 0x1521, "Intel I350", igb_start, intel_interrupt, intel_provoke},
    {0x8086, 0x1533, "Intel I210", igb_start, intel_interrupt, intel_provoke},
    {0x1af4, 0x1041, "virtio 1.0", virtio_net_start, virtio_net_interrupt, virtio_net_provoke},
    {0x1af4, 0x1000, "virtio", virtio_net_start, virtio_net_interrupt, virtio_net_provoke}, // transitional
};

static const struct nic_driver *driver_of(const struct pci_device *dev)
{
    for (unsigned i = 0; i < sizeof drivers / sizeof drivers[0]; i++) {
        if (drivers[i].vendor == dev->vendor && drivers[i].device == dev->device)
            return &drivers[i];
    }
    return NULL;
}

#define ROUTES_MAX 4

static struct route {
    struct nic *nic;
    const struct nic_driver *driver;
    volatile bool heard;
} routes[ROUTES_MAX];
static unsigned route_count;

static void on_interrupt(void *ctx, uint8_t vector)
{
    struct route *r = ctx;
    r->heard = true;
    r->driver->interrupt(r->nic, vector);
}

/// MSI where the function has it, else MSI-X. Else INTx as the ISA interrupt the firmware noted in Interrupt
/// Line: where the I/O APIC has that wire (the i440fx of QEMU and Bochs) it works; on other machines only AML
/// knows the wire.
static enum status route_interrupt(struct pci_device *dev, uint8_t vector)
{
    if (dev->cap_msi || dev->cap_msix) {
        struct pci_message message;
        enum status s = vtd_interrupt(dev, cpu_get(0)->apic_id, vector, &message);
        if (s != OK)
            return s;
        return dev->cap_msi ? pci_msi_enable(dev, message) : pci_msix_enable(dev, message);
    }
    uint8_t line = (uint8_t)pci_config_read(dev->at, PCI_INTERRUPT_LINE, 1);
    if (dev->pin == 0 || line == 0)
        return ERR_UNSUPPORTED;
    uint32_t command = pci_config_read(dev->at, PCI_COMMAND, 2);
    pci_config_write(dev->at, PCI_COMMAND, 2, command & ~PCI_COMMAND_INTX_OFF);
    return apic_route_isa(line, vector);
}

/// Lets the NIC interrupt the boot CPU, if that can be routed and an interrupt sent for trial is heard there
/// (at most 50 ms: a virtual one may be late). Otherwise the NIC is polled. Runs on the boot CPU.
static const char *start_interrupt(struct pci_device *dev, const struct nic_driver *driver, struct nic *nic)
{
    uint8_t vector = 0;
    if (route_count == ROUTES_MAX)
        return "polled";
    struct route *r = &routes[route_count];
    *r = (struct route){.nic = nic, .driver = driver};
    if (irq_alloc(on_interrupt, r, &vector) != OK)
        return "polled";
    route_count++;
    if (route_interrupt(dev, vector) != OK)
        return "polled";
    driver->provoke(nic);
    sti();
    for (unsigned i = 0; i < 5000 && !r->heard; i++)
        time_delay_us(10);
    cli();
    if (!r->heard) {
        driver->interrupt(nic, vector); // quiet again
        pci_msi_disable(dev);
        pci_msix_disable(dev);
        return "polled: its interrupt is not heard";
    }
    nic->irq_vector = vector;
    return dev->cap_msi ? "MSI" : dev->cap_msix ? "MSI-X" : "INTx";
}

static enum status start(struct pci_device *dev, struct nic **nic)
{
    const struct nic_driver *driver = driver_of(dev);
    char at[PCI_ADDRESS_TEXT];
    pci_address_text(dev->at, at);
    if (!driver) {
        log_error("nic", "%s is %04x:%04x, which no driver of ours knows", at, dev->vendor, dev->device);
        return ERR_UNSUPPORTED;
    }
    enum status s = driver->start(dev, nic);
    if (s != OK) {
        log_error("nic", "%s (%s) does not start: %s", at, driver->model, status_name(s));
        return s;
    }
    const char *how = start_interrupt(dev, driver, *nic);
    const uint8_t *m = (*nic)->mac;
    log_info("nic", "%s: %s, %02x:%02x:%02x:%02x:%02x:%02x, %s", (*nic)->name, driver->model, m[0], m[1],
             m[2], m[3], m[4], m[5], how);
    return OK;
}

static bool is_nic(const struct pci_device *dev)
{
    return dev->class_code == PCI_CLASS_NETWORK && dev->subclass == PCI_SUBCLASS_ETHERNET;
}

static void say_what_was_found(void)
{
    bool any = false;
    for (uint32_t i = 0; i < pci_device_count(); i++) {
        const struct pci_device *dev = pci_device_at(i);
        char at[PCI_ADDRESS_TEXT];
        if (!is_nic(dev))
            continue;
        any = true;
        log_error("nic", "%s is %04x:%04x, which %s", pci_address_text(dev->at, at), dev->vendor, dev->device,
                  driver_of(dev) ? "did not start" : "no driver of ours knows");
    }
    log_error("nic", any ? "no NIC could be started" : "this machine has no NIC");
}

enum status nics_start(const struct pci_address *at, struct nic **nic, struct pci_device **dev)
{
    if (at) {
        char text[PCI_ADDRESS_TEXT];
        *dev = pci_find(*at);
        if (*dev)
            return start(*dev, nic);
        log_error("nic", "%s, the NIC that farbus.ini names, is not there", pci_address_text(*at, text));
        return ERR_NOTFOUND;
    }
    for (uint32_t i = 0; i < pci_device_count(); i++) {
        *dev = pci_device_at(i);
        if (driver_of(*dev) && start(*dev, nic) == OK)
            return OK;
    }
    *dev = NULL;
    say_what_was_found();
    return ERR_NOTFOUND;
}
