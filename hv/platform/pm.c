// SPDX-License-Identifier: BSD-2-Clause
#include "hv/platform/pm.h"
#include "hv/platform/machine.h"

#define PM1_SCI_EN    0x0001u
#define PM1_SLP_TYP   0x1c00u // S5 is type 0 (dsdt.asl)
#define PM1_SLP_EN    0x2000u
#define PM_TIMER_HZ   3579545u
#define PM_TIMER_BITS 24u

static uint32_t read_zero_extended(const struct guest_pm *pm, uint16_t port)
{
    switch (port) {
    case GUEST_PM1_EVENT:
        return pm->status;
    case GUEST_PM1_EVENT + 2:
        return pm->enable;
    default:
        return pm->control;
    }
}

static uint32_t pm1_read(void *dev, uint16_t port, unsigned size)
{
    const struct guest_pm *pm = dev;
    uint32_t value = read_zero_extended(pm, port & ~1u & 0xffff);
    if (size == 4 && port == GUEST_PM1_EVENT)
        value |= (uint32_t)pm->enable << 16;
    return value >> (port & 1) * 8;
}

static void pm1_write(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct guest_pm *pm = dev;
    if (size == 4 && port == GUEST_PM1_EVENT) {
        pm->status &= (uint16_t)~value;
        pm->enable = (uint16_t)(value >> 16);
        return;
    }
    if (size != 2 || port & 1)
        return;
    if (port == GUEST_PM1_EVENT) {
        pm->status &= (uint16_t)~value;
    } else if (port == GUEST_PM1_EVENT + 2) {
        pm->enable = (uint16_t)value;
    } else {
        pm->control = (uint16_t)((value & ~PM1_SLP_EN) | PM1_SCI_EN);
        if ((value & PM1_SLP_EN) && (value & PM1_SLP_TYP) == 0 && pm->power_off)
            pm->power_off(pm->ctx, 0);
    }
}

static uint32_t timer_read(void *dev, uint16_t port, unsigned size)
{
    const struct guest_pm *pm = dev;
    uint64_t ns = pm->now_ns(pm->ctx);
    uint64_t ticks = ns / 1000000000u * PM_TIMER_HZ + ns % 1000000000u * PM_TIMER_HZ / 1000000000u;
    (void)size;
    return (uint32_t)(ticks & ((1u << PM_TIMER_BITS) - 1)) >> (port & 3) * 8;
}

static void timer_write(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    (void)dev, (void)port, (void)size, (void)value; // read-only
}

void guest_pm_reset(struct guest_pm *pm)
{
    pm->status = 0;
    pm->enable = 0;
    pm->control = PM1_SCI_EN;
}

enum status guest_pm_init(struct guest_pm *pm, struct io_space *io)
{
    const struct port_range pm1 = {
        .name = "PM1", .first = GUEST_PM1_EVENT, .count = 6, .read = pm1_read, .write = pm1_write, .dev = pm};
    const struct port_range timer = {.name = "PM timer",
                                     .first = GUEST_PM_TIMER,
                                     .count = 4,
                                     .read = timer_read,
                                     .write = timer_write,
                                     .dev = pm};
    guest_pm_reset(pm);
    enum status s = io_space_add_ports(io, &pm1);
    return s == OK ? io_space_add_ports(io, &timer) : s;
}
