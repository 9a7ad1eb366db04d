// SPDX-License-Identifier: BSD-2-Clause
// Text on a framebuffer. Pure: draws into any memory of 32-bit pixels, so a test can look at it.
#pragma once
#include "drivers/psf.h"
#include "rt/status.h"
#include <stdbool.h>
#include <stdint.h>

struct fbcon {
    volatile uint32_t *pixels;
    uint32_t pitch; // pixels
    struct psf font;
    uint32_t columns, rows, x, y;
    uint8_t *text;       // columns * rows characters as shown; 0: blank
    uint32_t colours[2]; // background, text
};

/// Bytes of text memory fbcon_start needs for that screen; 0: the screen holds not one character.
size_t fbcon_text_bytes(uint32_t width, uint32_t height, const struct psf *font);
/// Takes the screen over and clears it. `text`: zeroed memory of fbcon_text_bytes. `pitch` in pixels, >=
/// width.
void fbcon_start(struct fbcon *con, volatile uint32_t *pixels, uint32_t width, uint32_t height,
                 uint32_t pitch, const struct psf *font, uint8_t *text);
/// Newline, carriage return, tab and backspace move; other control characters are not shown. Escape sequences
/// are not known.
void fbcon_write(struct fbcon *con, const char *bytes, size_t n);
