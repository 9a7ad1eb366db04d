// SPDX-License-Identifier: BSD-2-Clause
// panic() on the build machine: the end of the test (abort, which cmocka and the fuzzer both report), or a
// jump back to a test that said it expects one.
#include "rt/panic.h"
#include "tests/unit/host/host.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

jmp_buf host_panic_jump;
static bool armed;
static char text[512];

void host_panic_arm(void)
{
    armed = true;
    text[0] = 0;
}

const char *host_panic_text(void)
{
    return text;
}

__attribute__((weak)) void panic(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (armed) {
        armed = false;
        longjmp(host_panic_jump, 1);
    }
    fprintf(stderr, "panic: %s\n", text);
    abort();
}
