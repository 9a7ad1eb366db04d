// SPDX-License-Identifier: BSD-2-Clause
// Log lines: "[   1.234567] room: text". Every line goes to all registered sinks (serial, framebuffer) at
// once. Must not know any hardware: sinks are registered by drivers/. Callable from any context, before and
// after paging.
#pragma once
#include <stdarg.h>
#include <stddef.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/// Writes one line. `room` is the part that speaks ("vmx", "link", "guest NAME"). No newline in fmt.
void log_line(enum log_level level, const char *room, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void log_vline(enum log_level level, const char *room, const char *fmt, va_list ap);

/// Lines above this level are dropped (default LOG_INFO).
void log_set_level(enum log_level level);

#define log_error(room, ...) log_line(LOG_ERROR, room, __VA_ARGS__)
#define log_warn(room, ...)  log_line(LOG_WARN, room, __VA_ARGS__)
#define log_info(room, ...)  log_line(LOG_INFO, room, __VA_ARGS__)
#define log_debug(room, ...) log_line(LOG_DEBUG, room, __VA_ARGS__)

/// Where console bytes go and come from. `read` returns one byte, or -1 when none waits; may be NULL (output
/// only).
struct console_sink {
    const char *name;
    void (*write)(void *dev, const char *bytes, size_t n);
    int (*read)(void *dev);
    void *dev;
};

/// Registers a sink (kept by reference, must live for ever; at most 4). Bytes logged before the first sink
/// exists are kept (8 KiB) and given to it.
void console_add_sink(const struct console_sink *sink);
/// Raw bytes to every sink, no line structure (used for a guest's console).
void console_write(const char *bytes, size_t n);
/// One byte typed on any sink, or -1.
int console_read(void);
