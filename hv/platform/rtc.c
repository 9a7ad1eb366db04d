// SPDX-License-Identifier: BSD-2-Clause
// MC146818 real-time clock and CMOS RAM at 0x70/0x71 (Motorola MC146818A data sheet; CMOS bytes as IBM PC/AT
// and SeaBIOS-era kernels read them). The time of day is computed at each read, so an update is never in
// progress. The guest may choose BCD or binary, 12 or 24 hours; it cannot set the host's clock: writes to the
// time are ignored. Interrupts come when a second begins: at its update and at the alarm; the periodic
// interrupt does not exist.
#include "hv/platform/devices.h"
#include "hv/platform/pci_host.h"

// clang-format off
enum {
    RTC_SECONDS = 0x00, RTC_ALARM_SECONDS = 0x01, RTC_MINUTES = 0x02, RTC_ALARM_MINUTES = 0x03, RTC_ALARM_HOURS = 0x05, RTC_HOURS = 0x04,
    RTC_WEEKDAY = 0x06, RTC_DAY = 0x07, RTC_MONTH = 0x08, RTC_YEAR = 0x09,
    RTC_A = 0x0a, RTC_B = 0x0b, RTC_C = 0x0c, RTC_D = 0x0d,
    CMOS_BASE_KB = 0x15, CMOS_EXT_KB = 0x17, CMOS_EXT_KB_2 = 0x30, CMOS_CENTURY = 0x32, CMOS_EXT_64K = 0x34, CMOS_HIGH_64K = 0x5b,
};
// clang-format on
#define RTC_A_DEFAULT 0x26u // 32.768 kHz time base, 1024 Hz
#define RTC_B_SET     0x80u
#define RTC_B_DM      0x04u // binary
#define RTC_B_24H     0x02u
#define RTC_IRQF      0x80u // register C; its other bits are B's, one enables what the other says
#define RTC_AF        0x20u
#define RTC_UF        0x10u
#define RTC_ENABLES   0x70u
#define RTC_ANY       0xc0u // in an alarm byte: every value
#define RTC_D_VRT     0x80u // battery good

#define LATE_MAX 60u // seconds that are made up for when nobody looked

struct calendar {
    unsigned second, minute, hour, weekday, day, month, year; // weekday 1 = Sunday
};

/// Days since 1970-01-01 to a Gregorian date; years counted from March so that the leap day is last.
static struct calendar calendar_of(uint64_t unix_time)
{
    uint64_t seconds = unix_time % 86400, days = unix_time / 86400 + 719468; // days since 0000-03-01
    uint64_t era = days / 146097, of_era = days % 146097;
    uint64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint64_t march_month = (5 * of_year + 2) / 153;
    unsigned month = (unsigned)(march_month < 10 ? march_month + 3 : march_month - 9);
    return (struct calendar){
        .second = (unsigned)(seconds % 60),
        .minute = (unsigned)(seconds / 60 % 60),
        .hour = (unsigned)(seconds / 3600),
        .weekday = (unsigned)((unix_time / 86400 + 4) % 7 + 1),
        .day = (unsigned)(of_year - (153 * march_month + 2) / 5 + 1),
        .month = month,
        .year = (unsigned)(year_of_era + era * 400 + (month <= 2)),
    };
}

static uint8_t encode(const struct guest_rtc *r, unsigned value)
{
    return (uint8_t)(r->ram[RTC_B] & RTC_B_DM ? value : (value / 10 % 10) << 4 | value % 10);
}

static uint8_t encode_hour(const struct guest_rtc *r, unsigned hour)
{
    if (r->ram[RTC_B] & RTC_B_24H)
        return encode(r, hour);
    return (uint8_t)(encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? 0x80u : 0u));
}

/// Brings the time registers up to date; the calendar is worked out once a second at most.
static void refresh(struct guest_rtc *r)
{
    uint64_t now = r->unix_time ? r->unix_time(r->ctx) : 0;
    if (r->shown && now == r->shown_time && r->ram[RTC_B] == r->shown_mode)
        return;
    struct calendar c = calendar_of(now);
    r->ram[RTC_SECONDS] = encode(r, c.second);
    r->ram[RTC_MINUTES] = encode(r, c.minute);
    r->ram[RTC_HOURS] = encode_hour(r, c.hour);
    r->ram[RTC_WEEKDAY] = encode(r, c.weekday);
    r->ram[RTC_DAY] = encode(r, c.day);
    r->ram[RTC_MONTH] = encode(r, c.month);
    r->ram[RTC_YEAR] = encode(r, c.year % 100);
    r->ram[CMOS_CENTURY] = encode(r, c.year / 100);
    r->shown = true;
    r->shown_time = now;
    r->shown_mode = r->ram[RTC_B];
}

static bool alarm_byte(uint8_t alarm, uint8_t now)
{
    return (alarm & RTC_ANY) == RTC_ANY || alarm == now;
}

static bool alarm_at(const struct guest_rtc *r, uint64_t unix_time)
{
    struct calendar c = calendar_of(unix_time);
    return alarm_byte(r->ram[RTC_ALARM_SECONDS], encode(r, c.second)) &&
           alarm_byte(r->ram[RTC_ALARM_MINUTES], encode(r, c.minute)) &&
           alarm_byte(r->ram[RTC_ALARM_HOURS], encode_hour(r, c.hour));
}

