// SPDX-License-Identifier: BSD-2-Clause
// The mask tables (remote-fw/config_mask.h). Names and offsets: PCI Local Bus 3.0 chapter 6, PCIe Base 4.0
// chapter 7.
#include "remote-fw/config_mask.h"

/// What holds for the bytes of a structure that no row names.
enum policy { READ_ONLY, PROXIED, HIDDEN };

struct row {
    uint8_t offset, size; // relative to the structure; 1, 2 or 4 bytes
    uint32_t read, write, w1c;
    const char *reason;
};

struct config_structure {
    uint16_t id;
    bool extended;
    uint16_t length; // 0: see structure_length
    enum policy rest;
    const char *reason; // of `rest`
    const struct row *rows;
    unsigned count;
};

#define ROWS(r) .rows = (r), .count = sizeof(r) / sizeof((r)[0])

static const struct row header_rows[] = {
    {0x04, 2, 0xffff, 0x0040, 0,
     "Command: parity response is the driver's; decoding, bus mastering, SERR# and INTx belong to the "
     "remote"},
    {0x06, 2, 0xffff, 0, 0xf900, "Status: the error bits are the driver's to clear"},
    {0x0c, 1, 0xff, 0xff, 0, "Cache Line Size: no effect outside the function"},
    {0x0d, 1, 0xff, 0xff, 0, "Latency Timer: no effect outside the function"},
    {0x0f, 1, 0xff, 0, 0, "BIST: a self test takes the function away for seconds"},
    {0x10, 4, 0, 0, 0, "BAR 0: the remote's address map; virtualized by the host"},
    {0x14, 4, 0, 0, 0, "BAR 1"},
    {0x18, 4, 0, 0, 0, "BAR 2"},
    {0x1c, 4, 0, 0, 0, "BAR 3"},
    {0x20, 4, 0, 0, 0, "BAR 4"},
    {0x24, 4, 0, 0, 0, "BAR 5"},
    {0x30, 4, 0, 0, 0, "Expansion ROM BAR: the remote's address map; ROMs are not lent"},
    {0x3c, 1, 0, 0, 0, "Interrupt Line: routing of the remote's machine"},
};
static const struct config_structure header = {
    .rest = READ_ONLY, .reason = "identification", ROWS(header_rows)};

static const struct config_structure device_specific = {
    .rest = PROXIED, .reason = "registers between the capabilities belong to the function's driver"};
static const struct config_structure extended_default = {
    .rest = READ_ONLY, .extended = true, .reason = "an extended capability without a row: seen, not set"};

static const struct row pm_rows[] = {
    {0x04, 2, 0x1f0c, 0, 0, "PMCSR: leaving D3hot resets the BARs; seen as D0 without PME"},
};
static const struct row msi_rows[] = {
    {0x00, 2, 0xffff, 0, 0, "Capability header"},
    {0x02, 2, 0xfffe, 0, 0, "Message Control: shape is seen; MSI Enable is the remote's"},
};
static const struct row msix_rows[] = {
    {0x02, 2, 0x3fff, 0, 0,
     "Message Control: shape is seen; MSI-X Enable and Function Mask are the remote's"},
};
static const struct row express_rows[] = {
    {0x08, 2, 0x7fff, 0x7810, 0,
     "Device Control: relaxed ordering, no snoop and read request size are the driver's; payload size and "
     "FLR are not"},
    {0x0a, 2, 0xffff, 0, 0x004f, "Device Status: error bits are the driver's to clear"},
    {0x28, 2, 0xffff, 0x001f, 0,
     "Device Control 2: completion timeout is the driver's; LTR, OBFF, IDO are the fabric's"},
};
static const struct row sriov_rows[] = {
    {0x24, 4, 0, 0, 0, "VF BAR 0: the remote's address map"},
    {0x28, 4, 0, 0, 0, "VF BAR 1"},
    {0x2c, 4, 0, 0, 0, "VF BAR 2"},
    {0x30, 4, 0, 0, 0, "VF BAR 3"},
    {0x34, 4, 0, 0, 0, "VF BAR 4"},
    {0x38, 4, 0, 0, 0, "VF BAR 5"},
};
static const struct row vendor_rows[] = {
    {0x00, 2, 0xffff, 0, 0, "Capability header"},
};
static const struct row vsec_rows[] = {
    {0x00, 4, 0xffffffff, 0, 0, "Capability header"},
    {0x04, 4, 0xffffffff, 0, 0, "Vendor-specific header"},
};

