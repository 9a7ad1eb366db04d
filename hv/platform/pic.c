// SPDX-License-Identifier: BSD-2-Clause
#include "hv/platform/pic.h"

#define MASTER_PORT 0x20u
#define SLAVE_PORT  0xa0u
#define ELCR_PORT   0x4d0u
#define CASCADE     2u
#define SPURIOUS    7u

// ICW1 and the bits that tell command words at A0 = 0 apart (figure 7, figure 8)
#define ICW1       0x10u
#define ICW1_IC4   0x01u
#define ICW1_SNGL  0x02u
#define ICW1_LTIM  0x08u
#define ICW4_AEOI  0x02u
#define ICW4_SFNM  0x10u
#define OCW3       0x08u
#define OCW3_RIS   0x01u
#define OCW3_RR    0x02u
#define OCW3_POLL  0x04u
#define OCW3_SMM   0x20u
#define OCW3_ESMM  0x40u
#define POLL_WAITS 0x80u
#define BASE_BITS  0xf8u

enum { MASTER, SLAVE };
// OCW2, bits 7-5: R, SL, EOI
enum {
    ROTATE_AEOI_OFF,
    EOI,
    NOTHING,
    EOI_SPECIFIC,
    ROTATE_AEOI_ON,
    EOI_ROTATE,
    SET_PRIORITY,
    EOI_SPECIFIC_ROTATE
};

/// IRQs 0, 1, 2, 8 and 13 are edge-triggered on every PC.
static const uint8_t elcr_bits[2] = {0xf8, 0xde};

static uint8_t bit(unsigned input)
{
    return (uint8_t)(1u << input);
}

/// Of a set of inputs: rank of the highest (0: before all others), 8: none.
static unsigned rank(const struct pic_chip *c, unsigned inputs)
{
    unsigned r = 0;
    while (r < 8 && !(inputs & bit((c->lowest + 1u + r) & 7)))
        r++;
    return r;
}

/// The input that INT is asserted for, -1: none.
static int request(const struct pic_chip *c, bool master)
{
    unsigned blocks = c->isr;
    if (c->special_mask)
        blocks &= (unsigned)~c->imr;
    if (c->special_fully_nested && master)
        blocks &= (unsigned)~bit(CASCADE);
    unsigned r = rank(c, c->irr & (unsigned)~c->imr);
    return c->init == PIC_READY && r < rank(c, blocks) ? (int)((c->lowest + 1u + r) & 7) : -1;
}

/// In both modes the request goes with the line (data sheet, "Edge and level triggered modes").
static void set_line(struct pic_chip *c, unsigned input, bool high)
{
    uint8_t mask = bit(input);
    bool rises = high && !(c->lines & mask);
    if (!high) {
        c->lines &= (uint8_t)~mask;
        c->irr &= (uint8_t)~mask;
        return;
    }
    c->lines |= mask;
    if (rises || c->level || (c->elcr & mask))
        c->irr |= mask;
}

static void update(struct guest_pic *p)
{
    set_line(&p->chip[MASTER], CASCADE, request(&p->chip[SLAVE], false) >= 0);
    bool intr = request(&p->chip[MASTER], true) >= 0;
    if (intr == p->intr_now)
        return;
    p->intr_now = intr;
    p->intr(p->ctx, intr);
}

/// INTA or poll for one chip: the highest request goes into service. -1: there is none.
static int take(struct guest_pic *p, unsigned which)
{
    struct pic_chip *c = &p->chip[which];
    int input = request(c, which == MASTER);
    if (input < 0)
        return -1;
    uint8_t mask = bit((unsigned)input);
    if (!c->level && !(c->elcr & mask))
        c->irr &= (uint8_t)~mask;
    if (!c->auto_eoi)
        c->isr |= mask;
    else if (c->rotate_in_auto_eoi)
        c->lowest = (uint8_t)input;
    if (which == SLAVE) // its INT drops with the acknowledge: what still waits is a new edge for the master
        set_line(&p->chip[MASTER], CASCADE, false);
    return input;
}

uint8_t guest_pic_acknowledge(struct guest_pic *p)
{
    int input = take(p, MASTER);
    uint8_t vector = (uint8_t)(p->chip[MASTER].base + (input < 0 ? SPURIOUS : (unsigned)input));
    if (input == (int)CASCADE) {
        input = take(p, SLAVE);
        vector = (uint8_t)(p->chip[SLAVE].base + (input < 0 ? SPURIOUS : (unsigned)input));
    }
    update(p);
    return vector;
}

void guest_pic_set(struct guest_pic *p, unsigned irq, bool high)
{
    if (irq >= PIC_INPUTS || irq == CASCADE)
        return;
    set_line(&p->chip[irq / 8], irq % 8, high);
    update(p);
}

static void icw1(struct pic_chip *c, uint8_t value)
{
    c->level = (value & ICW1_LTIM) != 0;
    c->single = (value & ICW1_SNGL) != 0;
    c->icw4 = (value & ICW1_IC4) != 0;
    // The edge sense circuit starts anew: an input that is high has to fall first.
    c->irr = c->level ? c->lines : c->lines & c->elcr;
    c->isr = c->imr = 0;
    c->lowest = 7;
    c->auto_eoi = c->special_fully_nested = false;
    c->rotate_in_auto_eoi = c->special_mask = c->poll = c->read_isr = false;
    c->init = PIC_ICW2;
}

