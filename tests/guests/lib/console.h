// SPDX-License-Identifier: BSD-2-Clause
// The guest's console: the 16550 at 0x3F8, polled. Knows nothing of what is tested.
#pragma once
#include <stdbool.h>

void console_start(void);
void console_put(char c);
/// printf with %c %s %d %u %x %%, width, zero padding, l and ll.
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
/// A byte typed at the guest, or -1.
int console_get(void);
