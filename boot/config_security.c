// SPDX-License-Identifier: BSD-2-Clause
// See config_security.h.
#include "boot/config_security.h"
#include <stdbool.h>
#include <string.h>

static bool is_peer(const struct boot_keys *k, const char *name)
{
    for (uint32_t i = 0; i < k->peer_count; i++)
        if (strcmp(k->peers[i].name, name) == 0)
            return true;
    return false;
}

/// Every device is at a node that we can speak with.
static enum status check_devices(const char *path, const struct boot_info *info, struct refusal *why)
{
    for (uint32_t i = 0; i < info->guest_count; i++) {
        for (uint32_t j = 0; j < info->guests[i].device_count; j++) {
            const struct boot_device *d = &info->guests[i].devices[j];
            if (info->node.security == BOOT_SECURITY_MISSING)
                return refuse_line(why, ERR_DENIED, path, d->ini_line,
                                   "a device of node '%s', but [node] has neither 'key' and 'psk' (run "
                                   "tools/farbus-keygen) nor 'security = none' (for networks that you trust)",
                                   d->node);
            if (info->node.security == BOOT_SECURITY_KEYS && !is_peer(&info->keys, d->node))
                return refuse_line(why, ERR_DENIED, path, d->ini_line,
                                   "a device of node '%s', but no [peer %s] section has its public key",
                                   d->node, d->node);
        }
    }
    return OK;
}

/// A name after `to` means who has its key, so its key must be here.
static enum status check_lend(const char *path, const struct boot_info *info, struct refusal *why)
{
    const struct boot_node *n = &info->node;
    for (uint32_t i = 0; i < n->lend_count; i++) {
        for (uint32_t j = 0; j < n->lend[i].to_count; j++) {
            const char *host = n->lend[i].to[j];
            if (strcmp(host, n->name) == 0)
                return refuse_line(why, ERR_INVAL, path, n->lend[i].ini_line,
                                   "'%s' after 'to' is this node itself; a host is another machine", host);
            if (n->security == BOOT_SECURITY_KEYS && !is_peer(&info->keys, host))
                return refuse_line(why, ERR_DENIED, path, n->lend[i].ini_line,
                                   "lent to host '%s', but no [peer %s] section has its public key", host,
                                   host);
        }
    }
    return OK;
}

enum status config_check_security(const char *path, struct boot_info *info, const struct config_lines *lines,
                                  struct refusal *why)
{
    struct boot_node *n = &info->node;
    const struct boot_keys *k = &info->keys;
    n->security = lines->security != 0 ? BOOT_SECURITY_NONE
                  : lines->key != 0    ? BOOT_SECURITY_KEYS
                                       : BOOT_SECURITY_MISSING;
    uint32_t line = lines->key != 0 ? lines->key : lines->psk;
    if ((lines->key == 0) != (lines->psk == 0))
        return refuse_line(why, ERR_INVAL, path, line,
                           "'key' and 'psk' belong together; run tools/farbus-keygen");
    if (lines->security != 0 && lines->key != 0)
        return refuse_line(why, ERR_INVAL, path, line, "a key, but 'security = none' in line %u",
                           lines->security);
    if (k->peer_count != 0 && n->security != BOOT_SECURITY_KEYS) {
        line = k->peers[0].ini_line;
        return refuse_line(why, ERR_INVAL, path, line, "[peer %s], but [node] has no 'key' and 'psk'",
                           k->peers[0].name);
    }
    line = lines->node;
    if (is_peer(k, n->name))
        return refuse_line(why, ERR_INVAL, path, line,
                           "[peer %s] is this node itself; a peer is another machine", n->name);
    if (n->role == BOOT_ROLE_REMOTE && n->security == BOOT_SECURITY_MISSING)
        return refuse_line(
            why, ERR_DENIED, path, line,
            "[node] has neither 'key' and 'psk' (run tools/farbus-keygen) nor 'security = none' (for "
            "networks that you trust)");
    if (n->role == BOOT_ROLE_REMOTE && n->security == BOOT_SECURITY_KEYS && k->peer_count == 0)
        return refuse_line(why, ERR_INVAL, path, line,
                           "no [peer NAME] section: no host could use this remote's devices");
    enum status s = check_lend(path, info, why);
    return s != OK ? s : check_devices(path, info, why);
}
