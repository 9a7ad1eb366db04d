// SPDX-License-Identifier: BSD-2-Clause
#include "hv/platform/pit.h"

#define PIT_PORT     0x40u
#define CONTROL_PORT 0x43u
#define SYSTEM_PORT  0x61u
#define NS_PER_S     1000000000u

// Control word (data sheet, figure 7)
#define CONTROL_BCD  0x01u
#define CONTROL_BITS 0x3fu
enum { RW_LATCH, RW_LOW, RW_HIGH, RW_BOTH };
#define READ_BACK           3u // in the place of a channel (figure 11); its bits are active low
#define READ_BACK_NO_COUNT  0x20u
#define READ_BACK_NO_STATUS 0x10u
#define STATUS_OUT          0x80u // figure 12
#define STATUS_NULL         0x40u

// Port 0x61 (PIIX4 data sheet, 8.5.7)
#define SYSTEM_GATE2   0x01u
#define SYSTEM_BITS    0x0fu
#define SYSTEM_REFRESH 0x10u
#define SYSTEM_OUT2    0x20u
#define REFRESH_CLOCKS 18u

static uint64_t clocks_of(uint64_t ns)
{
    return ns / NS_PER_S * PIT_HZ + ns % NS_PER_S * PIT_HZ / NS_PER_S;
}

/// The first nanosecond in which that clock has come.
static uint64_t ns_of(uint64_t clocks)
{
    return clocks / PIT_HZ * NS_PER_S + (clocks % PIT_HZ * NS_PER_S + PIT_HZ - 1) / PIT_HZ;
}

static unsigned rw(const struct pit_channel *c)
{
    return c->control >> 4 & 3;
}

static uint32_t modulus(const struct pit_channel *c)
{
    return c->control & CONTROL_BCD ? 10000 : 65536;
}

// --- counting ---

/// Clocks of a half of mode 3: an odd count is one clock longer while the output is high.
static uint32_t half(uint32_t count, bool high)
{
    return (count + high) / 2;
}

/// Returns true when the output rises.
static bool set_out(struct pit_channel *c, bool out)
{
    bool rises = out && !c->out;
    c->out = out;
    return rises;
}

static void fill(struct pit_channel *c)
{
    c->loaded = c->reload;
    c->null_count = false;
    c->count = c->mode == 3 ? half(c->loaded, c->out) : c->loaded;
}

/// The clock that brings the count register into the counter.
static unsigned load(struct pit_channel *c)
{
    unsigned rises = c->mode >= 2 ? set_out(c, true) : 0;
    if (c->mode == 1)
        c->out = false;
    c->load = false;
    c->counting = true;
    c->armed = true;
    fill(c);
    return rises;
}

/// Modes 0, 1, 4, 5 up to their end, or past it, where the counter wraps. Returns clocks used.
static uint64_t count_down(struct pit_channel *c, uint64_t clocks, uint64_t *rises)
{
    uint32_t wrap = modulus(c);
    bool strobe = c->mode >= 4;
    if (strobe && !c->out) {
        *rises += set_out(c, true);
        c->count = wrap - 1;
        return 1;
    }
    if (!c->armed) {
        c->count = (uint32_t)((c->count + wrap - clocks % wrap) % wrap);
        return clocks;
    }
    if (clocks < c->count) {
        c->count -= (uint32_t)clocks;
        return clocks;
    }
    uint64_t used = c->count;
    c->count = 0;
    c->armed = false;
    *rises += set_out(c, !strobe);
    return used;
}

/// Modes 2 and 3 up to the next change of the output. Returns clocks used.
static uint64_t count_wave(struct pit_channel *c, uint64_t clocks, uint64_t *rises)
{
    uint32_t left = c->mode == 2 && c->out ? c->count - 1 : c->count;
    if (clocks < left) {
        c->count -= (uint32_t)clocks;
        return clocks;
    }
    uint64_t used = left;
    bool rise = set_out(c, !c->out);
    *rises += rise;
    if (c->mode == 2 && !rise) { // low for the last clock
        c->count = 1;
        return used;
    }
    fill(c);
    if (rise) { // whole periods at once
        *rises += (clocks - used) / c->loaded;
        used += (clocks - used) / c->loaded * c->loaded;
    }
    return used;
}

/// Lets `clocks` pass. Returns how often the output rose.
static uint64_t run(struct pit_channel *c, uint64_t clocks)
{
    uint64_t rises = 0;
    while (clocks > 0) {
        if (c->load) {
            rises += load(c);
            clocks--;
            continue;
        }
        bool gated = c->mode != 1 && c->mode != 5; // these two are only triggered by it
        if (!c->counting || (gated && !c->gate))
            break;
        bool wave = c->mode == 2 || c->mode == 3;
        clocks -= wave ? count_wave(c, clocks, &rises) : count_down(c, clocks, &rises);
    }
    return rises;
}

