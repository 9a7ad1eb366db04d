// SPDX-License-Identifier: BSD-2-Clause
// PC screen fonts, versions 1 and 2 (console-setup, kbd). Pure; every length in the file is checked.
#pragma once
#include "rt/status.h"
#include <stddef.h>
#include <stdint.h>

struct psf {
    const uint8_t *glyphs;
    uint32_t count, bytes;  // glyphs, bytes per glyph
    uint32_t width, height; // pixels, width <= 32
};

/// ERR_PROTOCOL: not a font, or one that lies about its size; ERR_UNSUPPORTED: wider than 32 pixels. The
/// bytes are kept by reference.
MUST_CHECK enum status psf_open(const void *bytes, size_t size, struct psf *font);
/// Row `y` of the glyph for `c`, leftmost pixel in bit 31. Characters the font has not get glyph '?', or
/// nothing.
uint32_t psf_row(const struct psf *font, uint8_t c, uint32_t y);
