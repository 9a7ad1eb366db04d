// SPDX-License-Identifier: BSD-2-Clause
// See refusal.h. The only formatting in the decisions of the loader.
#include "boot/refusal.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum status refuse(struct refusal *why, enum status code, const char *fmt, ...)
{
    if (why->text[0] == '\0') {
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(why->text, sizeof why->text, fmt, ap);
        va_end(ap);
    }
    return code;
}

enum status refuse_line(struct refusal *why, enum status code, const char *path, uint32_t line,
                        const char *fmt, ...)
{
    if (why->text[0] != '\0')
        return code;
    if (line != 0)
        (void)snprintf(why->text, sizeof why->text, "%s line %u: ", path, line);
    else
        (void)snprintf(why->text, sizeof why->text, "%s: ", path);
    size_t used = strlen(why->text);
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(why->text + used, sizeof why->text - used, fmt, ap);
    va_end(ap);
    return code;
}
