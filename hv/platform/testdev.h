// SPDX-License-Identifier: BSD-2-Clause
// `test-device = on`: what kernels that test a machine expect from the emulator they were written for. No PC
// has it. QEMU's "pc-testdev": a register that keeps what is written (0xE0), a switch for every interrupt pin
// (0x2000 + pin), 64 KiB that are no memory and yet keep what is written (0xFF000000), so that every access
// of an instruction traps; and as much of its firmware configuration (0x510) as says how large the machine
// is. Must not know VMX.
#pragma once
#include "hv/platform/io_space.h"
#include "rt/status.h"
#include <stdbool.h>
#include <stdint.h>

struct guest_testdev;

struct guest_testdev_ops {
    uint64_t memory; // bytes
    uint32_t cpus;
    void (*line)(void *ctx, unsigned pin, bool high); // of the I/O APIC, and of the 8259s where they have it
    void *ctx;
};

/// Copies *ops. ERR_NOMEM; ERR_BUSY: its ports are taken.
MUST_CHECK enum status guest_testdev_create(struct guest_testdev **device, struct io_space *io,
                                            const struct guest_testdev_ops *ops);
void guest_testdev_destroy(struct guest_testdev *device);
