// SPDX-License-Identifier: BSD-2-Clause
// A PCI function made of arrays, behind the same function_ops as a real one: what the remote's unit tests and
// fuzzer lend. It stops the test (abort) when it is touched out of bounds, unaligned, or without decoding:
// what must never happen to hardware.
#pragma once
#include "remote-fw/functions.h"
#include <stdlib.h>
#include <string.h>

#define MOCK_TRACE_MAX 512

struct mock_access {
    char space; // 'c', 'i', 'm'
    bool write;
    unsigned bar, size;
    uint64_t offset, value;
};

struct mock_device {
    uint8_t config[CONFIG_SPACE_SIZE];
    uint8_t bar0[0x4000];
    uint8_t bar2[32];
    uint8_t bar3[0x1000];
    struct function *f;
    bool other_layout;     // the test's own configuration space: no capability is where the enum below says
    bool decoding_checked; // abort on memory and I/O accesses while the command register has decoding off
    bool table_is_ours;    // the MSI-X table may be written: the test programs it
    bool no_windows;       // BAR 4 cannot be reached
    unsigned away;         // this many reads of the vendor ID give all-ones after a reset
    unsigned resets;
    unsigned trace_count;
    struct mock_access trace[MOCK_TRACE_MAX];
};

enum {
    MOCK_PM = 0x40,
    MOCK_MSI = 0x50,
    MOCK_PCIE = 0x70,
    MOCK_MSIX = 0xb0,
    MOCK_VENDOR = 0xc0,
    MOCK_AER = 0x100,
    MOCK_SRIOV = 0x140,
    MOCK_VSEC = 0x180,
    MOCK_MSIX_TABLE = 0x2000,
    MOCK_MSIX_SIZE = 4 * 16,
};
#define MOCK_BAR4_SIZE (1ull << 40)

static inline void mock_require(bool holds)
{
    if (!holds)
        abort();
}

static inline void mock_put(struct mock_device *d, unsigned offset, unsigned size, uint32_t value)
{
    memcpy(d->config + offset, &value, size);
}

static inline uint32_t mock_get(const struct mock_device *d, unsigned offset, unsigned size)
{
    uint32_t value = 0;
    memcpy(&value, d->config + offset, size);
    return value;
}

static inline void mock_note(struct mock_device *d, char space, bool write, unsigned bar, uint64_t offset,
                             unsigned size, uint64_t value)
{
    mock_require(size == 1 || size == 2 || size == 4 || (size == 8 && space == 'm'));
    mock_require(offset % size == 0);
    if (d->trace_count < MOCK_TRACE_MAX)
        d->trace[d->trace_count++] = (struct mock_access){space, write, bar, size, offset, value};
}

static inline uint32_t mock_config_read(void *device, uint16_t offset, unsigned size)
{
    struct mock_device *d = device;
    mock_require(offset + size <= CONFIG_SPACE_SIZE && offset % size == 0 && size <= 4);
    if (offset == 0 && d->away) {
        d->away--;
        return 0xffffffffu >> (32 - 8 * size);
    }
    return mock_get(d, offset, size);
}

static inline void mock_config_write(void *device, uint16_t offset, unsigned size, uint32_t value)
{
    struct mock_device *d = device;
    mock_require(offset + size <= CONFIG_SPACE_SIZE && offset % size == 0 && size <= 4);
    mock_note(d, 'c', true, 0, offset, size, value);
    mock_put(d, offset, size, value);
    if (!d->other_layout && d->config[MOCK_PCIE + 9] & 0x80) { // Initiate Function Level Reset
        d->config[MOCK_PCIE + 9] &= 0x7f;
        memset(d->config + 0x10, 0, 24);
        mock_put(d, 0x04, 2, 0);
        d->resets++;
    }
}

static inline uint8_t *mock_bar(struct mock_device *d, unsigned bar, uint64_t offset, unsigned size)
{
    uint8_t *base = bar == 0 ? d->bar0 : bar == 3 ? d->bar3 : NULL;
    uint64_t limit = bar == 0 ? sizeof d->bar0 : bar == 3 ? sizeof d->bar3 : bar == 4 ? MOCK_BAR4_SIZE : 0;
    mock_require(size <= limit && offset <= limit - size);
    mock_require(!d->decoding_checked || mock_get(d, 4, 2) & 2);
    if (bar == 0 && !d->other_layout && !d->table_is_ours) // the MSI-X table is the remote's
        mock_require(offset + size <= MOCK_MSIX_TABLE || offset >= MOCK_MSIX_TABLE + MOCK_MSIX_SIZE);
    return base ? base + offset : NULL;
}

static inline enum status mock_memory_read(void *device, unsigned bar, uint64_t offset, unsigned size,
                                           uint64_t *value)
{
    struct mock_device *d = device;
    uint8_t *p = mock_bar(d, bar, offset, size);
    if (!p && d->no_windows)
        return ERR_NOMEM;
    *value = 0;
    if (p)
        memcpy(value, p, size);
    else
        *value = offset;
    mock_note(d, 'm', false, bar, offset, size, *value);
    return OK;
}

static inline enum status mock_memory_write(void *device, unsigned bar, uint64_t offset, unsigned size,
                                            uint64_t value)
{
    struct mock_device *d = device;
    uint8_t *p = mock_bar(d, bar, offset, size);
    if (!p && d->no_windows)
        return ERR_NOMEM;
    if (p)
        memcpy(p, &value, size);
    mock_note(d, 'm', true, bar, offset, size, value);
    return OK;
}

