// SPDX-License-Identifier: BSD-2-Clause
// Interrupt vectors of this machine. Handlers run with interrupts off on the CPU's interrupt stack and must
// be short.
#pragma once
#include "rt/status.h"
#include <stdint.h>

typedef void irq_handler(void *ctx, uint8_t vector);

/// Takes a free vector (0x30..0xEF) for `handler`. ERR_NOMEM: none left. The handler need not send EOI: the
/// dispatcher does.
MUST_CHECK enum status irq_alloc(irq_handler *handler, void *ctx, uint8_t *vector);
/// Dispatches as if the CPU had taken `vector` (for VM exits that acknowledge the interrupt).
void irq_dispatch(uint8_t vector);
/// How EOI is sent: told once by drivers/apic.
void irq_set_eoi(void (*eoi)(void));
