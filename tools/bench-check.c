// SPDX-License-Identifier: BSD-2-Clause
// Does an emulator compute what this machine computes? The same source as a program and as an EFI application
// (-DEFI), the same pseudo-random operands: one line per group of instructions with a digest of all results
// and of the flags the manual defines. tools/bench-check.py compares the lines. Intel SDM volume 2 is the
// source for which flags are defined.
#include <stdint.h>

#ifdef EFI
#include <efi.h>

static void put(char c)
{
    uint8_t status;
    do
        __asm__ volatile("inb %w1, %b0" : "=a"(status) : "Nd"(0x3fd));
    while (!(status & 0x20));
    __asm__ volatile("outb %b0, %w1" : : "a"(c), "Nd"(0x3f8));
}
#else
#include <stdio.h>

static void put(char c)
{
    putchar(c);
}
#endif

#define ROUNDS 2000
#define CF     0x001u
#define PF     0x004u
#define AF     0x010u
#define ZF     0x040u
#define SF     0x080u
#define OF     0x800u
#define ALL    (CF | PF | AF | ZF | SF | OF)

static uint64_t seed, digest;

// xorshift64*; now and then a value with few bits or close to a border, where instructions go wrong.
static uint64_t draw(void)
{
    static const uint64_t border[] = {0,
                                      1,
                                      0x7f,
                                      0x80,
                                      0xffff,
                                      0x7fffffff,
                                      0x80000000,
                                      0xffffffff,
                                      0x7fffffffffffffff,
                                      0x8000000000000000,
                                      ~0ull};
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    uint64_t v = seed * 0x2545f4914f6cdd1d;
    switch (v >> 60) {
    case 0:
        return border[(v >> 8) % (sizeof border / sizeof border[0])];
    case 1:
        return v >> (v >> 8 & 63);
    case 2:
        return ~(v >> (v >> 8 & 63));
    default:
        return v;
    }
}

static void note(uint64_t v)
{
    digest = (digest ^ v) * 0x100000001b3;
    digest ^= digest >> 29;
}

static void text(const char *s)
{
    while (*s)
        put(*s++);
}

static void line(const char *name)
{
    text("check ");
    text(name);
    put(' ');
    for (int i = 60; i >= 0; i -= 4)
        put("0123456789abcdef"[digest >> i & 15]);
    text("\r\n");
}

#define GROUP(name, ...)                                                                                     \
    do {                                                                                                     \
        seed = 0x9e3779b97f4a7c15;                                                                           \
        digest = 0xcbf29ce484222325;                                                                         \
        for (unsigned round = 0; round < ROUNDS; round++)                                                    \
            __VA_ARGS__;                                                                                     \
        line(name);                                                                                          \
    } while (0)

// `insn` on a (read and written) and b with a carry to come in; notes a and the flags in `mask`.
#define BINARY(type, insn, mask)                                                                             \
    do {                                                                                                     \
        type a = (type)draw(), b = (type)draw();                                                             \
        uint64_t f = draw() & 1;                                                                             \
        __asm__ volatile("bt $0, %1\n\t" insn " %2, %0\n\tpushfq\n\tpopq %1"                                 \
                         : "+r"(a), "+r"(f)                                                                  \
                         : "r"(b)                                                                            \
                         : "cc", "memory");                                                                  \
        note((uint64_t)a);                                                                                   \
        note(f &(mask));                                                                                     \
    } while (0)

#define UNARY(type, insn, mask)                                                                              \
    do {                                                                                                     \
        type a = (type)draw();                                                                               \
        uint64_t f = draw() & 1;                                                                             \
        __asm__ volatile("bt $0, %1\n\t" insn " %0\n\tpushfq\n\tpopq %1"                                     \
                         : "+r"(a), "+r"(f)                                                                  \
                         :                                                                                   \
                         : "cc", "memory");                                                                  \
        note((uint64_t)a);                                                                                   \
        note(f &(mask));                                                                                     \
    } while (0)

#define SHIFT(type, insn)                                                                                    \
    do {                                                                                                     \
        type a = (type)draw();                                                                               \
        uint64_t f = draw() & 1;                                                                             \
        uint8_t count = (uint8_t)draw();                                                                     \
        __asm__ volatile("bt $0, %1\n\t" insn " %%cl, %0" : "+r"(a), "+r"(f) : "c"(count) : "cc");           \
        note((uint64_t)a);                                                                                   \
    } while (0)

