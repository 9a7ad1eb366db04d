// SPDX-License-Identifier: BSD-2-Clause
// Source: kbd's psf.h description of PSF1 (magic 36 04) and PSF2 (magic 72 b5 4a 86).
#include "drivers/psf.h"
#include <string.h>

struct psf1_header {
    uint8_t magic[2], mode, charsize;
};
struct psf2_header {
    uint32_t magic, version, headersize, flags, length, charsize, height, width;
};
_Static_assert(sizeof(struct psf1_header) == 4 && sizeof(struct psf2_header) == 32, "PSF headers");

#define PSF1_MODE512 1u
#define PSF2_MAGIC   0x864ab572u
#define WIDTH_MAX    32u

static enum status open_psf2(const uint8_t *bytes, size_t size, struct psf *font)
{
    struct psf2_header h;
    if (size < sizeof h)
        return ERR_PROTOCOL;
    memcpy(&h, bytes, sizeof h);
    if (h.width > WIDTH_MAX)
        return ERR_UNSUPPORTED;
    if (h.headersize < sizeof h || h.headersize > size || h.width == 0 || h.height == 0 || h.height > 64 ||
        h.length == 0 || h.charsize != h.height * ((h.width + 7) / 8) ||
        h.length > (size - h.headersize) / h.charsize)
        return ERR_PROTOCOL;
    *font = (struct psf){bytes + h.headersize, h.length, h.charsize, h.width, h.height};
    return OK;
}

enum status psf_open(const void *start, size_t size, struct psf *font)
{
    const uint8_t *bytes = start;
    uint32_t magic;
    if (size < sizeof magic)
        return ERR_PROTOCOL;
    memcpy(&magic, bytes, sizeof magic);
    if (magic == PSF2_MAGIC)
        return open_psf2(bytes, size, font);
    const struct psf1_header h = {{bytes[0], bytes[1]}, bytes[2], bytes[3]};
    if (h.magic[0] != 0x36 || h.magic[1] != 0x04 || h.charsize == 0 || h.charsize > 64)
        return ERR_PROTOCOL;
    uint32_t count = h.mode & PSF1_MODE512 ? 512 : 256;
    if (size - sizeof h < (size_t)count * h.charsize)
        return ERR_PROTOCOL;
    *font = (struct psf){bytes + sizeof h, count, h.charsize, 8, h.charsize};
    return OK;
}

uint32_t psf_row(const struct psf *font, uint8_t c, uint32_t y)
{
    uint32_t glyph = c < font->count ? c : '?', stride = (font->width + 7) / 8, row = 0;
    if (glyph >= font->count || y >= font->height)
        return 0;
    const uint8_t *bytes = font->glyphs + (size_t)glyph * font->bytes + y * stride;
    for (uint32_t i = 0; i < stride; i++)
        row |= (uint32_t)bytes[i] << (24 - 8 * i);
    return row;
}
