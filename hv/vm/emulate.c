// SPDX-License-Identifier: BSD-2-Clause
// Execution of one instruction that touched device memory: fetch, decode (or remember), read operands,
// compute, write back. Must not know VMX, EPT or PCI. Invariant: registers, flags and RIP change only after
// every memory access of the instruction (of the iteration, with REP) has succeeded, so that a fault can be
// injected and the instruction started again. LOCK is accepted and means nothing: device memory has no other
// user between our read and our write.
#include "hv/vm/emulate_insn.h"

#define CACHE_ENTRIES 64u
#define REPEAT_BATCH  32u // iterations before interrupts get their chance

enum {
    GPR_AX = 0,
    GPR_CX = 1,
    GPR_SP = 4,
    GPR_SI = 6,
    GPR_DI = 7,
    SEG_ES = 0,
    SEG_CS = 1,
    SEG_SS = 2,
    SEG_FS = 4
};
enum { VECTOR_SS = 12, VECTOR_GP = 13 };

union insn_bytes {
    uint8_t byte[16];
    uint64_t word[2]; // compared at once; bytes past the end are 0
};

struct cache_entry {
    uint64_t linear;
    union insn_bytes bytes;
    uint8_t mode; // 0: empty
    struct emulate_insn insn;
};

struct emulate_cache {
    const char *why;
    uint64_t hits, misses;
    struct cache_entry entries[CACHE_ENTRIES];
};

size_t emulate_cache_size(void)
{
    return sizeof(struct emulate_cache);
}
const char *emulate_refusal(const struct emulate_cache *cache)
{
    return cache->why ? cache->why : "nothing was refused";
}
uint64_t emulate_cache_misses(const struct emulate_cache *cache)
{
    return cache->misses;
}

/// What one execution works with.
struct run {
    struct emulate_cpu *cpu;
    const struct emulate_ops *ops;
    void *ctx;
    const struct emulate_insn *insn;
    struct emulate_fault *fault;
    uint64_t address; // linear, of the memory operand
    uint64_t rflags;  // on the way to cpu->rflags
};

// --- registers ---

static uint64_t get_gpr(const struct emulate_cpu *cpu, unsigned reg, unsigned width)
{
    return cpu->gpr[reg] & width_mask(width);
}

/// 32-bit writes clear the upper half, narrower ones keep the rest.
static void set_gpr(struct emulate_cpu *cpu, unsigned reg, unsigned width, uint64_t value)
{
    if (width >= 4)
        cpu->gpr[reg] = value & width_mask(width);
    else
        cpu->gpr[reg] = (cpu->gpr[reg] & ~width_mask(width)) | (value & width_mask(width));
}

// --- addresses ---

/// #GP(0) or #SS(0).
static bool refuse(struct run *r, uint8_t vector)
{
    *r->fault = (struct emulate_fault){.vector = vector, .has_error = true};
    return false;
}

/// In 64-bit mode only FS and GS have a base (SDM vol. 1, 3.4.4); elsewhere linear addresses have 32 bits.
/// Limits are not looked at: the processor has checked the access that trapped.
static uint64_t linear_of(const struct emulate_cpu *cpu, unsigned segment, uint64_t offset)
{
    if (cpu->mode == EMULATE_64)
        return segment >= SEG_FS ? cpu->segment_base[segment] + offset : offset;
    return (cpu->segment_base[segment] + offset) & 0xffffffffull;
}

static bool canonical(const struct emulate_cpu *cpu, uint64_t linear)
{
    return cpu->mode != EMULATE_64 || sign_extend(linear & width_mask(6), 6) == linear;
}

static bool access(struct run *r, unsigned segment, uint64_t offset, uint64_t *linear)
{
    *linear = linear_of(r->cpu, segment, offset);
    return canonical(r->cpu, *linear) ? true : refuse(r, segment == SEG_SS ? VECTOR_SS : VECTOR_GP);
}

static bool memory_read(struct run *r, uint64_t linear, unsigned width, uint64_t *value)
{
    *value = 0;
    return r->ops->read(r->ctx, linear, value, width, r->fault);
}

static bool memory_write(struct run *r, uint64_t linear, unsigned width, uint64_t value)
{
    return r->ops->write(r->ctx, linear, &value, width, r->fault);
}

