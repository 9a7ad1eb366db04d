// SPDX-License-Identifier: BSD-2-Clause
// Words of farbus.ini to values: sizes, numbers, addresses, keys, names, paths. Knows no key and prints
// nothing: the caller says what was wrong. Every function takes the whole word: anything left over makes it
// wrong.
#pragma once
#include "rt/boot_info.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// "4096", "64K", "64M", "1G", "1T", also "64MB" and "64MiB"; powers of 1024, suffix in either case. Bytes.
bool value_size(const char *word, uint64_t *bytes);
/// Decimal, not above `max`.
bool value_number(const char *word, uint32_t max, uint32_t *number);
/// "a.b.c.d", network order.
bool value_ipv4(const char *word, uint8_t address[4]);
/// "a.b.c.d/n", 1 <= n <= 30.
bool value_ipv4_prefix(const char *word, uint8_t address[4], uint8_t *prefix);
/// "dddd:bb:dd.f", hexadecimal, exactly so many digits, device <= 1f, function <= 7.
bool value_pci(const char *word, struct boot_pci_address *at);
/// "node/dddd:bb:dd.f".
bool value_device(const char *word, struct boot_device *device);
/// 64 hexadecimal digits.
bool value_key(const char *word, uint8_t key[BOOT_KEY_BYTES]);
/// "52:54:00:12:34:56": a unicast address.
bool value_mac(const char *word, uint8_t mac[6]);
/// Bits a second: "64k", "100M", "1G"; powers of 1000, suffix in either case, at least 8000.
bool value_rate(const char *word, uint64_t *bits);
/// Letters, digits, '-', '_', '.'; 1 to BOOT_NAME_MAX - 1 of them, copied with its NUL.
bool value_name(const char *word, char name[BOOT_NAME_MAX]);
/// A path on the volume the loader came from: printable ASCII, 1 to BOOT_PATH_MAX - 1 characters, copied as
/// written.
bool value_path(const char *word, size_t length, char path[BOOT_PATH_MAX]);
