// SPDX-License-Identifier: BSD-2-Clause
// Inside boot/config*.c: the parser's state, and the tables of keys, one for each section of farbus.ini. A
// row says what the key may be, its function stores the value or refuses it with a sentence.
#pragma once
#include "boot/config_security.h"
#include "boot/value.h"

#define SHOWN       "%.64s" // how a value from the file is quoted: long ones lose their end
#define NAME_WANTED "a name: 1 to 31 letters, digits, '-', '_' or '.'"
#define PCI_WANTED  "a PCI address like 0000:00:1f.2 (dddd:bb:dd.f, hexadecimal)"

enum section { SECTION_NONE, SECTION_NODE, SECTION_GUEST, SECTION_PEER, SECTIONS };

enum { CONFIG_KEYS_MAX = 14 };

struct config_parser {
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
    uint32_t key_lines[SECTIONS][CONFIG_KEYS_MAX];
    struct config_lines lines;
    uint32_t peer_line, lend_line, gateway_line, unsafe_line;
    uint32_t dma_line; // of this guest
};

struct key {
    const char *name;
    bool repeats;
    enum status (*set)(struct config_parser *p, const char *value); // OK, or what `refuse` returned
};

#define refuse_here(p, code, ...) refuse_line((p)->why, code, (p)->path, (p)->line, __VA_ARGS__)

struct key_table {
    const char *title;
    const struct key *keys;
    size_t count;
};
extern const struct key_table config_node_keys, config_guest_keys;

/// "KEY = 'VALUE' is not WANTED"; a secret's value is not shown.
MUST_CHECK enum status config_bad_value(struct config_parser *p, const char *key, const char *value,
                                        const char *wanted);
MUST_CHECK enum status config_bad_key(struct config_parser *p, const char *name);
bool config_same_pci(const struct boot_pci_address *a, const struct boot_pci_address *b);
/// Are two IPv4 addresses in one network of this prefix?
bool config_same_network(const uint8_t a[4], const uint8_t b[4], uint8_t prefix);
