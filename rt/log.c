// SPDX-License-Identifier: BSD-2-Clause
// Log lines and console bytes to all sinks. Formats on the caller's stack with the C library's integer-only
// printf; no FILE. Invariant: output never waits for a CPU that cannot run: in a panic, and when this CPU
// already holds the lock (an exception or NMI inside a log call), the lock is passed by.
#define _DEFAULT_SOURCE // newlib: vsniprintf, the printf without floating point
#include "rt/log.h"
#include "rt/cpu.h"
#include "rt/log_internal.h"
#include "rt/panic_internal.h"
#include "rt/time.h"
#include "rt/x86.h"
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define SINKS_MAX   4
#define EARLY_BYTES 8192
#define LINE_BYTES  512

static const struct console_sink *sinks[SINKS_MAX];
static _Atomic unsigned sink_count;
static enum log_level limit = LOG_INFO;
static _Atomic uint32_t holder; // index of the CPU inside + 1; 0: nobody

// What was written before the first sinks came; each new sink is given it.
static char early[EARLY_BYTES];
static size_t early_used;
static bool early_closed;

static bool enter(void)
{
    uint32_t me = cpu_self()->index + 1;
    for (;;) {
        uint32_t seen = 0;
        if (atomic_compare_exchange_weak_explicit(&holder, &seen, me, memory_order_acquire,
                                                  memory_order_relaxed))
            return true;
        if (seen == me || panic_active())
            return false;
        cpu_pause();
    }
}

static void leave(bool entered)
{
    if (entered)
        atomic_store_explicit(&holder, 0, memory_order_release);
}

static void write_all(const char *bytes, size_t n)
{
    unsigned count = atomic_load_explicit(&sink_count, memory_order_acquire);
    for (unsigned i = 0; i < count; i++)
        sinks[i]->write(sinks[i]->dev, bytes, n);
    if (!early_closed) {
        size_t room = EARLY_BYTES - early_used;
        size_t take = n < room ? n : room;
        memcpy(early + early_used, bytes, take);
        early_used += take;
        if (early_used == EARLY_BYTES)
            early_closed = true;
    }
}

void log_vline(enum log_level level, const char *room, const char *fmt, va_list ap)
{
    if (level > limit)
        return;
    char line[LINE_BYTES];
    uint64_t us = time_ns() / 1000;
    static const char *const marks[] = {
        [LOG_ERROR] = "error: ", [LOG_WARN] = "warning: ", [LOG_INFO] = "", [LOG_DEBUG] = ""};
    int n = sniprintf(line, sizeof line, "[%4lu.%06lu] %s: %s", (unsigned long)(us / 1000000),
                      (unsigned long)(us % 1000000), room, marks[level]);
    size_t used = n < 0 ? 0 : (size_t)n;
    if (used < sizeof line) {
        n = vsniprintf(line + used, sizeof line - used, fmt, ap);
        used += n < 0 ? 0 : (size_t)n;
    }
    if (used > sizeof line - 2)
        used = sizeof line - 2; // the line was cut
    line[used++] = '\n';
    bool entered = enter();
    write_all(line, used);
    leave(entered);
}

void log_line(enum log_level level, const char *room, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    log_vline(level, room, fmt, ap);
    va_end(ap);
}

void log_set_level(enum log_level level)
{
    limit = level;
}

void console_add_sink(const struct console_sink *sink)
{
    bool entered = enter();
    unsigned count = atomic_load_explicit(&sink_count, memory_order_relaxed);
    if (count < SINKS_MAX) {
        sinks[count] = sink;
        sink->write(sink->dev, early, early_used);
        atomic_store_explicit(&sink_count, count + 1, memory_order_release);
    }
    leave(entered);
}

bool console_has_sink(void)
{
    return atomic_load_explicit(&sink_count, memory_order_acquire) != 0;
}

void console_write(const char *bytes, size_t n)
{
    bool entered = enter();
    write_all(bytes, n);
    leave(entered);
}

int console_read(void)
{
    unsigned count = atomic_load_explicit(&sink_count, memory_order_acquire);
    for (unsigned i = 0; i < count; i++) {
        int byte = sinks[i]->read ? sinks[i]->read(sinks[i]->dev) : -1;
        if (byte >= 0)
            return byte;
    }
    return -1;
}
