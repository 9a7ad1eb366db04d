// SPDX-License-Identifier: BSD-2-Clause
// A NIC under test, whatever its driver: frames are sent by send(), the last that it received is kept.
// Included once in a test.
#pragma once
#include "drivers/pci.h"
#include "rt/nic.h"
#include "tests/unit/host/host.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
// cmocka wants these first
#include <cmocka.h>

static struct pci_device dev;
static struct nic *nic;
static unsigned got_count;
static uint8_t got[9216];
static size_t got_size;

static void receive(void *ctx, const uint8_t *frame, size_t size)
{
    assert_ptr_equal(ctx, &got_count);
    got_count++;
    got_size = size;
    memcpy(got, frame, size); // ASan: the whole frame is readable
}

/// What the driver started is looked at from here on.
static inline void listen(void)
{
    nic->receive = receive;
    nic->receive_ctx = &got_count;
}

static inline enum status send(const void *bytes, size_t size)
{
    struct nic_piece piece = {bytes, size};
    return nic->ops->send(nic, &piece, 1);
}

static inline void pattern(uint8_t *to, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++)
        to[i] = (uint8_t)(seed * 31 + i * 7);
}
