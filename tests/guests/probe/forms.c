// SPDX-License-Identifier: BSD-2-Clause
// Runs the form tables: first on local memory (the processor itself), then on the device with the same bytes
// in it (reading forms: the bytes the device holds are copied first), and compares registers, flags and all
// bytes that could be touched.
#include "tests/guests/probe/forms.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/fault.h"
#include "tests/guests/lib/long_mode.h"
#include "tests/guests/lib/text.h"
#include "tests/guests/probe/probe.h"

#define SPAN   32u
#define MIDDLE 16u
#define CF     0x1u

struct regs32 {
    uint32_t eax, ecx, edx, ebx, ebp, esi, edi, eflags;
};
void form_run32(const void *routine, struct regs32 *regs);
void form_run16(uint32_t offset, struct regs32 *regs, uint32_t ds, uint32_t es);
extern const char code16_begin[];

enum width { FORM_16 = 16, FORM_32 = 32, FORM_64 = 64 };

static uint8_t shadow[4096] __attribute__((aligned(4096)));  // stands for the target
static uint8_t scratch[4096] __attribute__((aligned(4096))); // the other end of MOVS
static uint8_t scratch_before[SPAN];

struct outcome {
    struct regs64 regs; // pointers relative to what they pointed to
    uint32_t target[SPAN / 4], scratch[SPAN / 4];
    bool faulted;
};

static void fill_scratch(void)
{
    uint32_t random = 0xfeedbeef;
    for (unsigned i = 0; i < SPAN; i++)
        scratch[i] = (uint8_t)next_random(&random);
    // alike for a few bytes, so that CMPS goes on for a while
    memcpy(scratch + MIDDLE, shadow + MIDDLE, 3);
}

/// One form on `target` (physical and below 4 GiB).
static void run(const struct form *form, enum width width, bool paged, uint32_t target, struct outcome *out)
{
    uint32_t linear = paged || width == FORM_64 ? window_show(target) : target;
    uint32_t source = form->kind == FORM_TO ? (uint32_t)scratch : linear;
    uint32_t destination = form->kind == FORM_FROM ? (uint32_t)scratch : linear;
    out->faulted = false;
    if (width == FORM_64) {
        struct regs64 r = {.rax = 0x0123a5a58a9b1c2dull,
                           .rcx = 5,
                           .rdx = 0x8877665571f0e4d3ull,
                           .rbx = 3,
                           .rbp = (uint64_t)-97,
                           .rsi = source + MIDDLE,
                           .rdi = destination + MIDDLE,
                           .r8 = 0x1111222233334444ull,
                           .r15 = 0xf0f0f0f00f0f0f0full,
                           .r9 = linear + MIDDLE,
                           .r13 = linear + MIDDLE,
                           .rflags = 2 | CF};
        out->faulted = !long_call(form->routine, &r);
        r.rsi -= source;
        r.rdi -= destination;
        r.r9 -= linear;
        r.r13 -= linear;
        out->regs = r;
    } else {
        struct regs32 r = {.eax = 0x8a9b1c2d,
                           .ecx = 5,
                           .edx = 0x71f0e4d3,
                           .ebx = 3,
                           .ebp = (uint32_t)-97,
                           .esi = source + MIDDLE,
                           .edi = destination + MIDDLE,
                           .eflags = 2 | CF};
        if (width == FORM_16) {
            segment_set_base(SELECTOR_BASED, source);
            segment_set(SELECTOR_TSS_A, destination, 0xffffffff, 0x93, 0xc);
            segment_set_base(SELECTOR_CODE16, (uint32_t)code16_begin);
            source = destination = 0;
            r.esi = r.edi = MIDDLE;
            form_run16((uint32_t)form->routine - (uint32_t)code16_begin, &r, SELECTOR_BASED, SELECTOR_TSS_A);
        } else {
            form_run32(form->routine, &r);
        }
        out->regs = (struct regs64){.rax = r.eax,
                                    .rcx = r.ecx,
                                    .rdx = r.edx,
                                    .rbx = r.ebx,
                                    .rbp = r.ebp,
                                    .rsi = r.esi - source,
                                    .rdi = r.edi - destination,
                                    .rflags = r.eflags};
    }
    for (uint32_t i = 0; i < SPAN; i += 4) {
        out->target[i / 4] = mmio_read32(target + i);
        memcpy(&out->scratch[i / 4], scratch + i, 4);
    }
}

