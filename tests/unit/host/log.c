// SPDX-License-Identifier: BSD-2-Clause
// The log on the build machine: silent unless FARBUS_TEST_LOG is set; keeps the last lines for a test to look
// at.
#include "rt/log.h"
#include "tests/unit/host/host.h"
#include <stdio.h>
#include <stdlib.h>

#define KEPT 16u

static char lines[KEPT][512]; // a ring
static unsigned count;
static enum log_level limit = LOG_DEBUG;

__attribute__((weak)) void log_vline(enum log_level level, const char *room, const char *fmt, va_list ap)
{
    if (level > limit)
        return;
    char *last = lines[++count % KEPT];
    int n = snprintf(last, sizeof lines[0], "%s: ", room);
    if (n >= 0 && (size_t)n < sizeof lines[0])
        vsnprintf(last + n, sizeof lines[0] - (size_t)n, fmt, ap);
    if (getenv("FARBUS_TEST_LOG"))
        fprintf(stderr, "%s\n", last);
}

__attribute__((weak)) void log_line(enum log_level level, const char *room, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    log_vline(level, room, fmt, ap);
    va_end(ap);
}

__attribute__((weak)) void log_set_level(enum log_level level)
{
    limit = level;
}

__attribute__((weak)) void console_add_sink(const struct console_sink *sink)
{
    (void)sink;
}

__attribute__((weak)) void console_write(const char *bytes, size_t n)
{
    if (getenv("FARBUS_TEST_LOG"))
        fwrite(bytes, 1, n, stderr);
}

__attribute__((weak)) int console_read(void)
{
    return -1;
}

const char *host_log_last(void)
{
    return lines[count % KEPT];
}

const char *host_log_back(unsigned n)
{
    return n < KEPT && n < count ? lines[(count - n) % KEPT] : "";
}

unsigned host_log_count(void)
{
    return count;
}
