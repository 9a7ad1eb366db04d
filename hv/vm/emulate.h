// SPDX-License-Identifier: BSD-2-Clause
// Executes one guest instruction that touched memory nobody backs with RAM. Decoding is Zydis's; this maps its operands to
// accesses. Must not know VMX, EPT, PCI: it sees registers and three memory functions. Compiles on the build machine.
// Covers MOV, MOVZX, MOVSX(D), MOVNTI, ADD/OR/ADC/SBB/AND/SUB/XOR/CMP/TEST/NOT/NEG/INC/DEC/XCHG/CMPXCHG/BT* with a memory operand,
// MOVBE, PUSH/POP m, STOS/MOVS/LODS/SCAS/CMPS with REP, SSE MOV* of 16 bytes refused by name.
#pragma once
#include "rt/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum emulate_mode { EMULATE_16 = 16, EMULATE_32 = 32, EMULATE_64 = 64 };

enum emulate_result {
    EMULATE_DONE,        // registers updated, rip advanced
    EMULATE_AGAIN,       // REP: one batch done, rip unchanged, call again after interrupts had their chance
    EMULATE_FAULT,       // *fault is to be injected (page fault of an operand, #UD...)
    EMULATE_UNSUPPORTED, // an instruction this emulator does not know: guest must be stopped with a dump
};

struct emulate_fault {
    uint8_t vector;
    bool has_error;
    uint32_t error;
    uint64_t cr2; // for #PF
};

/// What the vCPU looks like; filled by the caller, changed by emulate_one(). gpr in encoding order RAX RCX RDX RBX RSP RBP RSI RDI R8-R15.
struct emulate_cpu {
    uint64_t *gpr;
    uint64_t rip, rflags;
    uint64_t segment_base[6]; // ES CS SS DS FS GS (encoding order)
    enum emulate_mode mode;
    bool stack32; // SS.B
};

/// All addresses are linear. They return false after filling *fault (page fault in the guest).
struct emulate_ops {
    bool (*fetch)(void *ctx, uint64_t linear, uint8_t *bytes, size_t want, size_t *got, struct emulate_fault *fault);
    bool (*read)(void *ctx, uint64_t linear, void *to, size_t size, struct emulate_fault *fault);
    bool (*write)(void *ctx, uint64_t linear, const void *from, size_t size, struct emulate_fault *fault);
};

/// Decoded instructions are remembered by address and bytes: a driver's doorbell write is decoded once.
struct emulate_cache;
size_t emulate_cache_size(void);

enum emulate_result emulate_one(struct emulate_cpu *cpu, const struct emulate_ops *ops, void *ctx, struct emulate_cache *cache,
                                struct emulate_fault *fault);
