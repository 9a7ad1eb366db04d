// SPDX-License-Identifier: BSD-2-Clause
// See value.h.
#include "boot/value.h"
#include <string.h>

static int digit_of(char c, unsigned base)
{
    unsigned d;
    if (c >= '0' && c <= '9')
        d = (unsigned)(c - '0');
    else if (c >= 'a' && c <= 'f')
        d = (unsigned)(c - 'a') + 10;
    else if (c >= 'A' && c <= 'F')
        d = (unsigned)(c - 'A') + 10;
    else
        return -1;
    return d < base ? (int)d : -1;
}

/// Reads decimal digits at *at and moves past them. False: none, or above `max`.
static bool decimal(const char **at, uint64_t max, uint64_t *number)
{
    uint64_t n = 0;
    const char *p = *at;
    for (int d; (d = digit_of(*p, 10)) >= 0; p++) {
        if (n > (max - (unsigned)d) / 10)
            return false;
        n = n * 10 + (unsigned)d;
    }
    if (p == *at)
        return false;
    *at = p;
    *number = n;
    return true;
}

/// Reads exactly `digits` hexadecimal digits at *at and moves past them.
static bool hexadecimal(const char **at, unsigned digits, uint32_t *number)
{
    uint32_t n = 0;
    const char *p = *at;
    for (unsigned i = 0; i < digits; i++, p++) {
        int d = digit_of(*p, 16);
        if (d < 0)
            return false;
        n = n << 4 | (unsigned)d;
    }
    *at = p;
    *number = n;
    return true;
}

static bool skip(const char **at, char c)
{
    if (**at != c)
        return false;
    (*at)++;
    return true;
}

bool value_size(const char *word, uint64_t *bytes)
{
    uint64_t n;
    if (!decimal(&word, UINT64_MAX >> 1, &n))
        return false;
    unsigned shift = 0;
    switch (*word | 0x20) {
    case 'k':
        shift = 10;
        break;
    case 'm':
        shift = 20;
        break;
    case 'g':
        shift = 30;
        break;
    case 't':
        shift = 40;
        break;
    default:
        break;
    }
    if (shift != 0) {
        word++;
        if (word[0] == 'i' && word[1] == 'B')
            word += 2;
        else if (word[0] == 'B')
            word++;
    }
    if (*word != '\0' || n > UINT64_MAX >> 1 >> shift)
        return false;
    *bytes = n << shift;
    return true;
}

bool value_number(const char *word, uint32_t max, uint32_t *number)
{
    uint64_t n;
    if (!decimal(&word, max, &n) || *word != '\0')
        return false;
    *number = (uint32_t)n;
    return true;
}

static bool dotted(const char **at, uint8_t address[4])
{
    for (unsigned i = 0; i < 4; i++) {
        uint64_t n;
        if ((i > 0 && !skip(at, '.')) || !decimal(at, 255, &n))
            return false;
        address[i] = (uint8_t)n;
    }
    return true;
}

bool value_ipv4(const char *word, uint8_t address[4])
{
    return dotted(&word, address) && *word == '\0';
}

bool value_ipv4_prefix(const char *word, uint8_t address[4], uint8_t *prefix)
{
    uint64_t n;
    if (!dotted(&word, address) || !skip(&word, '/') || !decimal(&word, 30, &n) || n == 0 || *word != '\0')
        return false;
    *prefix = (uint8_t)n;
    return true;
}

bool value_pci(const char *word, struct boot_pci_address *at)
{
    uint32_t segment, bus, device, function;
    if (!hexadecimal(&word, 4, &segment) || !skip(&word, ':') || !hexadecimal(&word, 2, &bus) ||
        !skip(&word, ':') || !hexadecimal(&word, 2, &device) || !skip(&word, '.') ||
        !hexadecimal(&word, 1, &function) || *word != '\0' || device > 0x1f || function > 7)
        return false;
    at->segment = (uint16_t)segment;
    at->bus = (uint8_t)bus;
    at->devfn = (uint8_t)(device << 3 | function);
    return true;
}

static bool is_name(const char *word, size_t length)
{
    if (length == 0 || length >= BOOT_NAME_MAX)
        return false;
    for (size_t i = 0; i < length; i++) {
        char c = word[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '-' && c != '_' && c != '.')
            return false;
    }
    return true;
}

bool value_device(const char *word, struct boot_device *device)
{
    const char *slash = strchr(word, '/');
    if (slash == NULL || !is_name(word, (size_t)(slash - word)) || !value_pci(slash + 1, &device->at))
        return false;
    memset(device->node, 0, sizeof device->node);
    memcpy(device->node, word, (size_t)(slash - word));
    return true;
}

bool value_key(const char *word, uint8_t key[BOOT_KEY_BYTES])
{
    for (unsigned i = 0; i < BOOT_KEY_BYTES; i++) {
        uint32_t byte;
        if (!hexadecimal(&word, 2, &byte))
            return false;
        key[i] = (uint8_t)byte;
    }
    return *word == '\0';
}

bool value_mac(const char *word, uint8_t mac[6])
{
    for (unsigned i = 0; i < 6; i++) {
        uint32_t byte;
        if ((i > 0 && !skip(&word, ':')) || !hexadecimal(&word, 2, &byte))
            return false;
        mac[i] = (uint8_t)byte;
    }
    return *word == '\0' && !(mac[0] & 1);
}

bool value_rate(const char *word, uint64_t *bits)
{
    static const char suffixes[] = "kmg";
    uint64_t n, unit = 1;
    if (!decimal(&word, 1000000000, &n))
        return false;
    for (unsigned i = 0; *word && i < 3; i++) {
        unit *= 1000;
        if ((*word | 0x20) == suffixes[i]) {
            word++;
            break;
        }
        if (i == 2)
            return false;
    }
    *bits = n * unit;
    return *word == '\0' && *bits >= 8000;
}

bool value_name(const char *word, char name[BOOT_NAME_MAX])
{
    size_t length = strlen(word);
    if (!is_name(word, length))
        return false;
    memcpy(name, word, length + 1);
    return true;
}

bool value_path(const char *word, size_t length, char path[BOOT_PATH_MAX])
{
    if (length == 0 || length >= BOOT_PATH_MAX)
        return false;
    for (size_t i = 0; i < length; i++)
        if (word[i] < ' ' || word[i] > '~')
            return false;
    memcpy(path, word, length);
    path[length] = '\0';
    return true;
}
