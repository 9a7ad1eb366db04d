// SPDX-License-Identifier: BSD-2-Clause
// Arithmetic of emulated instructions with the flags as SDM vol. 1, appendix A says. Flags that the manual
// calls undefined are what processors since the P6 give, as far as the differential test can tell. Knows
// registers of no one.
#include "hv/vm/emulate_insn.h"

#define FLAGS_ARITHMETIC (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

static uint64_t sign_bit(unsigned width)
{
    return 1ull << (width * 8 - 1);
}

static uint64_t flags_of_result(uint64_t r, unsigned width)
{
    uint64_t flags = __builtin_parity((unsigned)(r & 0xff)) ? 0 : RFLAGS_PF;
    if ((r & width_mask(width)) == 0)
        flags |= RFLAGS_ZF;
    if (r & sign_bit(width))
        flags |= RFLAGS_SF;
    return flags;
}

static void set(uint64_t *rflags, uint64_t which, uint64_t to)
{
    *rflags = (*rflags & ~which) | to;
}

/// carries: bit i set when bit i carried (borrowed) out; overflow: sign bit set on signed overflow.
static uint64_t finish(uint64_t r, uint64_t carries, uint64_t overflow, unsigned width, uint64_t *rflags)
{
    uint64_t flags = flags_of_result(r, width);
    if (carries & sign_bit(width))
        flags |= RFLAGS_CF;
    if (carries & 8)
        flags |= RFLAGS_AF;
    if (overflow & sign_bit(width))
        flags |= RFLAGS_OF;
    set(rflags, FLAGS_ARITHMETIC, flags);
    return r & width_mask(width);
}

static uint64_t add(uint64_t a, uint64_t b, uint64_t carry, unsigned width, uint64_t *rflags)
{
    uint64_t r = a + b + carry;
    return finish(r, (a & b) | ((a | b) & ~r), (a ^ r) & (b ^ r), width, rflags);
}

static uint64_t sub(uint64_t a, uint64_t b, uint64_t borrow, unsigned width, uint64_t *rflags)
{
    uint64_t r = a - b - borrow;
    return finish(r, (~a & b) | ((~a | b) & r), (a ^ b) & (a ^ r), width, rflags);
}

static uint64_t logic(uint64_t r, unsigned width, uint64_t *rflags)
{
    return finish(r, 0, 0, width, rflags);
}

uint64_t alu_binary(enum emulate_op op, uint64_t a, uint64_t b, unsigned width, uint64_t *rflags)
{
    uint64_t carry = *rflags & RFLAGS_CF;
    switch (op) {
    case OP_ADD:
        return add(a, b, 0, width, rflags);
    case OP_ADC:
        return add(a, b, carry, width, rflags);
    case OP_SUB:
        return sub(a, b, 0, width, rflags);
    case OP_SBB:
        return sub(a, b, carry, width, rflags);
    case OP_CMP:
        (void)sub(a, b, 0, width, rflags);
        return a;
    case OP_AND:
        return logic(a & b, width, rflags);
    case OP_TEST:
        (void)logic(a & b, width, rflags);
        return a;
    case OP_OR:
        return logic(a | b, width, rflags);
    default: // OP_XOR
        return logic(a ^ b, width, rflags);
    }
}

uint64_t alu_unary(enum emulate_op op, uint64_t a, unsigned width, uint64_t *rflags)
{
    uint64_t carry = *rflags & RFLAGS_CF, r;
    switch (op) {
    case OP_NOT:
        return ~a & width_mask(width);
    case OP_NEG:
        return sub(0, a, 0, width, rflags);
    case OP_INC:
        r = add(a, 1, 0, width, rflags);
        break;
    default: // OP_DEC
        r = sub(a, 1, 0, width, rflags);
        break;
    }
    set(rflags, RFLAGS_CF, carry); // INC and DEC leave it alone
    return r;
}

static uint64_t rotate(enum emulate_op op, uint64_t a, unsigned count, unsigned width, uint64_t *rflags)
{
    unsigned bits = width * 8, by = count % bits;
    uint64_t mask = width_mask(width), r = a & mask, top = sign_bit(width);
    if (by)
        r = op == OP_ROL ? r << by | r >> (bits - by) : r >> by | r << (bits - by);
    r &= mask;
    bool carry = op == OP_ROL ? (r & 1) != 0 : (r & top) != 0;
    bool overflow = op == OP_ROL ? ((r & top) != 0) != carry : ((r & top) != 0) != ((r & top >> 1) != 0);
    set(rflags, RFLAGS_CF | RFLAGS_OF, (carry ? RFLAGS_CF : 0u) | (overflow ? RFLAGS_OF : 0u));
    return r;
}

uint64_t alu_shift(enum emulate_op op, uint64_t a, unsigned count, unsigned width, uint64_t *rflags)
{
    count &= width == 8 ? 0x3f : 0x1f;
    a &= width_mask(width);
    if (count == 0)
        return a;
    if (op == OP_ROL || op == OP_ROR)
        return rotate(op, a, count, width, rflags);
    unsigned bits = width * 8;
    uint64_t r, last; // last bit shifted out
    bool overflow;
    switch (op) {
    case OP_SHL:
        r = count < bits ? a << count : 0;
        last = count <= bits ? a >> (bits - count) & 1 : 0;
        overflow = ((r & sign_bit(width)) != 0) != (last != 0);
        break;
    case OP_SHR:
        r = count < bits ? a >> count : 0;
        last = count <= bits ? a >> (count - 1) & 1 : 0;
        overflow = (a & sign_bit(width)) != 0;
        break;
    default: { // OP_SAR
        int64_t wide = (int64_t)sign_extend(a, width);
        unsigned by = count < 63 ? count : 63;
        r = (uint64_t)(wide >> by);
        last = (uint64_t)(wide >> (by - 1)) & 1;
        overflow = false;
        break;
    }
    }
    set(rflags, FLAGS_ARITHMETIC,
        flags_of_result(r, width) | (last ? RFLAGS_CF : 0u) | (overflow ? RFLAGS_OF : 0u));
    return r & width_mask(width);
}

uint64_t alu_imul(uint64_t a, uint64_t b, unsigned width, uint64_t *rflags)
{
    __extension__ typedef __int128 wide_t;
    wide_t product = (wide_t)(int64_t)sign_extend(a, width) * (int64_t)sign_extend(b, width);
    uint64_t r = (uint64_t)product & width_mask(width);
    bool lost = product != (int64_t)sign_extend(r, width);
    set(rflags, FLAGS_ARITHMETIC,
        (flags_of_result(r, width) & ~(uint64_t)RFLAGS_ZF) | (lost ? RFLAGS_CF | RFLAGS_OF : 0u));
    return r;
}

bool alu_condition(unsigned condition, uint64_t rflags)
{
    bool sign_differs = !(rflags & RFLAGS_SF) != !(rflags & RFLAGS_OF), value;
    switch (condition >> 1) {
    case 0:
        value = (rflags & RFLAGS_OF) != 0;
        break;
    case 1:
        value = (rflags & RFLAGS_CF) != 0;
        break;
    case 2:
        value = (rflags & RFLAGS_ZF) != 0;
        break;
    case 3:
        value = (rflags & (RFLAGS_CF | RFLAGS_ZF)) != 0;
        break;
    case 4:
        value = (rflags & RFLAGS_SF) != 0;
        break;
    case 5:
        value = (rflags & RFLAGS_PF) != 0;
        break;
    case 6:
        value = sign_differs;
        break;
    default:
        value = sign_differs || (rflags & RFLAGS_ZF);
        break;
    }
    return value != (condition & 1);
}
