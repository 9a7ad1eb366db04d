// SPDX-License-Identifier: BSD-2-Clause
// The guest's console on COM1. A transmitter that never becomes empty must not hang a test: waiting is
// bounded.
#include "tests/guests/lib/console.h"
#include "tests/guests/lib/cpu.h"
#include <stdarg.h>

#define COM1     0x3f8u
#define LSR      (COM1 + 5)
#define LSR_DR   0x01u
#define LSR_THRE 0x20u

void console_start(void)
{
    out8(COM1 + 1, 0);    // no interrupts
    out8(COM1 + 3, 0x80); // DLAB
    out8(COM1 + 0, 1);    // 115200
    out8(COM1 + 1, 0);
    out8(COM1 + 3, 0x03); // 8N1
    out8(COM1 + 2, 0x07); // FIFOs on and empty
    out8(COM1 + 4, 0x03); // DTR, RTS
}

void console_put(char c)
{
    if (c == '\n')
        console_put('\r');
    for (unsigned i = 0; i < 100000 && (in8(LSR) & LSR_THRE) == 0; i++)
        ;
    out8(COM1, (uint8_t)c);
}

int console_get(void)
{
    return (in8(LSR) & LSR_DR) != 0 ? in8(COM1) : -1;
}

static void put_number(uint64_t n, uint32_t base, unsigned width, char pad)
{
    char text[24];
    unsigned i = sizeof text;
    do {
        text[--i] = "0123456789abcdef"[divide(&n, base)];
    } while (n != 0);
    while (sizeof text - i < width && i > 0)
        text[--i] = pad;
    while (i < sizeof text)
        console_put(text[i++]);
}

void print(const char *f, ...)
{
    va_list args;
    va_start(args, f);
    for (; *f != '\0'; f++) {
        if (*f != '%') {
            console_put(*f);
            continue;
        }
        char pad = ' ';
        unsigned width = 0, longs = 0;
        if (*++f == '0')
            pad = '0';
        for (; *f >= '0' && *f <= '9'; f++)
            width = width * 10 + (unsigned)(*f - '0');
        for (; *f == 'l'; f++)
            longs++;
        switch (*f) {
        case 'c':
            console_put((char)va_arg(args, int));
            break;
        case 's':
            for (const char *s = va_arg(args, const char *); *s != '\0'; s++)
                console_put(*s);
            break;
        case 'd': {
            int n = va_arg(args, int);
            if (n < 0)
                console_put('-');
            put_number(n < 0 ? 0u - (unsigned)n : (unsigned)n, 10, width, pad);
            break;
        }
        case 'u':
        case 'x':
            put_number(longs == 2 ? va_arg(args, unsigned long long) : va_arg(args, unsigned),
                       *f == 'u' ? 10 : 16, width, pad);
            break;
        default:
            console_put(*f);
        }
    }
    va_end(args);
}
