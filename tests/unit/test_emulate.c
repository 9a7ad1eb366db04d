// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/vm/emulate.c hv/vm/emulate_decode.c hv/vm/emulate_alu.c @zydis
// The emulator, case by case: modes, widths, segments, faults, REP, the decode cache, refusals.
// That arithmetic and flags are a processor's is tests/unit/test_emulate_native.c's business.
#include "tests/unit/emulate_host.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
// cmocka wants these four first
#include <cmocka.h>

enum { AX, CX, DX, BX, SP, BP, SI, DI };
#define CODE 0x401000u
#define DATA 0x500000u

struct fixture {
    struct machine m;
    uint64_t gpr[16];
    struct emulate_cpu cpu;
    struct emulate_cache *cache;
    struct emulate_fault fault;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    f->cache = calloc(1, emulate_cache_size());
    f->m.base = DATA;
    f->m.code = CODE;
    f->m.code_size = sizeof(f->m.code_bytes);
    f->m.fail_after = -1;
    f->cpu =
        (struct emulate_cpu){.gpr = f->gpr, .rip = CODE, .rflags = 2, .mode = EMULATE_64, .stack32 = true};
    for (unsigned i = 0; i < MACHINE_BYTES; i++)
        f->m.memory[i] = (uint8_t)(i * 7 + 3);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    free(f->cache);
    free(f);
    return 0;
}

static enum emulate_result run(struct fixture *f, const char *bytes, unsigned size)
{
    memset(f->m.code_bytes, 0x90, sizeof(f->m.code_bytes));
    memcpy(f->m.code_bytes, bytes, size);
    return emulate_one(&f->cpu, &machine_ops, &f->m, f->cache, &f->fault);
}
#define RUN(f, bytes) run((f), (bytes), sizeof(bytes) - 1)

static uint64_t word(const struct fixture *f, unsigned offset, unsigned size)
{
    uint64_t v = 0;
    memcpy(&v, f->m.memory + offset, size);
    return v;
}

static void put(struct fixture *f, unsigned offset, uint64_t v, unsigned size)
{
    memcpy(f->m.memory + offset, &v, size);
}

static void test_mov_widths(void **state)
{
    struct fixture *f = *state;
    f->gpr[DI] = DATA + 16;
    f->gpr[AX] = 0x1122334455667788;
    put(f, 16, 0xffffffffffffffff, 8);
    assert_int_equal(RUN(f, "\x88\x07"), EMULATE_DONE); // mov [rdi], al
    assert_int_equal(word(f, 16, 8), 0xffffffffffffff88);
    assert_int_equal(f->cpu.rip, CODE + 2);
    f->cpu.rip = CODE;
    assert_int_equal(RUN(f, "\x66\x89\x07"), EMULATE_DONE); // mov [rdi], ax
    assert_int_equal(word(f, 16, 8), 0xffffffffffff7788);
    f->cpu.rip = CODE;
    assert_int_equal(RUN(f, "\x89\x07"), EMULATE_DONE); // mov [rdi], eax
    assert_int_equal(word(f, 16, 8), 0xffffffff55667788);
    f->cpu.rip = CODE;
    assert_int_equal(RUN(f, "\x48\x89\x07"), EMULATE_DONE); // mov [rdi], rax
    assert_int_equal(word(f, 16, 8), 0x1122334455667788);
    f->cpu.rip = CODE;
    assert_int_equal(RUN(f, "\x48\xc7\x07\xfe\xff\xff\xff"), EMULATE_DONE); // mov qword [rdi], -2
    assert_int_equal(word(f, 16, 8), 0xfffffffffffffffe);
    assert_int_equal(f->m.writes, 5);
    assert_int_equal(f->m.reads, 0);
}

