// SPDX-License-Identifier: BSD-2-Clause
// What this remote lends (remote-fw/lending.h). Class codes: PCI Code and ID Assignment Specification 1.11.
#include "remote-fw/lending.h"
#include <stddef.h>
#include <string.h>

#define ANY        0x100u // of class and subclass
#define ANY_VENDOR 0u
#define INTEL      0x8086u

/// First matching row decides, when `lend =` is not given. A function that matches none is lent.
static const struct row {
    uint16_t class_code, subclass, vendor;
    bool lend;
    const char *reason;
} policy[] = {
    {0x03, ANY, ANY_VENDOR, false, "display: this machine's console may be on it"},
    {0x05, ANY, ANY_VENDOR, false, "memory controller: part of this machine's chipset"},
    {0x06, ANY, ANY_VENDOR, false, "bridge: carries what is behind it"},
    {0x07, 0x80, INTEL, false, "Intel communication controller: management engine"},
    {0x08, 0x05, ANY_VENDOR, true, "SD host controller"},
    {0x08, ANY, ANY_VENDOR, false, "system peripheral: interrupt controller, timer, IOMMU or the like"},
    {0x0b, ANY, ANY_VENDOR, false, "processor"},
    {0x0c, 0x05, ANY_VENDOR, false, "SMBus: memory modules, fans and voltages hang on it"},
    {0x0c, 0x07, ANY_VENDOR, false, "IPMI: management of this machine"},
    {0x0c, 0x80, INTEL, false, "Intel serial bus controller: the firmware's flash"},
    {0x11, 0x01, ANY_VENDOR, false, "performance counters of the chipset"},
    {0x11, 0x80, INTEL, false, "thermal sensor of the chipset"},
};

static bool same(const struct boot_pci_address *a, struct pci_address b)
{
    return a->segment == b.segment && a->bus == b.bus && a->devfn == b.devfn;
}

const struct boot_lend *lending_terms(const struct boot_node *node, struct pci_address at)
{
    for (uint32_t i = 0; i < node->lend_count && i < BOOT_DEVICES_MAX; i++)
        if (same(&node->lend[i].at, at))
            return &node->lend[i];
    return NULL;
}

bool lending_allows(const struct boot_lend *terms, const char *host)
{
    if (!terms || terms->to_count == 0)
        return true;
    for (uint32_t i = 0; i < terms->to_count && i < BOOT_LEND_TO_MAX; i++)
        if (strncmp(terms->to[i], host, sizeof terms->to[i]) == 0)
            return true;
    return false;
}

static struct lending_decision by_class(const struct pci_device *dev)
{
    for (size_t i = 0; i < sizeof policy / sizeof policy[0]; i++) {
        const struct row *r = &policy[i];
        if ((r->class_code == ANY || r->class_code == dev->class_code) &&
            (r->subclass == ANY || r->subclass == dev->subclass) &&
            (r->vendor == ANY_VENDOR || r->vendor == dev->vendor))
            return (struct lending_decision){r->lend, r->reason};
    }
    return (struct lending_decision){true, "endpoint"};
}

struct lending_decision lending_decide(const struct pci_device *dev, const struct lending_context *context)
{
    const struct pci_address *nic = context->nic;
    bool chosen = context->node->lend_count != 0;
    bool named = lending_terms(context->node, dev->at) != NULL;

    // Whatever is named: without these the remote is none.
    if (dev->header_type != 0 || dev->class_code == 0x06)
        return (struct lending_decision){false, "bridge: carries what is behind it"};
    if (nic && nic->segment == dev->at.segment && nic->bus == dev->at.bus && nic->devfn == dev->at.devfn)
        return (struct lending_decision){false, "the NIC this remote talks through"};
    if (chosen)
        return (struct lending_decision){named, named ? "named in lend =" : "not named in lend ="};
    if (context->boot_device && same(context->boot_device, dev->at))
        return (struct lending_decision){false, "this machine was started from it"};
    return by_class(dev);
}
