// SPDX-License-Identifier: BSD-2-Clause
// For the runtime's own panic path.
#pragma once
#include <stdbool.h>

/// True when somebody shows what is logged.
bool console_has_sink(void);