#define WIDTHS(macro, name, insn, ...)                                                                       \
    do {                                                                                                     \
        GROUP(name "8", macro(uint8_t, insn "b" __VA_ARGS__));                                               \
        GROUP(name "16", macro(uint16_t, insn "w" __VA_ARGS__));                                             \
        GROUP(name "32", macro(uint32_t, insn "l" __VA_ARGS__));                                             \
        GROUP(name "64", macro(uint64_t, insn "q" __VA_ARGS__));                                             \
    } while (0)

static void arithmetic(void)
{
#define B(t, i) BINARY(t, i, ALL)
#define L(t, i) BINARY(t, i, ALL & ~AF)
#define U(t, i) UNARY(t, i, ALL)
    WIDTHS(B, "add", "add");
    WIDTHS(B, "adc", "adc");
    WIDTHS(B, "sub", "sub");
    WIDTHS(B, "sbb", "sbb");
    WIDTHS(B, "cmp", "cmp");
    WIDTHS(L, "and", "and");
    WIDTHS(L, "or", "or");
    WIDTHS(L, "xor", "xor");
    WIDTHS(L, "test", "test");
    WIDTHS(U, "neg", "neg");
    WIDTHS(U, "inc", "inc");
    WIDTHS(U, "dec", "dec");
    WIDTHS(U, "not", "not");
    WIDTHS(B, "xadd", "xadd");
    GROUP("imul2-16", BINARY(uint16_t, "imulw", CF | OF));
    GROUP("imul2-32", BINARY(uint32_t, "imull", CF | OF));
    GROUP("imul2-64", BINARY(uint64_t, "imulq", CF | OF));
}

static void multiply(void)
{
#define WIDE(insn, type)                                                                                     \
    do {                                                                                                     \
        uint64_t a = draw(), d = draw(), f;                                                                  \
        type b = (type)draw();                                                                               \
        __asm__ volatile(insn " %3\n\tpushfq\n\tpopq %2"                                                     \
                         : "+a"(a), "+d"(d), "=r"(f)                                                         \
                         : "r"(b)                                                                            \
                         : "cc", "memory");                                                                  \
        note(a);                                                                                             \
        note(d);                                                                                             \
        note(f &(CF | OF));                                                                                  \
    } while (0)
    GROUP("mul8", WIDE("mulb", uint8_t));
    GROUP("mul16", WIDE("mulw", uint16_t));
    GROUP("mul32", WIDE("mull", uint32_t));
    GROUP("mul64", WIDE("mulq", uint64_t));
    GROUP("imul8", WIDE("imulb", uint8_t));
    GROUP("imul16", WIDE("imulw", uint16_t));
    GROUP("imul32", WIDE("imull", uint32_t));
    GROUP("imul64", WIDE("imulq", uint64_t));
}

// The dividend is made from a quotient, a divisor and a smaller remainder, so that no division overflows.
#define DIVIDE(insn, type, wide)                                                                             \
    do {                                                                                                     \
        type q = (type)draw(), v = (type)draw(), r = (type)draw();                                           \
        if (v == 0)                                                                                          \
            v = 1;                                                                                           \
        wide n = (wide)((wide)q * v);                                                                        \
        if (r / 2 < v / 2 && (q >> (sizeof q * 8 - 2)) == 0)                                                 \
            n = (wide)(n + (r / 2));                                                                         \
        uint64_t a = (uint64_t)n, d = (uint64_t)(type)(n >> (sizeof(type) * 8));                             \
        __asm__ volatile(insn " %2" : "+a"(a), "+d"(d) : "r"(v) : "cc");                                     \
        note(a);                                                                                             \
        note(d);                                                                                             \
    } while (0)

