// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/vm/emulate.c hv/vm/emulate_decode.c hv/vm/emulate_alu.c @zydis
// The emulator against the processor it runs on: the same instruction with the same registers, flags and
// memory, once executed natively, once by emulate_one(). In 64-bit mode, and in 32-bit (compatibility) mode
// through a far call. Instructions are made at random from a table of encodings; the seed is fixed. What the
// manual calls undefined is not compared.
#include "tests/unit/emulate_host.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
// cmocka wants these first
#include <cmocka.h>

#define CF         0x001u
#define PF         0x004u
#define AF         0x010u
#define ZF         0x040u
#define SF         0x080u
#define OF         0x800u
#define ARITHMETIC (CF | PF | AF | ZF | SF | OF)
#define DF         0x400u

// --- the native side: one mapping below 4 GiB, reachable in both modes by 32-bit displacements ---

struct area {
    uint8_t code[4096];
    struct {
        uint64_t gpr[16], flags; // in and out
        uint64_t saved_sp, far_target;
        uint32_t far_back[2]; // offset, selector: the way back from compatibility mode
        uint32_t far_into[2];
    } context;
    uint8_t pad[4096 - 176];
    uint8_t memory[MACHINE_BYTES];
};
static struct area *area;
static uint8_t *out;

static void emit(const void *bytes, size_t n)
{
    memcpy(out, bytes, n);
    out += n;
}

/// MOV between register and a context field, with a RIP-relative (64-bit) or absolute (32-bit) address.
static void emit_mov(bool wide, bool store, unsigned reg, const void *field)
{
    if (wide)
        *out++ = (uint8_t)(0x48 | (reg >= 8 ? 4 : 0));
    *out++ = store ? 0x89 : 0x8b;
    *out++ = (uint8_t)((reg & 7) << 3 | 5);
    uint32_t disp = (uint32_t)(uintptr_t)field;
    if (wide)
        disp -= (uint32_t)(uintptr_t)(out + 4);
    emit(&disp, 4);
}

static void emit_rip_disp(const void *field)
{
    uint32_t disp = (uint32_t)(uintptr_t)field - (uint32_t)(uintptr_t)(out + 4);
    emit(&disp, 4);
}

enum { SP = 4 };

/// flags <- context.flags (or back) by way of the stack; RAX is lost.
static void emit_load_flags(bool wide)
{
    emit_mov(wide, false, 0, &area->context.flags);
    emit("\x50\x9d", 2); // push rax; popf
}

static void emit_body(bool wide, const uint8_t *insn, unsigned size, uint8_t **where)
{
    unsigned registers = wide ? 16 : 8;
    emit_load_flags(wide);
    for (unsigned r = 0; r < registers; r++)
        emit_mov(wide, false, r, &area->context.gpr[r]);
    *where = out;
    emit(insn, size);
    for (unsigned r = 0; r < registers; r++)
        emit_mov(wide, true, r, &area->context.gpr[r]);
    emit_mov(wide, false, SP, &area->context.saved_sp);
    emit("\x9c\x58\xfc", 3); // pushf; pop rax; cld
    emit_mov(wide, true, 0, &area->context.flags);
}