static void test_register_halves(void **state)
{
    struct fixture *f = *state;
    f->gpr[SI] = DATA;
    put(f, 0, 0x8899aabbccddeeff, 8);
    f->gpr[DX] = ~0ull;
    assert_int_equal(RUN(f, "\x8b\x16"), EMULATE_DONE); // mov edx, [rsi]: clears the upper half
    assert_int_equal(f->gpr[DX], 0xccddeeff);
    f->gpr[DX] = ~0ull;
    f->cpu.rip = CODE;
    assert_int_equal(RUN(f, "\x8a\x36"), EMULATE_DONE); // mov dh, [rsi]
    assert_int_equal(f->gpr[DX], 0xffffffffffffffff);
    put(f, 0, 0x12, 1);
    f->cpu.rip = CODE;
    assert_int_equal(RUN(f, "\x8a\x36"), EMULATE_DONE);
    assert_int_equal(f->gpr[DX], 0xffffffffffff12ff);
    f->cpu.rip = CODE;
    assert_int_equal(RUN(f, "\x40\x8a\x36"), EMULATE_DONE); // with REX it is sil
    assert_int_equal(f->gpr[SI] & 0xff, 0x12);
}

static void test_extensions(void **state)
{
    struct fixture *f = *state;
    f->gpr[SI] = DATA;
    put(f, 0, 0x80f0, 2);
    assert_int_equal(RUN(f, "\x0f\xb6\x0e"), EMULATE_DONE); // movzx ecx, byte
    assert_int_equal(f->gpr[CX], 0xf0);
    f->cpu.rip = CODE;
    assert_int_equal(RUN(f, "\x48\x0f\xbf\x0e"), EMULATE_DONE); // movsx rcx, word
    assert_int_equal(f->gpr[CX], 0xffffffffffff80f0);
    f->cpu.rip = CODE;
    put(f, 0, 0x80000000, 4);
    assert_int_equal(RUN(f, "\x48\x63\x0e"), EMULATE_DONE); // movsxd rcx, dword
    assert_int_equal(f->gpr[CX], 0xffffffff80000000);
    f->cpu.rip = CODE;
    assert_int_equal(RUN(f, "\x0f\x38\xf0\x0e"), EMULATE_DONE); // movbe ecx, [rsi]
    assert_int_equal(f->gpr[CX], 0x80);
    assert_int_equal(f->m.reads, 4);
}

static void test_rip_relative_and_moffs(void **state)
{
    struct fixture *f = *state;
    put(f, 0x20, 0xcafe, 4);
    // mov eax, [rip + disp], 6 bytes long; with an immediate behind it, the end of the instruction counts
    char code[] = "\x8b\x05....";
    uint32_t disp = DATA + 0x20 - (CODE + 6);
    memcpy(code + 2, &disp, 4);
    assert_int_equal(run(f, code, 6), EMULATE_DONE);
    assert_int_equal(f->gpr[AX], 0xcafe);
    char store[] = "\xc7\x05....\x01\x02\x03\x04";
    disp = DATA + 0x20 - (CODE + 10);
    memcpy(store + 2, &disp, 4);
    f->cpu.rip = CODE;
    assert_int_equal(run(f, store, 10), EMULATE_DONE);
    assert_int_equal(word(f, 0x20, 4), 0x04030201);
    f->cpu.rip = CODE;
    char moffs[] = "\xa1........"; // mov eax, [abs64]
    uint64_t at = DATA + 0x20;
    memcpy(moffs + 1, &at, 8);
    assert_int_equal(run(f, moffs, 9), EMULATE_DONE);
    assert_int_equal(f->gpr[AX], 0x04030201);
}

static void test_segments(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 6; i++)
        f->cpu.segment_base[i] = 0x100 * (i + 1);
    put(f, 0x500, 0x55, 1);
    put(f, 0x600, 0x66, 1);
    put(f, 0x400, 0x44, 1);
    put(f, 0x300, 0x33, 1);
    put(f, 0, 0x77, 1);
    f->gpr[SI] = DATA;
    assert_int_equal(RUN(f, "\x64\x8a\x06"), EMULATE_DONE); // fs
    assert_int_equal(f->gpr[AX], 0x55);
    f->cpu.rip = CODE;
    assert_int_equal(RUN(f, "\x65\x8a\x06"), EMULATE_DONE); // gs
    assert_int_equal(f->gpr[AX], 0x66);
    f->cpu.rip = CODE;
    assert_int_equal(RUN(f, "\x3e\x8a\x06"), EMULATE_DONE); // ds has no base in 64-bit mode
    assert_int_equal(f->gpr[AX], 0x77);
    f->cpu.mode = EMULATE_32;
    f->cpu.segment_base[1] = CODE; // so that eip 0 is our code
    f->cpu.rip = 0;
    assert_int_equal(RUN(f, "\x8a\x06"), EMULATE_DONE); // ds by default
    assert_int_equal(f->gpr[AX], 0x44);
    f->cpu.rip = 0;
    f->gpr[BP] = DATA;
    assert_int_equal(RUN(f, "\x8a\x45\x00"), EMULATE_DONE); // ss with ebp
    assert_int_equal(f->gpr[AX], 0x33);
    assert_int_equal(f->cpu.rip, 3);
    // 32-bit linear addresses wrap
    f->cpu.segment_base[3] = 0xfffff000;
    f->gpr[SI] = DATA + 0x1000;
    f->cpu.rip = 0;
    assert_int_equal(RUN(f, "\x8a\x06"), EMULATE_DONE);
    assert_int_equal(f->gpr[AX], 0x77);
}