static void ocw2(struct pic_chip *c, uint8_t value)
{
    unsigned command = value >> 5, input = value & 7, serving = c->isr;
    bool rotate = command == EOI_ROTATE || command == EOI_SPECIFIC_ROTATE;
    switch (command) {
    case ROTATE_AEOI_OFF:
    case ROTATE_AEOI_ON:
        c->rotate_in_auto_eoi = command == ROTATE_AEOI_ON;
        return;
    case SET_PRIORITY:
        c->lowest = (uint8_t)input;
        return;
    case EOI:
    case EOI_ROTATE:
        if (c->special_mask) // "an IS bit that is masked ... will not be cleared by a non-specific EOI"
            serving &= (unsigned)~c->imr;
        if (!serving)
            return;
        input = (c->lowest + 1u + rank(c, serving)) & 7;
        break;
    case EOI_SPECIFIC:
    case EOI_SPECIFIC_ROTATE:
        break;
    default:
        return;
    }
    c->isr &= (uint8_t)~bit(input);
    if (rotate)
        c->lowest = (uint8_t)input;
}

static void ocw3(struct pic_chip *c, uint8_t value)
{
    if (value & OCW3_ESMM)
        c->special_mask = (value & OCW3_SMM) != 0;
    if (value & OCW3_RR)
        c->read_isr = (value & OCW3_RIS) != 0;
    c->poll = (value & OCW3_POLL) != 0;
}

/// A0 = 1: the next initialization word, else OCW1.
static void write_data(struct pic_chip *c, uint8_t value)
{
    switch (c->init) {
    case PIC_ICW2:
        c->base = value & BASE_BITS;
        c->init = !c->single ? PIC_ICW3 : c->icw4 ? PIC_ICW4 : PIC_READY;
        return;
    case PIC_ICW3: // the board's cascade wire is where it is
        c->init = c->icw4 ? PIC_ICW4 : PIC_READY;
        return;
    case PIC_ICW4:
        c->auto_eoi = (value & ICW4_AEOI) != 0;
        c->special_fully_nested = (value & ICW4_SFNM) != 0;
        c->init = PIC_READY;
        return;
    default:
        c->imr = value;
    }
}

static void pic_write(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct guest_pic *p = dev;
    struct pic_chip *c = &p->chip[port >= SLAVE_PORT ? SLAVE : MASTER];
    if (port & 1)
        write_data(c, (uint8_t)value);
    else if (value & ICW1)
        icw1(c, (uint8_t)value);
    else if (value & OCW3)
        ocw3(c, (uint8_t)value);
    else
        ocw2(c, (uint8_t)value);
    if (size > 1 && !(port & 1)) // an 8-bit bus: the second byte goes to the next port
        write_data(c, (uint8_t)(value >> 8));
    update(p);
}

static uint32_t pic_read(void *dev, uint16_t port, unsigned size)
{
    struct guest_pic *p = dev;
    unsigned which = port >= SLAVE_PORT ? SLAVE : MASTER;
    struct pic_chip *c = &p->chip[which];
    uint32_t value = port & 1 ? c->imr : c->read_isr ? c->isr : c->irr;
    if (c->poll) { // the read after a poll command is an acknowledge, at either address
        c->poll = false;
        int input = take(p, which);
        value = input < 0 ? 0 : POLL_WAITS | (unsigned)input;
        update(p);
    }
    return size > 1 && !(port & 1) ? value | (uint32_t)c->imr << 8 : value;
}

static uint32_t elcr_read(void *dev, uint16_t port, unsigned size)
{
    const struct guest_pic *p = dev;
    return size > 1 ? p->chip[MASTER].elcr | (uint32_t)p->chip[SLAVE].elcr << 8 : p->chip[port & 1].elcr;
}

static void elcr_write(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct guest_pic *p = dev;
    for (unsigned i = port & 1u, n = 0; n < size && i < 2; i++, n++) {
        struct pic_chip *c = &p->chip[i];
        c->elcr = (uint8_t)(value >> n * 8) & elcr_bits[i];
        c->irr |= c->lines & c->elcr;
    }
    update(p);
}

void guest_pic_reset(struct guest_pic *p)
{
    for (unsigned i = 0; i < 2; i++)
        p->chip[i] = (struct pic_chip){.imr = 0xff, .base = i ? 0x70 : 0x08, .lowest = 7};
    update(p);
}

enum status guest_pic_init(struct guest_pic *p, struct io_space *io)
{
    const struct port_range master = {.name = "8259 master",
                                      .first = MASTER_PORT,
                                      .count = 2,
                                      .read = pic_read,
                                      .write = pic_write,
                                      .dev = p};
    const struct port_range slave = {.name = "8259 slave",
                                     .first = SLAVE_PORT,
                                     .count = 2,
                                     .read = pic_read,
                                     .write = pic_write,
                                     .dev = p};
    const struct port_range elcr = {
        .name = "ELCR", .first = ELCR_PORT, .count = 2, .read = elcr_read, .write = elcr_write, .dev = p};
    p->intr_now = false;
    guest_pic_reset(p);
    enum status s = io_space_add_ports(io, &master);
    if (s == OK)
        s = io_space_add_ports(io, &slave);
    return s == OK ? io_space_add_ports(io, &elcr) : s;
}
