// SPDX-License-Identifier: BSD-2-Clause
// A 16550 behind an I/O-port BAR (PC16550D data sheet; QEMU's pci-serial): scratch register, divisor latch,
// loop-back, string I/O.
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/text.h"
#include "tests/guests/probe/probe.h"

#define RBR      0u
#define FCR      2u
#define LCR      3u
#define MCR      4u
#define LSR      5u
#define MSR      6u
#define SCR      7u
#define LCR_DLAB 0x80u
#define MCR_LOOP 0x10u
#define LSR_DR   0x01u

static void scratch(uint16_t base)
{
    uint32_t random = 0x9e3779b9, wrong = 0;
    for (uint32_t i = 0; i < loops; i++) {
        uint8_t x = (uint8_t)next_random(&random);
        out8((uint16_t)(base + SCR), x);
        wrong += in8((uint16_t)(base + SCR)) != x;
    }
    FINDING(wrong == 0, "serial.scratch = %u right, %u wrong", loops - wrong, wrong);
}

static void divisor(uint16_t base)
{
    uint8_t lcr = in8((uint16_t)(base + LCR));
    out8((uint16_t)(base + LCR), lcr | LCR_DLAB);
    uint16_t was = in16(base); // both halves at once
    out8(base, 0x34);
    out8((uint16_t)(base + 1), 0x12);
    uint8_t low = in8(base), high = in8((uint16_t)(base + 1));
    uint16_t both = in16(base);
    out16(base, was); // what firmware had left there
    uint16_t restored = in16(base);
    out8((uint16_t)(base + LCR), lcr);
    FINDING(low == 0x34 && high == 0x12, "serial.divisor = 0x%02x%02x", high, low);
    FINDING(both == 0x1234, "serial.divisor by 16 bits = 0x%04x", both);
    FINDING(restored == was, "serial.divisor restored = %s", restored == was ? "as it was" : "another");
}

static void loopback(uint16_t base)
{
    uint8_t mcr = in8((uint16_t)(base + MCR));
    for (uint8_t lines = 0; lines < 16; lines = (uint8_t)(lines + 5)) {
        out8((uint16_t)(base + MCR), MCR_LOOP | lines);
        // DTR, RTS, OUT1, OUT2 come back as DSR, CTS, RI, DCD
        uint8_t expected =
            (uint8_t)((lines & 1) << 5 | (lines & 2) << 3 | (lines & 4) << 4 | (lines & 8) << 4);
        uint8_t got = in8((uint16_t)(base + MSR)) & 0xf0;
        FINDING(got == expected, "serial.loop lines 0x%x = 0x%02x", lines, got);
    }
    out8((uint16_t)(base + MCR), MCR_LOOP);
    out8((uint16_t)(base + FCR), 0x07); // FIFOs on and empty
    unsigned wrong = 0;
    uint32_t random = 0x1234567;
    for (uint32_t i = 0; i < loops; i++) {
        uint8_t x = (uint8_t)next_random(&random);
        out8(base + RBR, x);
        unsigned polls = 0;
        while (polls < 100000 && (in8((uint16_t)(base + LSR)) & LSR_DR) == 0)
            polls++;
        wrong += in8(base + RBR) != x;
    }
    FINDING(wrong == 0, "serial.loop bytes = %u right, %u wrong", loops - wrong, wrong);
    out8((uint16_t)(base + MCR), mcr);
}

/// INS and OUTS move a known number of elements: the receiver FIFO in loop-back mode counts them.
static void strings(uint16_t base)
{
    static const char sent[12] = "Farbus bytes";
    char buffer[14] = " ............";
    char *got = buffer + 1;
    uint8_t mcr = in8((uint16_t)(base + MCR));
    out8((uint16_t)(base + MCR), MCR_LOOP);
    out8((uint16_t)(base + FCR), 0x07);
    const char *from = sent;
    uint32_t count = sizeof sent;
    __asm__ volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(base) : "memory");
    bool moved = count == 0 && from == sent + sizeof sent;
    unsigned polls = 0;
    while (polls < 100000 && (in8((uint16_t)(base + LSR)) & LSR_DR) == 0)
        polls++;
    char *to = got;
    count = sizeof sent;
    __asm__ volatile("rep insb" : "+D"(to), "+c"(count) : "d"(base) : "memory");
    moved = moved && count == 0 && to == got + sizeof sent;
    FINDING(moved && same_bytes(sent, got, sizeof sent), "serial.strings forward = '%s'", got);
    FINDING((in8((uint16_t)(base + LSR)) & LSR_DR) == 0, "serial.strings = %s", "receiver empty again");

    out8((uint16_t)(base + FCR), 0x07);
    from = sent + sizeof sent - 1;
    count = sizeof sent;
    __asm__ volatile("std; rep outsb; cld" : "+S"(from), "+c"(count) : "d"(base) : "memory");
    to = got + sizeof sent - 1; // backwards twice: forwards again
    count = sizeof sent;
    memset(got, '.', sizeof sent);
    __asm__ volatile("std; rep insb; cld" : "+D"(to), "+c"(count) : "d"(base) : "memory");
    FINDING(same_bytes(sent, got, sizeof sent) && count == 0 && to == buffer,
            "serial.strings backward = '%s'", got);

    out8((uint16_t)(base + SCR), 0x5a);
    uint32_t dwords[2] = {0, 0};
    to = (char *)dwords;
    count = 2;
    __asm__ volatile("rep insl" : "+D"(to), "+c"(count) : "d"((uint16_t)(base + 4)) : "memory");
    FINDING(dwords[0] >> 24 == 0x5a && dwords[0] == dwords[1], "serial.strings by 32 bits = 0x%08x 0x%08x",
            dwords[0], dwords[1]);
    out8((uint16_t)(base + MCR), mcr);
}

void probe_serial(pci_bdf at)
{
    describe("serial", at);
    struct bar bar = bar_use(at, 0, true);
    if (bar.kind != BAR_IO) {
        FINDING(false, "serial.bar0 = %s", bar_kind_names[bar.kind]);
        return;
    }
    uint16_t base = (uint16_t)bar.base;
    scratch(base);
    divisor(base);
    loopback(base);
    strings(base);
    out8((uint16_t)(base + SCR), 0xc3);
    bar_move(at, 0, &bar, bar_space(BAR_IO, 0x20));
    struct bar moved = bar_size(at, 0);
    uint8_t got = in8((uint16_t)(moved.base + SCR)), old = in8((uint16_t)(base + SCR));
    FINDING(got == 0xc3, "serial.moved = 0x%02x", got);
    FINDING(old == 0xff, "serial.moved, old place = 0x%02x", old);
    bar_move(at, 0, &bar, base);
    got = in8((uint16_t)(base + SCR));
    FINDING(got == 0xc3, "serial.moved_back = 0x%02x", got);
}
