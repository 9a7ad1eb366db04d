// SPDX-License-Identifier: BSD-2-Clause
// The keys of [guest NAME].
#include "boot/config.h"
#include "boot/config_keys.h"
#include <string.h>

static enum status set_memory(struct config_parser *p, const char *value)
{
    uint64_t bytes;
    if (!value_size(value, &bytes))
        return config_bad_value(p, "memory", value, "a size: a number and K, M, G or T, like 64M or 1G");
    if (bytes < CONFIG_GUEST_MEMORY_MIN || bytes > CONFIG_GUEST_MEMORY_MAX ||
        bytes % CONFIG_GUEST_MEMORY_STEP != 0)
        return refuse_here(p, ERR_RANGE,
                           "memory = '" SHOWN "' is %llu bytes; a guest can have 4M to 64G, in steps of 2M",
                           value, (unsigned long long)bytes);
    p->guest->memory = bytes;
    return OK;
}

static enum status set_cpus(struct config_parser *p, const char *value)
{
    if (!value_number(value, UINT32_MAX, &p->guest->cpus))
        return config_bad_value(p, "cpus", value, "a number");
    if (p->guest->cpus == 0 || p->guest->cpus > BOOT_CPUS_MAX)
        return refuse_here(p, ERR_RANGE, "cpus = %u; a guest can have 1 to %d", p->guest->cpus,
                           BOOT_CPUS_MAX);
    return OK;
}

static enum status set_wait(struct config_parser *p, const char *value)
{
    return value_number(value, CONFIG_WAIT_MAX_S, &p->guest->wait_s)
               ? OK
               : config_bad_value(p, "wait", value, "a number of seconds, 86400 at most");
}

/// A file's path is the first `length` bytes of `value`.
static enum status set_file(struct config_parser *p, const char *key, struct boot_file *file,
                            const char *value, size_t length)
{
    if (length >= BOOT_PATH_MAX)
        return refuse_here(p, ERR_RANGE, "the path after '%s =' has %zu characters; the limit is %d", key,
                           length, BOOT_PATH_MAX - 1);
    if (!value_path(value, length, file->path))
        return config_bad_value(p, key, value, "a path: printable ASCII characters");
    file->ini_line = p->line;
    return OK;
}

static enum status set_kernel(struct config_parser *p, const char *value)
{
    return set_file(p, "kernel", &p->guest->kernel, value, strlen(value));
}

static enum status set_initrd(struct config_parser *p, const char *value)
{
    return set_file(p, "initrd", &p->guest->initrd, value, strlen(value));
}

static enum status set_module(struct config_parser *p, const char *value)
{
    struct boot_guest *g = p->guest;
    if (g->module_count == BOOT_MODULES_MAX)
        return refuse_here(p, ERR_RANGE, "more than %d 'module' lines in [guest %s]; the limit is %d",
                           BOOT_MODULES_MAX, g->name, BOOT_MODULES_MAX);
    struct boot_file *file = &g->modules[g->module_count];
    size_t length = strcspn(value, " \t");
    const char *args = value + length + strspn(value + length, " \t");
    if (strlen(args) >= sizeof file->args)
        return refuse_here(p, ERR_RANGE, "the module's arguments have %zu characters; the limit is %zu",
                           strlen(args), sizeof file->args - 1);
    enum status s = set_file(p, "module", file, value, length);
    if (s != OK)
        return s;
    memcpy(file->args, args, strlen(args) + 1);
    g->module_count++;
    return OK;
}

static enum status set_cmdline(struct config_parser *p, const char *value)
{
    size_t length = strlen(value);
    if (length >= BOOT_CMDLINE_MAX)
        return refuse_here(p, ERR_RANGE, "the cmdline has %zu characters; the limit is %d", length,
                           BOOT_CMDLINE_MAX - 1);
    memcpy(p->guest->cmdline, value, length + 1);
    return OK;
}

static bool same_device(const struct boot_device *a, const struct boot_device *b)
{
    return strcmp(a->node, b->node) == 0 && config_same_pci(&a->at, &b->at);
}

