// SPDX-License-Identifier: BSD-2-Clause
// The mask table of remote functions (hv/bus/config_view.h). Names and offsets: PCI Local Bus 3.0 chapter 6,
// PCIe Base 4.0 chapter 7. What a guest may set at the remote is decided there once more (remote-fw): this
// table saves round trips and keeps the two machines' addresses apart.
#include "hv/bus/config_view.h"
#include <stddef.h>

enum treatment {
    SNAPSHOT, // read once at attach, never written
    KEPT,     // the host's own register, 0 at reset; `write` can be set
    NOTHING,  // reads 0, writes are dropped
    PROXIED,  // each access is a transaction
    RESTORED, // proxied, and set again when the remote comes back
};

struct row {
    uint8_t offset, size; // relative to the structure
    uint8_t treatment;    // enum treatment
    uint32_t write;
    const char *reason;
};

struct structure {
    uint8_t id;
    uint8_t length; // 0: see config_capability_length
    bool hidden;    // taken out of the list; all of it reads 0
    uint8_t needs;  // flag of the function (WIRE_FN_*) without which it is hidden, too
    uint8_t rest;   // enum treatment of the bytes no row names
    const char *reason;
    const struct row *rows;
    unsigned count;
};

#define ROWS(r) .rows = (r), .count = sizeof(r) / sizeof((r)[0])

// clang-format off
static const struct row header_rows[] = {
    { 0x04, 2, KEPT, 0x0547, "Command: decoding happens here (our BARs), so do parity, SERR# and INTx disable; bus mastering is the remote's, too, and stays 0 where DMA is not confined" },
    { 0x06, 2, SNAPSHOT, 0, "Status: capabilities list and speed do not change; error bits tell of the remote's bus and read 0" },
    { 0x0c, 1, KEPT, 0xff,   "Cache Line Size: no effect outside the function" },
    { 0x0d, 1, KEPT, 0xff,   "Latency Timer: no effect outside the function" },
    { 0x0e, 1, SNAPSHOT, 0,  "Header Type: without the multi-function bit, each function stands alone on the guest's bus" },
    { 0x0f, 1, NOTHING, 0,   "BIST: a self test takes the function away for seconds" },
    { 0x10, 4, KEPT, 0,      "BARs: the guest's own addresses; the writable bits follow from the size" },
    { 0x14, 4, KEPT, 0,      "BAR 1" },
    { 0x18, 4, KEPT, 0,      "BAR 2" },
    { 0x1c, 4, KEPT, 0,      "BAR 3" },
    { 0x20, 4, KEPT, 0,      "BAR 4" },
    { 0x24, 4, KEPT, 0,      "BAR 5" },
    { 0x30, 4, NOTHING, 0,   "Expansion ROM BAR: ROMs are not lent" },
    { 0x34, 1, SNAPSHOT, 0,  "Capabilities Pointer: to the first capability that is not hidden" },
    { 0x3c, 1, KEPT, 0xff,   "Interrupt Line: a note of the guest's firmware to its system" },
    { 0x3d, 1, SNAPSHOT, 0,  "Interrupt Pin: which line of the guest's slot it drives" },
};
static const struct structure header = { .rest = SNAPSHOT, .reason = "identification does not change", ROWS(header_rows) };

static const struct row head_rows[] = {
    { 0x00, 2, SNAPSHOT, 0, "Capability ID; the next pointer leads past hidden ones" },
};
static const struct row express_rows[] = {
    { 0x08, 2, RESTORED, 0, "Device Control: the driver's, as far as the remote lets it" },
    { 0x0a, 2, PROXIED,  0, "Device Status: errors and pending transactions change by themselves" },
    { 0x12, 2, PROXIED,  0, "Link Status: the remote's link, live" },
    { 0x28, 2, RESTORED, 0, "Device Control 2: the driver's, as far as the remote lets it" },
    { 0x2a, 2, PROXIED,  0, "Device Status 2" },
};

static const struct structure structures[] = {
    { .id = 0x01, .length = 8,  .rest = SNAPSHOT, .reason = "Power Management: the remote keeps the function in D0" },
    { .id = 0x03, .length = 4,  .rest = PROXIED,  .reason = "Vital Product Data: read through an address register", ROWS(head_rows) },
    { .id = 0x05, .needs = WIRE_FN_MSI, .rest = SNAPSHOT, .reason = "MSI: message, masks and pending bits are kept here (shape_msi)" },
    { .id = 0x09, .length = 4,  .rest = PROXIED,  .reason = "vendor-specific: its driver's", ROWS(head_rows) },
    { .id = 0x10,               .rest = SNAPSHOT, .reason = "PCI Express: abilities do not change; link and slot are the remote's", ROWS(express_rows) },
    { .id = 0x11, .length = 12, .needs = WIRE_FN_MSI, .rest = SNAPSHOT, .reason = "MSI-X: enable and masks are kept here (shape_msix), the table in hv/bus/interrupts.c" },
    { .id = 0x12, .length = 4,  .rest = PROXIED,  .reason = "SATA index and data registers", ROWS(head_rows) },
    { .id = 0x13, .length = 8,  .rest = SNAPSHOT, .reason = "Advanced Features: a reset goes through the host" },
    { .id = 0x14, .hidden = true, .rest = NOTHING, .reason = "Enhanced Allocation: fixed addresses of the remote's machine" },
};
static const struct structure unknown = { .length = 4, .rest = PROXIED, .reason = "a capability without a row: the remote decides", ROWS(head_rows) };
// clang-format on

