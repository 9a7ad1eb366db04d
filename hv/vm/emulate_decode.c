// SPDX-License-Identifier: BSD-2-Clause
// From instruction bytes to struct emulate_insn. All decoding is Zydis's (Zydis 4, decoder only); this is a
// table of the mnemonics that can be executed and a reduction of Zydis's operands. Pure: no memory, no
// registers.
#include "hv/vm/emulate_insn.h"
#include <Zydis/Zydis.h>

struct row {
    uint16_t mnemonic;
    uint8_t op, condition;
};

// clang-format off
static const struct row rows[] = {
    { ZYDIS_MNEMONIC_MOV,     OP_MOV,     0 }, { ZYDIS_MNEMONIC_MOVZX,   OP_MOVZX,   0 }, { ZYDIS_MNEMONIC_MOVSX, OP_MOVSX, 0 },
    { ZYDIS_MNEMONIC_MOVSXD,  OP_MOVSX,   0 }, { ZYDIS_MNEMONIC_MOVNTI,  OP_MOV,     0 }, { ZYDIS_MNEMONIC_MOVBE, OP_MOVBE, 0 },
    { ZYDIS_MNEMONIC_ADD,     OP_ADD,     0 }, { ZYDIS_MNEMONIC_OR,      OP_OR,      0 }, { ZYDIS_MNEMONIC_ADC,   OP_ADC,   0 },
    { ZYDIS_MNEMONIC_SBB,     OP_SBB,     0 }, { ZYDIS_MNEMONIC_AND,     OP_AND,     0 }, { ZYDIS_MNEMONIC_SUB,   OP_SUB,   0 },
    { ZYDIS_MNEMONIC_XOR,     OP_XOR,     0 }, { ZYDIS_MNEMONIC_CMP,     OP_CMP,     0 }, { ZYDIS_MNEMONIC_TEST,  OP_TEST,  0 },
    { ZYDIS_MNEMONIC_NOT,     OP_NOT,     0 }, { ZYDIS_MNEMONIC_NEG,     OP_NEG,     0 }, { ZYDIS_MNEMONIC_INC,   OP_INC,   0 },
    { ZYDIS_MNEMONIC_DEC,     OP_DEC,     0 }, { ZYDIS_MNEMONIC_SHL,     OP_SHL,     0 }, { ZYDIS_MNEMONIC_SHR,   OP_SHR,   0 },
    { ZYDIS_MNEMONIC_SAR,     OP_SAR,     0 }, { ZYDIS_MNEMONIC_ROL,     OP_ROL,     0 }, { ZYDIS_MNEMONIC_ROR,   OP_ROR,   0 },
    { ZYDIS_MNEMONIC_IMUL,    OP_IMUL,    0 }, { ZYDIS_MNEMONIC_XCHG,    OP_XCHG,    0 }, { ZYDIS_MNEMONIC_XADD,  OP_XADD,  0 },
    { ZYDIS_MNEMONIC_CMPXCHG, OP_CMPXCHG, 0 }, { ZYDIS_MNEMONIC_BT,      OP_BT,      0 }, { ZYDIS_MNEMONIC_BTS,   OP_BTS,   0 },
    { ZYDIS_MNEMONIC_BTR,     OP_BTR,     0 }, { ZYDIS_MNEMONIC_BTC,     OP_BTC,     0 }, { ZYDIS_MNEMONIC_PUSH,  OP_PUSH,  0 },
    { ZYDIS_MNEMONIC_POP,     OP_POP,     0 },
    { ZYDIS_MNEMONIC_STOSB,   OP_STOS,    0 }, { ZYDIS_MNEMONIC_STOSW,   OP_STOS,    0 }, { ZYDIS_MNEMONIC_STOSD, OP_STOS,  0 },
    { ZYDIS_MNEMONIC_STOSQ,   OP_STOS,    0 }, { ZYDIS_MNEMONIC_LODSB,   OP_LODS,    0 }, { ZYDIS_MNEMONIC_LODSW, OP_LODS,  0 },
    { ZYDIS_MNEMONIC_LODSD,   OP_LODS,    0 }, { ZYDIS_MNEMONIC_LODSQ,   OP_LODS,    0 }, { ZYDIS_MNEMONIC_SCASB, OP_SCAS,  0 },
    { ZYDIS_MNEMONIC_SCASW,   OP_SCAS,    0 }, { ZYDIS_MNEMONIC_SCASD,   OP_SCAS,    0 }, { ZYDIS_MNEMONIC_SCASQ, OP_SCAS,  0 },
    // MOVSD and CMPSD are also SSE instructions: they have XMM operands and are refused below.
    { ZYDIS_MNEMONIC_MOVSB,   OP_MOVS,    0 }, { ZYDIS_MNEMONIC_MOVSW,   OP_MOVS,    0 }, { ZYDIS_MNEMONIC_MOVSD, OP_MOVS,  0 },
    { ZYDIS_MNEMONIC_MOVSQ,   OP_MOVS,    0 }, { ZYDIS_MNEMONIC_CMPSB,   OP_CMPS,    0 }, { ZYDIS_MNEMONIC_CMPSW, OP_CMPS,  0 },
    { ZYDIS_MNEMONIC_CMPSD,   OP_CMPS,    0 }, { ZYDIS_MNEMONIC_CMPSQ,   OP_CMPS,    0 },
    { ZYDIS_MNEMONIC_CLFLUSH, OP_CACHE,   0 }, { ZYDIS_MNEMONIC_CLFLUSHOPT, OP_CACHE, 0 }, { ZYDIS_MNEMONIC_CLWB, OP_CACHE, 0 },
    { ZYDIS_MNEMONIC_PREFETCHNTA, OP_CACHE, 0 }, { ZYDIS_MNEMONIC_PREFETCHT0, OP_CACHE, 0 },
    { ZYDIS_MNEMONIC_PREFETCHT1, OP_CACHE, 0 }, { ZYDIS_MNEMONIC_PREFETCHT2, OP_CACHE, 0 }, { ZYDIS_MNEMONIC_PREFETCHW, OP_CACHE, 0 },
    { ZYDIS_MNEMONIC_CMOVO,   OP_CMOV,  0x0 }, { ZYDIS_MNEMONIC_CMOVNO,  OP_CMOV,  0x1 }, { ZYDIS_MNEMONIC_CMOVB,   OP_CMOV, 0x2 },
    { ZYDIS_MNEMONIC_CMOVNB,  OP_CMOV,  0x3 }, { ZYDIS_MNEMONIC_CMOVZ,   OP_CMOV,  0x4 }, { ZYDIS_MNEMONIC_CMOVNZ,  OP_CMOV, 0x5 },
    { ZYDIS_MNEMONIC_CMOVBE,  OP_CMOV,  0x6 }, { ZYDIS_MNEMONIC_CMOVNBE, OP_CMOV,  0x7 }, { ZYDIS_MNEMONIC_CMOVS,   OP_CMOV, 0x8 },
    { ZYDIS_MNEMONIC_CMOVNS,  OP_CMOV,  0x9 }, { ZYDIS_MNEMONIC_CMOVP,   OP_CMOV,  0xa }, { ZYDIS_MNEMONIC_CMOVNP,  OP_CMOV, 0xb },
    { ZYDIS_MNEMONIC_CMOVL,   OP_CMOV,  0xc }, { ZYDIS_MNEMONIC_CMOVNL,  OP_CMOV,  0xd }, { ZYDIS_MNEMONIC_CMOVLE,  OP_CMOV, 0xe },
    { ZYDIS_MNEMONIC_CMOVNLE, OP_CMOV,  0xf },
    { ZYDIS_MNEMONIC_SETO,    OP_SET,   0x0 }, { ZYDIS_MNEMONIC_SETNO,   OP_SET,   0x1 }, { ZYDIS_MNEMONIC_SETB,    OP_SET,  0x2 },
    { ZYDIS_MNEMONIC_SETNB,   OP_SET,   0x3 }, { ZYDIS_MNEMONIC_SETZ,    OP_SET,   0x4 }, { ZYDIS_MNEMONIC_SETNZ,   OP_SET,  0x5 },
    { ZYDIS_MNEMONIC_SETBE,   OP_SET,   0x6 }, { ZYDIS_MNEMONIC_SETNBE,  OP_SET,   0x7 }, { ZYDIS_MNEMONIC_SETS,    OP_SET,  0x8 },
    { ZYDIS_MNEMONIC_SETNS,   OP_SET,   0x9 }, { ZYDIS_MNEMONIC_SETP,    OP_SET,   0xa }, { ZYDIS_MNEMONIC_SETNP,   OP_SET,  0xb },
    { ZYDIS_MNEMONIC_SETL,    OP_SET,   0xc }, { ZYDIS_MNEMONIC_SETNL,   OP_SET,   0xd }, { ZYDIS_MNEMONIC_SETLE,   OP_SET,  0xe },
    { ZYDIS_MNEMONIC_SETNLE,  OP_SET,   0xf },
};
// clang-format on

