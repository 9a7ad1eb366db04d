// SPDX-License-Identifier: BSD-2-Clause
// Every access the PCI and NIC drivers make to a device goes through these functions, which are linked, not
// inlined: a test on the build machine links its own mock registers in the place of drivers/hw.c and runs the
// real drivers. Must not know what it accesses. One call is one bus access of exactly that width, in program
// order.
#pragma once
#include <stddef.h>
#include <stdint.h>

uint8_t hw_read8(const volatile void *at);
uint16_t hw_read16(const volatile void *at);
uint32_t hw_read32(const volatile void *at);
void hw_write8(volatile void *at, uint8_t value);
void hw_write16(volatile void *at, uint16_t value);
void hw_write32(volatile void *at, uint32_t value);

uint8_t hw_in8(uint16_t port);
uint16_t hw_in16(uint16_t port);
uint32_t hw_in32(uint16_t port);
void hw_out8(uint16_t port, uint8_t value);
void hw_out16(uint16_t port, uint16_t value);
void hw_out32(uint16_t port, uint32_t value);

/// What was written to these bytes of memory has left the processor's caches on return, for a device that
/// does not snoop them.
void hw_flush(const volatile void *at, size_t bytes);