static const struct config_structure structures[] = {
    {.id = 0x01, .length = 8, .rest = READ_ONLY, .reason = "Power Management", ROWS(pm_rows)},
    {.id = 0x03,
     .length = 8,
     .rest = PROXIED,
     .reason = "Vital Product Data: read through an address register",
     ROWS(vendor_rows)},
    {.id = 0x05,
     .rest = HIDDEN,
     .reason = "MSI: message address and data are of the remote's machine",
     ROWS(msi_rows)},
    {.id = 0x09, .rest = PROXIED, .reason = "vendor-specific: its driver's", ROWS(vendor_rows)},
    {.id = 0x0d, .length = 8, .rest = READ_ONLY, .reason = "subsystem of a bridge"},
    {.id = 0x10,
     .rest = READ_ONLY,
     .reason = "PCI Express: the link and the slot are the remote's",
     ROWS(express_rows)},
    {.id = 0x11,
     .length = 12,
     .rest = READ_ONLY,
     .reason = "MSI-X: where table and PBA are is seen",
     ROWS(msix_rows)},
    {.id = 0x12, .length = 8, .rest = PROXIED, .reason = "SATA index and data registers", ROWS(vendor_rows)},
    {.id = 0x13, .length = 6, .rest = READ_ONLY, .reason = "Advanced Features: reset goes through REC_RESET"},
    {.id = 0x14,
     .rest = HIDDEN,
     .reason = "Enhanced Allocation: fixed addresses of the remote's machine",
     ROWS(vendor_rows)},
    {.id = 0x0b,
     .extended = true,
     .rest = PROXIED,
     .reason = "vendor-specific: its driver's",
     ROWS(vsec_rows)},
    {.id = 0x10,
     .extended = true,
     .rest = READ_ONLY,
     .reason = "SR-IOV: virtual functions would appear on the remote's bus",
     ROWS(sriov_rows)},
};
/// A capability of an ID we have no row for.
static const struct config_structure unknown = {.rest = READ_ONLY,
                                                .reason = "unknown capability: seen, not set"};

/// Virtio 1.2, 4.1.4.9: a vendor-specific capability that is a window into the BARs.
static const struct config_structure virtio_window = {
    .id = 0x09,
    .rest = READ_ONLY,
    .reason = "virtio configuration access: a way to the BARs past their bounds and the MSI-X table",
};

static bool is_virtio_window(uint16_t at, uint32_t (*read)(void *, uint16_t, unsigned), void *device)
{
    return read(device, 0x00, 2) == 0x1af4 && read(device, at, 1) == 0x09 &&
           read(device, (uint16_t)(at + 3), 1) == 5;
}

static const struct config_structure *structure_of(uint16_t id, bool extended)
{
    for (size_t i = 0; i < sizeof structures / sizeof structures[0]; i++)
        if (structures[i].id == id && structures[i].extended == extended)
            return &structures[i];
    return extended ? &extended_default : &unknown;
}

/// Bytes of a capability; 0: it ends where the next one begins.
static uint16_t structure_length(const struct config_structure *s, uint16_t at,
                                 uint32_t (*read)(void *, uint16_t, unsigned), void *device)
{
    if (s->length || s->extended)
        return s->length;
    if (s->id == 0x05 && s->rest == HIDDEN) {
        uint32_t control = read(device, (uint16_t)(at + 2), 2);
        return (uint16_t)(10 + (control & 0x80 ? 4 : 0) + (control & 0x100 ? 10 : 0));
    }
    if (s->id == 0x10) // version 1: an endpoint's ends after Link Status
        return (read(device, (uint16_t)(at + 2), 1) & 0xf) < 2 ? 0x14 : 0x3c;
    if (s->id == 0x09) {
        uint32_t length = read(device, (uint16_t)(at + 2), 1);
        return length >= 3 ? (uint16_t)length : 3;
    }
    return 0;
}

