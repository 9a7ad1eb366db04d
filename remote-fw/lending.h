// SPDX-License-Identifier: BSD-2-Clause
// What this remote lends: everything a guest can use and the machine can do without, or exactly what `lend =`
// names. Policy only: must not know links, and touches no device.
#pragma once
#include "drivers/pci.h"
#include "rt/boot_info.h"
#include <stdbool.h>

struct lending_context {
    const struct boot_node *node;               // lend list
    const struct boot_pci_address *boot_device; // NULL: not known
    const struct pci_address *nic;              // the NIC this remote talks through
};

struct lending_decision {
    bool lend;
    const char *reason; // never NULL: why it is kept, or lent
};

struct lending_decision lending_decide(const struct pci_device *dev, const struct lending_context *context);
/// True when `lend =` names this address.
bool lending_named(const struct boot_node *node, struct pci_address at);
