// SPDX-License-Identifier: BSD-2-Clause
// See config.h: lines, sections, and the rules that need the whole file (a key that makes sense for one role
// only, a device given twice). What a key may be: config_node.c, config_guest.c.
#include "boot/config.h"
#include "boot/config_keys.h"
#include <ini.h> // as the Makefile sets it up: one line is one line, sections are reported, the first error ends it
#include <string.h>

// [peer NAME]

static enum status set_peer_key(struct config_parser *p, const char *value)
{
    struct boot_keys *k = &p->info->keys;
    if (!value_key(value, p->peer->key))
        return config_bad_key(p, "key");
    for (uint32_t i = 0; i < k->peer_count; i++)
        if (&k->peers[i] != p->peer && memcmp(k->peers[i].key, p->peer->key, BOOT_KEY_BYTES) == 0)
            return refuse_here(p, ERR_INVAL, "[peer %s] has the same key, in line %u; each node has its own",
                               k->peers[i].name, k->peers[i].ini_line);
    return OK;
}

static const struct key peer_table[] = {{"key", false, set_peer_key}};

static const struct key_table peer_keys = {"peer NAME", peer_table, sizeof peer_table / sizeof *peer_table};

static const struct key_table *const sections[SECTIONS] = {
    [SECTION_NODE] = &config_node_keys,
    [SECTION_GUEST] = &config_guest_keys,
    [SECTION_PEER] = &peer_keys,
};

// Sections and lines

/// What a guest lacks is known when its section ends; the sentence then names the line the section began.
static enum status finish_guest(struct config_parser *p)
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

static enum status begin_node(struct config_parser *p)
{
    if (p->lines.node != 0)
        return refuse_here(p, ERR_INVAL, "a second [node] section; the first is in line %u", p->lines.node);
    p->lines.node = p->line;
    p->section = SECTION_NODE;
    return OK;
}

static enum status begin_guest(struct config_parser *p, const char *name)
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

static enum status begin_peer(struct config_parser *p, const char *name)
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

static enum status finish_peer(struct config_parser *p)
{
    if (p->section != SECTION_PEER || p->key_lines[SECTION_PEER][0] != 0)
        return OK;
    return refuse(p->why, ERR_INVAL, "%s line %u: [peer %s] has no 'key = PUBLIC KEY' line", p->path,
                  p->peer->ini_line, p->peer->name);
}

static enum status finish_section(struct config_parser *p)
{
    enum status s = finish_guest(p);
    return s != OK ? s : finish_peer(p);
}

static enum status begin_section(struct config_parser *p, const char *section)
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

static enum status unknown_key(struct config_parser *p, const char *name)
{
    const struct key *table = sections[p->section]->keys;
    size_t count = sections[p->section]->count;
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
                       sections[p->section]->title, known);
}

static enum status take_key(struct config_parser *p, const char *name, const char *value)
{
    if (p->section == SECTION_NONE)
        return refuse_here(p, ERR_INVAL, "'" SHOWN "' stands before the first section; begin with [node]",
                           name);
    const struct key *table = sections[p->section]->keys;
    uint32_t *lines = p->key_lines[p->section];
    for (size_t i = 0; i < sections[p->section]->count; i++) {
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
    struct config_parser *p = user;
    (void)line; // p->line is the same, and is known to read_line as well
    return (name == NULL ? begin_section(p, section) : take_key(p, name, value)) == OK;
}

/// inih's reader, as fgets: one line and its NUL into `line`. NULL ends it; then p->why tells an error from
/// the end.
static char *read_line(char *line, int room, void *stream)
{
    struct config_parser *p = stream;
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

static enum status check_whole(struct config_parser *p)
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
    if (p->gateway_line != 0 && !config_same_network(n->gateway, n->address, n->prefix))
        return refuse_here(p, ERR_INVAL, "gateway %u.%u.%u.%u is not in the network of %u.%u.%u.%u/%u",
                           n->gateway[0], n->gateway[1], n->gateway[2], n->gateway[3], n->address[0],
                           n->address[1], n->address[2], n->address[3], n->prefix);
    return config_check_security(p->path, p->info, &p->lines, p->why);
}

enum status config_parse(const char *path, const char *text, size_t size, struct boot_info *info,
                         struct refusal *why)
{
    struct config_parser p = {.path = path, .info = info, .why = why, .text = text, .left = size};
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