/// Keeps the regions sorted; drops an offset that is there already (a loop).
static bool insert(struct config_map *map, struct config_region region)
{
    unsigned i = map->count;
    if (map->count == CONFIG_REGIONS_MAX)
        return false;
    for (unsigned k = 0; k < map->count; k++)
        if (map->regions[k].offset == region.offset)
            return false;
    for (; i > 0 && map->regions[i - 1].offset > region.offset; i--)
        map->regions[i] = map->regions[i - 1];
    map->regions[i] = region;
    map->count++;
    return true;
}

void config_map_build(struct config_map *map, uint32_t (*read)(void *device, uint16_t offset, unsigned size),
                      void *device)
{
    map->count = 0;
    if (read(device, 0x06, 2) & 0x10) { // Status: Capabilities List
        uint16_t at = (uint16_t)(read(device, 0x34, 1) & 0xfc);
        while (at >= 0x40) {
            const struct config_structure *s = is_virtio_window(at, read, device)
                                                   ? &virtio_window
                                                   : structure_of((uint16_t)read(device, at, 1), false);
            if (!insert(map, (struct config_region){at, structure_length(s, at, read, device), s}))
                break;
            at = (uint16_t)(read(device, (uint16_t)(at + 1), 1) & 0xfc);
        }
    }
    uint16_t at = 0x100;
    while (at >= 0x100) {
        uint32_t head = read(device, at, 4);
        if (head == 0 || head == 0xffffffff)
            break;
        const struct config_structure *s = structure_of((uint16_t)head, true);
        if (!insert(map, (struct config_region){at, 0, s}))
            break;
        at = (uint16_t)(head >> 20 & 0xffc);
    }
    for (unsigned i = 0; i < map->count; i++) {
        struct config_region *r = &map->regions[i];
        uint32_t end = r->offset < 0x100 ? 0x100 : CONFIG_SPACE_SIZE;
        if (i + 1 < map->count && map->regions[i + 1].offset < end)
            end = map->regions[i + 1].offset;
        if (r->length == 0 || r->offset + r->length > end)
            r->length = (uint16_t)(end - r->offset);
    }
}

static struct config_masks byte_masks(const struct config_structure *s, unsigned relative)
{
    for (unsigned i = 0; i < s->count; i++) {
        const struct row *r = &s->rows[i];
        if (relative < r->offset || relative >= (unsigned)r->offset + r->size)
            continue;
        unsigned shift = 8 * (relative - r->offset);
        return (struct config_masks){r->read >> shift & 0xff, r->write >> shift & 0xff,
                                     r->w1c >> shift & 0xff};
    }
    switch (s->rest) {
    case PROXIED:
        return (struct config_masks){0xff, 0xff, 0};
    case HIDDEN:
        return (struct config_masks){0, 0, 0};
    case READ_ONLY:
        break;
    }
    return (struct config_masks){0xff, 0, 0};
}

static struct config_masks masks_at(const struct config_map *map, uint16_t offset)
{
    if (offset < 0x40)
        return byte_masks(&header, offset);
    for (unsigned i = 0; i < map->count; i++) {
        const struct config_region *r = &map->regions[i];
        if (offset >= r->offset && offset < r->offset + r->length)
            return byte_masks(r->structure, (unsigned)(offset - r->offset));
    }
    return byte_masks(offset < 0x100 ? &device_specific : &extended_default, 0);
}

struct config_masks config_masks(const struct config_map *map, uint16_t offset, unsigned size)
{
    struct config_masks all = {0, 0, 0};
    for (unsigned i = 0; i < size; i++) {
        struct config_masks one = masks_at(map, (uint16_t)(offset + i));
        all.read |= one.read << (8 * i);
        all.write |= one.write << (8 * i);
        all.w1c |= one.w1c << (8 * i);
    }
    return all;
}

uint16_t config_find(const struct config_map *map, uint16_t id, bool extended)
{
    const struct config_structure *s = structure_of(id, extended);
    if (s->id != id || s == &unknown || s == &extended_default)
        return 0; // only capabilities with a row can be asked for
    for (unsigned i = 0; i < map->count; i++)
        if (map->regions[i].structure == s)
            return map->regions[i].offset;
    return 0;
}
