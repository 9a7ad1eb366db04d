// SPDX-License-Identifier: BSD-2-Clause
// drivers/hw.h on the real machine.
#include "drivers/hw.h"
#include "rt/x86.h"

uint8_t hw_read8(const volatile void *at)
{
    return mmio_read8(at);
}

uint16_t hw_read16(const volatile void *at)
{
    return mmio_read16(at);
}

uint32_t hw_read32(const volatile void *at)
{
    return mmio_read32(at);
}

void hw_write8(volatile void *at, uint8_t value)
{
    mmio_write8(at, value);
}

void hw_write16(volatile void *at, uint16_t value)
{
    mmio_write16(at, value);
}

void hw_write32(volatile void *at, uint32_t value)
{
    mmio_write32(at, value);
}

uint8_t hw_in8(uint16_t port)
{
    return in8(port);
}

uint16_t hw_in16(uint16_t port)
{
    return in16(port);
}

uint32_t hw_in32(uint16_t port)
{
    return in32(port);
}

void hw_out8(uint16_t port, uint8_t value)
{
    out8(port, value);
}

void hw_out16(uint16_t port, uint16_t value)
{
    out16(port, value);
}

void hw_out32(uint16_t port, uint32_t value)
{
    out32(port, value);
}

void hw_flush(const volatile void *at, size_t bytes)
{
    uintptr_t end = (uintptr_t)at + bytes;
    for (uintptr_t line = (uintptr_t)at & ~63ul; line < end; line += 64)
        clflush((const void *)line);
    mfence();
}