/// Lays the code and returns where the instruction stands in it.
static uint8_t *lay(bool wide, const uint8_t *insn, unsigned size)
{
    uint8_t *where;
    out = area->code;
    emit("\x53\x55\x41\x54\x41\x55\x41\x56\x41\x57", 10); // push rbx, rbp, r12-r15
    emit_mov(true, true, SP, &area->context.saved_sp);
    if (wide) {
        emit_body(true, insn, size, &where);
    } else {
        // DS and ES are null in 64-bit programs; the stack must lie below 4 GiB.
        emit("\x8c\xd8\x50\x8c\xc0\x50", 6);                 // mov eax, ds; push; mov eax, es; push
        emit("\xb8\x2b\x00\x00\x00\x8e\xd8\x8e\xc0", 9);     // mov eax, 0x2b; mov ds, eax; mov es, eax
        emit_mov(true, true, SP, &area->context.far_target); // the real stack pointer
        emit("\xbc", 1);                                     // mov esp, top of the pad
        uint32_t top = (uint32_t)(uintptr_t)(area->pad + sizeof(area->pad) - 64);
        emit(&top, 4);
        emit_mov(true, true, SP, &area->context.saved_sp);
        emit("\xff\x2d", 2); // jmp far [rip + far_into]
        emit_rip_disp(area->context.far_into);
        area->context.far_into[0] = (uint32_t)(uintptr_t)out;
        area->context.far_into[1] = 0x23;
        emit_body(false, insn, size, &where);
        emit("\xff\x2d", 2); // jmp far [far_back]
        uint32_t at = (uint32_t)(uintptr_t)area->context.far_back;
        emit(&at, 4);
        area->context.far_back[0] = (uint32_t)(uintptr_t)out;
        area->context.far_back[1] = 0x33;
        emit_mov(true, false, SP, &area->context.far_target);
        emit("\x58\x8e\xc0\x58\x8e\xd8", 6); // pop rax; mov es, eax; pop rax; mov ds, eax
    }
    emit("\x41\x5f\x41\x5e\x41\x5d\x41\x5c\x5d\x5b\xc3", 11);
    return where;
}

// --- the table of encodings ---

enum {
    IMM_NONE,
    IMM_8,
    IMM_Z, // as wide as the operand, at most 4 bytes
};

enum {
    BYTE = 1, // 8-bit operands; else 16, 32, 64 by prefix
    LOCKABLE = 2,
    BIT_OFFSET = 4, // register source is a bit offset that moves the address
    STACK = 8,      // operand size: 16 or the mode's
    STRING = 16,    // no ModRM
    COMPARES = 32,  // string instruction with REPE, REPNE
    REG_FIXED = 64, // ModRM.reg belongs to the opcode
    COUNT_CL = 128,
    SHIFT = 256,
    ONLY64 = 512,
    NO_WORD = 1024,
};

struct encoding {
    const char *name;
    uint8_t opcode[3], size;
    uint8_t reg; // with REG_FIXED
    uint8_t imm;
    unsigned flags;
    unsigned undefined; // flags not compared
};

// clang-format off
#define ALU(name, base, locks) \
    { name " m8, r8", { (base) }, 1, 0, IMM_NONE, BYTE | (locks), AF_OF(name) }, \
    { name " m, r", { (base) + 1 }, 1, 0, IMM_NONE, (locks), AF_OF(name) }, \
    { name " r8, m8", { (base) + 2 }, 1, 0, IMM_NONE, BYTE, AF_OF(name) }, \
    { name " r, m", { (base) + 3 }, 1, 0, IMM_NONE, 0, AF_OF(name) }, \
    { name " m8, imm", { 0x80 }, 1, (base) / 8, IMM_8, BYTE | REG_FIXED | (locks), AF_OF(name) }, \
    { name " m, imm", { 0x81 }, 1, (base) / 8, IMM_Z, REG_FIXED | (locks), AF_OF(name) }, \
    { name " m, imm8", { 0x83 }, 1, (base) / 8, IMM_8, REG_FIXED | (locks), AF_OF(name) }
#define AF_OF(name) ((name)[0] == 'o' || (name)[0] == 'x' || ((name)[0] == 'a' && (name)[1] == 'n') ? AF : 0u)
#define SHIFTS(name, n) \
    { name " m8, 1", { 0xd0 }, 1, n, IMM_NONE, BYTE | REG_FIXED | SHIFT, AF }, { name " m, 1", { 0xd1 }, 1, n, IMM_NONE, REG_FIXED | SHIFT, AF }, \
    { name " m8, imm", { 0xc0 }, 1, n, IMM_8, BYTE | REG_FIXED | SHIFT, AF }, { name " m, imm", { 0xc1 }, 1, n, IMM_8, REG_FIXED | SHIFT, AF }, \
    { name " m8, cl", { 0xd2 }, 1, n, IMM_NONE, BYTE | REG_FIXED | SHIFT | COUNT_CL, AF }, { name " m, cl", { 0xd3 }, 1, n, IMM_NONE, REG_FIXED | SHIFT | COUNT_CL, AF }
