// SPDX-License-Identifier: BSD-2-Clause
// The keys of farbus.ini, put to use.
#pragma once
#include "rt/boot_info.h"
#include <stdbool.h>

/// After net_start(), before the first link: from now on links are sealed, or plain if farbus.ini says so;
/// says which. False: farbus.ini says neither, there must be no links. Copies the keys: the caller can wipe
/// them.
bool net_secure(const struct boot_info *info);
