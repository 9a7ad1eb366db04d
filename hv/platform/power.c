// SPDX-License-Identifier: BSD-2-Clause
// The ways software ends or restarts a PC: reset control, keyboard controller, fast A20/init, S5, and the
// ports emulators give to test kernels. Must not know what a reset is: it only says that one was asked for.
#include "hv/platform/devices.h"

#define CF9_RST_CPU    0x04u // Intel PCH: a rise of this bit resets
#define KBC_PULSE_LINE 0xf0u // commands 0xF0-0xFF pulse output lines; line 0 (active low) is reset
#define PORT92_INIT    0x01u
#define PORT92_A20     0x02u

static uint32_t read_ones(void *dev, uint16_t port, unsigned size)
{
    (void)dev, (void)port, (void)size;
    return ~0u;
}

static void write_nothing(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    (void)dev, (void)port, (void)size, (void)value;
}

static uint32_t read_zero(void *dev, uint16_t port, unsigned size)
{
    (void)dev, (void)port, (void)size;
    return 0;
}

static void ask_reset(struct guest_power *p)
{
    if (p->reset)
        p->reset(p->ctx);
}

static void ask_power_off(struct guest_power *p, int code)
{
    if (p->power_off)
        p->power_off(p->ctx, code);
}

static uint32_t cf9_read(void *dev, uint16_t port, unsigned size)
{
    (void)port, (void)size;
    return ((struct guest_power *)dev)->reset_control;
}

static void cf9_write(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    (void)port, (void)size;
    struct guest_power *p = dev;
    bool rises = (value & CF9_RST_CPU) && !(p->reset_control & CF9_RST_CPU);
    p->reset_control = (uint8_t)value & (uint8_t)~CF9_RST_CPU; // the reset itself clears it
    if (rises)
        ask_reset(p);
}

static void kbc_write(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    (void)port, (void)size;
    if ((value & KBC_PULSE_LINE) == KBC_PULSE_LINE && !(value & 1))
        ask_reset(dev);
}

static uint32_t port92_read(void *dev, uint16_t port, unsigned size)
{
    (void)port, (void)size;
    return ((struct guest_power *)dev)->port92;
}

static void port92_write(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    (void)port, (void)size;
    struct guest_power *p = dev;
    p->port92 = (uint8_t)((value & (uint32_t)~PORT92_INIT) |
                          PORT92_A20); // A20 cannot be masked, as on current chipsets
    if (value & PORT92_INIT)
        ask_reset(p);
}

static void bochs_shutdown_write(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    static const char word[] = "Shutdown";
    (void)port, (void)size;
    struct guest_power *p = dev;
    if ((char)value == word[p->shutdown_matched])
        p->shutdown_matched++;
    else
        p->shutdown_matched = (char)value == word[0];
    if (p->shutdown_matched == sizeof(word) - 1) {
        p->shutdown_matched = 0;
        ask_power_off(p, 0);
    }
}

static void debug_exit_write(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    (void)port, (void)size;
    ask_power_off(dev, (int)(value & 0x7fffffff));
}

// clang-format off
static const struct port_range ranges[] = {
    // Input buffer empty, nothing to read: software that waits before it asks for a reset does not wait for ever.
    { .name = "keyboard controller", .first = 0x64,   .count = 1, .read = read_zero,   .write = kbc_write },
    { .name = "POST",                .first = 0x80,   .count = 1, .read = read_ones,   .write = write_nothing },
    { .name = "fast A20 and init",   .first = 0x92,   .count = 1, .read = port92_read, .write = port92_write },
    { .name = "delay",               .first = 0xed,   .count = 1, .read = read_ones,   .write = write_nothing },
    { .name = "debug exit",          .first = 0xf4,   .count = 4, .read = read_ones,   .write = debug_exit_write },
    { .name = "reset control",       .first = 0xcf9,  .count = 1, .read = cf9_read,    .write = cf9_write },
    { .name = "Bochs shutdown",      .first = 0x8900, .count = 1, .read = read_ones,   .write = bochs_shutdown_write },
};
// clang-format on

enum status guest_power_init(struct guest_power *p, struct io_space *io)
{
    guest_power_reset(p);
    for (unsigned i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        struct port_range range = ranges[i];
        range.dev = p;
        enum status s = io_space_add_ports(io, &range);
        if (s != OK)
            return s;
    }
    return OK;
}

void guest_power_reset(struct guest_power *p)
{
    p->shutdown_matched = 0;
    p->reset_control = 0;
    p->port92 = PORT92_A20;
}