#define BITS(name, op, n, locks) \
    { name " m, r", { 0x0f, op }, 2, 0, IMM_NONE, BIT_OFFSET | (locks), OF | SF | AF | PF }, \
    { name " m, imm", { 0x0f, 0xba }, 2, n, IMM_8, REG_FIXED | (locks), OF | SF | AF | PF }

static const struct encoding encodings[] = {
    ALU("add", 0x00, LOCKABLE), ALU("or", 0x08, LOCKABLE), ALU("adc", 0x10, LOCKABLE), ALU("sbb", 0x18, LOCKABLE),
    ALU("and", 0x20, LOCKABLE), ALU("sub", 0x28, LOCKABLE), ALU("xor", 0x30, LOCKABLE), ALU("cmp", 0x38, 0),
    { "test m8, r8", { 0x84 }, 1, 0, IMM_NONE, BYTE, AF },          { "test m, r", { 0x85 }, 1, 0, IMM_NONE, 0, AF },
    { "test m8, imm", { 0xf6 }, 1, 0, IMM_8, BYTE | REG_FIXED, AF }, { "test m, imm", { 0xf7 }, 1, 0, IMM_Z, REG_FIXED, AF },
    { "not m8", { 0xf6 }, 1, 2, IMM_NONE, BYTE | REG_FIXED | LOCKABLE, 0 }, { "not m", { 0xf7 }, 1, 2, IMM_NONE, REG_FIXED | LOCKABLE, 0 },
    { "neg m8", { 0xf6 }, 1, 3, IMM_NONE, BYTE | REG_FIXED | LOCKABLE, 0 }, { "neg m", { 0xf7 }, 1, 3, IMM_NONE, REG_FIXED | LOCKABLE, 0 },
    { "inc m8", { 0xfe }, 1, 0, IMM_NONE, BYTE | REG_FIXED | LOCKABLE, 0 }, { "inc m", { 0xff }, 1, 0, IMM_NONE, REG_FIXED | LOCKABLE, 0 },
    { "dec m8", { 0xfe }, 1, 1, IMM_NONE, BYTE | REG_FIXED | LOCKABLE, 0 }, { "dec m", { 0xff }, 1, 1, IMM_NONE, REG_FIXED | LOCKABLE, 0 },
    { "mov m8, r8", { 0x88 }, 1, 0, IMM_NONE, BYTE, 0 },            { "mov m, r", { 0x89 }, 1, 0, IMM_NONE, 0, 0 },
    { "mov r8, m8", { 0x8a }, 1, 0, IMM_NONE, BYTE, 0 },            { "mov r, m", { 0x8b }, 1, 0, IMM_NONE, 0, 0 },
    { "mov m8, imm", { 0xc6 }, 1, 0, IMM_8, BYTE | REG_FIXED, 0 },  { "mov m, imm", { 0xc7 }, 1, 0, IMM_Z, REG_FIXED, 0 },
    { "movzx r, m8", { 0x0f, 0xb6 }, 2, 0, IMM_NONE, 0, 0 },        { "movzx r, m16", { 0x0f, 0xb7 }, 2, 0, IMM_NONE, 0, 0 },
    { "movsx r, m8", { 0x0f, 0xbe }, 2, 0, IMM_NONE, 0, 0 },        { "movsx r, m16", { 0x0f, 0xbf }, 2, 0, IMM_NONE, 0, 0 },
    { "movsxd r, m", { 0x63 }, 1, 0, IMM_NONE, ONLY64, 0 },         { "movnti m, r", { 0x0f, 0xc3 }, 2, 0, IMM_NONE, NO_WORD, 0 },
    { "xchg m8, r8", { 0x86 }, 1, 0, IMM_NONE, BYTE | LOCKABLE, 0 }, { "xchg m, r", { 0x87 }, 1, 0, IMM_NONE, LOCKABLE, 0 },
    { "xadd m8, r8", { 0x0f, 0xc0 }, 2, 0, IMM_NONE, BYTE | LOCKABLE, 0 }, { "xadd m, r", { 0x0f, 0xc1 }, 2, 0, IMM_NONE, LOCKABLE, 0 },
    { "cmpxchg m8, r8", { 0x0f, 0xb0 }, 2, 0, IMM_NONE, BYTE | LOCKABLE, 0 }, { "cmpxchg m, r", { 0x0f, 0xb1 }, 2, 0, IMM_NONE, LOCKABLE, 0 },
    { "imul r, m", { 0x0f, 0xaf }, 2, 0, IMM_NONE, 0, SF | ZF | AF | PF },
    { "imul r, m, imm", { 0x69 }, 1, 0, IMM_Z, 0, SF | ZF | AF | PF }, { "imul r, m, imm8", { 0x6b }, 1, 0, IMM_8, 0, SF | ZF | AF | PF },
    SHIFTS("rol", 0), SHIFTS("ror", 1), SHIFTS("shl", 4), SHIFTS("shr", 5), SHIFTS("sal", 6), SHIFTS("sar", 7),
    BITS("bt", 0xa3, 4, 0), BITS("bts", 0xab, 5, LOCKABLE), BITS("btr", 0xb3, 6, LOCKABLE), BITS("btc", 0xbb, 7, LOCKABLE),
    { "push m", { 0xff }, 1, 6, IMM_NONE, STACK | REG_FIXED, 0 }, { "pop m", { 0x8f }, 1, 0, IMM_NONE, STACK | REG_FIXED, 0 },
    { "stosb", { 0xaa }, 1, 0, IMM_NONE, BYTE | STRING, 0 }, { "stos", { 0xab }, 1, 0, IMM_NONE, STRING, 0 },
    { "movsb", { 0xa4 }, 1, 0, IMM_NONE, BYTE | STRING, 0 }, { "movs", { 0xa5 }, 1, 0, IMM_NONE, STRING, 0 },
    { "lodsb", { 0xac }, 1, 0, IMM_NONE, BYTE | STRING, 0 }, { "lods", { 0xad }, 1, 0, IMM_NONE, STRING, 0 },
    { "scasb", { 0xae }, 1, 0, IMM_NONE, BYTE | STRING | COMPARES, 0 }, { "scas", { 0xaf }, 1, 0, IMM_NONE, STRING | COMPARES, 0 },
    { "cmpsb", { 0xa6 }, 1, 0, IMM_NONE, BYTE | STRING | COMPARES, 0 }, { "cmps", { 0xa7 }, 1, 0, IMM_NONE, STRING | COMPARES, 0 },
};
// clang-format on
#define ENCODINGS (sizeof(encodings) / sizeof(encodings[0]))

