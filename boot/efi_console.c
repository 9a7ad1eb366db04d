// SPDX-License-Identifier: BSD-2-Clause
// See efi_console.h. One call into the firmware per line: its console may be slow (graphics, serial and a
// scroll each time).
#include "boot/efi_console.h"
#include <stdarg.h>
#include <stdio.h>

static SIMPLE_TEXT_OUTPUT_INTERFACE *out;
static SIMPLE_INPUT_INTERFACE *in;
static EFI_BOOT_SERVICES *bs;

void console_start(EFI_SYSTEM_TABLE *system)
{
    out = system->ConOut;
    in = system->ConIn;
    bs = system->BootServices;
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

void console_pause(unsigned seconds)
{
    EFI_EVENT timer;
    EFI_INPUT_KEY key;
    UINTN which;
    if (in == NULL || EFI_ERROR(bs->CreateEvent(EVT_TIMER, 0, NULL, NULL, &timer)))
        return;
    say("Back to the firmware with any key, or in %u seconds.", seconds);
    (void)in->Reset(in, FALSE);                                                  // forgets keys typed before
    if (!EFI_ERROR(bs->SetTimer(timer, TimerRelative, seconds * 10000000ull))) { // in 100 ns
        EFI_EVENT events[] = {in->WaitForKey, timer};
        (void)bs->WaitForEvent(2, events, &which);
        (void)in->ReadKeyStroke(in, &key);
    }
    (void)bs->CloseEvent(timer);
}
