// SPDX-License-Identifier: BSD-2-Clause
// The console on COM1 (16550 at 0x3F8, 115200 8N1). Output is queued and leaves as the line takes it: at
// every call, and from the transmitter's interrupt once there is one. A caller waits only when the queue (64
// KiB) is full or the machine has panicked.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define UART_ISA_IRQ 4u

/// Sets COM1 up and adds it to the log's sinks. False: there is no UART. Once.
bool uart_start(void);
/// The interrupt's handler (irq_handler); route UART_ISA_IRQ to it, then call uart_irq_enable.
void uart_interrupt(void *ctx, uint8_t vector);
void uart_irq_enable(void);
/// Waits until everything written has left the transmitter, at most a second without progress.
void uart_drain(void);