// --- making one ---

static uint64_t random_state = 0x123456789abcdef;
static uint64_t rnd(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}
static bool chance(unsigned percent)
{
    return rnd() % 100 < percent;
}

static uint64_t interesting(void)
{
    static const uint64_t values[] = {0,
                                      1,
                                      2,
                                      0x7f,
                                      0x80,
                                      0xff,
                                      0x7fff,
                                      0x8000,
                                      0xffff,
                                      0x7fffffff,
                                      0x80000000,
                                      0xffffffff,
                                      0x7fffffffffffffff,
                                      0x8000000000000000,
                                      0xffffffffffffffff,
                                      0xfffffffffffffff0};
    return chance(40) ? values[rnd() % (sizeof(values) / sizeof(values[0]))] : rnd() >> rnd() % 64;
}

struct attempt {
    uint8_t bytes[16];
    unsigned size;
    uint64_t gpr[16], flags;
    unsigned undefined;
};

/// A ModRM that points near the middle of memory, whatever registers it uses; they are set accordingly.
/// The address is a multiple of align.
static void random_operand(struct attempt *a, unsigned reg, bool wide, bool address32, unsigned align,
                           uint8_t *rex, uint8_t *modrm, unsigned *size, bool *rip_relative)
{
    uint64_t target = (uint64_t)(uintptr_t)area->memory + MACHINE_BYTES / 2 + rnd() % 2048 / align * align;
    unsigned base = (unsigned)rnd() % (wide ? 16 : 8), index = (unsigned)rnd() % (wide ? 16 : 8),
             scale = (unsigned)rnd() % 4;
    unsigned mod = chance(30) ? 0 : chance(50) ? 1 : 2;
    *size = 0;
    *rip_relative = false;
    *rex |= (uint8_t)(reg >= 8 ? 4 : 0);
    if (chance(12)) { // no base: absolute in 32-bit mode, RIP-relative in 64-bit mode
        modrm[(*size)++] = (uint8_t)((reg & 7) << 3 | 5);
        uint32_t disp = (uint32_t)target; // the caller makes it relative
        memcpy(modrm + *size, &disp, 4);
        *size += 4;
        *rip_relative = wide;
        return;
    }
    if ((base & 7) == 5 && mod == 0)
        mod = 1; // would mean: no base
    bool sib = (base & 7) == SP || chance(50), use_index = sib && chance(70) && index != SP && index != base;
    int32_t disp = mod == 0 ? 0 : mod == 1 ? (int8_t)rnd() : (int32_t)(rnd() % 100000) - 50000;
    modrm[(*size)++] = (uint8_t)(mod << 6 | (reg & 7) << 3 | (sib ? 4 : base & 7));
    *rex |= (uint8_t)(base >= 8 ? 1 : 0);
    if (sib) {
        modrm[(*size)++] = (uint8_t)(scale << 6 | (use_index ? index & 7 : SP) << 3 | (base & 7));
        *rex |= (uint8_t)(use_index && index >= 8 ? 2 : 0);
    }
    unsigned disp_size = mod == 0 ? 0 : mod == 1 ? 1 : 4;
    memcpy(modrm + *size, &disp, disp_size);
    *size += disp_size;
    uint64_t address = target - (uint64_t)(int64_t)disp;
    if (use_index)
        address -= a->gpr[index] << scale;
    if (address32 || !wide) // the upper half does not matter
        address = (address & 0xffffffff) | (wide ? rnd() << 32 : 0);
    a->gpr[base] = address;
}

