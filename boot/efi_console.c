// SPDX-License-Identifier: BSD-2-Clause
// See efi_console.h. One call into the firmware per line: its console may be slow (graphics, serial and a
// scroll each time).
#include "boot/efi_console.h"
#include <stdarg.h>
#include <stdio.h>

static SIMPLE_TEXT_OUTPUT_INTERFACE *out;

void console_start(EFI_SYSTEM_TABLE *system)
{
    out = system->ConOut;
}

void say(const char *fmt, ...)
{
    char text[768];
    CHAR16 line[sizeof text + 2];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    unsigned n = 0;
    for (; text[n] != '\0'; n++)
        line[n] = text[n] >= ' ' && text[n] <= '~' ? (CHAR16)text[n] : u'?';
    line[n++] = u'\r';
    line[n++] = u'\n';
    line[n] = 0;
    if (out != NULL)
        (void)out->OutputString(out, line);
}