/// Clocks until the output rises, while nobody touches the channel.
static uint64_t next_rise(const struct pit_channel *c)
{
    bool gated = c->mode != 1 && c->mode != 5;
    if ((gated && !c->gate) || (!c->load && !c->counting))
        return PIT_NEVER;
    uint32_t strobe = c->mode >= 4;
    if (c->mode == 2 || c->mode == 3) {
        if (c->load)
            return 1 + (uint64_t)c->reload;
        return c->mode == 3 && c->out ? c->count + half(c->reload, false) : c->count;
    }
    if (c->load)
        return strobe && !c->out ? 1 : 1 + (uint64_t)c->reload + strobe;
    if (strobe && !c->out)
        return 1;
    return c->armed ? (uint64_t)c->count + strobe : PIT_NEVER;
}

// --- programming ---

static void write_control(struct pit_channel *c, uint8_t value)
{
    c->control = value & CONTROL_BITS;
    c->mode = value >> 1 & 7;
    if (c->mode > 5)
        c->mode -= 4; // X10, X11
    c->out = c->mode != 0;
    c->null_count = true;
    c->written = c->load = c->counting = c->armed = false;
    c->write_high = c->read_high = false;
    c->latched = 0;
    c->status_latched = false;
}

static uint32_t from_digits(uint32_t value)
{
    return (value >> 12) * 1000 + (value >> 8 & 15) * 100 + (value >> 4 & 15) * 10 + (value & 15);
}

static uint32_t to_digits(uint32_t n)
{
    return n / 1000 % 10 << 12 | n / 100 % 10 << 8 | n / 10 % 10 << 4 | n % 10;
}

static void set_count(struct pit_channel *c, uint32_t value)
{
    uint32_t n = c->control & CONTROL_BCD ? from_digits(value) : value;
    bool wave = c->mode == 2 || c->mode == 3;
    c->reload = n == 0 ? modulus(c) : n;
    if (wave && c->reload == 1)
        c->reload = 2; // 1 is not allowed there
    c->null_count = true;
    if (c->mode == 0)
        c->out = false;
    if (c->mode == 0 || c->mode == 4 || (wave && !c->written))
        c->load = true;
    c->written = true;
}

static void write_count(struct pit_channel *c, uint8_t value)
{
    switch (rw(c)) {
    case RW_LOW:
        set_count(c, value);
        return;
    case RW_HIGH:
        set_count(c, (uint32_t)value << 8);
        return;
    default:
        c->write_high = !c->write_high;
        if (!c->write_high) {
            set_count(c, (uint32_t)value << 8 | c->first_byte);
            return;
        }
        c->first_byte = value;
        if (c->mode == 0) { // stops until the second byte is there
            c->out = c->load = c->counting = false;
        }
    }
}

static void set_gate(struct pit_channel *c, bool gate)
{
    bool rises = gate && !c->gate, wave = c->mode == 2 || c->mode == 3;
    c->gate = gate;
    if (wave && !gate) {
        if (c->mode == 3 && !c->out && (c->loaded & 1))
            c->count++; // the same value, as the high half shows it
        c->out = true;
    }
    if (rises && c->written && (wave || c->mode == 1 || c->mode == 5))
        c->load = true;
}

// --- reading ---

static uint16_t count_now(const struct pit_channel *c)
{
    uint32_t n = c->count;
    if (c->mode == 3) // counts by two; an odd count's high half begins one below and ends with 0
        n = 2 * n - (c->out && (c->loaded & 1) && n ? 2 : 0);
    n %= modulus(c);
    return (uint16_t)(c->control & CONTROL_BCD ? to_digits(n) : n);
}

static void latch_count(struct pit_channel *c)
{
    if (c->latched) // the first one stays until it has been read
        return;
    c->latch = count_now(c);
    c->latched = rw(c) == RW_BOTH ? 2 : 1;
}

static void latch_status(struct pit_channel *c)
{
    if (c->status_latched)
        return;
    c->status_latched = true;
    c->status = (uint8_t)((c->out ? STATUS_OUT : 0) | (c->null_count ? STATUS_NULL : 0) | c->control);
}

static uint8_t read_channel(struct pit_channel *c)
{
    if (c->status_latched) {
        c->status_latched = false;
        return c->status;
    }
    uint16_t n = c->latched ? c->latch : count_now(c);
    bool high = rw(c) == RW_HIGH || (rw(c) == RW_BOTH && c->read_high);
    if (rw(c) == RW_BOTH)
        c->read_high = !c->read_high;
    if (c->latched)
        c->latched--;
    return (uint8_t)(high ? n >> 8 : n);
}