/// False: this combination means something else; make another.
static bool make(const struct encoding *e, bool wide, struct attempt *a)
{
    bool word = !(e->flags & (BYTE | NO_WORD)) && chance(25), address32 = wide && chance(15);
    uint8_t rex = wide && !(e->flags & BYTE) && chance(40) ? 0x48 : wide && chance(30) ? 0x40 : 0;
    unsigned width = e->flags & BYTE ? 1 : rex & 8 ? 8 : word ? 2 : 4;
    uint8_t modrm[8], *p = a->bytes;
    unsigned modrm_size = 0, imm_size = e->imm == IMM_8 ? 1 : e->imm == IMM_Z ? (width == 2 ? 2 : 4) : 0;
    unsigned reg = e->flags & REG_FIXED ? e->reg : (unsigned)rnd() % (wide ? 16 : 8);
    bool rip_relative = false;
    // A locked access across cache lines locks the whole bus, and Linux makes whoever does it wait for it.
    bool lock = !(e->flags & STRING) && (e->flags & LOCKABLE) && chance(15);
    bool locks = lock || (e->size == 1 && (e->opcode[0] & 0xfe) == 0x86); // XCHG always does
    for (unsigned r = 0; r < 16; r++)
        a->gpr[r] = wide ? interesting() : interesting() & 0xffffffff;
    a->flags = 0x202 | (rnd() & ARITHMETIC) | (chance(30) ? DF : 0);
    a->undefined = e->undefined;
    uint64_t middle = (uint64_t)(uintptr_t)area->memory + MACHINE_BYTES / 2;
    if (e->flags & BIT_OFFSET)
        a->gpr[reg] = (a->gpr[reg] & ~0xffffull) | (rnd() % 4096);
    if ((e->flags & BIT_OFFSET) && width > 2) // a wide offset must be small as a whole, either sign
        a->gpr[reg] = (rnd() % 8192) - 4096;
    if ((e->flags & BIT_OFFSET) && !wide)
        a->gpr[reg] &= 0xffffffff;
    uint64_t offset_before = a->gpr[reg];
    if (e->flags & STACK)
        a->gpr[SP] = middle + rnd() % 1024;
    if (e->flags & STRING) {
        uint64_t upper = address32 ? rnd() << 32 : 0;
        a->gpr[6] = upper | (middle + rnd() % 2048);
        a->gpr[7] = upper | (middle - rnd() % 2048);
        a->gpr[1] =
            upper | (rnd() % 80 + (address32 ? 1 : 0)); // ECX = 0: processors differ in what becomes of RCX
        if (chance(50))                                 // let comparisons be equal for a while
            memset(area->memory, (int)(a->gpr[0] = chance(50) ? 0 : 0x7f7f7f7f7f7f7f7f), MACHINE_BYTES);
    } else {
        random_operand(a, reg, wide, address32, locks ? width : 1, &rex, modrm, &modrm_size, &rip_relative);
        if (rex && rip_relative && address32)
            return false;
    }
    if ((e->flags & BIT_OFFSET) && a->gpr[reg] != offset_before)
        return false; // the address register is the offset
    for (unsigned r = 0; !wide && r < 16; r++)
        a->gpr[r] &= 0xffffffff;
    if ((e->flags & STACK) && (a->gpr[SP] < middle - 4096 || a->gpr[SP] > middle + 4096))
        return false; // RSP is the base and points elsewhere
    if (rex)
        rex |= 0x40;
    if (word)
        *p++ = 0x66;
    if (address32)
        *p++ = 0x67;
    if (e->flags & STRING) {
        if (chance(60))
            *p++ = (e->flags & COMPARES) && chance(50) ? 0xf2 : 0xf3;
    } else if (lock) {
        *p++ = 0xf0;
    }
    if (rex)
        *p++ = rex;
    memcpy(p, e->opcode, e->size);
    p += e->size;
    memcpy(p, modrm, modrm_size);
    uint8_t *disp_at = p + 1;
    p += modrm_size;
    uint64_t imm = interesting();
    memcpy(p, &imm, imm_size);
    p += imm_size;
    a->size = (unsigned)(p - a->bytes);
    if (rip_relative) { // the instruction's place does not depend on its bytes: laying it once finds it
        uint32_t absolute;
        memcpy(&absolute, disp_at, 4);
        absolute -= (uint32_t)(uintptr_t)(lay(wide, a->bytes, a->size) + a->size);
        memcpy(disp_at, &absolute, 4);
    }
    if (e->flags & SHIFT) {
        unsigned count = e->imm == IMM_8 ? (uint8_t)imm : e->flags & COUNT_CL ? (uint8_t)a->gpr[1] : 1;
        count &= width == 8 ? 0x3f : 0x1f;
        if (count != 1)
            a->undefined |= OF;
        if (count == 0)
            a->undefined = 0;
        if (count > width * 8)
            a->undefined |= CF;
        if (e->reg < 2) // rotations touch CF and OF only
            a->undefined &= CF | OF;
        if (e->reg < 2 && count)
            a->undefined &= OF;
    }
    return true;
}