static const struct row *row_of(ZydisMnemonic mnemonic)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].mnemonic == mnemonic)
            return &rows[i];
    }
    return NULL;
}

/// Zydis numbers registers of one size consecutively, in encoding order; among the bytes, AH CH DH BH stand
/// after BL.
static bool gpr_of(ZydisRegister reg, struct emulate_operand *out)
{
    if (reg >= ZYDIS_REGISTER_AL && reg <= ZYDIS_REGISTER_R15B) {
        unsigned i = (unsigned)(reg - ZYDIS_REGISTER_AL);
        bool high = reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH;
        *out = (struct emulate_operand){
            .kind = high ? OPERAND_GPR_HIGH : OPERAND_GPR, .reg = (uint8_t)(i < 4 ? i : i - 4), .width = 1};
        return true;
    }
    static const struct {
        ZydisRegister first, last;
        uint8_t width;
    } classes[] = {{ZYDIS_REGISTER_AX, ZYDIS_REGISTER_R15W, 2},
                   {ZYDIS_REGISTER_EAX, ZYDIS_REGISTER_R15D, 4},
                   {ZYDIS_REGISTER_RAX, ZYDIS_REGISTER_R15, 8}};
    for (size_t c = 0; c < sizeof(classes) / sizeof(classes[0]); c++) {
        if (reg < classes[c].first || reg > classes[c].last)
            continue;
        *out = (struct emulate_operand){
            .kind = OPERAND_GPR, .reg = (uint8_t)(reg - classes[c].first), .width = classes[c].width};
        return true;
    }
    return false;
}

