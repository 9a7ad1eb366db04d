// SPDX-License-Identifier: BSD-2-Clause
// Instruction forms: each is run on local memory and on a device, and must leave the same registers, flags
// and bytes. The tables are assembled from forms*.S into their own sections.
#pragma once

// What a form does with what it is given
#define FORM_READ  0 // source and destination pointer: the target; the target is only read
#define FORM_WRITE 1 // the same; the target is written
#define FORM_FROM  2 // source: the target, destination: local memory
#define FORM_TO    3 // source: local memory, destination: the target

// Flags that an instruction defines (SDM vol. 1, appendix A)
#define FLAGS_ALL   0xcd5 // OF DF SF ZF AF PF CF
#define FLAGS_LOGIC 0xcc5 // without AF
#define FLAGS_BIT   0x401 // CF DF
#define FLAGS_MOVE  0xcd5 // unchanged, all of them

#ifndef __ASSEMBLER__
#include <stdint.h>

struct form {
    const char *text;
    const void *routine;
    uint32_t flags, kind;
};
extern const struct form forms16_begin[], forms16_end[], forms32_begin[], forms32_end[], forms64_begin[],
    forms64_end[];

/// Forms that only read, on 32 bytes at `base` (a register file is welcome), from 32- and 64-bit code.
void forms_read(const char *name, uint32_t base);
/// All forms, from 16-, 32- and 64-bit code, without paging, with 32-bit paging and with PAE. 32 bytes at
/// `base` must be storage.
void forms_all(const char *name, uint32_t base);
#endif
