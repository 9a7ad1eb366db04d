// SPDX-License-Identifier: BSD-2-Clause
// The keys of [node].
#include "boot/config_keys.h"
#include <string.h>

static enum status set_node_name(struct config_parser *p, const char *value)
{
    return value_name(value, p->info->node.name) ? OK : config_bad_value(p, "name", value, NAME_WANTED);
}

static enum status set_role(struct config_parser *p, const char *value)
{
    if (strcmp(value, "host") == 0)
        p->info->node.role = BOOT_ROLE_HOST;
    else if (strcmp(value, "remote") == 0)
        p->info->node.role = BOOT_ROLE_REMOTE;
    else
        return config_bad_value(p, "role", value, "a role: host (runs guests) or remote (lends its devices)");
    return OK;
}

/// An address a machine can have: not "this network", loopback, multicast or above.
static bool is_unicast(const uint8_t a[4])
{
    return a[0] != 0 && a[0] != 127 && a[0] < 224;
}

/// The part of an address that tells machines of one network apart. `prefix` is 0 to 31.
static uint32_t machine_part(const uint8_t a[4], uint8_t prefix)
{
    uint32_t all = (uint32_t)a[0] << 24 | (uint32_t)a[1] << 16 | (uint32_t)a[2] << 8 | a[3];
    return all & (UINT32_MAX >> prefix);
}

bool config_same_network(const uint8_t a[4], const uint8_t b[4], uint8_t prefix)
{
    uint8_t differ[4];
    for (unsigned i = 0; i < 4; i++)
        differ[i] = a[i] ^ b[i];
    return machine_part(differ, 0) == machine_part(differ, prefix);
}

static enum status set_address(struct config_parser *p, const char *value)
{
    struct boot_node *n = &p->info->node;
    n->dhcp = strcmp(value, "dhcp") == 0;
    if (n->dhcp)
        return OK;
    if (!value_ipv4_prefix(value, n->address, &n->prefix) || !is_unicast(n->address))
        return config_bad_value(p, "address", value, "an address: dhcp, or like 192.168.1.10/24");
    uint32_t machine = machine_part(n->address, n->prefix);
    if (machine == 0 || machine == UINT32_MAX >> n->prefix)
        return refuse_here(p, ERR_INVAL,
                           "address = '" SHOWN "' is the %s address of its network, not a machine's", value,
                           machine == 0 ? "first" : "broadcast");
    return OK;
}

static enum status set_gateway(struct config_parser *p, const char *value)
{
    p->gateway_line = p->line;
    return value_ipv4(value, p->info->node.gateway) && is_unicast(p->info->node.gateway)
               ? OK
               : config_bad_value(p, "gateway", value, "an address like 192.168.1.1");
}

static enum status set_peer(struct config_parser *p, const char *value)
{
    p->peer_line = p->line;
    return value_ipv4(value, p->info->node.peer) && is_unicast(p->info->node.peer)
               ? OK
               : config_bad_value(p, "peer", value, "the address of a host, like 192.168.1.10");
}

static enum status set_console(struct config_parser *p, const char *value)
{
    static const char wanted[] = "serial, framebuffer or both, and 'debug' after it for more lines";
    struct boot_node *n = &p->info->node;
    size_t length = strcspn(value, " ");
    bool both = length == 4 && memcmp(value, "both", 4) == 0;
    n->console_serial = both || (length == 6 && memcmp(value, "serial", 6) == 0);
    n->console_fb = both || (length == 11 && memcmp(value, "framebuffer", 11) == 0);
    if (!n->console_serial && !n->console_fb)
        return config_bad_value(p, "console", value, wanted);
    const char *rest = value + length + strspn(value + length, " ");
    n->verbose = strcmp(rest, "debug") == 0;
    return n->verbose || *rest == '\0' ? OK : config_bad_value(p, "console", value, wanted);
}

static enum status set_carrier(struct config_parser *p, const char *value)
{
    static const char *const names[] = {
        [BOOT_CARRIER_AUTO] = "auto", [BOOT_CARRIER_UDP] = "udp", [BOOT_CARRIER_L2] = "l2"};
    for (uint8_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(value, names[i]) == 0) {
            p->info->node.carrier = i;
            return OK;
        }
    return config_bad_value(p, "carrier", value, "auto, udp (routable) or l2 (Ethernet frames, one LAN)");
}

static enum status set_frame(struct config_parser *p, const char *value)
{
    static const char wanted[] = "auto, or the largest frame of a link in bytes: 548 to 8972";
    uint32_t bytes = 0;
    if (strcmp(value, "auto") != 0 && (!value_number(value, 8972, &bytes) || bytes < 548))
        return config_bad_value(p, "frame", value, wanted);
    p->info->node.frame = (uint16_t)bytes;
    return OK;
}

/// A key is a secret: it is not shown, not even a wrong one.

static enum status set_key(struct config_parser *p, const char *value)
{
    p->lines.key = p->line;
    return value_key(value, p->info->keys.key) ? OK : config_bad_key(p, "key");
}