static void test_16_bit(void **state)
{
    struct fixture *f = *state;
    f->cpu.mode = EMULATE_16;
    f->cpu.stack32 = false;
    f->cpu.segment_base[1] = CODE - 0xfff0;
    f->cpu.segment_base[3] = DATA;
    f->cpu.segment_base[2] = DATA;
    f->cpu.rip = 0xfff0;
    f->gpr[BX] = 0xffff0ff0;
    f->gpr[SI] = 0x20;
    put(f, 0x1010, 0x1234, 2);
    assert_int_equal(RUN(f, "\x8b\x00"), EMULATE_DONE); // mov ax, [bx+si]
    assert_int_equal(f->gpr[AX], 0x1234);
    f->cpu.rip = 0xfff0;
    f->gpr[BX] = 0xfff0;
    put(f, 0x10, 0x4321, 2);
    assert_int_equal(RUN(f, "\x8b\x00"), EMULATE_DONE); // offsets wrap at 64 KiB
    assert_int_equal(f->gpr[AX], 0x4321);
    f->cpu.rip = 0xfff0;
    put(f, 0x10, 0x11223344, 4);
    assert_int_equal(RUN(f, "\x66\x8b\x00"), EMULATE_DONE); // operand size override: 32 bits
    assert_int_equal(f->gpr[AX], 0x11223344);
    f->cpu.rip = 0xfff0;
    f->gpr[DX] = 0x100;
    assert_int_equal(RUN(f, "\x67\x88\x02"), EMULATE_DONE); // address size override: mov [edx], al
    assert_int_equal(word(f, 0x100, 1), 0x44);
    assert_int_equal(f->cpu.rip, 0xfff3);
    f->cpu.rip = 0xfff0;
    f->gpr[SP] = 0xabcd0200;
    assert_int_equal(RUN(f, "\xff\x30"), EMULATE_DONE); // push word [bx+si]
    assert_int_equal(f->gpr[SP], 0xabcd01fe);
    assert_int_equal(word(f, 0x1fe, 2), 0x3344);
    // IP wraps
    f->cpu.segment_base[1] = CODE - 0xfffe;
    f->cpu.rip = 0xfffe;
    assert_int_equal(RUN(f, "\x88\x00"), EMULATE_DONE);
    assert_int_equal(f->cpu.rip, 0);
}

static void test_32_bit_addresses(void **state)
{
    struct fixture *f = *state;
    f->gpr[DI] = 0xdead000000000000 | (DATA + 4);
    put(f, 4, 0x99, 1);
    assert_int_equal(RUN(f, "\x67\x8a\x07"), EMULATE_DONE); // in 64-bit mode: edi
    assert_int_equal(f->gpr[AX], 0x99);
    f->cpu.mode = EMULATE_32;
    f->cpu.rip = CODE;
    f->cpu.segment_base[3] = DATA;
    f->gpr[BX] = 0x10;
    f->gpr[DI] = 0x20;
    put(f, 0x30, 0x77, 1);
    assert_int_equal(RUN(f, "\x67\x8a\x01"), EMULATE_DONE); // in 32-bit mode: [bx+di]
    assert_int_equal(f->gpr[AX], 0x77);
}

