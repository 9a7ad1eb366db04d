// SPDX-License-Identifier: BSD-2-Clause
#include "hv/platform/ioapic.h"

enum { REG_SELECT = 0x00, REG_WINDOW = 0x10, REG_EOI = 0x40 };
enum { INDEX_ID = 0, INDEX_VERSION = 1, INDEX_ARBITRATION = 2, INDEX_TABLE = 0x10 };

#define VERSION (0x20u | (GUEST_IOAPIC_PINS - 1) << 16)

// Redirection table entry
#define RTE_VECTOR     0xffull
#define RTE_LOGICAL    (1ull << 11)
#define RTE_REMOTE_IRR (1ull << 14)
#define RTE_LEVEL      (1ull << 15)
#define RTE_MASKED     (1ull << 16)
#define RTE_READ_ONLY  (1ull << 12 | RTE_REMOTE_IRR) // delivery status, remote IRR

static void send(struct guest_ioapic *a, unsigned pin)
{
    uint64_t *rte = &a->redirection[pin];
    if (*rte & RTE_MASKED)
        return;
    bool level = (*rte & RTE_LEVEL) != 0;
    if (level) {
        if (*rte & RTE_REMOTE_IRR)
            return; // in service
        *rte |= RTE_REMOTE_IRR;
    }
    const struct interrupt_message message = {
        .destination = (uint8_t)(*rte >> 56),
        .logical = (*rte & RTE_LOGICAL) != 0,
        .delivery = (uint8_t)(*rte >> 8 & 7),
        .vector = (uint8_t)(*rte & RTE_VECTOR),
        .level = level,
    };
    a->deliver(a->ctx, &message);
}

void guest_ioapic_set(struct guest_ioapic *a, unsigned pin, bool high)
{
    if (pin >= GUEST_IOAPIC_PINS)
        return;
    uint32_t bit = 1u << pin;
    bool was = (a->lines & bit) != 0;
    a->lines = high ? a->lines | bit : a->lines & ~bit;
    // Polarity is the board's affair: "high" here means asserted.
    if (high && (!was || (a->redirection[pin] & RTE_LEVEL)))
        send(a, pin);
}

void guest_ioapic_eoi(struct guest_ioapic *a, uint8_t vector)
{
    for (unsigned pin = 0; pin < GUEST_IOAPIC_PINS; pin++) {
        uint64_t *rte = &a->redirection[pin];
        if (!(*rte & RTE_LEVEL) || (uint8_t)(*rte & RTE_VECTOR) != vector || !(*rte & RTE_REMOTE_IRR))
            continue;
        *rte &= ~RTE_REMOTE_IRR;
        if (a->ended)
            a->ended(a->ctx, pin);
        if (a->lines >> pin & 1)
            send(a, pin);
    }
}

static uint32_t register_read(const struct guest_ioapic *a)
{
    if (a->select == INDEX_ID || a->select == INDEX_ARBITRATION)
        return a->id;
    if (a->select == INDEX_VERSION)
        return VERSION;
    unsigned pin = (a->select - INDEX_TABLE) / 2;
    if (a->select < INDEX_TABLE || pin >= GUEST_IOAPIC_PINS)
        return 0xffffffffu;
    return (uint32_t)(a->redirection[pin] >> (a->select & 1) * 32);
}

static void register_write(struct guest_ioapic *a, uint32_t value)
{
    if (a->select == INDEX_ID) {
        a->id = value & 0x0f000000u;
        return;
    }
    unsigned pin = (a->select - INDEX_TABLE) / 2;
    if (a->select < INDEX_TABLE || pin >= GUEST_IOAPIC_PINS)
        return;
    uint64_t *rte = &a->redirection[pin];
    if (a->select & 1) {
        *rte = (*rte & 0xffffffffu) | (uint64_t)value << 32;
        return;
    }
    *rte = (*rte & ~0xffffffffull) | (*rte & RTE_READ_ONLY) | (value & ~(uint32_t)RTE_READ_ONLY);
    if (!(*rte & RTE_LEVEL))
        *rte &= ~RTE_REMOTE_IRR;
    else if (a->lines >> pin & 1)
        send(a, pin);
}

static uint64_t ioapic_read(void *dev, uint64_t offset, unsigned size)
{
    const struct guest_ioapic *a = dev;
    uint32_t value = offset == REG_SELECT ? a->select : offset == REG_WINDOW ? register_read(a) : 0;
    return size == 8 ? value : value & (uint32_t)(~0ull >> (64 - size * 8));
}

static void ioapic_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct guest_ioapic *a = dev;
    if (offset == REG_SELECT)
        a->select = (uint8_t)value;
    else if (offset == REG_WINDOW && size >= 4)
        register_write(a, (uint32_t)value);
    else if (offset == REG_EOI)
        guest_ioapic_eoi(a, (uint8_t)value);
}

void guest_ioapic_reset(struct guest_ioapic *a)
{
    a->select = 0;
    a->id = 0;
    a->lines = 0;
    for (unsigned pin = 0; pin < GUEST_IOAPIC_PINS; pin++)
        a->redirection[pin] = RTE_MASKED;
}

enum status guest_ioapic_init(struct guest_ioapic *a, struct io_space *io)
{
    const struct mmio_range range = {.name = "I/O APIC",
                                     .base = GUEST_IOAPIC_BASE,
                                     .size = 0x1000,
                                     .read = ioapic_read,
                                     .write = ioapic_write,
                                     .dev = a};
    guest_ioapic_reset(a);
    return io_space_add_mmio(io, &range);
}