// --- the board ---

/// Makes irq0 what channel 0's output is; `rose`: it has risen meanwhile.
static void drive(struct guest_pit *p, bool rose)
{
    bool out = p->channel[0].out;
    bool wave = (p->channel[0].mode == 2 || p->channel[0].mode == 3) && p->channel[0].counting;
    if (p->line && (rose || (!out && !wave))) {
        p->line = false;
        p->irq0(p->ctx, false);
    }
    if (!p->line && (rose || out)) {
        p->line = true;
        p->irq0(p->ctx, true);
    }
}

static void advance(struct guest_pit *p)
{
    uint64_t now = clocks_of(p->now_ns(p->ctx));
    if (now <= p->now)
        return;
    uint64_t clocks = now - p->now;
    p->now = now;
    (void)run(&p->channel[1], clocks);
    (void)run(&p->channel[2], clocks);
    drive(p, run(&p->channel[0], clocks) > 0);
}

uint64_t guest_pit_tick(struct guest_pit *p)
{
    advance(p);
    uint64_t clocks = next_rise(&p->channel[0]);
    return clocks == PIT_NEVER ? PIT_NEVER : ns_of(p->now + clocks);
}

static void control(struct guest_pit *p, uint8_t value)
{
    if (value >> 6 != READ_BACK) {
        struct pit_channel *c = &p->channel[value >> 6];
        if ((value >> 4 & 3) == RW_LATCH)
            latch_count(c);
        else
            write_control(c, value);
        return;
    }
    for (unsigned i = 0; i < 3; i++) {
        if (!(value & 2u << i))
            continue;
        if (!(value & READ_BACK_NO_COUNT))
            latch_count(&p->channel[i]);
        if (!(value & READ_BACK_NO_STATUS))
            latch_status(&p->channel[i]);
    }
}

static void pit_write(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct guest_pit *p = dev;
    advance(p);
    for (unsigned i = 0; i < size && port + i <= CONTROL_PORT; i++) {
        if (port + i == CONTROL_PORT)
            control(p, (uint8_t)(value >> i * 8));
        else
            write_count(&p->channel[port + i - PIT_PORT], (uint8_t)(value >> i * 8));
    }
    drive(p, false);
    p->changed(p->ctx);
}

static uint32_t pit_read(void *dev, uint16_t port, unsigned size)
{
    struct guest_pit *p = dev;
    uint32_t value = 0;
    advance(p);
    for (unsigned i = 0; i < size && port + i <= CONTROL_PORT; i++)
        value |= (port + i == CONTROL_PORT ? 0xffu : read_channel(&p->channel[port + i - PIT_PORT])) << i * 8;
    return value;
}

static uint32_t system_read(void *dev, uint16_t port, unsigned size)
{
    struct guest_pit *p = dev;
    (void)port, (void)size;
    advance(p);
    return p->control | (p->now / REFRESH_CLOCKS & 1 ? SYSTEM_REFRESH : 0) |
           (p->channel[2].out ? SYSTEM_OUT2 : 0);
}

static void system_write(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct guest_pit *p = dev;
    (void)port, (void)size;
    advance(p);
    p->control = value & SYSTEM_BITS;
    set_gate(&p->channel[2], (value & SYSTEM_GATE2) != 0);
}

void guest_pit_reset(struct guest_pit *p)
{
    if (p->line)
        p->irq0(p->ctx, false);
    p->line = false;
    p->now = clocks_of(p->now_ns(p->ctx));
    p->control = 0;
    for (unsigned i = 0; i < 3; i++)
        p->channel[i] = (struct pit_channel){.gate = i < 2};
    write_control(&p->channel[0], RW_BOTH << 4 | 3 << 1);
    set_count(&p->channel[0], 0);
    write_control(&p->channel[1], RW_LOW << 4 | 2 << 1);
    set_count(&p->channel[1], REFRESH_CLOCKS);
    write_control(&p->channel[2], RW_BOTH << 4 | 3 << 1);
    drive(p, false);
}

enum status guest_pit_init(struct guest_pit *p, struct io_space *io)
{
    const struct port_range timer = {
        .name = "8254", .first = PIT_PORT, .count = 4, .read = pit_read, .write = pit_write, .dev = p};
    const struct port_range system = {.name = "port 61",
                                      .first = SYSTEM_PORT,
                                      .count = 1,
                                      .read = system_read,
                                      .write = system_write,
                                      .dev = p};
    guest_pit_reset(p);
    enum status s = io_space_add_ports(io, &timer);
    return s == OK ? io_space_add_ports(io, &system) : s;
}
