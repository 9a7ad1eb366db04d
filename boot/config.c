// SPDX-License-Identifier: BSD-2-Clause
// See config.h. One table of keys per section: the row says what the key may be, its function stores the
// value. Rules that need the whole file (a key that makes sense for one role only, a device given twice) come
// after the last line.
#include "boot/config.h"
#include "boot/config_security.h"
#include "boot/value.h"
#include <ini.h> // as the Makefile sets it up: one line is one line, sections are reported, the first error ends it
#include <string.h>

#define SHOWN "%.64s" // how a value from the file is quoted: long ones lose their end

enum section { SECTION_NONE, SECTION_NODE, SECTION_GUEST, SECTION_PEER, SECTIONS };

enum { KEYS_MAX = 14 };

struct parser {
    const char *path;
    struct boot_info *info;
    struct refusal *why;
    const char *text; // what is left to read
    size_t left;
    uint32_t line; // the line being read, 1 = first
    enum section section;
    struct boot_guest *guest; // of SECTION_GUEST
    struct boot_peer *peer;   // of SECTION_PEER
    /// Line each key was given last, by index into the section's table; 0: not given. Of this guest, this
    /// peer.
    uint32_t key_lines[SECTIONS][KEYS_MAX];
    struct config_lines lines;
    uint32_t peer_line, lend_line, gateway_line, unsafe_line;
    uint32_t dma_line; // of this guest
};

struct key {
    const char *name;
    bool repeats;
    enum status (*set)(struct parser *p, const char *value); // OK, or what `refuse` returned
};

#define refuse_here(p, code, ...) refuse_line((p)->why, code, (p)->path, (p)->line, __VA_ARGS__)

static enum status bad_value(struct parser *p, const char *key, const char *value, const char *wanted)
{
    return refuse_here(p, ERR_INVAL, "%s = '" SHOWN "' is not %s", key, value, wanted);
}

// [node]

#define NAME_WANTED "a name: 1 to 31 letters, digits, '-', '_' or '.'"
#define PCI_WANTED  "a PCI address like 0000:00:1f.2 (dddd:bb:dd.f, hexadecimal)"

static enum status set_node_name(struct parser *p, const char *value)
{
    return value_name(value, p->info->node.name) ? OK : bad_value(p, "name", value, NAME_WANTED);
}

