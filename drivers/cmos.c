// SPDX-License-Identifier: BSD-2-Clause
#include "drivers/cmos.h"
#include "rt/time.h"
#include "rt/x86.h"
#include <stdbool.h>

enum { SECONDS = 0, MINUTES = 2, HOURS = 4, DAY = 7, MONTH = 8, YEAR = 9, STATUS_A = 10, STATUS_B = 11 };

#define A_UPDATING 0x80u
#define B_24_HOURS 0x02u
#define B_BINARY   0x04u
#define HOUR_PM    0x80u

static uint64_t start_unix, start_ns;

static uint8_t cmos(uint8_t index)
{
    out8(0x70, index);
    return in8(0x71);
}

static unsigned number(uint8_t raw, bool binary)
{
    return binary ? raw : (raw >> 4) * 10u + (raw & 15u);
}

/// Days since 1970-01-01 in the Gregorian calendar.
static uint64_t days(unsigned year, unsigned month, unsigned day)
{
    static const uint16_t before[12] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    uint64_t n =
        (uint64_t)(year - 1970) * 365 + (year - 1969) / 4 - (year - 1901) / 100 + (year - 1601) / 400;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return n + before[(month - 1) % 12] + (leap && month > 2) + day - 1;
}

void cmos_start(void)
{
    uint8_t r[12];
    // An update takes at most 2 ms (MC146818 data sheet); a machine without the clock reads all-ones and is
    // given up on.
    for (unsigned tries = 0; tries < 1000 && (cmos(STATUS_A) & A_UPDATING); tries++)
        time_delay_us(10);
    for (uint8_t i = 0; i < sizeof r; i++)
        r[i] = cmos(i);
    bool binary = (r[STATUS_B] & B_BINARY) != 0;
    unsigned hours = number(r[HOURS] & (uint8_t)~HOUR_PM, binary);
    if (!(r[STATUS_B] & B_24_HOURS))
        hours = hours % 12 + (r[HOURS] & HOUR_PM ? 12 : 0);
    start_unix =
        days(2000 + number(r[YEAR], binary), number(r[MONTH], binary), number(r[DAY], binary)) * 86400 +
        hours * 3600 + number(r[MINUTES], binary) * 60 + number(r[SECONDS], binary);
    start_ns = time_ns();
}

uint64_t cmos_unix_time(void)
{
    return start_unix + (time_ns() - start_ns) / 1000000000u;
}