/// extra: what a bit offset in a register adds (BT and its kin).
static bool find_operand(struct run *r, uint64_t extra)
{
    const struct emulate_insn *i = r->insn;
    uint64_t offset = (uint64_t)i->displacement + extra;
    if (i->base == BASE_RIP)
        offset += r->cpu->rip + i->length;
    else if (i->base != BASE_NONE)
        offset += r->cpu->gpr[i->base];
    if (i->index != BASE_NONE)
        offset += r->cpu->gpr[i->index] * i->scale;
    return access(r, i->segment, offset & width_mask(i->address_width), &r->address);
}

// --- operands ---

static bool load(struct run *r, const struct emulate_operand *o, uint64_t *value)
{
    switch (o->kind) {
    case OPERAND_MEMORY:
        return memory_read(r, r->address, o->width, value);
    case OPERAND_GPR:
        *value = get_gpr(r->cpu, o->reg, o->width);
        return true;
    case OPERAND_GPR_HIGH:
        *value = r->cpu->gpr[o->reg] >> 8 & 0xff;
        return true;
    default:
        *value = r->insn->immediate;
        return true;
    }
}

static bool store(struct run *r, const struct emulate_operand *o, uint64_t value)
{
    switch (o->kind) {
    case OPERAND_MEMORY:
        return memory_write(r, r->address, o->width, value);
    case OPERAND_GPR:
        set_gpr(r->cpu, o->reg, o->width, value);
        return true;
    default: // OPERAND_GPR_HIGH: the decoder lets no immediate through as a destination
        r->cpu->gpr[o->reg] = (r->cpu->gpr[o->reg] & ~0xff00ull) | (value & 0xff) << 8;
        return true;
    }
}

static uint64_t byte_swap(uint64_t value, unsigned width)
{
    return __builtin_bswap64(value) >> (64 - width * 8);
}

static bool do_move(struct run *r)
{
    const struct emulate_insn *i = r->insn;
    uint64_t value;
    if (!load(r, &i->src, &value))
        return false;
    switch (i->op) {
    case OP_MOVSX:
        value = sign_extend(value, i->src.width);
        break;
    case OP_MOVBE:
        value = byte_swap(value, i->width);
        break;
    case OP_CMOV: // without the condition, a 32-bit destination still loses its upper half
        if (!alu_condition(i->condition, r->rflags))
            value = get_gpr(r->cpu, i->dst.reg, i->width);
        break;
    default:
        break;
    }
    return store(r, &i->dst, value);
}

static bool do_binary(struct run *r)
{
    const struct emulate_insn *i = r->insn;
    uint64_t a, b;
    if (!load(r, &i->dst, &a) || !load(r, &i->src, &b))
        return false;
    uint64_t result = alu_binary((enum emulate_op)i->op, a, b & width_mask(i->width), i->width, &r->rflags);
    return i->op == OP_CMP || i->op == OP_TEST || store(r, &i->dst, result);
}

static bool do_unary(struct run *r)
{
    const struct emulate_insn *i = r->insn;
    uint64_t a;
    return load(r, &i->dst, &a) &&
           store(r, &i->dst, alu_unary((enum emulate_op)i->op, a, i->width, &r->rflags));
}

static bool do_shift(struct run *r)
{
    const struct emulate_insn *i = r->insn;
    uint64_t a, count;
    if (!load(r, &i->dst, &a) || !load(r, &i->src, &count))
        return false;
    return store(r, &i->dst,
                 alu_shift((enum emulate_op)i->op, a, (unsigned)count & 0xff, i->width, &r->rflags));
}

static bool do_imul(struct run *r)
{
    const struct emulate_insn *i = r->insn;
    uint64_t a, b;
    if (!load(r, &i->src, &a))
        return false;
    if (i->has_immediate)
        b = i->immediate;
    else if (!load(r, &i->dst, &b))
        return false;
    return store(r, &i->dst, alu_imul(a, b, i->width, &r->rflags));
}

