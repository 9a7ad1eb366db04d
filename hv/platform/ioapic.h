// SPDX-License-Identifier: BSD-2-Clause
// The guest's I/O APIC (82093AA data sheet; version 0x20 with EOI register): 24 pins, redirection table,
// level and edge. Must not know VMX or vCPUs: a message goes out through a callback, and comes in as "pin
// high/low" and "EOI of vector".
#pragma once
#include "hv/platform/io_space.h"
#include "hv/platform/machine.h"
#include "rt/status.h"
#include <stdbool.h>
#include <stdint.h>

/// An interrupt message (SDM vol. 3, 11.11): who, how, what.
struct interrupt_message {
    uint8_t destination;
    bool logical;
    uint8_t delivery; // 0 fixed, 1 lowest priority, 4 NMI, 5 INIT, 7 ExtINT
    uint8_t vector;
    bool level;
};

/// The interrupt that a write of `data` to `address` means (SDM vol. 3, 11.11.1). False: none, it is a write
/// to memory.
static inline bool interrupt_message_from(uint64_t address, uint32_t data, struct interrupt_message *m)
{
    if (address >> 20 != 0xfee)
        return false;
    *m = (struct interrupt_message){.destination = (uint8_t)(address >> 12),
                                    .logical = (address & 4) != 0,
                                    .delivery = (uint8_t)(data >> 8 & 7),
                                    .vector = (uint8_t)data};
    return true;
}

struct guest_ioapic {
    uint32_t select, id;
    uint64_t redirection[GUEST_IOAPIC_PINS];
    uint32_t lines; // pin levels
    void (*deliver)(void *ctx, const struct interrupt_message *message);
    /// A level-triggered pin's interrupt was ended, before the pin is looked at again: whoever drives it may
    /// lower it. May be NULL.
    void (*ended)(void *ctx, unsigned pin);
    void *ctx;
};

void guest_ioapic_reset(struct guest_ioapic *a);
/// Callbacks are set by the caller before.
MUST_CHECK enum status guest_ioapic_init(struct guest_ioapic *a, struct io_space *io);
/// Drives a pin. A rising edge of an edge-triggered pin, and a high level-triggered pin that is not in
/// service, send a message.
void guest_ioapic_set(struct guest_ioapic *a, unsigned pin, bool high);
/// A local APIC ended a level-triggered vector: pins that are still high send again.
void guest_ioapic_eoi(struct guest_ioapic *a, uint8_t vector);
