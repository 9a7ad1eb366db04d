// SPDX-License-Identifier: BSD-2-Clause
// Framebuffers are slow to write and slower to read: nothing is read back, only cells that change are drawn,
// and when the bottom is reached the text moves up by half a screen at once, so that a line is drawn about
// twice in its life. Invariants: text[] is what the screen shows; x and y are on the screen at every moment,
// because a panic stops the CPU that writes wherever it is, and goes on from there.
#include "drivers/fbcon.h"
#include <string.h>

#define COLOUR_TEXT 0x00d0d0d0u // the same bytes as RGBX and BGRX
#define COLOUR_BACK 0x00000000u
#define TAB         8u

size_t fbcon_text_bytes(uint32_t width, uint32_t height, const struct psf *font)
{
    return (size_t)(width / font->width) * (height / font->height);
}

/// Draws what differs between the glyphs of `old` and `new`; blank rows and strokes they share cost nothing.
static void draw(struct fbcon *con, uint32_t column, uint32_t row, uint8_t old, uint8_t new)
{
    volatile uint32_t *line =
        con->pixels + (size_t)row * con->font.height * con->pitch + column * con->font.width;
    for (uint32_t y = 0; y < con->font.height; y++, line += con->pitch) {
        uint32_t bits = new ? psf_row(&con->font, new, y) : 0;
        uint32_t change = bits ^ (old ? psf_row(&con->font, old, y) : 0);
        for (uint32_t x = 0; change != 0; x++, bits <<= 1, change <<= 1)
            if (change >> 31)
                line[x] = con->colours[bits >> 31];
    }
}

static void show(struct fbcon *con, uint32_t column, uint32_t row, uint8_t c)
{
    uint8_t *cell = &con->text[row * con->columns + column];
    if (*cell == c)
        return;
    draw(con, column, row, *cell, c);
    *cell = c;
}

static void move_up(struct fbcon *con, uint32_t by)
{
    for (uint32_t row = 0; row < con->rows; row++)
        for (uint32_t column = 0; column < con->columns; column++)
            show(con, column, row, row + by < con->rows ? con->text[(row + by) * con->columns + column] : 0);
}

static void new_line(struct fbcon *con)
{
    uint32_t half = con->rows > 1 ? con->rows / 2 : 1;
    con->x = 0;
    if (con->y + 1 < con->rows) {
        con->y++;
        return;
    }
    move_up(con, half);
    con->y = con->rows - half;
}

void fbcon_start(struct fbcon *con, volatile uint32_t *pixels, uint32_t width, uint32_t height,
                 uint32_t pitch, const struct psf *font, uint8_t *text)
{
    *con = (struct fbcon){
        .pixels = pixels,
        .pitch = pitch,
        .font = *font,
        .columns = width / font->width,
        .rows = height / font->height,
        .text = text,
        .colours = {COLOUR_BACK, COLOUR_TEXT},
    };
    for (uint32_t y = 0; y < height; y++) {
        volatile uint32_t *line = pixels + (size_t)y * pitch;
        size_t n = width;
        __asm__ volatile("rep stosl" : "+D"(line), "+c"(n) : "a"(COLOUR_BACK) : "memory");
    }
}

void fbcon_write(struct fbcon *con, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)bytes[i];
        switch (c) {
        case '\n':
            new_line(con);
            continue;
        case '\r':
            con->x = 0;
            continue;
        case '\b':
            con->x -= con->x > 0;
            continue;
        case '\t':
            con->x = (con->x / TAB + 1) * TAB;
            if (con->x >= con->columns)
                new_line(con);
            continue;
        default:
            break;
        }
        if (c < ' ')
            continue;
        if (con->x >= con->columns)
            new_line(con);
        show(con, con->x++, con->y, c == ' ' ? 0 : c);
    }
}
