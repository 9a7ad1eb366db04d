// SPDX-License-Identifier: BSD-2-Clause
// See options.h.
#include "boot/options.h"
#include <string.h>
#include <strings.h>

enum { TEXT_MAX = 512 };

/// UCS-2 to ASCII. False: not text.
static bool to_text(const uint8_t *given, size_t bytes, char text[TEXT_MAX])
{
    size_t n = 0;
    for (size_t at = 0; at + 1 < bytes; at += 2) {
        unsigned c = given[at] | (unsigned)given[at + 1] << 8;
        if (c == 0)
            break;
        if ((c < ' ' && c != '\t') || c > '~' || n == TEXT_MAX - 1)
            return false;
        text[n++] = (char)c;
    }
    text[n] = '\0';
    return true;
}

/// The next word, quoted or not, NUL-terminated in place; *at moves on. NULL: none is left.
static char *next_word(char **at)
{
    char *p = *at + strspn(*at, " \t");
    if (*p == '\0')
        return NULL;
    bool quoted = *p == '"';
    if (quoted)
        p++;
    char *end = p + strcspn(p, quoted ? "\"" : " \t");
    *at = *end == '\0' ? end : end + 1;
    *end = '\0';
    return p;
}

static bool ends_with(const char *word, const char *suffix)
{
    size_t n = strlen(word), m = strlen(suffix);
    return n > m && strcasecmp(word + n - m, suffix) == 0;
}

enum status options_read(const void *given, size_t bytes, struct options *options, struct refusal *why)
{
    char text[TEXT_MAX];
    memset(options, 0, sizeof *options);
    memcpy(options->ini, OPTIONS_DEFAULT_INI, sizeof OPTIONS_DEFAULT_INI);
    if (given == NULL || !to_text(given, bytes, text))
        return OK;
    char *rest = text;
    char *word = next_word(&rest);
    options->shell = word != NULL && ends_with(word, ".efi"); // a shell puts the program's name first
    if (options->shell)
        word = next_word(&rest);
    if (word == NULL)
        return OK;
    if (!ends_with(word, ".ini")) {
        if (!options->shell)
            return OK;
        return refuse(why, ERR_INVAL, "'%.64s' is not a configuration file. Usage: BOOTX64.EFI [FILE.ini]",
                      word);
    }
    if (strlen(word) >= BOOT_PATH_MAX)
        return refuse(why, ERR_RANGE,
                      "The path of the configuration file has %zu characters; the limit is %d.", strlen(word),
                      BOOT_PATH_MAX - 1);
    memcpy(options->ini, word, strlen(word) + 1);
    return OK;
}
