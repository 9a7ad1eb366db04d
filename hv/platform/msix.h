// SPDX-License-Identifier: BSD-2-Clause
// MSI-X of a virtual PCI function (PCI 3.0, 6.8.2): capability, table, pending bits. Must not know whose it
// is, nor what becomes of a message. By whoever runs the guest, one CPU at a time.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define MSIX_VECTORS_MAX 8u
#define MSIX_CAPABILITY  12u // bytes in configuration space
#define MSIX_ENTRY       16u // bytes of the table

struct guest_msix {
    uint16_t control; // Message Control as the guest sees it
    unsigned vectors;
    uint32_t table[MSIX_VECTORS_MAX][MSIX_ENTRY / 4];
    uint64_t pending;
    void (*message)(void *ctx, uint64_t address, uint32_t data);
    void *ctx;
};

/// Power-on state: disabled, all masked. vectors: 1..MSIX_VECTORS_MAX.
void guest_msix_reset(struct guest_msix *m, unsigned vectors);
/// The 12 bytes of the capability; table and pending bits are in `bar` at these offsets (multiples of 8).
void guest_msix_capability(const struct guest_msix *m, uint8_t to[MSIX_CAPABILITY], uint8_t next,
                           unsigned bar, uint32_t table, uint32_t pending);
/// The guest writes Message Control.
void guest_msix_control(struct guest_msix *m, uint16_t value);
/// Table accesses: offset from its start, 4 or 8 bytes aligned; others read 0 and are not written.
uint64_t guest_msix_read(const struct guest_msix *m, uint64_t offset, unsigned size);
void guest_msix_write(struct guest_msix *m, uint64_t offset, unsigned size, uint64_t value);
/// Sends the vector's message, or keeps it pending while it is masked. Nothing when MSI-X is off, or there is
/// no such vector.
void guest_msix_raise(struct guest_msix *m, unsigned vector);
