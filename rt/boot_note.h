// SPDX-License-Identifier: BSD-2-Clause
// What an ELF tells the loader about itself: an ELF note, type 1, name "Farbus" (System V ABI, "Note
// Section"). One file of each ELF says BOOT_NOTE(its role).
#pragma once
#include "rt/boot_info.h"

#define BOOT_NOTE(role_)                                                                                     \
    static const struct {                                                                                    \
        uint32_t name_size, desc_size, type;                                                                 \
        char name[8]; /* 7 bytes, padded to 4 */                                                             \
        struct boot_note desc;                                                                               \
    } note __attribute__((used, aligned(4), section(".note.farbus"))) = {                                    \
        .name_size = sizeof "Farbus",                                                                        \
        .desc_size = sizeof(struct boot_note),                                                               \
        .type = 1,                                                                                           \
        .name = "Farbus",                                                                                    \
        .desc = {.version = BOOT_INFO_VERSION, .role = (role_), .info_size = sizeof(struct boot_info)},      \
    }