#define STATUS_STATIC_BITS 0x06b0u // capabilities list, 66 MHz, fast back-to-back, DEVSEL timing
#define STATUS_CAP_LIST    0x0010u

static const struct structure *structure_of(uint8_t id)
{
    for (size_t i = 0; i < sizeof(structures) / sizeof(structures[0]); i++) {
        if (structures[i].id == id)
            return &structures[i];
    }
    return &unknown;
}

uint8_t config_capability_length(uint8_t offset, uint32_t head)
{
    uint8_t id = (uint8_t)head;
    const struct structure *s = structure_of(id);
    unsigned length = s->length;
    switch (id) {
    case 0x05: // MSI: 64-bit address, per-vector masking (6.8.1)
        length = 12u + (head & 0x00800000u ? 4u : 0u) + (head & 0x01000000u ? 8u : 0u);
        break;
    case 0x10: // PCI Express: an endpoint's version 1 ends after Link Status (7.5.3)
        length = (head >> 16 & 0xf) < 2 ? 0x14 : 0x3c;
        break;
    case 0x14: // all of it is hidden, and how long it is does not matter beyond its entries' headers
        length = 4u + (head >> 16 & 0x3f) * 16u;
        break;
    default:
        break;
    }
    unsigned room = CONFIG_VIEW_SIZE - offset;
    return (uint8_t)(length < room ? length : room);
}

static void treat(struct config_view *view, const uint8_t *raw, unsigned offset, unsigned size,
                  enum treatment t, uint32_t write)
{
    for (unsigned i = 0; i < size && offset + i < CONFIG_VIEW_SIZE; i++) {
        unsigned at = offset + i;
        view->source[at] = t == PROXIED || t == RESTORED ? CONFIG_REMOTE : CONFIG_HERE;
        view->image[at] = (uint8_t)(t == SNAPSHOT ? raw[at] : 0);
        view->writable[at] = (uint8_t)(t == KEPT ? write >> (i * 8) : 0);
    }
}

static void remember(struct config_view *view, uint16_t offset)
{
    for (unsigned i = 0; i < sizeof(view->restore) / sizeof(view->restore[0]); i++) {
        if (view->restore[i] == 0) {
            view->restore[i] = offset;
            return;
        }
    }
}

static bool is_hidden(const struct structure *s, const struct wire_function *info)
{
    return s->hidden || (s->needs & ~info->flags);
}

static void apply(struct config_view *view, const uint8_t *raw, const struct structure *s, unsigned offset,
                  unsigned length, const struct wire_function *info)
{
    if (is_hidden(s, info)) {
        treat(view, raw, offset, length, NOTHING, 0);
        return;
    }
    treat(view, raw, offset, length, (enum treatment)s->rest, 0);
    for (unsigned i = 0; i < s->count; i++) {
        const struct row *r = &s->rows[i];
        if ((unsigned)r->offset + r->size > length)
            continue;
        treat(view, raw, offset + r->offset, r->size, (enum treatment)r->treatment, r->write);
        if (r->treatment == RESTORED)
            remember(view, (uint16_t)(offset + r->offset));
    }
}

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

/// The list without its hidden members.
static void link_capabilities(struct config_view *view, const struct config_capability *caps, unsigned count,
                              const struct wire_function *info)
{
    uint8_t *previous = &view->image[0x34];
    *previous = 0;
    for (unsigned i = 0; i < count; i++) {
        if (is_hidden(structure_of(caps[i].id), info))
            continue;
        *previous = caps[i].offset;
        previous = &view->image[caps[i].offset + 1u];
        *previous = 0;
    }
    uint32_t status = view->image[0x06] | (uint32_t)view->image[0x07] << 8;
    status = (status & STATUS_STATIC_BITS & ~STATUS_CAP_LIST) | (view->image[0x34] ? STATUS_CAP_LIST : 0);
    put16(&view->image[0x06], status);
}

/// A register of the host's own: `fixed` bits, and those that can be written, 0 at first.
static void shape(struct config_view *view, unsigned offset, unsigned size, uint32_t fixed, uint32_t write)
{
    for (unsigned i = 0; i < size && offset + i < CONFIG_VIEW_SIZE; i++) {
        view->image[offset + i] = (uint8_t)(fixed >> (i * 8));
        view->writable[offset + i] = (uint8_t)(write >> (i * 8));
    }
}

