// SPDX-License-Identifier: BSD-2-Clause
// ACPI fixed hardware (ACPI 4.8): PM1 event and control registers, PM timer. The machine is always in ACPI
// mode; S5 powers off. Must not know VMX.
#pragma once
#include "hv/platform/io_space.h"
#include "rt/status.h"
#include <stdint.h>

struct guest_pm {
    uint16_t status, enable, control;
    void (*power_off)(void *ctx, int code);
    uint64_t (*now_ns)(void *ctx);
    void *ctx;
};

void guest_pm_reset(struct guest_pm *pm);
/// Callbacks are set by the caller before.
MUST_CHECK enum status guest_pm_init(struct guest_pm *pm, struct io_space *io);