static void test_push_pop(void **state)
{
    struct fixture *f = *state;
    f->gpr[SP] = DATA + 0x100;
    f->gpr[SI] = DATA;
    assert_int_equal(RUN(f, "\xff\x36"), EMULATE_DONE); // push qword [rsi]
    assert_int_equal(f->gpr[SP], DATA + 0xf8);
    assert_int_equal(word(f, 0xf8, 8), word(f, 0, 8));
    f->cpu.rip = CODE;
    put(f, 0xf8, 0x1122334455667788, 8);
    assert_int_equal(RUN(f, "\x8f\x44\x24\x08"),
                     EMULATE_DONE); // pop qword [rsp + 8]: rsp after the increment
    assert_int_equal(f->gpr[SP], DATA + 0x100);
    assert_int_equal(word(f, 0x108, 8), 0x1122334455667788);
    f->cpu.rip = CODE;
    f->cpu.mode = EMULATE_32;
    assert_int_equal(RUN(f, "\xff\x36"), EMULATE_DONE); // push dword
    assert_int_equal(f->gpr[SP], DATA + 0xfc);
    // a POP whose destination faults leaves ESP alone
    f->cpu.rip = CODE;
    f->gpr[SI] = 0x1000;
    assert_int_equal(RUN(f, "\x8f\x06"), EMULATE_FAULT);
    assert_int_equal(f->gpr[SP], DATA + 0xfc);
    assert_int_equal(f->fault.cr2, 0x1000);
}

static void test_fault_changes_nothing(void **state)
{
    // Every instruction with its accesses cut short after 0, 1, 2... of them: registers and flags stay as
    // they were.
    static const struct {
        const char *bytes;
        unsigned size, accesses;
    } cases[] = {
        {"\x8b\x06", 2, 1},         // mov eax, [rsi]
        {"\x89\x06", 2, 1},         // mov [rsi], eax
        {"\x01\x06", 2, 2},         // add [rsi], eax
        {"\x03\x06", 2, 1},         // add eax, [rsi]
        {"\x87\x06", 2, 2},         // xchg
        {"\xf0\x0f\xc1\x06", 4, 2}, // lock xadd
        {"\x0f\xb1\x0e", 3, 2},     // cmpxchg [rsi], ecx
        {"\xff\x06", 2, 2},         // inc
        {"\xff\x36", 2, 2},         // push
        {"\x8f\x06", 2, 2},         // pop
        {"\xa5", 1, 2},             // movsd
        {"\xa6", 1, 2},             // cmpsb
        {"\xab", 1, 1},             // stosd
        {"\x0f\xba\x2e\x05", 4, 2}, // bts [rsi], 5
    };
    struct fixture *f = *state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (unsigned allowed = 0; allowed <= cases[i].accesses; allowed++) {
            for (unsigned r = 0; r < 16; r++)
                f->gpr[r] = 0x1111111111111111ull * r;
            f->gpr[SI] = DATA + 0x40;
            f->gpr[DI] = DATA + 0x80;
            f->gpr[SP] = DATA + 0x100;
            uint64_t before[16];
            memcpy(before, f->gpr, sizeof(before));
            f->cpu.rip = CODE;
            f->cpu.rflags = 0x2;
            f->m.fail_after = (int)allowed;
            enum emulate_result r = run(f, cases[i].bytes, cases[i].size);
            if (allowed < cases[i].accesses) {
                assert_int_equal(r, EMULATE_FAULT);
                assert_int_equal(f->fault.vector, 14);
                assert_memory_equal(before, f->gpr, sizeof(before));
                assert_int_equal(f->cpu.rflags, 2);
                assert_int_equal(f->cpu.rip, CODE);
            } else {
                assert_int_equal(r, EMULATE_DONE);
                assert_int_equal(f->cpu.rip, CODE + cases[i].size);
            }
        }
    }
}

static void test_not_canonical(void **state)
{
    struct fixture *f = *state;
    f->gpr[SI] = 0x800000000000;
    assert_int_equal(RUN(f, "\x8b\x06"), EMULATE_FAULT);
    assert_int_equal(f->fault.vector, 13);
    assert_true(f->fault.has_error);
    f->gpr[BP] = 0x800000000000;
    assert_int_equal(RUN(f, "\x8b\x45\x00"), EMULATE_FAULT);
    assert_int_equal(f->fault.vector, 12);
    assert_int_equal(f->m.reads, 0);
}