static uint8_t segment_of(ZydisRegister segment)
{
    return segment >= ZYDIS_REGISTER_ES && segment <= ZYDIS_REGISTER_GS
               ? (uint8_t)(segment - ZYDIS_REGISTER_ES)
               : 3;
}

static bool address_of(const ZydisDecodedOperand *o, struct emulate_insn *insn)
{
    struct emulate_operand reg;
    insn->segment = segment_of(o->mem.segment);
    insn->displacement = o->mem.disp.value;
    insn->base = insn->index = BASE_NONE;
    insn->scale = o->mem.scale;
    if (o->mem.base == ZYDIS_REGISTER_RIP || o->mem.base == ZYDIS_REGISTER_EIP)
        insn->base = BASE_RIP;
    else if (o->mem.base != ZYDIS_REGISTER_NONE) {
        if (!gpr_of(o->mem.base, &reg))
            return false;
        insn->base = reg.reg;
    }
    if (o->mem.index != ZYDIS_REGISTER_NONE) {
        if (!gpr_of(o->mem.index, &reg)) // VSIB
            return false;
        insn->index = reg.reg;
    }
    return true;
}

static bool operand_of(const ZydisDecodedOperand *o, struct emulate_insn *insn, struct emulate_operand *out)
{
    unsigned width = o->size / 8u;
    switch (o->type) {
    case ZYDIS_OPERAND_TYPE_REGISTER:
        return gpr_of(o->reg.value, out);
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
        *out = (struct emulate_operand){.kind = OPERAND_IMMEDIATE, .width = (uint8_t)width};
        insn->immediate = o->imm.value.u;
        insn->has_immediate = true;
        return true;
    case ZYDIS_OPERAND_TYPE_MEMORY:
        if (insn->op != OP_CACHE && (width == 0 || width > 8))
            return false;
        *out = (struct emulate_operand){.kind = OPERAND_MEMORY, .width = (uint8_t)width};
        return address_of(o, insn);
    default:
        return false;
    }
}

static bool is_string(uint8_t op)
{
    return op >= OP_STOS && op <= OP_CMPS;
}

/// Sources are DS:rSI (segment can be overridden), destinations ES:rDI: only width, prefixes and segment are
/// needed.
static bool string_of(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operands,
                      struct emulate_insn *insn)
{
    if (z->meta.category != ZYDIS_CATEGORY_STRINGOP)
        return false;
    insn->segment = 3;
    for (unsigned i = 0; i < z->operand_count; i++) {
        const ZydisDecodedOperand *o = &operands[i];
        if (o->type != ZYDIS_OPERAND_TYPE_MEMORY)
            continue;
        insn->width = (uint8_t)(o->size / 8u);
        if (o->mem.base == ZYDIS_REGISTER_SI || o->mem.base == ZYDIS_REGISTER_ESI ||
            o->mem.base == ZYDIS_REGISTER_RSI)
            insn->segment = segment_of(o->mem.segment);
    }
    if (z->attributes & ZYDIS_ATTRIB_HAS_REPNE)
        insn->repeat = REPEAT_NE;
    else if (z->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE))
        insn->repeat = REPEAT_E;
    return insn->width != 0;
}

