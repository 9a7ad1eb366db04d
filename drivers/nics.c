// SPDX-License-Identifier: BSD-2-Clause
// The table of NIC drivers, and the choice of one NIC on the bus. Must not know registers.
#include "drivers/nics.h"
#include "drivers/e1000.h"
#include "drivers/intel_nic.h"
#include "drivers/pci_regs.h"
#include "rt/cpu.h"
#include "rt/irq.h"
#include "rt/log.h"
#include <stddef.h>

static const struct nic_driver {
    uint16_t vendor, device;
    const char *model;
    enum status (*start)(struct pci_device *dev, struct nic **nic);
    irq_handler *interrupt; // ctx is the struct nic
} drivers[] = {
    {0x8086, 0x100e, "Intel 82540EM", e1000_start, intel_interrupt},
    {0x8086, 0x10d3, "Intel 82574L", e1000e_start, intel_interrupt},
};

static const struct nic_driver *driver_of(const struct pci_device *dev)
{
    for (unsigned i = 0; i < sizeof drivers / sizeof drivers[0]; i++) {
        if (drivers[i].vendor == dev->vendor && drivers[i].device == dev->device)
            return &drivers[i];
    }
    return NULL;
}

/// Lets the NIC interrupt the CPU that starts it, where that can be routed; else it is polled.
static void route_interrupt(struct pci_device *dev, const struct nic_driver *driver, struct nic *nic)
{
    uint8_t vector = 0;
    if (!dev->cap_msi || irq_alloc(driver->interrupt, nic, &vector) != OK)
        return;
    if (pci_msi_enable(dev, cpu_self()->apic_id, vector) == OK)
        nic->irq_vector = vector;
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
    route_interrupt(dev, driver, *nic);
    const uint8_t *m = (*nic)->mac;
    log_info("nic", "%s: %s, %02x:%02x:%02x:%02x:%02x:%02x, %s", (*nic)->name, driver->model, m[0], m[1],
             m[2], m[3], m[4], m[5], (*nic)->irq_vector ? "MSI" : "polled");
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