/// PCI 3.0, 6.8.1: one message, whatever the function could do.
static void shape_msi(struct config_view *view, unsigned at)
{
    uint32_t control = (view->image[at + 2] | (uint32_t)view->image[at + 3] << 8) & 0x0180;
    bool wide = control & 0x0080;
    shape(view, at + 2, 2, control, 0x0001);
    shape(view, at + 4, 4, 0, 0xfffffffc);
    if (wide)
        shape(view, at + 8, 4, 0, 0xffffffff);
    shape(view, at + (wide ? 12 : 8), 4, 0, 0xffff);
    if (control & 0x0100) {
        shape(view, at + (wide ? 16 : 12), 4, 0, 0x1);
        shape(view, at + (wide ? 20 : 16), 4, 0, 0);
    }
}

/// 6.8.2: not more entries than we keep.
static void shape_msix(struct config_view *view, unsigned at)
{
    uint32_t last = (view->image[at + 2] | (uint32_t)view->image[at + 3] << 8) & 0x07ff;
    shape(view, at + 2, 2, last < MESSAGES_MAX ? last : MESSAGES_MAX - 1, 0xc000);
}

static void shape_messages(struct config_view *view, const struct config_capability *caps, unsigned count,
                           const struct wire_function *info)
{
    for (unsigned i = 0; i < count && info->flags & WIRE_FN_MSI; i++) {
        if (caps[i].id == CONFIG_CAP_MSI && caps[i].length >= 12)
            shape_msi(view, caps[i].offset);
        else if (caps[i].id == CONFIG_CAP_MSIX && caps[i].length == 12)
            shape_msix(view, caps[i].offset);
    }
}

static void shape_bars(struct config_view *view, const struct wire_function *info)
{
    for (unsigned i = 0; i < 6; i++) {
        const struct wire_bar *bar = &info->bars[i];
        uint16_t at = (uint16_t)(0x10 + 4 * i);
        uint64_t mask = ~(bar->size - 1);
        uint32_t flags = bar->kind & 0x80 ? 0x8 : 0;
        switch (bar->kind & 0x7f) {
        case 1:
            flags = 0x1;
            mask &= 0xfffffffc;
            break;
        case 2:
            break;
        case 3:
            flags |= 0x4;
            break;
        default:
            continue; // absent, or the upper half of the one before
        }
        config_view_set(view, at, flags);
        bool wide = (bar->kind & 0x7f) == 3;
        for (unsigned b = 0; b < (wide ? 8u : 4u); b++)
            view->writable[at + b] =
                (uint8_t)(mask >> (b * 8)) & (b == 0 ? 0xf0 | (flags & 1 ? 0xc : 0) : 0xff);
    }
}

void config_view_build(struct config_view *view, const uint8_t raw[CONFIG_VIEW_SIZE],
                       const struct config_capability *caps, unsigned count, const struct wire_function *info)
{
    *view = (struct config_view){0};
    treat(view, raw, 0x40, CONFIG_VIEW_SIZE - 0x40, PROXIED,
          0); // between the capabilities: the function's own
    apply(view, raw, &header, 0, 0x40, info);
    if (!(info->flags & WIRE_FN_DMA))
        view->writable[0x04] &= (uint8_t)~0x04u;
    for (unsigned i = 0; i < count; i++)
        apply(view, raw, structure_of(caps[i].id), caps[i].offset, caps[i].length, info);
    shape_messages(view, caps, count, info);
    for (unsigned i = 0; i < count;
         i++) { // one that overlaps another must neither give away the pointer nor change it
        view->source[caps[i].offset] = view->source[caps[i].offset + 1u] = CONFIG_HERE;
        view->writable[caps[i].offset] = view->writable[caps[i].offset + 1u] = 0;
    }
    view->image[0x0e] &= 0x7f;
    view->image[0x3d] = info->pin;
    link_capabilities(view, caps, count, info);
    shape_bars(view, info);
}

bool config_view_local(const struct config_view *view, uint16_t offset, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        if (offset + i >= CONFIG_VIEW_SIZE || view->source[offset + i] != CONFIG_HERE)
            return false;
    }
    return true;
}

uint32_t config_view_read(const struct config_view *view, uint16_t offset, unsigned size)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < size && offset + i < CONFIG_VIEW_SIZE; i++) {
        if (view->source[offset + i] == CONFIG_HERE)
            value |= (uint32_t)view->image[offset + i] << (i * 8);
    }
    return value;
}

void config_view_write(struct config_view *view, uint16_t offset, unsigned size, uint32_t value)
{
    for (unsigned i = 0; i < size && offset + i < CONFIG_VIEW_SIZE; i++) {
        uint8_t mask = view->writable[offset + i];
        uint8_t byte = (uint8_t)(value >> (i * 8));
        view->image[offset + i] = (uint8_t)((view->image[offset + i] & ~mask) | (byte & mask));
    }
}

uint32_t config_view_get(const struct config_view *view, uint16_t offset)
{
    const uint8_t *p = &view->image[offset];
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

void config_view_set(struct config_view *view, uint16_t offset, uint32_t value)
{
    put16(&view->image[offset], value);
    put16(&view->image[offset + 2u], value >> 16);
}
