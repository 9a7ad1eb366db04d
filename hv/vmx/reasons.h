// SPDX-License-Identifier: BSD-2-Clause
// Names of the exits that vcpu.exits counts, for the console.
#pragma once
#include <stdint.h>

/// Never NULL.
const char *vmx_reason_name(uint32_t basic_reason);
