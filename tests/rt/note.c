// SPDX-License-Identifier: BSD-2-Clause
// The loader takes this ELF for remote firmware: ELF note, type 1, name "Farbus".
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
    .desc = {.version = BOOT_INFO_VERSION, .role = BOOT_ROLE_REMOTE, .info_size = sizeof(struct boot_info)},
};