#define SIGNED_DIVIDE(insn, type, wide)                                                                      \
    do {                                                                                                     \
        type q = (type)(draw() >> 1), v = (type)draw();                                                      \
        if (draw() & 1)                                                                                      \
            q = (type)-q;                                                                                    \
        if (v == 0 || v == -1)                                                                               \
            v = 3;                                                                                           \
        wide n = (wide)((wide)q * v);                                                                        \
        uint64_t a = (uint64_t)n, d = (uint64_t)(n >> (sizeof(type) * 8));                                   \
        __asm__ volatile(insn " %2" : "+a"(a), "+d"(d) : "r"(v) : "cc");                                     \
        note(a);                                                                                             \
        note(d);                                                                                             \
        /* and one with a remainder: half of the range, any dividend */                                      \
        int64_t half = (int64_t)draw();                                                                      \
        a = (uint64_t)half;                                                                                  \
        d = (type)half < 0 ? ~0ull : 0;                                                                      \
        __asm__ volatile(insn " %2" : "+a"(a), "+d"(d) : "r"(v) : "cc");                                     \
        note(a);                                                                                             \
        note(d);                                                                                             \
    } while (0)

static void divide(void)
{
    GROUP("div16", DIVIDE("divw", uint16_t, uint32_t));
    GROUP("div32", DIVIDE("divl", uint32_t, uint64_t));
    GROUP("div64", DIVIDE("divq", uint64_t, unsigned __int128));
    GROUP("idiv16", SIGNED_DIVIDE("idivw", int16_t, int32_t));
    GROUP("idiv32", SIGNED_DIVIDE("idivl", int32_t, int64_t));
    GROUP("idiv64", SIGNED_DIVIDE("idivq", int64_t, __int128));
}

static void bits(void)
{
    WIDTHS(SHIFT, "shl", "shl");
    WIDTHS(SHIFT, "shr", "shr");
    WIDTHS(SHIFT, "sar", "sar");
    WIDTHS(SHIFT, "rol", "rol");
    WIDTHS(SHIFT, "ror", "ror");
    WIDTHS(SHIFT, "rcl", "rcl");
    WIDTHS(SHIFT, "rcr", "rcr");
#define DOUBLE(insn, type)                                                                                   \
    do {                                                                                                     \
        type a = (type)draw(), b = (type)draw();                                                             \
        uint8_t count = (uint8_t)draw();                                                                     \
        __asm__ volatile(insn " %%cl, %1, %0" : "+r"(a) : "r"(b), "c"(count) : "cc");                        \
        note(a);                                                                                             \
    } while (0)
    GROUP("shld32", DOUBLE("shldl", uint32_t));
    GROUP("shld64", DOUBLE("shldq", uint64_t));
    GROUP("shrd32", DOUBLE("shrdl", uint32_t));
    GROUP("shrd64", DOUBLE("shrdq", uint64_t));
    GROUP("bt", BINARY(uint64_t, "btq", CF));
    GROUP("bts", BINARY(uint64_t, "btsq", CF));
    GROUP("btr", BINARY(uint64_t, "btrq", CF));
    GROUP("btc", BINARY(uint64_t, "btcq", CF));
    GROUP("bsf-bsr", {
        uint64_t v = draw() | 1ull << (draw() & 63), low, high;
        __asm__ volatile("bsfq %2, %0\n\tbsrq %2, %1" : "=&r"(low), "=&r"(high) : "r"(v) : "cc");
        note(low * 64 + high);
    });
    GROUP("bswap", {
        uint64_t v = draw();
        uint32_t w = (uint32_t)draw();
        __asm__ volatile("bswapq %0\n\tbswapl %1" : "+r"(v), "+r"(w));
        note(v);
        note(w);
    });
    GROUP("extend", {
        uint64_t v = draw(), a, b, c, d, e;
        __asm__ volatile(
            "movsbq %b5, %0\n\tmovswq %w5, %1\n\tmovslq %k5, %2\n\tmovzbl %b5, %k3\n\tmovzwl %w5, %k4"
            : "=&r"(a), "=&r"(b), "=&r"(c), "=&r"(d), "=&r"(e)
            : "r"(v));
        note(a);
        note(b);
        note(c);
        note(d);
        note(e);
    });
    GROUP("conditions", {
        uint64_t a = draw(), b = draw(), out = 0, s;
#define SET(cc)                                                                                              \
    __asm__ volatile("cmpq %3, %2\n\tset" cc " %b0\n\tcmov" cc " %2, %1"                                     \
                     : "=&q"(s), "+r"(out)                                                                   \
                     : "r"(a), "r"(b)                                                                        \
                     : "cc");                                                                                \
    note((s & 1) + out)
        SET("o");
        SET("b");
        SET("e");
        SET("be");
        SET("s");
        SET("p");
        SET("l");
        SET("le");
        SET("g");
        SET("a");
    });
    GROUP("cmpxchg", {
        uint64_t a = draw(), b = draw(), m = draw() & 1 ? a : b, f;
        __asm__ volatile("lock cmpxchgq %3, %1\n\tpushfq\n\tpopq %2"
                         : "+a"(a), "+m"(m), "=r"(f)
                         : "r"(b)
                         : "cc");
        note(a);
        note(m);
        note(f & ALL);
    });
}