static enum status set_psk(struct config_parser *p, const char *value)
{
    p->lines.psk = p->line;
    return value_key(value, p->info->keys.psk) ? OK : config_bad_key(p, "psk");
}

static enum status set_security(struct config_parser *p, const char *value)
{
    p->lines.security = p->line;
    return strcmp(value, "none") == 0
               ? OK
               : config_bad_value(p, "security", value,
                                  "none; with 'key' and 'psk' links are secure, without this line");
}

#define LEND_WANTED "a PCI address like 0000:00:1f.2, and perhaps 'to' and the names of hosts"

/// The next word of *at, at most BOOT_PATH_MAX - 1 characters of it; false: none is left.
static bool next_word(const char **at, char word[BOOT_PATH_MAX])
{
    const char *begin = *at + strspn(*at, " \t");
    size_t length = strcspn(begin, " \t");
    *at = begin + length;
    if (length >= BOOT_PATH_MAX)
        length = BOOT_PATH_MAX - 1;
    memcpy(word, begin, length);
    word[length] = '\0';
    return length != 0;
}

/// What follows the address in a `lend` line: nothing, or "to" and names.
static enum status set_lend_to(struct config_parser *p, struct boot_lend *lend, const char *rest,
                               const char *value)
{
    char word[BOOT_PATH_MAX];
    lend->to_count = 0;
    if (!next_word(&rest, word))
        return OK;
    if (strcmp(word, "to") != 0)
        return config_bad_value(p, "lend", value, LEND_WANTED);
    while (next_word(&rest, word)) {
        if (lend->to_count == BOOT_LEND_TO_MAX)
            return refuse_here(p, ERR_RANGE, "more than %d hosts after 'to'; the limit is %d",
                               BOOT_LEND_TO_MAX, BOOT_LEND_TO_MAX);
        char *name = lend->to[lend->to_count];
        if (!value_name(word, name))
            return refuse_here(p, ERR_INVAL, "'" SHOWN "' after 'to' is not " NAME_WANTED, word);
        for (uint32_t i = 0; i < lend->to_count; i++)
            if (strcmp(lend->to[i], name) == 0)
                return refuse_here(p, ERR_INVAL, "'%s' stands twice after 'to'", name);
        lend->to_count++;
    }
    return lend->to_count != 0
               ? OK
               : refuse_here(p, ERR_INVAL, "no name after 'to'; without 'to' it is lent to every host");
}

static enum status set_lend(struct config_parser *p, const char *value)
{
    struct boot_node *n = &p->info->node;
    p->lend_line = p->line;
    if (n->lend_count == BOOT_DEVICES_MAX)
        return refuse_here(p, ERR_RANGE, "more than %d 'lend' lines; the limit is %d functions",
                           BOOT_DEVICES_MAX, BOOT_DEVICES_MAX);
    struct boot_lend *lend = &n->lend[n->lend_count];
    char word[BOOT_PATH_MAX];
    const char *rest = value;
    if (!next_word(&rest, word) || !value_pci(word, &lend->at))
        return config_bad_value(p, "lend", value, LEND_WANTED);
    for (uint32_t i = 0; i < n->lend_count; i++)
        if (config_same_pci(&n->lend[i].at, &lend->at))
            return refuse_here(p, ERR_INVAL, "lend = %s stands here twice", word);
    lend->ini_line = p->line;
    enum status s = set_lend_to(p, lend, rest, value);
    n->lend_count += s == OK;
    return s;
}

static enum status set_node_nic(struct config_parser *p, const char *value)
{
    p->info->node.nic_set = value_pci(value, &p->info->node.nic);
    return p->info->node.nic_set ? OK : config_bad_value(p, "nic", value, PCI_WANTED);
}

static enum status set_unsafe_interrupts(struct config_parser *p, const char *value)
{
    p->unsafe_line = p->line;
    p->info->node.unsafe_interrupts = strcmp(value, "yes") == 0;
    return p->info->node.unsafe_interrupts || strcmp(value, "no") == 0
               ? OK
               : config_bad_value(p, "unsafe-interrupts", value,
                                  "yes (lend with DMA although guests could forge interrupts) or no");
}

static const struct key node_table[] = {
    {"name", false, set_node_name},    {"role", false, set_role},
    {"address", false, set_address},   {"gateway", false, set_gateway},
    {"peer", false, set_peer},         {"console", false, set_console},
    {"key", false, set_key},           {"psk", false, set_psk},
    {"security", false, set_security}, {"lend", true, set_lend},
    {"nic", false, set_node_nic},      {"carrier", false, set_carrier},
    {"frame", false, set_frame},       {"unsafe-interrupts", false, set_unsafe_interrupts},
};

_Static_assert(sizeof node_table / sizeof *node_table <= CONFIG_KEYS_MAX,
               "struct config_parser has room for all keys");
const struct key_table config_node_keys = {"node", node_table, sizeof node_table / sizeof *node_table};