static enum status set_device(struct config_parser *p, const char *value)
{
    struct boot_guest *g = p->guest;
    if (g->device_count == BOOT_DEVICES_MAX)
        return refuse_here(p, ERR_RANGE, "more than %d 'device' lines in [guest %s]; the limit is %d",
                           BOOT_DEVICES_MAX, g->name, BOOT_DEVICES_MAX);
    struct boot_device *d = &g->devices[g->device_count];
    if (!value_device(value, d))
        return config_bad_value(p, "device", value,
                                "a remote function like disk1/0000:00:04.0 (node/dddd:bb:dd.f)");
    d->ini_line = p->line;
    for (uint32_t i = 0; i < p->info->guest_count; i++) {
        const struct boot_guest *other = &p->info->guests[i];
        for (uint32_t j = 0; j < other->device_count; j++)
            if (same_device(&other->devices[j], d))
                return refuse_here(p, ERR_BUSY, "device " SHOWN " is given to guest '%s' already, in line %u",
                                   value, other->name, other->devices[j].ini_line);
    }
    g->device_count++;
    return OK;
}

static enum status set_guest_nic(struct config_parser *p, const char *value)
{
    static const char wanted[] =
        "auto or an address like 52:54:00:12:34:56, and then, if it is to have a limit, "
        "bits a second like 100M";
    struct boot_guest *g = p->guest;
    char words[64];
    if (g->nic_count == BOOT_NICS_MAX)
        return refuse_here(p, ERR_RANGE, "a guest can have %u virtual NICs, not more", BOOT_NICS_MAX);
    if (strlen(value) >= sizeof words)
        return config_bad_value(p, "nic", value, wanted);
    strcpy(words, value);
    struct boot_vnic *nic = &g->nics[g->nic_count];
    char *rate = strchr(words, ' ');
    if (rate) {
        *rate++ = '\0';
        rate += strspn(rate, " ");
        if (!value_rate(rate, &nic->rate))
            return config_bad_value(p, "nic", value, wanted);
    }
    nic->has_mac = strcmp(words, "auto") != 0;
    if (nic->has_mac && !value_mac(words, nic->mac))
        return config_bad_value(p, "nic", value, wanted);
    for (uint32_t i = 0; i <= (uint32_t)(g - p->info->guests) && nic->has_mac; i++) {
        const struct boot_guest *other = &p->info->guests[i];
        for (uint32_t j = 0; j < other->nic_count; j++)
            if (other->nics[j].has_mac && memcmp(other->nics[j].mac, nic->mac, sizeof nic->mac) == 0)
                return refuse_here(p, ERR_BUSY,
                                   "nic address " SHOWN " is given to guest '%s' already, in line %u", value,
                                   other->name, other->nics[j].ini_line);
    }
    nic->ini_line = p->line;
    g->nic_count++;
    return OK;
}

static enum status set_dma(struct config_parser *p, const char *value)
{
    p->dma_line = p->line;
    if (strcmp(value, "iommu") == 0)
        p->guest->dma = BOOT_DMA_IOMMU;
    else if (strcmp(value, "mirror") == 0)
        p->guest->dma = BOOT_DMA_MIRROR;
    else
        return config_bad_value(p, "dma", value,
                                "iommu (the guest says what it maps) or mirror (all of its memory is)");
    return OK;
}

static enum status set_bus(struct config_parser *p, const char *value)
{
    if (strcmp(value, "ports") == 0)
        p->guest->bus = BOOT_BUS_PORTS;
    else if (strcmp(value, "flat") == 0)
        p->guest->bus = BOOT_BUS_FLAT;
    else
        return config_bad_value(p, "bus", value,
                                "ports (each device behind a PCIe port) or flat (all on bus 0)");
    return OK;
}

static enum status set_test_device(struct config_parser *p, const char *value)
{
    bool on = strcmp(value, "on") == 0;
    p->guest->test_device = on;
    return on || strcmp(value, "off") == 0 ? OK : config_bad_value(p, "test-device", value, "on or off");
}

static const struct key guest_table[] = {
    {"memory", false, set_memory}, {"cpus", false, set_cpus},    {"kernel", false, set_kernel},
    {"initrd", false, set_initrd}, {"module", true, set_module}, {"cmdline", false, set_cmdline},
    {"device", true, set_device},  {"nic", true, set_guest_nic}, {"wait", false, set_wait},
    {"dma", false, set_dma},       {"bus", false, set_bus},      {"test-device", false, set_test_device},
};

_Static_assert(sizeof guest_table / sizeof *guest_table <= CONFIG_KEYS_MAX,
               "struct config_parser has room for all keys");
const struct key_table config_guest_keys = {"guest NAME", guest_table,
                                            sizeof guest_table / sizeof *guest_table};
