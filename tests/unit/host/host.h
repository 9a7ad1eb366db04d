// SPDX-License-Identifier: BSD-2-Clause
// What a test on the build machine can set and see of the runtime it runs on. All fakes are weak symbols: a
// test that links the real rt/log.c, rt/time.c, rt/frames.c or rt/panic.c gets the real one.
#pragma once
#include <stdint.h>

/// The clock that time_ns() and rdtsc-free code see. Starts at 0, moves only when told, or by
/// time_delay_us().
void host_time_set_ns(uint64_t ns);
void host_time_advance_ns(uint64_t ns);

/// What log_line() said last, "room: text", and how many lines so far. FARBUS_TEST_LOG=1 in the environment
/// prints all.
const char *host_log_last(void);
/// The n-th line before the last, of the last 16.
const char *host_log_back(unsigned n);
unsigned host_log_count(void);

/// panic() normally fails the test (cmocka) with its text on stderr. Between these two calls it jumps back
/// instead:
///     if (host_panic_expect()) { ...code that must panic...; fail(); } else {
///     assert_string_equal(host_panic_text(), ..); }
#include <setjmp.h>
extern jmp_buf host_panic_jump;
void host_panic_arm(void);
const char *host_panic_text(void);
#define host_panic_expect() (host_panic_arm(), setjmp(host_panic_jump) == 0)

/// Frames handed out and not given back by the fake frames_alloc (backed by the build machine's memory, so
/// that ASan sees every overrun). Physical addresses are its virtual ones.
uint64_t host_frames_in_use(void);
/// The next frames_alloc after `n` good ones fails, once. Negative: never (default).
void host_frames_fail_after(int n);