static inline uint32_t mock_io_read(void *device, unsigned bar, uint64_t offset, unsigned size)
{
    struct mock_device *d = device;
    uint32_t value = 0;
    mock_require(bar == 2 && offset + size <= sizeof d->bar2);
    mock_require(!d->decoding_checked || mock_get(d, 4, 2) & 1);
    memcpy(&value, d->bar2 + offset, size);
    mock_note(d, 'i', false, bar, offset, size, value);
    return value;
}

static inline void mock_io_write(void *device, unsigned bar, uint64_t offset, unsigned size, uint32_t value)
{
    struct mock_device *d = device;
    mock_require(bar == 2 && offset + size <= sizeof d->bar2);
    mock_require(!d->decoding_checked || mock_get(d, 4, 2) & 1);
    memcpy(d->bar2 + offset, &value, size);
    mock_note(d, 'i', true, bar, offset, size, value);
}

/// A type-0 function 1b36:0010 with every capability that has a row in the mask table of its own.
static inline void mock_fill(struct mock_device *d)
{
    memset(d, 0, sizeof *d);
    mock_put(d, 0x00, 4, 0x00101b36);
    mock_put(d, 0x04, 4,
             0xf9100007); // Status: capabilities list and all error bits; Command: as firmware leaves it
    mock_put(d, 0x08, 4, 0x01080202);
    mock_put(d, 0x0c, 4, 0x80000010);
    mock_put(d, 0x10, 4, 0xfebd0004);
    mock_put(d, 0x14, 4, 0x00000001);
    mock_put(d, 0x18, 4, 0x0000c001);
    mock_put(d, 0x1c, 4, 0xfeb80000);
    mock_put(d, 0x20, 4, 0x0000000c);
    mock_put(d, 0x24, 4, 0x00000100);
    mock_put(d, 0x2c, 4, 0x11001af4);
    mock_put(d, 0x30, 4, 0xfeb00001);
    mock_put(d, 0x34, 1, MOCK_PM);
    mock_put(d, 0x3c, 2, 0x010b);
    mock_put(d, MOCK_PM, 4, 0x00030001 | MOCK_MSI << 8);
    mock_put(d, MOCK_PM + 4, 2, 0x8108);
    mock_put(d, MOCK_MSI, 4, 0x01890005 | MOCK_PCIE << 8); // 64-bit, maskable, enabled, 16 messages
    mock_put(d, MOCK_MSI + 4, 4, 0xfee01000);
    mock_put(d, MOCK_MSI + 12, 4, 0x4021);
    mock_put(d, MOCK_PCIE, 4, 0x00020010 | MOCK_MSIX << 8);
    mock_put(d, MOCK_PCIE + 4, 4, 0x10008fc0); // FLR
    mock_put(d, MOCK_PCIE + 8, 4, 0x000f2810);
    mock_put(d, MOCK_PCIE + 0x10, 4, 0x00110040);
    mock_put(d, MOCK_MSIX, 4, 0x80030011 | MOCK_VENDOR << 8); // 4 entries, enabled
    mock_put(d, MOCK_MSIX + 4, 4, MOCK_MSIX_TABLE);
    mock_put(d, MOCK_MSIX + 8, 4, 0x3000);
    mock_put(d, MOCK_VENDOR, 4, 0x00100009);
    mock_put(d, MOCK_AER, 4, 0x00020001u | (uint32_t)MOCK_SRIOV << 20);
    mock_put(d, MOCK_SRIOV, 4, 0x00010010u | (uint32_t)MOCK_VSEC << 20);
    mock_put(d, MOCK_SRIOV + 0x24, 4, 0xfea00004);
    mock_put(d, MOCK_VSEC, 4, 0x0001000b);
    mock_put(d, MOCK_VSEC + 4, 4, 0x01000001);
}

static inline const struct function_ops *mock_ops(void)
{
    static const struct function_ops ops = {
        .config_read = mock_config_read,
        .config_write = mock_config_write,
        .io_read = mock_io_read,
        .io_write = mock_io_write,
        .memory_read = mock_memory_read,
        .memory_write = mock_memory_write,
    };
    return &ops;
}

/// Adds the device to the table as 0000:00:<slot>.0, as remote-fw/main.c does with a real one.
static inline struct function *mock_lend(struct functions *t, struct mock_device *d, uint8_t slot)
{
    struct function *f = functions_add(t);
    mock_fill(d);
    d->f = f;
    f->ops = mock_ops();
    f->device = d;
    f->info = (struct wire_function){
        .at = {0, 0, (uint8_t)(slot << 3)},
        .vendor = 0x1b36,
        .device = 0x0010,
        .class_code = 0x01,
        .subclass = 0x08,
        .prog_if = 0x02,
        .revision = 0x02,
        .pin = 1,
        .bars = {[0] = {.size = 0x4000, .kind = 3},
                 [2] = {.size = 32, .kind = 1},
                 [3] = {.size = 0x1000, .kind = 2},
                 [4] = {.size = MOCK_BAR4_SIZE, .kind = 0x83}},
    };
    function_prepare(f);
    return f;
}