/// XCHG and XADD: the memory operand, if any, is written first because only that can fail. XCHG may name it
/// either way.
static bool do_exchange(struct run *r)
{
    const struct emulate_insn *i = r->insn;
    uint64_t a, b;
    if (!load(r, &i->dst, &a) || !load(r, &i->src, &b))
        return false;
    uint64_t to_dst = i->op == OP_XADD ? alu_binary(OP_ADD, a, b, i->width, &r->rflags) : b;
    if (i->dst.kind == OPERAND_MEMORY)
        return store(r, &i->dst, to_dst) && store(r, &i->src, a);
    return store(r, &i->src, a) && store(r, &i->dst, to_dst);
}

/// The destination gets a write in either case (SDM vol. 2, CMPXCHG).
static bool do_cmpxchg(struct run *r)
{
    const struct emulate_insn *i = r->insn;
    uint64_t old, desired, accumulator = get_gpr(r->cpu, GPR_AX, i->width);
    if (!load(r, &i->dst, &old) || !load(r, &i->src, &desired))
        return false;
    (void)alu_binary(OP_CMP, accumulator, old, i->width, &r->rflags);
    if (r->rflags & RFLAGS_ZF)
        return store(r, &i->dst, desired);
    if (i->dst.kind == OPERAND_MEMORY && !store(r, &i->dst, old))
        return false;
    set_gpr(r->cpu, GPR_AX, i->width, old);
    return true;
}

/// A bit offset in a register reaches beyond the operand, in steps of its width (SDM vol. 2, table 3-2).
static uint64_t bit_displacement(const struct run *r)
{
    const struct emulate_insn *i = r->insn;
    if (i->op < OP_BT || i->op > OP_BTC || i->dst.kind != OPERAND_MEMORY || i->src.kind != OPERAND_GPR)
        return 0;
    int64_t bit = (int64_t)sign_extend(r->cpu->gpr[i->src.reg], i->width);
    unsigned log2_bits = i->width == 8 ? 6 : i->width == 4 ? 5 : 4;
    return (uint64_t)(bit >> log2_bits) * i->width;
}

static bool do_bit(struct run *r)
{
    const struct emulate_insn *i = r->insn;
    uint64_t a, bit;
    if (!load(r, &i->dst, &a) || !load(r, &i->src, &bit))
        return false;
    uint64_t mask = 1ull << (bit & (i->width * 8u - 1));
    r->rflags = (r->rflags & ~(uint64_t)RFLAGS_CF) | (a & mask ? RFLAGS_CF : 0u);
    switch (i->op) {
    case OP_BTS:
        return store(r, &i->dst, a | mask);
    case OP_BTR:
        return store(r, &i->dst, a & ~mask);
    case OP_BTC:
        return store(r, &i->dst, a ^ mask);
    default:
        return true;
    }
}

static unsigned stack_width(const struct emulate_cpu *cpu)
{
    return cpu->mode == EMULATE_64 ? 8 : cpu->stack32 ? 4 : 2;
}

static bool do_push(struct run *r)
{
    const struct emulate_insn *i = r->insn;
    unsigned width = stack_width(r->cpu);
    uint64_t value, linear, sp = (get_gpr(r->cpu, GPR_SP, width) - i->width) & width_mask(width);
    if (!load(r, &i->dst, &value) || !access(r, SEG_SS, sp, &linear) ||
        !memory_write(r, linear, i->width, value))
        return false;
    set_gpr(r->cpu, GPR_SP, width, sp);
    return true;
}

/// The address of POP's destination is computed after the stack pointer has moved (SDM vol. 2, POP).
static bool do_pop(struct run *r)
{
    const struct emulate_insn *i = r->insn;
    unsigned width = stack_width(r->cpu);
    uint64_t value, linear, before = r->cpu->gpr[GPR_SP];
    if (!access(r, SEG_SS, get_gpr(r->cpu, GPR_SP, width), &linear) ||
        !memory_read(r, linear, i->width, &value))
        return false;
    set_gpr(r->cpu, GPR_SP, width, before + i->width);
    if ((i->dst.kind != OPERAND_MEMORY || find_operand(r, 0)) && store(r, &i->dst, value))
        return true;
    r->cpu->gpr[GPR_SP] = before;
    return false;
}

