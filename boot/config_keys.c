// SPDX-License-Identifier: BSD-2-Clause
// See config_keys.h: how a value of farbus.ini is refused, and what those of more than one section have in
// common.
#include "boot/config_keys.h"

enum status config_bad_value(struct config_parser *p, const char *key, const char *value, const char *wanted)
{
    return refuse_here(p, ERR_INVAL, "%s = '" SHOWN "' is not %s", key, value, wanted);
}

enum status config_bad_key(struct config_parser *p, const char *name)
{
    return refuse_here(p, ERR_INVAL,
                       "%s is not %d hexadecimal digits (%d bytes); tools/farbus-keygen makes them", name,
                       2 * BOOT_KEY_BYTES, BOOT_KEY_BYTES);
}

bool config_same_pci(const struct boot_pci_address *a, const struct boot_pci_address *b)
{
    return a->segment == b->segment && a->bus == b->bus && a->devfn == b->devfn;
}