static void explain(const char *what, uint64_t expected, uint64_t got)
{
    if (expected != got)
        print("probe:   %s 0x%llx, should be 0x%llx\n", what, got, expected);
}

static bool compare(const char *name, const char *mode, const struct form *form, struct outcome *expected,
                    struct outcome *got)
{
    expected->regs.rflags &= form->flags;
    got->regs.rflags &= form->flags;
    if (same_bytes(expected, got, sizeof *expected))
        return true;
    print("probe: %s.%s '%s' differs%s\n", name, mode, form->text, got->faulted ? ": it faulted" : "");
    if (got->faulted)
        print("probe:   vector %u error 0x%x at 0x%llx cr2 0x%llx\n", last_fault.vector, last_fault.error,
              last_fault.ip, last_fault.cr2);
    static const char *const names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",   "r8",
                                        "r9",  "r10", "r11", "r12", "r13", "r14", "r15", "rflags"};
    const uint64_t *e = &expected->regs.rax, *g = &got->regs.rax;
    for (unsigned i = 0; i < 17; i++)
        explain(names[i], e[i], g[i]);
    for (unsigned i = 0; i < SPAN / 4; i++) {
        explain("target word", expected->target[i], got->target[i]);
        explain("local word", expected->scratch[i], got->scratch[i]);
    }
    return false;
}

static const struct form *table(enum width width, bool end)
{
    switch (width) {
    case FORM_16:
        return end ? forms16_end : forms16_begin;
    case FORM_32:
        return end ? forms32_end : forms32_begin;
    default:
        return end ? forms64_end : forms64_begin;
    }
}

/// writes: the target is storage; else only reading forms, and the target's own bytes are what is read.
static void run_table(const char *name, const char *mode, enum width width, bool paged, uint32_t base,
                      bool writes)
{
    static struct outcome expected, got;
    unsigned count = 0, right = 0;
    for (const struct form *form = table(width, false); form != table(width, true); form++) {
        if (!writes && form->kind != FORM_READ && form->kind != FORM_FROM)
            continue;
        uint32_t random = 0xdecade01;
        for (uint32_t i = 0; i < SPAN; i += 4) {
            uint32_t word = next_random(&random);
            if (writes)
                mmio_write32(base + i, word);
            else
                word = mmio_read32(base + i);
            memcpy(shadow + i, &word, 4);
        }
        fill_scratch();
        memcpy(scratch_before, scratch, SPAN);
        run(form, width, paged, (uint32_t)shadow, &expected);
        memcpy(scratch, scratch_before, SPAN);
        run(form, width, paged, base, &got);
        count++;
        right += compare(name, mode, form, &expected, &got);
    }
    FINDING(right == count, "%s.%s = %u instruction forms, %u right", name, mode, count, right);
}

void forms_read(const char *name, uint32_t base)
{
    run_table(name, "read32", FORM_32, false, base, false);
    if (long_mode_present())
        run_table(name, "read64", FORM_64, false, base, false);
}

void forms_all(const char *name, uint32_t base)
{
    run_table(name, "code16", FORM_16, false, base, true);
    run_table(name, "code32", FORM_32, false, base, true);
    paging_set(PAGING_32BIT);
    run_table(name, "code32 paged", FORM_32, true, base, true);
    paging_set(PAGING_PAE);
    run_table(name, "code32 PAE", FORM_32, true, base, true);
    paging_set(PAGING_OFF);
    if (long_mode_present())
        run_table(name, "code64", FORM_64, false, base, true);
}