static uint8_t from[1024], to[1024];

static void fill(void)
{
    for (unsigned i = 0; i < sizeof from; i++) {
        from[i] = (uint8_t)(draw() & 3 ? 0x55 : draw());
        to[i] = (uint8_t)(draw() & 7 ? from[i] : draw());
    }
}

static void both(void)
{
    for (unsigned i = 0; i < sizeof to; i += 8)
        note(*(uint64_t *)(void *)(to + i));
}

// A repeated string instruction from the middle of the buffers, upwards or downwards.
#define STRING(insn, size)                                                                                   \
    do {                                                                                                     \
        if (round % 20)                                                                                      \
            break;                                                                                           \
        fill();                                                                                              \
        uint8_t *si = from + 512 - draw() % 8, *di = to + 512 - draw() % 8;                                  \
        uint64_t count = draw() % (480 / (size)), a = draw(), f, down = draw() & 1;                          \
        if (down)                                                                                            \
            __asm__ volatile("std\n\t" insn "\n\tpushfq\n\tpopq %4\n\tcld"                                   \
                             : "+S"(si), "+D"(di), "+c"(count), "+a"(a), "=r"(f)                             \
                             :                                                                               \
                             : "cc", "memory");                                                              \
        else                                                                                                 \
            __asm__ volatile("cld\n\tcmpb %%al, %%al\n\t" insn "\n\tpushfq\n\tpopq %4"                       \
                             : "+S"(si), "+D"(di), "+c"(count), "+a"(a), "=r"(f)                             \
                             :                                                                               \
                             : "cc", "memory");                                                              \
        note((uint64_t)(si - from));                                                                         \
        note((uint64_t)(di - to));                                                                           \
        note(count);                                                                                         \
        note(a);                                                                                             \
        both();                                                                                              \
    } while (0)

static void strings(void)
{
    GROUP("movsb", STRING("rep movsb", 1));
    GROUP("movsw", STRING("rep movsw", 2));
    GROUP("movsd", STRING("rep movsl", 4));
    GROUP("movsq", STRING("rep movsq", 8));
    GROUP("stosb", STRING("rep stosb", 1));
    GROUP("stosw", STRING("rep stosw", 2));
    GROUP("stosd", STRING("rep stosl", 4));
    GROUP("stosq", STRING("rep stosq", 8));
    GROUP("lodsb", STRING("rep lodsb", 1));
    GROUP("lodsq", STRING("rep lodsq", 8));
    GROUP("cmpsb", STRING("repe cmpsb", 1));
    GROUP("cmpsw", STRING("repe cmpsw", 2));
    GROUP("cmpsd", STRING("repe cmpsl", 4));
    GROUP("cmpsq", STRING("repe cmpsq", 8));
    GROUP("scasb", STRING("repne scasb", 1));
    GROUP("scasw", STRING("repne scasw", 2));
    GROUP("scasd", STRING("repne scasl", 4));
    GROUP("scasq", STRING("repne scasq", 8));
}

static void check(void)
{
    arithmetic();
    multiply();
    divide();
    bits();
    strings();
    text("check end\r\n");
}

#ifdef EFI
EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *table);

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *table)
{
    (void)image;
    table->BootServices->SetWatchdogTimer(0, 0, 0, 0);
    text("\r\ncheck begin\r\n");
    check();
    for (;;)
        __asm__ volatile("pause");
}
#else
int main(void)
{
    check();
    return 0;
}
#endif
