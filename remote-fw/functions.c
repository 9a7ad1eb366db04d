// SPDX-License-Identifier: BSD-2-Clause
// The table of lent functions (remote-fw/functions.h).
#include "remote-fw/functions.h"
#include "remote-fw/reset.h"
#include <string.h>

struct function *functions_add(struct functions *t)
{
    if (t->count == DISCOVERY_FUNCTIONS_MAX)
        return NULL;
    struct function *f = &t->all[t->count++];
    memset(f, 0, sizeof *f);
    return f;
}

/// PCI 3.0, 6.8.2.3: the MSI-X table is (Table Size + 1) entries of 16 bytes in a BAR.
static void find_msix_table(struct function *f)
{
    f->msix_size = 0;
    if (!f->cap_msix)
        return;
    uint32_t control = f->ops->config_read(f->device, (uint16_t)(f->cap_msix + 2), 2);
    uint32_t table = f->ops->config_read(f->device, (uint16_t)(f->cap_msix + 4), 4);
    f->msix_bar = table & 7;
    f->msix_offset = table & ~7u;
    f->msix_size = 16ull * ((control & 0x7ff) + 1);
}

void function_prepare(struct function *f)
{
    config_map_build(&f->config, f->ops->config_read, f->device);
    f->cap_pm = (uint8_t)config_find(&f->config, 0x01, false);
    f->cap_msi = (uint8_t)config_find(&f->config, 0x05, false);
    f->cap_pcie = (uint8_t)config_find(&f->config, 0x10, false);
    f->cap_msix = (uint8_t)config_find(&f->config, 0x11, false);
    find_msix_table(f);
    reset_prepare(f);
    if (f->reset.method != RESET_COMMAND)
        f->info.flags |= WIRE_FN_FLR;
}

struct function *functions_at(struct functions *t, struct wire_pci_address at)
{
    for (unsigned i = 0; i < t->count; i++)
        if (!memcmp(&t->all[i].info.at, &at, sizeof at))
            return &t->all[i];
    return NULL;
}

struct function *functions_of(struct functions *t, const void *owner, uint16_t handle)
{
    if (handle == 0 || handle > WIRE_HANDLE_MAX || !owner)
        return NULL;
    struct function *f = t->by_handle[handle];
    return f && f->owner == owner ? f : NULL;
}

enum status functions_claim(struct functions *t, struct function *f, const void *owner)
{
    if (f->owner)
        return ERR_BUSY;
    // DISCOVERY_FUNCTIONS_MAX < WIRE_HANDLE_MAX: one is always free.
    unsigned handle = t->last_handle;
    do
        handle = handle % WIRE_HANDLE_MAX + 1;
    while (t->by_handle[handle]);
    t->last_handle = (uint8_t)handle;
    t->by_handle[handle] = f;
    f->handle = (uint16_t)handle;
    f->owner = owner;
    f->credits_used = 0;
    f->info.flags |= WIRE_FN_BUSY;
    return OK;
}
_Static_assert(DISCOVERY_FUNCTIONS_MAX < WIRE_HANDLE_MAX, "handles for all functions");

void functions_release(struct functions *t, struct function *f)
{
    if (!f->owner)
        return;
    t->by_handle[f->handle] = NULL;
    f->handle = 0;
    f->owner = NULL;
    f->pending_type = 0;
    f->info.flags &= (uint8_t)~WIRE_FN_BUSY;
}
