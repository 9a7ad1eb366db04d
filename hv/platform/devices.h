// SPDX-License-Identifier: BSD-2-Clause
// The small devices every guest has: 16550 UART at 0x3F8, RTC/CMOS, reset and power ports, POST and delay
// ports. Must not know VMX. A device claims its ranges in the io_space it is given and talks to its guest
// through callbacks, which the caller sets before *_init(); *_init() sets everything else to its power-on
// state. *_reset() does that again (guest reset).
#pragma once
#include "hv/platform/io_space.h"
#include "rt/status.h"
#include <stdbool.h>
#include <stdint.h>

/// 16550A. Bytes the guest sends go to `output`; uart_input() feeds its receiver FIFO.
struct guest_uart {
    uint8_t ier, lcr, mcr, scr, dll, dlm, fcr, lsr_error;
    uint8_t fifo[64];
    uint8_t head, tail;
    bool thre_pending;
    void (*output)(void *ctx, char byte);
    void (*irq)(void *ctx, bool level); // may be NULL until an interrupt controller is there
    void *ctx;
};
/// port: multiple of 8.
MUST_CHECK enum status guest_uart_init(struct guest_uart *u, struct io_space *io, uint16_t port);
void guest_uart_reset(struct guest_uart *u);
/// ERR_BUSY: FIFO full.
MUST_CHECK enum status guest_uart_input(struct guest_uart *u, uint8_t byte);

/// MC146818 RTC + CMOS RAM (ports 0x70, 0x71): time from `unix_time`, alarm and update interrupts, memory
/// size registers for old kernels.
struct guest_rtc {
    uint8_t index;
    uint8_t ram[128];
    uint64_t looked;                  // second up to which updates and alarms have been seen
    uint64_t (*unix_time)(void *ctx); // seconds since 1970, UTC
    void (*irq)(void *ctx, bool level);
    void *ctx;
    // What the time registers in `ram` say now
    bool shown;
    uint8_t shown_mode;
    uint64_t shown_time;
};
/// The guest's memory lies below 3 GiB and from 4 GiB on (hv/platform/pci_host.h). The clock cannot be set by
/// the guest.
MUST_CHECK enum status guest_rtc_init(struct guest_rtc *r, struct io_space *io, uint64_t memory_bytes);

/// The RESET pin: no interrupt is enabled or pending; time, alarm and RAM stay.
void guest_rtc_reset(struct guest_rtc *r);
/// Makes alarm and update interrupts that are due; to be called at least once a second.
void guest_rtc_tick(struct guest_rtc *r);

/// Reset (0xCF9, keyboard controller 0x64 command 0xFE, port 0x92 bit 0) and power-off as emulators have it
/// (port 0x8900 "Shutdown"; 0xF4 exit code; ACPI's S5 is in hv/platform/pm.c). Also absorbs 0x80, 0xED.
struct guest_power {
    void (*reset)(void *ctx);
    void (*power_off)(void *ctx, int code); // code: 0, or what was written to port 0xF4
    void *ctx;
    uint8_t shutdown_matched;
    uint8_t reset_control; // 0xCF9 as last written
    uint8_t port92;
};
void guest_power_reset(struct guest_power *p);
MUST_CHECK enum status guest_power_init(struct guest_power *p, struct io_space *io);
