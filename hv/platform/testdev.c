// SPDX-License-Identifier: BSD-2-Clause
#include "hv/platform/testdev.h"
#include "hv/platform/machine.h"
#include <stdlib.h>
#include <string.h>

#define SCRATCH_PORT                                                                                         \
    0xe0u // four bytes; behind it a page to flush, which is nothing to us; then a second door
#define PINS_PORT     0x2000u
#define CONFIG_PORT   0x510u // selector; data
#define MEMORY_BASE   0xff000000ull
#define MEMORY_LENGTH 0x10000u

// QEMU's docs/specs/fw_cfg.rst
enum { CONFIG_SIGNATURE = 0, CONFIG_ID = 1, CONFIG_RAM_SIZE = 3, CONFIG_CPUS = 5, CONFIG_MAX_CPUS = 15 };

struct guest_testdev {
    struct guest_testdev_ops ops;
    uint16_t key;
    uint8_t at; // next byte of what `key` names
    uint8_t scratch[4];
    uint8_t memory[MEMORY_LENGTH];
};

static uint32_t scratch_read(void *dev, uint16_t port, unsigned size)
{
    const struct guest_testdev *d = dev;
    uint32_t value = 0;
    if (!(port & 4) && (port & 3) + size <= sizeof d->scratch)
        memcpy(&value, d->scratch + (port & 3), size);
    return value;
}

static void scratch_write(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct guest_testdev *d = dev;
    if (!(port & 4) && (port & 3) + size <= sizeof d->scratch)
        memcpy(d->scratch + (port & 3), &value, size);
}

static uint32_t pin_read(void *dev, uint16_t port, unsigned size)
{
    (void)dev, (void)port, (void)size;
    return ~0u;
}

static void pin_write(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    (void)size;
    const struct guest_testdev_ops *ops = &((struct guest_testdev *)dev)->ops;
    ops->line(ops->ctx, port - PINS_PORT, value != 0);
}

static uint32_t config_read(void *dev, uint16_t port, unsigned size)
{
    struct guest_testdev *d = dev;
    uint64_t item = 0;
    if (port != CONFIG_PORT + 1 || size != 1)
        return ~0u;
    switch (d->key) {
    case CONFIG_SIGNATURE:
        item = 0x554d4551; // "QEMU"
        break;
    case CONFIG_ID: // no DMA
        item = 1;
        break;
    case CONFIG_RAM_SIZE:
        item = d->ops.memory;
        break;
    case CONFIG_CPUS:
    case CONFIG_MAX_CPUS:
        item = d->ops.cpus;
        break;
    default:
        break;
    }
    return d->at < 8 ? (uint32_t)(item >> d->at++ * 8) : 0;
}

static void config_write(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct guest_testdev *d = dev;
    if (port != CONFIG_PORT || size != 2)
        return;
    d->key = (uint16_t)value;
    d->at = 0;
}

static uint64_t memory_read(void *dev, uint64_t offset, unsigned size)
{
    uint64_t value = 0;
    memcpy(&value, ((struct guest_testdev *)dev)->memory + offset, size);
    return value;
}

static void memory_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    memcpy(((struct guest_testdev *)dev)->memory + offset, &value, size);
}

// clang-format off
static const struct port_range ranges[] = {
    { .name = "test register", .first = SCRATCH_PORT, .count = 12,               .read = scratch_read, .write = scratch_write },
    { .name = "test pins",     .first = PINS_PORT,    .count = GUEST_IOAPIC_PINS, .read = pin_read,     .write = pin_write },
    { .name = "test config",   .first = CONFIG_PORT,  .count = 2,                .read = config_read,  .write = config_write },
};
// clang-format on

enum status guest_testdev_create(struct guest_testdev **device, struct io_space *io,
                                 const struct guest_testdev_ops *ops)
{
    struct guest_testdev *d = calloc(1, sizeof *d);
    if (!d)
        return ERR_NOMEM;
    d->ops = *ops;
    *device = d;
    const struct mmio_range memory = {.name = "test memory",
                                      .base = MEMORY_BASE,
                                      .size = MEMORY_LENGTH,
                                      .read = memory_read,
                                      .write = memory_write,
                                      .dev = d};
    enum status s = io_space_add_mmio(io, &memory);
    for (unsigned i = 0; s == OK && i < sizeof ranges / sizeof *ranges; i++) {
        struct port_range range = ranges[i];
        range.dev = d;
        s = io_space_add_ports(io, &range);
    }
    return s;
}

void guest_testdev_destroy(struct guest_testdev *device)
{
    free(device);
}
