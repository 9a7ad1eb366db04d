// SPDX-License-Identifier: BSD-2-Clause
// Registers of QEMU's teaching device (QEMU documentation, "EDU device"), offsets in BAR 0.
#pragma once
#include "tests/guests/lib/cpu.h"
#include <stdbool.h>
#include <stdint.h>

#define EDU_VENDOR 0x1234u
#define EDU_DEVICE 0x11e8u

#define EDU_ID          0x00u // 0x010000ed
#define EDU_LIVENESS    0x04u // reads the inverse of what was written
#define EDU_FACTORIAL   0x08u
#define EDU_STATUS      0x20u
#define EDU_IRQ_STATUS  0x24u
#define EDU_IRQ_RAISE   0x60u
#define EDU_IRQ_ACK     0x64u
#define EDU_DMA_SOURCE  0x80u // these four take 4 or 8 bytes
#define EDU_DMA_TARGET  0x88u
#define EDU_DMA_COUNT   0x90u
#define EDU_DMA_COMMAND 0x98u

#define EDU_STATUS_BUSY 0x01u
#define EDU_DMA_RUN     0x1u
#define EDU_DMA_TO_RAM  0x2u
#define EDU_DMA_IRQ     0x4u // sets bit 8 of the interrupt status at the end

// edu's own addresses of its buffer; it stops the emulator for a transfer that touches anything else, or
// that ends with the buffer's last byte.
#define EDU_BUFFER      0x40000u
#define EDU_BUFFER_SIZE 4095u

static inline bool edu_dma_runs(uint32_t base)
{
    return (mmio_read32(base + EDU_DMA_COMMAND) & EDU_DMA_RUN) != 0;
}

/// command: EDU_DMA_TO_RAM, EDU_DMA_IRQ. Addresses below 4 GiB.
static inline void edu_dma_start(uint32_t base, uint32_t ram, uint32_t offset, uint32_t size,
                                 uint32_t command)
{
    bool to_ram = (command & EDU_DMA_TO_RAM) != 0;
    mmio_write32(base + EDU_DMA_SOURCE, to_ram ? EDU_BUFFER + offset : ram);
    mmio_write32(base + EDU_DMA_TARGET, to_ram ? ram : EDU_BUFFER + offset);
    mmio_write32(base + EDU_DMA_COUNT, size);
    mmio_write32(base + EDU_DMA_COMMAND, command | EDU_DMA_RUN);
}
