// SPDX-License-Identifier: BSD-2-Clause
// Page tables (SDM vol. 3, 4.3 - 4.5) and calls of 64-bit code. One identity map below 4 GiB, with a window
// in it.
#include "tests/guests/lib/long_mode.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/fault.h"

#define PRESENT_WRITE 0x3u
#define LARGE_PAGE    0x80u

uint64_t long_pml4[512] __attribute__((aligned(4096)));
static uint64_t pdpt[512] __attribute__((aligned(4096)));
static uint64_t directories[4][512] __attribute__((aligned(4096)));
static uint64_t window_pages[512] __attribute__((aligned(4096)));
static uint32_t directory32[1024] __attribute__((aligned(4096)));
static uint32_t window_pages32[1024] __attribute__((aligned(4096)));

struct gate64 {
    uint16_t offset_low, selector, type, offset_middle;
    uint32_t offset_high, reserved;
};
static struct gate64 idt64[32] __attribute__((aligned(16)));
const struct {
    uint16_t limit;
    const void *base;
    uint32_t base_high;
} __attribute__((packed)) idt64_register = {sizeof idt64 - 1, idt64, 0};

extern const char fault_stubs64[];                         // long_mode.S, 16 bytes apart
int long_switch(const void *routine, struct regs64 *regs); // long_mode.S; 0: faulted
extern const char load8[], load16[], load32[], load64[], store8[], store16[], store32[], store64[];

bool long_mode_present(void)
{
    uint32_t r[4];
    cpuid(0x80000000u, 0, r);
    if (r[0] < 0x80000001u)
        return false;
    cpuid(0x80000001u, 0, r);
    return (r[3] & 1u << 29) != 0;
}

static void build_tables(void)
{
    if (long_pml4[0] != 0)
        return;
    long_pml4[0] = (uint32_t)pdpt | PRESENT_WRITE;
    for (uint32_t i = 0; i < 4; i++) {
        pdpt[i] = (uint32_t)directories[i] | 0x1u; // PAE paging: no R/W bit here; long mode: see below
        for (uint32_t j = 0; j < 512; j++)
            directories[i][j] = (uint64_t)(i * 512 + j) << 21 | LARGE_PAGE | PRESENT_WRITE;
    }
    for (uint32_t i = 0; i < 1024; i++)
        directory32[i] = i << 22 | LARGE_PAGE | PRESENT_WRITE;
    directories[WINDOW_BASE >> 30][WINDOW_BASE >> 21 & 511u] = (uint32_t)window_pages | PRESENT_WRITE;
    directory32[WINDOW_BASE >> 22] = (uint32_t)window_pages32 | PRESENT_WRITE;
    for (unsigned v = 0; v < 32; v++) {
        uint32_t at = (uint32_t)fault_stubs64 + 16 * v;
        idt64[v] = (struct gate64){(uint16_t)at, SELECTOR_CODE64, 0x8e00, (uint16_t)(at >> 16), 0, 0};
    }
}

bool long_call(const void *routine, struct regs64 *regs)
{
    build_tables();
    for (uint32_t i = 0; i < 4; i++)
        pdpt[i] |= PRESENT_WRITE;
    return long_switch(routine, regs) != 0;
}

uint32_t window_show(uint64_t pa)
{
    build_tables();
    for (uint32_t i = 0; i < WINDOW_SIZE >> 12; i++) {
        window_pages[i] = ((pa & ~0xfffull) + (i << 12)) | PRESENT_WRITE;
        window_pages32[i] = (uint32_t)window_pages[i];
    }
    if ((read_cr0() & CR0_PG) != 0)
        write_cr3(read_cr3());
    return WINDOW_BASE + (uint32_t)(pa & 0xfff);
}

uint64_t mmio_read_long(uint64_t pa, unsigned size)
{
    const void *routine = size == 1 ? load8 : size == 2 ? load16 : size == 4 ? load32 : load64;
    struct regs64 r = {.rsi = window_show(pa)};
    (void)long_call(routine, &r);
    return r.rax;
}

void mmio_write_long(uint64_t pa, unsigned size, uint64_t value)
{
    const void *routine = size == 1 ? store8 : size == 2 ? store16 : size == 4 ? store32 : store64;
    struct regs64 r = {.rdi = window_show(pa), .rax = value};
    (void)long_call(routine, &r);
}

void paging_set(enum paging mode)
{
    build_tables();
    write_cr0(read_cr0() & ~CR0_PG);
    switch (mode) {
    case PAGING_OFF:
        break;
    case PAGING_32BIT:
        write_cr4((read_cr4() & ~CR4_PAE) | CR4_PSE);
        write_cr3((uint32_t)directory32);
        write_cr0(read_cr0() | CR0_PG);
        break;
    case PAGING_PAE:
        for (uint32_t i = 0; i < 4; i++)
            pdpt[i] = (uint32_t)directories[i] | 0x1u;
        write_cr4(read_cr4() | CR4_PAE);
        write_cr3((uint32_t)pdpt);
        write_cr0(read_cr0() | CR0_PG);
        break;
    }
}