static void update_irq(struct guest_rtc *r)
{
    bool asserted = (r->ram[RTC_C] & r->ram[RTC_B] & RTC_ENABLES) != 0;
    r->ram[RTC_C] = (uint8_t)((r->ram[RTC_C] & RTC_ENABLES) | (asserted ? RTC_IRQF : 0u));
    if (r->irq)
        r->irq(r->ctx, asserted);
}

void guest_rtc_tick(struct guest_rtc *r)
{
    uint64_t now = r->unix_time ? r->unix_time(r->ctx) : 0;
    if (now <= r->looked)
        return;
    if (!(r->ram[RTC_B] & RTC_B_SET)) {
        uint64_t t = now - r->looked > LATE_MAX ? now - LATE_MAX : r->looked;
        while (++t <= now)
            r->ram[RTC_C] |= (uint8_t)(alarm_at(r, t) ? RTC_UF | RTC_AF : RTC_UF);
        update_irq(r);
    }
    r->looked = now;
}

/// Reading C takes what is pending.
static uint8_t take_pending(struct guest_rtc *r)
{
    guest_rtc_tick(r);
    uint8_t pending = r->ram[RTC_C];
    r->ram[RTC_C] = 0;
    update_irq(r);
    return pending;
}

static uint8_t rtc_read(struct guest_rtc *r)
{
    if (r->index == RTC_C)
        return take_pending(r);
    if (r->index < RTC_A || r->index == CMOS_CENTURY)
        refresh(r);
    return r->ram[r->index];
}

static void rtc_write(struct guest_rtc *r, uint8_t value)
{
    switch (r->index) {
    case RTC_SECONDS:
    case RTC_MINUTES:
    case RTC_HOURS:
    case RTC_WEEKDAY:
    case RTC_DAY:
    case RTC_MONTH:
    case RTC_YEAR:
    case CMOS_CENTURY:
    case RTC_C: // read-only
    case RTC_D: // read-only
        return;
    case RTC_B:
        guest_rtc_tick(r);
        r->ram[RTC_B] = (uint8_t)(value & RTC_B_SET ? value & ~RTC_UF : value); // SET clears UIE
        update_irq(r);
        return;
    case RTC_ALARM_SECONDS:
    case RTC_ALARM_MINUTES:
    case RTC_ALARM_HOURS:
        guest_rtc_tick(r); // until now it was the old one
        r->ram[r->index] = value;
        return;
    case RTC_A:
        r->ram[RTC_A] = value & 0x7f; // UIP is read-only
        return;
    default:
        r->ram[r->index] = value;
    }
}

static uint32_t ports_read(void *dev, uint16_t port, unsigned size)
{
    // The index register is write-only; a word read gets it as the low byte.
    uint32_t value = port & 1 ? rtc_read(dev) : 0xffu;
    return size > 1 ? value | (uint32_t)rtc_read(dev) << 8 | 0xffff0000u : value;
}

static void ports_write(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct guest_rtc *r = dev;
    if (port & 1) {
        rtc_write(r, (uint8_t)value);
        return;
    }
    r->index = value & 0x7f; // bit 7 gates NMI
    if (size > 1)
        rtc_write(r, (uint8_t)(value >> 8));
}

static void put_le(uint8_t *to, unsigned bytes, uint64_t value, uint64_t limit)
{
    value = value < limit ? value : limit;
    for (unsigned i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> (i * 8));
}

void guest_rtc_reset(struct guest_rtc *r)
{
    r->ram[RTC_B] &= (uint8_t)~RTC_ENABLES;
    r->ram[RTC_C] = 0;
    update_irq(r);
}

enum status guest_rtc_init(struct guest_rtc *r, struct io_space *io, uint64_t memory_bytes)
{
    const uint64_t mib = 1ull << 20;
    uint64_t low = memory_bytes < GUEST_MMIO_BASE ? memory_bytes : GUEST_MMIO_BASE;
    r->index = 0;
    r->shown = false;
    r->looked = r->unix_time ? r->unix_time(r->ctx) : 0;
    for (unsigned i = 0; i < sizeof(r->ram); i++)
        r->ram[i] = 0;
    r->ram[RTC_A] = RTC_A_DEFAULT;
    r->ram[RTC_B] = RTC_B_24H;
    r->ram[RTC_D] = RTC_D_VRT;
    put_le(&r->ram[CMOS_BASE_KB], 2, 640, 640);
    put_le(&r->ram[CMOS_EXT_KB], 2, low > mib ? (low - mib) >> 10 : 0, 0xffff);
    put_le(&r->ram[CMOS_EXT_KB_2], 2, low > mib ? (low - mib) >> 10 : 0, 0xffff);
    put_le(&r->ram[CMOS_EXT_64K], 2, low > 16 * mib ? (low - 16 * mib) >> 16 : 0, 0xffff);
    put_le(&r->ram[CMOS_HIGH_64K], 3, (memory_bytes - low) >> 16, 0xffffff);
    return io_space_add_ports(
        io,
        &(struct port_range){
            .name = "rtc", .first = 0x70, .count = 2, .read = ports_read, .write = ports_write, .dev = r});
}
