// SPDX-License-Identifier: BSD-2-Clause
// Which bits of a lent function's configuration space a host may see and set. Policy is in tables
// (config_mask.c), each row with its reason. Must not know links or owners. Invariant: no real BAR, ROM or
// MSI address of this machine passes a read mask, and bus mastering, decoding, interrupts, link and reset
// control pass no write mask.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_SPACE_SIZE  4096u
#define CONFIG_REGIONS_MAX 64

struct config_structure; // a row set of the table

/// A capability found in the function.
struct config_region {
    uint16_t offset, length;
    const struct config_structure *structure;
};

struct config_map {
    struct config_region regions[CONFIG_REGIONS_MAX];
    unsigned count;
};

struct config_masks {
    uint32_t read;  // bits a host sees; others read 0
    uint32_t write; // bits a host sets
    uint32_t w1c;   // bits a host clears by writing 1
};

/// Finds the function's capabilities. `read` as function_ops.config_read. A looping or overlong list is cut.
void config_map_build(struct config_map *map, uint32_t (*read)(void *device, uint16_t offset, unsigned size),
                      void *device);
/// Masks of `size` (1, 2, 4) bytes at `offset`, offset + size <= CONFIG_SPACE_SIZE.
struct config_masks config_masks(const struct config_map *map, uint16_t offset, unsigned size);
/// Offset of the first capability with this ID, 0: none.
uint16_t config_find(const struct config_map *map, uint16_t id, bool extended);
