// SPDX-License-Identifier: BSD-2-Clause
// What this ELF tells the loader about itself: ELF note, type 1, name "Farbus" (System V ABI, "Note
// Section").
#include "rt/boot_info.h"

static const struct {
    uint32_t name_size, desc_size, type;
    char name[8]; // 7 bytes, padded to 4
    struct boot_note desc;
} note __attribute__((used, aligned(4), section(".note.farbus"))) = {
    .name_size = sizeof "Farbus",
    .desc_size = sizeof(struct boot_note),
    .type = 1,
    .name = "Farbus",
    .desc = {.version = BOOT_INFO_VERSION, .role = BOOT_ROLE_HOST, .info_size = sizeof(struct boot_info)},
};
