// SPDX-License-Identifier: BSD-2-Clause
// What a guest does not survive: it must stop (or loop) alone.
#include "tests/guests/lib/pci.h"
#include "tests/guests/lib/text.h"
#include "tests/guests/rogue/rogue.h"

#define AREA 0x10000u

static uint8_t area[AREA] __attribute__((aligned(4096)));

static void jump(uint32_t to)
{
    __asm__ volatile("call *%0" ::"r"(to) : "eax", "ecx", "edx", "memory");
}

/// 0xFF bytes: FF FF is no instruction, and here nobody handles #UD.
void rogue_garbage(void)
{
    memset(area, 0xff, sizeof area);
    jump((uint32_t)area);
}

static void jump_try(void *arg)
{
    jump((uint32_t)arg);
}

/// Random bytes from a fixed seed; after each fault on with the next place, until the guest has ruined itself
/// or `count` is reached.
void rogue_random(void)
{
    uint32_t seed = option_number("seed", 1), count = option_number("count", 1000), faults = 0;
    for (uint32_t i = 0; i < count; i++) {
        for (unsigned j = 0; j < 256; j++)
            area[j] = (uint8_t)next_random(&seed);
        faults += !try_call(jump_try, area);
    }
    print("rogue: %u pieces of random code, %u faults\n", count, faults);
}

static const struct {
    uint16_t limit;
    uint32_t base;
} __attribute__((packed)) no_idt = {0, 0};

void rogue_triple(void)
{
    __asm__ volatile("lidt %0; int3" ::"m"(no_idt));
}

void rogue_cpuid(void)
{
    uint32_t r[4];
    for (;;)
        cpuid(1, 0, r);
}

void rogue_hlt(void)
{
    __asm__ volatile("cli; hlt");
    print("rogue: HLT with interrupts off ended\n");
}

/// The handler returns to the instruction that faults.
void rogue_exceptions(void)
{
    static const uint8_t handler[] = {0xcf}; // IRET
    memcpy(area, handler, sizeof handler);
    fault_set_gate(VECTOR_UD, area);
    __asm__ volatile("ud2");
}

/// Instructions fetched from a device, or from where nothing is.
void rogue_fetch(void)
{
    pci_bdf edu = pci_find_id(0x1234, 0x11e8);
    uint32_t to =
        edu != PCI_NONE ? (uint32_t)bar_use(edu, 0, true).base : (uint32_t)bar_space(BAR_MEM32, 4096);
    print("rogue: jump to 0x%08x\n", to);
    jump(to);
}

/// Paging with tables made of random bytes.
void rogue_page_tables(void)
{
    uint32_t seed = option_number("seed", 1);
    for (unsigned i = 0; i < AREA; i++)
        area[i] = (uint8_t)next_random(&seed);
    write_cr3((uint32_t)area);
    write_cr4(read_cr4() | CR4_PSE);
    write_cr0(read_cr0() | CR0_PG);
}

void rogue_spin(void)
{
    for (;;)
        __asm__ volatile("");
}

/// A stack where no memory is: the fault cannot be pushed.
void rogue_stack(void)
{
    __asm__ volatile("movl $0xfffffff0, %esp; ud2");
}
