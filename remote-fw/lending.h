// SPDX-License-Identifier: BSD-2-Clause
// What this remote lends: everything a guest can use and the machine can do without, or exactly what `lend =`
// names, to the hosts it names. Policy only: must not know links, and touches no device.
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
/// The `lend =` line that names this address; NULL: none does.
const struct boot_lend *lending_terms(const struct boot_node *node, struct pci_address at);
/// May that host have it? terms NULL: no line says anything. With keys the host's name is that of its key
/// (net/link_sealed.c); without, it is what it says of itself.
bool lending_allows(const struct boot_lend *terms, const char *host);