static enum status set_role(struct parser *p, const char *value)
{
    if (strcmp(value, "host") == 0)
        p->info->node.role = BOOT_ROLE_HOST;
    else if (strcmp(value, "remote") == 0)
        p->info->node.role = BOOT_ROLE_REMOTE;
    else
        return bad_value(p, "role", value, "a role: host (runs guests) or remote (lends its devices)");
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

static bool same_network(const uint8_t a[4], const uint8_t b[4], uint8_t prefix)
{
    uint8_t differ[4];
    for (unsigned i = 0; i < 4; i++)
        differ[i] = a[i] ^ b[i];
    return machine_part(differ, 0) == machine_part(differ, prefix);
}

static enum status set_address(struct parser *p, const char *value)
{
    struct boot_node *n = &p->info->node;
    n->dhcp = strcmp(value, "dhcp") == 0;
    if (n->dhcp)
        return OK;
    if (!value_ipv4_prefix(value, n->address, &n->prefix) || !is_unicast(n->address))
        return bad_value(p, "address", value, "an address: dhcp, or like 192.168.1.10/24");
    uint32_t machine = machine_part(n->address, n->prefix);
    if (machine == 0 || machine == UINT32_MAX >> n->prefix)
        return refuse_here(p, ERR_INVAL,
                           "address = '" SHOWN "' is the %s address of its network, not a machine's", value,
                           machine == 0 ? "first" : "broadcast");
    return OK;
}

static enum status set_gateway(struct parser *p, const char *value)
{
    p->gateway_line = p->line;
    return value_ipv4(value, p->info->node.gateway) && is_unicast(p->info->node.gateway)
               ? OK
               : bad_value(p, "gateway", value, "an address like 192.168.1.1");
}

static enum status set_peer(struct parser *p, const char *value)
{
    p->peer_line = p->line;
    return value_ipv4(value, p->info->node.peer) && is_unicast(p->info->node.peer)
               ? OK
               : bad_value(p, "peer", value, "the address of a host, like 192.168.1.10");
}

static enum status set_console(struct parser *p, const char *value)
{
    static const char wanted[] = "serial, framebuffer or both, and 'debug' after it for more lines";
    struct boot_node *n = &p->info->node;
    size_t length = strcspn(value, " ");
    bool both = length == 4 && memcmp(value, "both", 4) == 0;
    n->console_serial = both || (length == 6 && memcmp(value, "serial", 6) == 0);
    n->console_fb = both || (length == 11 && memcmp(value, "framebuffer", 11) == 0);
    if (!n->console_serial && !n->console_fb)
        return bad_value(p, "console", value, wanted);
    const char *rest = value + length + strspn(value + length, " ");
    n->verbose = strcmp(rest, "debug") == 0;
    return n->verbose || *rest == '\0' ? OK : bad_value(p, "console", value, wanted);
}

static enum status set_carrier(struct parser *p, const char *value)
{
    static const char *const names[] = {
        [BOOT_CARRIER_AUTO] = "auto", [BOOT_CARRIER_UDP] = "udp", [BOOT_CARRIER_L2] = "l2"};
    for (uint8_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(value, names[i]) == 0) {
            p->info->node.carrier = i;
            return OK;
        }
    return bad_value(p, "carrier", value, "auto, udp (routable) or l2 (Ethernet frames, one LAN)");
}

static enum status set_frame(struct parser *p, const char *value)
{
    static const char wanted[] = "auto, or the largest frame of a link in bytes: 548 to 8972";
    uint32_t bytes = 0;
    if (strcmp(value, "auto") != 0 && (!value_number(value, 8972, &bytes) || bytes < 548))
        return bad_value(p, "frame", value, wanted);
    p->info->node.frame = (uint16_t)bytes;
    return OK;
}

/// A key is a secret: it is not shown, not even a wrong one.
static enum status bad_key(struct parser *p, const char *name)
{
    return refuse_here(p, ERR_INVAL,
                       "%s is not %d hexadecimal digits (%d bytes); tools/farbus-keygen makes them", name,
                       2 * BOOT_KEY_BYTES, BOOT_KEY_BYTES);
}

static enum status set_key(struct parser *p, const char *value)
{
    p->lines.key = p->line;
    return value_key(value, p->info->keys.key) ? OK : bad_key(p, "key");
}

static enum status set_psk(struct parser *p, const char *value)
{
    p->lines.psk = p->line;
    return value_key(value, p->info->keys.psk) ? OK : bad_key(p, "psk");
}

static enum status set_security(struct parser *p, const char *value)
{
    p->lines.security = p->line;
    return strcmp(value, "none") == 0
               ? OK
               : bad_value(p, "security", value,
                           "none; with 'key' and 'psk' links are secure, without this line");
}

static bool same_pci(const struct boot_pci_address *a, const struct boot_pci_address *b)
{
    return a->segment == b->segment && a->bus == b->bus && a->devfn == b->devfn;
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
static enum status set_lend_to(struct parser *p, struct boot_lend *lend, const char *rest, const char *value)
{
    char word[BOOT_PATH_MAX];
    lend->to_count = 0;
    if (!next_word(&rest, word))
        return OK;
    if (strcmp(word, "to") != 0)
        return bad_value(p, "lend", value, LEND_WANTED);
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

static enum status set_lend(struct parser *p, const char *value)
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
        return bad_value(p, "lend", value, LEND_WANTED);
    for (uint32_t i = 0; i < n->lend_count; i++)
        if (same_pci(&n->lend[i].at, &lend->at))
            return refuse_here(p, ERR_INVAL, "lend = %s stands here twice", word);
    lend->ini_line = p->line;
    enum status s = set_lend_to(p, lend, rest, value);
    n->lend_count += s == OK;
    return s;
}

static enum status set_node_nic(struct parser *p, const char *value)
{
    p->info->node.nic_set = value_pci(value, &p->info->node.nic);
    return p->info->node.nic_set ? OK : bad_value(p, "nic", value, PCI_WANTED);
}

static enum status set_unsafe_interrupts(struct parser *p, const char *value)
{
    p->unsafe_line = p->line;
    p->info->node.unsafe_interrupts = strcmp(value, "yes") == 0;
    return p->info->node.unsafe_interrupts || strcmp(value, "no") == 0
               ? OK
               : bad_value(p, "unsafe-interrupts", value,
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

// [guest NAME]

static enum status set_memory(struct parser *p, const char *value)
{
    uint64_t bytes;
    if (!value_size(value, &bytes))
        return bad_value(p, "memory", value, "a size: a number and K, M, G or T, like 64M or 1G");
    if (bytes < CONFIG_GUEST_MEMORY_MIN || bytes % 4096 != 0)
        return refuse_here(p, ERR_RANGE,
                           "memory = '" SHOWN "' is %llu bytes; a guest needs at least 1M, in steps of 4K",
                           value, (unsigned long long)bytes);
    p->guest->memory = bytes;
    return OK;
}

static enum status set_cpus(struct parser *p, const char *value)
{
    if (!value_number(value, UINT32_MAX, &p->guest->cpus))
        return bad_value(p, "cpus", value, "a number");
    if (p->guest->cpus == 0 || p->guest->cpus > BOOT_CPUS_MAX)
        return refuse_here(p, ERR_RANGE, "cpus = %u; a guest can have 1 to %d", p->guest->cpus,
                           BOOT_CPUS_MAX);
    return OK;
}

static enum status set_wait(struct parser *p, const char *value)
{
    return value_number(value, CONFIG_WAIT_MAX_S, &p->guest->wait_s)
               ? OK
               : bad_value(p, "wait", value, "a number of seconds, 86400 at most");
}

/// A file's path is the first `length` bytes of `value`.
static enum status set_file(struct parser *p, const char *key, struct boot_file *file, const char *value,
                            size_t length)
{
    if (length >= BOOT_PATH_MAX)
        return refuse_here(p, ERR_RANGE, "the path after '%s =' has %zu characters; the limit is %d", key,
                           length, BOOT_PATH_MAX - 1);
    if (!value_path(value, length, file->path))
        return bad_value(p, key, value, "a path: printable ASCII characters");
    file->ini_line = p->line;
    return OK;
}

static enum status set_kernel(struct parser *p, const char *value)
{
    return set_file(p, "kernel", &p->guest->kernel, value, strlen(value));
}

static enum status set_initrd(struct parser *p, const char *value)
{
    return set_file(p, "initrd", &p->guest->initrd, value, strlen(value));
}

static enum status set_module(struct parser *p, const char *value)
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

static enum status set_cmdline(struct parser *p, const char *value)
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
    return strcmp(a->node, b->node) == 0 && same_pci(&a->at, &b->at);
}

static enum status set_device(struct parser *p, const char *value)
{
    struct boot_guest *g = p->guest;
    if (g->device_count == BOOT_DEVICES_MAX)
        return refuse_here(p, ERR_RANGE, "more than %d 'device' lines in [guest %s]; the limit is %d",
                           BOOT_DEVICES_MAX, g->name, BOOT_DEVICES_MAX);
    struct boot_device *d = &g->devices[g->device_count];
    if (!value_device(value, d))
        return bad_value(p, "device", value, "a remote function like disk1/0000:00:04.0 (node/dddd:bb:dd.f)");
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

static enum status set_guest_nic(struct parser *p, const char *value)
{
    static const char wanted[] =
        "auto or an address like 52:54:00:12:34:56, and then, if it is to have a limit, "
        "bits a second like 100M";
    struct boot_guest *g = p->guest;
    char words[64];
    if (g->nic_count == BOOT_NICS_MAX)
        return refuse_here(p, ERR_RANGE, "a guest can have %u virtual NICs, not more", BOOT_NICS_MAX);
    if (strlen(value) >= sizeof words)
        return bad_value(p, "nic", value, wanted);
    strcpy(words, value);
    struct boot_vnic *nic = &g->nics[g->nic_count];
    char *rate = strchr(words, ' ');
    if (rate) {
        *rate++ = '\0';
        rate += strspn(rate, " ");
        if (!value_rate(rate, &nic->rate))
            return bad_value(p, "nic", value, wanted);
    }
    nic->has_mac = strcmp(words, "auto") != 0;
    if (nic->has_mac && !value_mac(words, nic->mac))
        return bad_value(p, "nic", value, wanted);
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

static enum status set_dma(struct parser *p, const char *value)
{
    p->dma_line = p->line;
    if (strcmp(value, "iommu") == 0)
        p->guest->dma = BOOT_DMA_IOMMU;
    else if (strcmp(value, "mirror") == 0)
        p->guest->dma = BOOT_DMA_MIRROR;
    else
        return bad_value(p, "dma", value,
                         "iommu (the guest says what it maps) or mirror (all of its memory is)");
    return OK;
}

static enum status set_bus(struct parser *p, const char *value)
{
    if (strcmp(value, "ports") == 0)
        p->guest->bus = BOOT_BUS_PORTS;
    else if (strcmp(value, "flat") == 0)
        p->guest->bus = BOOT_BUS_FLAT;
    else
        return bad_value(p, "bus", value, "ports (each device behind a PCIe port) or flat (all on bus 0)");
    return OK;
}

static const struct key guest_table[] = {
    {"memory", false, set_memory}, {"cpus", false, set_cpus},    {"kernel", false, set_kernel},
    {"initrd", false, set_initrd}, {"module", true, set_module}, {"cmdline", false, set_cmdline},
    {"device", true, set_device},  {"nic", true, set_guest_nic}, {"wait", false, set_wait},
    {"dma", false, set_dma},       {"bus", false, set_bus},
};

// [peer NAME]

static enum status set_peer_key(struct parser *p, const char *value)
{
    struct boot_keys *k = &p->info->keys;
    if (!value_key(value, p->peer->key))
        return bad_key(p, "key");
    for (uint32_t i = 0; i < k->peer_count; i++)
        if (&k->peers[i] != p->peer && memcmp(k->peers[i].key, p->peer->key, BOOT_KEY_BYTES) == 0)
            return refuse_here(p, ERR_INVAL, "[peer %s] has the same key, in line %u; each node has its own",
                               k->peers[i].name, k->peers[i].ini_line);
    return OK;
}

static const struct key peer_table[] = {{"key", false, set_peer_key}};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static const struct {
    const char *title;
    const struct key *keys;
    size_t count;
} sections[SECTIONS] = {
    [SECTION_NODE] = {"node", node_table, COUNT(node_table)},
    [SECTION_GUEST] = {"guest NAME", guest_table, COUNT(guest_table)},
    [SECTION_PEER] = {"peer NAME", peer_table, COUNT(peer_table)},
};
_Static_assert(COUNT(node_table) <= KEYS_MAX && COUNT(guest_table) <= KEYS_MAX &&
                   COUNT(peer_table) <= KEYS_MAX,
               "struct parser has room for all keys");

// Sections and lines

/// What a guest lacks is known when its section ends; the sentence then names the line the section began.
static enum status finish_guest(struct parser *p)
{
    const struct boot_guest *g = p->guest;
    if (p->section != SECTION_GUEST)
        return OK;
    const char *missing = g->memory == 0              ? "memory = SIZE"
                          : g->kernel.path[0] == '\0' ? "kernel = PATH"
                                                      : NULL;
    if (missing != NULL)
        return refuse(p->why, ERR_INVAL, "%s line %u: [guest %s] has no '%s' line", p->path, g->ini_line,
                      g->name, missing);
    if (g->dma == BOOT_DMA_MIRROR && g->memory > CONFIG_MIRROR_MAX)
        return refuse(p->why, ERR_RANGE,
                      "%s line %u: dma = mirror copies all of a guest's memory to its remotes, so guest '%s' "
                      "can have 64M at most; it has %lluM",
                      p->path, p->dma_line, g->name, (unsigned long long)(g->memory >> 20));
    return OK;
}

static enum status begin_node(struct parser *p)
{
    if (p->lines.node != 0)
        return refuse_here(p, ERR_INVAL, "a second [node] section; the first is in line %u", p->lines.node);
    p->lines.node = p->line;
    p->section = SECTION_NODE;
    return OK;
}

static enum status begin_guest(struct parser *p, const char *name)
{
    struct boot_info *info = p->info;
    if (info->guest_count == BOOT_GUESTS_MAX)
        return refuse_here(p, ERR_RANGE, "more than %d [guest] sections; the limit is %d guests",
                           BOOT_GUESTS_MAX, BOOT_GUESTS_MAX);
    struct boot_guest *g = &info->guests[info->guest_count];
    if (!value_name(name, g->name))
        return refuse_here(p, ERR_INVAL, "[guest " SHOWN "]: '" SHOWN "' is not " NAME_WANTED, name, name);
    for (uint32_t i = 0; i < info->guest_count; i++)
        if (strcmp(info->guests[i].name, g->name) == 0)
            return refuse_here(p, ERR_INVAL, "a second [guest %s]; the first is in line %u", g->name,
                               info->guests[i].ini_line);
    g->ini_line = p->line;
    g->cpus = 1;
    g->wait_s = CONFIG_WAIT_DEFAULT_S;
    memset(p->key_lines[SECTION_GUEST], 0, sizeof p->key_lines[SECTION_GUEST]);
    p->dma_line = 0;
    info->guest_count++;
    p->guest = g;
    p->section = SECTION_GUEST;
    return OK;
}

static enum status begin_peer(struct parser *p, const char *name)
{
    struct boot_keys *k = &p->info->keys;
    if (k->peer_count == BOOT_PEERS_MAX)
        return refuse_here(p, ERR_RANGE, "more than %d [peer] sections; the limit is %d nodes",
                           BOOT_PEERS_MAX, BOOT_PEERS_MAX);
    struct boot_peer *peer = &k->peers[k->peer_count];
    if (!value_name(name, peer->name))
        return refuse_here(p, ERR_INVAL, "[peer " SHOWN "]: '" SHOWN "' is not " NAME_WANTED, name, name);
    for (uint32_t i = 0; i < k->peer_count; i++)
        if (strcmp(k->peers[i].name, peer->name) == 0)
            return refuse_here(p, ERR_INVAL, "a second [peer %s]; the first is in line %u", peer->name,
                               k->peers[i].ini_line);
    peer->ini_line = p->line;
    memset(p->key_lines[SECTION_PEER], 0, sizeof p->key_lines[SECTION_PEER]);
    k->peer_count++;
    p->peer = peer;
    p->section = SECTION_PEER;
    return OK;
}

static enum status finish_peer(struct parser *p)
{
    if (p->section != SECTION_PEER || p->key_lines[SECTION_PEER][0] != 0)
        return OK;
    return refuse(p->why, ERR_INVAL, "%s line %u: [peer %s] has no 'key = PUBLIC KEY' line", p->path,
                  p->peer->ini_line, p->peer->name);
}

static enum status finish_section(struct parser *p)
{
    enum status s = finish_guest(p);
    return s != OK ? s : finish_peer(p);
}

static enum status begin_section(struct parser *p, const char *section)
{
    enum status s = finish_section(p);
    if (s != OK)
        return s;
    if (strcmp(section, "node") == 0)
        return begin_node(p);
    if (strncmp(section, "guest ", 6) == 0)
        return begin_guest(p, section + 6 + strspn(section + 6, " "));
    if (strncmp(section, "peer ", 5) == 0)
        return begin_peer(p, section + 5 + strspn(section + 5, " "));
    if (strcmp(section, "guest") == 0 || strcmp(section, "peer") == 0)
        return refuse_here(p, ERR_INVAL, "[%s] has no name; write [%s NAME]", section, section);
    return refuse_here(
        p, ERR_INVAL, "unknown section [" SHOWN "]; there are [node], [guest NAME] and [peer NAME]", section);
}

static enum status unknown_key(struct parser *p, const char *name)
{
    const struct key *table = sections[p->section].keys;
    size_t count = sections[p->section].count;
    char known[128] = "";
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(table[i].name);
        if (used + length + 3 > sizeof known)
            break;
        if (used != 0) {
            memcpy(known + used, ", ", 2);
            used += 2;
        }
        memcpy(known + used, table[i].name, length + 1);
        used += length;
    }
    return refuse_here(p, ERR_INVAL, "unknown key '" SHOWN "' in [%s]; there are %s", name,
                       sections[p->section].title, known);
}

static enum status take_key(struct parser *p, const char *name, const char *value)
{
    if (p->section == SECTION_NONE)
        return refuse_here(p, ERR_INVAL, "'" SHOWN "' stands before the first section; begin with [node]",
                           name);
    const struct key *table = sections[p->section].keys;
    uint32_t *lines = p->key_lines[p->section];
    for (size_t i = 0; i < sections[p->section].count; i++) {
        if (strcmp(table[i].name, name) != 0)
            continue;
        if (lines[i] != 0 && !table[i].repeats)
            return refuse_here(p, ERR_INVAL, "'%s' is given a second time; the first is in line %u", name,
                               lines[i]);
        if (*value == '\0')
            return refuse_here(p, ERR_INVAL, "nothing stands after '%s ='", name);
        lines[i] = p->line;
        return table[i].set(p, value);
    }
    return unknown_key(p, name);
}

/// inih's handler: 1 to go on, 0 to stop.
static int on_line(void *user, const char *section, const char *name, const char *value, int line)
{
    struct parser *p = user;
    (void)line; // p->line is the same, and is known to read_line as well
    return (name == NULL ? begin_section(p, section) : take_key(p, name, value)) == OK;
}

/// inih's reader, as fgets: one line and its NUL into `line`. NULL ends it; then p->why tells an error from
/// the end.
static char *read_line(char *line, int room, void *stream)
{
    struct parser *p = stream;
    if (p->left == 0)
        return NULL;
    p->line++;
    const char *newline = memchr(p->text, '\n', p->left);
    size_t length = newline == NULL ? p->left : (size_t)(newline - p->text) + 1;
    if (length > (size_t)room - 2) {
        if (refuse_here(p, ERR_RANGE, "the line has %zu characters; the limit is %d", length, room - 2) != OK)
            return NULL;
    }
    if (memchr(p->text, '\0', length) != NULL) {
        if (refuse_here(p, ERR_INVAL, "a zero byte: save the file as plain text (UTF-8)") != OK)
            return NULL;
    }
    memcpy(line, p->text, length);
    line[length] = '\0';
    p->text += length;
    p->left -= length;
    return line;
}

// Rules about the whole

static enum status check_whole(struct parser *p)
{
    const struct boot_info *info = p->info;
    const struct boot_node *n = &info->node;
    if (p->lines.node == 0)
        return refuse(p->why, ERR_INVAL, "%s: no [node] section; it needs at least 'name =' and 'role ='",
                      p->path);
    p->line = p->lines.node;
    if (n->name[0] == '\0')
        return refuse_here(p, ERR_INVAL, "[node] has no 'name = NAME' line");
    if (n->role == 0)
        return refuse_here(p, ERR_INVAL, "[node] has no 'role = host' or 'role = remote' line");
    if (n->role == BOOT_ROLE_REMOTE && info->guest_count != 0) {
        p->line = info->guests[0].ini_line;
        return refuse_here(p, ERR_INVAL,
                           "[guest %s], but this node is a remote; only role = host runs guests",
                           info->guests[0].name);
    }
    p->line = p->peer_line;
    if (n->role == BOOT_ROLE_HOST && p->peer_line != 0)
        return refuse_here(p, ERR_INVAL, "'peer' is for role = remote: it names the host to announce to");
    p->line = p->lend_line;
    if (n->role == BOOT_ROLE_HOST && p->lend_line != 0)
        return refuse_here(p, ERR_INVAL, "'lend' is for role = remote: a host lends nothing");
    p->line = p->unsafe_line;
    if (n->role == BOOT_ROLE_HOST && p->unsafe_line != 0)
        return refuse_here(p, ERR_INVAL, "'unsafe-interrupts' is for role = remote: a host lends nothing");
    p->line = p->gateway_line;
    if (p->gateway_line != 0 && n->dhcp)
        return refuse_here(p, ERR_INVAL,
                           "'gateway' needs 'address = a.b.c.d/n'; with dhcp the server names it");
    if (p->gateway_line != 0 && !same_network(n->gateway, n->address, n->prefix))
        return refuse_here(p, ERR_INVAL, "gateway %u.%u.%u.%u is not in the network of %u.%u.%u.%u/%u",
                           n->gateway[0], n->gateway[1], n->gateway[2], n->gateway[3], n->address[0],
                           n->address[1], n->address[2], n->address[3], n->prefix);
    return config_check_security(p->path, p->info, &p->lines, p->why);
}

enum status config_parse(const char *path, const char *text, size_t size, struct boot_info *info,
                         struct refusal *why)
{
    struct parser p = {.path = path, .info = info, .why = why, .text = text, .left = size};
    info->node.dhcp = 1;
    info->node.console_serial = 1;
    info->node.console_fb = 1;
    int bad = ini_parse_stream(read_line, &p, on_line, &p);
    if (why->text[0] != '\0')
        return ERR_INVAL;
    if (bad != 0)
        return refuse_here(&p, ERR_INVAL, "neither '[section]' nor 'key = value' nor '; comment'");
    enum status s = finish_section(&p);
    return s != OK ? s : check_whole(&p);
}
