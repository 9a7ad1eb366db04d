// SPDX-License-Identifier: BSD-2-Clause
// An instruction as the emulator keeps it: what Zydis found, reduced to what is needed to execute it, small
// enough to be cached. Inside hv/vm/emulate*.c only.
#pragma once
#include "hv/vm/emulate.h"

#define INSN_MAX 15u // bytes (SDM vol. 2, 2.3.11)

// clang-format off
enum emulate_op {
    OP_NONE, // not an instruction we know
    OP_MOV, OP_MOVZX, OP_MOVSX, OP_MOVBE, OP_CMOV, OP_SET,
    OP_ADD, OP_OR, OP_ADC, OP_SBB, OP_AND, OP_SUB, OP_XOR, OP_CMP, OP_TEST, // two operands, flags
    OP_NOT, OP_NEG, OP_INC, OP_DEC,
    OP_SHL, OP_SHR, OP_SAR, OP_ROL, OP_ROR,
    OP_IMUL, OP_XCHG, OP_XADD, OP_CMPXCHG,
    OP_BT, OP_BTS, OP_BTR, OP_BTC,
    OP_PUSH, OP_POP,
    OP_STOS, OP_MOVS, OP_LODS, OP_SCAS, OP_CMPS,
    OP_CACHE, // cache hints: address is computed, nothing happens
};
// clang-format on

enum operand_kind { OPERAND_NONE, OPERAND_GPR, OPERAND_GPR_HIGH, OPERAND_MEMORY, OPERAND_IMMEDIATE };

struct emulate_operand {
    uint8_t kind;  // enum operand_kind
    uint8_t reg;   // encoding order; of AH CH DH BH: that of the whole register
    uint8_t width; // bytes
};

enum emulate_repeat { REPEAT_NONE, REPEAT_E, REPEAT_NE };

#define BASE_NONE 0xffu
#define BASE_RIP  0xfeu

struct emulate_insn {
    uint8_t op;            // enum emulate_op
    uint8_t condition;     // CMOVcc, SETcc: low four bits of the opcode
    uint8_t length;        // bytes
    uint8_t width;         // of the operation, bytes
    uint8_t address_width; // bytes
    uint8_t repeat;        // enum emulate_repeat
    uint8_t segment;       // of the memory operand (string instructions: of the source), encoding order
    uint8_t base, index, scale;
    bool has_immediate;
    struct emulate_operand dst, src;
    int64_t displacement;
    uint64_t immediate;
};

enum decode_result {
    DECODE_OK,
    DECODE_SHORT,   // more bytes are needed
    DECODE_INVALID, // not an instruction Zydis knows
    DECODE_LONG,    // over 15 bytes: #GP
};

/// Decodes one instruction. An instruction that exists but is not ours: DECODE_OK with op = OP_NONE and *why
/// set.
enum decode_result emulate_decode(enum emulate_mode mode, const uint8_t *bytes, size_t size,
                                  struct emulate_insn *insn, const char **why);

#define RFLAGS_CF 0x001u
#define RFLAGS_PF 0x004u
#define RFLAGS_AF 0x010u
#define RFLAGS_ZF 0x040u
#define RFLAGS_SF 0x080u
#define RFLAGS_TF 0x100u
#define RFLAGS_DF 0x400u
#define RFLAGS_OF 0x800u
#define RFLAGS_RF 0x10000u

static inline uint64_t width_mask(unsigned width)
{
    return width >= 8 ? ~0ull : (1ull << width * 8) - 1;
}
static inline uint64_t sign_extend(uint64_t value, unsigned width)
{
    unsigned shift = 64 - width * 8;
    return (uint64_t)((int64_t)(value << shift) >> shift);
}

/// a OP b at that width; *rflags in and out. For CMP and TEST the result is a.
uint64_t alu_binary(enum emulate_op op, uint64_t a, uint64_t b, unsigned width, uint64_t *rflags);
/// NOT, NEG, INC, DEC.
uint64_t alu_unary(enum emulate_op op, uint64_t a, unsigned width, uint64_t *rflags);
/// SHL, SHR, SAR, ROL, ROR.
uint64_t alu_shift(enum emulate_op op, uint64_t a, unsigned count, unsigned width, uint64_t *rflags);
uint64_t alu_imul(uint64_t a, uint64_t b, unsigned width, uint64_t *rflags);
/// A condition code (SDM vol. 2, appendix B.1.4.7).
bool alu_condition(unsigned condition, uint64_t rflags);