static bool execute(struct run *r)
{
    const struct emulate_insn *i = r->insn;
    bool has_memory = i->dst.kind == OPERAND_MEMORY || i->src.kind == OPERAND_MEMORY;
    if (has_memory && i->op != OP_POP && !find_operand(r, bit_displacement(r)))
        return false;
    switch (i->op) {
    case OP_MOV:
    case OP_MOVZX:
    case OP_MOVSX:
    case OP_MOVBE:
    case OP_CMOV:
        return do_move(r);
    case OP_SET:
        return store(r, &i->dst, alu_condition(i->condition, r->rflags));
    case OP_NOT:
    case OP_NEG:
    case OP_INC:
    case OP_DEC:
        return do_unary(r);
    case OP_SHL:
    case OP_SHR:
    case OP_SAR:
    case OP_ROL:
    case OP_ROR:
        return do_shift(r);
    case OP_IMUL:
        return do_imul(r);
    case OP_XCHG:
    case OP_XADD:
        return do_exchange(r);
    case OP_CMPXCHG:
        return do_cmpxchg(r);
    case OP_BT:
    case OP_BTS:
    case OP_BTR:
    case OP_BTC:
        return do_bit(r);
    case OP_PUSH:
        return do_push(r);
    case OP_POP:
        return do_pop(r);
    case OP_CACHE:
        return true;
    default:
        return do_binary(r);
    }
}

// --- string instructions (SDM vol. 1, 7.3.9) ---

static bool string_load(struct run *r, unsigned segment, unsigned reg, uint64_t *value)
{
    uint64_t linear;
    return access(r, segment, get_gpr(r->cpu, reg, r->insn->address_width), &linear) &&
           memory_read(r, linear, r->insn->width, value);
}

static bool string_store(struct run *r, uint64_t value)
{
    uint64_t linear;
    return access(r, SEG_ES, get_gpr(r->cpu, GPR_DI, r->insn->address_width), &linear) &&
           memory_write(r, linear, r->insn->width, value);
}

static void advance(struct run *r, unsigned reg)
{
    uint64_t by = r->cpu->rflags & RFLAGS_DF ? 0 - (uint64_t)r->insn->width : r->insn->width;
    set_gpr(r->cpu, reg, r->insn->address_width, r->cpu->gpr[reg] + by);
}

static bool string_step(struct run *r)
{
    const struct emulate_insn *i = r->insn;
    uint64_t a, b;
    switch (i->op) {
    case OP_STOS:
        if (!string_store(r, r->cpu->gpr[GPR_AX]))
            return false;
        break;
    case OP_MOVS:
        if (!string_load(r, i->segment, GPR_SI, &a) || !string_store(r, a))
            return false;
        break;
    case OP_LODS:
        if (!string_load(r, i->segment, GPR_SI, &a))
            return false;
        set_gpr(r->cpu, GPR_AX, i->width, a);
        break;
    case OP_SCAS:
        if (!string_load(r, SEG_ES, GPR_DI, &b))
            return false;
        (void)alu_binary(OP_CMP, get_gpr(r->cpu, GPR_AX, i->width), b, i->width, &r->rflags);
        break;
    default: // OP_CMPS
        if (!string_load(r, i->segment, GPR_SI, &a) || !string_load(r, SEG_ES, GPR_DI, &b))
            return false;
        (void)alu_binary(OP_CMP, a, b, i->width, &r->rflags);
        break;
    }
    if (i->op == OP_MOVS || i->op == OP_LODS || i->op == OP_CMPS)
        advance(r, GPR_SI);
    if (i->op != OP_LODS)
        advance(r, GPR_DI);
    r->cpu->rflags = r->rflags;
    return true;
}

static enum emulate_result execute_string(struct run *r)
{
    const struct emulate_insn *i = r->insn;
    if (i->repeat == REPEAT_NONE)
        return string_step(r) ? EMULATE_DONE : EMULATE_FAULT;
    bool compares = i->op == OP_SCAS || i->op == OP_CMPS;
    unsigned batch = r->rflags & RFLAGS_TF ? 1 : REPEAT_BATCH;
    for (unsigned n = 0; n < batch; n++) {
        uint64_t count = get_gpr(r->cpu, GPR_CX, i->address_width);
        if (count == 0)
            return EMULATE_DONE;
        if (!string_step(r))
            return EMULATE_FAULT;
        set_gpr(r->cpu, GPR_CX, i->address_width, count - 1);
        if (compares && !(r->rflags & RFLAGS_ZF) == (i->repeat == REPEAT_E))
            return EMULATE_DONE;
    }
    return get_gpr(r->cpu, GPR_CX, i->address_width) ? EMULATE_AGAIN : EMULATE_DONE;
}

