// SPDX-License-Identifier: BSD-2-Clause
// Executes one guest instruction that touched memory nobody backs with RAM. Decoding is Zydis's; this maps
// its operands to accesses. Must not know VMX, EPT, PCI: it sees registers and three memory functions.
// Compiles on the build machine. Covers MOV, MOVZX, MOVSX(D), MOVNTI, MOVBE, CMOVcc, SETcc,
// ADD/OR/ADC/SBB/AND/SUB/XOR/CMP/TEST/NOT/NEG/INC/DEC, SHL/SHR/SAR/ROL/ROR, IMUL r, XCHG/XADD/CMPXCHG, BT*,
// PUSH/POP m and STOS/MOVS/LODS/SCAS/CMPS with REP. x87, MMX, SSE and AVX memory operands are refused by
// name.
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

/// What the vCPU looks like; filled by the caller, changed by emulate_one(). gpr in encoding order RAX RCX
/// RDX RBX RSP RBP RSI RDI R8-R15.
struct emulate_cpu {
    uint64_t *gpr;
    uint64_t rip, rflags;
    uint64_t segment_base[6]; // ES CS SS DS FS GS (encoding order)
    enum emulate_mode mode;
    bool stack32; // SS.B
};

/// All addresses are linear. They return false after filling *fault (page fault in the guest); an access that
/// crosses a page checks both pages before it touches either.
struct emulate_ops {
    /// Instruction bytes: up to `want` (at most 15). *got < want when the following page cannot be read: no
    /// fault then, the rest is asked for only if the instruction needs it. False: not even the first byte can
    /// be read.
    bool (*fetch)(void *ctx, uint64_t linear, uint8_t *bytes, size_t want, size_t *got,
                  struct emulate_fault *fault);
    /// size = 1..8 bytes, any alignment, RAM or device.
    bool (*read)(void *ctx, uint64_t linear, void *to, size_t size, struct emulate_fault *fault);
    bool (*write)(void *ctx, uint64_t linear, const void *from, size_t size, struct emulate_fault *fault);
};

/// Decoded instructions are remembered by address and bytes: a driver's doorbell write is decoded once. One
/// per vCPU, emulate_cache_size() bytes aligned to 8; all zero is empty.
struct emulate_cache;
size_t emulate_cache_size(void);
/// After EMULATE_UNSUPPORTED: what kind of instruction it was, a phrase for the dump.
const char *emulate_refusal(const struct emulate_cache *cache);
/// Instructions that had to be decoded.
uint64_t emulate_cache_misses(const struct emulate_cache *cache);

enum emulate_result emulate_one(struct emulate_cpu *cpu, const struct emulate_ops *ops, void *ctx,
                                struct emulate_cache *cache, struct emulate_fault *fault);
