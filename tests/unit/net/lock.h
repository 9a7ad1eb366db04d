// SPDX-License-Identifier: BSD-2-Clause
// The net lock (net/stack.h) of a test that has only one thread: taking it twice would wait for ever, giving
// it back twice would let two in.
#pragma once
#include "net/stack.h"
#include "rt/panic.h"
#include <stdbool.h>

static bool net_locked;

void net_lock(void)
{
    if (net_locked)
        panic("net lock taken twice");
    net_locked = true;
}

void net_unlock(void)
{
    if (!net_locked)
        panic("net lock given back twice");
    net_locked = false;
}
