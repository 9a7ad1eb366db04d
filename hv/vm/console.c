// SPDX-License-Identifier: BSD-2-Clause
// A guest's UART output on the host's console: whole lines, each with the guest's name, so that several
// guests stay readable; and what is typed for it, which crosses from the console's CPU to the guest's.
// Invariant: of what a guest prints only text and tabs reach the console. It is a stranger there: control
// sequences would let it write over others' lines, and have the operator's terminal type answers.
#include "hv/vm/guest.h"
#include "rt/log.h"
#include <string.h>

void guest_console_flush(struct guest *g)
{
    if (!g->line_length)
        return;
    // One write a line: lines of other CPUs do not come in between.
    char out[sizeof g->line + BOOT_NAME_MAX + 8];
    size_t n = strlen(g->config->name);
    memcpy(out, g->config->name, n);
    memcpy(out + n, "| ", 2);
    memcpy(out + n + 2, g->line, g->line_length);
    memcpy(out + n + 2 + g->line_length, "\n", 1);
    console_write(out, n + g->line_length + 3);
    g->line_length = 0;
}

/// ECMA-48: ESC [, parameters and intermediates, a final byte; ESC, intermediates, a final byte. What is in a
/// string (ESC ] and its like) is left as text.
enum { TEXT, ESCAPE, SEQUENCE };

static bool is_text(struct guest *g, uint8_t byte)
{
    uint8_t state = g->escape, last = g->line_length ? (uint8_t)g->line[g->line_length - 1] : 0;
    g->escape = byte == 0x1b ? ESCAPE : TEXT;
    if (byte < ' ' || byte == 0x7f)
        return byte == '\t' || byte == '\n';
    if (byte >= 0x80 && byte < 0xa0) // alone, or behind 0xc2, it is a control character as well
        return last >= 0x80 && last != 0xc2;
    if (state == ESCAPE && byte == '[')
        g->escape = SEQUENCE;
    else if (state != TEXT && byte < (state == ESCAPE ? 0x30 : 0x40))
        g->escape = state;
    return state == TEXT;
}

void guest_console_byte(void *guest, char byte)
{
    struct guest *g = guest;
    if (!is_text(g, (uint8_t)byte))
        return;
    if (byte == '\n' && !g->line_length) {
        g->line[g->line_length++] = ' ';
        guest_console_flush(g);
        return;
    }
    if (byte != '\n')
        g->line[g->line_length++] = byte;
    if (byte == '\n' || g->line_length == sizeof g->line)
        guest_console_flush(g);
}

enum status guest_console_type(struct guest *g, uint8_t byte)
{
    uint32_t in = atomic_load_explicit(&g->typed_in, memory_order_relaxed);
    if (in - atomic_load_explicit(&g->typed_out, memory_order_acquire) == sizeof g->typed)
        return ERR_BUSY;
    g->typed[in % sizeof g->typed] = byte;
    atomic_store_explicit(&g->typed_in, in + 1, memory_order_release);
    return OK;
}

void guest_console_feed(struct guest *g)
{
    uint32_t out = atomic_load_explicit(&g->typed_out, memory_order_relaxed);
    uint32_t in = atomic_load_explicit(&g->typed_in, memory_order_acquire);
    while (out != in && guest_uart_input(&g->uart, g->typed[out % sizeof g->typed]) == OK)
        out++;
    atomic_store_explicit(&g->typed_out, out, memory_order_release);
}
