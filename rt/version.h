// SPDX-License-Identifier: BSD-2-Clause
// What this tree calls itself.
#pragma once

#define FARBUS_VERSION "0.1"