// --- running it twice ---

static void show(const struct encoding *e, bool wide, const struct attempt *a)
{
    fprintf(stderr, "%s (%u-bit):", e->name, wide ? 64 : 32);
    for (unsigned i = 0; i < a->size; i++)
        fprintf(stderr, " %02x", a->bytes[i]);
    fprintf(stderr, "\n");
    for (unsigned r = 0; r < 16; r++)
        fprintf(stderr, "  r%-2u %016llx -> %016llx\n", r, (unsigned long long)a->gpr[r],
                (unsigned long long)area->context.gpr[r]);
    fprintf(stderr, "  flags %llx -> %llx\n", (unsigned long long)a->flags,
            (unsigned long long)area->context.flags);
}

static void compare(const struct encoding *e, bool wide, const struct attempt *a, struct machine *m,
                    struct emulate_cache *cache)
{
    for (unsigned i = 0; i < 64; i++) { // it keeps what earlier instructions left; a part is new each time
        uint64_t v = chance(30) ? interesting() : rnd();
        memcpy(area->memory + MACHINE_BYTES / 4 + rnd() % (MACHINE_BYTES / 2), &v, 8);
    }
    if ((e->flags & STRING) && chance(50))
        memset(area->memory, (int)(a->gpr[0] & 0xff), MACHINE_BYTES);
    if (e->opcode[0] == 0x0f && (e->opcode[1] & 0xfe) == 0xb0 && chance(50)) // CMPXCHG that succeeds
        for (unsigned i = 0; i < MACHINE_BYTES; i++)
            area->memory[i] = (uint8_t)a->gpr[0];
    memcpy(m->memory, area->memory, MACHINE_BYTES);

