// SPDX-License-Identifier: BSD-2-Clause
// The log on the build machine: silent unless FARBUS_TEST_LOG is set; keeps the last line for a test to look
// at.
#include "rt/log.h"
#include "tests/unit/host/host.h"
#include <stdio.h>
#include <stdlib.h>

static char last[512];
static unsigned count;
static enum log_level limit = LOG_DEBUG;

__attribute__((weak)) void log_vline(enum log_level level, const char *room, const char *fmt, va_list ap)
{
    if (level > limit)
        return;
    int n = snprintf(last, sizeof last, "%s: ", room);
    if (n >= 0 && (size_t)n < sizeof last)
        vsnprintf(last + n, sizeof last - (size_t)n, fmt, ap);
    count++;
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
    return last;
}

unsigned host_log_count(void)
{
    return count;
}