// --- fetch and decode ---

enum fetch_result { FETCH_OK, FETCH_FAULT, FETCH_UNKNOWN };

/// Reads and decodes at cpu->rip; the bytes after a page border are read only if the instruction has them.
static enum fetch_result fetch_slow(struct run *r, uint64_t linear, struct cache_entry *entry,
                                    const char **why)
{
    union insn_bytes bytes = {.word = {0, 0}};
    size_t have = 0;
    for (;;) {
        size_t got = 0;
        if (!r->ops->fetch(r->ctx, linear + have, bytes.byte + have, INSN_MAX - have, &got, r->fault))
            return FETCH_FAULT;
        have += got < INSN_MAX - have ? got : INSN_MAX - have;
        switch (emulate_decode(r->cpu->mode, bytes.byte, have, &entry->insn, why)) {
        case DECODE_OK:
            for (size_t i = entry->insn.length; i < sizeof(bytes.byte); i++)
                bytes.byte[i] = 0;
            entry->linear = linear;
            entry->bytes = bytes;
            return entry->insn.op == OP_NONE ? FETCH_UNKNOWN : FETCH_OK;
        case DECODE_SHORT:
            if (got != 0)
                continue;
            *why = "an instruction whose bytes cannot be read to its end";
            return FETCH_UNKNOWN;
        case DECODE_INVALID: // the processor knew it when it trapped
            *why = "bytes that Zydis does not decode (AVX-512, or changed since)";
            return FETCH_UNKNOWN;
        case DECODE_LONG:
            (void)refuse(r, VECTOR_GP);
            return FETCH_FAULT;
        }
    }
}

/// A remembered instruction counts only if the bytes are still the same.
static bool still_there(struct run *r, const struct cache_entry *entry, uint64_t linear)
{
    union insn_bytes bytes = {.word = {0, 0}};
    size_t got = 0;
    if (entry->mode != (uint8_t)r->cpu->mode || entry->linear != linear)
        return false;
    struct emulate_fault ignored; // the slow path will meet it again
    if (!r->ops->fetch(r->ctx, linear, bytes.byte, entry->insn.length, &got, &ignored) ||
        got != entry->insn.length)
        return false;
    return bytes.word[0] == entry->bytes.word[0] && bytes.word[1] == entry->bytes.word[1];
}

static enum fetch_result fetch(struct run *r, struct emulate_cache *cache)
{
    uint64_t linear = linear_of(r->cpu, SEG_CS, r->cpu->rip);
    struct cache_entry *entry = &cache->entries[(linear ^ linear >> 6) % CACHE_ENTRIES];
    r->insn = &entry->insn;
    if (still_there(r, entry, linear)) {
        cache->hits++;
        return FETCH_OK;
    }
    cache->misses++;
    entry->mode = 0;
    enum fetch_result result = fetch_slow(r, linear, entry, &cache->why);
    if (result == FETCH_OK)
        entry->mode = (uint8_t)r->cpu->mode;
    return result;
}

enum emulate_result emulate_one(struct emulate_cpu *cpu, const struct emulate_ops *ops, void *ctx,
                                struct emulate_cache *cache, struct emulate_fault *fault)
{
    struct run r = {.cpu = cpu, .ops = ops, .ctx = ctx, .fault = fault, .rflags = cpu->rflags};
    switch (fetch(&r, cache)) {
    case FETCH_FAULT:
        return EMULATE_FAULT;
    case FETCH_UNKNOWN:
        return EMULATE_UNSUPPORTED;
    case FETCH_OK:
        break;
    }
    enum emulate_result result;
    if (r.insn->op >= OP_STOS && r.insn->op <= OP_CMPS)
        result = execute_string(&r);
    else
        result = execute(&r) ? EMULATE_DONE : EMULATE_FAULT;
    if (result != EMULATE_DONE)
        return result;
    cpu->rflags = r.rflags & ~(uint64_t)RFLAGS_RF;
    cpu->rip += r.insn->length;
    if (cpu->mode != EMULATE_64)
        cpu->rip &= cpu->mode == EMULATE_32 ? 0xffffffffull : 0xffffull;
    return EMULATE_DONE;
}
