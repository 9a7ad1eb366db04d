// SPDX-License-Identifier: BSD-2-Clause
// The two 8259A interrupt controllers of a PC (Intel 8259A data sheet 231468-003; ELCR: Intel PIIX4 data
// sheet, 8.5.12): master at 0x20, slave at 0xA0 on its IR2, edge/level control at 0x4D0. Must not know VMX,
// vCPUs or who is wired to an input. Invariant: an INTR that is asserted can be acknowledged, and `intr` is
// called exactly when it changes.
#pragma once
#include "hv/platform/io_space.h"
#include "rt/status.h"
#include <stdbool.h>
#include <stdint.h>

#define PIC_INPUTS 16u

enum pic_init { PIC_READY, PIC_ICW2, PIC_ICW3, PIC_ICW4 };

struct pic_chip {
    uint8_t irr, isr, imr;
    uint8_t lines;            // inputs as they are
    uint8_t elcr;             // 1: level-triggered input
    uint8_t base;             // ICW2
    uint8_t lowest;           // input of lowest priority
    uint8_t init;             // enum pic_init: which ICW comes next at A0 = 1
    bool level, single, icw4; // from ICW1
    bool auto_eoi, special_fully_nested;
    bool rotate_in_auto_eoi, special_mask, poll, read_isr;
};

struct guest_pic {
    struct pic_chip chip[2]; // master, slave
    bool intr_now;
    void (*intr)(void *ctx, bool asserted);
    void *ctx;
};

/// As PC firmware leaves them to an operating system: vectors 0x08 and 0x70, everything masked.
void guest_pic_reset(struct guest_pic *p);
/// The callback is set by the caller before.
MUST_CHECK enum status guest_pic_init(struct guest_pic *p, struct io_space *io);
/// Drives an input, 0-15; input 2 is the slave's and is not driven from outside.
void guest_pic_set(struct guest_pic *p, unsigned irq, bool high);
/// The processor's interrupt acknowledge: returns the vector. Without a request: that of IR7, nothing in
/// service.
uint8_t guest_pic_acknowledge(struct guest_pic *p);