    uint64_t gpr[16];
    memcpy(gpr, a->gpr, sizeof(gpr));
    uint8_t *where = lay(wide, a->bytes, a->size);
    m->base = (uint64_t)(uintptr_t)area->memory;
    m->code = (uint64_t)(uintptr_t)where;
    memcpy(m->code_bytes, a->bytes, sizeof(a->bytes));
    m->code_size = a->size;
    m->fail_after = -1;
    struct emulate_cpu cpu = {.gpr = gpr,
                              .rip = m->code,
                              .rflags = a->flags,
                              .mode = wide ? EMULATE_64 : EMULATE_32,
                              .stack32 = true};
    struct emulate_fault fault;
    enum emulate_result r;
    while ((r = emulate_one(&cpu, &machine_ops, m, cache, &fault)) == EMULATE_AGAIN)
        ;

    memcpy(area->context.gpr, a->gpr, sizeof(a->gpr));
    area->context.flags = a->flags;
    ((void (*)(void))(uintptr_t)area->code)();

    bool same = r == EMULATE_DONE && cpu.rip == m->code + a->size &&
                memcmp(gpr, area->context.gpr, sizeof(gpr)) == 0 &&
                ((cpu.rflags ^ area->context.flags) & (ARITHMETIC | DF) & ~a->undefined) == 0 &&
                memcmp(m->memory, area->memory, MACHINE_BYTES) == 0;
    if (same)
        return;
    show(e, wide, a);
    fprintf(stderr,
            "  emulated: result %d, rip +%lld, flags %llx (undefined %x), memory %s, fault %u cr2 %llx\n",
            (int)r, (long long)(cpu.rip - m->code), (unsigned long long)cpu.rflags, a->undefined,
            memcmp(m->memory, area->memory, MACHINE_BYTES) ? "differs" : "same", fault.vector,
            (unsigned long long)fault.cr2);
    for (unsigned i = 0; i < 16; i++)
        fprintf(stderr, "  r%-2u %016llx\n", i, (unsigned long long)gpr[i]);
    fail();
}

static void run_all(bool wide, unsigned rounds)
{
    struct machine *m = calloc(1, sizeof(*m));
    struct emulate_cache *cache = calloc(1, emulate_cache_size());
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < ENCODINGS; i++) {
            struct attempt a = {.size = 0};
            if (!wide && (encodings[i].flags & ONLY64))
                continue;
            while (!make(&encodings[i], wide, &a))
                ;
            compare(&encodings[i], wide, &a, m, cache);
        }
    }
    assert_true(emulate_cache_misses(cache) > rounds); // it did decode
    free(cache);
    free(m);
}

static void test_64_bit(void **state)
{
    (void)state;
    run_all(true, 400);
}

static void test_32_bit(void **state)
{
    (void)state;
    run_all(false, 400);
}

int main(void)
{
    // Always the same place, so that a run repeats.
    area = mmap((void *)0x10000000, sizeof(*area), PROT_READ | PROT_WRITE | PROT_EXEC,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (area == MAP_FAILED) {
        fprintf(stderr, "no memory below 4 GiB that may be executed\n");
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_64_bit), cmocka_unit_test(test_32_bit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