static bool operands_of(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operands,
                        struct emulate_insn *insn)
{
    unsigned count = z->operand_count_visible;
    if (z->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY || count > 3)
        return false;
    if (count > 0 && !operand_of(&operands[0], insn, &insn->dst))
        return false;
    if (count > 1 && !operand_of(&operands[1], insn, &insn->src))
        return false;
    if (count > 2) { // only IMUL r, r/m, imm
        struct emulate_operand third;
        if (insn->op != OP_IMUL || !operand_of(&operands[2], insn, &third) || third.kind != OPERAND_IMMEDIATE)
            return false;
    }
    insn->width = insn->dst.kind == OPERAND_IMMEDIATE ? (uint8_t)(z->operand_width / 8) : insn->dst.width;
    switch (insn->op) {
    case OP_IMUL: // the one-operand form writes two registers: not here
        return count >= 2;
    case OP_NOT:
    case OP_NEG:
    case OP_INC:
    case OP_DEC:
    case OP_SET:
    case OP_POP:
        return count == 1 && insn->dst.kind != OPERAND_IMMEDIATE;
    case OP_PUSH:
        return count == 1 && insn->width >= 2;
    case OP_CACHE:
        return count == 1;
    case OP_SHL:
    case OP_SHR:
    case OP_SAR:
    case OP_ROL:
    case OP_ROR:
        return count == 2 && insn->dst.kind != OPERAND_IMMEDIATE;
    default:
        return count == 2 && insn->dst.kind != OPERAND_IMMEDIATE && insn->src.kind != OPERAND_NONE;
    }
}

static const char *refusal(const ZydisDecodedInstruction *z)
{
    if (z->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
        return "an AVX, XOP or EVEX instruction";
    switch (z->meta.isa_ext) {
    case ZYDIS_ISA_EXT_X87:
        return "an x87 instruction";
    case ZYDIS_ISA_EXT_MMX:
    case ZYDIS_ISA_EXT_SSE:
    case ZYDIS_ISA_EXT_SSE2:
    case ZYDIS_ISA_EXT_SSE3:
    case ZYDIS_ISA_EXT_SSSE3:
    case ZYDIS_ISA_EXT_SSE4:
        return "an MMX or SSE instruction (16-byte MOV)";
    default:
        return "an instruction the emulator does not know";
    }
}

enum decode_result emulate_decode(enum emulate_mode mode, const uint8_t *bytes, size_t size,
                                  struct emulate_insn *insn, const char **why)
{
    static const struct {
        ZydisMachineMode machine;
        ZydisStackWidth stack;
    } modes[] = {{ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16},
                 {ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32},
                 {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64}};
    unsigned m = mode == EMULATE_64 ? 2 : mode == EMULATE_32 ? 1 : 0;
    ZydisDecoder decoder;
    ZydisDecodedInstruction z;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    if (ZYAN_FAILED(ZydisDecoderInit(&decoder, modes[m].machine, modes[m].stack)))
        return DECODE_INVALID;
    ZyanStatus status = ZydisDecoderDecodeFull(&decoder, bytes, size, &z, operands);
    if (status == ZYDIS_STATUS_NO_MORE_DATA)
        return size < INSN_MAX ? DECODE_SHORT : DECODE_LONG;
    if (status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG)
        return DECODE_LONG;
    if (ZYAN_FAILED(status))
        return DECODE_INVALID;
    const struct row *row = row_of(z.mnemonic);
    *insn = (struct emulate_insn){
        .length = z.length,
        .address_width = (uint8_t)(z.address_width / 8),
        .base = BASE_NONE,
        .index = BASE_NONE,
        .op = row ? row->op : OP_NONE,
        .condition = row ? row->condition : 0,
    };
    if (!row || !(is_string(row->op) ? string_of(&z, operands, insn) : operands_of(&z, operands, insn))) {
        insn->op = OP_NONE;
        *why = refusal(&z);
    }
    return DECODE_OK;
}
