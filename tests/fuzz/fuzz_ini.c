// SPDX-License-Identifier: BSD-2-Clause
// LINK: boot/config.c boot/config_keys.c boot/config_node.c boot/config_guest.c
// LINK: boot/config_security.c boot/value.c boot/refusal.c @inih
//
// farbus.ini as anybody could write it. Whatever is taken must be something the hypervisor may rely on: every
// string ends, every count and number is within its limits, no device has two owners; whatever is refused
// must have a sentence.
#include "boot/config.h"
#include <stdlib.h>
#include <string.h>

static struct boot_info info;

static void require(int holds)
{
    if (!holds)
        abort();
}

#define ENDS(text) require(memchr(text, 0, sizeof(text)) != NULL)

static void check_file(const struct boot_file *f)
{
    ENDS(f->path);
    ENDS(f->args);
    require(f->path[0] != '\0' && f->ini_line != 0 && f->base == 0 && f->size == 0);
}

static void check_guest(const struct boot_guest *g)
{
    ENDS(g->name);
    ENDS(g->cmdline);
    require(g->nic_count <= BOOT_NICS_MAX);
    require(g->name[0] != '\0' && g->ini_line != 0);
    require(g->memory >= CONFIG_GUEST_MEMORY_MIN && g->memory % CONFIG_GUEST_MEMORY_STEP == 0);
    require(g->cpus >= 1 && g->cpus <= BOOT_CPUS_MAX && g->wait_s <= CONFIG_WAIT_MAX_S);
    require(g->dma == BOOT_DMA_IOMMU || (g->dma == BOOT_DMA_MIRROR && g->memory <= CONFIG_MIRROR_MAX));
    require(g->bus == BOOT_BUS_PORTS || g->bus == BOOT_BUS_FLAT);
    check_file(&g->kernel);
    if (g->initrd.path[0] != '\0')
        check_file(&g->initrd);
    require(g->module_count <= BOOT_MODULES_MAX && g->device_count <= BOOT_DEVICES_MAX);
    for (uint32_t i = 0; i < g->module_count; i++)
        check_file(&g->modules[i]);
    for (uint32_t i = 0; i < g->device_count; i++)
        ENDS(g->devices[i].node);
}

/// Each function once, each host once for it, by names; with keys, of peers.
static void check_lend(void)
{
    const struct boot_node *n = &info.node;
    for (uint32_t i = 0; i < n->lend_count; i++) {
        const struct boot_lend *l = &n->lend[i];
        require(l->to_count <= BOOT_LEND_TO_MAX);
        for (uint32_t k = 0; k < i; k++)
            require(memcmp(&n->lend[k].at, &l->at, sizeof l->at) != 0);
        for (uint32_t t = 0; t < l->to_count; t++) {
            ENDS(l->to[t]);
            require(l->to[t][0] != '\0' && strcmp(l->to[t], n->name) != 0);
            for (uint32_t u = 0; u < t; u++)
                require(strcmp(l->to[u], l->to[t]) != 0);
            int known = n->security != BOOT_SECURITY_KEYS;
            for (uint32_t p = 0; p < info.keys.peer_count; p++)
                known |= strcmp(info.keys.peers[p].name, l->to[t]) == 0;
            require(known);
        }
    }
}

static int same_device(const struct boot_device *a, const struct boot_device *b)
{
    return strcmp(a->node, b->node) == 0 && memcmp(&a->at, &b->at, sizeof a->at) == 0;
}

static void check_devices(void)
{
    for (uint32_t g = 0; g < info.guest_count; g++)
        for (uint32_t d = 0; d < info.guests[g].device_count; d++)
            for (uint32_t h = 0; h <= g; h++)
                for (uint32_t e = 0; e < (h == g ? d : info.guests[h].device_count); e++)
                    require(!same_device(&info.guests[g].devices[d], &info.guests[h].devices[e]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct refusal why = {.text = ""};
    char *text = malloc(size ? size : 1); // exact, for ASan
    memcpy(text, data, size);
    memset(&info, 0, sizeof info);
    enum status s = config_parse("\\farbus.ini", text, size, &info, &why);
    free(text);
    ENDS(why.text);
    require((s == OK) == (why.text[0] == '\0'));
    if (s != OK)
        return 0;
    ENDS(info.node.name);
    require(info.node.name[0] != '\0' && info.node.lend_count <= BOOT_DEVICES_MAX);
    require(info.node.role == BOOT_ROLE_HOST ||
            (info.node.role == BOOT_ROLE_REMOTE && info.guest_count == 0));
    require(info.node.dhcp || (info.node.prefix >= 1 && info.node.prefix <= 30));
    require(info.guest_count <= BOOT_GUESTS_MAX);
    for (uint32_t i = 0; i < info.guest_count; i++)
        check_guest(&info.guests[i]);
    check_devices();
    check_lend();
    return 0;
}
