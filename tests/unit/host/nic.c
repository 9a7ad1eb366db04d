// SPDX-License-Identifier: BSD-2-Clause
// No NIC interrupts a test.
#include "net/stack.h"

__attribute__((weak)) unsigned net_interrupt(void)
{
    return 0;
}