static void test_rep(void **state)
{
    struct fixture *f = *state;
    f->gpr[DI] = DATA;
    f->gpr[CX] = 100;
    f->gpr[AX] = 0xa5a5a5a5;
    unsigned calls = 1;
    enum emulate_result r;
    while ((r = RUN(f, "\xf3\xab")) == EMULATE_AGAIN) {
        assert_int_equal(f->cpu.rip, CODE);
        assert_int_equal(f->gpr[DI], DATA + 4 * (100 - f->gpr[CX])); // registers tell how far it is
        calls++;
    }
    assert_int_equal(r, EMULATE_DONE);
    assert_int_equal(f->gpr[CX], 0);
    assert_int_equal(f->gpr[DI], DATA + 400);
    assert_int_equal(f->m.writes, 100);
    assert_in_range(calls, 2, 10);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(word(f, 4 * i, 4), 0xa5a5a5a5);
    assert_int_equal(emulate_cache_misses(f->cache), 1);

    f->cpu.rip = CODE; // CX = 0: nothing
    assert_int_equal(RUN(f, "\xf3\xab"), EMULATE_DONE);
    assert_int_equal(f->m.writes, 100);

    f->gpr[CX] = 2; // single step: one iteration, one trap
    f->cpu.rip = CODE;
    f->cpu.rflags |= 0x100; // TF
    assert_int_equal(RUN(f, "\xf3\xab"), EMULATE_AGAIN);
    assert_int_equal(f->gpr[CX], 1);
    assert_int_equal(f->cpu.rip, CODE);
    assert_int_equal(RUN(f, "\xf3\xab"), EMULATE_DONE);
    f->cpu.rflags &= ~0x100ull;

    f->cpu.rip = CODE; // a fault in the middle: what is done stays done
    f->gpr[CX] = 10;
    f->m.fail_after = 3;
    assert_int_equal(RUN(f, "\xf3\xab"), EMULATE_FAULT);
    assert_int_equal(f->gpr[CX], 7);
    assert_int_equal(f->cpu.rip, CODE);
}

static void test_rep_compare(void **state)
{
    struct fixture *f = *state;
    memset(f->m.memory, 0, 64);
    f->m.memory[9] = 1;
    f->gpr[DI] = DATA;
    f->gpr[AX] = 0;
    f->gpr[CX] = 32;
    assert_int_equal(RUN(f, "\xf3\xae"), EMULATE_DONE); // repe scasb
    assert_int_equal(f->gpr[CX], 22);
    assert_int_equal(f->gpr[DI], DATA + 10);
    f->cpu.rip = CODE;
    f->gpr[DI] = DATA;
    f->gpr[AX] = 1;
    f->gpr[CX] = 5;
    assert_int_equal(RUN(f, "\xf2\xae"), EMULATE_DONE); // repne scasb: not found
    assert_int_equal(f->gpr[CX], 0);
    assert_false(f->cpu.rflags & 0x40);
    f->cpu.rip = CODE;
    f->cpu.rflags |= 0x400; // backwards, 16-bit, source from FS
    f->cpu.segment_base[4] = 0x100;
    f->gpr[SI] = DATA;
    f->gpr[DI] = DATA + 0x200;
    assert_int_equal(RUN(f, "\x64\x66\xa5"), EMULATE_DONE);
    assert_int_equal(word(f, 0x200, 2), word(f, 0x100, 2));
    assert_int_equal(f->gpr[SI], DATA - 2);
    assert_int_equal(f->gpr[DI], DATA + 0x1fe);
}

static void test_cache(void **state)
{
    struct fixture *f = *state;
    f->gpr[DI] = DATA;
    for (unsigned i = 0; i < 10; i++) {
        f->cpu.rip = CODE;
        f->gpr[AX] = i;
        assert_int_equal(RUN(f, "\x89\x07"), EMULATE_DONE);
        assert_int_equal(word(f, 0, 4), i);
    }
    assert_int_equal(emulate_cache_misses(f->cache), 1);
    f->cpu.rip = CODE; // other bytes in the same place
    assert_int_equal(RUN(f, "\x88\x47\x08"), EMULATE_DONE);
    assert_int_equal(f->cpu.rip, CODE + 3);
    assert_int_equal(emulate_cache_misses(f->cache), 2);
    f->cpu.rip = CODE; // other mode
    f->cpu.mode = EMULATE_32;
    assert_int_equal(RUN(f, "\x88\x47\x08"), EMULATE_DONE);
    assert_int_equal(emulate_cache_misses(f->cache), 3);
    f->cpu.rip = CODE; // the page went away
    f->m.code_size = 0;
    assert_int_equal(RUN(f, "\x88\x47\x08"), EMULATE_FAULT);
    assert_int_equal(f->fault.cr2, CODE);
}

