// SPDX-License-Identifier: BSD-2-Clause
// The machine's real-time clock (MC146818 and its descendants, ports 0x70/0x71).
#pragma once
#include <stdint.h>

/// Reads the clock once (UTC is assumed, as UEFI and Linux keep it). Call once at start.
void cmos_start(void);
/// Seconds since 1970: the clock at start plus the time since.
uint64_t cmos_unix_time(void);
