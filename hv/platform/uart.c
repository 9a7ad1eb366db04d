// SPDX-License-Identifier: BSD-2-Clause
// A 16550A as the guest sees it (National Semiconductor PC16550D data sheet, section 8). Sending takes no
// time; the receive FIFO is filled by guest_uart_input(). Must not know where the bytes go.
#include "hv/platform/devices.h"

// clang-format off
enum { // register offsets (table II)
    RBR_THR_DLL = 0, IER_DLM = 1, IIR_FCR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7,
};
// clang-format on
#define IER_ERBFI  0x01u
#define IER_ETBEI  0x02u
#define IER_ELSI   0x04u
#define IIR_NONE   0x01u
#define IIR_THRE   0x02u
#define IIR_RDA    0x04u
#define IIR_RLS    0x06u
#define IIR_FIFO   0xc0u
#define FCR_ENABLE 0x01u
#define FCR_RXCLR  0x02u
#define LCR_DLAB   0x80u
#define MCR_OUT2   0x08u
#define MCR_LOOP   0x10u
#define LSR_DR     0x01u
#define LSR_OE     0x02u
#define LSR_THRE   0x20u
#define LSR_TEMT   0x40u
#define MSR_CTS    0x10u
#define MSR_DSR    0x20u
#define MSR_RI     0x40u
#define MSR_DCD    0x80u

static bool fifo_empty(const struct guest_uart *u)
{
    return u->head == u->tail;
}

static uint8_t iir_source(const struct guest_uart *u)
{
    if ((u->ier & IER_ELSI) && u->lsr_error)
        return IIR_RLS;
    if ((u->ier & IER_ERBFI) && !fifo_empty(u))
        return IIR_RDA;
    if ((u->ier & IER_ETBEI) && u->thre_pending)
        return IIR_THRE;
    return IIR_NONE;
}

/// OUT2 gates the interrupt line on a PC.
static void update_irq(struct guest_uart *u)
{
    if (u->irq)
        u->irq(u->ctx, (u->mcr & MCR_OUT2) && !(u->mcr & MCR_LOOP) && iir_source(u) != IIR_NONE);
}

static enum status push(struct guest_uart *u, uint8_t byte)
{
    uint8_t next = (uint8_t)((u->head + 1) % sizeof(u->fifo));
    if (next == u->tail)
        return ERR_BUSY;
    u->fifo[u->head] = byte;
    u->head = next;
    update_irq(u);
    return OK;
}

static uint8_t read_rbr(struct guest_uart *u)
{
    if (fifo_empty(u))
        return 0;
    uint8_t byte = u->fifo[u->tail];
    u->tail = (uint8_t)((u->tail + 1) % sizeof(u->fifo));
    update_irq(u);
    return byte;
}

static uint8_t read_lsr(struct guest_uart *u)
{
    uint8_t lsr = (uint8_t)(LSR_THRE | LSR_TEMT | (fifo_empty(u) ? 0u : LSR_DR));
    if (__builtin_expect(u->lsr_error != 0, 0)) {
        lsr |= u->lsr_error;
        u->lsr_error = 0;
        update_irq(u);
    }
    return lsr;
}

static uint8_t read_iir(struct guest_uart *u)
{
    uint8_t source = iir_source(u);
    if (source == IIR_THRE) {
        u->thre_pending = false;
        update_irq(u);
    }
    return (uint8_t)(source | (u->fcr & FCR_ENABLE ? IIR_FIFO : 0u));
}

/// In loop mode the modem inputs are the modem outputs, which is how drivers find out that this is a UART.
static uint8_t read_msr(const struct guest_uart *u)
{
    if (!(u->mcr & MCR_LOOP))
        return MSR_CTS | MSR_DSR | MSR_DCD;
    return (uint8_t)((u->mcr & 0x01 ? MSR_DSR : 0u) | (u->mcr & 0x02 ? MSR_CTS : 0u) |
                     (u->mcr & 0x04 ? MSR_RI : 0u) | (u->mcr & 0x08 ? MSR_DCD : 0u));
}

static uint8_t read_register(struct guest_uart *u, unsigned reg)
{
    bool dlab = (u->lcr & LCR_DLAB) != 0;
    switch (reg) {
    case LSR:
        return read_lsr(u);
    case RBR_THR_DLL:
        return dlab ? u->dll : read_rbr(u);
    case IER_DLM:
        return dlab ? u->dlm : u->ier;
    case IIR_FCR:
        return read_iir(u);
    case LCR:
        return u->lcr;
    case MCR:
        return u->mcr;
    case MSR:
        return read_msr(u);
    default:
        return u->scr;
    }
}

static void write_thr(struct guest_uart *u, uint8_t byte)
{
    if (u->mcr & MCR_LOOP) {
        if (push(u, byte) != OK)
            u->lsr_error |= LSR_OE;
    } else if (u->output) {
        u->output(u->ctx, (char)byte);
    }
    u->thre_pending = true;
    update_irq(u);
}

static void write_register(struct guest_uart *u, unsigned reg, uint8_t value)
{
    bool dlab = (u->lcr & LCR_DLAB) != 0;
    switch (reg) {
    case RBR_THR_DLL:
        if (dlab)
            u->dll = value;
        else
            write_thr(u, value);
        return;
    case IER_DLM:
        if (dlab) {
            u->dlm = value;
            return;
        }
        if ((value & IER_ETBEI) && !(u->ier & IER_ETBEI))
            u->thre_pending = true;
        u->ier = value & 0x0f;
        break;
    case IIR_FCR:
        u->fcr = value & 0xc9;
        if (value & FCR_RXCLR)
            u->head = u->tail = 0;
        break;
    case LCR:
        u->lcr = value;
        return;
    case MCR:
        u->mcr = value & 0x1f;
        break;
    case SCR:
        u->scr = value;
        return;
    default: // LSR and MSR are read-only
        return;
    }
    update_irq(u);
}

/// The chip is on an 8-bit bus: wider accesses are consecutive registers.
static uint32_t uart_read(void *dev, uint16_t port, unsigned size)
{
    if (size == 1)
        return read_register(dev, port & 7u);
    uint32_t value = read_register(dev, port & 7u);
    for (unsigned i = 1; i < size; i++)
        value |= (uint32_t)read_register(dev, (port + i) & 7u) << (i * 8);
    return value;
}

static void uart_write(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    for (unsigned i = 0; i < size; i++)
        write_register(dev, (port + i) & 7u, (uint8_t)(value >> (i * 8)));
}

void guest_uart_reset(struct guest_uart *u)
{
    u->ier = u->lcr = u->mcr = u->scr = u->fcr = u->lsr_error = 0;
    u->dll = 1; // 115200 baud
    u->dlm = 0;
    u->head = u->tail = 0;
    u->thre_pending = false;
    update_irq(u);
}

enum status guest_uart_init(struct guest_uart *u, struct io_space *io, uint16_t port)
{
    if (port % 8)
        return ERR_INVAL;
    guest_uart_reset(u);
    return io_space_add_ports(
        io, &(struct port_range){
                .name = "uart", .first = port, .count = 8, .read = uart_read, .write = uart_write, .dev = u});
}

enum status guest_uart_input(struct guest_uart *u, uint8_t byte)
{
    return push(u, byte);
}