static void test_fetch_across_pages(void **state)
{
    struct fixture *f = *state;
    f->gpr[DI] = DATA;
    f->m.code_size = 2; // exactly the instruction: the next page is not asked for
    assert_int_equal(RUN(f, "\x89\x07"), EMULATE_DONE);
    assert_int_equal(f->m.refused, 0);
    f->cpu.rip = CODE; // the instruction goes on where nothing is
    assert_int_equal(RUN(f, "\xc7\x07\x01\x02\x03\x04"), EMULATE_FAULT);
    assert_int_equal(f->fault.cr2, CODE + 2);
    assert_int_equal(f->fault.error, 0x10);
    assert_int_equal(f->m.writes, 1);
}

static void test_refusals(void **state)
{
    struct fixture *f = *state;
    f->gpr[SI] = DATA;
    assert_int_equal(RUN(f, "\x0f\x28\x06"), EMULATE_UNSUPPORTED); // movaps xmm0, [rsi]
    assert_non_null(strstr(emulate_refusal(f->cache), "SSE"));
    assert_int_equal(RUN(f, "\xf2\x0f\x10\x06"),
                     EMULATE_UNSUPPORTED); // movsd xmm0, [rsi], not the string instruction
    assert_int_equal(RUN(f, "\xf2\x0f\xc2\x06\x00"), EMULATE_UNSUPPORTED); // cmpsd
    assert_int_equal(RUN(f, "\xc5\xf8\x28\x06"), EMULATE_UNSUPPORTED);     // vmovaps
    assert_non_null(strstr(emulate_refusal(f->cache), "AVX"));
    assert_int_equal(RUN(f, "\xd9\x06"), EMULATE_UNSUPPORTED); // fld
    assert_non_null(strstr(emulate_refusal(f->cache), "x87"));
    assert_int_equal(RUN(f, "\xff\x16"), EMULATE_UNSUPPORTED);     // call [rsi]
    assert_int_equal(RUN(f, "\x8e\x1e"), EMULATE_UNSUPPORTED);     // mov ds, [rsi]
    assert_int_equal(RUN(f, "\xf7\x26"), EMULATE_UNSUPPORTED);     // mul
    assert_int_equal(RUN(f, "\x0f\xff\xff"), EMULATE_UNSUPPORTED); // ud0
    assert_int_equal(RUN(f, "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x89\x06"),
                     EMULATE_FAULT);
    assert_int_equal(f->fault.vector, 13); // over 15 bytes
    assert_int_equal(f->m.reads + f->m.writes, 0);
    assert_int_equal(f->cpu.rip, CODE);
}

static void test_resume_flag(void **state)
{
    struct fixture *f = *state;
    f->gpr[DI] = DATA;
    f->cpu.rflags = 0x10202;
    assert_int_equal(RUN(f, "\x89\x07"), EMULATE_DONE);
    assert_int_equal(f->cpu.rflags, 0x202);
}

static void test_cache_hints(void **state)
{
    struct fixture *f = *state;
    f->gpr[SI] = DATA;
    assert_int_equal(RUN(f, "\x0f\xae\x3e"), EMULATE_DONE); // clflush [rsi]
    assert_int_equal(f->cpu.rip, CODE + 3);
    assert_int_equal(f->m.reads + f->m.writes, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_mov_widths),
        T(test_register_halves),
        T(test_extensions),
        T(test_rip_relative_and_moffs),
        T(test_segments),
        T(test_16_bit),
        T(test_32_bit_addresses),
        T(test_push_pop),
        T(test_not_canonical),
        T(test_fault_changes_nothing),
        T(test_rep),
        T(test_rep_compare),
        T(test_cache),
        T(test_fetch_across_pages),
        T(test_refusals),
        T(test_resume_flag),
        T(test_cache_hints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
