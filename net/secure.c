// SPDX-License-Identifier: BSD-2-Clause
// See secure.h. Keeps this machine's only copy of its private key and of the network's psk.
#include "net/secure.h"
#include "net/keys.h"
#include "net/link.h"
#include "rt/entropy.h"
#include "rt/log.h"

#define ROOM "net"

static struct node_keys keys;

/// Ephemeral keys must be new and secret. The private key is mixed in: even on a machine without a generator
/// only who has it, or guesses every tick of the start, could tell what comes out.
static void seed(const struct boot_info *info)
{
    uint64_t words[ENTROPY_WORDS];
    if (!entropy_gather(words))
        log_warn(
            ROOM,
            "this CPU has no random number generator: keys of sessions come from its clock and farbus.ini");
    crypto_random_add(words, sizeof words);
    crypto_random_add(&info->entry_tsc, sizeof info->entry_tsc);
    crypto_random_add(&info->exit_tsc, sizeof info->exit_tsc);
    crypto_random_add(info->keys.key, sizeof info->keys.key);
    crypto_wipe(words, sizeof words);
}

bool net_secure(const struct boot_info *info)
{
    const struct boot_keys *from = &info->keys;
    if (info->node.security == BOOT_SECURITY_NONE) {
        log_warn(ROOM, "security = none: whoever reaches this network can use, or pose as, this machine");
        return true;
    }
    if (info->node.security != BOOT_SECURITY_KEYS)
        return false;
    seed(info);
    keys_set(&keys, from->key, from->psk);
    for (uint32_t i = 0; i < from->peer_count; i++) {
        enum status s = keys_add_peer(&keys, from->peers[i].name, from->peers[i].key);
        if (s != OK)
            log_error(ROOM, "farbus.ini line %u: [peer %s] is of no use: its key is this node's own",
                      from->peers[i].ini_line, from->peers[i].name);
    }
    link_use_keys(&keys);
    log_info(ROOM, "links are sealed; this node's public key is %02x%02x%02x%02x..., it knows %u peer%s",
             keys.public_key[0], keys.public_key[1], keys.public_key[2], keys.public_key[3], keys.peer_count,
             keys.peer_count == 1 ? "" : "s");
    return true;
}
